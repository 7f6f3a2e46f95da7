//! Story: an operator changes the routes of a running stack, makes a mistake, and loses a replica of the application.

use std::fs;

use rustix::process::Signal;

use super::stack::{Stack, client, eventually};

async fn status(stack: &Stack, path: &str) -> u16 {
    stack.get(path).send().await.unwrap().status().as_u16()
}

async fn readyz(stack: &Stack) -> String {
    let url = format!("{}/readyz?verbose", stack.file.operations["gateway-0"]);
    client().get(url).send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn routes_change_without_a_restart() {
    let stack = Stack::start().await;
    let file = stack.state_dir().join("routes.toml");
    let first = fs::read_to_string(&file).unwrap();
    let second = format!("{first}\n[[route]]\npath = \"/new/*\"\naccept = []\nupstream = \"echo\"\n");
    assert_eq!(status(&stack, "/new/x").await, 404);
    fs::write(&file, &second).unwrap();
    eventually("the new route is there", async || (status(&stack, "/new/x").await == 200).then_some(()))
        .await;
    assert!(readyz(&stack).await.contains("\nok: route file"));

    fs::write(&file, second.replace("path = \"/new/*\"\naccept = []", "path = \"/new/*\"")).unwrap();
    let told = eventually("the mistake is told", async || {
        let told = readyz(&stack).await;
        told.contains("not ok: route file").then_some(told)
    })
    .await;
    assert!(told.starts_with("ready\n") && told.contains("route /new/*: accept is missing"), "{told}");
    assert!(stack.log("gateway-0").contains("route /new/*: accept is missing"));
    assert_eq!(status(&stack, "/new/x").await, 200, "the former routes stay");

    fs::write(&file, &first).unwrap();
    eventually("it is taken back", async || (status(&stack, "/new/x").await == 404).then_some(())).await;
    eventually("it is told", async || readyz(&stack).await.contains("\nok: route file").then_some(())).await;
}

async fn readings(stack: &Stack, outcome: &str) -> u64 {
    let name = format!("latchkey_gateway_routes_reloads_total{{outcome=\"{outcome}\"}}");
    stack.metric("gateway-0", &name).await
}

#[tokio::test]
async fn sighup_has_the_routes_read_at_once_and_whole_or_not_at_all() {
    let stack = Stack::start().await;
    let (file, gateway) = (stack.state_dir().join("routes.toml"), stack.pid("gateway-0"));
    let with = |path: &str, accept: &str| {
        format!(
            "[upstream.echo]\nendpoints = [\"{}\"]\n[[route]]\npath = \"/{path}/*\"\naccept = {accept}\nupstream = \"echo\"\n",
            stack.file.echo[0]
        )
    };
    fs::write(&file, with("one", "[]")).unwrap();
    eventually("it is noticed", async || (status(&stack, "/one/x").await == 200).then_some(())).await;
    let before = readings(&stack, "loaded").await;

    // Nothing has changed, so nothing but the signal can have it read.
    stack.signal("gateway-0", Signal::HUP);
    eventually("it is read", async || (readings(&stack, "loaded").await == before + 1).then_some(())).await;
    assert_eq!(status(&stack, "/one/x").await, 200);

    fs::write(&file, with("two", "12")).unwrap();
    stack.signal("gateway-0", Signal::HUP);
    eventually("it is refused", async || (readings(&stack, "refused").await > 0).then_some(())).await;
    assert_eq!(status(&stack, "/one/x").await, 200);
    assert_eq!(status(&stack, "/two/x").await, 404);
    assert!(readyz(&stack).await.contains("not ok: route file"));

    fs::write(&file, with("two", "[]")).unwrap();
    stack.signal("gateway-0", Signal::HUP);
    eventually("it is read", async || (status(&stack, "/two/x").await == 200).then_some(())).await;
    assert_eq!(status(&stack, "/one/x").await, 404);
    assert_eq!(stack.pid("gateway-0"), gateway);
    assert!(super::stack::alive(gateway), "it is still the same process");
}

#[tokio::test]
async fn a_replica_of_the_application_dies_and_nobody_notices() {
    let stack = Stack::start().await;
    assert!(stack.file.echo.len() > 1, "there are several");
    for _ in 0..20 {
        assert_eq!(status(&stack, "/app/public/x").await, 200);
    }
    stack.kill("echo-1");
    for _ in 0..50 {
        assert_eq!(status(&stack, "/app/public/x").await, 200);
    }
}
