//! What nothing can be faster than.

use std::{
    fmt,
    fs::File,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use chassis::grpc::client::{Call, Channel};
use proto::auth::v1::{GetKeySetRequest, token_read_service_client::TokenReadServiceClient};
use servers::Postgres;
use sqlx::{Connection as _, PgConnection};

use crate::report::{milliseconds, percentile};

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
        write!(f, "{:.2} ms (p99 {:.2} ms)", milliseconds(self.p50), milliseconds(self.p99))
    }
}

/// A page written and flushed (`fdatasync`), over and over, where PostgreSQL's files are too.
pub struct Flushes(File);

impl Flushes {
    pub fn at(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self(File::create(folder.join("flushed"))?))
    }

    pub fn once(&mut self) -> anyhow::Result<Duration> {
        self.0.write_all(&[7; 8192])?;
        let began = Instant::now();
        self.0.sync_data()?;
        Ok(began.elapsed())
    }
}

/// Flushes with nothing between them.
pub fn flush(folder: &Path) -> anyhow::Result<Spread> {
    let mut flushes = Flushes::at(folder)?;
    let took: Vec<Duration> = (0..TIMES).map(|_| flushes.once()).collect::<anyhow::Result<_>>()?;
    Ok(Spread::of(&took))
}

/// One row in one transaction, over and over.
pub struct Commits(PgConnection);

impl Commits {
    pub async fn at(postgres: &Postgres) -> anyhow::Result<Self> {
        let mut connection = PgConnection::connect(&postgres.url()).await?;
        sqlx::query("CREATE TABLE floor (n bigint)").execute(&mut connection).await?;
        Ok(Self(connection))
    }

    pub async fn once(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        sqlx::query("INSERT INTO floor VALUES (1)").execute(&mut self.0).await?;
        Ok(began.elapsed())
    }

    /// A question that is answered out of nothing.
    pub async fn read(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        sqlx::query("SELECT 1").execute(&mut self.0).await?;
        Ok(began.elapsed())
    }
}

/// With nothing between them.
pub async fn in_a_row(mut once: impl AsyncFnMut() -> anyhow::Result<Duration>) -> anyhow::Result<Spread> {
    let mut took = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        took.push(once().await?);
    }
    Ok(Spread::of(&took))
}

/// A call to a service and its answer, over mutual TLS, that needs nothing but memory.
pub async fn echo(auth: &Channel) -> anyhow::Result<Duration> {
    let request = Call::new("bench", Duration::from_secs(10)).request(GetKeySetRequest {});
    let began = Instant::now();
    TokenReadServiceClient::new(auth.clone()).get_key_set(request).await.context("an echo")?;
    Ok(began.elapsed())
}
