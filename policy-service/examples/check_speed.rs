//! How long a check takes on a large policy: the figures behind the choice in `src/store/sqlite.rs`.
//!
//! `cargo run --release -p policy-service --example check_speed`
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement, run by hand")]

use std::time::Duration;

use chassis::clock::{Clock, SystemClock};
use chassis::entropy::SystemEntropy;
use policy_service::domain::{Permission, Principal, Question, Resource, decide};
use policy_service::store::sqlite::{SqliteSettings, SqliteStore};
use policy_service::store::{Entries, Store};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

const CHECKS: u32 = 20_000;

#[tokio::main]
async fn main() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("policy.sqlite");
    let wait = Duration::from_secs(30);
    let settings = SqliteSettings { path: path.clone(), readers: 4, read_wait: wait, write_wait: wait };
    let entries = Entries {
        clock: SystemClock::shared(),
        entropy: SystemEntropy::shared(),
        longest_token: Duration::from_secs(300),
    };
    let store = SqliteStore::open(&settings, entries).await.unwrap();
    fill(&path).await;

    let questions: Vec<Question> = (0..CHECKS)
        .map(|number| Question {
            principal: Principal::user(&format!("usr_{:026}", number * 7 % 10_000)).unwrap(),
            permission: Permission::parse("document:read").unwrap(),
            resource: Some(Resource::parse("document", &(number % 1_000).to_string()).unwrap()),
        })
        .collect();
    let ask = |questions: Vec<Question>| {
        let store = &store;
        async move {
            let held = store.holdings_for(&questions).await.unwrap().value;
            for (question, held) in questions.iter().zip(&held) {
                std::hint::black_box(decide(held, &question.permission, question.resource.as_ref()));
            }
        }
    };

    let begun = SystemClock.boottime();
    for question in &questions {
        ask(vec![question.clone()]).await;
    }
    report("check, one after another", begun, CHECKS);

    let begun = SystemClock.boottime();
    for batch in questions.chunks(1_000) {
        ask(batch.to_vec()).await;
    }
    report("check in a batch of 1,000", begun, CHECKS);

    let begun = SystemClock.boottime();
    for question in &questions {
        std::hint::black_box(store.holdings_of(&question.principal).await.unwrap());
    }
    report("roles of a subject", begun, CHECKS);

    let mut reader = raw(&path).await;
    let begun = SystemClock.boottime();
    for _ in 0..CHECKS {
        let number: i64 =
            sqlx::query_scalar("SELECT number FROM revision").fetch_one(&mut reader).await.unwrap();
        std::hint::black_box(number);
    }
    report("the revision alone, as a copy in memory would read it", begun, CHECKS);
    store.close().await;
}

/// 10,000 users, each in one of 1,000 groups, every ten of which are in a larger one; 100,000 grants, most of them within
/// a document.
async fn fill(path: &std::path::Path) {
    let mut connection = raw(path).await;
    for sql in [
        "INSERT INTO roles SELECT 'role' || value, 0 FROM generate(100)",
        "INSERT INTO role_permissions SELECT 'role' || a.value, 'document:' || b.action FROM generate(100) a
         JOIN (SELECT 'read' AS action UNION SELECT 'write' UNION SELECT 'list' UNION SELECT 'share') b",
        "INSERT INTO groups SELECT 'group' || value FROM generate(1100)",
        "INSERT INTO group_members SELECT 'group' || (value % 1000), 'user', printf('usr_%026d', value) FROM generate(10000)",
        "INSERT INTO group_members SELECT 'group' || (1000 + value / 10), 'group', 'group' || value FROM generate(1000)",
        "INSERT INTO grants SELECT printf('grt_%026d', value), 'user', printf('usr_%026d', value % 10000),
         'role' || (value % 100), 'document', '' || (value % 997 * 10 + value / 10000) FROM generate(97800)",
        "INSERT INTO grants SELECT printf('grt_%026d', 97800 + value), 'group', 'group' || (value % 1100),
         'role' || (value * 7 % 100), '', '' FROM generate(2200) WHERE true ON CONFLICT DO NOTHING",
    ] {
        // SQLite's own shell has generate_series; the library has not.
        let sql = numbers(sql);
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

fn numbers(sql: &str) -> String {
    let mut rest = sql;
    let mut out = String::new();
    while let Some((before, after)) = rest.split_once("generate(") {
        let (count, after) = after.split_once(')').unwrap();
        let series =
            "WITH RECURSIVE n (value) AS (SELECT 0 UNION ALL SELECT value + 1 FROM n WHERE value + 1 <";
        out.push_str(&format!("{before}({series} {count}) SELECT value FROM n)"));
        rest = after;
    }
    out + rest
}

async fn raw(path: &std::path::Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.unwrap()
}

fn report(what: &str, begun: Duration, times: u32) {
    let each = (SystemClock.boottime() - begun) / times;
    println!("{what}: {each:?} each");
}
