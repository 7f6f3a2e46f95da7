//! Who may call what. The gateway asks and administers on behalf of principals, auth-service reads roles when it issues a
//! token, other services ask what somebody may do, the operator does what the gateway does without a principal.

use chassis::grpc::{ADMITTED, AccessTable};

const CHECKS: &[&str] = &["gateway", "operator", ADMITTED];
const READS: &[&str] = &["gateway", "auth", "operator"];
const ADMINISTRATION: &[&str] = &["gateway", "operator"];

/// A row for each RPC of policy-service; what is not here is refused.
pub const ACCESS: AccessTable = &[
    ("/latchkey.policy.v1.CheckService/Check", CHECKS),
    ("/latchkey.policy.v1.CheckService/BatchCheck", CHECKS),
    ("/latchkey.policy.v1.PolicyReadService/GetSubjectRoles", READS),
    ("/latchkey.policy.v1.PolicyReadService/GetRole", READS),
    ("/latchkey.policy.v1.PolicyReadService/ListRoles", READS),
    ("/latchkey.policy.v1.PolicyReadService/ListGrants", READS),
    ("/latchkey.policy.v1.PolicyReadService/ListGroups", READS),
    ("/latchkey.policy.v1.PolicyAdminService/PutRole", ADMINISTRATION),
    ("/latchkey.policy.v1.PolicyAdminService/DeleteRole", ADMINISTRATION),
    ("/latchkey.policy.v1.PolicyAdminService/CreateGrant", ADMINISTRATION),
    ("/latchkey.policy.v1.PolicyAdminService/DeleteGrant", ADMINISTRATION),
    ("/latchkey.policy.v1.PolicyAdminService/CreateGroup", ADMINISTRATION),
    ("/latchkey.policy.v1.PolicyAdminService/DeleteGroup", ADMINISTRATION),
    ("/latchkey.policy.v1.PolicyAdminService/AddGroupMember", ADMINISTRATION),
    ("/latchkey.policy.v1.PolicyAdminService/RemoveGroupMember", ADMINISTRATION),
    ("/latchkey.policy.v1.PolicyAdminService/ForgetSubject", ADMINISTRATION),
];
