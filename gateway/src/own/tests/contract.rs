//! What holds for all endpoints: the description is complete, bodies are read strictly, refusals are problems.

use super::*;

/// What `endpoint::schema` answers for a schema that could not be written.
fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(holds_null),
        Value::Object(members) => members.values().any(holds_null),
        _ => false,
    }
}

fn described(said: &Said) -> Vec<(Method, String)> {
    let document = said.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut found = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            assert!(!operation["summary"].as_str().unwrap().is_empty());
            assert!(!holds_null(operation), "{method} {path}: a schema is missing");
            found.push((method.to_uppercase().parse().unwrap(), path.clone()));
        }
    }
    found
}

#[tokio::test]
async fn every_endpoint_is_described_and_every_description_is_served() {
    for prefix in ["", "/auth"] {
        let gateway = Gateway::below(prefix);
        for (router, table, at) in
            [(&gateway.public, public_endpoints(), prefix), (&gateway.internal, internal_endpoints(), "")]
        {
            let document = request(Method::GET, &format!("{at}/openapi.json"), &[], Value::Null);
            let mut found = described(&gateway.send(router, document).await);
            let mut served: Vec<(Method, String)> =
                table.iter().map(|endpoint| (endpoint.method.clone(), endpoint.full_path(at))).collect();
            let order = |(method, path): &(Method, String)| (path.clone(), method.to_string());
            found.sort_by_key(order);
            served.sort_by_key(order);
            assert_eq!(found, served);
            for (method, path) in found {
                let path = path.replace(['{', '}'], "");
                let path = path.replace("kind", "group");
                let said = gateway.send(router, request(method.clone(), &path, &[], Value::Null)).await;
                assert_ne!(said.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
                if said.status == StatusCode::NOT_FOUND {
                    assert_ne!(said.code(), "not_found", "{method} {path}");
                }
            }
        }
    }
}

fn references(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| references(item, into)),
        Value::Object(members) => {
            into.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| references(member, into));
        }
        _ => {}
    }
}

#[tokio::test]
async fn references_lead_somewhere() {
    let gateway = Gateway::new();
    for router in [&gateway.public, &gateway.internal] {
        let document =
            gateway.send(router, request(Method::GET, "/openapi.json", &[], Value::Null)).await.json();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}

#[tokio::test]
async fn ids_of_operations_are_unique() {
    let gateway = Gateway::new();
    for router in [&gateway.public, &gateway.internal] {
        let said = gateway.send(router, request(Method::GET, "/openapi.json", &[], Value::Null)).await;
        let document = said.json();
        let operations: Vec<String> = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|path| path.as_object().unwrap().values())
            .map(|operation| operation["operationId"].as_str().unwrap().to_owned())
            .collect();
        let unique: std::collections::BTreeSet<&String> = operations.iter().collect();
        assert_eq!(unique.len(), operations.len());
    }
}

#[tokio::test]
async fn below_a_prefix_nothing_is_left_behind() {
    let gateway = Gateway::below("/auth");
    let said = gateway.public(Method::GET, "/v1/me", &[], Value::Null).await;
    assert_eq!(said.code(), "not_found");
    let said = gateway.public(Method::GET, "/auth/v1/me", &[], Value::Null).await;
    assert_eq!(said.code(), "credential_missing");
    let asked =
        json!({ "identifier": "alice", "password": "correct horse", "mode": "token", "deliver": "cookie" });
    let said = gateway.public(Method::POST, "/auth/v1/login", &[], asked).await;
    let refresh = said.headers.get_all(SET_COOKIE).iter().next_back().unwrap().to_str().unwrap();
    assert!(refresh.contains("; Path=/auth/v1/refresh;"), "{refresh}");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let gateway = Gateway::new();
    let said = gateway.public(Method::GET, "/v1/nothing", &[], Value::Null).await;
    assert_eq!((said.status, said.code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
    assert_eq!(said.json()["request_id"], said.headers["x-request-id"].to_str().unwrap());
    let said = gateway.public(Method::PUT, "/v1/login", &[], Value::Null).await;
    assert_eq!((said.status, said.code().as_str()), (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"));
    assert_eq!(said.headers["allow"], "POST");
    assert_eq!(said.headers["content-type"], "application/problem+json");
    let said = gateway.public(Method::POST, "/v1/me", &[], Value::Null).await;
    assert!(said.headers["allow"].to_str().unwrap().contains("GET"));
    // Administration is on the other listener.
    let said = gateway.public(Method::GET, "/v1/admin/users", &[], Value::Null).await;
    assert_eq!(said.code(), "not_found");
}

#[tokio::test]
async fn c04_json_endpoints_take_json_and_nothing_else() {
    let gateway = Gateway::new();
    gateway.world.session("mine", "ses_mine", ALICE, "alice");
    let cookie = "__Host-latchkey-session=mine; __Secure-latchkey-refresh=lkr_good";
    let bearer = format!("Bearer token:{ALICE}");
    for area in AREAS {
        gateway.world.permit(ALICE, &format!("latchkey:{area}"));
    }
    let forms = |endpoint: &Endpoint| matches!(endpoint.takes, endpoint::Takes::Form(_));
    for (router, table) in [(&gateway.public, public_endpoints()), (&gateway.internal, internal_endpoints())]
    {
        for endpoint in table.into_iter().filter(|e| e.method != Method::GET && !forms(e)) {
            let path = endpoint.path.replace("{kind}", "group").replace(['{', '}'], "");
            for media_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
                let mut request = Request::builder().method(endpoint.method.clone()).uri(&path);
                request = request.header("content-type", media_type).header(SAME_ORIGIN.0, SAME_ORIGIN.1);
                request = match endpoint.path.starts_with("/v1/admin") {
                    true => request.header("authorization", &bearer),
                    false => request.header("cookie", cookie),
                };
                let body = Body::from(r#"{"identifier":"alice","password":"correct horse"}"#);
                let said = gateway.send(router, request.body(body).unwrap()).await;
                assert_eq!(
                    (said.status, said.code().as_str()),
                    (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
                    "{} {path} {media_type}",
                    endpoint.method
                );
            }
        }
    }
    assert!(gateway.world.live("mine"));
    let harmless = ["session.resolve", "policy.check latchkey:"];
    for asked in gateway.world.asked() {
        assert!(harmless.iter().any(|start| asked.starts_with(start)), "{asked}");
    }
}

#[tokio::test]
async fn bodies_are_read_strictly() {
    let gateway = Gateway::new();
    let send = async |body: String| {
        let request = Request::builder().method(Method::POST).uri("/v1/login");
        let request = request.header("content-type", "application/json").body(Body::from(body)).unwrap();
        gateway.send(&gateway.public, request).await
    };
    let said = send("{\"identifier\": \"alice\",".into()).await;
    assert_eq!((said.status, said.code().as_str()), (StatusCode::BAD_REQUEST, "malformed_json"));
    assert!(said.json()["detail"].as_str().unwrap().contains("line 1"));
    for body in [
        json!({ "identifier": "alice" }),
        json!({ "identifier": "alice", "password": "p", "extra": 1 }),
        json!({ "identifier": "alice", "password": 1 }),
        json!({ "identifier": "alice", "password": "p", "mode": "cookie" }),
        json!([]),
        Value::Null,
    ] {
        let said = send(body.to_string()).await;
        assert_eq!(
            (said.status, said.code().as_str()),
            (StatusCode::BAD_REQUEST, "request_invalid"),
            "{body}"
        );
    }
    let said = send(format!("{{\"identifier\": \"{}\"}}", "a".repeat(BODY_LIMIT_BYTES))).await;
    assert_eq!((said.status, said.code().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"));
    assert!(gateway.world.asked().is_empty());
}

/// serde's derive would take the members in order.
#[tokio::test]
async fn every_endpoint_that_takes_json_takes_an_object_only() {
    let gateway = Gateway::new();
    for area in AREAS {
        gateway.world.permit(ALICE, &format!("latchkey:{area}"));
    }
    let bearer = format!("Bearer token:{ALICE}");
    let fill = |path: &str| {
        let filled =
            path.split('/').map(|segment| if segment.starts_with('{') { "mallory" } else { segment });
        filled.collect::<Vec<_>>().join("/")
    };
    let mut seen = 0;
    for (router, endpoints) in
        [(&gateway.public, public_endpoints()), (&gateway.internal, internal_endpoints())]
    {
        for endpoint in endpoints.iter().filter(|one| matches!(one.takes, endpoint::Takes::Json(_))) {
            seen += 1;
            for body in [
                json!(["alice", "correct horse", "token"]),
                json!(["active"]),
                json!([["user", "alice"], "editor"]),
                json!([]),
                json!("alice"),
                Value::Null,
            ] {
                let path = fill(endpoint.path);
                let request = Request::builder().method(endpoint.method.clone()).uri(&path);
                let request =
                    request.header("content-type", "application/json").header("authorization", &bearer);
                let request = request.body(Body::from(body.to_string())).unwrap();
                let said = gateway.send(router, request).await;
                let problem = said.json();
                assert_eq!(
                    (said.status, said.code().as_str()),
                    (StatusCode::BAD_REQUEST, "request_invalid"),
                    "{} {path} {body}: {problem}",
                    endpoint.method
                );
                let detail = problem["detail"].as_str().unwrap();
                assert!(detail.starts_with("a JSON object is expected"), "{path} {body}: {detail}");
            }
        }
    }
    assert!(seen > 10, "{seen}");
    // Nor is one taken where a member is an object.
    for (path, body) in [
        ("/v1/admin/grants", json!({ "subject": ["user", "alice"], "role": "editor" })),
        (
            "/v1/admin/grants",
            json!({ "subject": { "kind": "user", "id": "alice" }, "role": "editor", "within": ["a", "b"] }),
        ),
        ("/v1/admin/check", json!({ "subject": ["user", "alice"], "permission": "a:b" })),
        (
            "/v1/admin/check",
            json!({ "subject": { "kind": "user", "id": "alice" }, "permission": "a:b", "resource": ["a", "b"] }),
        ),
    ] {
        let said = gateway.admin(Method::POST, path, body.clone()).await;
        assert_eq!(said.code(), "request_invalid", "{path} {body}");
        assert!(said.text.contains("a JSON object is expected"), "{path} {body}: {}", said.text);
    }
    for asked in gateway.world.asked() {
        assert!(asked.starts_with("policy.check latchkey:"), "{asked}");
    }
}

#[tokio::test]
async fn o21_credentials_in_the_query_are_refused() {
    let gateway = Gateway::new();
    for query in [format!("access_token=token:{ALICE}"), "refresh_token=lkr_good".into(), "password=p".into()]
    {
        let said = gateway.public(Method::GET, &format!("/v1/me?{query}"), &[], Value::Null).await;
        assert_eq!((said.status, said.code().as_str()), (StatusCode::BAD_REQUEST, "token_in_query"));
        assert!(!said.text.contains("lkr_good"));
    }
    let said = gateway.form("/oauth2/introspect?token=known", &[], "token=known").await;
    assert_eq!(said.code(), "token_in_query");
}

#[tokio::test]
async fn without_a_caller_the_wiring_is_wrong_and_nothing_happens() {
    let gateway = Gateway::new();
    let request = request(Method::GET, "/v1/me", &[("cookie", "__Host-latchkey-session=mine")], Value::Null);
    let response = gateway.public.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(gateway.world.asked().is_empty());
}
