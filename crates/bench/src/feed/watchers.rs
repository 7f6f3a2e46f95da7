//! Two replicas in this process, and watchers over loopback connections.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use chassis::{
    clock::SystemClock,
    config::{Access, Shutdown, Tls, TlsMode},
    entropy::SystemEntropy,
    grpc::{client::channel, server::bind},
    lifecycle::Lifecycle,
    tls::Identity,
};
use feed::{
    Change, Target, Variant, WatcherId, What,
    driver::{serving::Serving, watching::Watching},
    grpc::{Feed, Membership, ToReplicas, clock, start},
    log::{Log, MemoryLog},
    replica::{Mode, Outcome},
    watcher::{Remember, Settings},
};

use super::Row;
use crate::report::percentile;

const LEASE: Duration = Duration::from_secs(5);
const REPLICAS: usize = 2;
/// For how long the slow watcher is asleep each time.
const ASLEEP: Duration = Duration::from_millis(2_000);
const SLOW: Duration = Duration::from_millis(100);

pub(super) async fn measure(count: usize, with_a_slow_one: bool, endings: usize) -> anyhow::Result<Row> {
    let lifecycle = Lifecycle::new(Shutdown { settle: Duration::ZERO, drain: Duration::from_secs(5) });
    let read = clock(SystemClock::shared());
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new(move || read.now().wall));
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        replicas.push(replica(&log, &lifecycle).await?);
    }
    let urls: Vec<String> = replicas.iter().map(|(address, _)| format!("http://{address}")).collect();
    let mut watchers = Vec::new();
    for number in 0..count {
        watchers.push(watch(number as u128, &urls, &lifecycle)?);
    }
    if with_a_slow_one {
        let (urls, lifecycle) = (urls.clone(), lifecycle.clone());
        let (tells, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let watching = watch(u128::MAX, &urls, &lifecycle)?;
                tells.send(Arc::clone(&watching)).ok();
                while watching.view().lease_left.is_none() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                while !lifecycle.is_stopping() {
                    std::thread::sleep(ASLEEP);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                anyhow::Ok(())
            })
        });
        watchers.push(told.recv().context("the slow watcher")?);
    }
    for watching in &watchers {
        while watching.view().lease_left.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let mut took = Vec::with_capacity(endings);
    for (number, (_, serving)) in (0..endings).zip(replicas.iter().cycle()) {
        let until = clock(SystemClock::shared()).now().wall + Duration::from_secs(3600);
        let target = Target::new(What::Token, format!("{number:026}"));
        let began = Instant::now();
        let outcome =
            serving.end(vec![Change { target, min: None, except: None, until }], Mode::Everywhere).await;
        took.push(began.elapsed());
        ensure!(matches!(outcome, Outcome::Done { everywhere: true, .. }), "{outcome:?}");
    }
    lifecycle.trigger();
    lifecycle.end();
    let milliseconds = |percent| percentile(&took, percent).as_secs_f64() * 1000.0;
    Ok(Row {
        watchers: count,
        with_a_slow_one,
        p50: milliseconds(50),
        p99: milliseconds(99),
        slowest: milliseconds(100),
        slow: took.iter().filter(|took| **took >= SLOW).count(),
    })
}

async fn replica(log: &Arc<dyn Log>, lifecycle: &Lifecycle) -> anyhow::Result<(SocketAddr, Serving)> {
    let listener = bind("feed.listen", SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = listener.local_addr()?;
    let log = Arc::clone(log);
    let membership = Membership {
        name: "auth",
        settings: Feed {
            listen: address,
            advertise: String::new(),
            lease: LEASE,
            variant: Variant::default(),
        },
        identity: external()?,
        access: Access::default(),
        clock: SystemClock::shared(),
        entropy: SystemEntropy::shared(),
        open_log: Box::new(move || Box::pin(async move { log })),
    };
    Ok((address, start(membership, listener, lifecycle).await?))
}

fn watch(number: u128, urls: &[String], lifecycle: &Lifecycle) -> anyhow::Result<Arc<Watching<()>>> {
    let settings = Settings { lease: LEASE, remember: Remember::Everything, variant: Variant::default() };
    let watching = Watching::new(settings, WatcherId(number), clock(SystemClock::shared()));
    let channel = channel(urls, &external()?, "auth", lifecycle)?;
    let work = Arc::clone(&watching)
        .run(Arc::new(ToReplicas::new(&channel)), lifecycle.stopping().cancelled_owned());
    tokio::spawn(async move {
        let _channel = channel;
        work.await;
    });
    Ok(watching)
}

/// Without TLS: what is measured is the feed.
fn external() -> anyhow::Result<Identity> {
    Ok(Identity::load(&Tls {
        mode: TlsMode::External,
        certificate: "".into(),
        key: "".into(),
        authority: "".into(),
        domain: String::new(),
    })?)
}
