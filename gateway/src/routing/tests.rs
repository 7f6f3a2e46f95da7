use super::*;
use proptest::prelude::*;

const ECHO: &str = "[upstream.echo]\nendpoints = [\"http://127.0.0.1:4001\"]\n";

fn routes(rules: &str) -> Routes {
    parse(&format!("{ECHO}{rules}"), OwnPaths::new("")).unwrap()
}

fn refused(text: &str) -> Vec<String> {
    let Err(complaints) = parse(text, OwnPaths::new("")) else { panic!("accepted: {text}") };
    complaints.iter().map(|complaint| format!("{}: {}", complaint.line, complaint.message)).collect()
}

fn rule(path: &str, more: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\naccept = []\nupstream = \"echo\"\n{more}\n")
}

fn winner(routes: &Routes, host: &str, method: Method, path: &str) -> String {
    match routes.find(host, path, &method) {
        Found::Own => "own".to_owned(),
        Found::Route(route) => route.pattern.to_string(),
        Found::NotThisMethod(allow) => format!("allow {}", allow.to_str().unwrap()),
        Found::Nothing => "nothing".to_owned(),
    }
}

#[test]
fn longest_literal_prefix_decides_alone() {
    let all = [
        rule("/*", ""),
        rule("/app/*", ""),
        rule("/app/documents/{id}", "methods = [\"GET\"]"),
        rule("/app/documents/{id}/notes", ""),
        rule("/app/documents", ""),
        rule("/app/documents/new", "methods = [\"POST\"]"),
    ]
    .concat();
    let routes = routes(&all);
    for (path, expected) in [
        ("/", "/*"),
        ("/x/y", "/*"),
        ("/app", "/*"),
        ("/app/", "/app/*"),
        ("/app/x", "/app/*"),
        ("/app/documents", "/app/documents"),
        ("/app/documents/42", "/app/documents/{id}"),
        ("/app/documents/42/notes", "/app/documents/{id}/notes"),
        // Not the open /app/*: whoever guards /app/documents/{id} did not mean these to be open.
        ("/app/documents/42/", "nothing"),
        ("/app/documents/", "nothing"),
        ("/app/documents/new", "allow POST"),
        ("/app/documentsX", "/app/*"),
        ("/v1/me", "own"),
        ("/v1x", "/*"),
    ] {
        assert_eq!(winner(&routes, "a.example", Method::GET, path), expected, "{path}");
    }
    assert_eq!(winner(&routes, "a", Method::DELETE, "/app/documents/42"), "allow GET");
}

#[test]
fn hosts() {
    let all = [
        rule("/x/*", ""),
        rule("/y/*", "host = \"a.example\""),
        rule("/*", "host = \"*.example\""),
        rule("/z/*", "host = \"*.a.example\""),
    ]
    .concat();
    let routes = routes(&all);
    for (host, path, expected) in [
        ("a.example", "/y/1", "/y/*"),
        ("A.Example:8080", "/y/1", "/y/*"),
        ("a.example.", "/y/1", "/y/*"),
        ("a.example", "/q", "/*"),
        ("b.a.example", "/z/1", "/z/*"),
        ("b.a.example", "/q", "/*"),
        ("example", "/y/1", "nothing"),
        ("other", "/x/1", "/x/*"),
        ("[::1]:8080", "/x/1", "/x/*"),
    ] {
        assert_eq!(winner(&routes, host, Method::GET, path), expected, "{host} {path}");
    }
}

#[test]
fn the_route_file_of_the_design_but_for_what_is_not_there_yet() {
    let routes = parse(
        r#"
[upstream.echo]
endpoints = ["http://127.0.0.1:4001", "http://127.0.0.1:4002"]
timeout = "30s"

[[route]]
host = "*"
path = "/app/documents/{id}"
methods = ["GET"]
accept = ["token", "session", "api-key"]
require = { permission = "document:read", resource = "document/{id}" }
upstream = "echo"
strip_prefix = "/app"
on_unauthenticated = "401"
identity = "headers"
pass_credential = false
stale_for = "0s"
"#,
        OwnPaths::new(""),
    )
    .unwrap();
    let Found::Route(route) = routes.find("h", "/app/documents/42", &Method::GET) else { panic!() };
    assert_eq!(route.accept, [Accept::Token, Accept::Session, Accept::ApiKey]);
    assert_eq!(route.strip, 4);
    let Requirement::Permission { permission, resource: Some(resource) } = &route.require else { panic!() };
    assert_eq!((permission.as_str(), resource.kind.as_str()), ("document:read", "document"));
    assert_eq!(resource.id, ResourceId::Segment(2));
    let listed = ["127.0.0.1:4001", "127.0.0.1:4002"].map(str::to_owned).to_vec();
    assert_eq!(routes.upstreams()[0].addresses, Addresses::Listed(listed));
}

#[test]
fn everything_wrong_is_said_at_once_with_line_and_route() {
    let text = r#"[upstream.echo]
endpoints = ["https://a", "http://a/b", "nonsense"]
retries = 3
[upstream.lookup]
dns = "a"
[[route]]
path = "/a/{id}"
accept = ["token", "cookie"]
require = { permission = "document:*", resource = "document/{nr}" }
upstream = "ecko"
stale_for = "ten minutes"
[[route]]
path = "/b*"
accept = ["token"]
require = { role = "editor", permission = "a:b" }
upstream = "echo"
on_unauthenticated = "login"
identity = "headers+jwt"
methods = ["get", "TRACE", "CONNECT"]
[[route]]
path = "/c/d"
upstream = "echo"
strip_prefix = "/c/d"
colour = "red"
body_bytes = -1
[[route]]
path = "/v1/x"
accept = []
require = { role = "Editor" }
upstream = "echo"
"#;
    let said = refused(text).join("\n");
    for expected in [
        "2: upstream echo: endpoint \"https://a\"",
        "2: upstream echo: endpoint \"http://a/b\"",
        "2: upstream echo: endpoint \"nonsense\"",
        "3: upstream echo: unknown key \"retries\"",
        "5: upstream lookup: dns \"a\" must be a name and a port",
        "8: route /a/{id}: accept has \"cookie\"",
        "9: route /a/{id}: require: \"document:*\" is not a permission",
        "9: route /a/{id}: require: resource \"document/{nr}\" names {nr}",
        "10: route /a/{id}: there is no [upstream.ecko]",
        "11: route /a/{id}: stale_for \"ten minutes\" is not a time",
        "13: route /b*: path has \"b*\"",
        "15: require: name either",
        "17: route /b*: on_unauthenticated \"login\" is not there yet",
        "18: route /b*: identity \"headers+jwt\" is not there yet",
        "19: route /b*: \"get\" is not a method",
        "19: route /b*: the method TRACE is never passed on",
        "19: route /b*: the method CONNECT is never passed on",
        "20: route /c/d: accept is missing",
        "23: route /c/d: strip_prefix \"/c/d\"",
        "24: route /c/d: unknown key \"colour\"",
        "25: route /c/d: body_bytes must be a number of bytes, or \"unlimited\"",
        "26: route /v1/x overlaps /v1, which the gateway answers itself",
        "29: route /v1/x: require needs somebody",
        "29: route /v1/x: require: \"Editor\" is not a role",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in\n{said}");
    }
}

#[test]
fn not_toml_is_said_with_its_line() {
    let said = refused("[upstream.echo]\nendpoints = [\n[[route]\npath = ");
    assert!(said.iter().any(|line| line.contains("not TOML")), "{said:?}");
}

#[test]
fn two_equal_prefixes_name_both() {
    let said = refused(&format!("{ECHO}{}{}", rule("/a/{x}", ""), rule("/a/*", "")));
    assert!(
        said[0].starts_with("8: route /a/* and route /a/{x} (line 3) have the same literal prefix /a/"),
        "{said:?}"
    );
    let get = rule("/a/{x}", "methods = [\"GET\"]");
    let put = rule("/a/{y}", "methods = [\"PUT\", \"DELETE\"]");
    routes(&format!("{get}{put}"));
    refused(&format!("{ECHO}{get}{}", rule("/a/{x}", "methods = [\"GET\", \"PUT\"]")));
    routes(&format!("{}{}", rule("/a/*", ""), rule("/a/*", "host = \"a.example\"")));
}

#[test]
fn own_prefix_moves_what_is_taken() {
    let text = format!("{ECHO}{}", rule("/v1/*", ""));
    assert!(parse(&text, OwnPaths::new("")).is_err());
    assert!(parse(&text, OwnPaths::new("/auth")).is_ok());
    for path in ["/auth/v1", "/auth/v1/{x}", "/.well-known/*", "/.well-known"] {
        assert!(parse(&format!("{ECHO}{}", rule(path, "")), OwnPaths::new("/auth")).is_err(), "{path}");
    }
    // The longer prefix wins, so these shadow nothing of ours.
    routes(&rule("/*", ""));
    routes(&rule("/{x}/y", ""));
}

proptest! {
    /// The tree finds what a plain look at every rule finds.
    #[test]
    fn the_tree_is_the_plain_rule(
        patterns in proptest::collection::vec("(/(a|b|ab|\\{x\\})){1,3}(/\\*)?", 1..12),
        paths in proptest::collection::vec("(/(a|b|ab|c)?){1,4}", 1..20),
    ) {
        let mut kept: Vec<Pattern> = Vec::new();
        for text in patterns {
            let Ok(pattern) = Pattern::parse(&text) else { continue };
            if !kept.iter().any(|other| other.prefix() == pattern.prefix() && other.overlaps(&pattern)) {
                kept.push(pattern);
            }
        }
        let rules: String = kept.iter().map(|pattern| rule(pattern.as_str(), "")).collect();
        let routes = routes(&rules);
        for path in paths {
            let claiming = kept
                .iter()
                .filter(|pattern| path.starts_with(pattern.prefix()))
                .filter(|pattern| {
                    path.len() == pattern.prefix().len()
                        || kept.iter().any(|other| other.prefix() == pattern.prefix() && !other.is_literal())
                })
                .map(|pattern| pattern.prefix().len())
                .max();
            let expected = kept
                .iter()
                .find(|pattern| {
                    path.starts_with(pattern.prefix()) && Some(pattern.prefix().len()) == claiming && pattern.matches(&path)
                })
                .map_or("nothing".to_owned(), ToString::to_string);
            prop_assert_eq!(winner(&routes, "h", Method::GET, &path), expected, "{}", path);
        }
    }
}
