//! Services that share a PostgreSQL, by roles made as docs/operations.md tells an operator to: each is enough for its service,
//! and shows it nothing of the others.

use std::fs;
use std::path::Path;

use reqwest::StatusCode;
use servers::{Postgres, Sync};

use crate::stack::{Builder, PASSWORD, client};

const SERVICES: [&str; 3] = ["auth", "session", "policy"];
/// Says whether a statement is allowed.
const ATTEMPT: &str = "
CREATE FUNCTION pg_temp.attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN EXECUTE statement; RETURN 'done'; EXCEPTION WHEN insufficient_privilege THEN RETURN 'refused'; END $$;
";

/// What the page has an operator run, for `service`.
fn as_the_page_says(service: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once("\n## PostgreSQL\n").unwrap();
    let (_, sql) = section.split_once("```sql\n").unwrap();
    let (sql, _) = sql.split_once("```").unwrap();
    assert!(sql.contains("latchkey_auth") && sql.contains("SCHEMA auth"), "{sql}");
    sql.replace("auth", service)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_of_a_service_is_enough_for_it_and_reads_nothing_of_the_others() {
    let server = Postgres::start(Sync::Off);
    let mut builder = Builder::new().arguments(&["--database", &server.url()]);
    for service in SERVICES {
        server.script(&as_the_page_says(service));
        let url = server.url().replace("//latchkey@", &format!("//latchkey_{service}@"));
        builder = builder.settings(service, &format!("[store]\nurl = \"{url}\"\n"));
    }
    let stack = builder.start().await;
    stack.register("alice").await;
    stack.cli(&["role", "add", "reader", "document:read"]);
    stack.cli(&["grant", "add", "alice", "reader"]);
    let (tokens, browser) = (stack.token("alice", PASSWORD).await, stack.session("alice", PASSWORD).await);
    let document = || client().get(format!("{}/app/documents/1", stack.url()));
    for asked in [document().bearer_auth(&tokens.access_token), document().header("cookie", &browser.cookie)]
    {
        assert_eq!(asked.send().await.unwrap().status(), StatusCode::OK);
    }

    let tables = server.psql(
        "SELECT schemaname, format('%I.%I', schemaname, tablename) FROM pg_tables
         WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2",
    );
    let mut statements = Vec::new();
    for (schema, table) in tables.lines().map(|line| line.split_once('|').unwrap()) {
        statements.push((schema, format!("SELECT count(*) FROM {table}")));
        statements.push((schema, format!("DELETE FROM {table} WHERE false")));
    }
    for schema in SERVICES {
        assert!(statements.iter().any(|(of, _)| *of == schema), "{schema} has no tables in {tables}");
        statements.push((schema, format!("CREATE TABLE {schema}.intruder (id int)")));
    }
    for role in SERVICES {
        let mut script = format!("SET SESSION AUTHORIZATION latchkey_{role};{ATTEMPT}");
        let mut expected = String::new();
        for (schema, statement) in &statements {
            script.push_str(&format!("SELECT '{statement}: ' || pg_temp.attempt('{statement}');\n"));
            let outcome = if *schema == role { "done" } else { "refused" };
            expected.push_str(&format!("{statement}: {outcome}\n"));
        }
        let printed = server.script(&script);
        let seen: String = printed
            .lines()
            .filter(|line| line.ends_with(": done") || line.ends_with(": refused"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(seen, expected, "as latchkey_{role}");
        server.psql(&format!("DROP TABLE {role}.intruder"));
    }
}
