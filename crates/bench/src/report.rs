//! The table: medians over rounds, and ratios to nginx's plain proxy in the same run.

use std::{
    fmt::{self, Display, Formatter, Write},
    time::Duration,
};

use serde::Serialize;

/// One round of one variant.
#[derive(Clone, Copy)]
pub struct Sample {
    pub requests_per_second: f64,
    pub cpu_per_request: Duration,
    /// The part of the round in which the proxy was ready to run and something else had its core.
    pub waited: f64,
    /// Bytes, after the load.
    pub resident: u64,
    /// From start to the first connection accepted.
    pub started_in: Duration,
}

/// A line of the table.
#[derive(Serialize)]
pub struct Row {
    pub name: &'static str,
    /// Median of the rounds.
    pub requests_per_second: f64,
    /// Median of the rounds, microseconds of the proxy's CPU time.
    pub cpu_us_per_request: f64,
    /// Requests a second ÷ nginx plain's.
    pub rate_ratio: f64,
    /// nginx plain's CPU time a request ÷ this one's.
    pub cpu_efficiency: f64,
    /// Median of the rounds, per cent: how long the proxy waited for its core because of other work.
    pub disturbed: f64,
    /// Median of the rounds.
    pub resident_mb: f64,
    /// Median of the rounds, from start to the first connection accepted.
    pub start_ms: f64,
}

pub struct Measured {
    pub name: &'static str,
    pub samples: Vec<Sample>,
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.get(middle.wrapping_sub(1))) {
        (Some(high), Some(low)) if values.len().is_multiple_of(2) => (high + low) / 2.0,
        (Some(value), _) => *value,
        (None, _) => f64::NAN,
    }
}

/// The shortest that so many of a hundred are not longer than.
pub fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

pub fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Rows in the order measured; the first is what the others are compared with.
pub fn rows(measured: &[Measured]) -> Vec<Row> {
    let of = |one: &Measured, figure: fn(&Sample) -> f64| median(one.samples.iter().map(figure).collect());
    let rate = |one: &Measured| of(one, |sample| sample.requests_per_second);
    let cpu = |one: &Measured| of(one, |sample| sample.cpu_per_request.as_secs_f64() * 1e6);
    let Some(base) = measured.first() else { return Vec::new() };
    let (base_rate, base_cpu) = (rate(base), cpu(base));
    let row = |one: &Measured| Row {
        name: one.name,
        requests_per_second: rate(one),
        cpu_us_per_request: cpu(one),
        rate_ratio: rate(one) / base_rate,
        cpu_efficiency: base_cpu / cpu(one),
        disturbed: of(one, |sample| sample.waited * 100.0),
        resident_mb: of(one, |sample| megabytes(sample.resident)),
        start_ms: of(one, |sample| milliseconds(sample.started_in)),
    };
    measured.iter().map(row).collect()
}

/// One row beside another, both of the same run.
#[derive(Serialize)]
pub struct Ratio {
    pub of: &'static str,
    pub to: &'static str,
    /// Requests a second ÷ the other's.
    pub rate: f64,
    /// The other's CPU time a request ÷ this one's.
    pub cpu_efficiency: f64,
}

/// `None`: one of them was not measured.
pub fn ratio(rows: &[Row], of: &str, to: &str) -> Option<Ratio> {
    let find = |name| rows.iter().find(|row| row.name == name);
    let (of, to) = (find(of)?, find(to)?);
    Some(Ratio {
        of: of.name,
        to: to.name,
        rate: of.requests_per_second / to.requests_per_second,
        cpu_efficiency: to.cpu_us_per_request / of.cpu_us_per_request,
    })
}

impl Display for Ratio {
    fn fmt(&self, to: &mut Formatter) -> fmt::Result {
        let Ratio { of, to: other, rate, cpu_efficiency } = self;
        write!(to, "{of} ÷ {other}: requests/s {rate:.2}, CPU efficiency {cpu_efficiency:.2}")
    }
}

pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| in front of the same upstream | requests/s | ÷ nginx | CPU µs a request | CPU efficiency | disturbed % | resident MB | start ms |\n|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        writeln!(
            text,
            "| {} | {:.0} | {:.2} | {:.1} | {:.2} | {:.0} | {:.1} | {:.0} |",
            row.name,
            row.requests_per_second,
            row.rate_ratio,
            row.cpu_us_per_request,
            row.cpu_efficiency,
            row.disturbed,
            row.resident_mb,
            row.start_ms
        )
        .ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_rounds() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(vec![]).is_nan());
    }

    fn two() -> Vec<Row> {
        let one = |name, requests_per_second, micros| Measured {
            name,
            samples: vec![Sample {
                requests_per_second,
                cpu_per_request: Duration::from_micros(micros),
                waited: 0.0,
                resident: 0,
                started_in: Duration::ZERO,
            }],
        };
        rows(&[one("nginx", 10.0, 10), one("other", 4.0, 20)])
    }

    #[test]
    fn half_the_cpu_is_twice_as_efficient() {
        assert_eq!(two()[1].cpu_efficiency, 0.5);
    }

    #[test]
    fn a_row_is_set_beside_another_when_both_were_measured() {
        let ratio = ratio(&two(), "other", "nginx").unwrap();
        assert_eq!(ratio.to_string(), "other ÷ nginx: requests/s 0.40, CPU efficiency 0.50");
        assert!(super::ratio(&two(), "other", "neither").is_none());
    }
}
