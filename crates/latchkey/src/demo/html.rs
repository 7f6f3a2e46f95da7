//! `report.html`: one file that needs nothing else.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::cpu::Cpu;
use super::judge;
use super::row::{LOOKS, Row};
use super::shares::Shares;
use super::{Kind, Report};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;\
background:#fff}h1{margin-bottom:0}figure{margin:2rem 0;break-inside:avoid}svg{width:100%;height:auto}\
figcaption{color:#57606a}table{border-collapse:collapse;width:100%;font-size:.85rem}th,td{padding:.3rem .5rem;\
border-bottom:1px solid #d0d7de;text-align:right}th:first-child,td:first-child{text-align:left}.held{color:#116329}\
.broken{color:#a40e26}";
const COLOURS: [&str; 4] = ["#0969da", "#bc4c00", "#1a7f37", "#8250df"];

pub fn page(report: &Report) -> String {
    let verdict = match report.passed {
        true => "<p class=\"held\"><strong>Everything held.</strong></p>".to_owned(),
        false => {
            format!("<p class=\"broken\"><strong>Not held:</strong></p><ul>{}</ul>", list(&report.problems))
        }
    };
    let growth = match (&report.note, report.cpu) {
        (Some(note), _) => note.clone(),
        (None, cpu) => format!(
            "Each process has {} of a core and each gateway the same number of callers, as if each had a machine of its own. \
             × is how often what one of everything answered.",
            cpu.unwrap_or_default()
        ),
    };
    let grown = |row: &Row| match report.cpu.and_then(|_| judge::grown(&report.rows, row)) {
        Some(grown) if row.replicas > 1 => format!("{} (×{grown:.2})", number(row.requests_per_second)),
        _ => number(row.requests_per_second),
    };
    let said = |value: fn(&Row) -> f64| move |row: &Row| number(value(row));
    let charts = [
        chart(
            report,
            ("Requests answered", "requests a second"),
            |row| row.requests_per_second,
            grown,
            &growth,
        ),
        chart(
            report,
            ("Latency, 99th percentile", "milliseconds"),
            |row| row.p99_ms,
            said(|row| row.p99_ms),
            "99 of 100 requests were quicker.",
        ),
        chart(
            report,
            ("Calls to services for one request", "calls a request"),
            |row| row.calls_per_request,
            said(|row| row.calls_per_request),
            "A token is checked by the gateway itself, out of memory. A session is looked up by session-service in its store.",
        ),
        chart(
            report,
            ("Requests that failed while one replica of each service was killed", "% of requests"),
            failed_percent,
            said(failed_percent),
            "503, or no answer, until the killed ones run again. With one of everything there is nobody else to ask. With more, \
             requests to the killed gateway itself are left out: whatever spreads requests over gateways does that too.",
        ),
    ];
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Latchkey: both ways of scaling</title>\
         <style>{STYLE}</style><h1>Both ways of scaling</h1><p>Latchkey on one machine with {} cores: \
         {} of every service and of the gateway, loaded through all gateways for {} s or more each, and then one of \
         each killed under load.</p>{verdict}<ul>{}</ul>{}{}{}{}{}</html>\n",
        report.cores,
        replicas(&report.rows),
        report.seconds,
        list(&report.skipped),
        charts.concat(),
        table(&report.rows),
        shares(&report.rows),
        cpu(report),
        settings(report),
    )
}

/// Which numbers there are rows of: "1, 2, 4".
fn replicas(rows: &[Row]) -> String {
    let shown: BTreeSet<u16> = rows.iter().map(|row| row.replicas).collect();
    shown.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

fn failed_percent(row: &Row) -> f64 {
    let killed = &row.killed;
    let (failed, requests) = match row.replicas {
        1 => (killed.failed, killed.requests),
        _ => (killed.failed_elsewhere, killed.requests_elsewhere),
    };
    100.0 * failed as f64 / requests.max(1) as f64
}

fn list(items: &[String]) -> String {
    items.iter().fold(String::new(), |list, item| list + "<li>" + &escaped(item) + "</li>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Groups of bars: a group for each kind, a bar for each number of replicas, its value above it in words.
fn chart(
    report: &Report,
    (title, unit): (&str, &str),
    value: fn(&Row) -> f64,
    said: impl Fn(&Row) -> String,
    caption: &str,
) -> String {
    const WIDTH: f64 = 860.0;
    const LEFT: f64 = 50.0;
    const BASE: f64 = 230.0;
    const TALLEST: f64 = 170.0;
    let rows = &report.rows;
    let most = rows.iter().map(value).fold(0.0, f64::max);
    let mut kinds: Vec<Kind> = rows.iter().map(|row| row.kind).collect();
    kinds.dedup();
    let mut svg = format!(
        "<figure><svg viewBox=\"0 0 {WIDTH} 300\" role=\"img\" aria-label=\"{title}\" font-family=\"system-ui,sans-serif\" \
         font-size=\"13\"><text x=\"0\" y=\"18\" font-size=\"17\" font-weight=\"600\">{title}</text>\
         <text x=\"0\" y=\"38\" fill=\"#57606a\">{unit}</text>\
         <line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{BASE}\" y2=\"{BASE}\" stroke=\"#57606a\"/>"
    );
    let group = (WIDTH - LEFT) / kinds.len().max(1) as f64;
    for (at, (kind, colour)) in kinds.iter().zip(COLOURS).enumerate() {
        let bars: Vec<&Row> = rows.iter().filter(|row| row.kind == *kind).collect();
        let step = (group * 0.85 / bars.len().max(1) as f64).min(70.0);
        let from = LEFT + group * (at as f64 + 0.5) - step * bars.len() as f64 / 2.0;
        for (bar, row) in bars.iter().enumerate() {
            let tall = if most > 0.0 { TALLEST * value(row) / most } else { 0.0 };
            let (x, y) = (from + step * bar as f64, BASE - tall);
            let middle = x + step / 2.0;
            let _ = write!(
                svg,
                "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" fill=\"{colour}\"/>\
                 <text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                x + step * 0.1,
                step * 0.8,
                BASE + 18.0,
                row.replicas,
            );
            // The last word is next to its bar: longer ones would be under the next bar.
            for (line, word) in said(row).split(' ').rev().enumerate() {
                let _ = write!(
                    svg,
                    "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{word}</text>",
                    y - 5.0 - 15.0 * line as f64,
                );
            }
        }
        let middle = LEFT + group * (at as f64 + 0.5);
        let _ = write!(
            svg,
            "<text x=\"{middle:.1}\" y=\"{}\" text-anchor=\"middle\" font-weight=\"600\" fill=\"{colour}\">{}</text>",
            BASE + 40.0,
            kind.title()
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{:.1}\" y=\"292\" text-anchor=\"middle\" fill=\"#57606a\">replicas of every service and of the gateway</text>\
         </svg><figcaption>{}</figcaption></figure>",
        LEFT + (WIDTH - LEFT) / 2.0,
        escaped(caption)
    );
    svg
}

fn number(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value < 10.0 => format!("{value:.2}"),
        value => format!("{value:.0}"),
    }
}

fn table(rows: &[Row]) -> String {
    let mut table =
        "<table><tr><th>What</th><th>Replicas</th><th>Requests/s</th><th>p50 ms</th><th>p99 ms</th>\
                     <th>Calls a request</th><th>Store reads a request</th>\
                     <th>Failed when killed</th><th>of these, at other gateways</th><th>Lost</th><th>Wrong refusals</th></tr>"
            .to_owned();
    for row in rows {
        let _ = write!(
            table,
            "<tr><td>{}</td><td>{}</td><td>{:.0}</td><td>{:.1}</td><td>{:.1}</td><td>{}</td><td>{:.2}</td>\
             <td>{} of {}</td><td>{} of {}</td><td>{}</td><td>{}</td></tr>",
            row.kind.title(),
            row.replicas,
            row.requests_per_second,
            row.p50_ms,
            row.p99_ms,
            calls(row),
            row.store_reads_per_request,
            row.killed.failed,
            row.killed.requests,
            row.killed.failed_elsewhere,
            row.killed.requests_elsewhere,
            row.killed.lost,
            row.wrong_refusals + row.killed.wrong_refusals,
        );
    }
    table + "</table>"
}

/// Calls a request, by the service that was called.
fn calls(row: &Row) -> String {
    let called = row.calls.iter().filter(|(_, calls)| **calls > 0);
    let called =
        called.map(|(service, calls)| format!("{service} {:.2}", *calls as f64 / row.requests.max(1) as f64));
    let called: Vec<_> = called.collect();
    if called.is_empty() { "0".to_owned() } else { called.join(", ") }
}

/// Every share of every service, those too that there were too few calls to judge.
fn shares(rows: &[Row]) -> String {
    let mut table = format!(
        "<h2>How calls were shared</h2><p>The part that each replica answered: of auth- and policy-service, of refreshes \
         before the load; of the others, of the load. It is looked at up to {LOOKS} times, until the shares are \
         even; the load goes on for as long again each time.</p>\
         <table><tr><th>What</th><th>Replicas</th><th>auth</th><th>policy</th><th>session</th><th>gateway</th>\
         <th>Looks: issuing</th><th>Looks: load</th></tr>"
    );
    for row in rows {
        let _ = write!(table, "<tr><td>{}</td><td>{}</td>", row.kind.title(), row.replicas);
        for service in ["auth", "policy", "session", "gateway"] {
            let said = row.shares.get(service).map_or_else(String::new, Shares::said);
            let _ = write!(table, "<td>{said}</td>");
        }
        let _ = write!(table, "<td>{}</td><td>{}</td></tr>", row.looks.issue, row.looks.load);
    }
    table + "</table>"
}

/// Empty without a limit.
fn cpu(report: &Report) -> String {
    if report.cpu.is_none() {
        return String::new();
    }
    let mut table =
        "<h2>CPU</h2><p>What each service used, under the load, of the part of a core that its replicas had (1.00 is all \
         of it), for how much of the time a replica was made to wait for more, and what all replicas used for each \
         answered request. The busiest limits the row: if it answers more than in proportion to its replicas, a request \
         cost it less.</p><table><tr><th>What</th>\
         <th>Replicas</th><th>auth</th><th>policy</th><th>session</th><th>gateway</th><th>Busiest</th></tr>"
            .to_owned();
    for row in &report.rows {
        let _ = write!(table, "<tr><td>{}</td><td>{}</td>", row.kind.title(), row.replicas);
        for service in ["auth", "policy", "session", "gateway"] {
            let said = row.cpu.get(service).map_or_else(String::new, Cpu::said);
            let _ = write!(table, "<td>{said}</td>");
        }
        let _ = write!(table, "<td>{}</td></tr>", row.busiest().map_or("", |(service, _)| service));
    }
    table + "</table>"
}

fn settings(report: &Report) -> String {
    let mut all = "<h2>Settings</h2><p>As they come, but for these. A token is issued once for its row, which it must outlive. \
                   And since all processes and the load share this machine, who waits for a core is slow, and not away: a \
                   service waits up to 3 s for its store, and a gateway as long for a service, where they would give up sooner \
                   and answer 503.</p><pre>"
        .to_owned();
    for (service, toml) in &report.settings {
        let _ = writeln!(all, "# {service}\n{}", escaped(toml));
    }
    all + "</pre>"
}

#[cfg(test)]
mod tests {
    use super::super::judge::tests::{good, report};
    use super::*;

    #[test]
    fn the_page_has_every_share_and_how_often_it_looked() {
        let mut row = good(Kind::Tokens, 2);
        row.looks.load = 3;
        let few = row.shares.get_mut("policy").unwrap();
        few.judged = false;
        few.calls = [("policy-0".to_owned(), 3), ("policy-1".to_owned(), 1)].into();
        let page = page(&report(None, vec![row]));
        let even = "<td>0.50 0.50</td>";
        let few = "<td>0.75 0.25 (of 4 calls, too few to judge)</td>";
        assert!(page.contains(&format!("{even}{few}{even}{even}<td>1</td><td>3</td>")), "{page}");
    }

    #[test]
    fn the_page_has_what_each_used_of_its_part_where_there_was_a_limit() {
        let rows = || vec![good(Kind::Redis, 2)];
        let limited = page(&report(Some(0.1), rows()));
        let idle = "<td>0.10, 0.50 throttled, 60 µs</td>".repeat(3);
        let said = format!("{idle}<td>0.90, 0.50 throttled, 60 µs</td><td>gateway</td></tr>");
        assert!(limited.contains(&said), "{limited}");
        assert!(!page(&report(None, rows())).contains("throttled"));
    }

    #[test]
    fn the_page_says_which_service_was_called_and_what_is_set_other_than_it_comes() {
        let mut report = report(None, vec![good(Kind::Tokens, 1), good(Kind::Redis, 1)]);
        report.settings = [("gateway", "limits.check_timeout = \"3s\"\n")].into();
        let page = page(&report);
        assert!(page.contains("<td>2.0</td><td>0</td><td>0.00</td>"), "{page}");
        assert!(page.contains("<td>2.0</td><td>session 1.00</td><td>1.00</td>"), "{page}");
        assert!(page.contains("<pre># gateway\nlimits.check_timeout = \"3s\"\n\n</pre>"), "{page}");
    }
}
