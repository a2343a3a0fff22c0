-- What those whom a sent note concerns say to it, one emoji each. Whoever took theirs back keeps a row without one: `changes` counts how often they have changed their mind.
CREATE TABLE note_reactions (
    note_id TEXT NOT NULL REFERENCES notes (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    emoji TEXT,
    at BIGINT NOT NULL,
    changes BIGINT NOT NULL,
    PRIMARY KEY (note_id, user_id)
);
