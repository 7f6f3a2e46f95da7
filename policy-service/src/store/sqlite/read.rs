//! What principals hold: the two reads behind every decision.

use serde_json::json;
use sqlx::{SqliteConnection, SqlitePool};

use crate::domain::{At, Holdings, Principal, Question};
use crate::store::held::{self, HeldRow, parts};
use crate::store::{StoreError, row};

// Both are one statement and so one snapshot. They walk up from a principal to its groups (UNION, not UNION ALL, so that it
// would end even in a circle) and keep the grants that hold everywhere or exactly at the question's place and whose role has
// the permission. A row of its own says the revision, also where nothing is held. CROSS JOIN keeps SQLite from beginning at
// the other end, with all grants of a role.

const HOLDINGS_FOR_ONE: &str = "
WITH RECURSIVE holders (kind, id) AS (
    VALUES (?1, ?2)
    UNION
    SELECT 'group', m.group_name
    FROM holders h
    JOIN group_members m ON m.member_kind = h.kind AND m.member_id = h.id
)
SELECT number AS revision, NULL AS question, NULL AS id, NULL AS subject_kind, NULL AS subject_id, NULL AS role,
    NULL AS within_kind, NULL AS within_id, NULL AS pattern
FROM revision
UNION ALL
SELECT NULL, 0, g.id, g.subject_kind, g.subject_id, g.role, g.within_kind, g.within_id, p.pattern
FROM holders h
CROSS JOIN grants g ON g.subject_kind = h.kind AND g.subject_id = h.id
    AND g.within_kind IN ('', ?3) AND g.within_id IN ('', ?4)
CROSS JOIN role_permissions p ON p.role = g.role AND p.pattern IN (?5, ?6)";

/// For many questions, as a JSON array. For one it would take several times as long as the other.
const HOLDINGS_FOR_MANY: &str = "
WITH RECURSIVE
    questions (number, subject_kind, subject_id, within_kind, within_id, permission, whole_kind) AS MATERIALIZED (
        SELECT key, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(?1)
    ),
    holders (number, kind, id) AS (
        SELECT number, subject_kind, subject_id FROM questions
        UNION
        SELECT h.number, 'group', m.group_name
        FROM holders h
        JOIN group_members m ON m.member_kind = h.kind AND m.member_id = h.id
    )
SELECT number AS revision, NULL AS question, NULL AS id, NULL AS subject_kind, NULL AS subject_id, NULL AS role,
    NULL AS within_kind, NULL AS within_id, NULL AS pattern
FROM revision
UNION ALL
SELECT NULL, q.number, g.id, g.subject_kind, g.subject_id, g.role, g.within_kind, g.within_id, p.pattern
FROM holders h
CROSS JOIN questions q ON q.number = h.number
CROSS JOIN grants g ON g.subject_kind = h.kind AND g.subject_id = h.id
    AND g.within_kind IN ('', q.within_kind) AND g.within_id IN ('', q.within_id)
CROSS JOIN role_permissions p ON p.role = g.role AND p.pattern IN (q.permission, q.whole_kind)";

const GRANTS_OF: &str = "
WITH RECURSIVE holders (kind, id) AS (
    VALUES (?1, ?2)
    UNION
    SELECT 'group', m.group_name
    FROM holders h
    JOIN group_members m ON m.member_kind = h.kind AND m.member_id = h.id
)
SELECT g.id, g.subject_kind, g.subject_id, g.role, g.within_kind, g.within_id
FROM holders h
CROSS JOIN grants g ON g.subject_kind = h.kind AND g.subject_id = h.id
ORDER BY g.id";

const PERMISSIONS_OF: &str = "
SELECT role, pattern FROM role_permissions WHERE role IN (SELECT value FROM json_each(?1)) ORDER BY role, pattern";

pub(super) async fn holdings_for(
    readers: &SqlitePool,
    questions: &[Question],
) -> Result<At<Vec<Holdings>>, StoreError> {
    let rows: Vec<HeldRow> = match questions {
        [question] => {
            let mut query = sqlx::query_as(HOLDINGS_FOR_ONE);
            let whole_kind = question.permission.whole_kind();
            for part in parts(question, &whole_kind) {
                query = query.bind(part);
            }
            query.fetch_all(readers).await?
        }
        questions => {
            let asked: Vec<_> = questions
                .iter()
                .map(|question| json!(parts(question, &question.permission.whole_kind())))
                .collect();
            sqlx::query_as(HOLDINGS_FOR_MANY).bind(json!(asked).to_string()).fetch_all(readers).await?
        }
    };

    held::answers(rows, questions.len())
}

pub(super) async fn holdings_of(
    connection: &mut SqliteConnection,
    principal: &Principal,
) -> Result<At<Holdings>, StoreError> {
    let number: i64 = sqlx::query_scalar("SELECT number FROM revision").fetch_one(&mut *connection).await?;
    let rows: Vec<row::GrantRow> = sqlx::query_as(GRANTS_OF)
        .bind(row::principal_kind(principal))
        .bind(principal.id())
        .fetch_all(&mut *connection)
        .await?;
    let mut held = held::grants(rows)?;
    let roles: Vec<&str> = held.permissions.keys().map(|role| role.as_str()).collect();
    let permissions: Vec<(String, String)> =
        sqlx::query_as(PERMISSIONS_OF).bind(json!(roles).to_string()).fetch_all(&mut *connection).await?;
    held::permit(&mut held, permissions)?;
    Ok(At { value: held, revision: row::revision(number)? })
}
