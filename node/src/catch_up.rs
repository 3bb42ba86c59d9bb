//! How does a unit get to the present without executing the past?
//!
//! It asks its peers for their newest snapshots, takes all headers from the genesis to the newest one's height, checks
//! every certificate on the way, and then fetches the snapshot chunk by chunk onto its disk, each from any peer that
//! offers the same one. Only when all chunks together come to the state root that the last header commits to are they
//! put into a new store, which takes the old one's place in one stroke.
//!
//! A peer whose word proves wrong is not asked again: a forged header, a chunk of other bytes, a manifest whose chunks
//! come to another state. What is left of it costs time and no more than [`Limits`] of disk. Memory holds one answer at
//! a time, and in the end the state itself, as every running unit does.
//!
//! Source: docs/adr/0017-snapshots.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use milepost_incentives::Genesis;
use milepost_wire::codec::decode;
use milepost_wire::{Address, Hash, Height, Members, Timestamp};

use crate::ledger::Ledger;
use crate::lineage::{Lineage, LineageError};
use crate::message::HeadsAnswer;
use crate::snapshot::{Offer, SnapshotError};
use crate::snapshots::{Gathered, Snapshots};
use crate::store::{Rocks, Store, StoreError};

/// Whoever can be asked. Every answer is bytes from outside.
pub trait Peers {
    /// The newest snapshot of everybody who answers.
    fn offers(&mut self) -> Vec<(Address, Vec<u8>)>;
    /// Headers from a height on: a [`HeadsAnswer`].
    fn heads(&mut self, peer: Address, from: Height) -> Option<Vec<u8>>;
    /// A chunk of a peer's snapshot.
    fn chunk(&mut self, peer: Address, height: Height, index: usize) -> Option<Vec<u8>>;
}

/// What a unit bears.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest snapshot, in bytes.
    pub snapshot_bytes_max: u64,
    /// A snapshot is worth fetching if it is so many blocks ahead.
    pub lead_min: u64,
}

/// Where a unit's past and its new store are.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// What is here already.
    pub own: Option<&'a Rocks>,
    /// Where the new store goes.
    pub into: &'a Path,
    /// Where the snapshot is kept, for others.
    pub snapshots: &'a Snapshots,
    /// The new store's member says nothing before a block of a later time: see
    /// [`Loaded::silent_until`](crate::store::Loaded::silent_until).
    pub silent_until: Option<Timestamp>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Headers up to this height, of the snapshot's, are verified.
    Headers(Height, Height),
    /// So many chunks, of all, are here.
    Chunks(usize, usize),
}

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caught {
    /// The snapshot's height.
    pub height: Height,
    /// Its state root, which certificates vouch for.
    pub state_root: Hash,
    /// How many chunks it has.
    pub chunks: usize,
    /// How many bytes they have.
    pub bytes: u64,
    /// Peers whose word proved wrong.
    pub refused: usize,
}

/// Why a unit could not catch up.
#[derive(Debug, thiserror::Error)]
pub enum CatchUpError {
    /// One's own disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One's own disk failed.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The headers that are stored here do not descend from the genesis.
    #[error("the headers of this unit's own store are wrong: {0}")]
    Own(LineageError),
    /// There are snapshots, and none that holds what it promises.
    #[error("none of {offers} snapshots that were offered could be fetched and proved: {last}")]
    NoneGood {
        /// How many were offered.
        offers: usize,
        /// What was wrong with the last one.
        last: String,
    },
}

/// Fetches the newest snapshot that certificates vouch for into a new store. `None` where nobody offers one that is far
/// enough ahead.
///
/// # Errors
///
/// [`CatchUpError`].
pub fn catch_up(
    genesis: &Genesis,
    peers: &mut impl Peers,
    place: Place<'_>,
    limits: Limits,
    progress: &mut impl FnMut(Progress),
) -> Result<Option<Caught>, CatchUpError> {
    let here = match place.own {
        Some(store) => store.height()?,
        None => Height::ZERO,
    };
    let mut offers = offers(genesis, peers, limits, here);
    if offers.is_empty() {
        return Ok(None);
    }
    let count = offers.len();
    let mut fetch = Fetch {
        genesis,
        peers,
        lineage: Lineage::genesis(genesis),
        store: Rocks::open(place.into)?,
        refused: BTreeSet::new(),
    };
    if let Some(store) = place.own {
        fetch.take_own(store, here)?;
    }
    let mut last = String::from("nobody answers");
    // The highest first; of those at one height, the one that most peers have.
    while let Some(mut offered) = offers.pop() {
        offered.peers.retain(|peer| !fetch.refused.contains(peer));
        if offered.peers.is_empty() {
            continue;
        }
        match fetch.snapshot(&offered, place.snapshots, progress)? {
            Ok((ledger, gathered)) => {
                let offer = &offered.offer;
                fetch.store.put_state(&ledger)?;
                fetch
                    .store
                    .begin_at(genesis.hash(), &offer.head, place.silent_until)?;
                gathered.keep()?;
                return Ok(Some(Caught {
                    height: offer.manifest.height,
                    state_root: ledger.state_root(),
                    chunks: offer.manifest.chunks.len(),
                    bytes: offer.manifest.bytes,
                    refused: fetch.refused.len(),
                }));
            }
            Err(why) => {
                tracing::warn!(height = %offered.offer.manifest.height, why, "a snapshot is refused");
                last = why;
            }
        }
    }
    Err(CatchUpError::NoneGood { offers: count, last })
}

/// A snapshot, and who has it.
struct Offered {
    offer: Offer,
    peers: Vec<Address>,
}

/// What is offered and can be: by height, and by how many peers have it.
fn offers(genesis: &Genesis, peers: &mut impl Peers, limits: Limits, here: Height) -> Vec<Offered> {
    let mut offers: BTreeMap<Hash, Offered> = BTreeMap::new();
    for (peer, bytes) in peers.offers() {
        let offer = match decode::<Offer>(&bytes) {
            Ok(offer) => offer,
            Err(error) => {
                tracing::warn!(%peer, %error, "a snapshot is refused");
                continue;
            }
        };
        if let Err(error) = offer.check(limits.snapshot_bytes_max) {
            tracing::warn!(%peer, %error, "a snapshot is refused");
            continue;
        }
        let ahead = offer.manifest.height.0.saturating_sub(here.0);
        if offer.manifest.chain != genesis.chain || ahead < limits.lead_min.max(1) {
            continue;
        }
        offers
            .entry(offer.manifest.digest())
            .or_insert_with(|| Offered {
                offer,
                peers: Vec::new(),
            })
            .peers
            .push(peer);
    }
    let mut offers: Vec<Offered> = offers.into_values().collect();
    offers.sort_by_key(|offered| (offered.offer.manifest.height, offered.peers.len()));
    offers
}

struct Fetch<'a, P> {
    genesis: &'a Genesis,
    peers: &'a mut P,
    lineage: Lineage,
    store: Rocks,
    refused: BTreeSet<Address>,
}

impl<P: Peers> Fetch<'_, P> {
    /// Takes over the headers that are here already, having checked them again.
    fn take_own(&mut self, own: &Rocks, tip: Height) -> Result<(), CatchUpError> {
        while self.lineage.height() < tip {
            let heads = own.heads(self.lineage.height().next(), HeadsAnswer::COUNT_MAX)?;
            let sets = own.members_after(&heads)?;
            if heads.is_empty() {
                break;
            }
            self.lineage.extend(&heads, &sets).map_err(CatchUpError::Own)?;
            self.store.put_heads(&heads, &sets)?;
        }
        Ok(())
    }

    /// One snapshot with the headers up to it. The inner error says what is wrong with what the peers gave.
    fn snapshot<'s>(
        &mut self,
        offered: &Offered,
        snapshots: &'s Snapshots,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Result<(Ledger, Gathered<'s>), String>, CatchUpError> {
        let (offer, height) = (&offered.offer, offered.offer.manifest.height);
        if let Err(why) = self.headers(offered, progress)? {
            return Ok(Err(why));
        }
        let known = self.store.head(height)?.map(|head| head.header.hash());
        if known != Some(offer.manifest.block) {
            self.refused.extend(&offered.peers);
            let (found, height) = (offer.manifest.block, offer.manifest.height);
            return Ok(Err(format!(
                "it is of block {found}, which is not block {height}"
            )));
        }
        let gathered = snapshots.gather(offer.clone())?;
        let count = offer.manifest.chunks.len();
        for index in 0..count {
            progress(Progress::Chunks(index, count));
            if let Err(why) = self.chunk(offered, &gathered, index)? {
                gathered.discard()?;
                return Ok(Err(why));
            }
        }
        progress(Progress::Chunks(count, count));
        match gathered.ledger(self.genesis) {
            Ok(ledger) => Ok(Ok((ledger, gathered))),
            Err(error @ SnapshotError::File { .. }) => Err(error.into()),
            Err(error) => {
                // Every chunk is the one that the manifest names: it is the manifest that lies.
                self.refused.extend(&offered.peers);
                gathered.discard()?;
                Ok(Err(error.to_string()))
            }
        }
    }

    /// All headers up to a snapshot's.
    fn headers(
        &mut self,
        offered: &Offered,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Result<(), String>, CatchUpError> {
        let height = offered.offer.manifest.height;
        let mut turn = 0;
        while self.lineage.height() < height {
            progress(Progress::Headers(self.lineage.height(), height));
            let peers = self.willing(offered);
            let Some(peer) = peers.get(turn % peers.len().max(1)).copied() else {
                return Ok(Err(format!(
                    "nobody has good headers above {}",
                    self.lineage.height()
                )));
            };
            turn += 1;
            match self.some_headers(peer, height)? {
                Ok(()) => {}
                Err(why) => {
                    tracing::warn!(%peer, why, "headers are refused; asking another peer");
                    self.refused.insert(peer);
                }
            }
        }
        progress(Progress::Headers(height, height));
        Ok(Ok(()))
    }

    fn some_headers(&mut self, peer: Address, last: Height) -> Result<Result<(), String>, CatchUpError> {
        let from = self.lineage.height().next();
        let Some(bytes) = self.peers.heads(peer, from) else {
            return Ok(Err(format!("no answer for headers from {from} on")));
        };
        let answer = match decode::<HeadsAnswer>(&bytes) {
            Ok(mut answer) if !answer.heads.is_empty() => {
                answer.heads.retain(|head| head.header.height <= last);
                answer
            }
            Ok(_) => return Ok(Err(format!("no headers from {from} on"))),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let sets: Result<Vec<Members>, _> = answer.members.into_iter().map(Members::new).collect();
        let sets = match sets {
            Ok(sets) => sets,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if let Err(error) = self.lineage.extend(&answer.heads, &sets) {
            return Ok(Err(error.to_string()));
        }
        self.store.put_heads(&answer.heads, &sets)?;
        Ok(Ok(()))
    }

    /// One chunk, from whoever gives the right one.
    fn chunk(
        &mut self,
        offered: &Offered,
        gathered: &Gathered<'_>,
        index: usize,
    ) -> Result<Result<(), String>, CatchUpError> {
        let mut why = String::from("nobody is left to ask");
        let peers = self.willing(offered);
        for step in 0..peers.len() {
            let peer = peers[(index + step) % peers.len()];
            let Some(bytes) = self.peers.chunk(peer, offered.offer.manifest.height, index) else {
                why = format!("no answer for chunk {index}");
                continue;
            };
            match gathered.put(index, &bytes) {
                Ok(()) => return Ok(Ok(())),
                Err(error @ SnapshotError::File { .. }) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(%peer, %error, "a chunk is refused; asking another peer");
                    self.refused.insert(peer);
                    why = error.to_string();
                }
            }
        }
        Ok(Err(why))
    }

    fn willing(&self, offered: &Offered) -> Vec<Address> {
        let peers = offered.peers.iter().copied();
        peers.filter(|peer| !self.refused.contains(peer)).collect()
    }
}
