//! What nothing can be faster than.

use std::{
    fmt,
    fs::File,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use chassis::grpc::client::{Call, Channel};
use proto::auth::v1::{GetKeySetRequest, token_read_service_client::TokenReadServiceClient};
use servers::Postgres;

use crate::report::percentile;

const TIMES: usize = 1000;

/// The middle, and what one in a hundred takes at least.
#[derive(Clone, Copy)]
pub struct Spread {
    pub p50: Duration,
    pub p99: Duration,
}

impl Spread {
    pub fn of(took: &[Duration]) -> Self {
        Self { p50: percentile(took, 50), p99: percentile(took, 99) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        write!(f, "{:.2} ms (p99 {:.2} ms)", ms(self.p50), ms(self.p99))
    }
}

/// A page written and flushed, where PostgreSQL's files are too.
pub fn flush(folder: &Path) -> anyhow::Result<Spread> {
    let mut file = File::create(folder.join("flushed"))?;
    let mut took = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        file.write_all(&[7; 8192])?;
        let began = Instant::now();
        file.sync_data()?;
        took.push(began.elapsed());
    }
    Ok(Spread::of(&took))
}

/// One row in one transaction, as psql's own clock has it.
pub fn commit(postgres: &Postgres) -> anyhow::Result<Spread> {
    postgres.psql("CREATE TABLE floor (n bigint)");
    let script = "\\timing on\n".to_owned() + &"INSERT INTO floor VALUES (1);\n".repeat(TIMES);
    let told = postgres.script(&script);
    let took: Vec<Duration> = told
        .lines()
        .filter_map(|line| line.strip_prefix("Time: ")?.split(' ').next()?.parse::<f64>().ok())
        .map(|milliseconds| Duration::from_secs_f64(milliseconds / 1000.0))
        .collect();
    ensure!(took.len() == TIMES, "psql told {} times: {told}", took.len());
    Ok(Spread::of(&took))
}

/// A call to a service and its answer, over mutual TLS, that needs nothing but memory.
pub async fn echo(auth: &Channel) -> anyhow::Result<Spread> {
    let mut client = TokenReadServiceClient::new(auth.clone());
    let mut took = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let request = Call::new("bench", Duration::from_secs(10)).request(GetKeySetRequest {});
        let began = Instant::now();
        client.get_key_set(request).await.context("an echo")?;
        took.push(began.elapsed());
    }
    Ok(Spread::of(&took))
}
