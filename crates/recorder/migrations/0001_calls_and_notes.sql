-- Words that SQLite and PostgreSQL both understand. Times are Unix milliseconds, flags 0 or 1.
CREATE TABLE calls (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    thread TEXT NOT NULL,
    caller TEXT NOT NULL,
    outcome TEXT NOT NULL,
    placed_at BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    ring_ms BIGINT NOT NULL,
    talk_ms BIGINT NOT NULL,
    acknowledged BIGINT NOT NULL,
    details TEXT NOT NULL,
    hook_done BIGINT NOT NULL
);
CREATE INDEX calls_by_thread ON calls (thread, placed_at, id);
CREATE INDEX calls_with_hooks_due ON calls (hook_done, placed_at);

CREATE TABLE call_parties (
    call_id TEXT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    PRIMARY KEY (call_id, user_id)
);

CREATE TABLE notes (
    id TEXT PRIMARY KEY,
    call_id TEXT NOT NULL UNIQUE REFERENCES calls (id) ON DELETE CASCADE,
    thread TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    sender TEXT NOT NULL,
    sender_name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    sent_at BIGINT,
    expires_at BIGINT,
    limits TEXT NOT NULL,
    take BIGINT NOT NULL,
    reason TEXT,
    file_key TEXT,
    poster_key TEXT,
    content_type TEXT,
    size BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    peaks TEXT NOT NULL,
    width BIGINT,
    height BIGINT,
    deleted_by_sender BIGINT NOT NULL DEFAULT 0,
    -- A note is delivered with its bytes or not at all.
    CHECK (state <> 'sent' OR (file_key IS NOT NULL AND sent_at IS NOT NULL)),
    CHECK (state IN ('offered', 'countdown', 'recording', 'saving', 'draft', 'sent', 'discarded', 'expired'))
);
CREATE INDEX notes_by_sender ON notes (sender, state);

CREATE TABLE note_recipients (
    note_id TEXT NOT NULL REFERENCES notes (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    heard_at BIGINT,
    deleted BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (note_id, user_id)
);
CREATE INDEX note_recipients_by_user ON note_recipients (user_id, deleted, heard_at);

CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
