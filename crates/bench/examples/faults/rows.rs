//! The rows that exist.

use std::future::Future;
use std::pin::Pin;

use anyhow::bail;

use crate::observe::Plan;
use crate::outcome::Outcome;

mod clocks;
mod endings;
mod epochs;
mod families;
mod gateway;
mod herd;
mod keys;
mod people;
mod policy;
mod postgres;
mod processes;
mod redis;
mod start_up;

type Run = fn(Plan) -> Pin<Box<dyn Future<Output = anyhow::Result<Vec<Outcome>>>>>;

pub struct Row {
    pub name: &'static str,
    pub about: &'static str,
    is_smoke: bool,
    pub in_gate: InGate,
    pub run: Run,
}

/// What `--gate` asks of a row for which the time of all rows is too short. `None`: as all the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InGate {
    /// How often it does what it counts.
    pub times: Option<usize>,
    /// Seconds of load. The fault is there for half of them.
    pub seconds: Option<u64>,
}

const AS_ALL: InGate = InGate { times: None, seconds: None };

const fn times(times: usize) -> InGate {
    InGate { times: Some(times), ..AS_ALL }
}

const fn seconds(seconds: u64) -> InGate {
    InGate { seconds: Some(seconds), ..AS_ALL }
}

macro_rules! row {
    ($name:literal, $about:literal, $smoke:literal, $run:path) => {
        row!($name, $about, $smoke, $run, AS_ALL)
    };
    ($name:literal, $about:literal, $smoke:literal, $run:path, $in_gate:expr) => {
        Row {
            name: $name,
            about: $about,
            is_smoke: $smoke,
            in_gate: $in_gate,
            run: |plan| Box::pin($run(plan)),
        }
    };
}

const ROWS: [Row; 25] = [
    row!("F01", "kill -9 of a gateway", false, gateway::killed),
    row!("F02", "kill -9 of an auth-service", true, processes::auth_killed),
    row!("F03", "kill -9 of a session-service", true, processes::session_killed),
    row!("F04", "kill -9 of one policy-service, then of both", false, policy::replicas_killed),
    row!(
        "F05",
        "kill -9 of a random replica every 2 s",
        false,
        processes::random_replica_killed,
        seconds(processes::SECONDS_IN_GATE)
    ),
    row!("F06", "rolling restart of everything", true, processes::rolling_restart),
    row!("F08", "kill -9 of Redis, restart after 3 s", true, redis::killed),
    row!("F09", "Redis stands still for 10 s", false, redis::frozen),
    row!("F10", "Redis answers with errors", false, redis::answers_errors),
    row!("F11", "Redis evicts", false, redis::evicts),
    row!("F17a", "PostgreSQL, fast restart", false, postgres::restarted),
    row!("F17b", "PostgreSQL, kill -9", false, postgres::killed),
    row!("F17c", "PostgreSQL stands still for 10 s", false, postgres::frozen),
    row!("F17f", "PostgreSQL ends every connection each second", false, postgres::terminated),
    row!("F19", "signing keys replaced and taken away", false, keys::rotated, seconds(keys::SECONDS_IN_GATE)),
    row!("F21", "clocks that are half a minute off", false, clocks::astray),
    row!("F29", "500 logins at once", false, herd::of_logins),
    row!(
        "F30",
        "refresh tokens stolen and used again",
        true,
        families::replayed,
        times(families::STOLEN_IN_GATE)
    ),
    row!(
        "F31",
        "refreshes at once, kill -9 of an auth-service",
        true,
        families::raced,
        times(families::RACED_IN_GATE)
    ),
    row!(
        "F32",
        "logouts and new passwords in a race",
        true,
        families::ended_in_a_race,
        times(families::ROUNDS_IN_GATE)
    ),
    row!("F35", "users disabled and deleted, roles taken back", true, people::changed),
    row!("F36", "start-up in any order", false, start_up::any_order, times(start_up::ORDERS_IN_GATE)),
    row!("J23", "clocks ten minutes apart", false, epochs::are_numbers, times(epochs::ENDINGS_IN_GATE)),
    row!("L03", "kill -9 of an auth-service: endings that wait", false, endings::waited_for),
    row!(
        "L04",
        "an auth-service restarted in the moment of an ending",
        false,
        endings::restarted_in_the_moment,
        times(endings::RESTARTS_IN_GATE)
    ),
];

/// The rows that these names mean, in the order of the list; `F17` is all whose names begin so.
pub fn named(names: &[String], is_smoke: bool) -> anyhow::Result<Vec<&'static Row>> {
    const ALL: &[Row] = &ROWS;
    for name in names {
        if !ALL.iter().any(|row| is_meant(row, name)) {
            let known: Vec<&str> = ALL.iter().map(|row| row.name).collect();
            bail!("there is no row {name}; those that exist: {}", known.join(" "));
        }
    }
    let wanted = |row: &&Row| match names {
        [] => row.is_smoke || !is_smoke,
        names => names.iter().any(|name| is_meant(row, name)),
    };
    Ok(ALL.iter().filter(wanted).collect())
}

fn is_meant(row: &Row, name: &str) -> bool {
    let letter = row.name.trim_end_matches(char::is_alphabetic);
    row.name.eq_ignore_ascii_case(name) || (letter.eq_ignore_ascii_case(name) && name.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(wanted: &[&str], is_smoke: bool) -> Vec<&'static str> {
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        named(&wanted, is_smoke).unwrap().iter().map(|row| row.name).collect()
    }

    #[test]
    fn rows_are_found_by_name() {
        assert_eq!(names(&["F17", "f02"], false), ["F02", "F17a", "F17b", "F17c", "F17f"]);
        assert_eq!(names(&["F17b"], false), ["F17b"]);
        assert_eq!(names(&[], false).len(), ROWS.len());
        assert_eq!(names(&[], true), ["F02", "F03", "F06", "F08", "F30", "F31", "F32", "F35"]);
    }

    #[test]
    fn a_gate_alone_does_what_the_catalogue_says() {
        let in_gate = |name: &str| named(&[name.to_owned()], false).unwrap()[0].in_gate;
        // 40 hostile calls an order, 20 endings a restart.
        assert_eq!((in_gate("F36"), in_gate("L04"), in_gate("F01")), (times(75), times(50), AS_ALL));
        // 1,000 families, 200 families and ten more, 1,000 logouts of which four are one round.
        assert_eq!((in_gate("F30"), in_gate("F31"), in_gate("F32")), (times(1_000), times(210), times(250)));
        // Half of it is the fault: 60 s.
        assert_eq!((in_gate("F05"), in_gate("F19")), (seconds(120), seconds(120)));
    }

    #[test]
    fn a_row_that_does_not_exist_is_refused_with_those_that_do() {
        let error = named(&["F99".to_owned()], false).map(drop).unwrap_err().to_string();
        assert!(error.contains("F99") && error.contains("F01 F02"), "{error}");
    }
}
