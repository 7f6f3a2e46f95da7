//! Secrets come from files, and a file that others can read holds no secret.
//!
//! The check is on what everybody may do with the file (`mode & 0o007`): group access is how containers and
//! orchestrators mount secrets, so it is the operator's to decide.

use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// What a secret file held. Wiped when dropped, never shown.
#[derive(Clone)]
pub struct Secret {
    bytes: Zeroizing<Vec<u8>>,
}

/// Why a secret cannot be used. Each names the file and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the secret file {} does not exist: create it, readable by its owner only (chmod 600)", .0.display())]
    Missing(PathBuf),
    #[error("the secret file {} cannot be read: {source}", .path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is not a regular file, so it cannot hold a secret", .0.display())]
    NotAFile(PathBuf),
    #[error(
        "the secret file {} can be read by every user of this machine (mode {:03o}): chmod 600 it, and replace the \
         secret if others may have seen it", .path.display(), .mode
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error("the secret file {} is empty: write the secret into it", .0.display())]
    Empty(PathBuf),
    #[error("the secret file {} is longer than {LIMIT} bytes, so it is not what it should be", .0.display())]
    TooLong(PathBuf),
    #[error("the secret is not UTF-8 text")]
    NotText,
}

const LIMIT: u64 = 1024 * 1024;

/// Reads a secret. The file must exist, be a regular file that not everybody can open, and hold something.
pub fn read(path: &Path) -> Result<Secret, SecretError> {
    let unreadable = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => SecretError::Missing(path.to_owned()),
        _ => SecretError::Unreadable { path: path.to_owned(), source },
    };
    // The mode is read from the opened file, so that what was checked is what is read.
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(SecretError::NotAFile(path.to_owned()));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), mode });
    }
    // Sized beforehand: a growing vector would leave unwiped copies behind.
    let capacity = usize::try_from(metadata.len().min(LIMIT)).unwrap_or(0) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LIMIT {
        return Err(SecretError::TooLong(path.to_owned()));
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(SecretError::Empty(path.to_owned()));
    }
    Ok(Secret { bytes })
}

impl Secret {
    /// A secret that is already in memory, for instance one made a moment ago.
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret { bytes: Zeroizing::new(bytes) }
    }

    /// Every byte of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The file as text, without the line end that editors add.
    pub fn text(&self) -> Result<&str, SecretError> {
        let text = std::str::from_utf8(&self.bytes).map_err(|_| SecretError::NotText)?;
        Ok(text.trim_end_matches(['\r', '\n']))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret { .. }")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8], mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn a_private_file_is_read_and_never_shown() {
        let file = file(b"correct horse\n", 0o600);
        let secret = read(file.path()).unwrap();
        assert_eq!(secret.text().unwrap(), "correct horse");
        assert_eq!(secret.bytes(), b"correct horse\n");
        assert_eq!(format!("{secret:?}"), "Secret { .. }");
    }

    #[test]
    fn a_group_may_read_it_and_everybody_may_not() {
        assert!(read(file(b"x", 0o640).path()).is_ok());
        for mode in [0o604, 0o644, 0o602, 0o666] {
            let file = file(b"x", mode);
            let error = read(file.path()).unwrap_err();
            assert!(matches!(error, SecretError::Exposed { .. }), "{mode:o}: {error}");
            let message = error.to_string();
            assert!(message.contains(file.path().to_str().unwrap()), "{message}");
            assert!(message.contains("chmod 600"), "{message}");
        }
    }

    #[test]
    fn missing_and_empty_and_not_a_file_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("nothing");
        assert!(matches!(read(&missing), Err(SecretError::Missing(path)) if path == missing));
        assert!(matches!(read(directory.path()), Err(SecretError::NotAFile(_))));
        assert!(matches!(read(file(b"", 0o600).path()), Err(SecretError::Empty(_))));
        assert!(matches!(read(file(b" \n", 0o600).path()), Err(SecretError::Empty(_))));
    }
}
