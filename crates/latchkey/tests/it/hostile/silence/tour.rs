//! A tour of everything that takes or makes a secret.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::Spy;
use crate::hostile::scene::application;
use crate::stack::PASSWORD;

pub(super) const NEW_PASSWORD: &str = "granite lemon window cello";
const GUESS: &str = "a guess that is quite wrong";

/// Logging in and out, both ways, and being refused.
pub(super) async fn as_a_user(spy: &mut Spy) {
    spy.secret("the password", PASSWORD);
    spy.secret("the new password", NEW_PASSWORD);
    spy.secret("a wrong password", GUESS);
    let login = |password: &str, mode: &str, deliver: Value| {
        let mut body = json!({ "identifier": "alice", "password": password, "mode": mode });
        if !deliver.is_null() {
            body["deliver"] = deliver;
        }
        body
    };
    spy.send(
        "registering",
        201,
        spy.post("/v1/users", &json!({ "username": "alice", "password": PASSWORD })),
    )
    .await;
    let again = json!({ "username": "alice", "password": NEW_PASSWORD });
    spy.send("registering again", 409, spy.post("/v1/users", &again)).await;
    let bad = json!({ "username": "bob", "password": "bobbobbobbobbobbob" });
    spy.send("a bad password", 400, spy.post("/v1/users", &bad)).await;
    let session = spy.post("/v1/login", &login(PASSWORD, "session", Value::Null));
    spy.send("a session", 200, session).await;
    let cookie = format!("latchkey-session={}", spy.secrets.last().unwrap().1);
    let tokens =
        spy.send("a token", 200, spy.post("/v1/login", &login(PASSWORD, "token", Value::Null))).await;
    spy.send("tokens in cookies", 200, spy.post("/v1/login", &login(PASSWORD, "token", json!("cookie"))))
        .await;
    let refresh_cookie = format!("latchkey-refresh={}", spy.secrets.last().unwrap().1);
    spy.send("a wrong password", 401, spy.post("/v1/login", &login(GUESS, "token", Value::Null))).await;
    for field in [PASSWORD, GUESS] {
        let mixed_up = json!({ "identifier": field, "password": "alice" });
        spy.send("a password for a name", 401, spy.post("/v1/login", &mixed_up)).await;
        let unknown = json!({ "username": "alice", "passwrod": field });
        spy.send("a misspelled member", 400, spy.post("/v1/users", &unknown)).await;
    }
    for body in
        [format!("{{\"password\": \"{GUESS}\""), GUESS.to_owned(), format!("{{\"password\": [\"{GUESS}\"]}}")]
    {
        let request = spy
            .stack
            .request(Method::POST, "/v1/login")
            .header("content-type", "application/json")
            .body(body);
        spy.send("half a login", 400, request).await;
    }

    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    let first_party = ("client_id", "first-party");
    let form = [("grant_type", "refresh_token"), first_party, ("refresh_token", refresh_token)];
    for what in ["a refresh", "its repetition"] {
        spy.send(what, 200, spy.form("/oauth2/token", &form)).await;
    }
    let by_cookie = |request: RequestBuilder, cookie: &str| {
        request.header("cookie", cookie).header("sec-fetch-site", "same-origin")
    };
    let post = |spy: &Spy, path: &str| spy.stack.request(Method::POST, path);
    spy.send("a refresh by cookie", 200, by_cookie(post(spy, "/v1/refresh"), &refresh_cookie)).await;
    let nonsense = spy.secret("a refresh token that is none", "lkr_nonsense-nonsense-nonsense");
    let nothing = [form[0], first_party, ("refresh_token", nonsense.as_str())];
    spy.send("a refresh with nothing", 400, spy.form("/oauth2/token", &nothing)).await;

    let access_token = tokens["access_token"].as_str().unwrap();
    for path in ["/app/token/x", "/app/public/x", "/v1/me", "/v1/sessions"] {
        spy.send(path, 200, spy.stack.get(path).bearer_auth(access_token)).await;
    }
    spy.send("a session's call", 200, spy.stack.get("/app/session/x").header("cookie", &cookie)).await;
    let altered = spy.secret("an altered token", format!("{access_token}x"));
    let of_nobody = spy.secret("a cookie of nobody", "A".repeat(43));
    let of_nobody = format!("latchkey-session={of_nobody}");
    let get = |spy: &Spy, path: &str| spy.stack.get(path);
    spy.send("an altered token", 401, get(spy, "/app/token/x").bearer_auth(&altered)).await;
    spy.send("another scheme", 401, get(spy, "/app/token/x").basic_auth("alice", Some(PASSWORD))).await;
    spy.send("a cookie of nobody", 401, get(spy, "/app/session/x").header("cookie", &of_nobody)).await;
    spy.send("a cookie twice", 400, get(spy, "/v1/me").header("cookie", format!("{cookie}; {cookie}"))).await;
    spy.send("no role", 403, get(spy, "/app/admin/x").bearer_auth(access_token)).await;
    spy.send("no permission", 403, get(spy, "/app/documents/1").header("cookie", &cookie)).await;
    spy.send(
        "another site",
        403,
        post(spy, "/app/session/x").header("cookie", &cookie).header("origin", "null"),
    )
    .await;
    for path in ["/app/token/x", "/v1/me", "/oauth2/token"] {
        spy.send("a token in a URL", 400, get(spy, &format!("{path}?access_token={access_token}"))).await;
    }
    spy.send("a token in a path", 404, get(spy, &format!("/nowhere/{access_token}"))).await;
    spy.send("a password in a path", 404, get(spy, &format!("/v1/{}", GUESS.replace(' ', "-")))).await;
    spy.secret("the wrong password in a path", GUESS.replace(' ', "-"));

    let change = json!({ "current_password": GUESS, "new_password": NEW_PASSWORD });
    spy.send("a refused change", 401, spy.post("/v1/password", &change).bearer_auth(access_token)).await;
    let change = json!({ "current_password": PASSWORD, "new_password": "passwordpassword" });
    spy.send("a bad new password", 400, spy.post("/v1/password", &change).bearer_auth(access_token)).await;
    let change = json!({ "current_password": PASSWORD, "new_password": NEW_PASSWORD });
    spy.send("a change of password", 200, by_cookie(spy.post("/v1/password", &change), &cookie)).await;
    let cookie = format!("latchkey-session={}", spy.secrets.last().unwrap().1);
    spy.send("a dead refresh token", 400, spy.form("/oauth2/token", &form)).await;
    spy.send("logout", 204, by_cookie(post(spy, "/v1/logout"), &cookie)).await;
    spy.send("a dead cookie", 401, get(spy, "/app/session/x").header("cookie", &cookie)).await;
}

/// Applications and administration.
pub(super) async fn as_an_operator(spy: &mut Spy) {
    let robot = application(&spy.stack, "robot", &["--audience", "https://x.example"]);
    spy.secret("the client's secret", &robot.secret);
    spy.secret("the client's header", STANDARD.encode(format!("{}:{}", robot.id, robot.secret)));
    let credentials = [("grant_type", "client_credentials")];
    let basic = |request: RequestBuilder, secret: &str| request.basic_auth(&robot.id, Some(secret));
    let issued = spy
        .send("a client's token", 200, basic(spy.form("/oauth2/token", &credentials), &robot.secret))
        .await;
    let issued = issued["access_token"].as_str().unwrap().to_owned();
    let wrong = spy.secret("a wrong client secret", "lks_nonsense-nonsense-nonsense");
    spy.send("a wrong secret", 401, basic(spy.form("/oauth2/token", &credentials), &wrong)).await;
    let password = [("grant_type", "password"), ("username", "alice"), ("password", PASSWORD)];
    spy.send("the password grant", 400, basic(spy.form("/oauth2/token", &password), &robot.secret)).await;
    for path in ["/oauth2/introspect", "/oauth2/revoke"] {
        spy.send(path, 200, basic(spy.form(path, &[("token", &issued)]), &robot.secret)).await;
        spy.send(path, 401, basic(spy.form(path, &[("token", &issued)]), &wrong)).await;
    }
    let generated = spy.stack.cli_json(&["user", "add", "carol", "--generate"]);
    let generated = spy.secret("a generated password", generated["password"].as_str().unwrap());
    let first = json!({ "identifier": "carol", "password": generated });
    let must_change = spy.post("/v1/login", &first).send().await.unwrap().status().as_u16();
    assert!([200, 403].contains(&must_change));
    for arguments in [
        &["user", "list"][..],
        &["user", "show", "carol"],
        &["client", "list"],
        &["session", "list"],
        &["status"],
    ] {
        let shown = spy.stack.cli(arguments);
        spy.hear(&format!("latchkey {arguments:?}"), shown);
    }
    for service in ["auth", "session", "policy", "gateway"] {
        let file = spy.stack.state_dir().join(format!("config/{service}-0.toml"));
        let printed = spy.stack.cli(&["config", "print", service, "--config", file.to_str().unwrap()]);
        spy.hear(&format!("latchkey config print {service}"), printed);
    }
}
