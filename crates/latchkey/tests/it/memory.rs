//! Two session-services that each keep sessions in their own memory, behind one gateway that takes them for replicas.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use servers::free_port;
use toml::{Table, Value};

use super::stack::{Builder, PASSWORD, Stack, client, eventually, program};

/// A process beside the stack, of the same files.
pub struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        // Asked first: what it has loaded may have something to put away.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        for _ in 0..500 {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `service` with the configuration of `like`, less its addresses, and with what `change` does to it.
pub fn serve(
    stack: &Stack,
    (service, like): (&str, &str),
    variables: &[(&str, &str)],
    change: impl FnOnce(&mut Table),
) -> Beside {
    let text = fs::read_to_string(stack.state_dir().join(format!("config/{like}.toml"))).unwrap();
    let mut configuration: Table = text.parse().unwrap();
    change(&mut configuration);
    let file = stack.folder().join(format!("{service}-beside-{}.toml", free_port()));
    fs::write(&file, configuration.to_string()).unwrap();
    let log = fs::File::create(file.with_extension("log")).unwrap();
    let mut command = program();
    command.args(["serve", service, "--config"]).arg(&file).current_dir(stack.folder());
    command.envs(variables.iter().copied());
    Beside(command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
}

pub fn listen(configuration: &mut Table, section: &str) -> u16 {
    let port = free_port();
    let section = configuration.entry(section).or_insert_with(|| Table::new().into());
    section.as_table_mut().unwrap().insert("listen".into(), format!("127.0.0.1:{port}").into());
    port
}

fn second_session_service(stack: &Stack) -> (Beside, u16) {
    let mut port = 0;
    let beside = serve(stack, ("session", "session-0"), &[], |configuration| {
        port = listen(configuration, "server");
        listen(configuration, "operations");
    });
    (beside, port)
}

async fn asked(port: u16, path: &str) -> Option<(u16, String)> {
    let answer = client().get(format!("http://127.0.0.1:{port}{path}")).send().await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

pub async fn until(operations: u16, status: u16, line: &str) -> String {
    eventually(&format!("{status} with {line}"), async || {
        let (seen, text) = asked(operations, "/readyz?verbose").await?;
        (seen == status && text.contains(line)).then_some(text)
    })
    .await
}

#[tokio::test]
async fn a_gateway_that_sees_two_memories_is_not_ready_and_says_why_until_there_is_one() {
    let mut stack = Builder::new().arguments(&["--sessions", "memory"]).start().await;
    let (second, second_port) = second_session_service(&stack);
    let (mut public, mut operations) = (0, 0);
    let _gateway = serve(&stack, ("gateway", "gateway-0"), &[], |configuration| {
        (public, operations) = (listen(configuration, "server"), listen(configuration, "operations"));
        configuration.remove("internal");
        let endpoints = configuration["peers"]["session"]["endpoints"].as_array_mut().unwrap();
        endpoints.push(Value::from(format!("https://127.0.0.1:{second_port}")));
    });

    let told = until(operations, 503, "not ok: one memory of session: 2 replicas").await;
    assert!(told.starts_with("not ready\n"), "{told}");
    let gauge = "latchkey_process_condition{condition=\"one memory of session\"} ";
    let (_, metrics) = asked(operations, "/metrics").await.unwrap();
    assert!(metrics.contains(&format!("{gauge}0")), "{metrics}");
    assert!(metrics.contains("latchkey_process_ready 0"), "{metrics}");

    // The mistake is taken back.
    drop(second);
    until(operations, 200, "ok: one memory of session\n").await;
    let (_, metrics) = asked(operations, "/metrics").await.unwrap();
    assert!(metrics.contains(&format!("{gauge}1")), "{metrics}");

    // One that takes the place of another is what a restart is: the sessions are gone, and nothing else is wrong.
    stack.register("alice").await;
    stack.session("alice", PASSWORD).await;
    stack.kill("session-0");
    stack.replaced("session-0").await;
    until(operations, 200, "\nok: session (neighbour)").await;
    stack.session("alice", PASSWORD).await;
    until(operations, 200, "\nok: one memory of session\n").await;
    let log = fs::read_dir(stack.folder()).unwrap().flatten().find(|entry| {
        let name = entry.file_name().into_string().unwrap();
        name.starts_with("gateway-beside") && name.ends_with(".log")
    });
    let log = fs::read_to_string(log.unwrap().path()).unwrap();
    let lost = log.lines().filter(|line| line.contains("\"lost\"") && line.contains("one memory of session"));
    assert_eq!(lost.count(), 1, "{log}");
}
