//! How is a link between two machines secured?
//!
//! By mutual TLS 1.3, as zenoh does it: each end shows a certificate of an authority that the other trusts. A link
//! certificate says which kind of [`Station`] a machine is and nothing more, so that a vehicle cannot be followed by it. What
//! its owner may *claim* is told by signatures on messages alone; the kind only keeps machines off topics that are
//! none of their business.
//!
//! In: where the files are. Out: zenoh's settings for them. Nothing is read here. Not covered: making certificates
//! (the roadside unit's `certificate` command), and what each kind may do (its access rules). Source:
//! docs/adr/0019-links.md.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What a machine is, as its certificate's common name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Station {
    /// A roadside unit, voting or listening.
    Roadside,
    /// A vehicle.
    Vehicle,
}

impl Station {
    /// The common name in the certificate's subject.
    pub const fn common_name(self) -> &'static str {
        match self {
            Self::Roadside => "roadside",
            Self::Vehicle => "vehicle",
        }
    }
}

/// Where a machine's certificate and those whom it trusts are: PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// Certificates of the authorities that are trusted, one after the other: every provider's.
    pub authorities: PathBuf,
    /// This machine's certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// The files that belong together in `folder`.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            authorities: folder.join("authorities.pem"),
            certificate: folder.join("link.pem"),
            key: folder.join("link.key"),
        }
    }

    /// The same files, with relative paths beginning at `folder`.
    #[must_use]
    pub fn below(&self, folder: &Path) -> Self {
        Self {
            authorities: folder.join(&self.authorities),
            certificate: folder.join(&self.certificate),
            key: folder.join(&self.key),
        }
    }

    /// All of them.
    pub fn paths(&self) -> [&Path; 3] {
        [&self.authorities, &self.certificate, &self.key]
    }

    /// Zenoh's settings for these files, each as JSON: trust these authorities alone to name a peer, show one's own
    /// certificate on both kinds of links, and drop a link whose certificate has ended.
    pub fn zenoh_settings(&self) -> Vec<(&'static str, String)> {
        let path = |path: &Path| serde_json::Value::from(path.display().to_string()).to_string();
        vec![
            ("transport/link/tls/root_ca_certificate", path(&self.authorities)),
            ("transport/link/tls/enable_mtls", "true".into()),
            ("transport/link/tls/listen_certificate", path(&self.certificate)),
            ("transport/link/tls/listen_private_key", path(&self.key)),
            ("transport/link/tls/connect_certificate", path(&self.certificate)),
            ("transport/link/tls/connect_private_key", path(&self.key)),
            ("transport/link/tls/verify_name_on_connect", "true".into()),
            ("transport/link/tls/close_link_on_expiration", "true".into()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_begin_where_the_settings_are() {
        let files = TlsFiles::in_folder(Path::new("tls"));
        let below = files.below(Path::new("/etc/milepost"));
        assert_eq!(below.key, Path::new("/etc/milepost/tls/link.key"));
        let absolute = TlsFiles::in_folder(Path::new("/var/tls"));
        assert_eq!(absolute.below(Path::new("/etc")), absolute);
    }

    #[test]
    fn odd_names_stay_text() {
        let files = TlsFiles::in_folder(Path::new("a \"b\""));
        for (_, value) in files.zenoh_settings() {
            assert!(
                serde_json::from_str::<serde_json::Value>(&value).is_ok(),
                "{value}"
            );
        }
    }
}
