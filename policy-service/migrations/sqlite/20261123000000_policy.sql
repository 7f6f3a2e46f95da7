-- What policy-service remembers: roles, groups, grants, and one revision over all of them.
-- Kinds and names are spelled as in the domain; every row passes its parser again when it is read.

-- "lkpo": tells this file from another service's, and from anything else that a configuration may point at.
PRAGMA application_id = 1818980463;

-- One row. Every write raises it by one in its own transaction.
CREATE TABLE revision (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    number   INTEGER NOT NULL
) STRICT;

CREATE TABLE roles (
    name     TEXT    PRIMARY KEY NOT NULL,
    built_in INTEGER NOT NULL CHECK (built_in IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE TABLE role_permissions (
    role    TEXT NOT NULL REFERENCES roles (name) ON DELETE CASCADE,
    pattern TEXT NOT NULL,
    PRIMARY KEY (role, pattern)
) STRICT, WITHOUT ROWID;

CREATE TABLE groups (
    name TEXT PRIMARY KEY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE group_members (
    group_name  TEXT NOT NULL REFERENCES groups (name) ON DELETE CASCADE,
    member_kind TEXT NOT NULL CHECK (member_kind IN ('user', 'client', 'group')),
    member_id   TEXT NOT NULL,
    PRIMARY KEY (group_name, member_kind, member_id)
) STRICT, WITHOUT ROWID;

-- The way up, from a member to the groups it is in: what every check walks.
CREATE INDEX group_members_by_member ON group_members (member_kind, member_id, group_name);

-- within_kind and within_id are both empty for a grant that holds everywhere. Empty and not NULL, because a unique
-- index takes two NULLs for different.
CREATE TABLE grants (
    id           TEXT PRIMARY KEY NOT NULL,
    subject_kind TEXT NOT NULL CHECK (subject_kind IN ('user', 'client', 'group')),
    subject_id   TEXT NOT NULL,
    role         TEXT NOT NULL REFERENCES roles (name) ON DELETE CASCADE,
    within_kind  TEXT NOT NULL,
    within_id    TEXT NOT NULL,
    CHECK ((within_kind = '') = (within_id = ''))
) STRICT, WITHOUT ROWID;

-- Makes a grant idempotent, and is the way from a subject to what it holds at a place.
CREATE UNIQUE INDEX grants_by_subject ON grants (subject_kind, subject_id, within_kind, within_id, role);
CREATE INDEX grants_by_role ON grants (role, id);

-- The built-in role, the only one that holds Latchkey's own permissions.
INSERT INTO revision (only_row, number) VALUES (1, 1);
INSERT INTO roles (name, built_in) VALUES ('latchkey-admin', 1);
INSERT INTO role_permissions (role, pattern) VALUES ('latchkey-admin', 'latchkey:*');
