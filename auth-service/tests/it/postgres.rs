//! The service on PostgreSQL: starts that wait for it, and a server that fails while it is used.

use std::{
    future::Future,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use auth_service::{StartError, app::Injected, migrate, store::postgres::OpenError};
use chassis::{
    clock::{Clock as _, SystemClock},
    config::Shutdown,
    lifecycle::Lifecycle,
};
use proto::auth::v1 as wire;
use servers::{Postgres, Sync};
use tonic::{Code, Status};

use crate::stack::{Env, OTHER_PASSWORD, PASSWORD, Place, Stack, listeners, reason};

const URL: &str = "LATCHKEY__STORE__URL";
const TIMEOUT: &str = "LATCHKEY__STORE__TIMEOUT";
const NEWER: &str = "INSERT INTO auth._sqlx_migrations (version, description, success, checksum, execution_time) \
                     VALUES (29990101000000, 'accounts move', true, '', 0)";

/// Starts with what there is, which says `what` on `/readyz` and waits; serves once `healed` has happened.
async fn a_start_waits(place: &Arc<Place>, env: Env<'_>, what: &str, healed: impl Future<Output = ()>) {
    let lifecycle = Lifecycle::new(Shutdown { settle: Duration::ZERO, drain: Duration::from_secs(5) });
    let starting = auth_service::start(place.config(env), place.injected(), &lifecycle, listeners().await);
    let mut starting = std::pin::pin!(starting);
    tokio::select! {
        started = &mut starting => panic!("it did not wait: {:?}", started.err()),
        () = says(&lifecycle, what) => assert!(!lifecycle.is_ready()),
    }
    healed.await;
    let running = starting.await.unwrap_or_else(|error| panic!("{error}"));
    lifecycle.readiness_changes().wait_for(|ready| *ready).await.unwrap();
    running.auth.keys.ring().unwrap();
    lifecycle.end();
}

async fn says(lifecycle: &Lifecycle, what: &str) {
    let is_said = || {
        let conditions = lifecycle.conditions();
        let store = conditions.iter().find(|condition| &*condition.name == "store");
        store.is_some_and(|store| store.state.as_ref().is_err_and(|said| said.contains(what)))
    };
    while !is_said() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn migrated(server: &Postgres, place: &Place) {
    let applied = migrate(&place.config(&[(URL, &server.url())])).await.unwrap();
    assert_eq!(applied.unwrap(), ["accounts and tokens", "feed", "expand feed append"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_waited_for() {
    let mut server = Postgres::start(Sync::Off);
    let place = Place::new();
    migrated(&server, &place).await;
    server.stop();
    let (url, said) = (server.url(), "waiting for the database latchkey at 127.0.0.1:");
    a_start_waits(&place, &[(URL, &url)], said, async { server.restart() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_behind_is_waited_for_until_somebody_migrates_it() {
    let server = Postgres::start(Sync::Off);
    let place = Place::new();
    let said = "the schema auth is behind this version: run `latchkey migrate`";
    a_start_waits(&place, &[(URL, &server.url())], said, migrated(&server, &place)).await;
}

/// The database answered, and was away again before the signing keys were read: no reason to give up.
#[tokio::test(flavor = "multi_thread")]
async fn signing_keys_that_cannot_be_read_at_the_start_are_waited_for() {
    let server = Postgres::start(Sync::Off);
    let place = Place::new();
    migrated(&server, &place).await;
    server.psql("ALTER TABLE auth.signing_keys RENAME TO away");
    a_start_waits(&place, &[(URL, &server.url())], "waiting for the signing keys: ", async {
        server.psql("ALTER TABLE auth.away RENAME TO signing_keys");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_from_the_future_is_refused() {
    let server = Postgres::start(Sync::Off);
    let place = Place::new();
    migrated(&server, &place).await;
    server.psql(NEWER);
    let error = place.try_start(place.config(&[(URL, &server.url())])).await.err().unwrap();
    assert!(matches!(error, StartError::Postgres(OpenError::FromTheFuture { .. })), "{error:?}");
    let line = error.to_string();
    assert!(line.contains("29990101000000") && !line.contains('\n'), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_again_changes_nothing_and_a_file_is_none_of_its_business() {
    let server = Postgres::start(Sync::Off);
    let place = Place::new();
    migrated(&server, &place).await;
    let url = server.url();
    assert_eq!(migrate(&place.config(&[(URL, &url)])).await.unwrap(), Some(Vec::new()));
    assert_eq!(migrate(&place.config(&[])).await.unwrap(), None);
    assert!(!place.path("auth.sqlite").exists(), "each start migrates it");
}

/// A client that both have read is taken from memory, and from the answer on not for what it was before: the secret that one
/// replica replaced opens nothing at the other, and the new one does.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_remembered_is_what_the_last_answer_made_it() {
    let server = Postgres::start(Sync::Off);
    let place = Place::new();
    migrated(&server, &place).await;
    // PostgreSQL's own clock is what forgets.
    place.clock.advance((SystemClock.now() - place.clock.now()).unsigned_abs());
    let url = server.url();
    let env: Env<'_> = &[(URL, &url), (TIMEOUT, "20s")];
    let replicas =
        [Stack::start_in(Arc::clone(&place), env).await, Stack::start_in(Arc::clone(&place), env).await];
    let (_, owner) = replicas[0].create_client("owner", &["https://api.example"], &[]).await.unwrap();
    let (_, mut reader) = replicas[1].create_client("reader", &["https://api.example"], &[]).await.unwrap();
    let token = replicas[0].client_token(owner, "", "").await.unwrap().access_token;
    for replica in &replicas {
        assert!(replica.introspect(reader.clone(), &token).await.unwrap().active);
    }
    server.psql("ALTER TABLE auth.clients RENAME TO away");
    for replica in &replicas {
        // It may be asked just when it takes something over, and then asks the store.
        while !replica.introspect(reader.clone(), &token).await.is_ok_and(|told| told.active) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    server.psql("ALTER TABLE auth.away RENAME TO clients");
    for round in 0..20 {
        let here = &replicas[round % 2];
        let message = wire::RotateClientSecretRequest { id: reader.client_id.clone() };
        let rotated = here.client_admin().rotate_client_secret(here.call().request(message)).await.unwrap();
        let former = reader.clone();
        reader.client_secret = rotated.into_inner().client_secret;
        for replica in &replicas {
            assert_eq!(reason(replica.introspect(former.clone(), &token).await), "INVALID_CLIENT", "{round}");
            assert!(replica.introspect(reader.clone(), &token).await.unwrap().active, "{round}");
        }
    }
    let message =
        wire::SetClientStatusRequest { id: reader.client_id.clone(), status: wire::Status::Disabled.into() };
    replicas[0].client_admin().set_client_status(replicas[0].call().request(message)).await.unwrap();
    for replica in &replicas {
        assert_eq!(reason(replica.introspect(reader.clone(), &token).await), "INVALID_CLIENT");
    }
}

/// Two replicas count together: attempts at one do not start anew at the other (P06).
#[tokio::test(flavor = "multi_thread")]
async fn p06_failed_logins_are_counted_over_replicas() {
    let server = Postgres::start(Sync::Off);
    let place = Place::new();
    migrated(&server, &place).await;
    let url = server.url();
    let (first, most) = ("LATCHKEY__THROTTLE__FIRST_DELAY", "LATCHKEY__THROTTLE__MAX_DELAY");
    let env: Env<'_> = &[(URL, &url), (TIMEOUT, "20s"), (first, "1h"), (most, "2h")];
    // One that goes on: between two looks at PostgreSQL's, a clock that stands still is each replica's own.
    let injected = || Injected { clock: Arc::new(SystemClock), ..place.injected() };
    let replicas = [
        Stack::start_injected(Arc::clone(&place), env, injected()).await,
        Stack::start_injected(Arc::clone(&place), env, injected()).await,
    ];
    replicas[0].register("alice", PASSWORD).await.unwrap();
    for number in 0..5 {
        let refused = replicas[number % 2].login("alice", OTHER_PASSWORD).await;
        assert_eq!(reason(refused), "INVALID_CREDENTIALS", "{number}");
    }
    for replica in &replicas {
        assert_eq!(reason(replica.login("alice", PASSWORD).await), "TOO_MANY_ATTEMPTS");
    }
}

/// Otherwise what the other signs would be believed by nobody, until it looks for keys the next time.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_one_replica_ended_signs_nothing_at_the_other_either() {
    let server = Postgres::start(Sync::Off);
    let place = Place::new();
    migrated(&server, &place).await;
    let url = server.url();
    let env: Env<'_> = &[(URL, &url), (TIMEOUT, "20s")];
    // Tokens are dated by PostgreSQL's.
    place.clock.advance((SystemClock.now() - place.clock.now()).unsigned_abs());
    let [one, other] =
        [Stack::start_in(Arc::clone(&place), env).await, Stack::start_in(Arc::clone(&place), env).await];
    one.register("alice", PASSWORD).await.unwrap();
    let stolen = other.running.auth.keys.ring().unwrap().active().kid().to_owned();
    let message = wire::RevokeKeyRequest { kid: stolen.clone() };
    one.key_admin().revoke_key(one.call().request(message)).await.unwrap();
    let published = other.key_set().await;
    assert!(published.find(&stolen).is_none() && !published.is_empty());
    let tokens = other.login("alice", PASSWORD).await.unwrap();
    let inner = token::open(&tokens.access_token, std::slice::from_ref(&place.recipient)).unwrap();
    one.verify(&inner, "latchkey").await.expect("another key signed it, and both publish that");
}

/// As a database that was deposed has it: what it was before it ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_has_ended_is_not_active_whatever_its_rows_say() {
    let Used { server, stack, tokens, client, .. } = Used::new().await;
    // Only first parties log in so far, and they are told nothing.
    server.psql(&format!("UPDATE auth.families SET client = '{}'", client.client_id));
    let refresh = &tokens.refresh_token;
    assert!(stack.introspect(client.clone(), refresh).await.unwrap().active);
    let family = server.psql("SELECT id FROM auth.families");
    let message = wire::RevokeFamilyRequest { family: family.trim().to_owned() };
    stack.token_admin().revoke_family(stack.call().request(message)).await.unwrap();
    assert!(!stack.introspect(client.clone(), refresh).await.unwrap().active);
    server.psql("UPDATE auth.families SET ended_at = NULL, ended_why = NULL");
    assert!(!stack.introspect(client, refresh).await.unwrap().active);
}

/// A stack on a server, with a user who is logged in and an application.
struct Used {
    server: Postgres,
    stack: Stack,
    user: String,
    tokens: wire::TokenSet,
    client: wire::ClientAuthentication,
}

impl Used {
    async fn new() -> Used {
        let server = Postgres::start(Sync::Off);
        let place = Place::new();
        migrated(&server, &place).await;
        let url = server.url();
        let stack = Stack::start_in(place, &[(URL, &url), (TIMEOUT, "1s")]).await;
        let user = stack.register("alice", PASSWORD).await.unwrap().id;
        let tokens = stack.login("alice", PASSWORD).await.unwrap();
        let (_, client) = stack.create_client("reports", &["latchkey"], &[]).await.unwrap();
        Used { server, stack, user, tokens, client }
    }

    /// "Come back", and never "no": nobody is logged out, and nobody is told that something is not there.
    async fn everything_is_unavailable(&self) {
        use wire::get_user_request::Key;
        let (stack, call, refresh) = (&self.stack, || self.stack.call(), &self.tokens.refresh_token);
        let (mut users, mut admin, mut clients) =
            (stack.user_reads(), stack.user_admin(), stack.client_reads());
        let user = async |key| {
            let message = wire::GetUserRequest { key: Some(key) };
            stack.user_reads().get_user(call().request(message)).await
        };
        // All at once: they wait together.
        tokio::join!(
            unavailable("login", stack.login("alice", PASSWORD)),
            unavailable("login with a wrong password", stack.login("alice", OTHER_PASSWORD)),
            unavailable("login of nobody", stack.login("nobody", PASSWORD)),
            unavailable("login for a session", stack.login_proof("alice", PASSWORD)),
            unavailable("register", stack.register("bob", PASSWORD)),
            unavailable("change password", stack.change_password("alice", PASSWORD, OTHER_PASSWORD)),
            unavailable("refresh", stack.refresh(refresh)),
            unavailable("client token", stack.client_token(self.client.clone(), "", "")),
            unavailable("introspect", stack.introspect(self.client.clone(), refresh)),
            unavailable("user by id", user(Key::Id(self.user.clone()))),
            unavailable("user by name", user(Key::Username("alice".into()))),
            unavailable("no user", user(Key::Username("nobody".into()))),
            unavailable("users", users.list_users(call().request(wire::ListUsersRequest::default()))),
            unavailable("clients", clients.list_clients(call().request(wire::ListClientsRequest::default()))),
            unavailable(
                "delete user",
                admin.delete_user(call().request(wire::DeleteUserRequest { id: self.user.clone() }))
            ),
        );
        // What verifies tokens needs no store.
        assert_eq!(stack.key_set().await.iter().count(), 1);
    }

    /// By itself. What was issued before is as good as it was.
    async fn heals(&self) {
        loop {
            match self.stack.refresh(&self.tokens.refresh_token).await {
                Ok(_) => break,
                Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
            }
        }
        self.stack.login("alice", PASSWORD).await.unwrap();
    }
}

async fn unavailable<T>(what: &str, called: impl Future<Output = Result<T, Status>>) {
    let Err(status) = called.await else { panic!("{what} was answered") };
    assert_eq!(status.code(), Code::Unavailable, "{what}: {status:?}");
    assert!(!status.message().contains("postgres"), "what went wrong is for the log: {status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_unavailable_to_every_rpc_and_comes_back_by_itself() {
    let mut used = Used::new().await;
    used.server.kill();
    used.everything_is_unavailable().await;
    assert!(used.stack.lifecycle.is_ready(), "once ready it stays");
    used.server.restart();
    used.heals().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_unavailable_within_the_deadline_and_comes_back_by_itself() {
    let used = Used::new().await;
    used.server.freeze();
    // Long before the deadline of the callers, which would be another status.
    used.everything_is_unavailable().await;
    used.server.resume();
    used.heals().await;
}

/// The binary itself, told to stop while it waits: what its probes say until then, and that it stops in good order.
#[test]
fn a_start_that_waits_answers_probes_and_stops_when_it_is_told_to() {
    let place = Place::new();
    let probes = format!("127.0.0.1:{}", servers::free_port());
    let database = servers::free_port();
    let mut child = Command::new(env!("CARGO_BIN_EXE_auth-service"))
        .env_clear()
        .envs(place.environment(&[
            (URL, &format!("postgres://latchkey@127.0.0.1:{database}/latchkey")),
            ("LATCHKEY__OPERATIONS__LISTEN", &probes),
        ]))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stdout.take().unwrap()).lines();
    let waits = log.find(|line| line.as_ref().unwrap().contains("waiting for the database latchkey at"));
    assert!(waits.unwrap().unwrap().contains(&database.to_string()));
    assert!(get(&probes, "/livez").starts_with("HTTP/1.1 200"));
    let ready = get(&probes, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(ready.contains("not ok: store: waiting for the database latchkey at"), "{ready}");
    let sent = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
