-- Calls that are not over, as the process that has them would go on with them after a restart. A database may be shared by several: each has its own.
CREATE TABLE live_calls (
    id TEXT PRIMARY KEY,
    process TEXT NOT NULL,
    details TEXT NOT NULL
);
CREATE INDEX live_calls_by_process ON live_calls (process);

-- When a process was there last.
CREATE TABLE processes (
    name TEXT PRIMARY KEY,
    seen_at BIGINT NOT NULL
);
