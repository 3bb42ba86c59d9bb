//! Is the chain on this disk right?
//!
//! Replays the store from genesis and believes nothing in it: every certificate, every signature in every
//! batch, every root, the conservation of tokens after every block, the stored outputs, and in the end the
//! stored state itself. It needs the genesis and the disk, no network.

use std::collections::HashMap;
use std::sync::Arc;

use k256::ecdsa::VerifyingKey;
use milepost_incentives::Genesis;
use milepost_wire::signed::signing_digest;
use milepost_wire::state::Books;
use milepost_wire::{Hash, Height, KeyId};
use serde::Serialize;

use crate::batch::VerifiedBatch;
use crate::ledger::Ledger;
use crate::store::{Rocks, Store};

/// What an audit found.
#[derive(Clone, Debug, Serialize)]
pub struct AuditReport {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// How many blocks were replayed and found right.
    pub height: Height,
    /// The state root after them.
    pub state_root: Hash,
    /// The ledger's books after them.
    pub supply: Books,
    /// How many reports were executed.
    pub reports: u64,
    /// What is wrong, first things first.
    pub errors: Vec<String>,
}

/// Replays and checks everything. `progress` hears the height that was done and the last one.
pub fn audit(genesis: &Genesis, store: &Rocks, mut progress: impl FnMut(Height, Height)) -> AuditReport {
    let mut replay = Replay {
        ledger: Ledger::genesis(genesis),
        keys: HashMap::new(),
        reports: 0,
    };
    let mut errors = Vec::new();
    if let Err(error) = replay.run(genesis, store, &mut progress) {
        errors.push(error);
    }
    AuditReport {
        ok: errors.is_empty(),
        height: replay.ledger.height(),
        state_root: replay.ledger.state_root(),
        supply: replay.ledger.state().books(),
        reports: replay.reports,
        errors,
    }
}

struct Replay {
    ledger: Ledger,
    keys: HashMap<KeyId, VerifyingKey>,
    reports: u64,
}

impl Replay {
    fn run(
        &mut self,
        genesis: &Genesis,
        store: &Rocks,
        progress: &mut impl FnMut(Height, Height),
    ) -> Result<(), String> {
        let expected = genesis.hash();
        match store.genesis().map_err(|error| error.to_string())? {
            Some(found) if found == expected => {}
            Some(found) => {
                return Err(format!(
                    "the store was begun with genesis {found}, the file says {expected}"
                ));
            }
            None => return Err("the store is empty: this member never ran".into()),
        }
        let tip = store.height().map_err(|error| error.to_string())?;
        if tip == Height::ZERO {
            return Ok(());
        }
        while self.ledger.height() < tip {
            let height = self.ledger.height().next();
            self.block(store, height)
                .map_err(|error| format!("block {height}: {error}"))?;
            progress(height, tip);
        }
        self.state(store)
    }

    fn block(&mut self, store: &Rocks, height: Height) -> Result<(), String> {
        let (block, certificate) = store
            .block(height)
            .map_err(|error| error.to_string())?
            .ok_or("it is missing, though the store's tip is above it")?;
        let (hash, certified) = (block.hash(), certificate.block);
        if certificate.height != height || certified != hash {
            return Err(format!(
                "its certificate is for block {certified} at height {}, the block is {hash}",
                certificate.height
            ));
        }
        certificate
            .verify(self.ledger.chain(), self.ledger.members())
            .map_err(|error| error.to_string())?;
        let mut batches = Vec::with_capacity(block.body.batches.len());
        for named in &block.body.batches {
            let signed = store
                .batch(&named.digest)
                .map_err(|error| error.to_string())?
                .ok_or_else(|| format!("its batch {} is missing", named.digest))?;
            let author = self
                .ledger
                .members()
                .point(&signed.message.author)
                .ok_or("the author of a batch is no member")?;
            for report in &signed.message.reports {
                let vehicle = report.message.vehicle;
                if !self.keys.contains_key(&vehicle)
                    && let Some(known) = self.ledger.state().vehicle(&vehicle)
                {
                    self.keys.insert(
                        vehicle,
                        known.key.verifying_key().map_err(|error| error.to_string())?,
                    );
                }
            }
            let keys = &self.keys;
            let batch = VerifiedBatch::verify(
                signed,
                self.ledger.chain(),
                author,
                |vehicle| keys.get(&vehicle).copied(),
                |_| None,
            );
            batches.push(Arc::new(batch.map_err(|error| error.to_string())?));
        }
        let executed = self
            .ledger
            .judge(&block, &batches)
            .map_err(|error| error.to_string())?;
        let stored = store.outputs(height).map_err(|error| error.to_string())?;
        if stored.as_ref() != Some(&executed.outputs) {
            return Err("its stored outputs are not what executing it gives".into());
        }
        self.reports += batches
            .iter()
            .map(|batch| batch.reports().len() as u64)
            .sum::<u64>();
        self.ledger = self.ledger.advance(&block, executed);
        Ok(())
    }

    /// The stored state must be the one that replaying gives, and whatever else is stored must read.
    fn state(&self, store: &Rocks) -> Result<(), String> {
        let state = self.ledger.state();
        let tree = store.tree_entries().map_err(|error| error.to_string())?;
        differ("stored state", tree, state.tree_entries().collect())?;
        let open = store.open_entries().map_err(|error| error.to_string())?;
        differ("stored short-lived state", open, state.open_entries())?;
        for batch in store.batches() {
            // Those of decided blocks were verified whole; the others at least are what they are filed as.
            let (digest, signed) = batch.map_err(|error| error.to_string())?;
            let found = signing_digest(self.ledger.chain(), &signed.message);
            if found != digest {
                return Err(format!("the batch filed as {digest} is {found}"));
            }
        }
        store.scrub().map_err(|error| error.to_string())
    }
}

/// Compares what is stored with what the blocks give.
fn differ<T: Ord>(what: &str, mut stored: Vec<T>, mut replayed: Vec<T>) -> Result<(), String> {
    stored.sort_unstable();
    replayed.sort_unstable();
    let missing = replayed
        .iter()
        .filter(|entry| stored.binary_search(entry).is_err())
        .count();
    let strange = stored
        .iter()
        .filter(|entry| replayed.binary_search(entry).is_err())
        .count();
    if missing + strange > 0 {
        return Err(format!(
            "the {what} is not what the blocks give: {missing} entries missing or changed, {strange} that do not belong"
        ));
    }
    Ok(())
}
