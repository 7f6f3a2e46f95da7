//! Who may call what. A secret passes through the gateway alone: it is the gateway's cookie. Public ids are for the
//! gateway's pages and administration, and for the operator.

use chassis::grpc::AccessTable;

const BY_SECRET: &[&str] = &["gateway"];
const READS: &[&str] = &["gateway", "operator"];
const ADMINISTRATION: &[&str] = &["gateway", "operator"];
/// Applications that keep their own data on sessions get a name of their own here.
const APPLICATIONS: &[&str] = &["gateway", "operator"];

/// A row for each RPC of session-service; what is not here is refused.
pub const ACCESS: AccessTable = &[
    ("/latchkey.session.v1.SessionService/CreateSession", BY_SECRET),
    ("/latchkey.session.v1.SessionService/ResolveSession", BY_SECRET),
    ("/latchkey.session.v1.SessionService/RotateSession", BY_SECRET),
    ("/latchkey.session.v1.SessionService/EndSession", BY_SECRET),
    ("/latchkey.session.v1.SessionService/EndOtherSessions", BY_SECRET),
    ("/latchkey.session.v1.SessionReadService/GetSession", READS),
    ("/latchkey.session.v1.SessionReadService/ListSessions", READS),
    ("/latchkey.session.v1.SessionAdminService/EndSessionById", ADMINISTRATION),
    ("/latchkey.session.v1.SessionAdminService/EndSubjectSessions", ADMINISTRATION),
    ("/latchkey.session.v1.AttributeService/SetAttributes", APPLICATIONS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rpc_has_a_row() {
        let ours = |method: &String| method.starts_with("/latchkey.session.");
        let all: Vec<String> =
            chassis::grpc::unlisted(proto::DESCRIPTORS, &[]).into_iter().filter(ours).collect();
        assert_eq!(all.len(), ACCESS.len(), "a row for each RPC, and none for what is no RPC");
        let missing: Vec<String> =
            chassis::grpc::unlisted(proto::DESCRIPTORS, ACCESS).into_iter().filter(ours).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
