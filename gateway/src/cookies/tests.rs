use super::*;

fn headers(lines: &[&'static str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(COOKIE, HeaderValue::from_static(line));
    }
    headers
}

fn secure() -> Cookies {
    Cookies::new(true, "")
}

#[test]
fn s01_attributes() {
    let cookies = secure();
    let session = cookies.set_session("abc").unwrap();
    assert_eq!(session, "__Host-latchkey-session=abc; Path=/; HttpOnly; SameSite=Lax; Secure");
    assert!(session.is_sensitive());
    let token = cookies.set_token("a.b", Duration::from_secs(300)).unwrap();
    assert_eq!(token, "__Host-latchkey-token=a.b; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=300");
    let refresh = cookies.set_refresh("lkr_x", Duration::from_secs(5)).unwrap();
    assert_eq!(
        refresh,
        "__Secure-latchkey-refresh=lkr_x; Path=/v1/refresh; HttpOnly; SameSite=Lax; Secure; Max-Age=5"
    );
    let moved = Cookies::new(true, "/auth").set_refresh("lkr_x", Duration::from_secs(5)).unwrap();
    assert!(moved.to_str().unwrap().contains("; Path=/auth/v1/refresh;"));
    // A secret with control characters is not one of ours and sets nothing.
    assert!(cookies.set_session("a\r\nSet-Cookie: b").is_none());
}

#[test]
fn on_plain_loopback_without_prefix_and_secure() {
    let cookies = Cookies::new(false, "");
    assert_eq!(cookies.set_session("abc").unwrap(), "latchkey-session=abc; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(cookies.session(&headers(&["latchkey-session=abc"])), Presented::One("abc"));
    assert_eq!(cookies.session(&headers(&["__Host-latchkey-session=abc"])), Presented::None);
}

#[test]
fn expiring_names_each_cookie_with_its_path() {
    let expired = secure().expire_all();
    assert_eq!(expired.len(), 3);
    for line in &expired {
        assert!(line.to_str().unwrap().ends_with("; Max-Age=0"), "{line:?}");
    }
    assert!(expired.iter().any(|line| line.to_str().unwrap().contains("Path=/v1/refresh")));
}

#[test]
fn found_among_others() {
    let cookies = secure();
    for lines in [
        &["__Host-latchkey-session=abc"][..],
        &["a=b; __Host-latchkey-session=abc;c=d"],
        &["a=b", "__Host-latchkey-session=abc"],
        &["  __Host-latchkey-session = abc "],
    ] {
        assert_eq!(cookies.session(&headers(lines)), Presented::One("abc"), "{lines:?}");
    }
    assert_eq!(cookies.session(&headers(&["x__Host-latchkey-session=abc"])), Presented::None);
    assert_eq!(cookies.session(&headers(&["__Host-latchkey-token=abc"])), Presented::None);
    assert_eq!(cookies.session(&headers(&["a=__Host-latchkey-session"])), Presented::None);
    assert_eq!(cookies.session(&headers(&["__Host-latchkey-session=a=b"])), Presented::One("a=b"));
    assert_eq!(cookies.session(&HeaderMap::new()), Presented::None);
}

#[test]
fn s09_two_of_a_name_or_one_in_another_case_are_nobodys() {
    let cookies = secure();
    for lines in [
        &["__Host-latchkey-session=a; __Host-latchkey-session=b"][..],
        &["__Host-latchkey-session=a", "__Host-latchkey-session=a"],
        &["__Host-latchkey-session=a; __HOST-latchkey-session=b"],
        &["__HOST-latchkey-session=a; __Host-latchkey-session=b"],
        &["__HOST-latchkey-session=a"],
        &["__host-Latchkey-Session=a"],
    ] {
        assert_eq!(cookies.session(&headers(lines)), Presented::Ambiguous, "{lines:?}");
    }
}

#[test]
fn applications_get_everything_but_ours() {
    let rest = |line: &'static str| without_ours(&HeaderValue::from_static(line));
    let changed = |line: &'static str| Remaining::Changed(HeaderValue::from_static(line));
    assert_eq!(rest("a=b; c=d"), Remaining::Untouched);
    assert_eq!(rest("a=b;c=d"), Remaining::Untouched);
    assert_eq!(rest("a=b; __Host-latchkey-session=x; c=d"), changed("a=b; c=d"));
    assert_eq!(rest("a=b;__Host-latchkey-token=x;c=\"d e\""), changed("a=b; c=\"d e\""));
    assert_eq!(rest("__Secure-latchkey-refresh=x; a=b"), changed("a=b"));
    assert_eq!(rest("__HOST-LATCHKEY-SESSION=x; latchkey-session=y"), Remaining::Nothing);
    assert_eq!(rest("latchkey-token=x"), Remaining::Nothing);
    assert_eq!(rest("__Host-latchkey-session"), Remaining::Nothing);
    assert_eq!(rest(" __Host-latchkey-session =x; latchkey-sessions=y"), changed("latchkey-sessions=y"));
    // What follows an equals sign is a value, whatever it looks like.
    assert_eq!(rest("a=__Host-latchkey-session=x"), Remaining::Untouched);
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_of_ours_remains_and_the_others_keep_their_order(
            others in proptest::collection::vec("[a-z]{1,4}=[a-zA-Z0-9=\" ]{0,6}", 0..5),
            ours in proptest::collection::vec((0usize..6, 0usize..6, any::<bool>()), 0..4),
        ) {
            let names = [
                "__Host-latchkey-session", "__Host-latchkey-token", "__Secure-latchkey-refresh",
                "latchkey-session", "latchkey-token", "latchkey-refresh",
            ];
            let mut parts: Vec<String> = others.clone();
            for (name, place, upper) in ours {
                let name = if upper { names[name].to_uppercase() } else { names[name].to_owned() };
                parts.insert(place.min(parts.len()), format!("{name}=s3cret"));
            }
            let line = HeaderValue::from_str(&parts.join("; ")).unwrap();
            let kept = match without_ours(&line) {
                Remaining::Untouched => line.to_str().unwrap().to_owned(),
                Remaining::Changed(line) => line.to_str().unwrap().to_owned(),
                Remaining::Nothing => String::new(),
            };
            prop_assert!(!kept.contains("s3cret"));
            let expected: Vec<&str> = others.iter().map(|other| other.trim()).collect();
            let kept: Vec<&str> = kept.split(';').map(str::trim).filter(|part| !part.is_empty()).collect();
            prop_assert_eq!(kept, expected);
        }
    }
}
