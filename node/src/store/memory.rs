//! The store in memory, for the simulator.
//!
//! It forgets as a disk does: [`Memory::crash`] loses what was written but not made durable. Clones share one
//! store, so that it outlives the node which is crashed on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use milepost_wire::certificate::Head;
use milepost_wire::output::Output;
use milepost_wire::state::StateKey;
use milepost_wire::time::Epoch;
use milepost_wire::{Block, Cell, Certificate, Evidence, Hash, Height, KeyId, Kind, SignedBatch, Timestamp};

use super::schema::{self, Index};
use super::{Commit, Loaded, Place, Placed, Store, StoreError, Write};

/// A store that lives as long as its last clone.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    genesis: Option<Hash>,
    chain: Vec<Decided>,
    tree: BTreeMap<StateKey, Vec<u8>>,
    open: BTreeMap<Vec<u8>, Vec<u8>>,
    explain: BTreeMap<[u8; 24], ()>,
    picture: BTreeMap<(Cell, Kind), Place>,
    batches: BTreeMap<Hash, SignedBatch>,
    bodies: BTreeMap<Hash, Block>,
    own: BTreeMap<(Height, u32), Hash>,
    log: BTreeMap<(Height, u32), Vec<u8>>,
    /// Written, but lost at a crash.
    pending: Vec<Write>,
    evidence: Vec<Evidence>,
    silent_until: Option<Timestamp>,
    fail_next_sync: bool,
    forget_log: bool,
}

#[derive(Debug)]
struct Decided {
    block: Block,
    certificate: Certificate,
    outputs: Vec<Output>,
}

impl Decided {
    fn head(&self) -> Head {
        Head {
            header: self.block.header.clone(),
            certificate: self.certificate.clone(),
        }
    }
}

impl Memory {
    /// Loses what was not made durable, as a power failure does.
    pub fn crash(&self) {
        let mut inner = self.lock();
        inner.pending.clear();
        if inner.forget_log {
            inner.log.clear();
            inner.own.clear();
            inner.bodies.clear();
        }
    }

    /// Makes the next durable write fail, as a full disk does.
    pub fn fail_next_sync(&self) {
        self.lock().fail_next_sync = true;
    }

    /// The store is as an earlier copy of it, restored at `at`.
    pub fn restored(&self, at: Timestamp) {
        let mut inner = self.lock();
        inner.silent_until = Some(at);
        inner.pending.clear();
        inner.log.clear();
        inner.own.clear();
        inner.bodies.clear();
    }

    /// From now on a crash also loses what consensus logged: a broken disk, which tests must notice.
    pub fn forget_log_at_crash(&self) {
        self.lock().forget_log = true;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn settle(&mut self) {
        for write in std::mem::take(&mut self.pending) {
            match write {
                Write::Batch(digest, signed) => drop(self.batches.insert(digest, signed)),
                Write::Body(hash, block) => drop(self.bodies.insert(hash, block)),
                Write::Own(height, round, hash) => drop(self.own.insert((height, round), hash)),
                Write::Log(height, index, entry) => drop(self.log.insert((height, index), entry)),
                Write::Evidence(evidence) => self.evidence = evidence,
                Write::Voice => self.silent_until = None,
            }
        }
    }

    fn decided(&self, height: Height) -> Option<&Decided> {
        let index = usize::try_from(height.0).ok()?.checked_sub(1)?;
        self.chain.get(index)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.fail_next_sync) {
            return Err(StoreError::Database("no space left on device (simulated)".into()));
        }
        self.settle();
        Ok(())
    }
}

impl Store for Memory {
    fn load(&mut self, genesis: Hash) -> Result<Loaded, StoreError> {
        let mut inner = self.lock();
        match inner.genesis {
            None => inner.genesis = Some(genesis),
            Some(found) if found != genesis => {
                return Err(StoreError::OtherChain {
                    expected: genesis,
                    found,
                });
            }
            Some(_) => {}
        }
        let above = Height(inner.chain.len() as u64 + 1);
        Ok(Loaded {
            tip: inner.chain.last().map(Decided::head),
            tree: inner
                .tree
                .iter()
                .map(|(key, value)| (*key, value.clone()))
                .collect(),
            open: inner
                .open
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            log: inner
                .log
                .range((above, 0)..(above.next(), 0))
                .map(|(_, entry)| entry.clone())
                .collect(),
            evidence: inner.evidence.clone(),
            silent_until: inner.silent_until,
        })
    }

    fn write(&mut self, writes: &[Write], durable: bool) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.pending.extend_from_slice(writes);
        if durable { inner.sync() } else { Ok(()) }
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let (tip, height) = (Height(inner.chain.len() as u64), commit.block.header.height);
        if height != tip.next() {
            return Err(StoreError::NotNext { tip, height });
        }
        inner.sync()?;
        inner.chain.push(Decided {
            block: commit.block.clone(),
            certificate: commit.certificate.clone(),
            outputs: commit.outputs.to_vec(),
        });
        for (named, signed) in commit.block.body.batches.iter().zip(commit.batches) {
            inner.batches.insert(named.digest, (*signed).clone());
        }
        for (key, value) in commit.tree {
            match value {
                Some(value) => inner.tree.insert(*key, value.clone()),
                None => inner.tree.remove(key),
            };
        }
        for (key, value) in commit.open {
            match value {
                Some(value) => inner.open.insert(key.clone(), value.clone()),
                None => inner.open.remove(key),
            };
        }
        for (index, output) in (0u32..).zip(commit.outputs) {
            match schema::index(output, (height, index)) {
                Some(Index::Explain(key)) => drop(inner.explain.insert(key, ())),
                Some(Index::Picture(_)) => {
                    if let Output::Estimate(estimate) = output {
                        inner
                            .picture
                            .insert((estimate.item.cell, estimate.item.kind), (height, index));
                    }
                }
                None => {}
            }
        }
        inner.log.retain(|(at, _), _| *at > height);
        inner.own.retain(|(at, _), _| *at > height);
        inner.bodies.clear();
        Ok(())
    }

    fn head(&self, height: Height) -> Result<Option<Head>, StoreError> {
        Ok(self.lock().decided(height).map(Decided::head))
    }

    fn block(&self, height: Height) -> Result<Option<(Block, Certificate)>, StoreError> {
        let inner = self.lock();
        let found = inner.decided(height);
        Ok(found.map(|decided| (decided.block.clone(), decided.certificate.clone())))
    }

    fn batch(&self, digest: &Hash) -> Result<Option<SignedBatch>, StoreError> {
        let inner = self.lock();
        let pending = inner.pending.iter().find_map(|write| match write {
            Write::Batch(found, signed) if found == digest => Some(signed.clone()),
            _ => None,
        });
        Ok(pending.or_else(|| inner.batches.get(digest).cloned()))
    }

    fn body(&self, hash: &Hash) -> Result<Option<Block>, StoreError> {
        let inner = self.lock();
        let pending = inner.pending.iter().find_map(|write| match write {
            Write::Body(found, block) if found == hash => Some(block.clone()),
            _ => None,
        });
        Ok(pending.or_else(|| inner.bodies.get(hash).cloned()))
    }

    fn own(&self, height: Height, round: u32) -> Result<Option<Hash>, StoreError> {
        let inner = self.lock();
        let pending = inner.pending.iter().find_map(|write| match write {
            Write::Own(at, in_round, hash) if (*at, *in_round) == (height, round) => Some(*hash),
            _ => None,
        });
        Ok(pending.or_else(|| inner.own.get(&(height, round)).copied()))
    }

    fn outputs(&self, height: Height) -> Result<Option<Vec<Output>>, StoreError> {
        Ok(self.lock().decided(height).map(|decided| decided.outputs.clone()))
    }

    fn explanation(&self, vehicle: KeyId, epoch: Epoch) -> Result<Vec<Place>, StoreError> {
        let prefix = schema::explain_prefix(vehicle, epoch);
        let mut from = [0; 24];
        from[..12].copy_from_slice(&prefix);
        let inner = self.lock();
        let keys = inner
            .explain
            .range(from..)
            .map(|(key, ())| key)
            .take_while(|key| key.starts_with(&prefix));
        Ok(keys.filter_map(|key| schema::place(&key[12..])).collect())
    }

    fn picture(&self) -> Result<Vec<Placed>, StoreError> {
        Ok(self
            .lock()
            .picture
            .iter()
            .map(|(what, place)| (*what, *place))
            .collect())
    }

    fn size_bytes(&self) -> u64 {
        let inner = self.lock();
        let tree: usize = inner.tree.values().map(Vec::len).sum();
        let open: usize = inner
            .open
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        (tree + open) as u64
    }
}
