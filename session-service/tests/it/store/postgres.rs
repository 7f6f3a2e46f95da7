//! What is PostgreSQL's own: what survives the kill of a server that is set up to forget. Commits that nobody waits for stay
//! in its memory here for ten seconds.

use std::sync::Arc;

use servers::{Postgres, Sync};
use session_service::domain::EndReason;
use session_service::store::Ending;

use super::{at, create, found, id, login, migrated, schema_on};

const FORGETFUL: [&str; 2] = ["synchronous_commit=off", "wal_writer_delay=10s"];

#[tokio::test]
async fn what_was_answered_survives_the_kill_of_the_server() {
    let mut server = Postgres::start(Sync::On);
    server.stop();
    server.restart_with(&FORGETFUL);
    server.psql("CREATE TABLE forgotten (round BIGINT)");
    for round in 1..=5 {
        let store = Arc::new(migrated(&schema_on(&server)).await) as super::Store;
        create(&store, login(round, "alice", at(0))).await;
        create(&store, login(100 + round, "alice", at(0))).await;
        assert_eq!(store.end(Ending::One(id(100 + round)), EndReason::Logout, at(1)).await.unwrap().len(), 1);
        // The control, last: whoever waits for a later commit waits for this too.
        server.psql(&format!("INSERT INTO forgotten VALUES ({round})"));
        server.kill();
        server.restart_with(&FORGETFUL);
        assert_eq!(server.psql("SELECT count(*) FROM forgotten"), "0", "nothing would be lost anyway");
        let store = Arc::new(migrated(&schema_on(&server)).await) as super::Store;
        assert_eq!(found(&store, round, at(2)).await, Some(id(round)));
        assert_eq!(found(&store, 100 + round, at(2)).await, None);
    }
}
