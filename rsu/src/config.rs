//! What is one roadside unit told at start?
//!
//! `rsu.toml` in the unit's home; `config/rsu.toml` shows every field with its default. Unknown fields are
//! refused.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use milepost_wire::link::TlsFiles;
use serde::{Deserialize, Serialize};

use crate::unit;

/// Settings of one roadside unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Zenoh endpoints to listen on, for vehicles and for other units: `tcp/ADDRESS:PORT`.
    pub listen: Vec<String>,
    /// Zenoh endpoints of other units, all of which are connected to as soon as they answer.
    pub connect: Vec<String>,
    /// Where the HTTP API listens. It knows no users: bind it to loopback, or put a proxy in front.
    pub api: SocketAddr,
    /// How logs are written to standard error. What is logged, `MILEPOST_LOG` or else `RUST_LOG` tells.
    pub log: LogFormat,
    /// Messages that wait to be heard; further ones are dropped, and counted as `overrun`.
    pub inbox_max: usize,
    /// Messages whose signatures are checked together, at most.
    pub bundle_max: usize,
    /// Whether reports that reach this unit are passed on to the units that it is linked to, as they are. Where not, the
    /// others have them from its batches alone: half as much for a narrow link to carry, and a listening unit is paid for
    /// all that it hears.
    pub pass_reports_on: bool,
    /// Certificates for endpoints `tls/…`, PEM files below the home; absent where links are plain.
    pub tls: Option<TlsFiles>,
    /// How the ledger node goes on.
    pub node: milepost_node::Settings,
    /// What is kept, and for how long.
    pub retention: milepost_node::keeper::Retention,
    /// What the ear bears.
    pub ear: crate::ear::Limits,
    /// How long to wait for the other units before passing on a report that is theirs.
    pub handoff: crate::handoff::Limits,
    /// How reports are bundled for the ledger.
    pub batch: crate::batcher::Limits,
    /// How much of the present is kept and told.
    pub live: crate::live::Limits,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec!["tcp/127.0.0.1:7447".into()],
            connect: Vec::new(),
            api: SocketAddr::from(([127, 0, 0, 1], 8080)),
            log: LogFormat::Text,
            inbox_max: 8_192,
            bundle_max: 256,
            pass_reports_on: true,
            tls: None,
            node: milepost_node::Settings::default(),
            retention: milepost_node::keeper::Retention::default(),
            ear: crate::ear::Limits::default(),
            handoff: crate::handoff::Limits::default(),
            batch: crate::batcher::Limits::default(),
            live: crate::live::Limits::default(),
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is no settings.
    #[error("{origin}: {source}")]
    Parse {
        /// The file, or what else the text is.
        origin: String,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A number that nothing can work with.
    #[error("{name} is {found}, expected {expected}")]
    Value {
        /// Which field.
        name: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads and checks text; `origin` is named in errors.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn parse(text: &str, origin: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|source| ConfigError::Parse {
            origin: origin.to_owned(),
            source: Box::new(source),
        })?;
        config.check()?;
        Ok(config)
    }

    /// As a file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are plain data")
    }

    /// The part that the pure core needs.
    pub fn limits(&self) -> unit::Limits {
        unit::Limits {
            ear: self.ear,
            handoff: self.handoff,
            batch: self.batch,
            live: self.live,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let at_least_one = [
            ("inbox_max", self.inbox_max),
            ("bundle_max", self.bundle_max),
            ("ear.vehicles_max", self.ear.vehicles_max),
            ("ear.recent_max", self.ear.recent_max),
            ("ear.contents_max", self.ear.contents_max),
            ("batch.reports_max", self.batch.reports_max),
            ("batch.queue_max", self.batch.queue_max),
            ("batch.open_max", self.batch.open_max),
            ("live.publish_max", self.live.publish_max),
        ];
        for (name, found) in at_least_one {
            if found == 0 {
                return Err(ConfigError::Value {
                    name,
                    found: found.to_string(),
                    expected: "at least 1",
                });
            }
        }
        let retention = &self.retention;
        if retention.snapshot_blocks == 0 {
            return Err(ConfigError::Value {
                name: "retention.snapshot_blocks",
                found: "0".into(),
                expected: "at least 1",
            });
        }
        if (1..2 * retention.snapshot_blocks).contains(&retention.reports_blocks) {
            return Err(ConfigError::Value {
                name: "retention.reports_blocks",
                found: retention.reports_blocks.to_string(),
                expected: "0, or at least twice retention.snapshot_blocks",
            });
        }
        let plausible = &self.ear.plausible;
        for (name, found) in [
            ("ear.plausible.speed_max_m_per_s", plausible.speed_max_m_per_s),
            ("ear.plausible.error_m", plausible.error_m),
        ] {
            if !found.is_finite() || found < 0.0 {
                return Err(ConfigError::Value {
                    name,
                    found: found.to_string(),
                    expected: "a number from 0 on",
                });
            }
        }
        let secured = |endpoint: &&String| endpoint.starts_with("tls/");
        if self.tls.is_none()
            && let Some(endpoint) = self.listen.iter().chain(&self.connect).find(secured)
        {
            return Err(ConfigError::Value {
                name: "tls",
                found: format!("absent, and an endpoint is {endpoint}"),
                expected: "a table with authorities, certificate and key",
            });
        }
        if self.listen.is_empty() {
            return Err(ConfigError::Value {
                name: "listen",
                found: "[]".into(),
                expected: "at least one endpoint such as tcp/127.0.0.1:7447",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_is_shown_holds_the_defaults() {
        let shown = include_str!("../../config/rsu.toml");
        assert_eq!(
            Config::parse(shown, "config/rsu.toml").expect("readable"),
            Config::default()
        );
    }

    #[test]
    fn the_file_that_is_shown_names_every_field() {
        let shown: toml::Table = include_str!("../../config/rsu.toml").parse().expect("readable");
        let written: toml::Table = Config::default().to_toml().parse().expect("readable");
        assert_eq!(shown, written);
    }

    #[test]
    fn settings_survive_their_file() {
        let config = Config {
            connect: vec!["tcp/10.0.0.1:7447".into()],
            log: LogFormat::Json,
            ..Config::default()
        };
        assert_eq!(
            Config::parse(&config.to_toml(), "test").expect("readable"),
            config
        );
    }

    #[test]
    fn what_is_unknown_or_unworkable_is_refused_by_name() {
        for (text, named) in [
            ("bundle_size = 3", "bundle_size"),
            ("[node]\nblock_interval = 3", "block_interval"),
            ("bundle_max = 0", "bundle_max"),
            ("[retention]\nsnapshot_blocks = 0", "snapshot_blocks"),
            ("[retention]\nreports_blocks = 1999", "reports_blocks"),
            ("listen = []", "listen"),
            ("listen = [\"tls/127.0.0.1:7447\"]", "tls"),
            ("[ear.plausible]\nerror_m = nan", "error_m"),
            ("api = \"somewhere\"", "api"),
        ] {
            let error = Config::parse(text, "test").expect_err(text).to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
