CREATE TABLE feed_log (
    n      bigint PRIMARY KEY,
    tag    bigint NOT NULL,
    what   text NOT NULL CHECK (what IN
           ('token', 'family', 'session', 'subject', 'client', 'key', 'principal', 'all')),
    key    text NOT NULL,
    min    bigint CHECK (min >= 0),
    spared text,
    until  bigint NOT NULL CHECK (until >= 0)
);
CREATE INDEX feed_log_until ON feed_log (until);

CREATE TABLE feed_member (
    id       text PRIMARY KEY,
    address  text NOT NULL,
    lease_ms bigint NOT NULL CHECK (lease_ms > 0),
    fenced   boolean NOT NULL DEFAULT false,
    -- Written by every beat: a primary that has been deposed hangs on it, which is the point.
    beat     bigint NOT NULL DEFAULT 0
);

-- The highest number that was trimmed.
CREATE TABLE feed_horizon (
    sole boolean PRIMARY KEY DEFAULT true CHECK (sole),
    n    bigint NOT NULL
);
INSERT INTO feed_horizon (n) VALUES (0);
