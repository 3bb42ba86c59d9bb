//! What must a vehicle not forget when it is turned off?
//!
//! In: each [`Change`] of its outbox, as it happens. Out, at the next start: the reports that still wait, and a
//! sequence number above all that were ever used, however the last run ended.
//!
//! [`FileJournal`] keeps it on disk, [`MemoryJournal`] for the simulator.

mod file;

use std::collections::BTreeMap;
use std::convert::Infallible;

use milepost_wire::Sequence;

use crate::outbox::{Change, Kept};

pub use file::{FileJournal, JournalError};

/// What a vehicle goes on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// Above every sequence ever used.
    pub next_sequence: Sequence,
    /// Reports that wait, in the order of their sequences.
    pub kept: Vec<Kept>,
}

/// Remembers changes.
pub trait Journal {
    /// Why it may fail to.
    type Error: std::error::Error;

    /// Remembers a change. Once this returns, the change outlives the process.
    ///
    /// # Errors
    ///
    /// Where it does not; nothing may be sent then that rests on the change.
    fn record(&mut self, change: &Change) -> Result<(), Self::Error>;
}

/// Remembers for as long as it lives: a disk for simulated vehicles, which crash without it.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournal {
    next_sequence: Sequence,
    kept: BTreeMap<Sequence, Kept>,
}

impl MemoryJournal {
    /// What a vehicle goes on with after a crash.
    pub fn resume(&self) -> Resumed {
        Resumed {
            next_sequence: self.next_sequence,
            kept: self.kept.values().cloned().collect(),
        }
    }
}

impl Journal for MemoryJournal {
    type Error = Infallible;

    fn record(&mut self, change: &Change) -> Result<(), Infallible> {
        match change {
            Change::Keep(kept) => {
                self.next_sequence = self.next_sequence.max(Sequence(kept.sequence.0 + 1));
                self.kept.insert(kept.sequence, kept.clone());
            }
            Change::Forget(sequence) => {
                self.kept.remove(sequence);
            }
        }
        Ok(())
    }
}
