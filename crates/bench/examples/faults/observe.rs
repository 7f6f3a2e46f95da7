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
use crate::figures::{Figures, Window, gap_ms, judge, p99};
use crate::ledger::{Entry, Ledger, Op};
use crate::load;
use crate::resources::{Files, Most};
use crate::stack::Stack;
use crate::trap::Trap;
use crate::world::{World, expired_token, foreign_token};

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
    /// How long everything is left alone before open files are counted.
    pub idle: Duration,
    /// For a control: the routes that only hostile requests use ask for a credential and for nothing else.
    pub is_open: bool,
}

pub struct Observed {
    pub figures: Figures,
    pub entries: Vec<Entry>,
    pub window: Window,
    /// Most resident megabytes, and most open files, that one process was seen to have from the load's begin on.
    pub rss_max_mb: u64,
    pub fd_max: u64,
    /// Open files of all processes that were not replaced: when the load was over minus before it, both of them idle.
    /// Connections to the database are not among them: pools that grew keep what they opened.
    pub leaked: u64,
    /// Most connections to the database that one process had left.
    pub pooled: u64,
    /// How many of the hostile requests came with a token that had expired.
    pub expired: u64,
    /// It lasted for long enough for everything that is in the mix.
    pub is_whole: bool,
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
    sleep(plan.idle).await;
    let before = stack.open_files();
    let mut tasks = JoinSet::new();
    let watching = tasks.spawn(Arc::clone(&world.clients).watch());
    let most = Arc::new(Most::default());
    tasks.spawn(Arc::clone(&most).watch(stack.file_path()));
    let (began, whole) = (Instant::now(), Duration::from_secs(plan.seconds));
    let (is_over, mut load) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    load.spawn(load::run(Arc::clone(&world), plan.rate, Arc::clone(&is_over)));
    sleep_until(began + whole / 6).await;
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

    sleep(plan.idle).await;
    let after = stack.open_files();
    let more = |(pid, before): (&i32, &Files)| Some(after.get(pid)?.others.saturating_sub(before.others));
    let leaked = before.iter().filter_map(more).sum();
    let pooled = after.values().map(|files| files.to_database).max().unwrap_or(0);
    let entries = world.ledger.entries();
    let mut figures = judge(&entries, window);
    figures.fail_open = trap.hits();
    figures.panics = stack.panics();
    let (rss_max_mb, fd_max) = (most.rss_mb(), most.files());
    anyhow::ensure!(fd_max > 0, "no process was looked at");
    if !figures.not_zero().is_empty() || figures.acked_lost > 0 {
        stack.keep_logs(&plan.folder.join(format!("{name}.logs")))?;
    }
    let expired = world.pools().expired_shown;
    let is_whole = plan.is_whole();
    Ok(Observed { figures, entries, window, rss_max_mb, fd_max, leaked, pooled, expired, is_whole })
}

async fn begin(
    name: &str,
    stack: &mut Stack,
    plan: &Plan,
    care: Care,
    trap: &Trap,
) -> anyhow::Result<Arc<World>> {
    // It starts everything again, on what `up` makes of the settings: a control may have changed that by hand.
    let expired = if plan.is_whole() { Some(expired_token(stack).await?) } else { None };
    let gateways = stack.gateways();
    add_routes(&stack.state().join("routes.toml"), &trap.routes(plan.is_open), &gateways).await?;
    let clients = Clients::new(&gateways, care, if plan.is_smoke { SMOKE_GRACE } else { GRACE })?;
    let ledger = Ledger::open(&plan.folder.join(format!("{name}.jsonl")))?;
    let world = World::new(ledger, clients, plan.seed);
    // Of each as many as are ended, and some that stay.
    let ended = usize::try_from(plan.rate * plan.seconds / 20)?;
    world.seed(ended / 2 + 40, ended + 20).await.context("before the fault")?;
    world.pools().foreign_token = foreign_token(stack).await?;
    world.pools().expired = expired;
    load::warm(&world).await;
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
        Plan { seconds: self.seconds.min(20), count: None, idle: Duration::ZERO, ..self.clone() }
    }

    /// Whether it lasts until a token has expired by anybody's clock: no smoke does, and no control.
    fn is_whole(&self) -> bool {
        !self.is_smoke && self.seconds >= 60
    }

    /// Whether there is another round after so many: as often as was asked for, else until then, and once at least.
    pub fn goes_on(&self, rounds: usize, until: Instant) -> bool {
        rounds == 0 || self.count.map_or_else(|| Instant::now() < until, |count| rounds < count)
    }

    /// How often, where `by_time` is what fits into the time.
    pub fn times(&self, by_time: u64) -> usize {
        self.count.unwrap_or(usize::try_from(by_time).unwrap_or(usize::MAX)).max(1)
    }
}

impl Observed {
    /// Valid requests of these kinds sent in `from..to`.
    pub fn served(&self, ops: &[Op], from: u64, to: u64) -> Served {
        served(&self.entries, from, to, |entry| ops.contains(&entry.op))
    }

    /// As [`Observed::served`], in the fault, of those that `is_meant`.
    pub fn served_in_fault(&self, is_meant: impl Fn(&Entry) -> bool) -> Served {
        served(&self.entries, self.window.begins, self.window.ends, is_meant)
    }

    /// The longest time without a success of this kind that any one client had.
    pub fn gap_ms(&self, op: Op) -> u64 {
        gap_ms(&self.entries, self.window, |other| other == op)
    }

    /// How long the slowest but one in a hundred of the 503s in the fault took. `None`: nobody was told so.
    pub fn unavailable_p99_ms(&self) -> Option<u64> {
        unavailable_p99_ms(&self.entries, self.window)
    }
}

/// What became of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    pub asked: usize,
    /// 5xx, 429, no answer, and answers that are right for nobody.
    pub unserved: usize,
    /// Of those, how many were told that it is an outage.
    pub by_503: usize,
}

impl Served {
    pub fn err_pct(self) -> f64 {
        100.0 * self.unserved as f64 / self.asked.max(1) as f64
    }
}

impl std::fmt::Display for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.unserved, self.asked)
    }
}

fn served(entries: &[Entry], from: u64, to: u64, is_meant: impl Fn(&Entry) -> bool) -> Served {
    let mut served = Served::default();
    for entry in entries.iter().filter(|entry| (from..to).contains(&entry.t_send) && is_meant(entry)) {
        served.asked += 1;
        served.unserved += usize::from(entry.is_unserved());
        served.by_503 += usize::from(entry.status == Some(503));
    }
    served
}

fn unavailable_p99_ms(entries: &[Entry], window: Window) -> Option<u64> {
    let in_fault = window.begins..window.ends;
    let told = entries.iter().filter(|entry| {
        entry.status == Some(503) && entry.op != Op::Audit && in_fault.contains(&entry.t_send)
    });
    let took: Vec<u64> = told.filter_map(|entry| Some(entry.t_ack? - entry.t_send)).collect();
    (!took.is_empty()).then(|| p99(took) / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::step;

    #[test]
    fn each_that_is_not_served_is_told_that_it_is_an_outage_or_seen_not_to_be() {
        let of = |status| step(Op::Session, "a", 5, status);
        let entries = [of(Some(200)), of(Some(503)), of(Some(500)), of(Some(429)), of(None)];
        let seen = served(&entries, 0, 10, |entry| entry.op == Op::Session);
        assert_eq!(seen, Served { asked: 5, unserved: 4, by_503: 1 });
        assert_eq!((seen.err_pct(), seen.to_string()), (80.0, "4/5".to_owned()));
        assert_eq!(served(&entries, 6, 10, |_| true).err_pct(), 0.0);
        let not_there = [of(Some(404)), of(Some(303)), of(Some(401))];
        let seen = served(&not_there, 0, 10, |_| true);
        assert_eq!(seen, Served { asked: 3, unserved: 2, by_503: 0 }, "a refusal is counted as that");
    }

    #[test]
    fn without_a_503_there_is_no_time_that_one_took() {
        let window = Window { begins: 10, ends: 20, load_ends: 30 };
        let before = step(Op::Session, "a", 5, Some(503));
        let audit = step(Op::Audit, "a", 15, Some(503));
        let error = step(Op::Session, "a", 15, Some(500));
        assert_eq!(unavailable_p99_ms(&[before, audit, error.clone()], window), None);
        let told = step(Op::Session, "a", 15, Some(503));
        assert_eq!(unavailable_p99_ms(&[error, told], window), Some(1));
    }
}
