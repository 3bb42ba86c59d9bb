//! What is one vehicle told at start?
//!
//! In: a TOML file, or nothing. Out: [`Config`]. `config/obu.toml` shows every field with its default; a field that
//! does not exist is refused. Paths in the file are relative to the file's own folder.

use std::path::{Path, PathBuf};

use milepost_wire::light::{Bounds, LightClient};
use milepost_wire::link::TlsFiles;
use milepost_wire::{Report, SecretKey};
use serde::{Deserialize, Serialize};

use crate::heads::Anchor;
use crate::outbox::Limits;
use crate::vehicle::VehicleConfig;

/// Settings of the onboard unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The vehicle's secp256k1 key: 64 hexadecimal digits in a file that its owner alone can read.
    pub key_file: PathBuf,
    /// What the vehicle trusts to begin with: chain, genesis and members, as JSON.
    pub consortium_file: PathBuf,
    /// Where the newest trusted block is kept on disk; empty: beside the key, with `.trusted` at the end of its name.
    pub trusted_file: PathBuf,
    /// A block that the owner vouches for, `HEIGHT:HASH`, where what is kept is too old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_block: Option<Anchor>,
    /// For so many seconds after its block, what is trusted is enough to go on from. At least 1.
    pub trust_s: u64,
    /// How far a block may lie ahead of the vehicle's clock, in milliseconds.
    pub drift_ms: u64,
    /// Zenoh endpoints of roadside units, tried in this order.
    pub connect: Vec<String>,
    /// Where reports wait on disk; empty: beside the key, with `.outbox` at the end of its name.
    pub outbox_file: PathBuf,
    /// Pieces of road: H3 cells, or the segments that the recording names.
    pub segments: Segments,

    /// An observation waits for company in its report for so many milliseconds, 0 to 60 000, ...
    pub bundle_ms: u64,
    /// ... or until so many observations are together, 1 to 64.
    pub observations_max: usize,

    /// Reports that wait for a receipt at most; the oldest leave first. At least 1.
    pub outbox_len_max: usize,
    /// A report without a receipt is sent again after so many milliseconds, at least 1, ...
    pub resend_ms: u64,
    /// ... then after twice as many, and so on up to this.
    pub resend_max_ms: u64,
    /// At most so many reports are sent again, at least 1, ...
    pub resend_burst_max: usize,
    /// ... within so many milliseconds.
    pub resend_pace_ms: u64,
    /// A report is given up after so many milliseconds.
    pub keep_ms: u64,
    /// What waits is brought to the disk itself every so many milliseconds: a power cut loses no more.
    pub sync_ms: u64,

    /// Over how many heights, from the highest down, certified heads are kept. At least 1.
    pub heads_max: u64,
    /// How many blocks a proof may lag behind the newest certified one.
    pub proof_lag_max: u64,
    /// A question to the roadside units waits for an answer for so many milliseconds.
    pub ask_ms: u64,
    /// When the source ends, receipts are waited for so many seconds.
    pub linger_s: u64,

    /// Certificates for endpoints `tls/…`; absent where links are plain.
    pub tls: Option<TlsFiles>,
}

/// How a piece of road is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Segments {
    /// An H3 cell and a quarter of the compass.
    #[default]
    Cell,
    /// The recording's own edge, where it names one; else as for `cell`.
    Edge,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            key_file: "vehicle.key".into(),
            consortium_file: "consortium.json".into(),
            trusted_file: PathBuf::new(),
            trusted_block: None,
            trust_s: Bounds::default().trust_period_ms / 1000,
            drift_ms: Bounds::default().drift_max_ms,
            connect: vec!["tcp/127.0.0.1:7447".into()],
            outbox_file: PathBuf::new(),
            segments: Segments::Cell,
            bundle_ms: 1000,
            observations_max: 64,
            outbox_len_max: 4096,
            resend_ms: 5000,
            resend_max_ms: 60_000,
            resend_burst_max: 8,
            resend_pace_ms: 500,
            keep_ms: 3_600_000,
            sync_ms: 10_000,
            heads_max: 128,
            proof_lag_max: 16,
            ask_ms: 5000,
            linger_s: 10,
            tls: None,
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: expected a readable settings file: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// It is not TOML, or has a field that does not exist or holds something else.
    #[error("{path}:{line}: expected settings as in config/obu.toml: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A number beyond its range.
    #[error("expected {field} {expected}, found {found}")]
    OutOfRange {
        /// Name of the field.
        field: &'static str,
        /// The range.
        expected: &'static str,
        /// What was set.
        found: u64,
    },
}

impl Config {
    /// Reads and checks a settings file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let mut config: Self = toml::from_str(&text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..start]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count()
                + 1;
            ConfigError::Malformed {
                path: path.to_owned(),
                line,
                reason: error.message().to_owned(),
            }
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for file in [
            &mut config.key_file,
            &mut config.consortium_file,
            &mut config.outbox_file,
            &mut config.trusted_file,
        ] {
            if !file.as_os_str().is_empty() {
                *file = folder.join(&*file);
            }
        }
        config.tls = config.tls.map(|tls| tls.below(folder));
        config.check()?;
        Ok(config)
    }

    /// Whether every number is within its range.
    ///
    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let observations_max = self.observations_max as u64;
        let rules = [
            (
                "bundle_ms",
                self.bundle_ms,
                self.bundle_ms <= 60_000,
                "from 0 to 60000",
            ),
            (
                "observations_max",
                observations_max,
                (1..=Report::OBSERVATIONS_MAX as u64).contains(&observations_max),
                "from 1 to 64",
            ),
            (
                "outbox_len_max",
                self.outbox_len_max as u64,
                self.outbox_len_max >= 1,
                "of 1 or more",
            ),
            ("resend_ms", self.resend_ms, self.resend_ms >= 1, "of 1 or more"),
            (
                "resend_max_ms",
                self.resend_max_ms,
                self.resend_max_ms >= self.resend_ms,
                "of resend_ms or more",
            ),
            (
                "resend_burst_max",
                self.resend_burst_max as u64,
                self.resend_burst_max >= 1,
                "of 1 or more",
            ),
            (
                "resend_pace_ms",
                self.resend_pace_ms,
                self.resend_pace_ms >= 1,
                "of 1 or more",
            ),
            ("trust_s", self.trust_s, self.trust_s >= 1, "of 1 or more"),
            ("sync_ms", self.sync_ms, self.sync_ms >= 1, "of 1 or more"),
            ("heads_max", self.heads_max, self.heads_max >= 1, "of 1 or more"),
        ];
        match rules.into_iter().find(|(_, _, holds, _)| !holds) {
            Some((field, found, _, expected)) => Err(ConfigError::OutOfRange {
                field,
                expected,
                found,
            }),
            None => Ok(()),
        }
    }

    /// Where reports wait on disk.
    pub fn outbox_path(&self) -> PathBuf {
        self.beside_key(&self.outbox_file, ".outbox")
    }

    /// Where the newest trusted block is kept.
    pub fn trusted_path(&self) -> PathBuf {
        self.beside_key(&self.trusted_file, ".trusted")
    }

    fn beside_key(&self, file: &Path, ending: &str) -> PathBuf {
        if !file.as_os_str().is_empty() {
            return file.to_owned();
        }
        let mut name = self.key_file.as_os_str().to_owned();
        name.push(ending);
        name.into()
    }

    /// What time allows in following the chain.
    pub const fn bounds(&self) -> Bounds {
        Bounds {
            trust_period_ms: self.trust_s.saturating_mul(1000),
            drift_max_ms: self.drift_ms,
        }
    }

    /// What of this concerns the core.
    pub fn vehicle(&self, light: LightClient, key: SecretKey) -> VehicleConfig {
        VehicleConfig {
            light,
            anchor: self.trusted_block,
            key,
            bundle_ms: self.bundle_ms,
            observations_max: self.observations_max,
            outbox: Limits {
                len_max: self.outbox_len_max,
                resend_ms: self.resend_ms,
                resend_max_ms: self.resend_max_ms,
                burst_max: self.resend_burst_max,
                pace_ms: self.resend_pace_ms,
                keep_ms: self.keep_ms,
            },
            heads_max: self.heads_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = include_str!("../../config/obu.toml");

    #[test]
    fn the_shown_settings_are_the_defaults() {
        assert_eq!(toml::from_str::<Config>(SHOWN).unwrap(), Config::default());
        Config::default().check().unwrap();
    }

    #[test]
    fn the_shown_settings_show_every_field() {
        let shown: toml::Table = toml::from_str(SHOWN).unwrap();
        let all = toml::Table::try_from(Config::default()).unwrap();
        assert_eq!(shown.keys().collect::<Vec<_>>(), all.keys().collect::<Vec<_>>());
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("obu.toml");
        std::fs::write(&path, "bundle_ms = 500\nbundel_ms = 500\n").unwrap();
        let error = Config::load(&path).unwrap_err().to_string();
        assert!(
            error.contains("obu.toml:2:") && error.contains("bundel_ms"),
            "{error}"
        );
    }

    #[test]
    fn a_number_beyond_its_range_is_refused() {
        let config = Config {
            observations_max: 65,
            ..Config::default()
        };
        let error = config.check().unwrap_err().to_string();
        assert_eq!(error, "expected observations_max from 1 to 64, found 65");
    }

    #[test]
    fn paths_are_relative_to_the_settings_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("obu.toml");
        std::fs::write(&path, "key_file = \"v/key\"").unwrap();
        let config = Config::load(&path).unwrap();
        assert_eq!(config.key_file, folder.path().join("v/key"));
        assert_eq!(config.outbox_path(), folder.path().join("v/key.outbox"));
        assert_eq!(config.trusted_path(), folder.path().join("v/key.trusted"));
    }
}
