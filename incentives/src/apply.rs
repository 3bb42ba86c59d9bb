//! What follows from a block?
//!
//! In: a block's transactions and reports, whose signatures were checked, and its time. Out: the outputs that
//! its header commits to. Nothing fails: what is refused becomes a receipt.
//!
//! The order is: what has fallen due by the block's time, in the order in which it fell due; the transactions,
//! as listed; the reports, in an order of their own; at last, what the members have decided for the next block. So what is settled does not depend on how often blocks are
//! made, nor on how a block lists its batches, and a vehicle can be enrolled and heard in one block. What a listening unit
//! passed on counts as its operator's.
//!
//! After a pause many slots and epochs may be due at once. The work is bounded by what was heard: slots without
//! sightings cost nothing, and a run of empty epochs is closed as one.

use milepost_wire::output::Output;
use milepost_wire::time::{Epoch, Slot};
use milepost_wire::{Address, Height, Kind, Report, Timestamp, Transaction, Verified};

use crate::sighting::Spot;
use crate::state::State;
use crate::{epoch, hear, proposal, settle, transact};

/// A block, as far as the ledger's rules care.
#[derive(Clone, Copy, Debug)]
pub struct BlockInput<'a> {
    /// Which block.
    pub height: Height,
    /// Its time. Should it go backwards, the latest time so far counts.
    pub time: Timestamp,
    /// What is asked.
    pub transactions: &'a [Verified<Transaction>],
    /// What was heard.
    pub batches: &'a [HeardBatch<'a>],
}

/// What one roadside unit heard.
#[derive(Clone, Copy, Debug)]
pub struct HeardBatch<'a> {
    /// The unit: one that [`State::provider`] knows before the block, which is for the caller to see to.
    pub author: Address,
    /// What it heard; each was checked against its vehicle's key.
    pub reports: &'a [Verified<Report>],
}

/// Something that falls due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Slot(Slot, Kind),
    Epoch(Epoch),
}

impl State {
    /// Executes a block.
    pub fn apply(&mut self, block: &BlockInput<'_>) -> Vec<Output> {
        let now = self.time().max(block.time);
        self.open.clock.insert((), now);
        // Who works for whom is as it was before the block, which is what the block was judged by.
        let batches: Vec<_> = block
            .batches
            .iter()
            .map(|batch| HeardBatch {
                author: self.provider(&batch.author).unwrap_or(batch.author),
                ..*batch
            })
            .collect();
        let mut outputs = self.settle_due(now);
        for transaction in block.transactions {
            outputs.extend(transact::transact(self, block.height, transaction));
        }
        outputs.extend(hear::hear(self, now, &batches));
        outputs.extend(proposal::end_block(self, block.height));
        outputs
    }

    /// The earliest block time at which something is settled or paid; `None` where nothing is open.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.first_due().map(|(at, _)| at)
    }

    fn settle_due(&mut self, now: Timestamp) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some((_, due)) = self.first_due().filter(|&(at, _)| at <= now) {
            outputs.extend(match due {
                Due::Slot(slot, kind) => settle::settle(self, kind, slot),
                Due::Epoch(epoch) => epoch::close(self, epoch),
            });
        }
        let stale = now.minus(self.params().freshness_ms.max());
        outputs.extend(epoch::skip_empty(self, self.epoch_of(stale)));
        let mut books = self.books();
        let slot = self.slot_of(stale);
        if books.slot < slot {
            books.slot = slot;
            self.books.insert((), books);
        }
        outputs
    }

    /// Slots come before an epoch that falls due at the same time.
    fn first_due(&self) -> Option<(Timestamp, Due)> {
        let slots = Kind::ALL.into_iter().filter_map(|kind| {
            let range = Spot::first(kind, Slot(0))..=Spot::last(kind, Slot(u32::MAX));
            let (spot, _) = self.open.sightings.range(range).next()?;
            Some((self.slot_due(spot.slot, kind), Due::Slot(spot.slot, kind)))
        });
        let epochs = self.open.tallies.iter().next().map(|(key, _)| key.epoch);
        let epochs = epochs.map(|epoch| (self.epoch_due(epoch), Due::Epoch(epoch)));
        let watched = self.open.watched.iter().next().map(|(key, ())| key.slot);
        let watched = watched.map(|slot| (self.slot_due(slot, Kind::Hazard), Due::Slot(slot, Kind::Hazard)));
        slots.chain(watched).chain(epochs).min()
    }
}
