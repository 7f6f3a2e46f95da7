-- The feed: the log of endings, and who takes part in it.
-- The feed's tables in a service's own database, and the one way into its log.
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

-- The lock first, then, in a statement with a snapshot of its own, the number: a sequence would show 8 before 7, and so would
-- one statement for both, or a snapshot that was taken before the lock. Held until the commit, so it is a transaction's last
-- statement.
CREATE FUNCTION feed_append(
    tags bigint[], whats text[], keys text[], mins bigint[], spareds text[], untils bigint[]
) RETURNS bigint LANGUAGE plpgsql SET lock_timeout = '2s' AS $$
DECLARE
    head bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'feed_append needs READ COMMITTED';
    END IF;
    PERFORM pg_advisory_xact_lock('feed_log'::regclass::oid::bigint);
    SELECT coalesce(max(n), 0) INTO head FROM feed_log;
    INSERT INTO feed_log (n, tag, what, key, min, spared, until)
        SELECT head + entry.place, entry.tag, entry.what, entry.key, entry.min, entry.spared, entry.until
        FROM unnest(tags, whats, keys, mins, spareds, untils)
            WITH ORDINALITY AS entry (tag, what, key, min, spared, until, place);
    RETURN head + cardinality(tags);
END;
$$;
