//! Where everything of a local stack lies under its state directory. The only place that knows a file's name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::certificates::CertificateFolder;
use crate::private_file;

/// A state directory. Its path is absolute, so that what is printed and written can be used from anywhere.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

/// Held while a stack runs on a state directory; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "held, never read")] File);

impl Layout {
    pub fn at(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).with_context(|| format!("{} is no path", root.display()))?;
        Ok(Self { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn stack_file(&self) -> PathBuf {
        self.root.join("stack.json")
    }

    pub fn addresses_file(&self) -> PathBuf {
        self.root.join("addresses.json")
    }

    pub fn routes_file(&self) -> PathBuf {
        self.root.join("routes.toml")
    }

    pub fn admin_password_file(&self) -> PathBuf {
        self.root.join("admin-password")
    }

    /// Notes that the password in the file is not the current one.
    pub fn outdated_password_file(&self) -> PathBuf {
        self.root.join("admin-password.outdated")
    }

    /// The administrator's access token, kept by the command line until it expires.
    pub fn admin_token_file(&self) -> PathBuf {
        self.root.join("admin-token.json")
    }

    pub fn certificates(&self) -> CertificateFolder {
        CertificateFolder::new(self.root.join("certificates"))
    }

    pub fn secret(&self, name: &str) -> PathBuf {
        self.root.join("secrets").join(name)
    }

    pub fn config_file(&self, process: &str) -> PathBuf {
        self.root.join("config").join(format!("{process}.toml"))
    }

    /// The user's own settings for every replica of a service; may be missing.
    pub fn settings_file(&self, service: &str) -> PathBuf {
        self.root.join("settings").join(format!("{service}.toml"))
    }

    pub fn database(&self, service: &str) -> PathBuf {
        self.root.join("data").join(format!("{service}.sqlite"))
    }

    pub fn log_file(&self, process: &str) -> PathBuf {
        self.root.join("logs").join(format!("{process}.log"))
    }

    /// Creates the folders. Fails with the path when one cannot be written, or somebody else can write to it: whoever
    /// replaces the routes decides who gets in. Of several that cannot be written, each has a line.
    pub fn create(&self) -> Result<()> {
        let make = |folder: &Path| {
            private_file::create_folder(folder)?;
            private_file::check_folder(folder)
        };
        make(&self.root)?;
        private_file::check_writable(&self.root)?;
        let folders = ["certificates", "config", "secrets", "data", "logs", "settings"]
            .map(|name| self.root.join(name));
        for folder in &folders {
            make(folder)?;
        }
        // `settings` is the user's own, and only read.
        let written = folders.iter().filter(|folder| !folder.ends_with("settings"));
        let complaints: Vec<String> = written
            .filter_map(|folder| private_file::check_writable(folder).err())
            .map(|error| format!("{error:#}"))
            .collect();
        if complaints.is_empty() { Ok(()) } else { bail!("{}", complaints.join("\n")) }
    }

    /// Whether a stack runs here: somebody holds the lock.
    pub fn runs(&self) -> bool {
        let Ok(file) = File::open(self.root.join("lock")) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// At most one stack runs on a state directory.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.root.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("the state directory {} cannot be written", self.root.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                let _ = file.read_to_string(&mut owner);
                bail!(
                    "a stack already runs on {} (process {}): stop it, or choose another --state-dir",
                    self.root.display(),
                    owner.trim()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{} cannot be locked", path.display()));
            }
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Lock(file))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_lock_names_who_holds_the_first() {
        let temp = tempfile::tempdir().unwrap();
        let layout = Layout::at(temp.path()).unwrap();
        layout.create().unwrap();
        assert!(!layout.runs());
        let held = layout.lock().unwrap();
        assert!(layout.runs());
        let error = layout.lock().unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        assert!(!layout.runs());
        layout.lock().unwrap();
    }

    #[test]
    fn a_state_directory_that_others_can_write_to_is_refused_with_what_helps() {
        let temp = tempfile::tempdir().unwrap();
        let layout = Layout::at(temp.path()).unwrap();
        layout.create().unwrap();
        for folder in
            [layout.root().to_owned(), layout.root().join("config"), layout.root().join("certificates")]
        {
            let set = |mode| std::fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
            for mode in [0o720, 0o702, 0o777, 0o1777] {
                set(mode);
                let error = layout.create().unwrap_err().to_string();
                assert!(error.contains(&format!("chmod 700 {}", folder.display())), "{mode:o}: {error}");
            }
            for mode in [0o700, 0o755, 0o750] {
                set(mode);
                layout.create().unwrap();
            }
        }
    }

    #[test]
    fn another_users_state_directory_is_refused() {
        let theirs = if rustix::process::geteuid().is_root() {
            let temp = tempfile::tempdir().unwrap();
            std::os::unix::fs::chown(temp.path(), Some(12_345), None).unwrap();
            temp
        } else {
            // Root's, which is another's for everybody else.
            return assert!(private_file::check_folder(Path::new("/usr")).is_err());
        };
        let error = private_file::check_folder(theirs.path()).unwrap_err().to_string();
        assert!(error.contains("uid 12345"), "{error}");
    }

    #[test]
    fn a_state_directory_that_cannot_be_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Layout::at(&file.join("state")).unwrap().create().unwrap_err();
        assert!(error.to_string().contains("file/state"), "{error}");
    }
}
