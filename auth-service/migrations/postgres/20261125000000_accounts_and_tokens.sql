-- Times are milliseconds since 1970, UTC. Secrets are SHA-256 digests, argon2id PHC strings or sealed with AES-256-GCM.
-- What is unique or ordered is compared byte by byte: pages are cut by it, and no index depends on the machine's language.

CREATE TABLE users (
    id                   TEXT COLLATE "C" PRIMARY KEY,
    username             TEXT    NOT NULL,
    -- NFC, case-folded: what is unique.
    username_key         TEXT COLLATE "C" NOT NULL UNIQUE,
    password_hash        TEXT    NOT NULL,
    status               TEXT    NOT NULL CHECK (status IN ('active', 'disabled')),
    must_change_password BOOLEAN NOT NULL,
    epoch                BIGINT  NOT NULL,
    created_at           BIGINT  NOT NULL
);

CREATE TABLE clients (
    id            TEXT COLLATE "C" PRIMARY KEY,
    name          TEXT COLLATE "C" NOT NULL UNIQUE,
    status        TEXT    NOT NULL CHECK (status IN ('active', 'disabled')),
    -- JSON arrays of strings.
    audiences     TEXT    NOT NULL,
    scopes        TEXT    NOT NULL,
    -- NULL: a public client.
    secret_digest BYTEA,
    built_in      BOOLEAN NOT NULL,
    epoch         BIGINT  NOT NULL,
    created_at    BIGINT  NOT NULL
);

-- First-party logins belong to it.
INSERT INTO clients (id, name, status, audiences, scopes, secret_digest, built_in, epoch, created_at)
VALUES ('first-party', 'first-party', 'active', '[]', '[]', NULL, true, 0, 0);

-- All refresh tokens that descend from one login.
CREATE TABLE families (
    id            TEXT COLLATE "C" PRIMARY KEY,
    subject       TEXT COLLATE "C" NOT NULL,
    client        TEXT COLLATE "C" NOT NULL,
    -- Copied from the rows that authorised the login, in the statement that inserted this one.
    subject_epoch BIGINT  NOT NULL,
    client_epoch  BIGINT  NOT NULL,
    scope         TEXT    NOT NULL,
    audience      TEXT    NOT NULL,
    -- JSON array of strings.
    amr           TEXT    NOT NULL,
    created_at    BIGINT  NOT NULL,
    expires_at    BIGINT  NOT NULL,
    ended_at      BIGINT,
    ended_why     TEXT CHECK (ended_why IN ('logout', 'revoked', 'theft', 'password', 'disabled', 'deleted')),
    CHECK ((ended_at IS NULL) = (ended_why IS NULL))
);

CREATE INDEX families_by_subject ON families (subject) WHERE ended_at IS NULL;
CREATE INDEX families_by_client ON families (client) WHERE ended_at IS NULL;
CREATE INDEX families_by_expiry ON families (expires_at);
CREATE INDEX families_by_end ON families (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE refresh_tokens (
    digest     BYTEA   PRIMARY KEY,
    family     TEXT COLLATE "C" NOT NULL REFERENCES families (id) ON DELETE CASCADE,
    expires_at BIGINT  NOT NULL,
    spent_at   BIGINT,
    -- The next token, sealed under a key that only the holder of this one can derive; wiped when the window closes.
    successor  BYTEA,
    CHECK (successor IS NULL OR spent_at IS NOT NULL)
);

CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);
CREATE INDEX refresh_tokens_with_successor ON refresh_tokens (spent_at) WHERE successor IS NOT NULL;

-- Failed logins of an account (SHA-256 of what was typed, folded) from an address.
CREATE TABLE login_throttle (
    account    BYTEA   NOT NULL,
    address    TEXT COLLATE "C" NOT NULL,
    failures   BIGINT  NOT NULL,
    not_before BIGINT  NOT NULL,
    expires_at BIGINT  NOT NULL,
    PRIMARY KEY (account, address)
);

CREATE INDEX login_throttle_by_expiry ON login_throttle (expires_at);

CREATE TABLE signing_keys (
    kid       TEXT COLLATE "C" PRIMARY KEY,
    algorithm TEXT    NOT NULL CHECK (algorithm IN ('ES256', 'EdDSA', 'RS256', 'PS256')),
    state     TEXT    NOT NULL CHECK (state IN ('announced', 'active', 'retiring', 'gone')),
    -- When the state began; for `retiring`, when it ends.
    moment    BIGINT  NOT NULL,
    -- PKCS #8 under the master key with the kid as additional data; empty once gone.
    sealed    BYTEA   NOT NULL
);

CREATE UNIQUE INDEX one_active_key ON signing_keys (state) WHERE state = 'active';
CREATE UNIQUE INDEX one_announced_key ON signing_keys (state) WHERE state = 'announced';
