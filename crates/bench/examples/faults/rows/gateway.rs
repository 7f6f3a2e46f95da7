//! F01: a gateway killed while it is busy.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all, join3};
use rustix::process::Signal;
use servers::{Postgres, Sync};
use tokio::time::sleep;

use super::processes::two_of_everything;
use crate::client::{Answer, Asked, Care, DEADLINE, ENDING_DEADLINE, LOGIN_DEADLINE, Lost};
use crate::ledger::Op;
use crate::observe::{Observed, Plan, observe};
use crate::outcome::{Control, Outcome};
use crate::stack::Stack;
use crate::world::{Family, Session, World, login, logout, revoke};

/// So many logins, endings of sessions and endings of families are under way in it when it is killed, and for so long: some of
/// them have been answered, some have only begun.
const UNDER_WAY: usize = 20;
const BEGUN: Duration = Duration::from_millis(20);

/// The control's client neither looks at readiness nor retries.
pub async fn killed(plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let observed = kill("F01", &plan, Care::Full).await?;
    let mut outcome = Outcome::of("F01", &observed);
    let cut_off = observed.entries.iter().filter(|entry| entry.op == Op::CutOff).count();
    outcome.nothing_lost();
    outcome.extra("cut_off", cut_off);
    outcome.must("cut_off", cut_off > 0);
    outcome.at_most("err_pct", observed.figures.err_pct, 1.0);
    outcome.at_most("gap_ms", observed.figures.gap_ms as f64, 500.0);
    let control = kill("F01-control", &plan.for_control(), Care::None).await?.figures;
    let (err_pct, gap_ms) = (control.err_pct, control.gap_ms);
    outcome.control =
        Control::judge(err_pct > 1.0 && gap_ms > 500, format!("err_pct:{err_pct:.2},gap_ms:{gap_ms}"));
    Ok(vec![outcome])
}

async fn kill(name: &str, plan: &Plan, care: Care) -> anyhow::Result<Observed> {
    let server = Postgres::start(Sync::Off);
    let mut stack = two_of_everything(plan, &server).await?;
    observe(name, &mut stack, plan, care, async |stack, world| {
        let ((), killed) = join(under_way(world), kill_soon(stack)).await;
        killed?;
        stack.replaced("gateway-0").await
    })
    .await
}

async fn kill_soon(stack: &Stack) -> anyhow::Result<()> {
    sleep(BEGUN).await;
    stack.signal("gateway-0", Signal::KILL)
}

/// What is asked of the gateway that is killed, and not repeated: whatever becomes of it, the audit finds it everywhere or
/// nowhere.
async fn under_way(world: &World) {
    let (sessions, families) = {
        let mut pools = world.pools();
        let sessions: Vec<Arc<Session>> = (0..UNDER_WAY).filter_map(|_| pools.sessions.pop()).collect();
        let families: Vec<Family> = (0..UNDER_WAY).filter_map(|_| pools.families.pop()).collect();
        (sessions, families)
    };
    let logins = join_all((0..UNDER_WAY).map(|_| async {
        let (owner, t_send) = (world.user(), world.ledger.now());
        let sent = world.clients.send_to(0, LOGIN_DEADLINE, login(&owner)).await;
        world.created(op(Op::Create, &sent), &owner, t_send, (sent, Asked::only(0)));
    }));
    let sessions = join_all(sessions.into_iter().map(|session| async move {
        let t_send = world.ledger.now();
        let request = |http: &reqwest::Client, url: &str| logout(http, url, &session);
        let sent = world.clients.send_to(0, DEADLINE, request).await;
        if is_ended(world, &session.id, t_send, sent) {
            world.pools().ended_sessions.push(session);
        } else {
            world.pools().unclear_sessions.push(session);
        }
    }));
    let families = join_all(families.into_iter().map(|family| async move {
        let t_send = world.ledger.now();
        let request = |http: &reqwest::Client, url: &str| revoke(http, url, &family.refresh_token);
        let sent = world.clients.send_to(0, ENDING_DEADLINE, request).await;
        if is_ended(world, &family.name, t_send, sent) {
            world.pools().ended_families.push(family);
        } else {
            world.pools().unclear_families.push(family);
        }
    }));
    join3(logins, sessions, families).await;
}

fn is_ended(world: &World, object: &str, t_send: u64, sent: Result<Answer, Lost>) -> bool {
    let answer = world.note(op(Op::End, &sent), object, t_send, (sent, Asked::only(0)), |_, _| ());
    answer.is_some_and(|answer| answer.is_acknowledged())
}

fn op(answered: Op, sent: &Result<Answer, Lost>) -> Op {
    if sent.is_ok() { answered } else { Op::CutOff }
}
