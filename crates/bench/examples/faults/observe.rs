//! One run: everything is made, the load begins, the fault is there and goes, the load ends, everything is looked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::{Care, Clients, GRACE, SMOKE_GRACE};
use crate::figures::{Figures, Window, judge, p99};
use crate::ledger::{Entry, Ledger, Op};
use crate::load;
use crate::stack::Stack;
use crate::trap::Trap;
use crate::world::{World, foreign_token};

/// How long and how hard.
#[derive(Debug, Clone)]
pub struct Plan {
    pub program: PathBuf,
    /// Where ledgers and logs are kept.
    pub folder: PathBuf,
    pub seconds: u64,
    pub rate: u64,
    pub seed: u64,
    pub is_smoke: bool,
    /// How often a row does what it counts, where it counts; without it, as often as fits into the time.
    pub count: Option<usize>,
    /// For a control: the routes that only hostile requests use ask for a credential and for nothing else.
    pub is_open: bool,
}

pub struct Observed {
    pub figures: Figures,
    pub entries: Vec<Entry>,
    pub window: Window,
    /// Most resident megabytes of one process that were seen when the fault had gone.
    pub rss_mb: u64,
    /// Open files of all processes that were not replaced: after minus before.
    pub leaked: i64,
}

/// Runs `fault` under load on `stack`. `name` is the ledger's.
pub async fn observe(
    name: &str,
    stack: &mut Stack,
    plan: &Plan,
    care: Care,
    fault: impl AsyncFnOnce(&mut Stack, &World) -> anyhow::Result<()>,
) -> anyhow::Result<Observed> {
    fs::create_dir_all(&plan.folder)?;
    let trap = Trap::set().await?;
    let world = begin(name, stack, plan, care, &trap).await?;
    let files = |stack: &Stack| -> std::collections::BTreeMap<i32, u64> {
        stack.file.pids.values().filter_map(|pid| Some((*pid, crate::stack::open_files(*pid)?))).collect()
    };

    let mut tasks = JoinSet::new();
    let watching = tasks.spawn(Arc::clone(&world.clients).watch());
    let (began, whole) = (Instant::now(), Duration::from_secs(plan.seconds));
    let (is_over, mut load) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    load.spawn(load::run(Arc::clone(&world), plan.rate, Arc::clone(&is_over)));
    sleep_until(began + whole / 6).await;
    let before = files(stack);
    let begins = world.ledger.now();
    fault(stack, &world).await?;
    let ends = world.ledger.now();
    // One that lasts longer than planned is still watched for a third of the time when it is over.
    let load_end = (began + whole).max(Instant::now() + whole / 3);
    sleep_until(load_end).await;
    is_over.store(true, Ordering::Relaxed);
    let window = Window { begins, ends, load_ends: world.ledger.now() };
    while let Some(ended) = load.join_next().await {
        ended?;
    }
    world.audit().await.inspect_err(|_| drop(stack.keep_logs(&plan.folder.join(format!("{name}.logs")))))?;
    watching.abort();

    // What is idle is given back.
    sleep(Duration::from_secs(if plan.is_smoke { 0 } else { 5 })).await;
    let after = files(stack);
    let leaked = before
        .iter()
        .filter_map(|(pid, before)| Some((*after.get(pid)? as i64 - *before as i64).max(0)))
        .sum();
    let entries = world.ledger.entries();
    let mut figures = judge(&entries, window);
    figures.fail_open = trap.hits();
    figures.panics = stack.panics();
    let rss_mb = stack.resources("").into_iter().max().unwrap_or(0);
    if !figures.not_zero().is_empty() || figures.acked_lost > 0 {
        stack.keep_logs(&plan.folder.join(format!("{name}.logs")))?;
    }
    Ok(Observed { figures, entries, window, rss_mb, leaked })
}

async fn begin(
    name: &str,
    stack: &Stack,
    plan: &Plan,
    care: Care,
    trap: &Trap,
) -> anyhow::Result<Arc<World>> {
    let gateways = stack.gateways();
    add_routes(&stack.state().join("routes.toml"), &trap.routes(plan.is_open), &gateways).await?;
    let clients = Clients::new(&gateways, care, if plan.is_smoke { SMOKE_GRACE } else { GRACE })?;
    let ledger = Ledger::open(&plan.folder.join(format!("{name}.jsonl")))?;
    let world = World::new(ledger, clients, plan.seed);
    // Of each as many as are ended, and some that stay.
    let ended = usize::try_from(plan.rate * plan.seconds / 20)?;
    world.seed(ended / 2 + 40, ended + 20).await.context("before the fault")?;
    world.pools().foreign_token = foreign_token(stack).await?;
    Ok(world)
}

/// Resolves when every gateway has them.
pub async fn add_routes(file: &Path, routes: &str, gateways: &[(String, String)]) -> anyhow::Result<()> {
    let mut text = fs::read_to_string(file)?;
    text.push_str(routes);
    fs::write(file, text)?;
    let http = crate::client::http()?;
    for (url, _) in gateways {
        let mut tries = 0;
        // Unknown is 404, known is 401.
        while http.get(format!("{url}/trap/token/x")).send().await?.status() != 401 {
            tries += 1;
            anyhow::ensure!(tries < 1_000, "{url} does not read its routes again");
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

impl Plan {
    /// A control need only fail, which it does soon.
    pub fn for_control(&self) -> Plan {
        Plan { seconds: self.seconds.min(20), count: None, ..self.clone() }
    }

    /// How often, where `by_time` is what fits into the time.
    pub fn times(&self, by_time: u64) -> usize {
        self.count.unwrap_or(usize::try_from(by_time).unwrap_or(usize::MAX)).max(1)
    }
}

impl Observed {
    /// Valid requests of these kinds sent in `from..to`: how many, and how many of them were not served.
    pub fn unserved(&self, ops: &[Op], from: u64, to: u64) -> (usize, usize) {
        let sent =
            self.entries.iter().filter(|entry| ops.contains(&entry.op) && (from..to).contains(&entry.t_send));
        let (mut all, mut unserved) = (0, 0);
        for entry in sent {
            all += 1;
            unserved += usize::from(entry.status.is_none_or(|status| status >= 500 || status == 429));
        }
        (all, unserved)
    }

    /// How long the slowest but one in a hundred of the 503s in the fault took.
    pub fn unavailable_p99_ms(&self) -> u64 {
        let Window { begins, ends, .. } = self.window;
        let took = self.entries.iter().filter(|entry| {
            entry.status == Some(503) && entry.op != Op::Audit && (begins..ends).contains(&entry.t_send)
        });
        p99(took.filter_map(|entry| Some(entry.t_ack? - entry.t_send)).collect()) / 1_000
    }
}
