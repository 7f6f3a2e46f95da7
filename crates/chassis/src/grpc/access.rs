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

/// Every row: the table's, and what every server answers.
pub(super) fn rows(table: AccessTable) -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    table.iter().chain(BUILT_IN).copied()
}

/// Whether a row with these callers lets `caller` in.
pub(super) fn allows(callers: &[&str], admitted: &[String], caller: &str) -> bool {
    callers.contains(&caller)
        || (caller == MESH && !callers.is_empty())
        || (callers.contains(&ADMITTED) && admitted.iter().any(|name| name == caller))
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

    fn allows(method: &str, caller: &str) -> bool {
        let row = rows(TABLE).find(|(name, _)| *name == method);
        row.is_some_and(|(_, callers)| super::allows(callers, &["reports".to_owned()], caller))
    }

    #[test]
    fn who_is_admitted_by_name_may_what_a_row_says_and_nothing_else() {
        assert!(allows("/a.v1.Reads/Watch", "reports"));
        assert!(allows("/a.v1.Reads/Watch", "gateway"));
        assert!(!allows("/a.v1.Reads/Watch", "billing"), "not admitted");
        assert!(!allows("/a.v1.Reads/Get", "reports"), "the row does not say so");
        assert!(!allows("/a.v1.Writes/Put", "reports"));
        assert!(allows("/grpc.health.v1.Health/Check", "reports"));
        assert!(!super::allows(&["gateway", ADMITTED], &[], "reports"), "nobody is admitted");
    }

    #[test]
    fn what_is_not_listed_is_not_allowed() {
        assert!(allows("/a.v1.Reads/Get", "gateway"));
        assert!(!allows("/a.v1.Reads/Get", "session"));
        assert!(!allows("/a.v1.Reads/get", "gateway"));
        assert!(!allows("/a.v1.Reads/Gets", "gateway"));
        assert!(allows("/a.v1.Reads/Get", MESH));
        assert!(!allows("/a.v1.Writes/Put", MESH), "a row without callers is closed to all");
        assert!(!allows("/a.v1.Other/Do", MESH));
        assert!(allows("/grpc.health.v1.Health/Check", "session"));
        assert!(!allows("/grpc.health.v1.Health/Check", "somebody"));
        assert!(!allows("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "session"));
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
