use proto::session::v1 as wire;
use tonic::Code;

use crate::stack::{Stack, not_found, refused};

#[tokio::test]
async fn a_log_out_is_final_and_idempotent() {
    let stack = Stack::start().await;
    let gateway = stack.gateway();
    let (session, secret) = stack.log_in("usr_1").await;
    assert!(gateway.log_out(&secret).await.unwrap());
    assert!(!gateway.log_out(&secret).await.unwrap());
    assert!(!gateway.log_out("not a secret").await.unwrap());
    assert_eq!(refused(gateway.resolve(&secret).await), not_found());
    assert_eq!(refused(gateway.get(&session.id).await), not_found());
    assert_eq!(refused(gateway.end_others(&secret).await), not_found());
}

#[tokio::test]
async fn one_of_ones_own_by_its_id_and_nobody_elses() {
    let stack = Stack::start().await;
    let gateway = stack.gateway();
    let (_, here) = stack.log_in("usr_1").await;
    let (there, secret_there) = stack.log_in("usr_1").await;
    let (strangers, secret_of_stranger) = stack.log_in("usr_2").await;
    let end = |id: &str| gateway.end(wire::EndSessionRequest { secret: here.clone(), id: id.to_owned() });
    assert!(!end(&strangers.id).await.unwrap().ended);
    assert!(!end("ses_0").await.unwrap().ended);
    assert!(end(&there.id).await.unwrap().ended);
    assert!(!end(&there.id).await.unwrap().ended);
    assert_eq!(refused(gateway.resolve(&secret_there).await), not_found());
    gateway.resolve(&here).await.unwrap();
    gateway.resolve(&secret_of_stranger).await.unwrap();
}

#[tokio::test]
async fn all_others_and_all() {
    let stack = Stack::start().await;
    let (gateway, operator) = (stack.gateway(), stack.as_caller("operator"));
    let (_, here) = stack.log_in("usr_1").await;
    for _ in 0..3 {
        stack.log_in("usr_1").await;
    }
    let (_, stranger) = stack.log_in("usr_2").await;
    assert_eq!(gateway.end_others(&here).await.unwrap(), 3);
    assert_eq!(gateway.end_others(&here).await.unwrap(), 0);
    gateway.resolve(&here).await.unwrap();
    assert_eq!(operator.end_subject("usr_1").await.unwrap(), 1);
    assert_eq!(operator.end_subject("usr_1").await.unwrap(), 0);
    assert_eq!(refused(gateway.resolve(&here).await), not_found());
    gateway.resolve(&stranger).await.unwrap();
    let nobody = (Code::InvalidArgument, "SUBJECT_INVALID".to_owned());
    assert_eq!(refused(operator.end_subject("").await), nobody, "nobody in particular is not everybody");
}

#[tokio::test]
async fn an_administrator_ends_by_id() {
    let stack = Stack::start().await;
    let operator = stack.as_caller("operator");
    let (session, secret) = stack.log_in("usr_1").await;
    assert!(operator.end_by_id(&session.id).await.unwrap());
    assert!(!operator.end_by_id(&session.id).await.unwrap());
    assert!(!operator.end_by_id("ses_nothing").await.unwrap());
    assert_eq!(refused(stack.gateway().resolve(&secret).await), not_found());
}

#[tokio::test]
async fn s06_after_the_answer_no_later_request_is_let_in() {
    let stack = Stack::start().await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..50 {
        let (gateway, proof) = (stack.gateway(), stack.proof(&format!("usr_{number}")));
        calls.spawn(async move {
            let secret = gateway.create(crate::stack::create(proof)).await.unwrap().secret;
            let racing = {
                let (gateway, secret) = (gateway.clone(), secret.clone());
                async move { gateway.rotate(&secret).await.map(|rotated| rotated.secret).unwrap_or_default() }
            };
            let (rotated, ended) = tokio::join!(racing, gateway.log_out(&secret));
            assert!(ended.unwrap());
            for late in [secret, rotated] {
                assert_eq!(refused(gateway.resolve(&late).await), not_found());
            }
        });
    }
    calls.join_all().await;
}
