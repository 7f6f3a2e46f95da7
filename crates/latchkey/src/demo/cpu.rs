//! What the processes of a row used of the CPU time that they were given: growth shows nothing where nobody used it up.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::quota::Counted;

/// Of one service, by replica.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cpu {
    /// CPU time used, as a share of the quota: 1 is all of it.
    pub used: BTreeMap<String, f64>,
    /// For how much of the time it was made to wait for more.
    pub throttled: BTreeMap<String, f64>,
    /// CPU time of all replicas together for each answered request. Where the busiest used up its part, growth beyond the number
    /// of replicas is that this became less.
    pub microseconds_per_request: f64,
}

impl Cpu {
    /// Of a service's processes, `cores` each, what was counted while it `took`.
    pub fn new(
        service: &str,
        spent: &BTreeMap<String, Counted>,
        cores: f64,
        (took, answered): (Duration, u64),
    ) -> Self {
        let mut cpu = Self::default();
        let mut all = Duration::ZERO;
        for (replica, spent) in spent {
            if !replica.strip_prefix(service).is_some_and(|rest| rest.starts_with('-')) {
                continue;
            }
            all += spent.used;
            cpu.used.insert(replica.clone(), spent.used.as_secs_f64() / (cores * took.as_secs_f64()));
            cpu.throttled.insert(replica.clone(), spent.throttled.as_secs_f64() / took.as_secs_f64());
        }
        cpu.microseconds_per_request = all.as_secs_f64() * 1e6 / answered.max(1) as f64;
        cpu
    }

    /// What its replicas used together of what they had together.
    pub fn share(&self) -> f64 {
        mean(&self.used)
    }

    /// "0.97, 0.88 throttled, 54 µs".
    pub fn said(&self) -> String {
        let (share, throttled) = (self.share(), mean(&self.throttled));
        format!("{share:.2}, {throttled:.2} throttled, {:.0} µs", self.microseconds_per_request)
    }
}

fn mean(values: &BTreeMap<String, f64>) -> f64 {
    values.values().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_quota_and_of_the_services_own_replicas() {
        let counted = |used, throttled| Counted {
            used: Duration::from_millis(used),
            throttled: Duration::from_millis(throttled),
        };
        let mut spent = BTreeMap::new();
        // Two turns of the first, and what came between is not its.
        let looks = [("auth-0", (50, 100), (150, 900)), ("auth-0", (400, 1_000), (500, 1_800))];
        let others = [("auth-1", (0, 0), (100, 0)), ("authx-0", (0, 0), (100, 0))];
        for (replica, before, after) in looks.into_iter().chain(others) {
            let of = |(used, throttled)| counted(used, throttled);
            spent.entry(replica.to_owned()).or_insert_with(Counted::default).add(of(before), of(after));
        }
        let cpu = Cpu::new("auth", &spent, 0.1, (Duration::from_secs(2), 1_000));
        let of = |zero, one| BTreeMap::from([("auth-0".to_owned(), zero), ("auth-1".to_owned(), one)]);
        assert_eq!((&cpu.used, &cpu.throttled), (&of(1.0, 0.5), &of(0.8, 0.0)));
        assert_eq!(cpu.said(), "0.75, 0.40 throttled, 300 µs");
    }
}
