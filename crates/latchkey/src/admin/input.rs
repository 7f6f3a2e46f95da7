//! Passwords, as they come in: from a file, made up, or typed. Never as an argument, which every user of the machine can read.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use chassis::entropy::SystemEntropy;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::bootstrap::generate_password;

pub type Password = Zeroizing<String>;

/// The first line of a file, or of standard input for `-`.
pub fn from_file(path: &Path) -> Result<Password> {
    if path == Path::new("-") {
        return line();
    }
    let secret = chassis::secret::read(path)?;
    let text = secret.text()?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

pub fn generated() -> Password {
    generate_password(&SystemEntropy)
}

/// From the file, else typed. `twice`: a new one, typed again to be sure.
pub fn from_file_or_typed(file: Option<&PathBuf>, twice: bool) -> Result<Password> {
    match file {
        Some(path) => from_file(path),
        None if !std::io::stdin().is_terminal() => line().context(
            "there is no terminal to type the password at: name a file with --password-file, or pipe it in",
        ),
        None => {
            let password = typed("Password: ")?;
            if twice && *typed("Again: ")? != *password {
                bail!("the two were not the same");
            }
            Ok(password)
        }
    }
}

fn typed(prompt: &str) -> Result<Password> {
    let mut terminal = std::io::stderr();
    write!(terminal, "{prompt}")
        .and_then(|()| terminal.flush())
        .context("the terminal cannot be written to")?;
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).context("the terminal's settings cannot be read")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &silent).context("the terminal cannot be silenced")?;
    let line = line();
    let restored = tcsetattr(&stdin, OptionalActions::Flush, &before);
    let _ = writeln!(terminal);
    restored.context("the terminal's settings cannot be restored")?;
    line
}

fn line() -> Result<Password> {
    let mut line = Zeroizing::new(String::new());
    std::io::stdin().lock().read_line(&mut line).context("standard input")?;
    let length = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(length);
    if line.is_empty() {
        bail!("no password was given");
    }
    Ok(line)
}
