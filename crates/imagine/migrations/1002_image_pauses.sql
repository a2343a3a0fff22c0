-- Until when a provider wants to be left alone, since it said so (Retry-After). Unix milliseconds.
CREATE TABLE image_pauses (
    provider TEXT NOT NULL,
    -- For what: new work, or questions about work that it has.
    call TEXT NOT NULL,
    not_before BIGINT NOT NULL,
    PRIMARY KEY (provider, call),
    CHECK (call IN ('submit', 'ask'))
);
