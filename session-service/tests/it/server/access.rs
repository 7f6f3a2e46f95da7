use proto::session::v1 as wire;
use tonic::{Code, Status};

use crate::stack::{Caller, Stack, create};

fn listed(result: Result<(), Status>) -> bool {
    match result {
        Ok(()) => true,
        Err(status) => {
            let refused = chassis::status::reason(&status).as_deref() == Some("CALLER_NOT_LISTED");
            assert_eq!(status.code() == Code::PermissionDenied, refused, "{status:?}");
            !refused
        }
    }
}

/// Which RPCs let this caller in, whatever they answer then.
async fn open_to(caller: &Caller, session: &wire::Session, secret: &str) -> Vec<&'static str> {
    let list = wire::ListSessionsRequest::default();
    let attributes = wire::SetAttributesRequest { id: session.id.clone(), ..Default::default() };
    [
        ("create", listed(caller.create(create(String::new())).await.map(drop))),
        ("resolve", listed(caller.resolve(secret).await.map(drop))),
        ("rotate", listed(caller.rotate(&"A".repeat(43)).await.map(drop))),
        ("end", listed(caller.log_out(&"A".repeat(43)).await.map(drop))),
        ("end others", listed(caller.end_others(&"A".repeat(43)).await.map(drop))),
        ("get", listed(caller.get(&session.id).await.map(drop))),
        ("list", listed(caller.list(list).await.map(drop))),
        ("end by id", listed(caller.end_by_id("").await.map(drop))),
        ("end subject", listed(caller.end_subject("usr_0").await.map(drop))),
        ("attributes", listed(caller.set_attributes(attributes).await.map(drop))),
    ]
    .into_iter()
    .filter_map(|(rpc, open)| open.then_some(rpc))
    .collect()
}

#[tokio::test]
async fn each_caller_may_call_what_is_its_own_business() {
    let stack = Stack::start().await;
    let (session, secret) = stack.log_in("usr_1").await;
    let by_id = ["get", "list", "end by id", "end subject", "attributes"];
    let by_secret = ["create", "resolve", "rotate", "end", "end others"];
    assert_eq!(open_to(&stack.as_caller("gateway"), &session, &secret).await, [by_secret, by_id].concat());
    assert_eq!(open_to(&stack.as_caller("operator"), &session, &secret).await, by_id);
    for nobody in ["auth", "policy", "session", "somebody"] {
        assert!(open_to(&stack.as_caller(nobody), &session, &secret).await.is_empty(), "{nobody}");
    }
}
