-- Images on request, in the database of calls and notes: numbers from 1001 on are this crate's. Words that SQLite and PostgreSQL both understand. Times are Unix
-- milliseconds, money is in millionths.
CREATE TABLE image_jobs (
    id TEXT PRIMARY KEY,
    -- Which process carries it on.
    owner TEXT NOT NULL,
    -- Raised with each change, so that of two that change it at once one notices.
    revision BIGINT NOT NULL,
    -- The last revision that has been told.
    told BIGINT NOT NULL,
    thread TEXT NOT NULL,
    user_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    provider TEXT NOT NULL,
    request TEXT NOT NULL,
    again_of TEXT,
    state TEXT NOT NULL,
    reason TEXT,
    detail TEXT,
    created_at BIGINT NOT NULL,
    ended_at BIGINT,
    handle TEXT,
    remote_id TEXT,
    link TEXT,
    cost BIGINT NOT NULL,
    charged BIGINT NOT NULL,
    file_key TEXT,
    content_type TEXT,
    size BIGINT NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    -- Taken back by whoever asked: seen by nobody, and without its bytes.
    deleted BIGINT NOT NULL DEFAULT 0,
    UNIQUE (user_id, idempotency_key),
    -- A picture is posted with its bytes or not at all.
    CHECK (state <> 'posted' OR (file_key IS NOT NULL AND ended_at IS NOT NULL)),
    CHECK (state IN ('queued', 'submitted', 'running', 'fetching', 'posted', 'refused', 'failed', 'cancelled', 'expired'))
);
CREATE INDEX image_jobs_by_thread ON image_jobs (thread, created_at, id);
CREATE INDEX image_jobs_by_user ON image_jobs (user_id, created_at);
CREATE INDEX image_jobs_by_state ON image_jobs (state);
CREATE INDEX image_jobs_by_remote ON image_jobs (provider, remote_id);

-- Who sees a picture once it is posted.
CREATE TABLE image_viewers (
    job_id TEXT NOT NULL REFERENCES image_jobs (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    PRIMARY KEY (job_id, user_id)
);
CREATE INDEX image_viewers_by_user ON image_viewers (user_id);

-- What is spent in the period that runs, and what jobs under way may yet cost. One row: whoever asks for an image locks it first, and so one after the other.
CREATE TABLE image_spending (
    id BIGINT PRIMARY KEY CHECK (id = 0),
    period TEXT NOT NULL,
    spent BIGINT NOT NULL,
    reserved BIGINT NOT NULL CHECK (reserved >= 0)
);
INSERT INTO image_spending (id, period, spent, reserved) VALUES (0, '', 0, 0);
