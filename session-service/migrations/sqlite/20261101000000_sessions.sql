-- Times are Unix milliseconds (UTC). Secrets are kept as SHA-256 only.

CREATE TABLE sessions (
    id                  TEXT    NOT NULL PRIMARY KEY,
    secret_digest       BLOB    NOT NULL UNIQUE CHECK (length(secret_digest) = 32),
    -- How often the secret was replaced.
    rotation            INTEGER NOT NULL,
    subject             TEXT    NOT NULL,
    username            TEXT    NOT NULL,
    epoch               INTEGER NOT NULL,
    -- JSON array of RFC 8176 names.
    methods             TEXT    NOT NULL,
    authenticated_at    INTEGER NOT NULL,
    user_agent          TEXT    NOT NULL,
    client_address      TEXT    NOT NULL,
    created_at          INTEGER NOT NULL,
    last_active_at      INTEGER NOT NULL,
    absolute_expires_at INTEGER NOT NULL,
    attributes_version  INTEGER NOT NULL,
    -- JSON object of base64 values.
    attributes          TEXT    NOT NULL,
    -- Set: a tombstone, kept until the absolute expiry.
    ended_at            INTEGER,
    end_reason          TEXT,
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) STRICT;

CREATE INDEX sessions_of_subject ON sessions (subject, created_at, id) WHERE ended_at IS NULL;
CREATE INDEX sessions_by_age ON sessions (created_at, id) WHERE ended_at IS NULL;
CREATE INDEX sessions_by_activity ON sessions (last_active_at) WHERE ended_at IS NULL;
CREATE INDEX sessions_by_absolute_expiry ON sessions (absolute_expires_at);

-- Secrets that were rotated away and are still accepted, each with its successor sealed under it.
CREATE TABLE former_secrets (
    digest         BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    session_id     TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    -- The rotation that took it away: the one after `sessions.rotation` as it was.
    rotation       INTEGER NOT NULL,
    sealed         BLOB    NOT NULL,
    accepted_until INTEGER NOT NULL,
    UNIQUE (session_id, rotation)
) STRICT, WITHOUT ROWID;

CREATE INDEX former_secrets_by_window ON former_secrets (accepted_until);

-- Login proofs that have made a session.
CREATE TABLE spent_proofs (
    jti        TEXT    NOT NULL PRIMARY KEY,
    keep_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX spent_proofs_by_age ON spent_proofs (keep_until);
