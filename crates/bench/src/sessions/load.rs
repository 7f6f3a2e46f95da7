//! Callers that read sessions, each the next as soon as it has an answer.

use std::time::{Duration, Instant};

use chassis::grpc::client::{Call, Channel};
use proto::session::v1::{ResolveSessionRequest, session_service_client::SessionServiceClient};
use tokio::task::JoinSet;

use crate::neighbour::Neighbours;

pub struct Callers {
    channels: Vec<Channel>,
    in_flight: usize,
}

pub struct Done {
    pub calls: u64,
    pub took: Duration,
}

impl Callers {
    /// Over this many connections. Within the runtime.
    pub fn connect(
        neighbours: &Neighbours,
        url: &str,
        connections: usize,
        in_flight: usize,
    ) -> anyhow::Result<Callers> {
        let channels = (0..connections).map(|_| neighbours.channel(url, "session"));
        Ok(Callers { channels: channels.collect::<Result<_, _>>()?, in_flight })
    }

    /// Reads these sessions, in an order that jumps about, for so long. Anything but a session is an error.
    pub async fn run(&self, secrets: &[String], time: Duration) -> anyhow::Result<Done> {
        let began = Instant::now();
        let mut callers = JoinSet::new();
        // Not copied: a million of them are told once.
        let secrets: &'static [String] = Vec::leak(sample(secrets));
        for (number, channel) in self.channels.iter().cycle().take(self.in_flight).enumerate() {
            let mut client = SessionServiceClient::new(channel.clone());
            callers.spawn(async move {
                let (mut calls, mut at) = (0_u64, number);
                while began.elapsed() < time {
                    let secret = secrets.get(at % secrets.len()).cloned().unwrap_or_default();
                    at += 7_919;
                    let call =
                        Call::new("bench", Duration::from_secs(5)).request(ResolveSessionRequest { secret });
                    let answer = client.resolve_session(call).await?;
                    anyhow::ensure!(answer.into_inner().session.is_some(), "no session");
                    calls += 1;
                }
                Ok(calls)
            });
        }
        let mut calls = 0;
        while let Some(done) = callers.join_next().await {
            calls += done??;
        }
        Ok(Done { calls, took: began.elapsed() })
    }
}

/// At most so many that the load's own memory stays small, from all over.
fn sample(secrets: &[String]) -> Vec<String> {
    secrets.iter().step_by((secrets.len() / 20_000).max(1)).cloned().collect()
}
