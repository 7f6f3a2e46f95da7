//! How many of each process a stack has: `--replicas 2`, or `--replicas auth=2,gateway=3`.

use std::str::FromStr;

/// One each, unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replicas {
    pub auth: usize,
    pub session: usize,
    pub policy: usize,
    pub gateway: usize,
}

/// More on one machine show nothing new.
const MOST: usize = 16;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplicasInvalid {
    #[error("{0:?} is no number from 1 to {MOST}")]
    Number(String),
    #[error("{0:?} is none of auth, session, policy, gateway")]
    Unknown(String),
    #[error("{0} is named twice")]
    Twice(String),
    #[error("{0:?} is neither a number nor a list such as auth=2,gateway=3")]
    Shape(String),
}

impl FromStr for Replicas {
    type Err = ReplicasInvalid;

    fn from_str(text: &str) -> Result<Self, ReplicasInvalid> {
        if !text.contains('=') {
            let all = number(text).map_err(|error| match text.contains(',') {
                true => ReplicasInvalid::Shape(text.to_owned()),
                false => error,
            })?;
            return Ok(Self { auth: all, session: all, policy: all, gateway: all });
        }
        let mut replicas = Self { auth: 0, session: 0, policy: 0, gateway: 0 };
        for part in text.split(',') {
            let (name, count) =
                part.split_once('=').ok_or_else(|| ReplicasInvalid::Shape(text.to_owned()))?;
            let place = match name.trim() {
                "auth" => &mut replicas.auth,
                "session" => &mut replicas.session,
                "policy" => &mut replicas.policy,
                "gateway" => &mut replicas.gateway,
                other => return Err(ReplicasInvalid::Unknown(other.to_owned())),
            };
            if *place != 0 {
                return Err(ReplicasInvalid::Twice(name.trim().to_owned()));
            }
            *place = number(count)?;
        }
        for place in [&mut replicas.auth, &mut replicas.session, &mut replicas.policy, &mut replicas.gateway]
        {
            *place = (*place).max(1);
        }
        Ok(replicas)
    }
}

fn number(text: &str) -> Result<usize, ReplicasInvalid> {
    match text.trim().parse() {
        Ok(number) if (1..=MOST).contains(&number) => Ok(number),
        _ => Err(ReplicasInvalid::Number(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_for_all_and_a_list_for_those_it_names() {
        let all = |number| Replicas { auth: number, session: number, policy: number, gateway: number };
        assert_eq!("1".parse(), Ok(all(1)));
        assert_eq!("16".parse(), Ok(all(16)));
        assert_eq!("auth=2, gateway=3".parse(), Ok(Replicas { auth: 2, gateway: 3, ..all(1) }));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| text.parse::<Replicas>().unwrap_err().to_string();
        for (text, said) in [
            ("0", "\"0\" is no number"),
            ("17", "\"17\" is no number"),
            ("auth=0", "\"0\" is no number"),
            ("", "\"\" is no number"),
            ("2,3", "neither a number nor a list"),
            ("auth=2,3", "neither a number nor a list"),
            ("web=2", "\"web\" is none of auth, session, policy, gateway"),
            ("auth=2,auth=3", "auth is named twice"),
        ] {
            assert!(error(text).contains(said), "{text}: {}", error(text));
        }
    }
}
