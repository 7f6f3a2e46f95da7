-- Times are Unix milliseconds (UTC). Secrets are kept as SHA-256 only. What lists are ordered by is compared byte by byte.

CREATE TABLE sessions (
    id                  TEXT COLLATE "C" PRIMARY KEY,
    secret_digest       BYTEA   NOT NULL UNIQUE CHECK (length(secret_digest) = 32),
    -- How often the secret was replaced.
    rotation            BIGINT  NOT NULL,
    subject             TEXT    NOT NULL,
    username            TEXT    NOT NULL,
    epoch               BIGINT  NOT NULL,
    -- JSON array of RFC 8176 names.
    methods             TEXT    NOT NULL,
    authenticated_at    BIGINT  NOT NULL,
    user_agent          TEXT    NOT NULL,
    client_address      TEXT    NOT NULL,
    created_at          BIGINT  NOT NULL,
    last_active_at      BIGINT  NOT NULL,
    absolute_expires_at BIGINT  NOT NULL,
    attributes_version  BIGINT  NOT NULL,
    -- JSON object of base64 values.
    attributes          TEXT    NOT NULL,
    -- Set: a tombstone, kept until the absolute expiry.
    ended_at            BIGINT,
    end_reason          TEXT,
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
);

CREATE INDEX sessions_of_subject ON sessions (subject, created_at, id) WHERE ended_at IS NULL;
CREATE INDEX sessions_by_age ON sessions (created_at, id) WHERE ended_at IS NULL;
CREATE INDEX sessions_by_activity ON sessions (last_active_at) WHERE ended_at IS NULL;
CREATE INDEX sessions_by_absolute_expiry ON sessions (absolute_expires_at);

-- Secrets that were rotated away and are still accepted, each with its successor sealed under it.
CREATE TABLE former_secrets (
    digest         BYTEA   NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    session_id     TEXT COLLATE "C" NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    -- The rotation that took it away: the one after `sessions.rotation` as it was.
    rotation       BIGINT  NOT NULL,
    sealed         BYTEA   NOT NULL,
    accepted_until BIGINT  NOT NULL,
    UNIQUE (session_id, rotation)
);

CREATE INDEX former_secrets_by_window ON former_secrets (accepted_until);

-- Login proofs that have made a session.
CREATE TABLE spent_proofs (
    jti        TEXT COLLATE "C" PRIMARY KEY,
    keep_until BIGINT  NOT NULL
);

CREATE INDEX spent_proofs_by_age ON spent_proofs (keep_until);
