-- Replicas of the version before go on with feed_append, which answers the number alone; it goes a release later.

-- The lock first, then, in a statement with a snapshot of its own, the last entry: a sequence would show 8 before 7, and so would
-- one statement for both, or a snapshot that was taken before the lock. Held until the commit, so it is a transaction's last
-- statement. Answers the last number of the new entries, and the tag of the entry before them: none in an empty log.
CREATE FUNCTION feed_append_after(
    tags bigint[], whats text[], keys text[], mins bigint[], spareds text[], untils bigint[],
    OUT n bigint, OUT tag_before bigint
) LANGUAGE plpgsql SET lock_timeout = '2s' AS $$
DECLARE
    head bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'feed_append_after needs READ COMMITTED';
    END IF;
    PERFORM pg_advisory_xact_lock('feed_log'::regclass::oid::bigint);
    SELECT last.n, last.tag INTO head, tag_before FROM feed_log last ORDER BY last.n DESC LIMIT 1;
    head := coalesce(head, 0);
    INSERT INTO feed_log (n, tag, what, key, min, spared, until)
        SELECT head + entry.place, entry.tag, entry.what, entry.key, entry.min, entry.spared, entry.until
        FROM unnest(tags, whats, keys, mins, spareds, untils)
            WITH ORDINALITY AS entry (tag, what, key, min, spared, until, place);
    n := head + cardinality(tags);
END;
$$;
