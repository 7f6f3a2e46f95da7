//! More than a gateway's feed can carry, and more than it can answer at leisure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use reqwest::StatusCode;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::away::EXACT;
use crate::stack::{Stack, Tokens, client};
use crate::taken_back::acknowledged;

/// Bytes a second, and endings: many more than fit through.
pub const NARROW: u32 = 512;
const ENDINGS: u32 = 1_000;
const AT_ONCE: usize = 64;
/// Callers of a gateway that is to be busy.
const BUSY: usize = 16;

/// An ending that is acknowledged, of a token that nobody has.
async fn ending_of_nothing(url: String, administrator: String) {
    let http = client();
    loop {
        let answer = http.delete(&url).bearer_auth(&administrator).send().await.unwrap();
        if acknowledged(answer.status()).is_some() {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// All of them, acknowledged.
pub async fn flood(stack: &Stack, administrator: &Tokens) {
    let mut under_way = JoinSet::new();
    for number in 0..ENDINGS {
        if under_way.len() == AT_ONCE {
            under_way.join_next().await.unwrap().unwrap();
        }
        let url = format!("{}/v1/admin/tokens/{number:026}", stack.internal());
        under_way.spawn(ending_of_nothing(url, administrator.access_token.clone()));
    }
    under_way.join_all().await;
}

/// Requests with a token that stays good, each caller's one after another, until it is over and each is let in.
pub fn keep_busy(gateway: &str, tokens: &Tokens, is_over: &Arc<AtomicBool>) -> JoinSet<()> {
    let (http, mut callers) = (client(), JoinSet::new());
    for _ in 0..BUSY {
        let request = http.get(format!("{gateway}{EXACT}")).bearer_auth(&tokens.access_token);
        let is_over = Arc::clone(is_over);
        callers.spawn(async move {
            let mut status = StatusCode::SERVICE_UNAVAILABLE;
            while !is_over.load(Relaxed) || status != StatusCode::OK {
                status = request.try_clone().unwrap().send().await.unwrap().status();
                assert!(matches!(status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE), "{status}");
            }
        });
    }
    callers
}
