//! How does a consortium begin that runs on one machine?
//!
//! In: how many members and vehicles. Out: a folder with a home for each member (`member-0`, …), a key for each
//! vehicle (`vehicles/vehicle-0000.key`, …) and `consortium.json` for the vehicles. Member `i` has its API on
//! `base_port + 2i` and zenoh on the port above, all on loopback, and connects to the members before it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use milepost_incentives::Genesis;
use milepost_incentives::params::Params;
use milepost_wire::identity::KeyError;
use milepost_wire::link::{Station, TlsFiles};
use milepost_wire::member::MembersError;
use milepost_wire::transaction::{Enrolment, Role};
use milepost_wire::{ChainId, Member, Members, SecretKey, Timestamp};

use crate::certificates::{self, Authority, CertificateError};
use crate::config::{Config, ConfigError};
use crate::home::{self, Home, HomeError};

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many members vote.
    pub members: usize,
    /// How many vehicles are enrolled.
    pub vehicles: usize,
    /// Where everything goes.
    pub out: PathBuf,
    /// The first port.
    pub base_port: u16,
    /// The chain's name; by default `testnet-` and the time.
    pub chain: Option<ChainId>,
    /// Keys that anyone can derive, the same each time; by default, random ones.
    pub seed: Option<u64>,
    /// `params.NAME=VALUE` for the genesis, `config.NAME=VALUE` for every member's settings.
    pub overrides: Vec<String>,
    /// Whether to write into a folder that is not empty.
    pub force: bool,
    /// Whether links are mutual TLS, under one authority that is made for it.
    pub tls: bool,
}

/// Why there is no testnet.
#[derive(Debug, thiserror::Error)]
pub enum TestnetError {
    /// Something is there already.
    #[error("{0} is not empty; choose another folder, or say --force to write into it")]
    NotEmpty(PathBuf),
    /// More than there are ports.
    #[error("{members} members need ports {base_port} to {last}, the last port is 65535")]
    Ports {
        /// How many members.
        members: usize,
        /// The first port.
        base_port: u16,
        /// The last that would be needed.
        last: usize,
    },
    /// An override that does not say what to set.
    #[error("expected params.NAME=VALUE or config.NAME=VALUE, found {0:?}")]
    Override(String),
    /// An override that sets what cannot be.
    #[error("{given}: {reason}")]
    Overridden {
        /// The override.
        given: String,
        /// What is wrong.
        reason: String,
    },
    /// Settings that nothing can work with.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Members that are no consortium.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A chain that cannot begin like this.
    #[error("no chain can begin like this: {0}")]
    Genesis(String),
    /// No certificate could be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A file cannot be written.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The folder cannot be looked into.
    #[error("cannot look into {path}: {source}")]
    Look {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Makes the folder; returns the members' homes. `now` is when slot 0 begins.
///
/// # Errors
///
/// [`TestnetError`]; nothing is written before every check has passed.
pub fn make(plan: &Plan, now: Timestamp) -> Result<Vec<Home>, TestnetError> {
    check_folder(plan)?;
    let last = usize::from(plan.base_port) + 2 * plan.members;
    if last > 65_536 {
        return Err(TestnetError::Ports {
            members: plan.members,
            base_port: plan.base_port,
            last: last - 1,
        });
    }
    let (params, config) = overridden(&plan.overrides)?;
    let member_keys = keys("member", plan.members, plan.seed)?;
    let vehicle_keys = keys("vehicle", plan.vehicles, plan.seed)?;
    let genesis = genesis(plan, params, &member_keys, &vehicle_keys, now)?;

    let mut homes = Vec::with_capacity(plan.members);
    for (nth, key) in member_keys.iter().enumerate() {
        let home = Home::new(plan.out.join(format!("member-{nth}")));
        home.write(&member_config(plan, &config, nth), key, &genesis)?;
        homes.push(home);
    }
    let vehicles = plan.out.join("vehicles");
    home::make_folder(&vehicles)?;
    for (nth, key) in vehicle_keys.iter().enumerate() {
        home::write_secret(&vehicles.join(format!("vehicle-{nth:04}.key")), &key.to_hex())?;
    }
    if plan.tls {
        certify(plan, &homes)?;
    }
    home::write_json(&plan.out.join("consortium.json"), &genesis.consortium())?;
    Ok(homes)
}

fn check_folder(plan: &Plan) -> Result<(), TestnetError> {
    if plan.force {
        return Ok(());
    }
    let is_empty = match std::fs::read_dir(&plan.out) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(source) => {
            return Err(TestnetError::Look {
                path: plan.out.clone(),
                source,
            });
        }
    };
    if is_empty {
        Ok(())
    } else {
        Err(TestnetError::NotEmpty(plan.out.clone()))
    }
}

fn keys(label: &str, count: usize, seed: Option<u64>) -> Result<Vec<SecretKey>, KeyError> {
    (0..count as u64)
        .map(|nth| match seed {
            Some(seed) => Ok(SecretKey::from_seed(&format!("{label} of testnet {seed}"), nth)),
            None => SecretKey::generate(),
        })
        .collect()
}

fn genesis(
    plan: &Plan,
    params: Params,
    member_keys: &[SecretKey],
    vehicle_keys: &[SecretKey],
    now: Timestamp,
) -> Result<Genesis, TestnetError> {
    let members = member_keys
        .iter()
        .enumerate()
        .map(|(nth, key)| Member {
            key: key.public(),
            provider: format!("provider-{}", nth + 1),
            power: 1,
        })
        .collect();
    let vehicles = vehicle_keys
        .iter()
        .enumerate()
        .map(|(nth, key)| Enrolment {
            key: key.public(),
            group: nth as u64,
            role: Role::Vehicle,
        })
        .collect();
    let named = format!("testnet-{}", now.unix_millis() / 1000);
    let genesis = Genesis {
        chain: plan
            .chain
            .clone()
            .unwrap_or_else(|| ChainId::new(&named).expect("letters, digits and a dash")),
        time: now,
        members: Members::new(members)?,
        access: milepost_wire::Access::default(),
        params,
        vehicles,
    };
    genesis
        .validate()
        .map_err(|error| TestnetError::Genesis(error.to_string()))?;
    Ok(genesis)
}

/// An authority, a link certificate for each member, and one that all vehicles share: they run on one machine.
fn certify(plan: &Plan, homes: &[Home]) -> Result<(), TestnetError> {
    let authority = Authority::make("testnet")?;
    authority.write(&plan.out.join("authority"))?;
    let issue = |station, names: &[String], folder: &Path| {
        let files = TlsFiles::in_folder(folder);
        authority.issue(
            station,
            names,
            certificates::LINK_DAYS,
            authority.certificate_pem(),
            &files,
        )
    };
    for home in homes {
        issue(
            Station::Roadside,
            &["127.0.0.1".into(), "localhost".into()],
            home.folder(),
        )?;
    }
    issue(Station::Vehicle, &[], &plan.out.join("vehicles/tls"))?;
    Ok(())
}

fn member_config(plan: &Plan, config: &Config, nth: usize) -> Config {
    // The ports were counted before.
    let port = |nth: usize, offset: u16| plan.base_port + 2 * nth as u16 + offset;
    let (protocol, tls) = if plan.tls {
        ("tls", Some(TlsFiles::in_folder(Path::new(""))))
    } else {
        ("tcp", None)
    };
    Config {
        api: SocketAddr::from(([127, 0, 0, 1], port(nth, 0))),
        listen: vec![format!("{protocol}/127.0.0.1:{}", port(nth, 1))],
        tls,
        // A link carries both ways: each pair needs one.
        connect: (0..nth)
            .map(|other| format!("{protocol}/127.0.0.1:{}", port(other, 1)))
            .collect(),
        ..config.clone()
    }
}

/// The defaults with the overrides.
fn overridden(overrides: &[String]) -> Result<(Params, Config), TestnetError> {
    let plain = "settings are plain data";
    let mut root = toml::Table::new();
    // Who tries things out wants to spend what was earned just now.
    let params = Params {
        vest_epochs: 0,
        ..Params::default()
    };
    root.insert("params".into(), toml::Value::try_from(params).expect(plain));
    root.insert(
        "config".into(),
        toml::Value::try_from(Config::default()).expect(plain),
    );
    for given in overrides {
        let wrong = |reason: String| TestnetError::Overridden {
            given: given.clone(),
            reason,
        };
        let (name, value) = given
            .split_once('=')
            .ok_or_else(|| TestnetError::Override(given.clone()))?;
        if !name.starts_with("params.") && !name.starts_with("config.") {
            return Err(TestnetError::Override(given.clone()));
        }
        let slot = find(&mut root, name).ok_or_else(|| wrong("there is no such setting".into()))?;
        *slot = read_value(value);
        // Each by itself, so that the error names the one that is wrong.
        read(&root).map_err(wrong)?;
    }
    let (params, config) = read(&root).expect("each override was read");
    // Checks the numbers, too.
    let config = Config::parse(&config.to_toml(), "--config-override")?;
    Ok((params, config))
}

/// A setting by its dotted name.
fn find<'a>(root: &'a mut toml::Table, name: &str) -> Option<&'a mut toml::Value> {
    let (first, rest) = match name.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (name, None),
    };
    let value = root.get_mut(first)?;
    match rest {
        Some(rest) => find(value.as_table_mut()?, rest),
        None => Some(value),
    }
}

/// A TOML value; whatever is none is text.
fn read_value(text: &str) -> toml::Value {
    format!("value = {text}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

fn read(root: &toml::Table) -> Result<(Params, Config), String> {
    let params = root["params"].clone().try_into();
    let config = root["config"].clone().try_into();
    Ok((
        params.map_err(|error: toml::de::Error| error.message().to_owned())?,
        config.map_err(|error: toml::de::Error| error.message().to_owned())?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use milepost_wire::Consortium;

    fn plan(out: PathBuf) -> Plan {
        Plan {
            members: 3,
            vehicles: 2,
            out,
            base_port: 21_000,
            chain: None,
            seed: Some(7),
            overrides: Vec::new(),
            force: false,
            tls: false,
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_unix_millis(1_795_421_036_000)
    }

    #[test]
    fn each_home_reads_back_and_all_agree() {
        let folder = tempfile::tempdir().expect("a folder");
        let homes = make(&plan(folder.path().join("net")), now()).expect("made");
        assert_eq!(homes.len(), 3);
        let text = std::fs::read_to_string(folder.path().join("net/consortium.json")).expect("there");
        let consortium: Consortium = serde_json::from_str(&text).expect("readable");
        for home in &homes {
            let genesis = home.genesis().expect("readable");
            assert_eq!(genesis.consortium(), consortium);
            let key = home.key().expect("readable");
            assert!(genesis.members.get(&key.address()).is_some());
        }
        let config = homes[2].config().expect("readable");
        assert_eq!(config.listen, ["tcp/127.0.0.1:21005"]);
        assert_eq!(config.connect, ["tcp/127.0.0.1:21001", "tcp/127.0.0.1:21003"]);
        assert!(folder.path().join("net/vehicles/vehicle-0001.key").exists());
    }

    #[test]
    fn the_same_seed_gives_the_same_keys() {
        let (one, other) = (
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
        );
        let genesis = |folder: &tempfile::TempDir| {
            make(&plan(folder.path().into()), now()).expect("made")[0]
                .genesis()
                .expect("readable")
        };
        assert_eq!(genesis(&one), genesis(&other));
    }

    #[test]
    fn secured_links_have_their_files_where_the_settings_say() {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = Plan {
            tls: true,
            ..plan(folder.path().join("net"))
        };
        for home in make(&plan, now()).expect("made") {
            let config = home.config().expect("readable");
            assert!(config.listen[0].starts_with("tls/"));
            let files = config.tls.expect("secured").below(home.folder());
            assert!(files.paths().iter().all(|path| path.exists()));
        }
        assert!(folder.path().join("net/vehicles/tls/link.pem").exists());
    }

    #[test]
    fn a_folder_that_is_not_empty_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = plan(folder.path().into());
        make(&plan, now()).expect("made");
        assert!(matches!(make(&plan, now()), Err(TestnetError::NotEmpty(_))));
        let forced = Plan { force: true, ..plan };
        assert!(make(&forced, now()).is_ok());
    }

    #[test]
    fn overrides_reach_genesis_and_settings() {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = Plan {
            overrides: vec![
                "params.slot_ms=10000".into(),
                "params.epoch_ms=60000".into(),
                "config.node.block_interval_ms=250".into(),
                "config.log=json".into(),
            ],
            ..plan(folder.path().into())
        };
        let homes = make(&plan, now()).expect("made");
        assert_eq!(homes[0].genesis().expect("readable").params.slot_ms, 10_000);
        let config = homes[1].config().expect("readable");
        assert_eq!(config.node.block_interval_ms, 250);
        assert_eq!(config.log, crate::config::LogFormat::Json);
    }

    #[test]
    fn an_override_that_sets_nothing_is_refused_by_name() {
        for given in [
            "slot_ms=1",
            "params.slot_ms",
            "params.slots=1",
            "params.slot_ms=soon",
            "config.bundle_max=0",
            "config.node.x.y=1",
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let plan = Plan {
                overrides: vec![given.into()],
                ..plan(folder.path().into())
            };
            let error = make(&plan, now()).expect_err(given).to_string();
            let name = given.split('=').next().expect("a name");
            let last = name.rsplit('.').next().expect("a name");
            assert!(error.contains(last), "{given}: {error}");
        }
    }
}
