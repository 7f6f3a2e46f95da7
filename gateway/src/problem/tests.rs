use std::collections::HashSet;

use super::*;
use crate::peers::{Failure, Reason, Refused, Unavailable};

fn json(problem: &Problem) -> serde_json::Value {
    serde_json::from_slice(&problem.body("req")).unwrap()
}

#[test]
fn the_body_is_rfc_9457_with_code_and_request_id() {
    let problem = Problem::new(catalogue::ROLE_REQUIRED).detail("needs `editor`");
    let response = problem.render("req");
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    let body = json(&problem);
    assert_eq!(body["code"], "role_required");
    assert_eq!(body["status"], 403);
    assert_eq!(body["detail"], "needs `editor`");
    assert_eq!(body["request_id"], "req");
    assert_eq!(body["type"], "urn:latchkey:problem:role_required");
    assert_eq!(response.body(), &problem.body("req"));
}

#[test]
fn who_must_come_back_is_told_when() {
    let busy = Problem::new(catalogue::HASHING_BUSY).retry_after(Duration::from_millis(1200)).render("");
    assert_eq!(busy.headers()[RETRY_AFTER], "2");
    assert_eq!(Problem::new(catalogue::UNAVAILABLE).render("").headers()[RETRY_AFTER], "1");
    let zero = Problem::new(catalogue::UNAVAILABLE).retry_after(Duration::ZERO).render("");
    assert_eq!(zero.headers()[RETRY_AFTER], "1");
    assert!(!Problem::new(catalogue::NOT_FOUND).render("").headers().contains_key(RETRY_AFTER));
}

#[test]
fn every_401_is_challenged_and_nothing_else_is() {
    for code in CATALOGUE {
        let response = Problem::new(*code).render("");
        let challenged = response.headers().contains_key(WWW_AUTHENTICATE);
        assert_eq!(challenged, code.status() == StatusCode::UNAUTHORIZED, "{}", code.code());
    }
    let bad = Problem::new(catalogue::TOKEN_INVALID).render("");
    assert!(bad.headers()[WWW_AUTHENTICATE].to_str().unwrap().contains("invalid_token"));
    let none = Problem::new(catalogue::CREDENTIAL_MISSING).render("");
    assert!(!none.headers()[WWW_AUTHENTICATE].to_str().unwrap().contains("error"));
}

#[test]
fn the_catalogue_is_complete_and_told_apart() {
    let codes: HashSet<&str> = CATALOGUE.iter().map(|code| code.code()).collect();
    assert_eq!(codes.len(), CATALOGUE.len());
    let page = catalogue_markdown();
    for code in CATALOGUE {
        assert!(code.code().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        assert!(!code.title().is_empty() && !code.advice().is_empty());
        assert!(page.contains(&format!("`{}`", code.code())), "{}", code.code());
    }
    for error in oauth::CATALOGUE {
        assert!(page.contains(error.name), "{}", error.name);
    }
}

#[test]
fn z01_an_outage_is_503_and_never_a_verdict() {
    let down = || Unavailable::new("policy", "connection refused at 127.0.0.1:1");
    let problem = Problem::from(down());
    assert_eq!(problem.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(problem.render("").headers().contains_key(RETRY_AFTER));
    assert!(!json(&problem).to_string().contains("127.0.0.1"), "the log knows, the caller need not");
    let problem = Problem::from(Failure::from(down()));
    assert_eq!(problem.status(), StatusCode::SERVICE_UNAVAILABLE);
}

fn refused(reason: Reason) -> Refused {
    Refused { reason, message: "said by the service".into(), retry_after: None }
}

#[test]
fn every_reason_has_a_problem() {
    for reason in Reason::NAMED {
        let problem = Problem::from(refused(*reason));
        let status = problem.status();
        assert!(status.is_client_error() || status.is_server_error(), "{reason:?}");
        // A service's sentence is quoted only where the caller can correct something by it.
        let quoted = json(&problem)["detail"].as_str().is_some();
        assert_eq!(quoted, status == StatusCode::BAD_REQUEST, "{reason:?}");
    }
    assert_eq!(Problem::from(refused(Reason::InvalidCredentials)).code().code(), "invalid_credentials");
    assert_eq!(Problem::from(refused(Reason::ProofInvalid)).status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn j17_one_answer_for_every_bad_token() {
    use token::Refused as Bad;
    let say = |bad| Problem::from(guard::Refusal::Invalid(bad)).render("req");
    let (signature, undecryptable) = (say(Bad::Signature), say(Bad::Undecryptable));
    assert_eq!(signature.body(), undecryptable.body());
    assert_eq!(signature.headers(), undecryptable.headers());
    assert_eq!(signature.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(Problem::from(guard::Refusal::Invalid(Bad::Expired)).code().code(), "token_expired");
    let unknown = Problem::from(guard::Refusal::Unavailable(guard::Unavailable::NoKeys));
    assert_eq!(unknown.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn o16_oauth_errors() {
    use oauth::OAuthProblem;
    let response = OAuthProblem::from(refused(Reason::InvalidClient)).into_response();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    assert!(response.headers()[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic"));
    for (reason, name) in [
        (Reason::InvalidGrant, "invalid_grant"),
        (Reason::InvalidScope, "invalid_scope"),
        (Reason::InvalidTarget, "invalid_target"),
        (Reason::UnsupportedTokenType, "unsupported_token_type"),
        (Reason::UserNotFound, "server_error"),
    ] {
        assert_eq!(OAuthProblem::from(refused(reason)).name(), name);
    }
    let down = OAuthProblem::from(Unavailable::new("auth", "down")).into_response();
    assert_eq!(down.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(down.headers().contains_key(RETRY_AFTER));
}

#[test]
fn every_code_is_answered_somewhere() {
    fn sources(folder: &std::path::Path, into: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                sources(&path, into);
            } else if name != "catalogue.rs" && name != "tests.rs" {
                into.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut text = String::new();
    sources(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut text);
    let words: HashSet<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    for code in CATALOGUE {
        // A constant is named like its code.
        assert!(words.contains(code.code().to_ascii_uppercase().as_str()), "{} is never used", code.code());
    }
}
