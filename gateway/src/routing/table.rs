//! The look-up: the longest literal prefix wins, and whoever wins decides alone.
//!
//! A path below a winner's prefix that its pattern does not take is nobody's: it does not fall through to a shorter,
//! perhaps more generous rule. So `/documents/42/` is not found where `/documents/{id}` is guarded and `/*` is open,
//! and a method that a rule does not take is 405.

use std::collections::HashMap;

use http::{HeaderValue, Method};

use super::path::Spellings;
use super::{Complaint, Host, OwnPaths, Route, UpstreamRule, allow};

/// The route file, ready for requests.
pub struct Routes {
    upstreams: Vec<UpstreamRule>,
    exact: HashMap<String, Tree>,
    /// Longest suffix first.
    below: Vec<(String, Tree)>,
    any: Tree,
    own: OwnPaths,
    spellings: Spellings,
    count: usize,
}

/// Whose a request is.
#[derive(Debug)]
pub enum Found<'a> {
    Own,
    Route(&'a Route),
    /// A rule for the path, but not for the method. What it does take.
    NotThisMethod(HeaderValue),
    Nothing,
}

impl Routes {
    pub(super) fn new(upstreams: Vec<UpstreamRule>, routes: Vec<Route>, own: OwnPaths) -> Self {
        let mut spellings = Spellings::default();
        for byte in routes.iter().flat_map(|route| route.pattern.reserved()) {
            spellings.refuse(byte);
        }
        let count = routes.len();
        let (mut exact, mut below, mut any) =
            (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new(), Vec::new());
        for route in routes {
            match route.host.clone() {
                Host::Exact(host) => exact.entry(host).or_default().push(route),
                Host::Below(suffix) => below.entry(suffix).or_default().push(route),
                Host::Any => any.push(route),
            }
        }
        let mut below: Vec<_> =
            below.into_iter().map(|(suffix, routes)| (suffix, Tree::new(routes))).collect();
        below.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        Self {
            upstreams,
            exact: exact.into_iter().map(|(host, routes)| (host, Tree::new(routes))).collect(),
            below,
            any: Tree::new(any),
            own,
            spellings,
            count,
        }
    }

    pub fn upstreams(&self) -> &[UpstreamRule] {
        &self.upstreams
    }

    pub fn spellings(&self) -> &Spellings {
        &self.spellings
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whose a request is. `host` is as sent, with or without a port; `path` was checked.
    pub fn find(&self, host: &str, path: &str, method: &Method) -> Found<'_> {
        if self.own.claiming(path).is_some() {
            return Found::Own;
        }
        if !self.exact.is_empty() || !self.below.is_empty() {
            let host = plain_host(host);
            let named = self.exact.get(&host).into_iter();
            let suffixed =
                self.below.iter().filter(|(suffix, _)| host.ends_with(suffix)).map(|(_, tree)| tree);
            for tree in named.chain(suffixed) {
                if let Some(found) = tree.find(path, method) {
                    return found;
                }
            }
        }
        self.any.find(path, method).unwrap_or(Found::Nothing)
    }
}

/// Lowercase, without port and without the dot of an absolute name.
fn plain_host(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The rules of one host, by literal prefix.
struct Tree(Vec<Group>);

/// The rules of one prefix. They take no path in common, unless by method.
struct Group {
    prefix: String,
    /// The next shorter prefix of this prefix, by index.
    parent: Option<usize>,
    /// Whether paths below the prefix are decided here.
    open: bool,
    routes: Vec<Route>,
}

impl Tree {
    fn new(routes: Vec<Route>) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for route in routes {
            let (prefix, open) = (route.pattern.prefix().to_owned(), !route.pattern.is_literal());
            match groups.iter_mut().find(|group| group.prefix == prefix) {
                Some(group) => {
                    group.open |= open;
                    group.routes.push(route);
                }
                None => groups.push(Group { prefix, parent: None, open, routes: vec![route] }),
            }
        }
        groups.sort_by(|one, two| one.prefix.cmp(&two.prefix));
        let prefixes: Vec<String> = groups.iter().map(|group| group.prefix.clone()).collect();
        for (index, group) in groups.iter_mut().enumerate() {
            group.parent =
                prefixes.iter().take(index).rposition(|prefix| group.prefix.starts_with(prefix.as_str()));
        }
        Self(groups)
    }

    /// None: no rule of this host is about the path.
    ///
    /// Every prefix of the path that is in the table sorts between the greatest entry not above the path and its
    /// own beginning, and so is a prefix of that entry: following parents from there meets them, longest first.
    fn find(&self, path: &str, method: &Method) -> Option<Found<'_>> {
        let after = self.0.partition_point(|group| group.prefix.as_str() <= path);
        let mut at = after.checked_sub(1);
        while let Some(group) = at.and_then(|index| self.0.get(index)) {
            if path.starts_with(group.prefix.as_str()) && (group.open || path.len() == group.prefix.len()) {
                return Some(group.decide(path, method));
            }
            at = group.parent;
        }
        None
    }
}

impl Group {
    fn decide(&self, path: &str, method: &Method) -> Found<'_> {
        let mut matching = self.routes.iter().filter(|route| route.pattern.matches(path)).peekable();
        if matching.peek().is_none() {
            return Found::Nothing;
        }
        if let Some(route) = matching.clone().find(|route| route.takes(method)) {
            return Found::Route(route);
        }
        Found::NotThisMethod(allow(matching.filter_map(|route| route.methods.as_ref()).flatten()))
    }
}

/// Rules that cannot stand together.
pub(super) fn conflicts(routes: &[Route], own: &OwnPaths) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let prefix = route.pattern.prefix();
        if let Some(path) = own.claiming(prefix).or_else(|| own.claiming(prefix.trim_end_matches('/'))) {
            complaints.push(Complaint {
                line: route.line,
                message: format!(
                    "route {} overlaps {path}, which the gateway answers itself (own.prefix moves its paths)",
                    route.pattern
                ),
            });
        }
        for other in routes.iter().take(index) {
            let methods = match (&route.methods, &other.methods) {
                (Some(mine), Some(theirs)) => mine.iter().any(|method| theirs.contains(method)),
                _ => true,
            };
            let equal = route.host == other.host && prefix == other.pattern.prefix();
            if equal && methods && route.pattern.overlaps(&other.pattern) {
                complaints.push(Complaint {
                    line: route.line,
                    message: format!(
                        "route {} and route {} (line {}) have the same literal prefix {prefix} and a method in common: \
                         neither would win",
                        route.pattern, other.pattern, other.line
                    ),
                });
            }
        }
    }
    complaints
}
