//! How the replicas of one service ask each other.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use chassis::{
    grpc::{
        Call,
        client::{Channel, channel},
    },
    lifecycle::Lifecycle,
    tls::Identity,
};
use proto::feed::v1::confirm_service_client::ConfirmServiceClient;

use crate::{
    Member, Position, Tail,
    driver::serving::{NotConfirmed, Peers},
    wire::confirm,
};

/// Addresses of members that are gone are forgotten when there are so many.
const MAX_CHANNELS: usize = 64;

pub(super) struct Replicas {
    pub(super) name: &'static str,
    pub(super) identity: Identity,
    pub(super) lifecycle: Lifecycle,
    pub(super) channels: Mutex<HashMap<String, Channel>>,
}

#[async_trait]
impl Peers for Replicas {
    async fn confirm(&self, member: &Member, position: Position, tail: &Tail) -> Result<(), NotConfirmed> {
        let channel = self.channel(&member.address)?;
        let call = Call::new(format!("feed_{}", position.number), member.lease);
        let asked = ConfirmServiceClient::new(channel)
            .confirm(call.request(confirm(member.id, position, tail)))
            .await;
        match asked {
            Ok(_) => Ok(()),
            Err(status) => {
                tracing::debug!(member = %member.id, address = member.address, reason = status.message(), "not confirmed");
                Err(NotConfirmed)
            }
        }
    }
}

impl Replicas {
    fn channel(&self, address: &str) -> Result<Channel, NotConfirmed> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = channels.get(address) {
            return Ok(known.clone());
        }
        if channels.len() >= MAX_CHANNELS {
            channels.clear();
        }
        let made =
            channel(&[address.to_owned()], &self.identity, self.name, &self.lifecycle).map_err(|error| {
                tracing::error!(address, %error, "a replica of this service cannot be asked");
                NotConfirmed
            })?;
        channels.insert(address.to_owned(), made.clone());
        Ok(made)
    }
}
