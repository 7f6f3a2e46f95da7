//! Files that nobody but their owner may read: keys, passwords, tokens. Written whole or not at all, so that a crash never
//! leaves half a secret that a second start would then believe.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Creates a folder (and those above it) that only its owner may enter.
pub fn create_folder(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("the directory {} cannot be created", path.display()))
}

/// Refuses a folder in which somebody else could put or replace a file. It is not put right in silence: what is in it by
/// then may be theirs.
pub fn check_folder(path: &Path) -> Result<()> {
    let shown = path.display();
    let folder = fs::metadata(path).with_context(|| format!("{shown} cannot be looked at"))?;
    let (owner, we) = (folder.uid(), rustix::process::geteuid().as_raw());
    if owner != we {
        bail!("{shown} belongs to another user (uid {owner}, this is {we}), who could replace what is in it");
    }
    let mode = folder.mode() & 0o777;
    if mode & 0o022 != 0 {
        bail!(
            "others may write to {shown} (mode {mode:03o}), and so replace what is in it: see that everything there is \
             yours, then chmod 700 {shown}"
        );
    }
    Ok(())
}

/// Finds out by doing it: modes say nothing about read-only file systems, quotas and other rules.
pub fn check_writable(folder: &Path) -> Result<()> {
    let probe = folder.join(format!(".{}.probe", std::process::id()));
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&probe)
        .map(drop)
        .and_then(|()| fs::remove_file(&probe))
        .with_context(|| format!("the directory {} cannot be written", folder.display()))
}

/// Writes a file of mode 0600, replacing what was there.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    replace(path, content, 0o600, true)
}

/// Writes a file that others may read and that can be made again, replacing what was there in one step: a reader sees the
/// old or the new.
pub fn write_public(path: &Path, content: &[u8]) -> Result<()> {
    replace(path, content, 0o644, false)
}

/// Removes a file; that it is not there is as good.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("{} cannot be removed", path.display())),
    }
}

fn replace(path: &Path, content: &[u8], mode: u32, durable: bool) -> Result<()> {
    let cannot = || format!("{} cannot be written", path.display());
    let mut name = path.file_name().with_context(cannot)?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
        file.write_all(content)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written.with_context(cannot)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_private_and_replaces_what_others_could_read() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("secret");
        fs::write(&path, "before").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write(&path, b"after").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"after");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_impossible_path_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        fs::write(&file, "").unwrap();
        let error = write(&file.join("below"), b"x").unwrap_err();
        assert!(error.to_string().contains("below"), "{error}");
        assert!(create_folder(&file.join("folder")).unwrap_err().to_string().contains("folder"));
    }
}
