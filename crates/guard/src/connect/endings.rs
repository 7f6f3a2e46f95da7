//! What auth-service has ended: watched, and asked where there is no lease.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chassis::{
    entropy::SharedEntropy,
    grpc::{Call, client::Channel},
};
use feed::{
    Credential, Verdict, Wall,
    driver::watching::Watching,
    wire::{ask, parse_verdict},
};
use proto::feed::v1::feed_read_service_client::FeedReadServiceClient;
use tokio::sync::Semaphore;

use super::request_id;
use crate::{Endings, SourceUnavailable};

/// Questions at once; one more is told at once that nobody can be asked.
const MAX_ASKS: usize = 64;

/// auth-service's feed.
pub struct FeedEndings {
    watching: Arc<Watching<()>>,
    reads: FeedReadServiceClient<Channel>,
    places: Semaphore,
    entropy: SharedEntropy,
    /// What a request waits for an answer.
    patience: Duration,
}

impl FeedEndings {
    /// `replicas` leads to the feed's ports, and belongs to the runtime of those who ask.
    pub fn new(
        watching: Arc<Watching<()>>,
        replicas: Channel,
        entropy: SharedEntropy,
        patience: Duration,
    ) -> Self {
        let reads = FeedReadServiceClient::new(replicas);
        Self { watching, reads, places: Semaphore::new(MAX_ASKS), entropy, patience }
    }
}

#[async_trait]
impl Endings for FeedEndings {
    fn judge(&self, credential: &Credential) -> Option<Verdict> {
        self.watching.judge(credential)
    }

    async fn ask(&self, credential: &Credential) -> Result<Verdict, SourceUnavailable> {
        let _place = self.places.try_acquire().map_err(SourceUnavailable::new)?;
        let call = Call::new(request_id(&self.entropy, "ask_"), self.patience);
        let mut reads = self.reads.clone();
        let answer = tokio::time::timeout(self.patience, reads.ask(call.request(ask(credential)))).await;
        let answer = answer.map_err(SourceUnavailable::new)?.map_err(SourceUnavailable::new)?;
        parse_verdict(answer.into_inner()).map_err(SourceUnavailable::new)
    }

    fn judge_stale(&self, credential: &Credential, stale_for: Duration) -> Option<Verdict> {
        self.watching.may_serve_stale(stale_for).then(|| self.watching.judge_stale(credential))
    }

    fn ahead(&self, now: Wall) -> Duration {
        self.watching.ahead(now)
    }

    fn is_astray(&self, now: Wall) -> bool {
        self.watching.is_astray(now)
    }
}
