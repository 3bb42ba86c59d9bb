//! Is the chain on this disk right?
//!
//! Believes nothing in the store: first the whole chain of headers from the genesis, with every certificate; then the
//! blocks, replayed from the genesis, or where those are pruned from the oldest snapshot that is kept, whose state must
//! be the one that its header commits to: every signature in every batch, every root, the conservation of tokens after
//! every block, the stored outputs; and in the end the stored state itself. It needs the genesis and the disk, no
//! network.

use std::collections::HashMap;
use std::sync::Arc;

use k256::ecdsa::VerifyingKey;
use milepost_incentives::Genesis;
use milepost_wire::output;
use milepost_wire::signed::signing_digest;
use milepost_wire::state::Books;
use milepost_wire::{Hash, Height, KeyId};
use serde::Serialize;

use crate::batch::VerifiedBatch;
use crate::ledger::Ledger;
use crate::lineage::Lineage;
use crate::message::HeadsAnswer;
use crate::snapshot;
use crate::snapshots::Snapshots;
use crate::store::{Rocks, Store};

/// What an audit found.
#[derive(Clone, Debug, Serialize)]
pub struct AuditReport {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// After which block replaying began: 0 for the genesis, else the height of the oldest snapshot that is kept.
    pub from_height: Height,
    /// Up to which block all was replayed and found right.
    pub height: Height,
    /// Up to which height headers and certificates descend from the genesis.
    pub headers: Height,
    /// The state root after them.
    pub state_root: Hash,
    /// The ledger's books after them.
    pub supply: Books,
    /// How many reports were executed.
    pub reports: u64,
    /// What is wrong, first things first.
    pub errors: Vec<String>,
}

/// How far an audit has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Headers up to this height, of the last, are verified.
    Headers(Height, Height),
    /// Blocks up to this height, of the last, are replayed.
    Blocks(Height, Height),
}

/// Replays and checks everything. `snapshots` is where a pruned store's replaying begins; `progress` hears of every
/// step.
pub fn audit(
    genesis: &Genesis,
    store: &Rocks,
    snapshots: Option<&Snapshots>,
    mut progress: impl FnMut(Progress),
) -> AuditReport {
    let mut replay = Replay {
        lineage: Lineage::genesis(genesis),
        ledger: Ledger::genesis(genesis),
        from: Height::ZERO,
        keys: HashMap::new(),
        reports: 0,
    };
    let mut errors = Vec::new();
    if let Err(error) = replay.run(genesis, store, snapshots, &mut progress) {
        errors.push(error);
    }
    AuditReport {
        ok: errors.is_empty(),
        from_height: replay.from,
        height: replay.ledger.height(),
        headers: replay.lineage.height(),
        state_root: replay.ledger.state_root(),
        supply: replay.ledger.state().books(),
        reports: replay.reports,
        errors,
    }
}

struct Replay {
    lineage: Lineage,
    ledger: Ledger,
    from: Height,
    keys: HashMap<KeyId, VerifyingKey>,
    reports: u64,
}

impl Replay {
    fn run(
        &mut self,
        genesis: &Genesis,
        store: &Rocks,
        snapshots: Option<&Snapshots>,
        progress: &mut impl FnMut(Progress),
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
        self.headers(store, tip, progress)?;
        let pruned = store.pruned().map_err(|error| error.to_string())?;
        if pruned > Height::ZERO {
            self.begin(genesis, store, snapshots, pruned)?;
        }
        while self.ledger.height() < tip {
            let height = self.ledger.height().next();
            self.block(store, height)
                .map_err(|error| format!("block {height}: {error}"))?;
            self.snapshot(snapshots, height)
                .map_err(|error| format!("snapshot {height}: {error}"))?;
            progress(Progress::Blocks(height, tip));
        }
        self.state(store)
    }

    /// Every header from the genesis on, with its certificate.
    fn headers(
        &mut self,
        store: &Rocks,
        tip: Height,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), String> {
        while self.lineage.height() < tip {
            let next = self.lineage.height().next();
            let count = usize::try_from(tip.0 - self.lineage.height().0).unwrap_or(usize::MAX);
            let heads = store.heads(next, count.min(HeadsAnswer::COUNT_MAX));
            let heads = heads.map_err(|error| format!("block {next} or one above: {error}"))?;
            if heads.is_empty() {
                return Err(format!(
                    "block {next}: its header is missing, though the store's tip is {tip}"
                ));
            }
            let sets = store.members_after(&heads).map_err(|error| error.to_string())?;
            self.lineage
                .extend(&heads, &sets)
                .map_err(|error| error.to_string())?;
            progress(Progress::Headers(self.lineage.height(), tip));
        }
        Ok(())
    }

    /// Begins at the oldest snapshot that is not below what is pruned.
    fn begin(
        &mut self,
        genesis: &Genesis,
        store: &Rocks,
        snapshots: Option<&Snapshots>,
        pruned: Height,
    ) -> Result<(), String> {
        let missing = || format!("blocks up to {pruned} are pruned, and there is no snapshot to begin with");
        let snapshots = snapshots.ok_or_else(missing)?;
        let heights = snapshots.heights().map_err(|error| error.to_string())?;
        let from = heights.into_iter().find(|height| *height >= pruned);
        let from = from.ok_or_else(missing)?;
        let wrong = |error: &dyn std::fmt::Display| format!("snapshot {from}: {error}");
        let offer = snapshots.offer(from).map_err(|error| wrong(&error))?;
        let offer = offer.ok_or_else(|| wrong(&"it is not there"))?;
        let head = store.head(from).map_err(|error| wrong(&error))?;
        if head.is_none_or(|head| head.header != offer.head.header) {
            return Err(wrong(&"its header is not the one in the chain"));
        }
        self.ledger = snapshots.ledger(genesis, &offer).map_err(|error| wrong(&error))?;
        self.from = from;
        // Of the blocks before, what they put out is still promised where it is kept.
        let kept = store.outputs_pruned().map_err(|error| error.to_string())?;
        for height in (kept.0 + 1..=from.0).map(Height) {
            self.outputs(store, height)
                .map_err(|error| format!("block {height}: {error}"))?;
        }
        Ok(())
    }

    /// The outputs of a block that is not replayed are the ones that its header commits to.
    fn outputs(&self, store: &Rocks, height: Height) -> Result<(), String> {
        let head = store.head(height).map_err(|error| error.to_string())?;
        let stored = store.outputs(height).map_err(|error| error.to_string())?;
        match (head, stored) {
            (Some(head), Some(stored)) if output::root(&stored) == head.header.outputs_root => Ok(()),
            _ => Err("its stored outputs are not what its header commits to".into()),
        }
    }

    /// A snapshot that is kept for others is what replaying gives.
    fn snapshot(&self, snapshots: Option<&Snapshots>, height: Height) -> Result<(), String> {
        let Some(snapshots) = snapshots else { return Ok(()) };
        let Some(offer) = snapshots.offer(height).map_err(|error| error.to_string())? else {
            return Ok(());
        };
        if offer.head.header.hash() != self.ledger.tip() {
            return Err("its header is not the one in the chain".into());
        }
        let mut count = 0;
        for (_, expected) in snapshot::chunks(self.ledger.state()) {
            let stored = snapshots
                .chunk(height, count)
                .map_err(|error| error.to_string())?;
            if stored.as_ref() != Some(&expected) {
                return Err(format!("chunk {count} is not what replaying gives"));
            }
            count += 1;
        }
        if offer.manifest.chunks.len() != count {
            return Err(format!(
                "it names more than the {count} chunks that replaying gives"
            ));
        }
        Ok(())
    }

    fn block(&mut self, store: &Rocks, height: Height) -> Result<(), String> {
        let (block, _) = store
            .block(height)
            .map_err(|error| error.to_string())?
            .ok_or("it is missing, though the store's tip is above it")?;
        let mut batches = Vec::with_capacity(block.body.batches.len());
        for named in &block.body.batches {
            let signed = store
                .batch(&named.digest)
                .map_err(|error| error.to_string())?
                .ok_or_else(|| format!("its batch {} is missing", named.digest))?;
            let author = self
                .ledger
                .author(&signed.message.author)
                .ok_or("the author of a batch is neither a member nor a member's unit")?;
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
                self.ledger.height(),
                self.ledger.chain(),
                &author,
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
        differ("stored short-lived state", open, state.open_entries().collect())?;
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
