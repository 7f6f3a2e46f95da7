//! The first and last lines of every process.

mod hangup;

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use hangup::Hangup;

use crate::config::Shutdown;
use crate::lifecycle::{Exit, Lifecycle};

/// Runs `body` as the whole of a process: the cryptography provider installed, core dumps off, panics logged without
/// what they carry. What goes wrong becomes one line a problem on standard error and a non-zero exit.
pub fn start(name: &'static str, body: impl FnOnce() -> anyhow::Result<ExitCode>) -> ExitCode {
    prepare();
    match body() {
        Ok(code) => code,
        Err(error) => {
            // An error that reports several problems has one line for each.
            for line in crate::status::chain(error.as_ref()).lines() {
                say(format_args!("{name}: {line}"));
            }
            ExitCode::FAILURE
        }
    }
}

/// A line on standard error, for whom it concerns. `eprintln!` panics where nobody is left to read it, as when the
/// terminal was closed, and a process that is stopping in good order would die of that.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The calling thread runs where the others leave it a core: in the long run with a tenth of the weight of one of theirs.
pub fn give_way() {
    // On Linux a priority is a thread's. Lowering one's own is always allowed, raising it is not: whoever started us may have
    // asked for less.
    let lowered = rustix::process::getpriority_process(None)
        .and_then(|present| rustix::process::setpriority_process(None, present.max(10)));
    if let Err(error) = lowered {
        tracing::warn!(%error, "a thread's priority could not be lowered");
    }
}

/// What every process does first, also one that is not a service. Doing it again changes nothing.
pub fn prepare() {
    // An error means that a provider is installed: nothing else in the workspace does that.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Memory holds passwords and keys; a core file would put them on disk (S08).
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = rustix::process::setrlimit(Resource::Core, none) {
        say(format_args!("core dumps cannot be switched off: {error}"));
    }
    std::panic::set_hook(Box::new(|panic| {
        // The payload may quote what the code stumbled over. Where it happened is enough to find it.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!(place, thread, "panic");
        if tracing::dispatcher::has_been_set() {
            return;
        }
        say(format_args!("panic at {place} in thread {thread}"));
    }));
}

/// A runtime with every core, and a life that listens to signals. `begin` starts everything on the lifecycle; what
/// it returns is kept until the process has stopped.
pub fn serve<F, Fut, R>(shutdown: Shutdown, begin: F) -> anyhow::Result<ExitCode>
where
    F: FnOnce(Lifecycle) -> Fut,
    Fut: Future<Output = anyhow::Result<R>>,
{
    serve_on(runtime()?, shutdown, begin)
}

/// On every core that this process may use. On one, threads would only take it from one another.
pub fn runtime() -> std::io::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut builder = match cores {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

/// As [`serve`], on a runtime of the caller's making: a process that does its work on threads of its own wants a
/// small one here.
pub fn serve_on<F, Fut, R>(runtime: Runtime, shutdown: Shutdown, begin: F) -> anyhow::Result<ExitCode>
where
    F: FnOnce(Lifecycle) -> Fut,
    Fut: Future<Output = anyhow::Result<R>>,
{
    let code = runtime.block_on(live(shutdown, begin));
    // Blocking work that is still running (a hash, a query) must not hold the process up.
    runtime.shutdown_background();
    crate::telemetry::traces::flush();
    code
}

async fn live<F, Fut, R>(shutdown: Shutdown, begin: F) -> anyhow::Result<ExitCode>
where
    F: FnOnce(Lifecycle) -> Fut,
    Fut: Future<Output = anyhow::Result<R>>,
{
    let lifecycle = Lifecycle::new(shutdown);
    listen_to_signals(&lifecycle)?;
    let stopping = lifecycle.stopping();
    let running = tokio::select! {
        begun = begin(lifecycle.clone()) => Some(begun?),
        // A signal during the start stops it where it is: there is nothing to drain yet.
        () = stopping.cancelled() => {
            lifecycle.end();
            None
        }
    };
    let exit = lifecycle.run_until_stopped().await;
    let begun = running.is_some();
    drop(running);
    match exit {
        Exit::Failed { task, reason } => Err(anyhow::anyhow!("{task}: {reason}")),
        Exit::CutOff { .. } if !begun => Ok(ExitCode::SUCCESS),
        exit => Ok(exit.code()),
    }
}

/// SIGTERM and SIGINT begin to stop, and so does SIGHUP unless something is read anew by it; a second SIGTERM or SIGINT
/// cuts off.
fn listen_to_signals(lifecycle: &Lifecycle) -> std::io::Result<()> {
    let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let obeying = obey(terminate, interrupt, Hangup::listen()?, lifecycle.clone());
    lifecycle.spawn_support("signals", obeying);
    Ok(())
}

async fn obey(mut terminate: Signal, mut interrupt: Signal, mut hangup: Hangup, lifecycle: Lifecycle) {
    loop {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            () = hangup.recv() => "SIGHUP",
        };
        if name == "SIGHUP" && lifecycle.reload() {
            tracing::info!(signal = name, "asked to reload");
        } else if !lifecycle.is_stopping() {
            tracing::info!(signal = name, "asked to stop");
            lifecycle.trigger();
        } else if name != "SIGHUP" {
            // A terminal that closes may say so twice, itself and through the shell: that is no hurry.
            tracing::warn!(signal = name, "asked again: stopping at once");
            lifecycle.end();
        }
    }
}
