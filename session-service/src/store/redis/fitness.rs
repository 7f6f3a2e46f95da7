//! What a server must be before sessions are kept there. Asked with every new connection and every second: settings are
//! changed at run time, and behind an address there may be another server than before.

use redis::aio::MultiplexedConnection;
use redis::cmd;
use thiserror::Error;

use super::error::Failure;

/// Why a server is not used.
#[derive(Debug, Error)]
pub(super) enum Unfit {
    #[error(transparent)]
    Silent(#[from] Failure),
    /// What it holds may be gone before its time: proofs could be spent twice.
    #[error(
        "it deletes what is still needed (maxmemory-policy {policy}): set maxmemory-policy to noeviction, or give sessions a server of their own"
    )]
    Evicts { policy: String },
    /// Of a session there may be one part and not another, which nobody could end.
    #[error(
        "it has deleted what was still needed (evicted_keys {number}): empty it, which ends every session, and tell it CONFIG RESETSTAT"
    )]
    Evicted { number: String },
    #[error("it is still loading its file (LOADING)")]
    Loading,
    /// What it says may be old: a session could be there that was ended.
    #[error("it is a replica (role:{role}), and sessions are kept on the server that it copies")]
    Replica { role: String },
}

impl From<redis::RedisError> for Unfit {
    fn from(error: redis::RedisError) -> Unfit {
        Unfit::Silent(error.into())
    }
}

const KEEPS: &str = "noeviction";

/// What a fit server is besides.
pub(super) struct Fit {
    /// What was answered is in a file.
    pub(super) is_persistent: bool,
}

pub(super) async fn check(connection: &mut MultiplexedConnection) -> Result<Fit, Unfit> {
    let replication = section(connection, "replication").await?;
    let role = member(&replication, "role")?;
    if role != "master" {
        return Err(Unfit::Replica { role: role.to_owned() });
    }
    let memory = section(connection, "memory").await?;
    let policy = member(&memory, "maxmemory_policy")?;
    if policy != KEEPS {
        return Err(Unfit::Evicts { policy: policy.to_owned() });
    }
    let stats = section(connection, "stats").await?;
    let number = member(&stats, "evicted_keys")?;
    if number != "0" {
        return Err(Unfit::Evicted { number: number.to_owned() });
    }
    let persistence = section(connection, "persistence").await?;
    if member(&persistence, "loading")? != "0" {
        return Err(Unfit::Loading);
    }
    Ok(Fit { is_persistent: member(&persistence, "aof_enabled")? == "1" })
}

/// `INFO` is allowed where `CONFIG GET` is not.
async fn section(connection: &mut MultiplexedConnection, name: &str) -> Result<String, Failure> {
    Ok(cmd("INFO").arg(name).query_async(connection).await?)
}

fn member<'a>(section: &'a str, name: &str) -> Result<&'a str, Failure> {
    let mut lines = section.lines().filter_map(|line| line.split_once(':'));
    lines
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value.trim())
        .ok_or_else(|| Failure::impossible(format!("a server whose INFO says nothing of {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_and_missed() {
        let section = "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n";
        assert_eq!(member(section, "maxmemory_policy").unwrap(), "noeviction");
        assert!(member(section, "policy").is_err());
    }
}
