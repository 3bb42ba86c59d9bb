//! What does one roadside unit tell the others?
//!
//! The reports that it heard and verified, in one signed bundle. Blocks name batches by digest; every member
//! verifies every report itself.

use wincode::{SchemaRead, SchemaWrite};

use crate::codec::Message;
use crate::report::SignedReport;
use crate::signed::Signed;
use crate::{Address, Hash, Timestamp};

/// Reports that one unit heard.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Batch {
    /// The unit that heard them: a member, or a listening unit that a member enrolled.
    pub author: Address,
    /// The author's own count of its batches.
    pub sequence: u64,
    /// When the batch was closed.
    pub created_at: Timestamp,
    /// 1 to [`Batch::REPORTS_MAX`] reports.
    pub reports: Vec<SignedReport>,
}

/// A batch as it travels.
pub type SignedBatch = Signed<Batch>;

impl Batch {
    /// The most reports in one batch.
    pub const REPORTS_MAX: usize = 512;
}

impl Message for Batch {
    const NAME: &'static str = "batch";
    const LEN_MAX: usize = 1 << 20;
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
