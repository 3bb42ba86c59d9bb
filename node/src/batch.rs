//! Is every word in this batch signed by whom it names?
//!
//! A batch that arrives is checked whole before anything acknowledges, stores or executes it: its author's
//! signature, then every report's, on all cores. A report that was verified before, as reports that this unit
//! heard itself were, is known by its digest and not verified again. One bad report spoils the batch: an honest
//! author never sends one, so it convicts its author ([`BatchError::evidence`]).

use k256::ecdsa::VerifyingKey;
use milepost_wire::bad_batch::BadBatch;
use milepost_wire::signed::signing_digest;
use milepost_wire::{
    Address, Batch, ChainId, Hash, Height, KeyId, Report, SecretKey, Signed, SignedBatch, SignedReport,
    Timestamp, Verified,
};
use rayon::prelude::*;

/// A batch all of whose signatures were checked.
#[derive(Clone, Debug)]
pub struct VerifiedBatch {
    batch: Verified<Batch>,
    reports: Vec<Verified<Report>>,
}

/// Why a batch is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// No reports, or too many.
    #[error("a batch holds 1 to {limit} reports, this one of {author} {found}", limit = Batch::REPORTS_MAX)]
    Count {
        /// Whose batch.
        author: Address,
        /// How many reports.
        found: usize,
    },
    /// Nobody answers for its author here: it is no member, and no member's unit.
    #[error("{0} is neither a member nor a member's unit")]
    Stranger(Address),
    /// The author's signature is wrong.
    #[error("the batch is not signed by {0}")]
    Author(Address),
    /// A report breaks the protocol's bounds.
    #[error("the batch of {author} holds a malformed report of {vehicle}")]
    Report {
        /// Whose batch.
        author: Address,
        /// Whose report.
        vehicle: KeyId,
        /// What convicts the author.
        evidence: Box<BadBatch>,
    },
    /// A report's signature is wrong.
    #[error("the batch of {author} holds a report that {vehicle} did not sign")]
    Forged {
        /// Whose batch.
        author: Address,
        /// Who did not sign.
        vehicle: KeyId,
        /// What convicts the author.
        evidence: Box<BadBatch>,
    },
    /// A batch of another time: what is wrong with it could not be held against its author.
    #[error("the batch of {author} is of height {found}, here it is {here}")]
    Height {
        /// Whose batch.
        author: Address,
        /// Which block its author had.
        found: Height,
        /// Which one is the newest here.
        here: Height,
    },
    /// A vehicle that this ledger does not know yet: the batch may be right later.
    #[error("the batch of {author} holds a report of {vehicle}, which is not enrolled here")]
    Unknown {
        /// Whose batch.
        author: Address,
        /// The stranger.
        vehicle: KeyId,
    },
}

/// The author of a batch may be so many blocks ahead, ...
const AHEAD_MAX: u64 = 16;
/// ... or behind: batches wait a thousand blocks in the pool.
const BEHIND_MAX: u64 = 4_096;

impl BatchError {
    /// What convicts the author, where something does.
    pub fn evidence(&self) -> Option<&BadBatch> {
        match self {
            Self::Report { evidence, .. } | Self::Forged { evidence, .. } => Some(evidence),
            _ => None,
        }
    }

    /// Whether the batch may be sound, at another time.
    pub fn may_have_been_right(&self) -> bool {
        matches!(
            self,
            Self::Unknown { .. } | Self::Stranger(_) | Self::Height { .. }
        )
    }
}

impl VerifiedBatch {
    /// Checks a batch, where block `here` is the newest. `keys` finds a vehicle's key, `known` tells whether a report with this digest was
    /// verified before. Cost: one verification for the batch and one per unknown report, on all cores.
    ///
    /// # Errors
    ///
    /// [`BatchError`], the first in the batch's order.
    pub fn verify(
        signed: SignedBatch,
        here: Height,
        chain: &ChainId,
        author: &VerifyingKey,
        keys: impl Fn(KeyId) -> Option<VerifyingKey> + Sync,
        known: impl Fn(&Hash) -> Option<Verified<Report>> + Sync,
    ) -> Result<Self, BatchError> {
        let name = signed.message.author;
        if !(1..=Batch::REPORTS_MAX).contains(&signed.message.reports.len()) {
            return Err(BatchError::Count {
                author: name,
                found: signed.message.reports.len(),
            });
        }
        let found = signed.message.height;
        if found.0 > here.0.saturating_add(AHEAD_MAX) || found.0.saturating_add(BEHIND_MAX) < here.0 {
            return Err(BatchError::Height {
                author: name,
                found,
                here,
            });
        }
        let batch = signed
            .verify(chain, author)
            .map_err(|_| BatchError::Author(name))?;
        let evidence = |index| {
            let evidence = BadBatch::of(batch.signed(), index);
            Box::new(evidence.expect("the index of one of its reports"))
        };
        let verify = |(index, report): (usize, &SignedReport)| {
            let vehicle = report.message.vehicle;
            if !report.message.is_valid() {
                return Err(BatchError::Report {
                    author: name,
                    vehicle,
                    evidence: evidence(index),
                });
            }
            if let Some(verified) = known(&signing_digest(chain, &report.message)) {
                return Ok(verified);
            }
            let key = keys(vehicle).ok_or(BatchError::Unknown {
                author: name,
                vehicle,
            })?;
            report
                .clone()
                .verify(chain, &key)
                .map_err(|_| BatchError::Forged {
                    author: name,
                    vehicle,
                    evidence: evidence(index),
                })
        };
        let reports = batch
            .reports
            .par_iter()
            .enumerate()
            .map(verify)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { batch, reports })
    }

    /// A batch of one's own, made when block `height` is the newest, from reports that one has verified.
    ///
    /// # Panics
    ///
    /// With no reports or more than [`Batch::REPORTS_MAX`]: the caller counts them.
    pub fn own(
        key: &SecretKey,
        chain: &ChainId,
        sequence: u64,
        height: Height,
        created_at: Timestamp,
        reports: Vec<Verified<Report>>,
    ) -> Self {
        assert!(
            (1..=Batch::REPORTS_MAX).contains(&reports.len()),
            "a batch holds 1 to 512 reports"
        );
        let signed = reports.iter().map(|report| report.signed().clone()).collect();
        let batch = Batch {
            author: key.address(),
            sequence,
            height,
            created_at,
            reports: signed,
        };
        Self {
            batch: Signed::sign(batch, chain, key),
            reports,
        }
    }

    /// What names the batch in a block.
    pub fn digest(&self) -> Hash {
        self.batch.digest()
    }

    /// Who heard the reports.
    pub fn author(&self) -> Address {
        self.batch.author
    }

    /// The reports.
    pub fn reports(&self) -> &[Verified<Report>] {
        &self.reports
    }

    /// The batch as it travels.
    pub fn signed(&self) -> &SignedBatch {
        self.batch.signed()
    }
}
