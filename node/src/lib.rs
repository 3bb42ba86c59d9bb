//! Agree and remember: the consortium ledger over zenoh and RocksDB.
//!
//! The core, [`node::Node`], is a pure state machine: `handle(now, input) -> outputs`, over a [`store::Store`].
//! [`shell`] carries it over zenoh and RocksDB in real time; the simulator carries it in virtual time.
//!
//! | question | module |
//! |---|---|
//! | what does a block do to the ledger | [`ledger`], [`tree`] |
//! | which block is next | [`node`], `engine`, `context` |
//! | what waits to be in a block | [`batch`], [`pool`] |
//! | what must not be forgotten | [`store`], `wal` |
//! | what do members say to each other | [`message`] |
//! | what may others read | [`view`] |
//! | is the chain on this disk right | [`audit`], [`lineage`] |
//! | how does a unit get to the present without executing the past | [`snapshot`], [`snapshots`], [`catch_up`] |
//! | what is kept, and for how long | [`keeper`] |

pub mod audit;
pub mod batch;
pub mod catch_up;
mod context;
mod engine;
pub mod keeper;
pub mod ledger;
pub mod lineage;
pub mod message;
pub mod node;
pub mod pool;
mod promises;
pub mod shell;
pub mod snapshot;
pub mod snapshots;
pub mod store;
pub mod tree;
pub mod view;
mod wal;

pub use batch::VerifiedBatch;
pub use ledger::Ledger;
pub use node::{ClockError, Fatal, Input, Node, Now, Output, Readings, Settings, Want};
pub use view::View;
