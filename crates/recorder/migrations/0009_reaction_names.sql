-- The name of whoever reacted, at the time: what a notification says. Rows of before have none.
ALTER TABLE note_reactions ADD COLUMN user_name TEXT;
