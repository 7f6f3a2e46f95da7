//! What a row found, and the one line that says so.

use std::fmt::Display;
use std::fmt::Write as _;

use crate::figures::Figures;
use crate::observe::Observed;

/// Recorded on a quiet machine of two cores, debug build: the 99th percentile before any fault (docs/faults.md). A release build has a
/// fifth of it, so of those a busier machine passes for a quiet one.
const BASELINE_P99_MS: u64 = 500;

/// A zero is one only out of so many hostile requests and acknowledged endings; out of fewer it bounds too little.
pub const ENOUGH_HOSTILE: u64 = 3_000;
pub const ENOUGH_REVOKED: u64 = 1_000;

/// What the configuration that is known to fail did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// As it must, and by how much.
    Fails(String),
    /// The row proves nothing.
    DoesNotFail(String),
    /// The row has none.
    None,
    /// Smoke runs none.
    Skipped,
}

impl Control {
    /// `failed`: the figure by which it must fail.
    pub fn judge(fails: bool, figure: impl Display) -> Control {
        if fails { Control::Fails(figure.to_string()) } else { Control::DoesNotFail(figure.to_string()) }
    }
}

pub struct Outcome {
    fault: String,
    figures: Figures,
    extras: Vec<(&'static str, String)>,
    /// Times and the like that were asked for and missed.
    over: Vec<String>,
    /// What must hold at any speed and does not.
    broken: Vec<String>,
    /// What was asked for so often and was done less often.
    few: Vec<String>,
    /// Whether the background ran, which sends hostile requests and ends things.
    has_background: bool,
    pub control: Control,
}

impl Outcome {
    pub fn of(fault: &str, observed: &Observed) -> Outcome {
        let mut outcome = Outcome::of_background(fault, observed.figures.clone());
        outcome.extra("rss_max_mb", observed.rss_max_mb);
        outcome.extra("fd_max", observed.fd_max);
        outcome.extra("leaked", observed.leaked);
        outcome.extra("expired", observed.expired);
        if observed.is_whole {
            outcome.must("expired", observed.expired > 0);
        }
        outcome
    }

    /// As [`Outcome::new`], of a run in which the background ran too.
    pub fn of_background(fault: &str, figures: Figures) -> Outcome {
        Outcome { has_background: true, ..Outcome::new(fault, figures) }
    }

    pub fn new(fault: &str, figures: Figures) -> Outcome {
        let broken = figures.not_zero().into_iter().map(str::to_owned).collect();
        Outcome {
            fault: fault.to_owned(),
            figures,
            extras: Vec::new(),
            over: Vec::new(),
            broken,
            few: Vec::new(),
            has_background: false,
            control: Control::None,
        }
    }

    pub fn extra(&mut self, name: &'static str, value: impl Display) {
        self.extras.push((name, value.to_string()));
    }

    /// A threshold: judged in gate and full, printed always.
    pub fn at_most(&mut self, name: &str, value: f64, limit: f64) {
        if value > limit {
            self.over.push(format!("{name}>{limit}"));
        }
    }

    /// A count that shows too little where it is smaller.
    pub fn at_least(&mut self, name: &str, count: usize, enough: usize) {
        if count < enough {
            self.few.push(format!("{name}<{enough}"));
        }
    }

    /// What must hold at any speed.
    pub fn must(&mut self, name: &str, holds: bool) {
        if !holds {
            self.broken.push(name.to_owned());
        }
    }

    /// Whoever cannot be served is told so, and soon. Where nobody was told, nothing is known of how soon.
    pub fn unavailable_within(&mut self, observed: &Observed, limit_ms: f64) {
        let p99_ms = observed.unavailable_p99_ms();
        self.extra("unavailable_p99_ms", p99_ms.map_or("none".to_owned(), |p99_ms| p99_ms.to_string()));
        self.must("some_503", p99_ms.is_some());
        self.at_most("unavailable_p99_ms", p99_ms.unwrap_or(0) as f64, limit_ms);
    }

    pub fn err_pct(&self) -> f64 {
        self.figures.err_pct
    }

    pub fn nothing_lost(&mut self) {
        let nothing = self.figures.acked_lost == 0;
        self.must("acked_lost", nothing);
    }

    pub fn verdict(&self, is_smoke: bool) -> &'static str {
        let is_over = !self.over.is_empty() && !is_smoke;
        // A machine that was twice as slow before the fault says nothing about times, and `hung` is one. Of everything else
        // that must be zero it says as much as any.
        let is_busy = !is_smoke && self.figures.baseline_p99_ms > 2 * BASELINE_P99_MS;
        let only_slow = self.broken.iter().all(|name| name == "hung");
        match &self.control {
            _ if is_busy && only_slow && (is_over || !self.broken.is_empty()) => "DISCARDED",
            _ if !self.broken.is_empty() => "FAIL",
            Control::DoesNotFail(_) => "INVALID",
            _ if is_over => "FAIL",
            _ if is_smoke => "SMOKE",
            _ if self.is_of_too_few() => "TOO_FEW",
            _ => "PASS",
        }
    }

    /// A row without the background says nothing about what it does not send at all.
    fn is_of_too_few(&self) -> bool {
        let is_few = |of: u64, enough: u64| of < enough && (of > 0 || self.has_background);
        let are_few =
            is_few(self.figures.hostile, ENOUGH_HOSTILE) || is_few(self.figures.revoked, ENOUGH_REVOKED);
        are_few || !self.few.is_empty()
    }

    pub fn line(&self, is_smoke: bool) -> String {
        let mut line = format!("FAULT={} runs=1 {}", self.fault, self.figures.line());
        for (name, value) in &self.extras {
            let _ = write!(line, " {name}={value}");
        }
        // A zero out of N is a bound, not a zero.
        let bound = |of: u64| if of == 0 { "none".to_owned() } else { format!("{:.5}", 3.0 / of as f64) };
        let _ = write!(
            line,
            " t_stale=0s bound_let_in={} bound_revived={}",
            bound(self.figures.hostile),
            bound(self.figures.revoked)
        );
        if !self.broken.is_empty() {
            let _ = write!(line, " broken={}", self.broken.join(","));
        }
        if !self.over.is_empty() {
            let _ = write!(line, " over={}", self.over.join(","));
        }
        if !self.few.is_empty() {
            let _ = write!(line, " few={}", self.few.join(","));
        }
        let _ = match &self.control {
            Control::Fails(figure) => write!(line, " control=FAILS_AS_EXPECTED control_saw={figure}"),
            Control::DoesNotFail(figure) => write!(line, " control=DOES_NOT_FAIL control_saw={figure}"),
            Control::None => write!(line, " control=NONE"),
            Control::Skipped => write!(line, " control=SKIPPED"),
        };
        let _ = write!(line, " verdict={}", self.verdict(is_smoke));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_out_of_too_few_is_no_pass() {
        let of = |hostile, revoked| {
            let mut outcome = Outcome::new("F00", Figures { hostile, revoked, ..Figures::default() });
            outcome.has_background = true;
            outcome
        };
        assert_eq!(of(3_000, 1_000).verdict(false), "PASS");
        for few in [of(2_999, 1_000), of(3_000, 999), of(900, 600), of(3_000, 0)] {
            assert_eq!((few.verdict(false), few.verdict(true)), ("TOO_FEW", "SMOKE"));
        }
        let mut seldom = of(3_000, 1_000);
        seldom.at_least("families", 999, 1_000);
        assert_eq!((seldom.verdict(false), seldom.verdict(true)), ("TOO_FEW", "SMOKE"));
        assert!(seldom.line(false).contains(" few=families<1000 "));
        let mut broken = of(900, 600);
        broken.must("acked_lost", false);
        assert_eq!(broken.verdict(false), "FAIL");
        // F36 ends nothing, F29 neither ends nor sends what is hostile.
        let figures = Figures { hostile: 3_000, ..Figures::default() };
        assert_eq!(Outcome::new("F36", figures).verdict(false), "PASS");
        let figures = Figures { hostile: 600, ..Figures::default() };
        assert_eq!(Outcome::new("F36", figures).verdict(false), "TOO_FEW");
    }

    #[test]
    fn a_control_that_does_not_fail_makes_a_row_invalid_and_a_figure_that_is_not_zero_makes_it_fail() {
        let mut outcome = Outcome::new("F00", Figures::default());
        assert_eq!((outcome.verdict(false), outcome.verdict(true)), ("PASS", "SMOKE"));
        outcome.at_most("gap_ms", 501.0, 500.0);
        assert_eq!((outcome.verdict(false), outcome.verdict(true)), ("FAIL", "SMOKE"));
        outcome.control = Control::judge(false, "err_pct:0");
        assert_eq!(outcome.verdict(false), "INVALID");
        outcome.must("acked_lost", false);
        assert_eq!((outcome.verdict(false), outcome.verdict(true)), ("FAIL", "FAIL"));
        assert!(outcome.line(false).ends_with("control=DOES_NOT_FAIL control_saw=err_pct:0 verdict=FAIL"));
        let mut busy = Figures { hung: 1, baseline_p99_ms: 1_001, ..Figures::default() };
        assert_eq!(Outcome::new("F00", busy.clone()).verdict(false), "DISCARDED");
        assert_eq!(Outcome::new("F00", busy.clone()).verdict(true), "FAIL");
        busy.revived = 1;
        assert_eq!(Outcome::new("F00", busy).verdict(false), "FAIL");
        let figures = Figures { let_in: 1, ..Figures::default() };
        assert_eq!(Outcome::new("F00", figures).verdict(true), "FAIL");
    }
}
