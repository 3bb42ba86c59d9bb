//! What do the members agree on?
//!
//! A header and a body. The header carries the roots *after* executing the block, so that one certificate
//! vouches for the newest state and nobody waits a block for a proof.

use wincode::{SchemaRead, SchemaWrite};

use crate::batch::BatchRef;
use crate::codec::Message;
use crate::transaction::SignedTransaction;
use crate::{Address, ChainId, Hash, Timestamp, encode, merkle};

/// How many blocks there are up to and with this one; genesis is 0.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    SchemaWrite,
    SchemaRead,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Height(pub u64);

impl Height {
    /// Genesis.
    pub const ZERO: Self = Self(0);

    /// The height above.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for Height {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a certificate vouches for.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Header {
    /// [`Header::VERSION`].
    pub version: u16,
    /// Which ledger.
    pub chain: ChainId,
    /// Which block.
    pub height: Height,
    /// When, by the proposer's clock within bounds that the others check.
    pub time: Timestamp,
    /// Who built it.
    pub proposer: Address,
    /// The block before; of the first block, the genesis.
    pub parent: Hash,
    /// Merkle root of the transactions' bytes.
    pub transactions_root: Hash,
    /// Merkle root of the batches' names.
    pub batches_root: Hash,
    /// Merkle root of what the block put out: estimates, receipts, scores, payments.
    pub outputs_root: Hash,
    /// The state after this block.
    pub state_root: Hash,
    /// Who votes on this block.
    pub members_hash: Hash,
    /// Who votes on the next one.
    pub next_members_hash: Hash,
}

impl Header {
    /// The version that this code executes.
    pub const VERSION: u16 = 1;

    /// The block's name.
    pub fn hash(&self) -> Hash {
        Hash::of("block", &[&encode(self)])
    }
}

/// What a block executes, in this order: transactions, then the batches' reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Body {
    /// At most [`Body::TRANSACTIONS_MAX`].
    pub transactions: Vec<SignedTransaction>,
    /// At most [`Body::BATCHES_MAX`].
    pub batches: Vec<BatchRef>,
}

impl Body {
    /// The most transactions in a block.
    pub const TRANSACTIONS_MAX: usize = 1024;
    /// How many bytes of transactions a proposer puts into a block: half of what a block may have.
    pub const TRANSACTIONS_LEN_MAX: usize = 1 << 20;
    /// The most batches in a block.
    pub const BATCHES_MAX: usize = 64;

    /// Merkle root of the transactions' bytes.
    pub fn transactions_root(&self) -> Hash {
        merkle::root(
            &self
                .transactions
                .iter()
                .map(|tx| merkle::leaf(&encode(tx)))
                .collect::<Vec<_>>(),
        )
    }

    /// Merkle root of the batches' names.
    pub fn batches_root(&self) -> Hash {
        merkle::root(
            &self
                .batches
                .iter()
                .map(|batch| merkle::leaf(&encode(batch)))
                .collect::<Vec<_>>(),
        )
    }
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Block {
    /// What is certified.
    pub header: Header,
    /// What is executed.
    pub body: Body,
}

impl Block {
    /// The block's name.
    pub fn hash(&self) -> Hash {
        self.header.hash()
    }

    /// Whether the body is the one that the header commits to. The name alone does not tell: whoever knows a header
    /// can put another body under it. Cost: hashing the body.
    pub fn is_whole(&self) -> bool {
        self.body.transactions_root() == self.header.transactions_root
            && self.body.batches_root() == self.header.batches_root
    }
}

impl Message for Header {
    const NAME: &'static str = "header";
    const LEN_MAX: usize = 1024;
}

impl Message for Block {
    const NAME: &'static str = "block";
    const LEN_MAX: usize = 2 << 20;
}
