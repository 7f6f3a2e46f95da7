-- The feed: the log of endings, and who takes part in it.
-- The feed's tables in a service's own database. Numbers: AUTOINCREMENT gives none twice, and a transaction that is rolled
-- back gives its numbers back, so that there is no gap.
CREATE TABLE feed_log (
    n      INTEGER PRIMARY KEY AUTOINCREMENT,
    tag    INTEGER NOT NULL,
    what   TEXT NOT NULL CHECK (what IN
           ('token', 'family', 'session', 'subject', 'client', 'key', 'principal', 'all')),
    key    TEXT NOT NULL,
    min    INTEGER CHECK (min >= 0),
    spared TEXT,
    until  INTEGER NOT NULL CHECK (until >= 0)
) STRICT;
CREATE INDEX feed_log_until ON feed_log (until);

CREATE TABLE feed_member (
    id       TEXT NOT NULL PRIMARY KEY,
    address  TEXT NOT NULL,
    lease_ms INTEGER NOT NULL CHECK (lease_ms > 0),
    fenced   INTEGER NOT NULL DEFAULT 0 CHECK (fenced IN (0, 1))
) STRICT, WITHOUT ROWID;

-- The highest number that was trimmed.
CREATE TABLE feed_horizon (
    sole INTEGER NOT NULL PRIMARY KEY CHECK (sole = 1),
    n    INTEGER NOT NULL
) STRICT;
INSERT INTO feed_horizon (sole, n) VALUES (1, 0);
