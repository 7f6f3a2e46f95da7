//! Passwords: which may be chosen, how they are kept, what a wrong one tells, and how one is replaced.

mod stored;

use std::collections::BTreeMap;

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::stack::{PASSWORD, Stack};

const OTHER_PASSWORD: &str = "granite lemon window cello";
const HASHES: &str = "latchkey_auth_hashing_runs_total";

/// Characters that repeat nothing.
fn varied(length: usize) -> String {
    let mut state = 7_u32;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'a' + u8::try_from((state >> 16) % 26).unwrap())
        })
        .collect()
}

async fn register(stack: &Stack, username: &str, password: &str) -> Response {
    stack.post("/v1/users", &json!({ "username": username, "password": password })).send().await.unwrap()
}

async fn log_in(stack: &Stack, identifier: &str, password: &str) -> Response {
    let body = json!({ "identifier": identifier, "password": password, "mode": "token" });
    stack.post("/v1/login", &body).send().await.unwrap()
}

/// Status and, for a problem, its code and detail.
async fn told(answer: Response) -> (u16, String, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    let text = |member: &str| body[member].as_str().unwrap_or_default().to_owned();
    (status, text("code"), text("detail"))
}

#[tokio::test]
async fn p01_long_ones_count_to_the_last_character() {
    let stack = Stack::start().await;
    let (status, code, detail) = told(register(&stack, "short", &varied(14)).await).await;
    assert_eq!((status, code.as_str()), (400, "password_refused"));
    assert!(detail.contains("15"), "{detail}");
    for length in [15, 64, 128, 1_000] {
        let (name, password) = (format!("user-{length}"), varied(length));
        assert_eq!(register(&stack, &name, &password).await.status(), 201, "{length}");
        assert_eq!(log_in(&stack, &name, &password).await.status(), 200, "{length}");
        assert_eq!(
            log_in(&stack, &name, &password[1..]).await.status(),
            401,
            "without the first of {length}"
        );
        assert_eq!(
            log_in(&stack, &name, &password[..length - 1]).await.status(),
            401,
            "the last of {length}"
        );
    }
    // Characters are code points: these are 15, in 60 bytes.
    assert_eq!(register(&stack, "emoji", "🦜🌋🪁🎻🧭🪵🦔🧊🛶🎈🔭🍋🪨🐙🎷").await.status(), 201);

    let most = varied(4_096);
    assert_eq!(register(&stack, "most", &most).await.status(), 201);
    assert_eq!(log_in(&stack, "most", &most).await.status(), 200);
    let before = stack.metric("auth-0", HASHES).await;
    let over = format!("{most}a");
    for answer in [register(&stack, "over", &over).await, log_in(&stack, "most", &over).await] {
        assert_eq!(answer.status(), 400);
    }
    assert_eq!(stack.metric("auth-0", HASHES).await, before, "refused before anything was hashed");
}

#[tokio::test]
async fn p02_any_character_in_one_normal_form() {
    let stack = Stack::start().await;
    let all = [
        ("lower", "lower case words and spaces only"),
        ("digits", "83920174659283746501928"),
        ("cyrillic", "ОЧЕНЬ длинная фраза про снег"),
        ("spaces", "   spaces before and after count   "),
        ("control", "a tab \t and a nul \0 between words"),
        ("quotes", "quotes \" and 'these' and \\ and {} <>"),
    ];
    for (name, password) in all {
        assert_eq!(register(&stack, name, password).await.status(), 201, "{name}");
        assert_eq!(log_in(&stack, name, password).await.status(), 200, "{name}");
    }
    assert_eq!(log_in(&stack, "lower", "Lower case words and spaces only").await.status(), 401);
    assert_eq!(log_in(&stack, "spaces", "spaces before and after count").await.status(), 401);
    // Two keyboards, one password: set and checked in the same form, whichever came first.
    let (composed, decomposed) = ("caf\u{e9} beside the lighthouse", "cafe\u{301} beside the lighthouse");
    for (name, set, typed) in [("one", composed, decomposed), ("two", decomposed, composed)] {
        assert_eq!(register(&stack, name, set).await.status(), 201);
        assert_eq!(log_in(&stack, name, typed).await.status(), 200, "{name}");
    }
}

#[tokio::test]
async fn p03_weak_ones_are_refused_with_the_reason_wherever_one_is_set() {
    assert!(auth_service::domain::blocklist::entries() >= 3_000);
    let stack = Stack::start().await;
    stack.register("margaret.hamilton").await;
    let token = stack.token("margaret.hamilton", PASSWORD).await.access_token;
    let admin = stack.token("admin", &stack.admin_password()).await.access_token;
    let weak = [
        ("passwordpassword", "common"),
        ("123456789987654321", "common"),
        ("dragonmonkey1234", "common"),
        ("aaaaaaaaaaaaaaaaaaaa", "repeats"),
        ("qwertyuiopasdfghjkl", "sequence"),
        ("latchkey-latchkey!", "service"),
        ("margaret.hamilton.1", "username"),
    ];
    for (password, why) in weak {
        let change = json!({ "current_password": PASSWORD, "new_password": password });
        let set = json!({ "password": password });
        let add = json!({ "username": "margaret.hamilton", "password": password });
        let administration = |method: Method, path: &str| {
            let url = format!("{}/v1/admin/users{path}", stack.internal());
            crate::stack::client().request(method, url).bearer_auth(&admin)
        };
        let requests = [
            ("registering", stack.post("/v1/users", &add)),
            ("changing it", stack.post("/v1/password", &change).bearer_auth(&token)),
            ("an administrator adding", administration(Method::POST, "").json(&add)),
            (
                "an administrator setting it",
                administration(Method::PUT, "/margaret.hamilton/password").json(&set),
            ),
        ];
        for (what, request) in requests {
            let (status, code, detail) = told(request.send().await.unwrap()).await;
            assert_eq!((status, code.as_str()), (400, "password_refused"), "{what}: {password}");
            assert!(detail.contains(why), "{what}: {password}: {detail}");
            assert!(!detail.contains(password), "{detail}");
        }
    }
    assert_eq!(log_in(&stack, "margaret.hamilton", PASSWORD).await.status(), 200, "nothing was changed");
}

/// Everything that a caller can see, less what is of this one answer alone.
async fn seen(answer: Response) -> (u16, BTreeMap<String, String>, Value) {
    let status = answer.status().as_u16();
    let mut headers = BTreeMap::new();
    for (name, value) in answer.headers() {
        let value = match name.as_str() {
            "date" | "x-request-id" => value.len().to_string(),
            _ => value.to_str().unwrap().to_owned(),
        };
        headers.insert(name.to_string(), value);
    }
    let mut body: Value = answer.json().await.unwrap();
    body.as_object_mut().unwrap().remove("request_id").unwrap();
    (status, headers, body)
}

#[tokio::test]
async fn p05_a_wrong_password_tells_nothing_about_the_account() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    stack.register("disabled").await;
    stack.cli(&["user", "set", "disabled", "--disable"]);
    let long = "x".repeat(5_000);
    let attempts = [
        ("a wrong password", "alice", OTHER_PASSWORD),
        ("an unknown user", "nobody", OTHER_PASSWORD),
        ("a disabled user", "disabled", OTHER_PASSWORD),
        ("a disabled user with the right password", "disabled", PASSWORD),
        ("a name that cannot be", "no\u{0}name", OTHER_PASSWORD),
        ("no name", "", OTHER_PASSWORD),
        ("a long name", &long, OTHER_PASSWORD),
        ("a short password", "alice", "x"),
    ];
    for mode in ["token", "session"] {
        let mut first = None;
        for (what, identifier, password) in attempts {
            let before = stack.metric("auth-0", HASHES).await;
            let body = json!({ "identifier": identifier, "password": password, "mode": mode });
            let seen = seen(stack.post("/v1/login", &body).send().await.unwrap()).await;
            assert_eq!(stack.metric("auth-0", HASHES).await - before, 1, "{what}: one run, whoever it is");
            assert_eq!(seen.0, 401, "{what}");
            assert_eq!(&seen, first.get_or_insert_with(|| seen.clone()), "{what}");
        }
    }
    // Nor does changing the password of somebody else's account.
    stack.register("bob").await;
    let mut first = None;
    for identifier in ["bob", "nobody-else"] {
        let before = stack.metric("auth-0", HASHES).await;
        let body = json!({
            "identifier": identifier, "current_password": "wrong wrong wrong wrong", "new_password": OTHER_PASSWORD,
        });
        let seen = seen(stack.post("/v1/password", &body).send().await.unwrap()).await;
        let seen = (seen, stack.metric("auth-0", HASHES).await - before);
        assert_eq!(seen.0.0, 401, "{identifier}");
        assert_eq!(&seen, first.get_or_insert_with(|| seen.clone()), "{identifier}");
    }
}

#[tokio::test]
async fn p07_a_change_needs_the_present_password() {
    let stack = Stack::start().await;
    stack.register("alice").await;
    let thief = stack.session("alice", PASSWORD).await;
    let owner = stack.session("alice", PASSWORD).await;
    let token = stack.token("alice", PASSWORD).await;
    let change = |body: Value, cookie: &str| {
        stack.post("/v1/password", &body).header("cookie", cookie).header("sec-fetch-site", "same-origin")
    };
    let by_cookie = |body: Value| change(body, &thief.cookie);
    let by_token = |body: Value| stack.post("/v1/password", &body).bearer_auth(&token.access_token);
    let wrong = json!({ "current_password": "wrong wrong wrong wrong", "new_password": OTHER_PASSWORD });
    let empty = json!({ "current_password": "", "new_password": OTHER_PASSWORD });
    let missing = json!({ "new_password": OTHER_PASSWORD });
    for (what, request, expected) in [
        ("a wrong one, by session", by_cookie(wrong), 401),
        ("an empty one, by token", by_token(empty), 401),
        ("none, by session", by_cookie(missing.clone()), 400),
        ("none, by token", by_token(missing), 400),
    ] {
        assert_eq!(request.send().await.unwrap().status(), expected, "{what}");
    }
    assert_eq!(log_in(&stack, "alice", PASSWORD).await.status(), 200, "nothing was changed");

    let body = json!({ "current_password": PASSWORD, "new_password": OTHER_PASSWORD });
    let answer = change(body, &owner.cookie).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let renewed = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    for (cookie, expected) in [(&renewed, 200), (&owner.cookie, 401), (&thief.cookie, 401)] {
        let answer = stack.get("/app/session/x").header("cookie", cookie).send().await.unwrap();
        assert_eq!(answer.status(), expected, "what the old password had opened is over");
    }
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "first-party"),
        ("refresh_token", &token.refresh_token),
    ];
    let refresh = stack.request(Method::POST, "/oauth2/token").form(&form).send().await.unwrap();
    assert_eq!(refresh.status(), 400);
    assert_eq!(log_in(&stack, "alice", PASSWORD).await.status(), 401);
    assert_eq!(log_in(&stack, "alice", OTHER_PASSWORD).await.status(), 200);
}
