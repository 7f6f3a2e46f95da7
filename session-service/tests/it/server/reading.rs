use std::collections::HashMap;

use proto::session::v1 as wire;
use tonic::Code;

use crate::stack::{Stack, not_found, refused, secs};

#[tokio::test]
async fn lists_by_subject_and_of_all_are_paged() {
    let stack = Stack::start().await;
    let operator = stack.as_caller("operator");
    let mut mine = Vec::new();
    for number in 0..5 {
        stack.clock.advance(secs(1));
        mine.push(stack.log_in("usr_1").await.0.id);
        if number % 2 == 0 {
            stack.log_in("usr_2").await;
        }
    }
    mine.reverse();
    for (subject, total) in [("usr_1", 5), ("usr_2", 3), ("usr_3", 0), ("", 8)] {
        let mut seen = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = wire::ListSessionsRequest { subject: subject.to_owned(), page_size: 2, page_token };
            let page = operator.list(request).await.unwrap();
            assert!(page.sessions.len() <= 2);
            seen.extend(page.sessions.into_iter().map(|session| session.id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(seen.len(), total, "{subject}");
        if subject == "usr_1" {
            assert_eq!(seen, mine, "the youngest first");
        }
    }
}

#[tokio::test]
async fn a_list_that_cannot_be_is_told_so() {
    let stack = Stack::start().await;
    let list = |subject: &str, page_size, page_token: &str| {
        let (subject, page_token) = (subject.to_owned(), page_token.to_owned());
        let operator = stack.as_caller("operator");
        async move { operator.list(wire::ListSessionsRequest { subject, page_size, page_token }).await }
    };
    let invalid = |reason: &str| (Code::InvalidArgument, reason.to_owned());
    assert_eq!(refused(list("", 1_001, "").await), invalid("PAGE_SIZE_INVALID"));
    assert_eq!(refused(list("", 0, "no token").await), invalid("PAGE_TOKEN_INVALID"));
    assert_eq!(refused(list("a b", 0, "").await), invalid("SUBJECT_INVALID"));
    assert!(list("", 1_000, "").await.unwrap().sessions.is_empty());
}

#[tokio::test]
async fn a_list_holds_what_is_live_and_shows_no_secret() {
    let stack = Stack::start().await;
    let (gateway, operator) = (stack.gateway(), stack.as_caller("operator"));
    let (kept, secret) = stack.log_in("usr_1").await;
    stack.log_in("usr_1").await;
    let (_, ended) = stack.log_in("usr_1").await;
    gateway.log_out(&ended).await.unwrap();
    // Alive by activity that is not written yet.
    stack.clock.advance(secs(29 * 60));
    gateway.resolve(&secret).await.unwrap();
    stack.clock.advance(secs(5 * 60));
    let request =
        wire::ListSessionsRequest { subject: "usr_1".to_owned(), page_size: 0, page_token: String::new() };
    let sessions = operator.list(request).await.unwrap().sessions;
    assert_eq!(sessions.iter().map(|session| &session.id).collect::<Vec<_>>(), [&kept.id]);
    assert!(!format!("{sessions:?}").contains(&secret));
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let stack = Stack::start().await;
    for id in ["", "ses_0", "usr_1", "ses_00000000000000000000000000"] {
        assert_eq!(refused(stack.gateway().get(id).await), not_found(), "{id}");
    }
}

#[tokio::test]
async fn attributes_are_compared_and_set() {
    let stack = Stack::start().await;
    let gateway = stack.gateway();
    let (session, secret) = stack.log_in("usr_1").await;
    let set = |expected_version, entries: &[(&str, usize)]| {
        let attributes: HashMap<String, Vec<u8>> =
            entries.iter().map(|(name, bytes)| ((*name).to_owned(), vec![0xfe; *bytes])).collect();
        let (gateway, id) = (gateway.clone(), session.id.clone());
        async move {
            gateway.set_attributes(wire::SetAttributesRequest { id, expected_version, attributes }).await
        }
    };
    assert_eq!(set(0, &[("cart", 4_092)]).await.unwrap().version, 1);
    let resolved = gateway.resolve(&secret).await.unwrap().session.unwrap();
    assert_eq!(resolved.attributes_version, 1);
    assert_eq!(resolved.attributes["cart"], vec![0xfe; 4_092]);
    assert_eq!(refused(set(0, &[]).await), (Code::Aborted, "VERSION_MISMATCH".to_owned()));
    let too_large = (Code::InvalidArgument, "ATTRIBUTES_TOO_LARGE".to_owned());
    assert_eq!(refused(set(1, &[("cart", 4_093)]).await), too_large);
    assert_eq!(
        refused(set(1, &[("", 1)]).await),
        (Code::InvalidArgument, "ATTRIBUTE_NAME_INVALID".to_owned())
    );
    gateway.log_out(&secret).await.unwrap();
    assert_eq!(refused(set(1, &[]).await), not_found());
}
