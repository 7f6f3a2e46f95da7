//! Redis as the store of sessions: killed, frozen, answering errors, evicting.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use servers::{Postgres, Redis, Sync};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::{Care, DEADLINE};
use crate::ledger::Op;
use crate::observe::{Observed, Plan, observe};
use crate::outcome::{Control, Outcome};
use crate::stack::{Setup, Stack};
use crate::world::World;

/// What needs the store of sessions, and what does not.
const BY_SESSION: [Op; 2] = [Op::Session, Op::Create];
const BY_TOKEN: [Op; 2] = [Op::Bearer, Op::Refresh];

async fn stack(plan: &Plan, database: &Postgres, redis: &Redis) -> anyhow::Result<Stack> {
    Setup::new("2", &database.url(), &redis.url())?.start(&plan.program).await
}

/// The rest that is asked for whenever Redis is away.
fn away(fault: &str, observed: &Observed) -> Outcome {
    let mut outcome = Outcome::of(fault, observed);
    let by_session = observed.served_in_fault(|entry| BY_SESSION.contains(&entry.op));
    outcome.extra("session_unserved", by_session);
    outcome.must("the_fault_was_felt", by_session.unserved > 0);
    // A login may be told that too many passwords are being checked, a call may not.
    let calls = observed.served_in_fault(|entry| entry.op == Op::Session);
    outcome.must("each_is_503", calls.by_503 == calls.unserved);
    let by_token = observed.served_in_fault(|entry| BY_TOKEN.contains(&entry.op));
    outcome.extra("token_unserved", by_token);
    outcome.at_most("token_unserved", by_token.unserved as f64, by_token.asked as f64 / 100.0);
    outcome.unavailable_within(observed, 600.0);
    outcome
}

async fn kill(name: &str, plan: &Plan, settings: &[&str]) -> anyhow::Result<Observed> {
    let (database, mut redis) = (Postgres::start(Sync::Off), Redis::start_with(settings));
    let mut stack = stack(plan, &database, &redis).await?;
    observe(name, &mut stack, plan, Care::Full, async |_, _| {
        redis.kill();
        sleep(Duration::from_secs(3)).await;
        // Until it answers PING.
        redis.restart();
        Ok(())
    })
    .await
}

/// F08. The control has no file to come back with.
pub async fn killed(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let observed = kill("F08", &plan, &[]).await?;
    let mut outcome = away("F08", &observed);
    outcome.nothing_lost();
    outcome.at_most("recover_ms", observed.figures.recover_ms as f64, 2_000.0);
    outcome.control = Control::Skipped;
    if !plan.is_smoke {
        let control = kill("F08-control", &plan.for_control(), &["appendonly no"]).await?.figures;
        outcome.control =
            Control::judge(control.acked_lost > 0, format!("acked_lost:{}", control.acked_lost));
    }
    Ok(vec![outcome])
}

/// Connections to PostgreSQL that a process may have: its `store.connections`, and as many for its feed.
const POOL: f64 = 20.0;
/// A connection between two of ours is two files, and those that come of age are made anew before they close. What leaked with each
/// command that timed out would be hundreds.
const MADE_ANEW: f64 = 4.0;

/// F09. The control's gateways and session-services wait for half a minute where the others give up.
pub async fn frozen(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let observed = freeze("F09", &plan, &[]).await?;
    let mut outcome = away("F09", &observed);
    outcome.nothing_lost();
    outcome.at_most("p99_ms", observed.figures.p99_ms as f64, 700.0);
    outcome.extra("pooled", observed.pooled);
    outcome.at_most("leaked", observed.leaked as f64, MADE_ANEW);
    outcome.at_most("pooled", observed.pooled as f64, POOL);
    let patient =
        [("session", "[store]\ntimeout = \"30s\"\n"), ("gateway", "[limits]\ncheck_timeout = \"30s\"\n")];
    let hung = freeze("F09-control", &plan.for_control(), &patient).await?.figures.hung;
    outcome.control = Control::judge(hung > 0, format!("hung:{hung}"));
    Ok(vec![outcome])
}

async fn freeze(name: &str, plan: &Plan, settings: &[(&str, &str)]) -> anyhow::Result<Observed> {
    let (database, redis) = (Postgres::start(Sync::Off), Redis::start());
    let mut setup = Setup::new("2", &database.url(), &redis.url())?;
    for (service, toml) in settings {
        setup.set(service, toml)?;
    }
    let mut stack = setup.start(&plan.program).await?;
    observe(name, &mut stack, plan, Care::Full, async |_, _| {
        redis.freeze();
        sleep(Duration::from_secs(10)).await;
        redis.resume();
        Ok(())
    })
    .await
}

/// How long each kind of answer lasts.
const EACH: Duration = Duration::from_secs(4);

/// One kind of error: how it begins and how it ends. `None`: the server is replaced by one that only says LOADING.
const ERRORS: [(&str, &str, &str); 5] = [
    ("OOM", "CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    ("READONLY", "REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    (
        "NOAUTH",
        "CONFIG SET requirepass secret\r\nCLIENT KILL TYPE normal",
        "AUTH secret\r\nCONFIG SET requirepass \"\"",
    ),
    (
        "NOPERM",
        "ACL SETUSER default -@all +ping +info +acl +auth +hello +client",
        "ACL SETUSER default +@all",
    ),
    // The folder cannot be written then.
    ("MISCONF", "CONFIG SET save \"1 1\"", "CONFIG SET save \"\""),
];

/// F10. No answer but 503 for what cannot be asked, and everything is back afterwards.
pub async fn answers_errors(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let database = Postgres::start(Sync::Off);
    let folder = tempfile::tempdir()?;
    let writable = |mode| fs::set_permissions(folder.path(), Permissions::from_mode(mode));
    writable(0o777)?;
    let mut redis = Redis::start_with(&[&format!("dir {}", folder.path().display())]);
    let mut stack = stack(&plan, &database, &redis).await?;
    let mut windows = Vec::new();
    let observed = observe("F10", &mut stack, &plan, Care::Full, async |_, world| {
        for (error, begin, end) in ERRORS {
            if error == "MISCONF" {
                writable(0o555)?;
            }
            tell(&redis, begin)?;
            if error == "MISCONF" {
                refuses_to_write(&redis).await?;
            }
            windows.push((error, world.ledger.now()));
            sleep(EACH).await;
            windows.push(("", world.ledger.now()));
            writable(0o777)?;
            tell(&redis, end)?;
            if error == "MISCONF" {
                tell(&redis, "BGSAVE")?;
            }
            sleep(EACH / 2).await;
        }
        redis.kill();
        loading(redis.port(), world, &mut windows).await?;
        redis.restart();
        Ok(())
    })
    .await?;
    let mut outcome = Outcome::of("F10", &observed);
    outcome.nothing_lost();
    for pair in windows.chunks(2) {
        let [(error, from), (_, to)] = pair else { continue };
        // Whoever reconnects needs a moment to meet the error.
        let by_session = observed.served(&BY_SESSION, *from, *to);
        outcome.extra(error, by_session);
        let calls = observed.served(&[Op::Session], *from, *to);
        outcome.must(error, by_session.by_503 > 0 && calls.by_503 == calls.unserved);
    }
    Ok(vec![outcome])
}

fn tell(redis: &Redis, command: &str) -> anyhow::Result<()> {
    let said = redis.command(command).with_context(|| command.to_owned())?;
    ensure!(said.starts_with('+'), "{command}: {said}");
    Ok(())
}

/// How many keys it has deleted before their time since its counters were reset.
fn evicted(redis: &Redis) -> anyhow::Result<u64> {
    let stats = r#"EVAL "return tonumber(redis.call('INFO', 'stats'):match('evicted_keys:(%d+)'))" 0"#;
    let said = redis.command(stats)?;
    said.strip_prefix(':')
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("evicted_keys: {said}"))
}

/// Resolves when a background save has failed and Redis therefore refuses to write.
async fn refuses_to_write(redis: &Redis) -> anyhow::Result<()> {
    for _ in 0..200 {
        // Something must have changed, or nothing is saved.
        if redis.command("SET latchkey-faults 1")?.starts_with("-MISCONF") {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("Redis goes on writing although it cannot save")
}

/// In Redis's place somebody who answers everything with LOADING, as Redis does while it reads its file.
async fn loading(port: u16, world: &World, windows: &mut Vec<(&'static str, u64)>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    windows.push(("LOADING", world.ledger.now()));
    let serve = async {
        let mut connections = JoinSet::new();
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { continue };
            connections.spawn(async move {
                let mut commands = [0; 8192];
                while stream.read(&mut commands).await.is_ok_and(|read| read > 0) {
                    let said = b"-LOADING Redis is loading the dataset in memory\r\n";
                    if stream.write_all(said).await.is_err() {
                        return;
                    }
                }
            });
        }
    };
    let _: Result<(), _> = timeout(EACH, serve).await;
    windows.push(("", world.ledger.now()));
    Ok(())
}

/// F11. A policy that evicts is refused, at start and at run time. The control evicts in a moment when nobody looks.
pub async fn evicts(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let database = Postgres::start(Sync::Off);
    let redis = Redis::start_with(&["maxmemory-policy allkeys-lru"]);
    let refused = Setup::new("1", &database.url(), &redis.url())?.refused(&plan.program).await?;
    let (database, redis) = (Postgres::start(Sync::Off), Redis::start());
    let mut stack = self::stack(&plan, &database, &redis).await?;
    let mut windows = Vec::new();
    let observed = observe("F11", &mut stack, &plan, Care::Full, async |_, world| {
        for policy in ["allkeys-lru", "volatile-ttl"] {
            tell(&redis, &format!("CONFIG SET maxmemory-policy {policy}"))?;
            // Looked at each second, by each replica.
            sleep(EACH).await;
            let from = world.ledger.now();
            sleep(EACH / 2).await;
            windows.push((from, world.ledger.now()));
            // What was sent before this must not be answered after that.
            sleep(DEADLINE).await;
            tell(&redis, "CONFIG SET maxmemory-policy noeviction")?;
            sleep(EACH / 2).await;
        }
        Ok(())
    })
    .await?;
    let mut outcome = Outcome::of("F11", &observed);
    outcome.nothing_lost();
    let evicted = evicted(&redis)?;
    outcome.extra("evicted", evicted);
    outcome.must("nothing_evicted", evicted == 0);
    outcome.extra("refused_at_start", refused.is_some());
    outcome.must("refused_at_start", refused.is_some());
    for (from, to) in windows {
        let by_session = observed.served(&BY_SESSION, from, to);
        outcome.extra("refused_at_run_time", by_session);
        outcome.must("refused_at_run_time", by_session.asked > 0 && by_session.unserved == by_session.asked);
        let calls = observed.served(&[Op::Session], from, to);
        outcome.must("each_is_503", calls.by_503 == calls.asked);
    }
    drop(stack);
    let (database, redis) = (Postgres::start(Sync::Off), Redis::start());
    let mut stack = self::stack(&plan, &database, &redis).await?;
    let mut evicted_unseen = 0;
    let control = observe("F11-control", &mut stack, &plan.for_control(), Care::Full, async |_, _| {
        tell(
            &redis,
            "CONFIG SET maxmemory-policy allkeys-lru\r\nCONFIG SET maxmemory 1\r\nSET latchkey-faults 1\r\nCONFIG SET maxmemory 0\r\nCONFIG SET maxmemory-policy noeviction",
        )?;
        evicted_unseen = self::evicted(&redis)?;
        tell(&redis, "CONFIG RESETSTAT")
    })
    .await?
    .figures;
    outcome.control = Control::judge(
        control.acked_lost > 0 && evicted_unseen > 0,
        format!("acked_lost:{},evicted:{evicted_unseen}", control.acked_lost),
    );
    Ok(vec![outcome])
}
