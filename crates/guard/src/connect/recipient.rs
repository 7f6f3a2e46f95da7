//! The private keys of a recipient of encrypted tokens, each a file.

use std::path::PathBuf;

use chassis::secret::{self, SecretError};
use token::{KeyError, RecipientKey};

/// Why there is no key. Names the file.
#[derive(Debug, thiserror::Error)]
pub enum RecipientKeyError {
    #[error(transparent)]
    File(#[from] SecretError),
    #[error("{} holds no usable key: {source}", .path.display())]
    Key {
        path: PathBuf,
        #[source]
        source: KeyError,
    },
}

/// A JWK in each file; the order is kept.
pub fn recipient_keys(files: &[PathBuf]) -> Result<Vec<RecipientKey>, RecipientKeyError> {
    let read = |path: &PathBuf| {
        let text = secret::read(path)?;
        RecipientKey::from_jwk_json(text.text()?)
            .map_err(|source| RecipientKeyError::Key { path: path.clone(), source })
    };
    files.iter().map(read).collect()
}
