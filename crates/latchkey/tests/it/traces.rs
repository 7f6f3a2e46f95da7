//! One trace through the whole system: from a client that is believed, through the gateway, every service and its store,
//! to the application.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use servers::{Collected, Collector, Postgres, Redis, Sync};

use super::stack::{Builder, PASSWORD, Stack, eventually};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";

fn traced(request: RequestBuilder) -> RequestBuilder {
    request.header("traceparent", format!("00-{TRACE}-{CLIENT}-01"))
}

async fn start(collector: &Collector, stores: &[&str], trusted: &str) -> Stack {
    Builder::new()
        .arguments(stores)
        .settings("gateway", &format!("trusted_proxies = [{trusted}]\n"))
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
        .variable("OTEL_BSP_SCHEDULE_DELAY", "100")
        .start()
        .await
}

/// Everything that a span is within, from the inside out: which process did what.
fn way_out(spans: &BTreeMap<String, Collected>, innermost: &Collected) -> Vec<String> {
    let (mut way, mut at) = (Vec::new(), Some(innermost));
    while let Some(span) = at {
        way.push(format!("{} {:?} {}", span.service.trim_start_matches("latchkey-"), span.kind, span.name));
        at = spans.get(&span.parent);
        if at.is_none() {
            way.push(span.parent.clone());
        }
    }
    way
}

/// Waits until a way like this is there: the last span to be sent may be of any process.
async fn until(collector: &Collector, expected: &[&str]) {
    let mut seen = Vec::new();
    eventually(&format!("there is {expected:?}"), async || {
        let spans: BTreeMap<String, Collected> =
            collector.spans().into_iter().map(|span| (span.id.clone(), span)).collect();
        seen = spans.values().map(|span| way_out(&spans, span)).collect();
        seen.iter().any(|way| way == expected).then_some(())
    })
    .await;
}

/// A session's cookie, and what the application was asked with it.
async fn logged_in_and_greeted(stack: &Stack) -> (String, Value) {
    let login = json!({ "identifier": "alice", "password": PASSWORD, "mode": "session" });
    let answer = traced(stack.post("/v1/login", &login)).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let request = traced(stack.get("/app/session/hello")).header("cookie", &cookie);
    let echo = request.send().await.unwrap().json().await.unwrap();
    (cookie, echo)
}

/// Which service's store the trace has been to, by the name that the store's kind has there.
fn stores_in(spans: &[Collected]) -> BTreeSet<(&str, &str)> {
    let of_trace = spans.iter().filter(|span| span.trace == TRACE);
    of_trace
        .filter_map(|span| Some((span.service.as_str(), span.attributes.get("db.system.name")?.as_str())))
        .collect()
}

#[tokio::test]
async fn one_trace_goes_from_the_client_to_every_store_and_to_the_application() {
    let (collector, redis) = (Collector::start().await, Redis::start());
    let stack = start(&collector, &["--sessions", &redis.url()], "\"127.0.0.0/8\"").await;
    stack.register("alice").await;

    let (cookie, echo) = logged_in_and_greeted(&stack).await;

    let on = |route: &str| ["gateway Server ", route].concat();
    let (login, hello) = (on("/v1/login"), on("/app/session/*"));
    let call = |service: &str, method: &str| {
        let path = format!("latchkey.{service}.v1.{method}");
        (format!("{service} Server {path}"), format!("gateway Client {path}"))
    };
    let (by_auth, to_auth) = call("auth", "LoginService/Login");
    until(&collector, &["auth Client account", &by_auth, &to_auth, &login, CLIENT]).await;
    let (by_session, to_session) = call("session", "SessionService/CreateSession");
    until(&collector, &["session Client create", &by_session, &to_session, &login, CLIENT]).await;
    let (by_session, to_session) = call("session", "SessionService/ResolveSession");
    until(&collector, &["session Client find", &by_session, &to_session, &hello, CLIENT]).await;
    // The application is told the roles of this moment.
    let (by_policy, to_policy) = call("policy", "PolicyReadService/GetSubjectRoles");
    until(&collector, &["policy Client holdings_of", &by_policy, &to_policy, &hello, CLIENT]).await;
    until(&collector, &["gateway Client /app/session/*", &hello, CLIENT]).await;
    // A token is issued with roles, which auth-service asks for.
    let by_token = json!({ "identifier": "alice", "password": PASSWORD, "mode": "token" });
    assert_eq!(traced(stack.post("/v1/login", &by_token)).send().await.unwrap().status().as_u16(), 200);
    let from_auth = "auth Client latchkey.policy.v1.PolicyReadService/GetSubjectRoles";
    until(
        &collector,
        &["policy Client holdings_of", &by_policy, from_auth, &by_auth, &to_auth, &login, CLIENT],
    )
    .await;

    let spans = collector.spans();
    let of_trace: Vec<&Collected> = spans.iter().filter(|span| span.trace == TRACE).collect();
    let stores = [("latchkey-auth", "sqlite"), ("latchkey-policy", "sqlite"), ("latchkey-session", "redis")];
    assert_eq!(stores_in(&spans), BTreeSet::from(stores));
    assert!(of_trace.iter().all(|span| !span.failed), "{of_trace:?}");
    let answered =
        of_trace.iter().find(|span| span.name == "/app/session/*" && span.parent == CLIENT).unwrap();
    assert_eq!(answered.attributes["http.response.status_code"], "200");
    // The application is told of the span that asks it.
    let asking = of_trace
        .iter()
        .find(|span| {
            span.parent == answered.id && span.attributes.get("peer").is_some_and(|peer| peer == "echo")
        })
        .unwrap();
    let told = &echo["headers"]["traceparent"][0];
    assert_eq!(told, &format!("00-{TRACE}-{}-01", asking.id));

    let exported = String::from_utf8_lossy(&collector.bytes()).into_owned();
    let secret = cookie.split_once('=').unwrap().1;
    for secret in [PASSWORD, secret, &stack.admin_password()] {
        assert!(!exported.contains(secret), "{secret:?} was exported");
    }
    for statement in ["SELECT ", "INSERT ", "EVALSHA"] {
        assert!(!exported.contains(statement), "{statement:?} was exported");
    }
}

#[tokio::test]
async fn one_trace_goes_to_every_store_on_postgresql() {
    let (collector, server) = (Collector::start().await, Postgres::start(Sync::Off));
    let stack = start(&collector, &["--database", &server.url()], "\"127.0.0.0/8\"").await;
    stack.register("alice").await;
    logged_in_and_greeted(&stack).await;
    let services = ["latchkey-auth", "latchkey-policy", "latchkey-session"];
    eventually("every store is in the trace", async || {
        let spans = collector.spans();
        let stores = stores_in(&spans);
        assert!(stores.iter().all(|(_, system)| *system == "postgresql"), "{stores:?}");
        (stores.len() == services.len()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_of_the_open_network_begins_no_trace_of_its_own_choice() {
    let collector = Collector::start().await;
    let stack = start(&collector, &["--sessions", "memory"], "").await;
    let echo: Value = traced(stack.get("/app/public/x")).send().await.unwrap().json().await.unwrap();
    let told = echo["headers"]["traceparent"][0].as_str().unwrap().to_owned();
    assert!(!told.contains(TRACE) && !told.contains(CLIENT), "{told}");
    traced(stack.get("/.well-known/jwks.json")).send().await.unwrap().error_for_status().unwrap();
    eventually("both are exported", async || {
        let spans = collector.spans();
        let is_there = |name: &str| spans.iter().any(|span| span.name == name && span.parent.is_empty());
        (is_there("/app/public/*") && is_there("/.well-known/jwks.json")).then_some(())
    })
    .await;
    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.trace != TRACE), "{spans:?}");
    assert!(
        spans.iter().any(|span| told.contains(&span.trace) && told.contains(&span.id)),
        "{told}: {spans:?}"
    );
}

#[tokio::test]
async fn switched_off_nothing_is_exported_and_a_believed_context_goes_on_as_it_came() {
    let collector = Collector::start().await;
    let stack = Builder::new()
        .settings("gateway", "trusted_proxies = [\"127.0.0.0/8\"]\n")
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
        .variable("OTEL_BSP_SCHEDULE_DELAY", "100")
        .variable("OTEL_SDK_DISABLED", "true")
        .start()
        .await;
    let echo: Value = traced(stack.get("/app/public/x")).send().await.unwrap().json().await.unwrap();
    assert_eq!(echo["headers"]["traceparent"][0], format!("00-{TRACE}-{CLIENT}-01"));
    let mut stack = stack;
    assert!(stack.stop().await.success(), "what was left would have been exported by now");
    assert_eq!(collector.bytes(), b"");
}
