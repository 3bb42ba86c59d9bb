//! Where does a vehicle keep its key?
//!
//! In a file of 64 hexadecimal digits and a line break, that its owner alone can read. An existing file is not
//! replaced unless that is asked for: with the key goes the money.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use milepost_wire::SecretKey;
use milepost_wire::identity::KeyError;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The operating system refused.
    #[error("key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{path}:1: {source}")]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// What was expected.
        source: KeyError,
    },
    /// It would be overwritten.
    #[error("{0} exists: a key is not overwritten without --force")]
    Exists(PathBuf),
}

/// Writes a key that none but its owner can read.
///
/// # Errors
///
/// [`KeyFileError::Exists`] unless `force`, [`KeyFileError::Io`].
pub fn write(path: &Path, key: &SecretKey, force: bool) -> Result<(), KeyFileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists(path.to_owned()),
        _ => KeyFileError::Io {
            path: path.to_owned(),
            source,
        },
    };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    if force {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    let mut file = options.open(path).map_err(failed)?;
    writeln!(file, "{}", key.to_hex()).map_err(failed)?;
    file.sync_all().map_err(failed)
}

/// Reads a key.
///
/// # Errors
///
/// [`KeyFileError`].
pub fn read(path: &Path) -> Result<SecretKey, KeyFileError> {
    let failed = |source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    SecretKey::from_hex(&text).map_err(|source| KeyFileError::NotAKey {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_and_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let (first, second) = (SecretKey::from_seed("test", 1), SecretKey::from_seed("test", 2));
        write(&path, &first, false).unwrap();
        assert!(matches!(
            write(&path, &second, false),
            Err(KeyFileError::Exists(_))
        ));
        assert_eq!(read(&path).unwrap().address(), first.address());
        write(&path, &second, true).unwrap();
        assert_eq!(read(&path).unwrap().address(), second.address());
    }

    #[cfg(unix)]
    #[test]
    fn none_but_its_owner_can_read_a_key() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write(&path, &SecretKey::from_seed("test", 1), false).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn what_is_no_key_is_told_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "hello").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(
            error.ends_with("key:1: a secret key is 64 hexadecimal digits"),
            "{error}"
        );
    }
}
