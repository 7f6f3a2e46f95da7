//! Callers of a gRPC server, each the next call as soon as it has an answer; and what they and the server made of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use chassis::grpc::client::{Call, Channel};
use tokio::task::JoinSet;

use crate::{neighbour::Neighbours, process, report::median};

pub struct Callers {
    channels: Vec<Channel>,
    in_flight: usize,
    /// Calls that were begun, through all rounds.
    calls: Arc<AtomicUsize>,
}

/// Of one server, a figure a round.
#[derive(Default)]
pub struct Rounds {
    rates: Vec<f64>,
    cpu_us: Vec<f64>,
    waited: Vec<f64>,
}

/// Medians of the rounds.
#[derive(Clone, Copy)]
pub struct Medians {
    pub requests_per_second: f64,
    pub cpu_us_per_request: f64,
    /// Per cent of the time in which the server was ready to run and something else had its core.
    pub disturbed: f64,
}

impl Callers {
    /// Over this many connections, with so many calls in flight on all of them together. Within the runtime.
    pub fn connect(
        neighbours: &Neighbours,
        (url, name): (&str, &str),
        connections: usize,
        in_flight: usize,
    ) -> anyhow::Result<Callers> {
        let channels = (0..connections).map(|_| neighbours.channel(url, name));
        Ok(Callers { channels: channels.collect::<Result<_, _>>()?, in_flight, calls: Arc::default() })
    }

    /// Calls for so long, and how many calls there were. `call` is told how many there were before it.
    async fn run<F>(
        &self,
        time: Duration,
        call: impl Fn(Channel, usize) -> F + Clone + Send + 'static,
    ) -> anyhow::Result<u64>
    where
        F: Future<Output = anyhow::Result<()>> + Send,
    {
        let began = Instant::now();
        let mut callers = JoinSet::new();
        for channel in self.channels.iter().cycle().take(self.in_flight) {
            let (channel, call, begun) = (channel.clone(), call.clone(), Arc::clone(&self.calls));
            callers.spawn(async move {
                let mut calls = 0_u64;
                while began.elapsed() < time {
                    call(channel.clone(), begun.fetch_add(1, Relaxed)).await?;
                    calls += 1;
                }
                anyhow::Ok(calls)
            });
        }
        let mut calls = 0;
        while let Some(done) = callers.join_next().await {
            calls += done??;
        }
        Ok(calls)
    }

    /// One round against the server with this process id.
    pub async fn measure<F>(
        &self,
        rounds: &mut Rounds,
        server: u32,
        time: Duration,
        call: impl Fn(Channel, usize) -> F + Clone + Send + 'static,
    ) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<()>> + Send,
    {
        // So that connections, caches and the clock of the core are warm.
        self.run(time / 4, call.clone()).await?;
        let (before, began) = (process::times(server)?, Instant::now());
        let calls = self.run(time, call).await? as f64;
        let (spent, took) = (process::times(server)?.since(before), began.elapsed().as_secs_f64());
        rounds.rates.push(calls / took);
        rounds.cpu_us.push(spent.cpu.as_secs_f64() * 1e6 / calls);
        rounds.waited.push(spent.waited.as_secs_f64() / took * 100.0);
        Ok(())
    }
}

impl Rounds {
    pub fn medians(self) -> Medians {
        Medians {
            requests_per_second: median(self.rates),
            cpu_us_per_request: median(self.cpu_us),
            disturbed: median(self.waited),
        }
    }
}

impl Medians {
    /// Of `bare`, by requests a second and by CPU time.
    pub fn of(self, bare: Medians) -> (f64, f64) {
        (
            self.requests_per_second / bare.requests_per_second,
            bare.cpu_us_per_request / self.cpu_us_per_request,
        )
    }
}

pub fn request<T>(message: T) -> tonic::Request<T> {
    Call::new("bench", Duration::from_secs(5)).request(message)
}
