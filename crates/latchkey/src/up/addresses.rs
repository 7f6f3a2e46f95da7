//! Which port each process of a local stack listens on. The gateway's are what the user asked for; the others are free ones,
//! chosen once and remembered, so that URLs, and with them the issuer of every token, stay the same over restarts.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::{Range, RangeInclusive};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::replicas::Replicas;
use crate::private_file;

/// Below the ports that Linux and macOS hand out to outgoing connections: one of those could be taken between our look and
/// the child's bind.
const CHOSEN_FROM: Range<u16> = 15_000..30_000;

/// How many ports each stack has to itself: more than most have.
const BLOCK: u16 = 64;

/// Where a process looks that was not told where: two stacks that start at the same moment look at the same ports before
/// either of them listens, so each process begins in a block of its own.
pub fn block_of(process: u32) -> u16 {
    let blocks = u32::from((CHOSEN_FROM.end - CHOSEN_FROM.start) / BLOCK);
    CHOSEN_FROM.start + u16::try_from(process % blocks).unwrap_or_default() * BLOCK
}

/// How many echo applications stand behind the gateway.
pub const ECHOES: usize = 2;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addresses {
    pub gateways: Vec<Gateway>,
    pub auth: Vec<Service>,
    pub session: Vec<Service>,
    pub policy: Vec<Service>,
    pub echo: [u16; ECHOES],
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    pub public: u16,
    pub internal: u16,
    pub operations: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub grpc: u16,
    /// 0 in the files of versions that had no feed.
    #[serde(default)]
    pub feed: u16,
    pub operations: u16,
}

pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The addresses of the last run, if there was one.
pub fn remembered(file: &Path) -> Result<Option<Addresses>> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", file.display())),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .with_context(|| format!("{} is damaged: remove it to have other ports chosen", file.display()))
}

/// The addresses of this run. `port` is the first gateway's public one, its internal one follows it; 0: any free ones.
/// Those that are chosen are the first free ones from `from` on.
pub fn choose(port: u16, replicas: &Replicas, before: Option<&Addresses>, from: u16) -> Result<Addresses> {
    let mut free = Free { from, untried: from..=u16::MAX, held: Vec::new() };
    let mut gateways = Vec::with_capacity(replicas.gateway);
    for replica in 0..replicas.gateway {
        let before = before.and_then(|before| before.gateways.get(replica));
        let (public, internal) = if replica == 0 && port != 0 {
            free.demand_two(port)?
        } else {
            (
                free.same_or_another(before.map(|before| before.public))?,
                free.same_or_another(before.map(|before| before.internal))?,
            )
        };
        let operations = free.same_or_another(before.map(|before| before.operations))?;
        gateways.push(Gateway { public, internal, operations });
    }
    let mut services = |replicas: usize, before: Option<&Vec<Service>>| -> Result<Vec<Service>> {
        let before = |replica: usize| before.and_then(|before| before.get(replica));
        let service = |replica| {
            Ok(Service {
                grpc: free.same_or_another(before(replica).map(|before| before.grpc))?,
                feed: free
                    .same_or_another(before(replica).map(|before| before.feed).filter(|port| *port != 0))?,
                operations: free.same_or_another(before(replica).map(|before| before.operations))?,
            })
        };
        (0..replicas).map(service).collect()
    };
    let auth = services(replicas.auth, before.map(|before| &before.auth))?;
    let session = services(replicas.session, before.map(|before| &before.session))?;
    let policy = services(replicas.policy, before.map(|before| &before.policy))?;
    let mut echo = [0; ECHOES];
    for (replica, port) in echo.iter_mut().enumerate() {
        *port = free.same_or_another(before.and_then(|before| before.echo.get(replica).copied()))?;
    }
    Ok(Addresses { gateways, auth, session, policy, echo })
}

impl Addresses {
    pub fn remember(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).context("addresses cannot be written as JSON")?;
        private_file::write_public(file, &text)
    }

    /// The replicas of a backing service.
    pub fn of(&self, service: &str) -> &[Service] {
        match service {
            "auth" => &self.auth,
            "session" => &self.session,
            "policy" => &self.policy,
            _ => &[],
        }
    }

    /// The first gateway's: what the outside knows, and every token's issuer.
    pub fn public_url(&self) -> String {
        self.public_urls().into_iter().next().unwrap_or_default()
    }

    pub fn public_urls(&self) -> Vec<String> {
        self.gateways.iter().map(|gateway| format!("http://{}", loopback(gateway.public))).collect()
    }

    pub fn internal_urls(&self) -> Vec<String> {
        self.gateways.iter().map(|gateway| format!("http://{}", loopback(gateway.internal))).collect()
    }

    pub fn echo_urls(&self) -> Vec<String> {
        self.echo.iter().map(|port| format!("http://{}", loopback(*port))).collect()
    }
}

/// Finds ports that nothing listens on, each once: those found are held until all are.
struct Free {
    from: u16,
    untried: RangeInclusive<u16>,
    held: Vec<TcpListener>,
}

impl Free {
    fn demand_two(&mut self, port: u16) -> Result<(u16, u16)> {
        let Some(internal) = port.checked_add(1) else {
            bail!("--port {port} leaves no port after it for the gateway's internal listener");
        };
        self.demand(port, "for the gateway's public listener: choose another with --port")?;
        self.demand(internal, "for the gateway's internal listener, the port after --port")?;
        Ok((port, internal))
    }

    fn demand(&mut self, port: u16, purpose: &str) -> Result<()> {
        let address = loopback(port);
        match TcpListener::bind(address) {
            Ok(listener) => {
                self.held.push(listener);
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                bail!("port in use: {address} is needed {purpose}")
            }
            Err(error) => Err(error).with_context(|| format!("cannot listen on {address}, needed {purpose}")),
        }
    }

    fn same_or_another(&mut self, before: Option<u16>) -> Result<u16> {
        if let Some(port) = before
            && self.take(port)
        {
            return Ok(port);
        }
        while let Some(port) = self.untried.next() {
            if self.take(port) {
                return Ok(port);
            }
        }
        bail!("no free port from {} on: name another place with --ports-from", self.from)
    }

    fn take(&mut self, port: u16) -> bool {
        TcpListener::bind(loopback(port)).map(|listener| self.held.push(listener)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn all(addresses: &Addresses) -> Vec<u16> {
        let Addresses { gateways, auth, session, policy, echo } = addresses;
        let mut all: Vec<u16> = echo.to_vec();
        for Gateway { public, internal, operations } in gateways {
            all.extend([*public, *internal, *operations]);
        }
        for Service { grpc, feed, operations } in [auth, session, policy].into_iter().flatten() {
            all.extend([*grpc, *feed, *operations]);
        }
        all
    }

    fn choose(port: u16, before: Option<&Addresses>, process: u32) -> Result<Addresses> {
        super::choose(port, &"1".parse().unwrap(), before, block_of(process))
    }

    #[test]
    fn all_are_different_and_the_next_run_has_the_same() {
        let first = choose(0, None, 1).unwrap();
        assert_eq!(all(&first).iter().collect::<HashSet<_>>().len(), 14);
        assert_eq!(choose(0, Some(&first), 2).unwrap(), first);
    }

    #[test]
    fn more_replicas_leave_the_first_where_they_are() {
        let one = choose(0, None, 7).unwrap();
        let three = super::choose(0, &"3".parse().unwrap(), Some(&one), block_of(8)).unwrap();
        assert_eq!(all(&three).iter().collect::<HashSet<_>>().len(), 2 + 3 * 12);
        assert_eq!((&three.gateways[0], &three.auth[0]), (&one.gateways[0], &one.auth[0]));
        assert_eq!(three.public_url(), one.public_url(), "the issuer stays");
    }

    #[test]
    fn what_an_older_version_remembered_is_kept_and_completed() {
        let first = choose(0, None, 9).unwrap();
        let mut older = serde_json::to_value(&first).unwrap();
        for service in ["auth", "session", "policy"] {
            older[service][0].as_object_mut().unwrap().remove("feed");
        }
        let older: Addresses = serde_json::from_value(older).unwrap();
        let now = choose(0, Some(&older), 10).unwrap();
        assert_eq!(now.auth[0].grpc, first.auth[0].grpc);
        assert!(all(&now).iter().all(|port| *port != 0));
    }

    #[test]
    fn neighbouring_processes_choose_apart() {
        let (one, other) = (choose(0, None, 70_000).unwrap(), choose(0, None, 70_001).unwrap());
        assert!(all(&one).iter().all(|port| !all(&other).contains(port)), "{one:?} {other:?}");
        assert!(all(&one).len() <= usize::from(BLOCK));
    }

    #[test]
    fn those_told_where_to_look_look_there_and_not_past_the_last_port() {
        let one = "1".parse().unwrap();
        let told = super::choose(0, &one, None, 14_000).unwrap();
        assert!(all(&told).iter().all(|port| (14_000..15_000).contains(port)), "{told:?}");
        let error = super::choose(0, &one, None, 65_530).unwrap_err().to_string();
        assert!(error.contains("65530") && error.contains("--ports-from"), "{error}");
    }

    #[test]
    fn a_remembered_port_that_was_taken_meanwhile_is_replaced_alone() {
        let first = choose(0, None, 3).unwrap();
        let _taken = TcpListener::bind(loopback(first.policy[0].grpc)).unwrap();
        let second = choose(0, Some(&first), 4).unwrap();
        assert_ne!(second.policy[0].grpc, first.policy[0].grpc);
        assert_eq!(second.gateways, first.gateways);
        assert_eq!(second.echo, first.echo);
    }

    #[test]
    fn a_demanded_port_in_use_is_an_error_that_names_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = choose(port, None, 5).unwrap_err().to_string();
        assert!(error.contains("port in use") && error.contains(&port.to_string()), "{error}");
    }

    #[test]
    fn the_last_port_has_none_after_it() {
        assert!(choose(65_535, None, 6).unwrap_err().to_string().contains("65535"));
    }
}
