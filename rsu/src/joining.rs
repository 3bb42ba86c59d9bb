//! How does a unit come into a chain that runs already?
//!
//! It needs a key, settings that name peers, the genesis, and the state. The genesis comes from a file, or from a peer
//! when its hash is known from elsewhere; everything else descends from it by certificates: the newest snapshot where
//! somebody has one (see [`milepost_node::catch_up`]), or else the blocks, which `run` then fetches. A unit that runs
//! and finds itself far behind goes the same way.
//!
//! Whether the key voted before cannot be told, so whoever joins a chain that has begun follows without a vote until a
//! block of a later time is committed.

use std::path::PathBuf;
use std::time::Duration;

use milepost_incentives::Genesis;
use milepost_node::catch_up::{CatchUpError, Caught, Limits, Place, Progress, catch_up};
use milepost_node::shell::{AskPeers, ask_genesis};
use milepost_node::snapshot::SnapshotError;
use milepost_node::snapshots::Snapshots;
use milepost_node::store::{Rocks, StoreError, install};
use milepost_wire::{ChainId, Hash, SecretKey, Timestamp};
use zenoh::{Session, Wait};

use crate::config::Config;
use crate::home::{Home, HomeError};
use crate::link;

/// How often peers are asked until one answers.
const ASKED_MAX: u32 = 10;
/// How long to wait in between.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the unit's folder is, or shall be.
    pub home: PathBuf,
    /// The genesis; without it, a peer is asked.
    pub genesis: Option<PathBuf>,
    /// Its hash, known from elsewhere.
    pub genesis_hash: Option<Hash>,
    /// Zenoh endpoints of units that run.
    pub peers: Vec<String>,
    /// Zenoh endpoints to listen on.
    pub listen: Vec<String>,
    /// Where the HTTP API shall listen.
    pub api: Option<std::net::SocketAddr>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The chain's beginning.
    pub genesis: Genesis,
    /// The unit's key.
    pub key: SecretKey,
    /// The snapshot; `None` where the blocks have to do.
    pub caught: Option<Caught>,
}

/// Why a unit did not come in.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The folder cannot be read or written.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The folder has a ledger already: `run` goes on from it.
    #[error("{0} holds a ledger already: `milepost-rsu run` goes on from it")]
    Ledger(PathBuf),
    /// Nobody to be asked, and no file.
    #[error("expected --peer ENDPOINT, one that runs already")]
    NoPeer,
    /// Nobody answered.
    #[error("none of {peers:?} answers with a genesis")]
    Nobody {
        /// Who was asked.
        peers: Vec<String>,
    },
    /// A peer's genesis that nobody confirmed.
    #[error(
        "a peer names the genesis {0}; ask a member whether that is right, and say --genesis-hash {0}, or give the file with --genesis"
    )]
    Unconfirmed(Hash),
    /// Another genesis than the one that was confirmed.
    #[error("the genesis has the hash {found}, expected {expected}")]
    OtherGenesis {
        /// What was said.
        expected: Hash,
        /// What there is.
        found: Hash,
    },
    /// A genesis that cannot be read.
    #[error("{origin}: {reason}")]
    Genesis {
        /// The file, or the peer.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Zenoh cannot be used as configured.
    #[error("zenoh: {0}")]
    Zenoh(String),
    /// No snapshot could be fetched and proved.
    #[error(transparent)]
    CatchUp(#[from] CatchUpError),
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The snapshots' folder cannot be used.
    #[error(transparent)]
    Snapshots(#[from] SnapshotError),
    /// The new store could not take its place.
    #[error("the store could not be put into its place: {0}")]
    Settle(#[from] std::io::Error),
}

/// Makes a home and brings it to the newest snapshot. It blocks.
///
/// # Errors
///
/// [`JoinError`]; a home that was begun is gone on with next time.
pub fn join(plan: &Plan, now: Timestamp, progress: &mut impl FnMut(Progress)) -> Result<Joined, JoinError> {
    let home = Home::new(&plan.home);
    install::settle(&home.store())?;
    if home.store().exists() {
        return Err(JoinError::Ledger(home.store()));
    }
    if plan.peers.is_empty() {
        return Err(JoinError::NoPeer);
    }
    let mut config = if home.config_path().exists() {
        home.config()?
    } else {
        Config::default()
    };
    config.connect.clone_from(&plan.peers);
    if !plan.listen.is_empty() {
        config.listen.clone_from(&plan.listen);
    }
    if let Some(api) = plan.api {
        config.api = api;
    }
    // Whoever only asks listens nowhere.
    let asking = Config {
        listen: Vec::new(),
        ..config.clone()
    };
    let unnamed = ChainId::new("unknown").expect("seven letters");
    let session = open(&home, &asking, &unnamed)?;
    let genesis = match &plan.genesis {
        Some(path) => {
            let origin = path.display().to_string();
            let text = std::fs::read(path).map_err(|error| JoinError::Genesis {
                origin: origin.clone(),
                reason: error.to_string(),
            })?;
            read_genesis(&text, &origin)?
        }
        None => genesis_of_peers(&session, plan)?,
    };
    match plan.genesis_hash {
        Some(expected) if expected != genesis.hash() => {
            return Err(JoinError::OtherGenesis {
                expected,
                found: genesis.hash(),
            });
        }
        None if plan.genesis.is_none() => return Err(JoinError::Unconfirmed(genesis.hash())),
        _ => {}
    }
    let key = home.key_or_new()?;
    home.write(&config, &key, &genesis)?;
    let caught = fetch(&home, &config, &genesis, &session, Some(now), progress)?;
    if caught.is_none() && AskPeers::new(session.clone(), genesis.chain.clone()).has_begun() {
        Rocks::open(&home.store())?.silence(now)?;
    }
    close(&session);
    Ok(Joined { genesis, key, caught })
}

/// Brings a unit that is far behind to the newest snapshot. It blocks; the unit does not run meanwhile.
///
/// # Errors
///
/// [`JoinError`]; the store is as it was.
pub fn leap(home: &Home, config: &Config) -> Result<Option<Caught>, JoinError> {
    let genesis = home.genesis()?;
    let session = open(home, config, &genesis.chain)?;
    let caught = fetch(home, config, &genesis, &session, None, &mut |_| {});
    close(&session);
    caught
}

fn open(home: &Home, config: &Config, chain: &ChainId) -> Result<Session, JoinError> {
    let wrong = |error: zenoh::Error| JoinError::Zenoh(error.to_string());
    let settings = link::settings(config, home.folder(), chain).map_err(wrong)?;
    std::thread::sleep(link::APART);
    zenoh::open(settings).wait().map_err(wrong)
}

fn close(session: &Session) {
    if let Err(error) = session.close().wait() {
        tracing::debug!(%error, "zenoh did not close cleanly");
    }
}

fn genesis_of_peers(session: &Session, plan: &Plan) -> Result<Genesis, JoinError> {
    for _ in 0..ASKED_MAX {
        let mut wrong = None;
        for (peer, text) in ask_genesis(session) {
            let genesis = match read_genesis(&text, &format!("the genesis of {peer}")) {
                Ok(genesis) => genesis,
                Err(error) => {
                    wrong = Some(error);
                    continue;
                }
            };
            if plan
                .genesis_hash
                .is_none_or(|expected| expected == genesis.hash())
            {
                return Ok(genesis);
            }
        }
        if let Some(error) = wrong {
            return Err(error);
        }
        std::thread::sleep(ASK_AGAIN);
    }
    Err(JoinError::Nobody {
        peers: plan.peers.clone(),
    })
}

fn read_genesis(text: &[u8], origin: &str) -> Result<Genesis, JoinError> {
    let wrong = |reason: String| JoinError::Genesis {
        origin: origin.to_owned(),
        reason,
    };
    let genesis: Genesis = serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
    genesis.validate().map_err(|error| wrong(error.to_string()))?;
    Ok(genesis)
}

/// The newest snapshot of whoever answers, into the place of the store that is here.
fn fetch(
    home: &Home,
    config: &Config,
    genesis: &Genesis,
    session: &Session,
    silent_until: Option<Timestamp>,
    progress: &mut impl FnMut(Progress),
) -> Result<Option<Caught>, JoinError> {
    let (path, snapshots) = (home.store(), Snapshots::open(&home.snapshots())?);
    install::settle(&path)?;
    let own = match path.exists() {
        true => Some(Rocks::open(&path)?),
        false => None,
    };
    // A silence that is not over goes on in the new store.
    let silent_until = match &own {
        Some(store) => silent_until.max(store.silent_until()?),
        None => silent_until,
    };
    let place = Place {
        own: own.as_ref(),
        into: &install::beside(&path),
        snapshots: &snapshots,
        silent_until,
    };
    let limits = Limits {
        snapshot_bytes_max: config.retention.snapshot_bytes_max(),
        lead_min: 1,
    };
    let mut peers = AskPeers::new(session.clone(), genesis.chain.clone());
    let mut caught = None;
    for _ in 0..ASKED_MAX {
        caught = catch_up(genesis, &mut peers, place, limits, progress)?;
        // Nobody answers before the link is up; where there are blocks and no snapshot, waiting brings none.
        if caught.is_some() || peers.has_begun() {
            break;
        }
        std::thread::sleep(ASK_AGAIN);
    }
    drop(own);
    if caught.is_some() {
        install::ready(&path)?;
    }
    install::settle(&path)?;
    Ok(caught)
}
