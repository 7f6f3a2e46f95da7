//! Whole processes: this test binary runs itself again, as one of the children below.

use std::io::{BufRead as _, BufReader, Lines, Read as _};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use latchkey_chassis::config::{self, Shutdown};
use latchkey_chassis::process;
use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process};
use tokio::signal::unix::{SignalKind, signal};

/// Ends this child as `main` would with `code`.
fn finish(code: ExitCode) -> ! {
    let is = |other: u8| format!("{code:?}") == format!("{:?}", ExitCode::from(other));
    std::process::exit((0..=u8::MAX).find(|code| is(*code)).unwrap().into())
}

fn run(child: &str) -> Child {
    start(of_this(child))
}

fn of_this(child: &str) -> Command {
    as_child(Command::new(std::env::current_exe().unwrap()), child)
}

/// By way of a program that becomes the one that it is given.
fn run_by(program: &str, child: &str) -> Child {
    let mut command = Command::new(program);
    command.arg(std::env::current_exe().unwrap());
    start(as_child(command, child))
}

fn as_child(mut command: Command, child: &str) -> Command {
    command.args(["--ignored", "--exact", "--nocapture", &format!("process::{child}")]);
    command
}

fn start(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until `child` serves; the lines that follow are to be kept, or the child writes to nobody.
fn serving(mut child: Child) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("serving")));
    (child, lines)
}

/// The exit code and what was said on standard error.
fn end(mut child: Child) -> (Option<i32>, String) {
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

#[test]
#[ignore = "a child of another test"]
fn child_serves() {
    let shutdown = Shutdown { settle: Duration::ZERO, drain: Duration::from_secs(5) };
    finish(process::start("child", || {
        process::serve(shutdown, |life| async move {
            let draining = life.draining();
            life.spawn("server", async move { draining.cancelled().await });
            println!("serving");
            Ok(())
        })
    }))
}

#[test]
#[ignore = "a child of another test"]
fn child_is_busy() {
    let shutdown = Shutdown { settle: Duration::ZERO, drain: Duration::from_secs(60) };
    finish(process::start("child", || {
        process::serve(shutdown, |life| async move {
            let (release, released) = tokio::sync::oneshot::channel::<()>();
            let mut asked = signal(SignalKind::user_defined1())?;
            tokio::spawn(async move {
                asked.recv().await;
                drop(release);
            });
            let draining = life.draining();
            life.spawn("server", async move {
                draining.cancelled().await;
                println!("draining");
                let _ = released.await;
                println!("finished");
            });
            println!("serving");
            Ok(())
        })
    }))
}

#[test]
#[ignore = "a child of another test"]
fn child_says() {
    process::prepare();
    process::say("to nobody");
    std::process::exit(7);
}

#[test]
#[ignore = "a child of another test"]
fn child_fails() {
    finish(process::start("child", || {
        process::serve(Shutdown::default(), |life| async move {
            life.spawn("watcher", async { Err::<(), _>("the feed broke off") });
            Ok(())
        })
    }))
}

#[test]
#[ignore = "a child of another test"]
fn child_is_misconfigured() {
    #[derive(serde::Deserialize)]
    struct Config {}
    impl config::Validate for Config {
        fn problems(&self) -> Vec<String> {
            vec!["one: must be set".into(), "two: must be set".into()]
        }
    }
    finish(process::start("child", || {
        config::load::<Config>("", None, vec![])?;
        Ok(ExitCode::SUCCESS)
    }))
}

#[test]
#[ignore = "a child of another test"]
fn child_panics() {
    finish(process::start("child", || {
        process::serve(Shutdown::default(), |life| async move {
            life.spawn("stumbler", async {
                if life_is_hard() {
                    panic!("hunter2")
                }
            });
            Ok(())
        })
    }))
}

fn life_is_hard() -> bool {
    true
}

#[test]
fn sigterm_sigint_and_sighup_drain_and_exit_zero() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let (child, _lines) = serving(run("child_serves"));
        kill_process(Pid::from_child(&child), signal).unwrap();
        let (code, said) = end(child);
        assert_eq!(code, Some(0), "{said}");
    }
}

/// A terminal that closes tells its processes twice: itself, and through the shell.
#[test]
fn only_a_second_sigterm_or_sigint_cuts_off() {
    for (first, second, cuts_off) in [
        (Signal::HUP, Signal::HUP, false),
        (Signal::TERM, Signal::HUP, false),
        (Signal::HUP, Signal::TERM, true),
    ] {
        let (child, mut lines) = serving(run("child_is_busy"));
        kill_process(Pid::from_child(&child), first).unwrap();
        assert!(lines.any(|line| line.unwrap().contains("draining")));
        kill_process(Pid::from_child(&child), second).unwrap();
        if !cuts_off {
            // Its work may end now.
            kill_process(Pid::from_child(&child), Signal::USR1).unwrap();
        }
        let finished = lines.any(|line| line.unwrap().contains("finished"));
        assert_eq!(finished, !cuts_off, "{first:?} {second:?}");
        end(child);
    }
}

#[test]
fn sighup_stays_ignored_where_nohup_had_it_ignored() {
    for (child, ignored) in [(run("child_serves"), false), (run_by("nohup", "child_serves"), true)] {
        let (child, _lines) = serving(child);
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
        assert_eq!(mask & 1 == 1, ignored, "{mask:x}");
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(end(child).0, Some(0));
    }
}

/// As a terminal that was closed, every write fails.
#[test]
fn what_nobody_hears_kills_nobody() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for (child, code) in [("child_says", 7), ("child_fails", 1), ("child_panics", 1)] {
        let mut command = of_this(child);
        let ended = command.stdout(Stdio::null()).stderr(full()).status().unwrap();
        assert_eq!(ended.code(), Some(code), "{child}: {ended}");
    }
}

#[test]
fn a_failed_task_exits_one_and_says_why() {
    let (code, said) = end(run("child_fails"));
    assert_eq!(code, Some(1));
    assert!(said.contains("child: watcher: the feed broke off\n"), "{said}");
}

#[test]
fn each_problem_is_a_line_of_its_own() {
    let (code, said) = end(run("child_is_misconfigured"));
    assert_eq!(code, Some(1));
    assert!(said.contains("child: one: must be set\nchild: two: must be set\n"), "{said}");
}

#[test]
fn s08_what_a_panic_carries_is_said_nowhere() {
    let (code, said) = end(run("child_panics"));
    assert_eq!(code, Some(1));
    assert!(said.contains("panic at ") && said.contains("process.rs"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn s08_core_dumps_are_off() {
    process::prepare();
    let limit = getrlimit(Resource::Core);
    assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(line.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{line}");
}
