//! `latchkey user`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::{Value, json};

use super::api::Api;
use super::input::{self, Password};
use super::output::{Column, Output, line};

const USERS: &str = "/v1/admin/users";
const COLUMNS: [Column; 5] = [
    ("name", "username"),
    ("id", "id"),
    ("status", "status"),
    ("must change password", "must_change_password"),
    ("created", "created_at"),
];

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a user. The password is typed, unless one of the options says otherwise.
    Add {
        name: String,
        #[command(flatten)]
        password: NewPassword,
        /// The user must choose another at the first login.
        #[arg(long)]
        must_change_password: bool,
    },
    List,
    Show {
        /// Name or id.
        user: String,
    },
    /// Disable or enable a user, or set the password.
    Set {
        /// Name or id.
        user: String,
        /// Let the user log in again.
        #[arg(long, conflicts_with = "disable")]
        enable: bool,
        /// Void everything issued to the user, and let nobody in.
        #[arg(long)]
        disable: bool,
        #[command(flatten)]
        password: NewPassword,
        /// With a new password: it must be changed at the next login.
        #[arg(long)]
        must_change_password: bool,
    },
    /// End everything issued to a user, tokens and sessions; the user may log in anew.
    Revoke {
        /// Name or id.
        user: String,
    },
    /// Remove a user, with all grants.
    Remove {
        /// Name or id.
        user: String,
    },
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub struct NewPassword {
    /// A file whose first line is the password; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Make one up and print it once.
    #[arg(long)]
    generate: bool,
}

impl NewPassword {
    /// The password, and whether it must be printed.
    fn read(&self) -> Result<(Password, bool)> {
        if self.generate {
            return Ok((input::generated(), true));
        }
        Ok((input::from_file_or_typed(self.password_file.as_ref(), true)?, false))
    }

    fn is_given(&self) -> bool {
        self.generate || self.password_file.is_some()
    }
}

pub async fn run(command: Command, api: &mut Api, output: &Output) -> Result<()> {
    match command {
        Command::Add { name, password, must_change_password } => {
            let (password, shown) = password.read()?;
            let body = json!({
                "username": name,
                "password": password.as_str(),
                "must_change_password": must_change_password,
            });
            let user = api.post(USERS, body).await?;
            answer(output, user, shown.then_some(&password), "added")
        }
        Command::List => output.table(&api.list(USERS, "users", &[]).await?, &COLUMNS),
        Command::Show { user } => output.record(&api.get(&path(&user), &[]).await?, &COLUMNS),
        Command::Set { user, enable, disable, password, must_change_password } => {
            if !enable && !disable && !password.is_given() {
                bail!("nothing to set: use --enable, --disable, --password-file or --generate");
            }
            let path = path(&user);
            let mut shown = None;
            let mut changed = Value::Null;
            if password.is_given() {
                let (new, print) = password.read()?;
                let body = json!({ "password": new.as_str(), "must_change_password": must_change_password });
                changed = api.put(&format!("{path}/password"), body).await?;
                shown = print.then_some(new);
            }
            if enable || disable {
                let status = if enable { "active" } else { "disabled" };
                changed = api.patch(&path, json!({ "status": status })).await?;
            }
            answer(output, changed, shown.as_ref(), "changed")
        }
        Command::Revoke { user } => {
            let found = api.get(&path(&user), &[]).await?;
            api.delete(&format!("{}/tokens", path(&user))).await?;
            output.answer(&found, || format!("Everything issued to {user} is ended."))
        }
        Command::Remove { user } => {
            let found = api.get(&path(&user), &[]).await?;
            api.delete(&path(&user)).await?;
            output.answer(&found, || format!("{user} is removed."))
        }
    }
}

/// The gateway takes names and ids alike.
pub fn path(user: &str) -> String {
    format!("{USERS}/{}", segment(user))
}

/// One segment of a path.
pub fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn answer(output: &Output, mut user: Value, password: Option<&Password>, done: &str) -> Result<()> {
    if !output.is_json() {
        let name = user.get("username").and_then(Value::as_str).unwrap_or("The user");
        let id = user.get("id").and_then(Value::as_str).unwrap_or("-");
        line(&format!("{name} ({id}) is {done}."))?;
        return match password {
            Some(password) => line(&format!("Password, shown this once: {}", password.as_str())),
            None => Ok(()),
        };
    }
    if let (Some(password), Some(members)) = (password, user.as_object_mut()) {
        members.insert("password".to_owned(), password.as_str().into());
    }
    output.answer(&user, String::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment() {
        assert_eq!(segment("alice"), "alice");
        assert_eq!(segment("a/../b c?#é"), "a%2F..%2Fb%20c%3F%23%C3%A9");
    }
}
