//! What does one roadside unit tell the others?
//!
//! The reports that it heard and verified, in one bundle. Blocks name batches by digest; every member verifies every report
//! itself. What the unit signs is the [`BatchHead`], with the Merkle root of the reports: so that one report can be shown to be in
//! the batch without the others ([`crate::bad_batch`]).

use wincode::{SchemaRead, SchemaWrite};

use crate::codec::{Message, encode};
use crate::merkle;
use crate::report::SignedReport;
use crate::signed::Signed;
use crate::{Address, Hash, Height, Timestamp};

/// Reports that one unit heard.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Batch {
    /// The unit that heard them: a member, or a listening unit that a member enrolled.
    pub author: Address,
    /// The author's own count of its batches.
    pub sequence: u64,
    /// The newest block that the author had: what it says can be held against it as long as that is not too long ago.
    pub height: Height,
    /// When the batch was closed.
    pub created_at: Timestamp,
    /// 1 to [`Batch::REPORTS_MAX`] reports.
    pub reports: Vec<SignedReport>,
}

/// A batch as it travels; the signature is over its head.
pub type SignedBatch = Signed<Batch>;

/// What the author of a batch signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct BatchHead {
    /// As in the batch.
    pub author: Address,
    /// As in the batch.
    pub sequence: u64,
    /// As in the batch.
    pub height: Height,
    /// As in the batch.
    pub created_at: Timestamp,
    /// How many reports.
    pub count: u32,
    /// The root of [`Batch::tree`].
    pub reports_root: Hash,
}

impl Batch {
    /// The most reports in one batch.
    pub const REPORTS_MAX: usize = 512;

    /// What is signed of it. Cost: one hash per report.
    pub fn head(&self) -> BatchHead {
        BatchHead {
            author: self.author,
            sequence: self.sequence,
            height: self.height,
            created_at: self.created_at,
            count: u32::try_from(self.reports.len()).unwrap_or(u32::MAX),
            reports_root: Self::tree(&self.reports).root(),
        }
    }

    /// The Merkle tree over reports, signatures included.
    pub fn tree(reports: &[SignedReport]) -> merkle::Tree {
        merkle::Tree::new(reports.iter().map(Self::leaf).collect())
    }

    /// A leaf of that tree.
    pub fn leaf(report: &SignedReport) -> Hash {
        merkle::leaf(&encode(report))
    }
}

impl Message for Batch {
    const NAME: &'static str = "batch";
    const LEN_MAX: usize = 1 << 20;

    fn signed_bytes(&self) -> Vec<u8> {
        encode(&self.head())
    }
}

/// The name is the batch's: whoever signed the one signed the other.
impl Message for BatchHead {
    const NAME: &'static str = Batch::NAME;
    const LEN_MAX: usize = 128;
}

impl Message for SignedBatch {
    const NAME: &'static str = "signed batch";
    const LEN_MAX: usize = Batch::LEN_MAX + 64;
}

/// How a block names a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
pub struct BatchRef {
    /// What the author signed.
    pub digest: Hash,
    /// Who heard the reports.
    pub author: Address,
}
