//! The paths that the gateway answers itself; no route may stand on or below one of them.

/// Where the gateway's own endpoints are.
#[derive(Clone, Debug)]
pub struct OwnPaths(Vec<String>);

const MOVABLE: [&str; 6] = ["/v1", "/oauth2", "/login", "/account", "/logout", "/openapi.json"];
/// RFC 8615: at the root or nowhere.
const FIXED: &str = "/.well-known";

impl OwnPaths {
    /// `prefix` is empty, or a path without a slash at its end.
    pub fn new(prefix: &str) -> Self {
        let mut paths: Vec<String> = MOVABLE.iter().map(|path| format!("{prefix}{path}")).collect();
        paths.push(FIXED.to_owned());
        Self(paths)
    }

    /// The own path on or below which `path` is.
    pub fn claiming(&self, path: &str) -> Option<&str> {
        self.0
            .iter()
            .map(String::as_str)
            .find(|own| path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims() {
        let own = OwnPaths::new("");
        assert_eq!(own.claiming("/v1"), Some("/v1"));
        assert_eq!(own.claiming("/v1/me"), Some("/v1"));
        assert_eq!(own.claiming("/v1x"), None);
        assert_eq!(own.claiming("/"), None);
        let moved = OwnPaths::new("/auth");
        assert_eq!(moved.claiming("/v1"), None);
        assert_eq!(moved.claiming("/auth/v1"), Some("/auth/v1"));
        assert_eq!(moved.claiming("/auth/other"), None);
        assert_eq!(moved.claiming("/.well-known/jwks.json"), Some("/.well-known"));
    }
}
