//! How does a consortium of real units begin?
//!
//! Each operator makes a home for its own unit, [`init`]: a key that never leaves it, settings, and `member.json`, which
//! says who the unit is and is no secret. From all of these one operator makes the genesis, [`found`]; every one
//! looks at it, puts it into its home, and they have agreed on its hash.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use milepost_incentives::{Genesis, Params};
use milepost_wire::link::TlsFiles;
use milepost_wire::member::MembersError;
use milepost_wire::{Access, ChainId, Member, Members, Setting, Timestamp};

use crate::certificates::{self, CertificateError};
use crate::config::Config;
use crate::home::{self, Home, HomeError};

/// A unit that is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its folder.
    pub home: PathBuf,
    /// The company or authority that owns it.
    pub provider: String,
    /// Its voting power.
    pub power: u64,
    /// Zenoh endpoints to listen on.
    pub listen: Vec<String>,
    /// Zenoh endpoints of the other units.
    pub connect: Vec<String>,
    /// Where the HTTP API shall listen.
    pub api: Option<SocketAddr>,
    /// Names under which the unit is reached, for the request of a link certificate; without, links are plain.
    pub names: Vec<String>,
}

/// Why nothing is begun.
#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
    /// A file that cannot be read or written.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// No certificate can be asked for.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Something is there already.
    #[error("{0} is there already, and is not written over")]
    Exists(PathBuf),
    /// A file that tells of no member.
    #[error("{path}: {why}; expected a member.json, as `milepost-rsu init` writes it")]
    NoMember {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Members that are no consortium.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// A chain that cannot begin like this.
    #[error("no chain can begin like this: {0}")]
    Genesis(String),
}

/// Makes a unit's home, without a genesis. A key that is there is kept.
///
/// # Errors
///
/// [`FoundingError`].
pub fn init(plan: &Plan) -> Result<Member, FoundingError> {
    let home = Home::new(&plan.home);
    if home.config_path().exists() {
        return Err(FoundingError::Exists(home.config_path()));
    }
    let key = home.key_or_new()?;
    let member = Member {
        key: key.public(),
        provider: plan.provider.clone(),
        power: plan.power,
    };
    Members::new(vec![member.clone()])?;
    let mut config = Config::default();
    if !plan.listen.is_empty() {
        config.listen.clone_from(&plan.listen);
    }
    config.connect.clone_from(&plan.connect);
    if let Some(api) = plan.api {
        config.api = api;
    }
    home::make_folder(home.folder())?;
    if !plan.names.is_empty() {
        config.tls = Some(TlsFiles::in_folder(Path::new("")));
        certificates::request(&plan.names, home.folder())?;
    }
    home::write_secret(&home.folder().join("member.key"), &key.to_hex())?;
    home::write_json(&home.folder().join("member.json"), &member)?;
    home::write_file(&home.config_path(), &config.to_toml())?;
    Ok(member)
}

/// Makes the genesis of a chain of these members, each in its `member.json`.
///
/// # Errors
///
/// [`FoundingError`].
pub fn found(
    chain: ChainId,
    members: &[PathBuf],
    access: Access,
    settings: &[Setting],
    now: Timestamp,
) -> Result<Genesis, FoundingError> {
    let wrong = |error: &dyn std::fmt::Display| FoundingError::Genesis(error.to_string());
    let genesis = Genesis {
        chain,
        time: now,
        members: Members::new(members.iter().map(|path| read(path)).collect::<Result<_, _>>()?)?,
        access,
        params: Params::begin_with(settings).map_err(|error| wrong(&error))?,
        vehicles: Vec::new(),
    };
    genesis.validate().map_err(|error| wrong(&error))?;
    Ok(genesis)
}

fn read(path: &Path) -> Result<Member, FoundingError> {
    let wrong = |why: String| FoundingError::NoMember {
        path: path.to_owned(),
        why,
    };
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(home: PathBuf) -> Plan {
        Plan {
            home,
            provider: "Highways North".into(),
            power: 2,
            listen: vec!["tls/192.0.2.7:7447".into()],
            connect: Vec::new(),
            api: None,
            names: vec!["rsu-7.example".into()],
        }
    }

    #[test]
    fn units_that_were_made_apart_begin_a_chain_together() {
        let folder = tempfile::tempdir().expect("a folder");
        let homes: Vec<_> = (0..3)
            .map(|nth| folder.path().join(format!("unit-{nth}")))
            .collect();
        let made: Vec<_> = homes
            .iter()
            .map(|home| init(&plan(home.clone())).expect("made"))
            .collect();
        let files: Vec<_> = homes.iter().map(|home| home.join("member.json")).collect();
        let chain = ChainId::new("north").expect("an id");
        let begin = |settings: &[Setting]| {
            found(
                chain.clone(),
                &files,
                Access::Consortium,
                settings,
                Timestamp::from_millis(1),
            )
        };
        let set = |name: &str, value| Setting {
            name: name.into(),
            value,
        };
        let genesis = begin(&[set("slot_ms", 10_000)]).expect("a chain");
        assert_eq!(genesis.params.slot_ms, 10_000);
        assert!(
            made.iter()
                .all(|member| genesis.members.get(&member.key.address().expect("a key")) == Some(member))
        );
        assert!(matches!(
            begin(&[set("slots", 1)]),
            Err(FoundingError::Genesis(_))
        ));
        assert!(matches!(
            begin(&[set("slot_ms", 0)]),
            Err(FoundingError::Genesis(_))
        ));
        let home = Home::new(&homes[0]);
        assert!(homes[0].join("link.csr").exists() && home.config().expect("reads").tls.is_some());
        assert_eq!(home.key().expect("reads").public(), made[0].key);
    }

    #[test]
    fn a_home_that_is_there_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = plan(folder.path().join("unit"));
        let made = init(&plan).expect("made");
        assert!(matches!(init(&plan), Err(FoundingError::Exists(_))));
        // With the settings gone, the key is still the unit's.
        std::fs::remove_file(Home::new(&plan.home).config_path()).expect("it was there");
        assert_eq!(init(&plan).expect("made").key, made.key);
    }
}
