//! What principals hold: the two reads behind every decision.

use chassis::postgres::{Connection, Transaction};

use crate::domain::{At, Holdings, Principal, Question};
use crate::store::held::{self, HeldRow, parts};
use crate::store::{StoreError, row};

// One statement and so one snapshot, for one question as for many. It walks up from each principal to its groups (UNION, not
// UNION ALL, so that it would end even in a circle) and keeps the grants that hold everywhere or exactly at the question's
// place and whose role has the permission. A row of its own says the revision, also where nothing is held.
const HOLDINGS_FOR: &str = r#"
WITH RECURSIVE
    questions (number, subject_kind, subject_id, within_kind, within_id, permission, whole_kind) AS MATERIALIZED (
        SELECT number - 1, subject_kind COLLATE "C", subject_id COLLATE "C", within_kind, within_id, permission, whole_kind
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
            WITH ORDINALITY AS asked (subject_kind, subject_id, within_kind, within_id, permission, whole_kind, number)
    ),
    holders (number, kind, id) AS (
        SELECT number, subject_kind, subject_id FROM questions
        UNION
        SELECT h.number, 'group', m.group_name
        FROM holders h
        JOIN group_members m ON m.member_kind = h.kind AND m.member_id = h.id
    )
SELECT number AS revision, NULL::bigint AS question, NULL AS id, NULL AS subject_kind, NULL AS subject_id, NULL AS role,
    NULL AS within_kind, NULL AS within_id, NULL AS pattern
FROM revision
UNION ALL
SELECT NULL, q.number, g.id, g.subject_kind, g.subject_id, g.role, g.within_kind, g.within_id, p.pattern
FROM holders h
JOIN questions q ON q.number = h.number
JOIN grants g ON g.subject_kind = h.kind AND g.subject_id = h.id
    AND g.within_kind IN ('', q.within_kind) AND g.within_id IN ('', q.within_id)
JOIN role_permissions p ON p.role = g.role AND p.pattern IN (q.permission, q.whole_kind)
ORDER BY question, id"#;

const GRANTS_OF: &str = r#"
WITH RECURSIVE holders (kind, id) AS (
    SELECT $1::text COLLATE "C", $2::text COLLATE "C"
    UNION
    SELECT 'group', m.group_name
    FROM holders h
    JOIN group_members m ON m.member_kind = h.kind AND m.member_id = h.id
)
SELECT g.id, g.subject_kind, g.subject_id, g.role, g.within_kind, g.within_id
FROM holders h
JOIN grants g ON g.subject_kind = h.kind AND g.subject_id = h.id
ORDER BY g.id"#;

pub(super) async fn holdings_for(
    mut connection: Connection,
    questions: &[Question],
) -> Result<At<Vec<Holdings>>, StoreError> {
    let whole_kinds: Vec<_> = questions.iter().map(|question| question.permission.whole_kind()).collect();
    let asked: Vec<[&str; 6]> =
        questions.iter().zip(&whole_kinds).map(|(question, whole)| parts(question, whole)).collect();
    let mut query = sqlx::query_as(HOLDINGS_FOR);
    for part in 0..6 {
        let column: Vec<&str> = asked.iter().filter_map(|parts| parts.get(part).copied()).collect();
        query = query.bind(column);
    }
    let rows: Vec<HeldRow> = query.fetch_all(&mut *connection).await?;
    held::answers(rows, questions.len())
}

pub(super) async fn holdings_of(
    mut snapshot: Transaction,
    principal: &Principal,
) -> Result<At<Holdings>, StoreError> {
    let number: i64 = sqlx::query_scalar("SELECT number FROM revision").fetch_one(&mut *snapshot).await?;
    let rows: Vec<row::GrantRow> = sqlx::query_as(GRANTS_OF)
        .bind(row::principal_kind(principal))
        .bind(principal.id())
        .fetch_all(&mut *snapshot)
        .await?;
    let mut held = held::grants(rows)?;
    let roles: Vec<&str> = held.permissions.keys().map(|role| role.as_str()).collect();
    let permissions: Vec<(String, String)> = sqlx::query_as(
        "SELECT role, pattern FROM role_permissions WHERE role = ANY($1) ORDER BY role, pattern",
    )
    .bind(roles)
    .fetch_all(&mut *snapshot)
    .await?;
    held::permit(&mut held, permissions)?;
    Ok(At { value: held, revision: row::revision(number)? })
}
