//! The README's tour, run as a reader would run it: every command in a `console` block is given to a shell beside a stack,
//! and what it prints must be what the page shows, but for ids, times and the like.
//!
//! `LATCHKEY_GENERATE=1 cargo nextest run -p latchkey readme` writes the page's output anew.

use std::{fs, path::Path, process::Command};

use regex::Regex;

use crate::stack::{Stack, program, text};

const FENCE: &str = "```";

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "a test's own switch is not configuration")]
async fn tour_prints_what_the_readme_shows() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let shown = fs::read_to_string(&page).unwrap();
    let stack = Stack::start().await;
    let mut printed = String::new();
    let mut commands = 0;
    let mut in_console = false;
    for line in shown.lines() {
        if line.starts_with(FENCE) {
            in_console = line == "```console";
        } else if let (true, Some(command)) = (in_console, line.strip_prefix("$ ")) {
            commands += 1;
            printed.push_str(&format!("{line}\n{}", run(&stack, command)));
            continue;
        } else if in_console {
            continue;
        }
        printed.push_str(line);
        printed.push('\n');
    }
    assert!(commands > 10, "the tour was not found in the README");
    if masked(&printed) != masked(&shown) && std::env::var("LATCHKEY_GENERATE").is_ok() {
        fs::write(&page, &printed).unwrap();
        return;
    }
    for (printed, shown) in masked(&printed).lines().zip(masked(&shown).lines()) {
        assert_eq!(printed, shown, "LATCHKEY_GENERATE=1 cargo nextest run -p latchkey readme");
    }
    assert_eq!(masked(&printed).lines().count(), masked(&shown).lines().count());
}

/// Runs a command in the folder of the stack, with its ports and the program under test.
fn run(stack: &Stack, command: &str) -> String {
    let command = command
        .replace("http://127.0.0.1:8080", stack.url())
        .replace("latchkey ", &format!("{} ", program().get_program().to_str().unwrap()));
    let output = Command::new("sh")
        .args(["-c", &command])
        .current_dir(stack.folder())
        .env("LATCHKEY_STATE_DIR", stack.state_dir())
        .output()
        .unwrap();
    assert!(output.stderr.is_empty(), "{command}: {}", text(&output.stderr));
    let address = stack.url().trim_start_matches("http://");
    text(&output.stdout).replace(address, "127.0.0.1:8080")
}

/// A text in which what differs from run to run is the same.
fn masked(text: &str) -> String {
    [
        (r"\b(usr|cli|ses|grt|fam)_[0-9a-z]{26}\b", "${1}_"),
        (r"\b[0-9a-f]{32}\b", "request"),
        (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "time"),
        (r"echo-\d", "echo"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (pattern, with)| {
        Regex::new(pattern).unwrap().replace_all(&text, *with).into_owned()
    })
}
