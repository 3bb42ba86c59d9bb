//! What must a node not forget?
//!
//! [`Rocks`] keeps it on disk, [`Memory`] for the simulator, where a crash loses what was not made durable.
//! Two kinds of writing: [`Store::write`] for what consensus needs before it may speak, and [`Store::commit`]
//! for a decided block with everything that it changed, atomically and durably.
//!
//! Headers and certificates are kept for ever. Bodies and batches, and later outputs, may have been pruned: then
//! [`Store::block`] and [`Store::outputs`] know them no more, and [`Store::head`] still does.

pub mod install;
mod memory;
mod prune;
mod rocks;
mod schema;

pub use memory::Memory;
pub use rocks::Rocks;

use milepost_wire::certificate::Head;
use milepost_wire::output::Output;
use milepost_wire::state::StateKey;
use milepost_wire::time::Epoch;
use milepost_wire::{
    Block, Cell, Certificate, Evidence, Hash, Height, KeyId, Kind, Members, SignedBatch, Timestamp,
};

/// Where an output stands: the block's height, and the output's index in it.
pub type Place = (Height, u32);

/// Stands for all vehicles: what concerns each of them is found under it.
pub const EVERYBODY: KeyId = KeyId([0; 8]);

/// A key and its value, as the store has them.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Which figure of the picture, and where its newest estimate stands.
pub type Placed = ((Cell, Kind), Place);

/// Something that must be remembered before a block is decided.
#[derive(Clone, Debug)]
pub enum Write {
    /// A batch that was verified.
    Batch(Hash, SignedBatch),
    /// A block that was proposed.
    Body(Hash, Block),
    /// The block that this member built for a round: asked again, it proposes the same.
    Own(Height, u32, Hash),
    /// What moved consensus; entries are numbered within their height.
    Log(Height, u32, Vec<u8>),
    /// What convicts other members and is not on the ledger yet: all of it, in the place of what was there.
    Evidence(Vec<Evidence>),
    /// This member may vote again: see [`Loaded::silent_until`].
    Voice,
}

/// A decided block and all that it changed.
#[derive(Clone, Debug)]
pub struct Commit<'a> {
    /// The block.
    pub block: &'a Block,
    /// Why to believe it.
    pub certificate: &'a Certificate,
    /// The batches that it names.
    pub batches: &'a [&'a SignedBatch],
    /// What it put out.
    pub outputs: &'a [Output],
    /// What it changed in the authenticated state.
    pub tree: &'a [(StateKey, Option<Vec<u8>>)],
    /// What it changed in the short-lived state.
    pub open: &'a [(Vec<u8>, Option<Vec<u8>>)],
    /// Whom it gives the vote to, where that changes: headers name members by hash alone.
    pub members: Option<&'a Members>,
}

/// What is on the disk at start.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The newest block's header; `None` before the first.
    pub tip: Option<Head>,
    /// The authenticated state.
    pub tree: Vec<(StateKey, Vec<u8>)>,
    /// The short-lived state.
    pub open: Vec<Entry>,
    /// The log of the height above the newest block.
    pub log: Vec<Vec<u8>>,
    /// What convicts other members and was not on the ledger yet.
    pub evidence: Vec<Evidence>,
    /// This store was restored, or begun anew with a key that may have voted before: no vote until a block of a later
    /// time is committed.
    pub silent_until: Option<Timestamp>,
}

/// Why the store cannot be relied on. A node that meets one stops.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database or the file system failed: a full disk, a lost device, a damaged file.
    #[error("the store failed: {0}")]
    Database(String),
    /// What stands on the disk is not what was written.
    #[error("the store is damaged: {what}: {why}")]
    Damaged {
        /// What was read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The store belongs to another chain.
    #[error("the store holds the chain with genesis {found}, not {expected}")]
    OtherChain {
        /// The genesis of this node's configuration.
        expected: Hash,
        /// The store's.
        found: Hash,
    },
    /// Not the child of the newest block.
    #[error("block {height} does not follow the newest block {tip}")]
    NotNext {
        /// The store's newest block.
        tip: Height,
        /// The block that was to be committed.
        height: Height,
    },
}

/// What a node must not forget.
pub trait Store: Send + 'static {
    /// Everything a node starts from. The first call on an empty store writes `genesis` into it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; [`StoreError::OtherChain`] for another chain's store.
    fn load(&mut self, genesis: Hash) -> Result<Loaded, StoreError>;

    /// Remembers `writes`; with `durable`, these and all earlier ones survive a power loss.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the node must then say nothing more.
    fn write(&mut self, writes: &[Write], durable: bool) -> Result<(), StoreError>;

    /// Writes a decided block and what it changed: durably, and after a crash all of it is there or nothing. The
    /// log of its height is forgotten with the same stroke.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotNext`] unless the block is the child of the tip.
    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StoreError>;

    /// A decided block's header and why to believe it.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn head(&self, height: Height) -> Result<Option<Head>, StoreError>;

    /// A decided block; `None` where it was pruned, too.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn block(&self, height: Height) -> Result<Option<(Block, Certificate)>, StoreError>;

    /// A batch, decided or not.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn batch(&self, digest: &Hash) -> Result<Option<SignedBatch>, StoreError>;

    /// A proposed block.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn body(&self, hash: &Hash) -> Result<Option<Block>, StoreError>;

    /// The block that this member built for a round.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn own(&self, height: Height, round: u32) -> Result<Option<Hash>, StoreError>;

    /// What a block put out.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn outputs(&self, height: Height) -> Result<Option<Vec<Output>>, StoreError>;

    /// Where a vehicle's scores, bonds and payment of an epoch stand, in the order of blocks; for [`EVERYBODY`], the
    /// epoch's sums.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn explanation(&self, vehicle: KeyId, epoch: Epoch) -> Result<Vec<Place>, StoreError>;

    /// Where the newest estimate of each piece of road stands.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn picture(&self) -> Result<Vec<Placed>, StoreError>;

    /// Bytes on the disk, roughly.
    fn size_bytes(&self) -> u64;
}
