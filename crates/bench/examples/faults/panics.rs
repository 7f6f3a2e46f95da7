//! Panics, in the words of the hook that every process of ours sets (`chassis::process`). Rust's own are never said.

use std::fs;
use std::path::Path;

/// A line of a log, and what is said on standard error before there is a log.
const WORDS: [&str; 2] = [r#""message":"panic""#, "panic at "];

/// How many this text tells of.
pub fn told(text: &str) -> u64 {
    text.lines().filter(|line| WORDS.iter().any(|words| line.contains(words))).count() as u64
}

/// How many all files of `folder` tell of.
pub fn told_in(folder: &Path) -> u64 {
    let logs = fs::read_dir(folder).into_iter().flatten().flatten();
    let texts = logs.map(|log| fs::read(log.path()).unwrap_or_default());
    texts.map(|text| told(&String::from_utf8_lossy(&text))).sum()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, ExitCode, Stdio};

    use chassis::{process, telemetry};

    use super::*;

    /// Panics twice, before there is a log and with one.
    #[test]
    #[ignore = "a child of another test"]
    fn child_panics() {
        let stumble = || drop(std::thread::spawn(|| panic!("hunter2")).join());
        process::start("child", || {
            stumble();
            telemetry::init(&chassis::config::Log::default(), "child");
            stumble();
            Ok(ExitCode::SUCCESS)
        });
    }

    #[test]
    fn a_panic_of_a_process_of_ours_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let log = |name: &str| fs::File::create(folder.path().join(name)).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--ignored", "--exact", "--nocapture", "panics::tests::child_panics"]);
        child.stdin(Stdio::null()).stdout(log("child.log")).stderr(log("child.err"));
        assert!(child.status().unwrap().success());
        assert_eq!(told_in(folder.path()), 2, "{:?}", fs::read_to_string(folder.path().join("child.log")));
        assert_eq!(told("panics=0\nnobody panicked"), 0);
    }
}
