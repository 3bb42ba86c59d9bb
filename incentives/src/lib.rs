//! Decide, in integers, what is true, who is trusted and who earns what.
//!
//! What the ledger executes: pure functions of the state, a block and its time. No clock, no IO, no float; maps
//! in the order of their keys; arithmetic that stops at the end of its range. Two machines that execute the same
//! blocks hold the same bytes.
//!
//! | question | module |
//! |---|---|
//! | with which numbers, and from where | [`params`], [`genesis`] |
//! | what does the ledger know | [`state`], [`store`], `table`, `sighting` |
//! | what have the members decided | [`proposal`], [`membership`], `access` |
//! | what follows from a block | [`apply`], `transact`, `hear`, `replay`, `motion`, `hazard` |
//! | what is true, and what was a word worth | `settle`, `truth`, `anchor`, `estimate`, `stay`, `lean`, `score`, `tally`, `waiting` |
//! | who is trusted | `reputation`, [`quarantine`], [`misconduct`] |
//! | who is paid | `epoch`, `supply`, `vesting`, [`payout_tree`] |
//! | does it all add up | [`audit`] |
//! | what would the rules make of claims from elsewhere | [`claims`] |

mod access;
pub mod apply;
pub mod audit;
pub mod claims;
pub mod genesis;
pub mod membership;
pub mod misconduct;
pub mod params;
pub mod payout_tree;
pub mod proposal;
pub mod quarantine;
pub mod state;
pub mod store;
pub mod transact;
pub mod withheld;

mod anchor;
mod epoch;
mod estimate;
mod fixed;
mod hazard;
mod hear;
mod lean;
mod motion;
mod replay;
mod reputation;
mod score;
mod settle;
mod sighting;
mod stay;
mod supply;
mod table;
mod tally;
mod truth;
mod vesting;
mod waiting;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod scenario;
#[cfg(test)]
mod testing;

pub use apply::{BlockInput, HeardBatch};
pub use audit::{Audit, Unsound};
pub use estimate::Outlook;
pub use genesis::{Genesis, GenesisError};
pub use misconduct::Acquittal;
pub use params::{Params, ParamsError};
pub use payout_tree::PayoutTree;
pub use proposal::{Improper, OF_ONE_MAX as OPEN_PROPOSALS_MAX};
pub use state::{State, Violation};
pub use store::LoadError;
pub use transact::Rejected;
pub use withheld::Unheard;
