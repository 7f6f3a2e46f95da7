//! `[feed]`.

use std::{net::SocketAddr, time::Duration};

use serde::Deserialize;

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
}

impl Feed {
    /// Everything that is wrong.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.lease < Duration::from_millis(500) || self.lease > Duration::from_secs(10) {
            problems.push("lease: must be 500ms to 10s".to_owned());
        }
        let is_url = self.advertise.starts_with("https://") || self.advertise.starts_with("http://");
        if !self.advertise.is_empty() && !is_url {
            problems.push("advertise: must be a URL such as https://10.0.0.7:7011".to_owned());
        }
        problems
    }
}
