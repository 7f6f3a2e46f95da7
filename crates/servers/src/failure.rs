//! Why a server does not start, for whoever goes on without it.

use std::fmt::Display;
use std::io;
use std::process::Command;

/// So many lines of a log: the last ones say why it ended.
const LINES: usize = 5;

/// Says of what an error is.
pub(crate) fn of(what: impl Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// The end of what a program said.
pub(crate) fn last_lines(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    match lines.get(lines.len().saturating_sub(LINES)..) {
        None | Some([]) => "it said nothing".to_owned(),
        Some(last) => last.join("\n"),
    }
}

/// Runs a command to its end. Where it fails, what it said is the error.
pub(crate) fn run(command: &mut Command) -> io::Result<()> {
    let program = command.get_program().to_owned();
    let ran = command.output().map_err(of(program.display()))?;
    if ran.status.success() { Ok(()) } else { Err(io::Error::other(last_lines(&ran.stderr))) }
}
