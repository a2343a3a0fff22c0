-- What happened to a user that they may be told of. `held` says why it waits or had to, `notification` which one tells of it.
CREATE TABLE occurrences (
    user_id TEXT NOT NULL,
    id TEXT NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    sender TEXT NOT NULL,
    body TEXT NOT NULL,
    held TEXT,
    notification TEXT,
    seen_at BIGINT,
    PRIMARY KEY (user_id, id)
);
CREATE INDEX occurrences_by_time ON occurrences (user_id, at, id);
CREATE INDEX occurrences_to_decide ON occurrences (user_id, notification, seen_at);
CREATE INDEX occurrences_by_sender ON occurrences (user_id, sender, kind);

-- What is shown of them, each in its last revision. `told` is the revision that whoever carries notifications has taken, `told_alerts` how many sounds that had made.
CREATE TABLE notifications (
    user_id TEXT NOT NULL,
    id TEXT NOT NULL,
    opened_at BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    body TEXT NOT NULL,
    told BIGINT NOT NULL DEFAULT 0,
    told_alerts BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, id)
);
CREATE INDEX notifications_by_time ON notifications (user_id, opened_at);

CREATE TABLE notification_settings (
    user_id TEXT PRIMARY KEY,
    settings TEXT NOT NULL
);
