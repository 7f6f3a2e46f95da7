//! Who may call what. The gateway logs in, refreshes and administers on behalf of principals, session-service and
//! other services read the key set that they verify with, the operator does what the gateway does without a principal.

use chassis::grpc::{ADMITTED, AccessTable};

const GATEWAY: &[&str] = &["gateway"];
const KEYS: &[&str] = &["gateway", "session", "operator", ADMITTED];
const READS: &[&str] = &["gateway", "operator"];
const ADMINISTRATION: &[&str] = &["gateway", "operator"];

/// A row for each RPC of auth-service; what is not here is refused.
pub const ACCESS: AccessTable = &[
    ("/latchkey.auth.v1.LoginService/Register", GATEWAY),
    ("/latchkey.auth.v1.LoginService/Login", GATEWAY),
    ("/latchkey.auth.v1.LoginService/ChangePassword", GATEWAY),
    ("/latchkey.auth.v1.TokenService/IssueClientToken", GATEWAY),
    ("/latchkey.auth.v1.TokenService/Refresh", GATEWAY),
    ("/latchkey.auth.v1.TokenService/Revoke", GATEWAY),
    ("/latchkey.auth.v1.TokenService/EndFamily", GATEWAY),
    ("/latchkey.auth.v1.TokenAdminService/RevokeToken", ADMINISTRATION),
    ("/latchkey.auth.v1.TokenAdminService/RevokeFamily", ADMINISTRATION),
    ("/latchkey.auth.v1.TokenReadService/Introspect", GATEWAY),
    ("/latchkey.auth.v1.TokenReadService/GetKeySet", KEYS),
    ("/latchkey.auth.v1.UserReadService/GetUser", READS),
    ("/latchkey.auth.v1.UserReadService/ListUsers", READS),
    ("/latchkey.auth.v1.UserAdminService/CreateUser", ADMINISTRATION),
    ("/latchkey.auth.v1.UserAdminService/SetUserStatus", ADMINISTRATION),
    ("/latchkey.auth.v1.UserAdminService/SetPassword", ADMINISTRATION),
    ("/latchkey.auth.v1.UserAdminService/RevokeUserTokens", ADMINISTRATION),
    ("/latchkey.auth.v1.UserAdminService/DeleteUser", ADMINISTRATION),
    ("/latchkey.auth.v1.ClientReadService/GetClient", READS),
    ("/latchkey.auth.v1.ClientReadService/ListClients", READS),
    ("/latchkey.auth.v1.ClientAdminService/CreateClient", ADMINISTRATION),
    ("/latchkey.auth.v1.ClientAdminService/RotateClientSecret", ADMINISTRATION),
    ("/latchkey.auth.v1.ClientAdminService/SetClientStatus", ADMINISTRATION),
    ("/latchkey.auth.v1.ClientAdminService/RevokeClientTokens", ADMINISTRATION),
    ("/latchkey.auth.v1.ClientAdminService/DeleteClient", ADMINISTRATION),
    ("/latchkey.auth.v1.KeyReadService/ListKeys", READS),
    ("/latchkey.auth.v1.KeyAdminService/RotateKey", ADMINISTRATION),
    ("/latchkey.auth.v1.KeyAdminService/RevokeKey", ADMINISTRATION),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rpc_has_a_row() {
        let ours = |name: &String| name.starts_with("/latchkey.auth.");
        let missing: Vec<String> =
            chassis::grpc::unlisted(proto::DESCRIPTORS, ACCESS).into_iter().filter(ours).collect();
        assert_eq!(missing, Vec::<String>::new());
        assert!(chassis::grpc::unlisted(proto::DESCRIPTORS, &[]).iter().any(ours), "the test can fail");
    }
}
