//! `latchkey-bench timing`: what somebody with a clock could learn at the gateway. A login as an unknown user beside one
//! with a wrong password (P05), and calls with a token of which one part was altered (J17), in interleaved rounds over one
//! connection, so that what disturbs the machine disturbs all of them.

mod caller;

use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use serde::Serialize;
use serde_json::json;

use self::caller::Caller;
use crate::{gateway::ours::Stack, http::string, report::median};

/// Open to every token, in the routes of the local stack.
const CALLED: &str = "/app/token/timing";
const PASSWORD: &str = "violet anchor gravel tundra";
const WRONG_PASSWORD: &str = "marble harbour ticket onion";

const UNKNOWN_USER: &str = "unknown user";
const WRONG: &str = "wrong password";
/// The five parts of a JWE in compact form, and what is called with each altered.
const PARTS: [&str; 5] = [
    "header altered",
    "encrypted key altered",
    "initialization vector altered",
    "ciphertext altered",
    "tag altered",
];
const GOOD: &str = "good, first time";
const REMEMBERED: &str = "good, remembered";

#[derive(Args)]
pub struct Options {
    /// Interleaved rounds, each with an account of its own; the table shows medians
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// One kind of request and the times it took, a round each.
struct Timed {
    name: &'static str,
    status: u16,
    times: Vec<Duration>,
}

/// A line of the table.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    status: u16,
    median_us: f64,
    /// Half of the rounds took at least the first and at most the second.
    quartiles_us: [f64; 2],
    /// The median ÷ that of the first line.
    ratio: f64,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.rounds > 0, "--rounds: at least one");
    let folder = tempfile::tempdir()?;
    let stack = Stack::start(&folder.path().join("stack"))?;
    let gateway = stack.issuer()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (logins, calls) = runtime.block_on(measure(&gateway, options.rounds))?;
    let (logins, calls) = (rows(&logins), rows(&calls));
    if options.json {
        println!("{}", json!({ "rounds": options.rounds, "logins": logins, "calls": calls }));
    } else {
        print!("{}\n{}", table("login", &logins), table("call with a token", &calls));
    }
    Ok(())
}

async fn measure(gateway: &str, rounds: usize) -> anyhow::Result<(Vec<Timed>, Vec<Timed>)> {
    let timed = |name, status| Timed { name, status, times: Vec::with_capacity(rounds) };
    let mut logins = vec![timed(UNKNOWN_USER, 401), timed(WRONG, 401)];
    let mut calls: Vec<Timed> = PARTS.iter().map(|name| timed(name, 401)).collect();
    calls.push(timed(GOOD, 200));
    let mut remembered = timed(REMEMBERED, 200);

    let mut caller = Caller::to(gateway)?;
    // Once for nothing: connections between the processes and pages of their memory are made by a first request.
    for round in 0..=rounds {
        let counts = round > 0;
        // An account of its own, because failures are counted by account; and a token that nobody has seen.
        let (known, unknown) = (format!("known-{round}"), format!("unknown-{round}"));
        let account = json!({ "username": known, "password": PASSWORD });
        caller.post("/v1/users", &account).await?.expect(201)?;
        let login = caller.post("/v1/login", &credentials(&known, PASSWORD)).await?.expect(200)?;
        let token = string(&login.json()?, "/access_token")?;

        for place in 0..logins.len() {
            let which = (place + round) % logins.len();
            let Some(timed) = logins.get_mut(which) else { continue };
            let name = if timed.name == WRONG { &known } else { &unknown };
            let answer = caller.post("/v1/login", &credentials(name, WRONG_PASSWORD)).await?;
            timed.record(answer.expect(timed.status)?.took, counts);
        }
        for place in 0..calls.len() {
            let which = (place + round) % calls.len();
            let Some(timed) = calls.get_mut(which) else { continue };
            let presented = altered(&token, which, round);
            let answer = caller.get(CALLED, &presented).await?;
            timed.record(answer.expect(timed.status)?.took, counts);
        }
        let answer = caller.get(CALLED, &token).await?;
        remembered.record(answer.expect(remembered.status)?.took, counts);
    }
    calls.push(remembered);
    Ok((logins, calls))
}

fn credentials(identifier: &str, password: &str) -> serde_json::Value {
    json!({ "identifier": identifier, "password": password, "mode": "token" })
}

/// The token with one character of a part replaced, another one in each round; a character is put where the part has
/// none. A part that there is not leaves it as it is.
fn altered(token: &str, part: usize, round: usize) -> String {
    let alter = |text: &str| -> String {
        if text.is_empty() {
            return "A".to_owned();
        }
        let at = round.wrapping_mul(7) % text.len();
        let other = |c: char| if c == 'A' { 'B' } else { 'A' };
        text.chars().enumerate().map(|(place, c)| if place == at { other(c) } else { c }).collect()
    };
    let parts = token.split('.').enumerate();
    parts
        .map(|(number, text)| if number == part { alter(text) } else { text.to_owned() })
        .collect::<Vec<_>>()
        .join(".")
}

impl Timed {
    fn record(&mut self, took: Duration, counts: bool) {
        if counts {
            self.times.push(took);
        }
    }
}

fn rows(all: &[Timed]) -> Vec<Row> {
    let micros = |timed: &Timed| -> Vec<f64> {
        let mut micros: Vec<f64> = timed.times.iter().map(|took| took.as_secs_f64() * 1e6).collect();
        micros.sort_by(f64::total_cmp);
        micros
    };
    let base = all.first().map_or(f64::NAN, |first| median(micros(first)));
    all.iter()
        .map(|timed| {
            let times = micros(timed);
            let at = |quarter: usize| times.get(times.len() * quarter / 4).copied().unwrap_or(f64::NAN);
            let quartiles_us = [at(1), at(3)];
            let median_us = median(times);
            Row { name: timed.name, status: timed.status, median_us, quartiles_us, ratio: median_us / base }
        })
        .collect()
}

fn table(what: &str, rows: &[Row]) -> String {
    let mut text =
        format!("| {what} | status | median µs | half of them, µs | ÷ the first |\n|---|---|---|---|---|\n");
    for Row { name, status, median_us, quartiles_us: [low, high], ratio } in rows {
        text += &format!("| {name} | {status} | {median_us:.0} | {low:.0} to {high:.0} | {ratio:.3} |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_is_altered() {
        let token = "AAAA..CCCC.DDDD.EEEE";
        for round in 0..9 {
            for part in 0..5 {
                let altered = altered(token, part, round);
                let (new, old) = (altered.split('.'), token.split('.'));
                let differ: Vec<_> = new.zip(old).map(|(new, old)| new != old).collect();
                assert_eq!(differ, (0..5).map(|number| number == part).collect::<Vec<_>>(), "{altered}");
            }
            assert_eq!(altered(token, PARTS.len(), round), token);
        }
    }

    #[test]
    fn lines_are_compared_with_the_first() {
        let timed = |name, micros: &[u64]| Timed {
            name,
            status: 401,
            times: micros.iter().map(|us| Duration::from_micros(*us)).collect(),
        };
        let rows = rows(&[timed("a", &[10, 20, 30]), timed("b", &[60, 40, 20, 100])]);
        assert_eq!((rows[0].median_us, rows[0].ratio), (20.0, 1.0));
        assert_eq!((rows[1].median_us, rows[1].ratio), (50.0, 2.5));
        assert_eq!(rows[1].quartiles_us, [40.0, 100.0]);
        assert!(table("x", &rows).ends_with("| b | 401 | 50 | 40 to 100 | 2.500 |\n"));
    }
}
