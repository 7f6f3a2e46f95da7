//! The figures of a row, made from the ledger alone, and the line that shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::ledger::{Entry, Op, is_wrong};

/// When the fault was there, in the ledger's time.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub begins: u64,
    pub ends: u64,
    /// The load's last moment.
    pub load_ends: u64,
}

/// What a ledger says. The names are those of the line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    pub acked: u64,
    pub acked_lost: u64,
    pub revoked: u64,
    pub revived: u64,
    pub hostile: u64,
    pub let_in: u64,
    pub double: u64,
    pub wrong_user: u64,
    /// Not from the ledger: what reached the application behind routes that only hostile requests use.
    pub fail_open: u64,
    pub false_401: u64,
    pub hung: u64,
    /// 503 without Retry-After, or a 503 that took a cookie away.
    pub rude: u64,
    /// Answers that are neither success nor refusal nor said to be for now: errors of ours that are not 503, and 404, 303 and the
    /// like, since everything that is asked for is there.
    pub not_503: u64,
    /// What was asked for, was not acknowledged, and afterwards was there for one replica and not for another.
    pub half_done: u64,
    /// Not from the ledger: panics in any process's log.
    pub panics: u64,
    pub err_pct: f64,
    pub gap_ms: u64,
    pub recover_ms: u64,
    /// Of valid requests sent before the fault.
    pub baseline_p99_ms: u64,
    /// Of all answers to requests sent while the fault was there.
    pub p99_ms: u64,
}

impl Figures {
    /// Those that must be zero in every row, and are not.
    pub fn not_zero(&self) -> Vec<&'static str> {
        let always = [
            ("revived", self.revived),
            ("let_in", self.let_in),
            ("double", self.double),
            ("wrong_user", self.wrong_user),
            ("fail_open", self.fail_open),
            ("hung", self.hung),
            ("panics", self.panics),
            ("false_401", self.false_401),
            ("rude", self.rude),
            ("not_503", self.not_503),
            ("half_done", self.half_done),
        ];
        always.into_iter().filter(|(_, count)| *count > 0).map(|(name, _)| name).collect()
    }

    pub fn line(&self) -> String {
        let Figures { acked, acked_lost, revoked, revived, hostile, let_in, double, wrong_user, .. } = self;
        let Figures { fail_open, false_401, hung, rude, not_503, half_done, panics, .. } = self;
        let Figures { err_pct, gap_ms, recover_ms, baseline_p99_ms, p99_ms, .. } = self;
        let mut line = format!(
            "acked={acked} acked_lost={acked_lost} revoked={revoked} revived={revived} hostile={hostile} let_in={let_in} double={double} wrong_user={wrong_user}"
        );
        let _ = write!(
            line,
            " fail_open={fail_open} false_401={false_401} hung={hung} rude={rude} not_503={not_503} half_done={half_done} panics={panics} err_pct={err_pct:.2} gap_ms={gap_ms} recover_ms={recover_ms} baseline_p99_ms={baseline_p99_ms} p99_ms={p99_ms}"
        );
        line
    }
}

/// `fail_open` and `panics` are the caller's to add.
pub fn judge(entries: &[Entry], window: Window) -> Figures {
    let mut figures = Figures::default();
    // First sent, and first acknowledged with a success. An end that was sent and never clearly answered may have happened.
    let mut end_sent: BTreeMap<&str, u64> = BTreeMap::new();
    let mut end_acked: BTreeMap<&str, u64> = BTreeMap::new();
    let ends = |entry: &&Entry| matches!(entry.op, Op::End | Op::CutOff) && !entry.object.is_empty();
    for end in entries.iter().filter(ends) {
        let first = end_sent.entry(&end.object).or_insert(end.t_send);
        *first = (*first).min(end.t_send);
        if let (true, Some(acked)) = (end.is_acknowledged(), end.t_ack) {
            end_acked.entry(&end.object).or_insert(acked);
        }
    }
    figures.revoked = end_acked.len() as u64;
    // A family is one object through all its refreshes: made once, by its login.
    let made: BTreeSet<&str> = entries
        .iter()
        .filter(|entry| matches!(entry.op, Op::Create | Op::Login) && entry.is_success())
        .map(|entry| entry.object.as_str())
        .collect();
    figures.acked = made.len() as u64;
    let mut lost: BTreeSet<&str> = BTreeSet::new();
    let (mut there, mut gone): (BTreeSet<&str>, BTreeSet<&str>) = Default::default();
    for entry in entries {
        let is_ended = end_acked.get(entry.object.as_str()).is_some_and(|acked| entry.t_send > *acked);
        // An answer that came after somebody had asked for the end may be either.
        let may_be_ended = end_sent
            .get(entry.object.as_str())
            .is_some_and(|sent| entry.t_ack.is_none_or(|answered| answered > *sent));
        match entry.op {
            Op::Hostile | Op::Ended => {
                figures.hostile += 1;
                figures.let_in += u64::from(entry.is_success());
                figures.revived += u64::from(entry.op == Op::Ended && is_ended && entry.is_success());
            }
            Op::Wrong => figures.let_in += u64::from(entry.is_success()),
            Op::Audit if is_ended => figures.revived += u64::from(entry.is_success()),
            Op::Audit => {
                if entry.is_success() && may_be_ended {
                    there.insert(&entry.object);
                } else if entry.says_absent() && may_be_ended {
                    gone.insert(&entry.object);
                }
                if entry.says_absent() && !may_be_ended && made.contains(entry.object.as_str()) {
                    lost.insert(&entry.object);
                }
            }
            Op::CutOff => {}
            Op::Session | Op::Bearer | Op::Create | Op::Login | Op::Refresh | Op::End => {
                let own_end = entry.op != Op::End && may_be_ended;
                figures.false_401 += u64::from(entry.is_refused() && !own_end);
            }
        }
        figures.hung += u64::from(entry.hung);
        figures.wrong_user += u64::from(entry.wrong_user);
        figures.double += u64::from(entry.double);
        figures.rude += u64::from(entry.rude);
        figures.not_503 += u64::from(entry.status.is_some_and(is_wrong));
        figures.half_done += u64::from(entry.half_done);
    }
    figures.half_done += there.intersection(&gone).count() as u64;
    figures.acked_lost = lost.len() as u64;
    times(&mut figures, entries, window);
    figures
}

fn times(figures: &mut Figures, entries: &[Entry], window: Window) {
    let valid = || entries.iter().filter(|entry| entry.op.is_valid());
    let sent_in = |from: u64, to: u64| valid().filter(move |entry| (from..to).contains(&entry.t_send));
    let during: Vec<&Entry> = sent_in(window.begins, window.ends).collect();
    if !during.is_empty() {
        let errors = during.iter().filter(|entry| entry.is_unserved()).count();
        figures.err_pct = 100.0 * errors as f64 / during.len() as f64;
    }
    figures.gap_ms = gap_ms(entries, window, Op::is_valid);
    figures.recover_ms = recovery(&sent_in(window.ends, window.load_ends).collect::<Vec<_>>(), window);
    let took = |entry: &Entry| entry.t_ack.map(|answered| answered - entry.t_send);
    let before = valid().filter(|entry| entry.t_send < window.begins).filter_map(took);
    figures.baseline_p99_ms = p99(before.collect()) / 1_000;
    let in_fault = entries
        .iter()
        .filter(|entry| entry.op != Op::Audit && (window.begins..window.ends).contains(&entry.t_send));
    figures.p99_ms = p99(in_fault.filter_map(took).collect()) / 1_000;
}

/// The longest time without a success of these kinds that any one client has had. What one gateway's clients miss while the
/// other serves its own is a gap.
pub fn gap_ms(entries: &[Entry], window: Window, is_meant: impl Fn(Op) -> bool) -> u64 {
    let Window { begins, load_ends, .. } = window;
    let mut successes: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| is_meant(entry.op)) {
        let of_client = successes.entry(entry.client).or_insert_with(|| vec![begins, load_ends]);
        of_client.extend(entry.t_ack.filter(|at| entry.is_success() && (begins..load_ends).contains(at)));
    }
    let gaps = successes.into_values().map(|mut times| {
        times.sort_unstable();
        times.iter().zip(times.iter().skip(1)).map(|(a, b)| b - a).max().unwrap_or(0)
    });
    gaps.max().unwrap_or(load_ends - begins) / 1_000
}

/// From the end of the fault to the first second in which 99 of 100 succeed. Looked at every 50 ms.
fn recovery(after: &[&Entry], window: Window) -> u64 {
    let mut from = window.ends;
    while from + 1_000_000 <= window.load_ends {
        let second: Vec<_> =
            after.iter().filter(|entry| (from..from + 1_000_000).contains(&entry.t_send)).collect();
        let errors = second.iter().filter(|entry| entry.is_unserved()).count();
        if !second.is_empty() && errors * 100 <= second.len() {
            return (from - window.ends) / 1_000;
        }
        from += 50_000;
    }
    // Not seen to recover.
    (window.load_ends - window.ends) / 1_000
}

pub fn p99(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    let place = (values.len() * 99).div_ceil(100).saturating_sub(1);
    values.get(place).copied().unwrap_or(0)
}

#[cfg(test)]
pub mod tests;
