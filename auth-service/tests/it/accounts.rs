//! Administration of users.

use proto::auth::v1::{self as wire, get_user_request};

use crate::{
    audit,
    stack::{OTHER_PASSWORD, PASSWORD, Stack, reason},
};

#[tokio::test(flavor = "multi_thread")]
async fn users_are_read_by_id_and_by_any_spelling_of_the_name() {
    let stack = Stack::start().await;
    let user = stack.register("Stra\u{df}e", PASSWORD).await.unwrap();
    for key in [get_user_request::Key::Id(user.id.clone()), get_user_request::Key::Username("STRASSE".into())]
    {
        let message = wire::GetUserRequest { key: Some(key) };
        let found =
            stack.user_reads().get_user(stack.call().request(message)).await.unwrap().into_inner().user;
        assert_eq!(found, Some(user.clone()));
    }
    for key in [
        get_user_request::Key::Id("usr_0123456789abcdefghjkmnpqrs".into()),
        get_user_request::Key::Id("x".into()),
        get_user_request::Key::Username("nobody".into()),
    ] {
        let message = wire::GetUserRequest { key: Some(key) };
        assert_eq!(
            reason(stack.user_reads().get_user(stack.call().request(message)).await),
            "USER_NOT_FOUND"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages() {
    let stack = Stack::start().await;
    for number in 0..5 {
        stack.register(&format!("user-{number}"), PASSWORD).await.unwrap();
    }
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let message = wire::ListUsersRequest { page_size: 2, page_token };
        let page = stack.user_reads().list_users(stack.call().request(message)).await.unwrap().into_inner();
        assert!(page.users.len() <= 2);
        names.extend(page.users.into_iter().map(|user| user.username));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    names.sort();
    assert_eq!(names, ["user-0", "user-1", "user-2", "user-3", "user-4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_user_is_gone_and_the_name_is_free() {
    let stack = Stack::start().await;
    let user = stack.register("alice", PASSWORD).await.unwrap();
    let tokens = stack.login("alice", PASSWORD).await.unwrap();
    let delete = async || {
        let message = wire::DeleteUserRequest { id: user.id.clone() };
        stack.user_admin().delete_user(stack.call().request(message)).await
    };
    delete().await.unwrap();
    assert_eq!(reason(delete().await), "USER_NOT_FOUND");
    assert_eq!(reason(stack.login("alice", PASSWORD).await), "INVALID_CREDENTIALS");
    assert_eq!(reason(stack.refresh(&tokens.refresh_token).await), "INVALID_GRANT");
    let again = stack.register("alice", OTHER_PASSWORD).await.unwrap();
    assert_ne!(again.id, user.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn administration_leaves_one_line_with_who_acted() {
    let stack = Stack::start().await;
    let user = stack.register("alice", PASSWORD).await.unwrap();
    let admin = "usr_0123456789abcdefghjkmnpqrs";
    let check = |request_id: &str, event: &str, actor: &str, outcome: &str| {
        let lines = audit::lines(request_id);
        assert_eq!(lines.len(), 1, "{event}: {lines:?}");
        let line = &lines[0];
        assert_eq!(
            (line["event"].as_str(), line["actor"].as_str(), line["outcome"].as_str()),
            (event, actor, outcome)
        );
        assert_eq!(line["subject"], user.id);
    };
    for (status, event) in [(wire::Status::Disabled, "user.disable"), (wire::Status::Active, "user.enable")] {
        let call = stack.call().actor(admin);
        let message = wire::SetUserStatusRequest { id: user.id.clone(), status: status.into() };
        stack.user_admin().set_user_status(call.request(message)).await.unwrap();
        check(&call.request_id, event, admin, "success");
    }
    let call = stack.call();
    let message = wire::SetPasswordRequest {
        id: user.id.clone(),
        password: "short".into(),
        must_change_password: false,
    };
    stack.user_admin().set_password(call.request(message)).await.unwrap_err();
    check(&call.request_id, "user.set_password", "gateway", "refused");
    let call = stack.call().actor(admin);
    stack
        .user_admin()
        .delete_user(call.request(wire::DeleteUserRequest { id: user.id.clone() }))
        .await
        .unwrap();
    check(&call.request_id, "user.delete", admin, "success");
    let call = stack.call().actor(admin);
    let message = wire::DeleteUserRequest { id: "a password in the wrong place".into() };
    stack.user_admin().delete_user(call.request(message)).await.unwrap_err();
    let lines = audit::lines(&call.request_id);
    assert_eq!((lines.len(), lines[0]["reason"].as_str()), (1, "USER_NOT_FOUND"));
    assert!(!lines[0].contains_key("subject"), "what is no id is not written down");
}
