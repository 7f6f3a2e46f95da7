//! Credentials shown to every gateway: good ones to the application, ended ones to the trap.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Answer, Asked, DEADLINE, ENDING_DEADLINE, Repeat};
use crate::ledger::Op;
use crate::load::REFRESH_WITHIN;
use crate::world::{Family, World, is_of_another, refresh};

/// How often an ending that was not confirmed, and a refresh that was not answered, is repeated.
const TRIES: usize = 60;
const PAUSE: Duration = Duration::from_millis(300);

/// What a refresh came to.
pub enum Refreshed {
    To {
        refresh_token: String,
        access_token: String,
    },
    /// The token is worth nothing.
    Refused,
    Unclear,
}

impl World {
    /// A call with a token that is good; what was answered.
    pub async fn calls(&self, gateway: usize, path: &str, token: &str, owner: &str) -> Option<u16> {
        let t_send = self.ledger.now();
        let request = |http: &reqwest::Client, url: &str| http.get(format!("{url}{path}")).bearer_auth(token);
        let sent = (self.clients.send_to(gateway, DEADLINE, request).await, Asked::only(gateway));
        let answer = self.note(Op::Bearer, "", t_send, sent, |answer, entry| {
            entry.wrong_user = is_of_another(answer, owner);
        });
        answer.map(|answer| answer.status)
    }

    /// A token of what has ended is shown to every gateway.
    pub async fn shows_token(&self, object: &str, path: &str, token: &str) {
        for gateway in 0..self.clients.replicas() {
            let request =
                |http: &reqwest::Client, url: &str| http.get(format!("{url}{path}")).bearer_auth(token);
            self.shows(object, gateway, request).await;
        }
    }

    /// As [`World::shows_token`], a session's cookie.
    pub async fn shows_cookie(&self, object: &str, path: &str, cookie: &str) {
        for gateway in 0..self.clients.replicas() {
            let request =
                |http: &reqwest::Client, url: &str| http.get(format!("{url}{path}")).header("cookie", cookie);
            self.shows(object, gateway, request).await;
        }
    }

    /// As [`World::shows_token`], a refresh token.
    pub async fn shows_refresh_token(&self, object: &str, refresh_token: &str) {
        for gateway in 0..self.clients.replicas() {
            let request = |http: &reqwest::Client, url: &str| refresh(http, url, refresh_token);
            self.shows(object, gateway, request).await;
        }
    }

    async fn shows(
        &self,
        object: &str,
        gateway: usize,
        request: impl Fn(&reqwest::Client, &str) -> reqwest::RequestBuilder,
    ) {
        let t_send = self.ledger.now();
        let sent = (self.clients.send_to(gateway, DEADLINE, request).await, Asked::only(gateway));
        self.note(Op::Ended, object, t_send, sent, |_, _| ());
    }

    /// Everything of a family that has ended is shown to every gateway.
    pub async fn shows_family(&self, object: &str, family: &Family) {
        self.shows_token(object, "/trap/token/x", &family.access_token).await;
        self.shows_refresh_token(object, &family.refresh_token).await;
    }

    /// Asks for the end of `object` until that is acknowledged; whether it was.
    pub async fn ends(
        &self,
        object: &str,
        request: impl Fn(&reqwest::Client, &str) -> reqwest::RequestBuilder,
    ) -> bool {
        for _ in 0..TRIES {
            let t_send = self.ledger.now();
            let sent = self.clients.send(ENDING_DEADLINE, Repeat::NotSafe, &request).await;
            let answer = self.note(Op::End, object, t_send, sent, |_, _| ());
            if answer.is_some_and(|answer| answer.is_acknowledged()) {
                return true;
            }
            tokio::time::sleep(PAUSE).await;
        }
        false
    }

    /// One refresh at this gateway. What comes of it is the caller's to judge.
    pub async fn refreshes(&self, gateway: usize, op: Op, object: &str, refresh_token: &str) -> Refreshed {
        let t_send = self.ledger.now();
        let request = |http: &reqwest::Client, url: &str| refresh(http, url, refresh_token);
        let sent = (self.clients.send_to(gateway, DEADLINE, request).await, Asked::only(gateway));
        self.note(op, object, t_send, sent, |_, _| ()).map_or(Refreshed::Unclear, |answer| refreshed(&answer))
    }

    /// Until it is answered clearly, or the grace window that began at `since` may have closed.
    pub async fn refreshes_in_grace(&self, since: Instant, object: &str, refresh_token: &str) -> Refreshed {
        let mut gateway = 0;
        while since.elapsed() < REFRESH_WITHIN {
            gateway = (gateway + 1) % self.clients.replicas();
            match self.refreshes(gateway, Op::Refresh, object, refresh_token).await {
                Refreshed::Unclear => tokio::time::sleep(PAUSE).await,
                clear => return clear,
            }
        }
        Refreshed::Unclear
    }
}

pub fn refreshed(answer: &Answer) -> Refreshed {
    let said = answer.json();
    let member = |name: &str| said[name].as_str().map(str::to_owned);
    match (answer.status, member("refresh_token"), member("access_token")) {
        (200, Some(refresh_token), Some(access_token)) => Refreshed::To { refresh_token, access_token },
        (400..=403, ..) => Refreshed::Refused,
        _ => Refreshed::Unclear,
    }
}
