//! Is the block that a proposal names valid?
//!
//! Once its body and all its batches are here, and its time has come by one's own clock, it is executed, once, and the
//! engine is told.

use std::sync::Arc;

use milepost_wire::{Block, Hash, SignedBatch};

use super::{Fatal, Named, Node};
use crate::batch::VerifiedBatch;
use crate::engine::Verdict;
use crate::store::{Store, Write};

impl<S: Store> Node<S> {
    pub(super) fn consider_all(&mut self) -> Result<(), Fatal> {
        let named: Vec<Hash> = self.deciding.named.keys().copied().collect();
        for hash in named {
            self.consider(hash)?;
        }
        Ok(())
    }

    /// Tells the engine about a body that was named, as soon as it can be judged.
    pub(super) fn consider(&mut self, hash: Hash) -> Result<(), Fatal> {
        if self.resting.is_some() {
            return Ok(());
        }
        let Some(block) = self.deciding.bodies.get(&hash).cloned() else {
            return Ok(());
        };
        if block.header.time > self.now.wall.plus(self.settings.drift_ms) {
            return Ok(());
        }
        let Some(valid) = self.judge(hash, &block)? else {
            return Ok(());
        };
        let named = self.deciding.named.get(&hash).cloned().unwrap_or_default();
        for named in named {
            if self.next() != block.header.height || !self.deciding.told.insert((hash, named)) {
                continue;
            }
            self.store_body(hash, &block)?;
            let Named {
                round,
                valid_round,
                proposer,
            } = named;
            let stepped = self.engine.judged(Verdict {
                height: block.header.height,
                round,
                valid_round,
                proposer,
                value: hash,
                valid,
                fetched: false,
            })?;
            self.run(stepped)?;
        }
        Ok(())
    }

    /// The body is on disk with, or before, the log entry that follows from it, and so are batches that came with it alone:
    /// a log that decides a block must not outlive them.
    pub(super) fn store_body(&mut self, hash: Hash, block: &Block) -> Result<(), Fatal> {
        let fetched = block.body.batches.iter().filter_map(|named| {
            let batch = self.deciding.batches.get(&named.digest)?;
            let is_stored = self.pool.batch(&named.digest).is_some();
            (!is_stored).then(|| Write::Batch(named.digest, batch.signed().clone()))
        });
        let writes: Vec<Write> = fetched.chain([Write::Body(hash, block.clone())]).collect();
        Ok(self.store.write(&writes, false)?)
    }

    /// When the first body that came too early by our clock can be judged.
    pub(super) fn untimely_until(&self) -> Option<u64> {
        let untold = self.deciding.bodies.iter().filter(|(hash, _)| {
            let named = self.deciding.named.get(*hash);
            named.is_some_and(|named| {
                named
                    .iter()
                    .any(|named| !self.deciding.told.contains(&(**hash, *named)))
            })
        });
        let horizon = self.now.wall.plus(self.settings.drift_ms);
        let waits = untold
            .map(|(_, block)| block.header.time)
            .filter(|time| *time > horizon);
        waits.map(|time| self.now.mono_ms + time.since(horizon)).min()
    }

    /// Executes a body unless that was done; `None` while batches are missing.
    pub(super) fn judge(&mut self, hash: Hash, block: &Block) -> Result<Option<bool>, Fatal> {
        if let Some(judged) = self.deciding.judged.get(&hash) {
            return Ok(Some(judged.is_ok()));
        }
        let judged = match self.ledger().inspect(block) {
            Err(invalid) => Err(invalid),
            Ok(()) => {
                let Some(batches) = self.batches_of(block)? else {
                    return Ok(None);
                };
                self.ledger().judge(block, &batches)
            }
        };
        if let Err(invalid) = &judged {
            tracing::warn!(height = %block.header.height, proposer = %block.header.proposer, %invalid, "a block is invalid");
        }
        let valid = judged.is_ok();
        self.deciding.judged.insert(hash, judged);
        Ok(Some(valid))
    }

    /// The batches that a block names, from the pool, from what was fetched, or from the disk.
    pub(super) fn batches_of(&mut self, block: &Block) -> Result<Option<Vec<Arc<VerifiedBatch>>>, Fatal> {
        let mut batches = Vec::with_capacity(block.body.batches.len());
        for named in &block.body.batches {
            let held = self
                .pool
                .batch(&named.digest)
                .or_else(|| self.deciding.batches.get(&named.digest))
                .cloned();
            let batch = match held {
                Some(batch) => batch,
                None => match self
                    .store
                    .batch(&named.digest)?
                    .and_then(|signed| self.verify(signed))
                {
                    Some(batch) => {
                        self.deciding.batches.insert(named.digest, batch.clone());
                        batch
                    }
                    None => return Ok(None),
                },
            };
            batches.push(batch);
        }
        Ok(Some(batches))
    }

    pub(super) fn verify(&self, signed: SignedBatch) -> Option<Arc<VerifiedBatch>> {
        let author = self.ledger().author(&signed.message.author)?;
        let state = self.ledger().state();
        let key = |vehicle| {
            state
                .vehicle(&vehicle)
                .and_then(|vehicle| vehicle.key.verifying_key().ok())
        };
        VerifiedBatch::verify(
            signed,
            self.ledger().height(),
            self.ledger().chain(),
            &author,
            key,
            |_| None,
        )
        .ok()
        .map(Arc::new)
    }
}
