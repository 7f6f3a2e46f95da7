//! Who administers a stack that is ready, and whether the password that `up` once wrote to a file still is theirs.
//!
//! Only a login can tell, and each wrong one counts against the administrator's own: a file whose password was refused is
//! noted and not tried again until somebody writes to it.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use anyhow::Result;
use chassis::process::say;
use zeroize::Zeroizing;

use super::layout::Layout;
use super::stack_file::StackFile;
use crate::admin::api::{self, LoginAnswer};
use crate::private_file;

/// What can be said of the administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The file has the password, as far as is known.
    PasswordInFile,
    /// There is one, whose password is not the one in the file.
    PasswordElsewhere,
    /// Nobody is administrator.
    Nobody,
}

/// Of a stack that has an administrator.
pub async fn standing(stack: &StackFile, layout: &Layout) -> Standing {
    let file = &stack.admin.password_file;
    let Some(written) = written(file) else { return Standing::PasswordElsewhere };
    let noted = layout.outdated_password_file();
    if fs::read_to_string(&noted).is_ok_and(|note| note == written) {
        return Standing::PasswordElsewhere;
    }
    match is_refused(stack, layout).await {
        Ok(false) => Standing::PasswordInFile,
        Ok(true) => {
            if let Err(error) = private_file::write(&noted, written.as_bytes()) {
                say(format_args!("{error:#}"));
            }
            Standing::PasswordElsewhere
        }
        // Nothing is known, and nothing depends on it but what is printed.
        Err(error) => {
            say(format_args!("whether the administrator's password was changed is not known: {error:#}"));
            Standing::PasswordInFile
        }
    }
}

/// Whether it is known to be another. The token of a login that succeeds is kept for the command line.
async fn is_refused(stack: &StackFile, layout: &Layout) -> Result<bool> {
    let Some(public) = stack.gateways.first() else { return Ok(false) };
    let secret = chassis::secret::read(&stack.admin.password_file)?;
    let password = Zeroizing::new(secret.text()?.lines().next().unwrap_or_default().to_owned());
    match api::password_login(&api::http()?, public, &stack.admin.username, &password).await? {
        LoginAnswer::Token(token) => {
            let text = Zeroizing::new(serde_json::to_vec(&token)?);
            private_file::write(&layout.admin_token_file(), &text)?;
            Ok(false)
        }
        LoginAnswer::Refused { code, .. } if code == "invalid_credentials" => Ok(true),
        LoginAnswer::Refused { error, .. } => Err(error),
    }
}

/// When the file was last written, in nanoseconds; `None`: it is not there.
fn written(file: &Path) -> Option<String> {
    let modified = fs::metadata(file).and_then(|file| file.modified()).ok()?;
    Some(modified.duration_since(UNIX_EPOCH).ok()?.as_nanos().to_string())
}
