//! Who may call what, and which spelling of "no" the caller gets.

use std::time::Duration;

use chassis::grpc::client::Call;
use proto::auth::v1::{
    self as wire, client_admin_service_client::ClientAdminServiceClient,
    login_service_client::LoginServiceClient, token_admin_service_client::TokenAdminServiceClient,
    token_read_service_client::TokenReadServiceClient, token_service_client::TokenServiceClient,
    user_admin_service_client::UserAdminServiceClient,
};

use crate::stack::{Stack, login_request, reason};

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_are_not_listed_are_refused() {
    let stack = Stack::start().await;
    let call = Call::new("access", Duration::from_secs(5));
    for name in ["session", "policy", "operator"] {
        let channel = stack.channel_as(name);
        let login = login_request("alice", "x", wire::LoginMode::Token, "");
        let refused = LoginServiceClient::new(channel.clone()).login(call.request(login)).await;
        assert_eq!(reason(refused), "CALLER_NOT_LISTED", "{name}");
        let refresh = wire::RefreshRequest::default();
        let refused = TokenServiceClient::new(channel.clone()).refresh(call.request(refresh)).await;
        assert_eq!(reason(refused), "CALLER_NOT_LISTED", "{name}");
        let keys = call.request(wire::GetKeySetRequest {});
        let keys = TokenReadServiceClient::new(channel.clone()).get_key_set(keys).await;
        assert_eq!(keys.is_ok(), name != "policy", "{name}");
        let delete = wire::DeleteUserRequest { id: "usr_x".into() };
        let refused = UserAdminServiceClient::new(channel.clone()).delete_user(call.request(delete)).await;
        let expected = if name == "operator" { "USER_NOT_FOUND" } else { "CALLER_NOT_LISTED" };
        assert_eq!(reason(refused), expected, "{name}");
        let revoke = wire::RevokeTokenRequest { jti: "x".into() };
        let refused = TokenAdminServiceClient::new(channel.clone()).revoke_token(call.request(revoke)).await;
        let expected = if name == "operator" { "JTI_INVALID" } else { "CALLER_NOT_LISTED" };
        assert_eq!(reason(refused), expected, "{name}");
        let delete = wire::DeleteClientRequest { id: "cli_x".into() };
        let refused = ClientAdminServiceClient::new(channel).delete_client(call.request(delete)).await;
        let expected = if name == "operator" { "CLIENT_NOT_FOUND" } else { "CALLER_NOT_LISTED" };
        assert_eq!(reason(refused), expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unspecified_is_refused() {
    let stack = Stack::start().await;
    let login = login_request("alice", "x", wire::LoginMode::Unspecified, "");
    assert_eq!(reason(stack.logins().login(stack.call().request(login)).await), "MODE_INVALID");
    let message = wire::SetUserStatusRequest { id: "usr_x".into(), status: 0 };
    let refused = stack.user_admin().set_user_status(stack.call().request(message)).await;
    assert_eq!(reason(refused), "STATUS_INVALID");
    let message = wire::GetUserRequest { key: None };
    assert_eq!(reason(stack.user_reads().get_user(stack.call().request(message)).await), "KEY_INVALID");
    let message = wire::ListUsersRequest { page_size: 1_001, page_token: String::new() };
    assert_eq!(
        reason(stack.user_reads().list_users(stack.call().request(message)).await),
        "PAGE_SIZE_INVALID"
    );
}
