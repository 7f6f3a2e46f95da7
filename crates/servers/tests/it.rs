//! The servers do what tests rely on.

use latchkey_servers::{Postgres, Redis, Sync};

#[test]
fn postgres_keeps_what_was_committed_when_it_is_killed() {
    let mut server = Postgres::start(Sync::Off);
    server.psql("CREATE TABLE things (name text)");
    server.psql("INSERT INTO things VALUES ('here')");
    let port = server.port();
    server.kill();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    server.restart();
    assert_eq!(server.psql("SELECT name FROM things"), "here");
    server.stop();
    server.restart_with(&["default_transaction_read_only=on"]);
    assert_eq!(server.psql("SHOW default_transaction_read_only"), "on");
}

#[test]
fn redis_comes_back_with_its_file() {
    let mut server = Redis::start_with(&["maxmemory-policy noeviction"]);
    assert_eq!(server.command("SET name here").unwrap(), "+OK");
    server.stop();
    assert!(std::net::TcpStream::connect(("127.0.0.1", server.port())).is_err());
    server.restart();
    assert_eq!(server.command("GET name").unwrap(), "$4");
}
