-- What policy-service remembers: roles, groups, grants, and one revision over all of them.
-- Kinds and names are spelled as in the domain; every row passes its parser again when it is read. They are compared byte by
-- byte, whatever the database's own collation, so that every store lists them in the same order.

-- One row. Every write locks it first and raises it by one: writes come one after another.
CREATE TABLE revision (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    number   BIGINT  NOT NULL
);

CREATE TABLE roles (
    name     TEXT COLLATE "C" PRIMARY KEY,
    built_in BOOLEAN NOT NULL
);

CREATE TABLE role_permissions (
    role    TEXT COLLATE "C" NOT NULL REFERENCES roles (name) ON DELETE CASCADE,
    pattern TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (role, pattern)
);

CREATE TABLE groups (
    name TEXT COLLATE "C" PRIMARY KEY
);

CREATE TABLE group_members (
    group_name  TEXT COLLATE "C" NOT NULL REFERENCES groups (name) ON DELETE CASCADE,
    member_kind TEXT COLLATE "C" NOT NULL CHECK (member_kind IN ('user', 'client', 'group')),
    member_id   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (group_name, member_kind, member_id)
);

-- The way up, from a member to the groups it is in: what every check walks.
CREATE INDEX group_members_by_member ON group_members (member_kind, member_id, group_name);

-- within_kind and within_id are both empty for a grant that holds everywhere. Empty and not NULL, because a unique
-- index takes two NULLs for different.
CREATE TABLE grants (
    id           TEXT COLLATE "C" PRIMARY KEY,
    subject_kind TEXT COLLATE "C" NOT NULL CHECK (subject_kind IN ('user', 'client', 'group')),
    subject_id   TEXT COLLATE "C" NOT NULL,
    role         TEXT COLLATE "C" NOT NULL REFERENCES roles (name) ON DELETE CASCADE,
    within_kind  TEXT COLLATE "C" NOT NULL,
    within_id    TEXT COLLATE "C" NOT NULL,
    CHECK ((within_kind = '') = (within_id = ''))
);

-- Makes a grant idempotent, and is the way from a subject to what it holds at a place.
CREATE UNIQUE INDEX grants_by_subject ON grants (subject_kind, subject_id, within_kind, within_id, role);
CREATE INDEX grants_by_role ON grants (role, id);

-- The built-in role, the only one that holds Latchkey's own permissions.
INSERT INTO revision (only_row, number) VALUES (1, 1);
INSERT INTO roles (name, built_in) VALUES ('latchkey-admin', true);
INSERT INTO role_permissions (role, pattern) VALUES ('latchkey-admin', 'latchkey:*');
