//! A token that is made while something else is done: its auth-service waits for the roles.

use std::fs;
use std::time::Duration;

use tokio::time::sleep;

use super::apart;
use crate::cable::Cable;
use crate::stack::{Stack, Tokens, client};

/// auth-0 hears policy-service through a cable, and gateway-0 has its tokens from auth-0.
pub async fn asks_policy_through_a_cable(stack: &mut Stack) -> Cable {
    let mut cable = Cable::new();
    let config = fs::read_to_string(stack.state_dir().join("config/auth-0.toml")).unwrap();
    let config: toml::Table = config.parse().unwrap();
    let mut urls = Vec::new();
    for url in config["peers"]["policy"]["endpoints"].as_array().unwrap() {
        urls.push(toml::Value::from(cable.through(url.as_str().unwrap()).await));
    }
    stack.reconfigure("auth-0", |table| table["peers"]["policy"]["endpoints"] = urls.into()).await;
    apart(stack).await;
    cable
}

/// Refreshes over a cable whose answers are held back while `meanwhile` is done. `None`: it took so long that auth-service gave up.
pub async fn refreshed_while(
    cable: &Cable,
    gateway: &str,
    tokens: &Tokens,
    meanwhile: impl AsyncFnOnce(),
) -> Option<Tokens> {
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "first-party"),
        ("refresh_token", &tokens.refresh_token),
    ];
    let request = client().post(format!("{gateway}/oauth2/token")).form(&form).send();
    cable.mute();
    let change = async {
        // It asks for the roles as they are before the change.
        sleep(Duration::from_millis(200)).await;
        meanwhile().await;
        cable.mend();
    };
    let (answer, ()) = tokio::join!(request, change);
    answer.unwrap().error_for_status().ok()?.json().await.ok()
}
