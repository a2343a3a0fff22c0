-- What those who see a posted picture say to it, one emoji each. Whoever took theirs back keeps a row without one: `changes` counts how often they have changed their mind. `told` is the last
-- `change` that has been told, by the process that is its `owner`.
CREATE TABLE image_reactions (
    job_id TEXT NOT NULL REFERENCES image_jobs (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    emoji TEXT,
    at BIGINT NOT NULL,
    changes BIGINT NOT NULL,
    change BIGINT NOT NULL,
    told BIGINT NOT NULL,
    owner TEXT NOT NULL,
    PRIMARY KEY (job_id, user_id)
);
CREATE INDEX image_reactions_by_owner ON image_reactions (owner);
