//! What does a roadside unit own?
//!
//! One folder: `rsu.toml` (settings), `member.key` (the signing key, for its owner alone to read),
//! `genesis.json` (the chain's beginning), `consortium.json` (what vehicles are given), `store/` (the ledger),
//! `snapshots/` (its state at some heights, for those who join), `control.sock` (while it runs).

use std::path::{Path, PathBuf};

use milepost_incentives::Genesis;
use milepost_wire::SecretKey;
use serde::Serialize;

use crate::config::{Config, ConfigError};

/// The folder of one unit.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

/// Why a folder is no unit's home.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}; is {} a home? `milepost-rsu testnet` makes some", home.display())]
    Read {
        /// The folder.
        home: PathBuf,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The settings are none.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The key is none.
    #[error("{path}: {source}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: milepost_wire::identity::KeyError,
    },
    /// No key could be made.
    #[error(transparent)]
    NoKey(milepost_wire::identity::KeyError),
    /// Others can read the key.
    #[error("{path} can be read by others (mode {mode:o}); run: chmod 600 {path}")]
    KeyMode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The genesis is none.
    #[error("{path}: {reason}")]
    Genesis {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl Home {
    /// The home in `folder`, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Where the ledger is.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// Where snapshots of the ledger are.
    pub fn snapshots(&self) -> PathBuf {
        self.0.join("snapshots")
    }

    /// Where the unit answers its owner while it runs.
    pub fn control(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    /// Where the settings are.
    pub fn config_path(&self) -> PathBuf {
        self.0.join("rsu.toml")
    }

    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// [`HomeError::Config`].
    pub fn config(&self) -> Result<Config, HomeError> {
        Ok(Config::load(&self.config_path())?)
    }

    /// Reads the signing key, which must be its owner's alone.
    ///
    /// # Errors
    ///
    /// [`HomeError::Read`], [`HomeError::Key`], [`HomeError::KeyMode`].
    pub fn key(&self) -> Result<SecretKey, HomeError> {
        let path = self.0.join("member.key");
        let text = self.read(&path)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let metadata = std::fs::metadata(&path).map_err(|source| self.unreadable(&path, source))?;
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(HomeError::KeyMode { path, mode });
            }
        }
        SecretKey::from_hex(&text).map_err(|source| HomeError::Key { path, source })
    }

    /// The signing key; a new one, which is not written yet, where there is none. One that is there and cannot be used is
    /// an error.
    ///
    /// # Errors
    ///
    /// As [`Home::key`]; [`HomeError::NoKey`].
    pub fn key_or_new(&self) -> Result<SecretKey, HomeError> {
        match self.key() {
            Err(HomeError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                SecretKey::generate().map_err(HomeError::NoKey)
            }
            key => key,
        }
    }

    /// Reads the genesis and checks that a chain can begin like this.
    ///
    /// # Errors
    ///
    /// [`HomeError::Read`], [`HomeError::Genesis`].
    pub fn genesis(&self) -> Result<Genesis, HomeError> {
        let path = self.0.join("genesis.json");
        let text = self.read(&path)?;
        let wrong = |reason: String| HomeError::Genesis {
            path: path.clone(),
            reason,
        };
        let genesis: Genesis = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        genesis.validate().map_err(|error| wrong(error.to_string()))?;
        Ok(genesis)
    }

    /// Writes all that a unit starts from.
    ///
    /// # Errors
    ///
    /// [`HomeError::Write`].
    pub fn write(&self, config: &Config, key: &SecretKey, genesis: &Genesis) -> Result<(), HomeError> {
        make_folder(&self.0)?;
        write_file(&self.config_path(), &config.to_toml())?;
        write_secret(&self.0.join("member.key"), &key.to_hex())?;
        write_json(&self.0.join("genesis.json"), genesis)?;
        write_json(&self.0.join("consortium.json"), &genesis.consortium())
    }

    fn read(&self, path: &Path) -> Result<String, HomeError> {
        std::fs::read_to_string(path).map_err(|source| self.unreadable(path, source))
    }

    fn unreadable(&self, path: &Path, source: std::io::Error) -> HomeError {
        HomeError::Read {
            home: self.0.clone(),
            path: path.to_owned(),
            source,
        }
    }
}

/// Makes a folder and those above it.
pub(crate) fn make_folder(path: &Path) -> Result<(), HomeError> {
    std::fs::create_dir_all(path).map_err(|source| HomeError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Writes a value as JSON for people.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), HomeError> {
    let text = serde_json::to_string_pretty(value).expect("plain data");
    write_file(path, &(text + "\n"))
}

/// Writes a secret so that nobody else could read it at any moment.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<(), HomeError> {
    use std::io::Write;
    let wrong = |source| HomeError::Write {
        path: path.to_owned(),
        source,
    };
    // An earlier file may have had another mode, which opening it would keep.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(wrong(error)),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(wrong)?;
    writeln!(file, "{text}").map_err(wrong)
}

/// Writes a file.
pub(crate) fn write_file(path: &Path, text: &str) -> Result<(), HomeError> {
    std::fs::write(path, text).map_err(|source| HomeError::Write {
        path: path.to_owned(),
        source,
    })
}
