//! What a report must show. Pure: a test feeds it rows that do not hold.

use super::row::{Row, SERVICES, is_asked};
use super::{Kind, Report};

/// With a limit on each process: how throughput must have grown over one of everything.
const MUST_GROW: [(u16, f64); 2] = [(2, 1.7), (4, 3.0)];

/// Of its part of a core, what the busiest service must have used: else something else was in the way, and a row with more of
/// everything that answers more shows nothing.
const MUST_USE: f64 = 0.8;

/// Why rows of so many replicas show no growth; `None`: they do.
pub fn incomparable(replicas: &[u16]) -> Option<String> {
    let is_shown = |number: &u16| replicas.contains(number);
    let grown = MUST_GROW.map(|(number, _)| number);
    (!is_shown(&1) || !grown.iter().any(is_shown)).then(|| {
        let [two, four] = grown;
        format!("growth is judged from 1 of everything to {two} or {four}: --replicas must have 1, and {two} or {four}")
    })
}

/// Empty: everything held.
pub fn problems(report: &Report) -> Vec<String> {
    let mut found = Vec::new();
    if report.rows.is_empty() {
        found.push("nothing was shown".to_owned());
    }
    for row in &report.rows {
        let at = format!("{}, {} of everything", row.kind.title(), row.replicas);
        found.extend(of_row(row).into_iter().map(|problem| format!("{at}: {problem}")));
    }
    if report.cpu.is_some() {
        found.extend(report.rows.iter().filter_map(idle));
        found.extend(growth(&report.rows));
    }
    found
}

fn of_row(row: &Row) -> Vec<String> {
    let mut found = Vec::new();
    let replicas = usize::from(row.replicas);
    for (service, shares) in &row.shares {
        if shares.calls.len() != replicas {
            found.push(format!("{service} has {} replicas that tell their metrics", shares.calls.len()));
        }
        if is_asked(row.kind, service) && !shares.judged {
            let total = shares.total();
            found.push(format!("{service} had only {total} calls: too few to see how they are shared"));
        }
        for (replica, share, least) in shares.behind() {
            found.push(format!("{replica} had {share:.2} of the calls, less than {least:.2}"));
        }
    }
    let pairs = row.credentials * replicas;
    if row.pairs_used != pairs {
        found.push(format!("{} of {pairs} pairs of credential and gateway were used", row.pairs_used));
    }
    for (service, calls) in row.calls.iter().filter(|(_, calls)| row.kind == Kind::Tokens && **calls > 0) {
        let requests = row.requests;
        found.push(format!("{calls} calls to {service} in {requests} requests, for tokens that are known"));
    }
    if row.kind == Kind::Tokens && row.store_reads_per_request > 0.0 {
        found.push(format!("{:.4} reads of the store a request", row.store_reads_per_request));
    }
    let reads = row.store_reads_per_request;
    if row.kind != Kind::Tokens && (reads.is_nan() || reads <= 0.0) {
        found.push("no session was read from its store".to_owned());
    }
    for service in SERVICES {
        let of_service = |process: &&String| process.starts_with(&format!("{service}-"));
        let killed = row.killed.processes.iter().filter(of_service).count();
        if killed != 1 {
            found.push(format!("{killed} of {service} were killed, and not one"));
        }
    }
    if row.killed.requests == 0 {
        found.push("nothing was requested while replicas were killed".to_owned());
    } else if replicas > 1 && row.killed.requests_elsewhere == 0 {
        found.push("nothing was requested of other gateways while one was killed".to_owned());
    }
    let counts = [
        (row.first_use.failed, "requests failed at a credential's first use"),
        (row.first_use.wrong_refusals, "valid credentials were refused at their first use"),
        (row.failed, "requests failed with everything running"),
        (row.wrong_refusals, "valid credentials were refused with everything running"),
        (row.killed.wrong_refusals, "valid credentials were refused while replicas were killed"),
        (row.killed.lost as u64, "credentials were lost when replicas were killed"),
    ];
    found
        .extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    found
}

/// Why the rate of this row is not what its services can do; `None`: it is.
fn idle(row: &Row) -> Option<String> {
    let (service, share) = row.busiest().unwrap_or(("nobody", 0.0));
    let at = format!("{}, {} of everything", row.kind.title(), row.replicas);
    (!share.is_finite() || share < MUST_USE).then(|| {
        format!(
            "{at}: was not loaded to its limit: the busiest, {service}, used {share:.2} of its part of a core, less than \
             {MUST_USE}: growth shows nothing"
        )
    })
}

/// How often it answered what one of everything did; `None`: there is no such row.
pub fn grown(rows: &[Row], row: &Row) -> Option<f64> {
    let one = rows.iter().find(|one| one.kind == row.kind && one.replicas == 1)?;
    Some(row.requests_per_second / one.requests_per_second)
}

fn growth(rows: &[Row]) -> Vec<String> {
    let mut found = Vec::new();
    for of_kind in rows.chunk_by(|one, other| one.kind == other.kind) {
        let shown: Vec<u16> = of_kind.iter().map(|row| row.replicas).collect();
        let title = of_kind.first().map_or("", |row| row.kind.title());
        found.extend(incomparable(&shown).map(|why| format!("{title}: {why}")));
        for row in of_kind {
            let must = MUST_GROW.iter().find(|(replicas, _)| *replicas == row.replicas);
            if let (Some(grown), Some((_, least))) = (grown(of_kind, row), must) {
                // Not a number is no growth either.
                if !grown.is_finite() || grown < *least {
                    found.push(format!(
                        "{title}: {} of everything answered {grown:.2} times what one did, less than {least}",
                        row.replicas
                    ));
                }
            }
        }
    }
    found
}

#[cfg(test)]
pub mod tests;
