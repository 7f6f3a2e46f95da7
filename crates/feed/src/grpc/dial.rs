//! How a guard reaches the replicas of a service.

use std::time::Duration;

use async_trait::async_trait;
use chassis::grpc::client::Channel;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use proto::feed::v1::feed_service_client::FeedServiceClient;
use tokio::sync::mpsc;
use tonic::Request;

use super::OPEN_WITHIN;
use crate::{
    FromWatcher, ToWatcher,
    driver::watching::{Dial, OutOfReach},
    wire::{from_watcher, parse_to_watcher},
};

/// A stream that lasts so long is opened anew.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The feed ports of a service's replicas.
pub struct ToReplicas(Channel);

impl ToReplicas {
    /// `channel` must have been made in the runtime that watches, and for this alone.
    pub fn new(channel: &Channel) -> Self {
        Self(channel.elsewhere())
    }
}

#[async_trait]
impl Dial for ToReplicas {
    async fn open(
        &self,
        mut says: mpsc::UnboundedReceiver<FromWatcher>,
    ) -> Result<BoxStream<'static, ToWatcher>, OutOfReach> {
        let says = stream::poll_fn(move |context| says.poll_recv(context));
        let mut request = Request::new(says.map(|message| from_watcher(&message)));
        request.set_timeout(LONGEST);
        let mut client = FeedServiceClient::new(self.0.clone());
        let answer = tokio::time::timeout(OPEN_WITHIN, client.watch(request))
            .await
            .map_err(|_| OutOfReach("no answer in time".to_owned()))?
            .map_err(|status| OutOfReach(status.message().to_owned()))?;
        let messages = stream::unfold(answer.into_inner(), |mut answers| async move {
            let parsed = match answers.message().await {
                Ok(Some(message)) => parse_to_watcher(message).map_err(|invalid| invalid.to_string()),
                Ok(None) => Err("the replica closed it".to_owned()),
                Err(status) => Err(status.message().to_owned()),
            };
            match parsed {
                Ok(message) => Some((message, answers)),
                Err(reason) => {
                    tracing::debug!(reason, "a stream of changes has ended");
                    None
                }
            }
        });
        Ok(messages.boxed())
    }
}
