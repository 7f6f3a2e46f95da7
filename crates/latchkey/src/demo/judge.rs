//! What a report must show. Pure: a test feeds it rows that do not hold.

use super::row::Row;
use super::{Kind, Report};

/// With a limit on each process: how throughput must have grown over one of everything.
const MUST_GROW: [(u16, f64); 2] = [(2, 1.7), (4, 3.0)];

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
        found.extend(growth(&report.rows));
    }
    found
}

fn of_row(row: &Row) -> Vec<String> {
    let mut found = Vec::new();
    let replicas = usize::from(row.replicas);
    for (service, shares) in &row.shares {
        let total: u64 = shares.calls.values().sum();
        if shares.calls.len() != replicas {
            found.push(format!("{service} has {} replicas that tell their metrics", shares.calls.len()));
        }
        let must = *service == "gateway" || (*service == "session" && row.kind != Kind::Tokens);
        if must && !shares.judged {
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
    if row.kind == Kind::Tokens && row.calls_per_request > 0.0 {
        found.push(format!(
            "{:.4} calls to services a request, for tokens that are known",
            row.calls_per_request
        ));
    }
    if row.kind == Kind::Tokens && row.store_reads_per_request > 0.0 {
        found.push(format!("{:.4} reads of the store a request", row.store_reads_per_request));
    }
    let counts = [
        (row.failed, "requests failed with everything running"),
        (row.wrong_refusals, "valid credentials were refused with everything running"),
        (row.killed.wrong_refusals, "valid credentials were refused while replicas were killed"),
        (row.killed.lost as u64, "credentials were lost when replicas were killed"),
    ];
    found
        .extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    found
}

fn growth(rows: &[Row]) -> Vec<String> {
    let mut found = Vec::new();
    for row in rows {
        let one = rows.iter().find(|one| one.kind == row.kind && one.replicas == 1);
        let must = MUST_GROW.iter().find(|(replicas, _)| *replicas == row.replicas);
        if let (Some(one), Some((_, least))) = (one, must) {
            let grown = row.requests_per_second / one.requests_per_second;
            // Not a number is no growth either.
            if !grown.is_finite() || grown < *least {
                found.push(format!(
                    "{}: {} of everything answered {grown:.2} times what one did, less than {least}",
                    row.kind.title(),
                    row.replicas
                ));
            }
        }
    }
    found
}

#[cfg(test)]
pub mod tests;
