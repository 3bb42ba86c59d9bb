//! When does a slot begin, and when does it end?
//!
//! Slots are counted from genesis, all of one length. Which slot a moment lies in, the ledger's state tells.

use milepost_wire::Timestamp;
use milepost_wire::time::Slot;

/// When a chain's slots begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// When slot 0 begins.
    pub genesis: Timestamp,
    /// How long each is.
    pub slot_ms: u64,
}

impl Slots {
    /// When `slot` begins.
    pub fn begin(self, slot: Slot) -> Timestamp {
        self.genesis.plus(u64::from(slot.0).saturating_mul(self.slot_ms))
    }

    /// When `slot` ends.
    pub fn end(self, slot: Slot) -> Timestamp {
        self.begin(slot).plus(self.slot_ms)
    }
}
