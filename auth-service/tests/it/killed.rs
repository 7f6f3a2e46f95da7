//! `kill -9` of the binary while it is answering, on SQLite: what it acknowledged is there when it runs again, and what it
//! ended stays ended. What PostgreSQL's own kill does is in `store::durability`.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chassis::{
    config::Shutdown,
    grpc::client::{Call, Channel, channel},
    lifecycle::Lifecycle,
};
use proto::auth::v1::{
    self as wire, client_admin_service_client::ClientAdminServiceClient,
    login_service_client::LoginServiceClient, token_read_service_client::TokenReadServiceClient,
    token_service_client::TokenServiceClient, user_admin_service_client::UserAdminServiceClient,
    user_read_service_client::UserReadServiceClient,
};
use tokio::{net::TcpStream, process::Child, task::JoinSet};
use tonic::Status;

use crate::{
    policy::FakePolicy,
    stack::{ADDRESS, PASSWORD, Place, first_party, login_request, reason},
};

const WRITERS: usize = 4;
/// Acknowledged when the process is killed.
const ENOUGH: usize = 24;

/// What one writer was told before the process died.
#[derive(Default)]
struct Ledger {
    users: Vec<String>,
    good: Vec<wire::TokenSet>,
    ended: Vec<wire::TokenSet>,
}

/// The binary, and policy-service as far as it asks that.
struct Running {
    child: Child,
    auth: Channel,
    life: Lifecycle,
}

async fn start(place: &Place) -> Running {
    let life = Lifecycle::new(Shutdown { settle: Duration::ZERO, drain: Duration::ZERO });
    let (_, policy) = FakePolicy::serve(&place.authority, &life).await;
    let address = format!("127.0.0.1:{}", servers::free_port());
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_auth-service"))
        .env_clear()
        .envs(place.environment(&[
            ("LATCHKEY__SERVER__LISTEN", &address),
            ("LATCHKEY__OPERATIONS__LISTEN", "127.0.0.1:0"),
            ("LATCHKEY__PEERS__POLICY__ENDPOINTS", &format!("[\"https://{policy}\"]")),
        ]))
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    while TcpStream::connect(&address).await.is_err() {
        assert!(child.try_wait().unwrap().is_none(), "it did not start");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let identity = place.authority.identity("gateway");
    let auth = channel(&[format!("https://{address}")], &identity, "auth", &life).unwrap();
    Running { child, auth, life }
}

impl Running {
    /// SIGKILL: no drain, no flush, no close.
    async fn kill(mut self) {
        self.child.start_kill().unwrap();
        self.child.wait().await.unwrap();
        self.life.end();
    }
}

fn request<T>(message: T) -> tonic::Request<T> {
    Call::new("test", Duration::from_secs(20)).request(message)
}

async fn refresh(auth: &Channel, tokens: &wire::TokenSet) -> Result<wire::TokenSet, Status> {
    let refresh_token = tokens.refresh_token.clone();
    let message = wire::RefreshRequest { client: Some(first_party()), refresh_token, scope: String::new() };
    let reply = TokenServiceClient::new(auth.clone()).refresh(request(message)).await?;
    Ok(reply.into_inner().tokens.unwrap())
}

/// Registers a user and logs in; of four, one stays so, one is refreshed, one is ended and one disabled.
async fn step(auth: &Channel, number: usize, ledger: &mut Ledger) -> Result<(), Status> {
    let username = format!("user{number}");
    let message = wire::RegisterRequest {
        username: username.clone(),
        password: PASSWORD.into(),
        client_address: ADDRESS.into(),
    };
    let registered = LoginServiceClient::new(auth.clone()).register(request(message)).await?;
    let user = registered.into_inner().user.unwrap().id;
    ledger.users.push(user.clone());

    let message = login_request(&username, PASSWORD, wire::LoginMode::Token, ADDRESS);
    let reply = LoginServiceClient::new(auth.clone()).login(request(message)).await?.into_inner();
    let Some(wire::login_response::Result::Tokens(tokens)) = reply.result else { panic!("{reply:?}") };
    match number % 4 {
        0 => ledger.good.push(tokens),
        1 => ledger.good.push(refresh(auth, &tokens).await?),
        2 => {
            let token = tokens.refresh_token.clone();
            let message = wire::RevokeRequest { client: Some(first_party()), token };
            TokenServiceClient::new(auth.clone()).revoke(request(message)).await?;
            ledger.ended.push(tokens);
        }
        _ => {
            let status = wire::Status::Disabled.into();
            let message = wire::SetUserStatusRequest { id: user, status };
            UserAdminServiceClient::new(auth.clone()).set_user_status(request(message)).await?;
            ledger.ended.push(tokens);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_the_kill_of_the_process() {
    let place = Place::new();
    let first = start(&place).await;
    let message =
        wire::CreateClientRequest { name: "reader".into(), audiences: Vec::new(), scopes: Vec::new() };
    let mut admin = ClientAdminServiceClient::new(first.auth.clone());
    let made = admin.create_client(request(message)).await.unwrap().into_inner();
    let reader =
        wire::ClientAuthentication { client_id: made.client.unwrap().id, client_secret: made.client_secret };
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (auth, acknowledged) = (first.auth.clone(), Arc::clone(&acknowledged));
        writers.spawn(async move {
            let mut ledger = Ledger::default();
            // Each begins with another kind of ending.
            for round in 0.. {
                if step(&auth, round * WRITERS + (writer + round) % WRITERS, &mut ledger).await.is_err() {
                    break;
                }
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            ledger
        });
    }
    while acknowledged.load(Ordering::Relaxed) < ENOUGH {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.kill().await;
    let ledgers = writers.join_all().await;

    let second = start(&place).await;
    let auth = &second.auth;
    let is_active = async |tokens: &wire::TokenSet| {
        let token = token::open(&tokens.access_token, std::slice::from_ref(&place.recipient)).unwrap();
        let message = wire::IntrospectRequest { client: Some(reader.clone()), token };
        let reply = TokenReadServiceClient::new(auth.clone()).introspect(request(message)).await;
        reply.unwrap().into_inner().active
    };
    for ledger in &ledgers {
        for id in &ledger.users {
            let message = wire::GetUserRequest { key: Some(wire::get_user_request::Key::Id(id.clone())) };
            UserReadServiceClient::new(auth.clone()).get_user(request(message)).await.unwrap();
        }
        for tokens in &ledger.good {
            assert!(is_active(tokens).await);
            refresh(auth, tokens).await.unwrap();
        }
        for tokens in &ledger.ended {
            assert!(!is_active(tokens).await, "its access token is good again");
            assert_eq!(reason(refresh(auth, tokens).await), "INVALID_GRANT");
        }
    }
    let counted = |of: fn(&Ledger) -> usize| ledgers.iter().map(of).sum::<usize>();
    assert!(counted(|one| one.good.len()) >= ENOUGH / 3 && counted(|one| one.ended.len()) >= ENOUGH / 3);
    second.kill().await;
}
