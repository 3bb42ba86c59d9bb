//! What is missing here that others have, and when is it asked for?
//!
//! Bodies that proposals named, batches that bodies name, and whole blocks where others are ahead. What is on its way
//! gets a moment to arrive; what does not come is asked for again.

use std::collections::BTreeSet;
use std::sync::Arc;

use milepost_wire::{Block, Certificate, Hash};

use super::{Fatal, Node, Output, Want};
use crate::batch::VerifiedBatch;
use crate::store::Store;

/// A body or a batch that is named and not here is asked for after so many milliseconds.
const FETCH_AFTER_MS: u64 = 80;
/// No more than so many things are asked for at once.
const FETCH_AT_ONCE_MAX: usize = 16;
/// A member that is one block behind for so many milliseconds fetches it.
const BEHIND_MS: u64 = 300;
/// Nobody is believed to have a block after so many questions for it that nobody answered: whoever boasts of heights
/// costs that many. True claims come again every [`Settings::status_ms`](super::Settings::status_ms).
const UNANSWERED_MAX: u32 = 8;

impl<S: Store> Node<S> {
    pub(super) fn fetch_missing(&mut self) {
        let missing = self.missing();
        if missing.is_empty() {
            self.deciding.refetch_at = None;
            return;
        }
        match self.deciding.refetch_at {
            // What is on its way gets a moment to arrive.
            None => self.deciding.refetch_at = Some(self.now.mono_ms + FETCH_AFTER_MS),
            Some(at) if at <= self.now.mono_ms => {
                self.deciding.refetch_at = Some(self.now.mono_ms + self.settings.refetch_ms);
                for want in missing.into_iter().take(FETCH_AT_ONCE_MAX) {
                    let of = match want {
                        Want::Batch(digest) => self.whom_to_ask(digest),
                        Want::Body(_) | Want::Block(_) => None,
                    };
                    self.outputs.push(Output::Fetch { want, of });
                }
            }
            Some(_) => {}
        }
    }

    pub(super) fn missing(&self) -> Vec<Want> {
        if self.resting.is_some() {
            return Vec::new();
        }
        let bodies = self
            .deciding
            .named
            .keys()
            .filter(|hash| !self.deciding.bodies.contains_key(*hash));
        let batches = self
            .deciding
            .bodies
            .iter()
            .filter(|(hash, _)| !self.deciding.judged.contains_key(*hash))
            .flat_map(|(_, block)| &block.body.batches)
            .filter(|named| !self.holds(&named.digest));
        let wanted: BTreeSet<Want> = bodies
            .map(|hash| Want::Body(*hash))
            .chain(batches.map(|named| Want::Batch(named.digest)))
            .collect();
        wanted.into_iter().collect()
    }

    pub(super) fn holds(&self, digest: &Hash) -> bool {
        self.pool.batch(digest).is_some() || self.deciding.batches.contains_key(digest)
    }

    /// Asks for the next block where others have it.
    pub(super) fn fetch_block(&mut self) {
        let next = self.next();
        if self.claimed < next {
            self.fetching = None;
            self.catching_up = false;
            return;
        }
        let at = match self.fetching {
            Some((height, at)) if height == next => at,
            // One block behind is what everyone is for a moment, whose votes are still on their way.
            _ if self.claimed == next && !self.catching_up => self.now.mono_ms + BEHIND_MS,
            _ => self.now.mono_ms,
        };
        if at <= self.now.mono_ms && self.unanswered == UNANSWERED_MAX {
            self.claimed = self.ledger().height();
            self.unanswered = 0;
            self.fetching = None;
            self.catching_up = false;
        } else if at <= self.now.mono_ms {
            self.unanswered += 1;
            let want = Want::Block(next);
            self.outputs.push(Output::Fetch { want, of: None });
            self.fetching = Some((next, self.now.mono_ms + self.settings.refetch_ms));
        } else {
            self.fetching = Some((next, at));
        }
    }

    pub(super) fn take_block(
        &mut self,
        block: Block,
        certificate: Certificate,
        batches: Vec<Arc<VerifiedBatch>>,
    ) -> Result<(), Fatal> {
        let hash = block.hash();
        if block.header.height != self.next()
            || certificate.height != self.next()
            || certificate.block != hash
            || !block.is_whole()
        {
            return Ok(());
        }
        if let Err(error) = certificate.verify(self.ledger().chain(), self.members()) {
            tracing::warn!(height = %block.header.height, %error, "a fetched block is refused");
            return Ok(());
        }
        self.fetching = None;
        self.unanswered = 0;
        if self.resting.is_some() {
            self.start()?;
        }
        if self.next() != block.header.height {
            // Starting the height was enough to decide it.
            return Ok(());
        }
        self.catching_up = true;
        self.deciding
            .batches
            .extend(batches.into_iter().map(|batch| (batch.digest(), batch)));
        self.deciding.bodies.insert(hash, Arc::new(block));
        let stepped = self.engine.certified(&certificate)?;
        self.run(stepped)
    }
}
