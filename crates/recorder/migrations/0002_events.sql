-- What happened, in the order in which it was committed. Whoever appends raises `newest` last, in the same transaction, and so holds its row until the commit: numbers
-- have no gaps, are never used again, and a higher one is never there before a lower one.
CREATE TABLE event_sequence (
    id BIGINT PRIMARY KEY CHECK (id = 0),
    newest BIGINT NOT NULL
);
INSERT INTO event_sequence (id, newest) VALUES (0, 0);

CREATE TABLE events (
    sequence BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX events_by_time ON events (at);

-- How far readers have come that want to go on there after a restart.
CREATE TABLE event_readers (
    name TEXT PRIMARY KEY,
    done BIGINT NOT NULL
);
