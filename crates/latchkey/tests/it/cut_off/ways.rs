//! Stacks whose auth-0 can lose its database, and the others.

use std::fs;

use servers::{Postgres, Sync};

use super::{apart, is_let_in};
use crate::away::with_routes;
use crate::cable::Cable;
use crate::stack::{Builder, PASSWORD, Stack, Tokens};
use crate::taken_back::{SHORT, ended};

/// auth-0's way to its database, and the others' way to ask it whether an ending holds there.
pub struct Ways {
    pub database: Cable,
    pub neighbours: Cable,
}

impl Ways {
    async fn of_auth_0(stack: &mut Stack, server: &Postgres) -> Ways {
        let (mut database, mut neighbours) = (Cable::new(), Cable::new());
        let here = format!("127.0.0.1:{}", server.port());
        let through = database.through(&format!("tcp://{here}")).await;
        let store = server.url().replace(&here, through.trim_start_matches("tcp://"));
        let config = fs::read_to_string(stack.state_dir().join("config/gateway-0.toml")).unwrap();
        let config: toml::Table = config.parse().unwrap();
        let feed = config["feeds"]["auth"]["endpoints"][0].as_str().unwrap();
        let feed = neighbours.through(feed).await;
        stack
            .reconfigure("auth-0", |table| {
                table["store"]["url"] = store.into();
                table["feed"].as_table_mut().unwrap().insert("advertise".to_owned(), feed.into());
            })
            .await;
        Ways { database, neighbours }
    }
}

/// A stack whose auth-0 can be cut off, its gateways, and two tokens that both of them let in.
pub async fn to_be_cut_off(server: &Postgres) -> (Stack, Ways, Vec<String>, [Tokens; 2]) {
    let mut stack = with_routes(Builder::new().settings("auth", SHORT), &server.url()).await;
    let ways = Ways::of_auth_0(&mut stack, server).await;
    apart(&mut stack).await;
    let tokens = [stack.token("alice", PASSWORD).await, stack.token("alice", PASSWORD).await];
    let gateways = stack.file.gateways.clone();
    for token in &tokens {
        is_let_in(&gateways, token).await;
    }
    // auth-1 asks first whom it knows, and it knows auth-0 from where that was before.
    ended(&gateways[1], &stack.token("alice", PASSWORD).await).await;
    (stack, ways, gateways, tokens)
}

/// A stack whose auth-services have a database of their own, whose standby became a primary that auth-1 has gone to. auth-0
/// does not know and is not told. Also a token that both gateways had let in, and that auth-1 has said to have ended.
pub async fn with_two_primaries(is_waited_for: bool) -> (Stack, Tokens, [Postgres; 3], Ways) {
    let (shared, deposed) = (Postgres::start(Sync::Off), Postgres::start(Sync::Off));
    let store = format!("[store]\nurl = \"{}\"\n", deposed.url());
    let builder = Builder::new().settings("auth", &format!("{SHORT}{store}"));
    let mut stack = with_routes(builder, &shared.url()).await;
    let ways = Ways::of_auth_0(&mut stack, &deposed).await;
    apart(&mut stack).await;
    let promoted = deposed.standby(is_waited_for);
    let ends = stack.token("alice", PASSWORD).await;
    let gateways = stack.file.gateways.clone();
    is_let_in(&gateways, &ends).await;
    ways.neighbours.cut();
    promoted.follows(&deposed);
    promoted.promote();
    let config = stack.state_dir().join("config/auth-1.toml");
    let moved = fs::read_to_string(&config).unwrap().replace(&deposed.url(), &promoted.url());
    fs::write(&config, moved).unwrap();
    // Asked to stop it would first say so in a database that answers nothing.
    stack.kill("auth-1");
    stack.replaced("auth-1").await;
    ended(&gateways[1], &ends).await;
    (stack, ends, [shared, deposed, promoted], ways)
}
