//! What the services themselves counted: sums over the Prometheus text of their operations listeners.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use reqwest::header::CONNECTION;

use crate::up::stack_file::StackFile;

/// Each process's `/metrics`.
#[derive(Debug, Default)]
pub struct Metrics(BTreeMap<String, String>);

impl Metrics {
    pub async fn read(client: &reqwest::Client, stack: &StackFile) -> Result<Self> {
        let mut all = BTreeMap::new();
        for (process, url) in &stack.operations {
            // The next look is seconds later, and a connection that was kept for it may be closed in just that moment.
            let answer = client.get(format!("{url}/metrics")).header(CONNECTION, "close").send().await;
            let answer = answer.and_then(reqwest::Response::error_for_status);
            let text = answer.with_context(|| format!("{process} does not tell its metrics"))?.text().await;
            all.insert(process.clone(), text.with_context(|| format!("{process} broke off"))?);
        }
        Ok(Self(all))
    }

    /// By replica: what `counter` grew by since `before`, in the processes of `service`.
    pub fn grown(&self, before: &Self, service: &str, counter: &str) -> BTreeMap<String, u64> {
        let of_service = self
            .0
            .iter()
            .filter(|(name, _)| name.strip_prefix(service).is_some_and(|rest| rest.starts_with('-')));
        of_service
            .map(|(name, text)| {
                let then = before.0.get(name).map_or(0, |text| sum(text, counter));
                (name.clone(), sum(text, counter).saturating_sub(then))
            })
            .collect()
    }
}

/// Keys and feeds are asked for by the clock, every few minutes, whatever is requested.
const BY_THE_CLOCK: [&str; 2] = ["/GetKeySet\"", "/latchkey.feed."];

/// Over all labels, but for calls that no request is the reason of.
fn sum(text: &str, counter: &str) -> u64 {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(counter)?;
        let value = rest.rsplit(' ').next()?;
        // Not a longer name.
        let counts = rest.starts_with(['{', ' ']) && !BY_THE_CLOCK.iter().any(|method| rest.contains(method));
        counts.then(|| value.parse::<f64>().ok())?
    });
    values.map(|value| value as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn a_counter_is_summed_over_its_labels_and_no_longer_name_is_taken_for_it() {
        let text = "# HELP a_total x\na_total{m=\"x y\"} 3\na_total 4\na_total_b 5\nba_total 6\n";
        assert_eq!(sum(text, "a_total"), 7);
    }

    #[test]
    fn what_is_asked_for_by_the_clock_is_no_call_of_a_request() {
        let text = "a_total{method=\"/latchkey.auth.v1.TokenReadService/GetKeySet\"} 3\n\
                    a_total{method=\"/latchkey.feed.v1.FeedService/Watch\"} 4\n\
                    a_total{method=\"/latchkey.auth.v1.TokenService/Refresh\"} 5\n";
        assert_eq!(sum(text, "a_total"), 5);
    }
}
