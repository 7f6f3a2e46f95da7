//! Who may call what: a row per RPC, and nothing is open.

use prost::Message as _;
use prost_types::FileDescriptorSet;

/// Rows of a full method name (`/latchkey.auth.v1.LoginService/Login`) and the names of the callers that may call it.
pub type AccessTable = &'static [(&'static str, &'static [&'static str])];

/// The caller that every connection counts as where a mesh secures connections (`tls.mode = "external"`). Every row
/// that lists any caller allows it.
pub const MESH: &str = "mesh";

/// In a row: the callers that the operator admits by name ([`crate::config::Access`]). No certificate can hold this name.
pub const ADMITTED: &str = "(admitted)";

/// What every server answers beside its own services.
const BUILT_IN: AccessTable = &[
    ("/grpc.health.v1.Health/Check", OURS),
    ("/grpc.health.v1.Health/Watch", OURS),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", REFLECTION),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", REFLECTION),
];

const REFLECTION: &[&str] = &["operator", "gateway"];

const OURS: &[&str] = &["auth", "session", "policy", "gateway", "operator", ADMITTED];

/// Names that mean something already, and cannot be given to anybody else.
pub(crate) fn is_taken(name: &str) -> bool {
    name == MESH || OURS.contains(&name)
}

/// The method, as the table has it, if `caller` may call it.
pub(super) fn allowed(
    table: AccessTable,
    admitted: &[String],
    method: &str,
    caller: Option<&str>,
) -> Option<&'static str> {
    let caller = caller?;
    let (name, callers) = table.iter().chain(BUILT_IN).find(|(name, _)| *name == method)?;
    let allows = callers.contains(&caller)
        || (caller == MESH && !callers.is_empty())
        || (callers.contains(&ADMITTED) && admitted.iter().any(|name| name == caller));
    allows.then_some(name)
}

/// The methods in `descriptors` (a serialized `FileDescriptorSet`) that have no row in `table`, sorted. Descriptors
/// that cannot be read count as one.
pub fn unlisted(descriptors: &[u8], table: AccessTable) -> Vec<String> {
    let Ok(set) = FileDescriptorSet::decode(descriptors) else {
        return vec!["(the descriptors cannot be read)".to_owned()];
    };
    let mut missing: Vec<String> =
        methods(&set).filter(|name| !table.iter().any(|(row, _)| row == name)).collect();
    missing.sort();
    missing
}

fn methods(set: &FileDescriptorSet) -> impl Iterator<Item = String> {
    set.file.iter().flat_map(|file| {
        file.service.iter().flat_map(move |service| {
            let of = format!("/{}.{}", file.package(), service.name());
            service.method.iter().map(move |method| format!("{of}/{}", method.name()))
        })
    })
}

#[cfg(test)]
mod tests {
    use prost_types::{FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto};

    use super::*;

    const TABLE: AccessTable = &[
        ("/a.v1.Reads/Get", &["gateway"]),
        ("/a.v1.Reads/Watch", &["gateway", ADMITTED]),
        ("/a.v1.Writes/Put", &[]),
    ];

    fn allows(table: AccessTable, method: &str, caller: Option<&str>) -> bool {
        super::allowed(table, &["reports".to_owned()], method, caller).is_some()
    }

    #[test]
    fn who_is_admitted_by_name_may_what_a_row_says_and_nothing_else() {
        assert!(allows(TABLE, "/a.v1.Reads/Watch", Some("reports")));
        assert!(allows(TABLE, "/a.v1.Reads/Watch", Some("gateway")));
        assert!(!allows(TABLE, "/a.v1.Reads/Watch", Some("billing")), "not admitted");
        assert!(!allows(TABLE, "/a.v1.Reads/Get", Some("reports")), "the row does not say so");
        assert!(!allows(TABLE, "/a.v1.Writes/Put", Some("reports")));
        assert!(allows(TABLE, "/grpc.health.v1.Health/Check", Some("reports")));
        assert_eq!(allowed(TABLE, &[], "/a.v1.Reads/Watch", Some("reports")), None);
    }

    #[test]
    fn what_is_not_listed_is_not_allowed() {
        assert!(allows(TABLE, "/a.v1.Reads/Get", Some("gateway")));
        assert!(!allows(TABLE, "/a.v1.Reads/Get", Some("session")));
        assert!(!allows(TABLE, "/a.v1.Reads/Get", None));
        assert!(!allows(TABLE, "/a.v1.Reads/get", Some("gateway")));
        assert!(!allows(TABLE, "/a.v1.Reads/Gets", Some("gateway")));
        assert!(allows(TABLE, "/a.v1.Reads/Get", Some(MESH)));
        assert!(!allows(TABLE, "/a.v1.Writes/Put", Some(MESH)), "a row without callers is closed to all");
        assert!(!allows(TABLE, "/a.v1.Other/Do", Some(MESH)));
        assert!(allows(TABLE, "/grpc.health.v1.Health/Check", Some("session")));
        assert!(!allows(TABLE, "/grpc.health.v1.Health/Check", Some("somebody")));
        assert!(!allows(TABLE, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Some("session")));
    }

    #[test]
    fn a_method_without_a_row_is_found() {
        let method = |name: &str| MethodDescriptorProto { name: Some(name.into()), ..Default::default() };
        let service = ServiceDescriptorProto {
            name: Some("Reads".into()),
            method: vec![method("Get"), method("List")],
            ..Default::default()
        };
        let file = FileDescriptorProto {
            package: Some("a.v1".into()),
            service: vec![service],
            ..Default::default()
        };
        let set = FileDescriptorSet { file: vec![file] }.encode_to_vec();
        assert_eq!(unlisted(&set, TABLE), ["/a.v1.Reads/List"]);
        assert_eq!(unlisted(b"\xff", TABLE).len(), 1);
    }
}
