//! How does a node stand?
//!
//! Numbers for whoever watches it; nothing is decided by them.

use milepost_wire::Height;

use super::{ClockError, Node};
use crate::store::Store;

/// How a node stands after an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// The round of the height that is being decided; 0 is the first.
    pub round: u32,
    /// The greatest height that another unit claims to have; believed until nobody has it to give.
    pub claimed: Height,
    /// The newest block was fetched, or the next one is.
    pub catching_up: bool,
    /// It follows without a vote until it is sure not to contradict what its key signed before.
    pub silent: bool,
    /// Batches that wait for a block.
    pub batches_waiting: usize,
    /// Transactions that wait for a block.
    pub transactions_waiting: usize,
    /// Misconduct of members that is not on the ledger yet.
    pub evidence_waiting: usize,
    /// Members that are asked, again and again, for a batch that they acknowledged.
    pub demands: usize,
    /// Complaints of such members that are not on the ledger yet.
    pub complaints_waiting: usize,
    /// What the others' blocks say of this machine's clock.
    pub clock: Option<ClockError>,
}

impl<S: Store> Node<S> {
    /// How it stands. Cost: constant.
    pub fn readings(&self) -> Readings {
        Readings {
            round: self.deciding().1,
            claimed: self.claimed,
            catching_up: self.catching_up,
            silent: self.is_silent(),
            batches_waiting: self.pool.batches_waiting(),
            transactions_waiting: self.pool.transactions_waiting(),
            evidence_waiting: self.evidence.len(),
            demands: self.demands.len(),
            complaints_waiting: self.complaints.len(),
            clock: self.clock.error(),
        }
    }
}
