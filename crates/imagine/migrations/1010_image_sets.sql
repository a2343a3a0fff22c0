-- Which variations were asked for together: a name that whoever asked made up, the same for each of them.
ALTER TABLE image_jobs ADD COLUMN variation_set TEXT;
