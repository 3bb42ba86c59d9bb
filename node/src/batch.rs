//! Is every word in this batch signed by whom it names?
//!
//! A batch that arrives is checked whole before anything acknowledges, stores or executes it: its author's
//! signature, then every report's, on all cores. A report that was verified before, as reports that this unit
//! heard itself were, is known by its digest and not verified again. One bad report spoils the batch: an honest
//! author never sends one, so it tells on its author.

use k256::ecdsa::VerifyingKey;
use milepost_wire::signed::signing_digest;
use milepost_wire::{
    Address, Batch, ChainId, Hash, KeyId, Report, SecretKey, Signed, SignedBatch, SignedReport, Timestamp,
    Verified,
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
    },
    /// A report's signature is wrong.
    #[error("the batch of {author} holds a report that {vehicle} did not sign")]
    Forged {
        /// Whose batch.
        author: Address,
        /// Who did not sign.
        vehicle: KeyId,
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

impl VerifiedBatch {
    /// Checks a batch. `keys` finds a vehicle's key, `known` tells whether a report with this digest was
    /// verified before. Cost: one verification for the batch and one per unknown report, on all cores.
    ///
    /// # Errors
    ///
    /// [`BatchError`], the first in the batch's order.
    pub fn verify(
        signed: SignedBatch,
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
        let batch = signed
            .verify(chain, author)
            .map_err(|_| BatchError::Author(name))?;
        let verify = |report: &SignedReport| {
            let vehicle = report.message.vehicle;
            if !report.message.is_valid() {
                return Err(BatchError::Report {
                    author: name,
                    vehicle,
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
                })
        };
        let reports = batch
            .reports
            .par_iter()
            .map(verify)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { batch, reports })
    }

    /// A batch of one's own, from reports that one has verified.
    ///
    /// # Panics
    ///
    /// With no reports or more than [`Batch::REPORTS_MAX`]: the caller counts them.
    pub fn own(
        key: &SecretKey,
        chain: &ChainId,
        sequence: u64,
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
