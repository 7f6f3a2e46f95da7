//! The note that a run is under way: beside the password file, written before the user is made and removed after the grant.
//!
//! It is the only thing from which the next run concludes that an account is its own to remove. A password file, a name or a
//! demand to change the password prove nothing: somebody else may have that name by then.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::private_file;

#[derive(Debug)]
pub struct Unfinished {
    file: PathBuf,
    pub run: Run,
}

/// What a run was doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub username: String,
    pub must_change_password: bool,
    /// Known once the user is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Unfinished {
    /// What an earlier run left behind; `None` after one that came to its end.
    pub fn find(password_file: &Path) -> Result<Option<Self>> {
        let file = beside(password_file)?;
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", file.display())),
        };
        let run = serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))?;
        Ok(Some(Self { file, run }))
    }

    pub fn begin(password_file: &Path, run: Run) -> Result<Self> {
        let unfinished = Self { file: beside(password_file)?, run };
        unfinished.write()?;
        Ok(unfinished)
    }

    /// The user is made.
    pub fn made(&mut self, id: &str) -> Result<()> {
        self.run.id = Some(id.to_owned());
        self.write()
    }

    /// There is nothing left to take up.
    pub fn end(self) -> Result<()> {
        private_file::remove(&self.file)
    }

    fn write(&self) -> Result<()> {
        let text = serde_json::to_vec(&self.run).context("a run cannot be written as JSON")?;
        private_file::write(&self.file, &text)
    }
}

impl Run {
    /// Whether this run made that user. Cut short before it learned the id, it knows its user by the name, which was free
    /// when it began.
    pub fn made_user(&self, id: &str, must_change_password: bool) -> bool {
        match &self.id {
            Some(made) => made == id,
            None => self.must_change_password == must_change_password,
        }
    }
}

fn beside(password_file: &Path) -> Result<PathBuf> {
    let mut name = password_file
        .file_name()
        .with_context(|| format!("{} is no file", password_file.display()))?
        .to_owned();
    name.push(".unfinished");
    Ok(password_file.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_found_until_it_ends() {
        let temp = tempfile::tempdir().unwrap();
        let password = temp.path().join("admin-password");
        assert!(Unfinished::find(&password).unwrap().is_none());
        let run = Run { username: "admin".into(), must_change_password: false, id: None };
        let mut begun = Unfinished::begin(&password, run.clone()).unwrap();
        assert_eq!(Unfinished::find(&password).unwrap().unwrap().run, run);
        begun.made("usr_1").unwrap();
        let found = Unfinished::find(&password).unwrap().unwrap();
        assert!(found.run.made_user("usr_1", false) && !found.run.made_user("usr_2", false));
        found.end().unwrap();
        assert!(Unfinished::find(&password).unwrap().is_none());
    }

    #[test]
    fn without_an_id_only_what_could_be_its_own_is() {
        let run = Run { username: "root".into(), must_change_password: true, id: None };
        assert!(run.made_user("usr_1", true));
        assert!(!run.made_user("usr_1", false), "registered by somebody");
    }
}
