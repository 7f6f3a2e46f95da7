//! `[feed]`.

use std::{net::SocketAddr, time::Duration};

use chassis::config::{TlsMode, judge_endpoint};
use serde::Deserialize;

use crate::Variant;

/// `[feed]`: the port of a service replica that guards watch and that its peers ask.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    pub listen: SocketAddr,
    /// Where the other replicas reach `listen`: `https://host:port`. Empty: at the address itself, or, where that is any of
    /// this machine's, at the one from which the machine reaches others.
    pub advertise: String,
    /// For how long guards may answer without news.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// Not a setting: which rule is broken, which only this crate's own tests can say.
    #[serde(skip)]
    pub variant: Variant,
}

impl Feed {
    /// Everything that is wrong where connections are secured as `mode` says.
    pub fn problems(&self, mode: TlsMode) -> Vec<String> {
        let mut problems = Vec::new();
        if self.lease < Duration::from_millis(500) || self.lease > Duration::from_secs(10) {
            problems.push("lease: must be 500ms to 10s".to_owned());
        }
        let advertised = match self.advertise.as_str() {
            "" => Ok(()),
            name if name.starts_with("dns:") => {
                Err("must be the URL of this replica alone, and not a name of many")
            }
            url => judge_endpoint(url, mode),
        };
        if let Err(reason) = advertised {
            problems.push(format!("advertise: {:?} {reason}", self.advertise));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advertised(advertise: &str, mode: TlsMode) -> Vec<String> {
        let listen = SocketAddr::from(([127, 0, 0, 1], 7011));
        let lease = Duration::from_secs(2);
        Feed { listen, advertise: advertise.to_owned(), lease, variant: Variant::default() }.problems(mode)
    }

    #[test]
    fn what_is_advertised_is_how_the_port_is_served() {
        for (advertise, mode) in [
            ("", TlsMode::Mutual),
            ("", TlsMode::External),
            ("https://10.0.0.7:7011", TlsMode::Mutual),
            ("http://10.0.0.7:7011", TlsMode::External),
        ] {
            assert_eq!(advertised(advertise, mode), Vec::<String>::new(), "{advertise}");
        }
        for (advertise, mode, said) in [
            (
                "http://10.0.0.7:7011",
                TlsMode::Mutual,
                "must begin with https://, because tls.mode is \"mutual\"",
            ),
            (
                "https://10.0.0.7:7011",
                TlsMode::External,
                "must begin with http://, because tls.mode is \"external\"",
            ),
            ("https://10.0.0.7", TlsMode::Mutual, "must name a port"),
            ("10.0.0.7:7011", TlsMode::Mutual, "must begin with https://"),
            ("dns:auth-feed:7011", TlsMode::Mutual, "must be the URL of this replica alone"),
        ] {
            let problems = advertised(advertise, mode);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].starts_with(&format!("advertise: {advertise:?} {said}")), "{problems:?}");
        }
    }
}
