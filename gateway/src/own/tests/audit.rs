//! One line for each refusal that the gateway itself decided, and none for what a service has written down.

use std::fmt;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::*;

#[derive(Clone)]
struct Lines {
    of: fn(&Metadata<'_>) -> bool,
    written: Arc<Mutex<Vec<String>>>,
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if (self.of)(event.metadata()) {
            let mut line = Line(String::new());
            event.record(&mut line);
            self.written.lock().unwrap().push(line.0);
        }
    }
}

/// What `act` wrote down.
async fn audited(act: impl AsyncFnOnce(&Gateway)) -> Vec<String> {
    written(|metadata| metadata.target() == "audit", act).await
}

async fn written(of: fn(&Metadata<'_>) -> bool, act: impl AsyncFnOnce(&Gateway)) -> Vec<String> {
    let lines = Lines { of, written: Arc::default() };
    let subscriber = tracing_subscriber::registry().with(lines.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    act(&Gateway::new()).await;
    let written = lines.written.lock().unwrap();
    written.clone()
}

#[tokio::test]
async fn a_refusal_is_written_down_once() {
    let lines = audited(async |gateway| {
        let said = gateway.admin(Method::GET, "/v1/admin/users", Value::Null).await;
        assert_eq!(said.status, StatusCode::FORBIDDEN);
    })
    .await;
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    for part in [
        "event=\"refusal\"",
        "outcome=\"refused\"",
        "reason=\"permission_denied\"",
        "route=\"/v1/admin/users\"",
        "203.0.113.9",
        ALICE,
        RequestId::new(1, 2).as_str(),
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[tokio::test]
async fn what_is_told_depends_on_who_decided() {
    let login = |password: &str| json!({ "identifier": "alice", "password": password });
    for (headers, body, path, expected) in [
        // auth-service has written the refused login down.
        (&[][..], login("wrong"), "/v1/login", 0),
        (&[("sec-fetch-site", "cross-site")], login("correct horse"), "/v1/login", 1),
        (&[], login("correct horse"), "/v1/login", 0),
        (&[("authorization", "Bearer forged")], Value::Null, "/v1/logout", 1),
        (&[], Value::Null, "/v1/logout", 1),
        (&[], json!({}), "/v1/login", 0),
    ] {
        let lines = audited(async |gateway| {
            gateway.public(Method::POST, path, headers, body.clone()).await;
        })
        .await;
        assert_eq!(lines.len(), expected, "{path} {body}: {lines:?}");
    }
}

#[tokio::test]
async fn an_outage_is_no_refusal() {
    let lines = audited(async |gateway| {
        gateway.world.switch_off("policy");
        gateway.admin(Method::GET, "/v1/admin/users", Value::Null).await;
    })
    .await;
    assert!(lines.is_empty(), "{lines:?}");
}

#[tokio::test]
async fn a_proof_that_is_not_believed_is_an_operators_affair() {
    let lines = written(
        |metadata| *metadata.level() == Level::ERROR,
        async |gateway| {
            gateway.world.refuse("session.create", Reason::ProofInvalid, None);
            let login = json!({ "identifier": "alice", "password": "correct horse" });
            let said = gateway.public(Method::POST, "/v1/login", &[], login).await;
            assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE);
        },
    )
    .await;
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(line.contains("does not believe auth-service's login proof"), "{line}");
}

#[tokio::test]
async fn clients_that_are_not_believed() {
    const BASIC: (&str, &str) = ("authorization", "Basic Y2xpXzE6bGtzX3M=");
    for (headers, path, call, expected) in [
        // auth-service writes a refused login of a client down, and keeps no line about introspection, nor about a revocation
        // by somebody whom it does not know.
        (&[BASIC][..], "/oauth2/token", "auth.issue_client_token", 0),
        (&[BASIC], "/oauth2/introspect", "auth.introspect", 1),
        (&[BASIC], "/oauth2/revoke", "auth.revoke", 1),
        (&[], "/oauth2/token", "", 1),
    ] {
        let lines = audited(async |gateway| {
            gateway.world.refuse(call, Reason::InvalidClient, None);
            let said = gateway.form(path, headers, "grant_type=client_credentials&token=t").await;
            assert_eq!(said.status, StatusCode::UNAUTHORIZED);
        })
        .await;
        assert_eq!(lines.len(), expected, "{path}: {lines:?}");
    }
}
