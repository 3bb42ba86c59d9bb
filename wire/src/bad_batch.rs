//! Did the author of a batch put a report into it that its vehicle did not sign?
//!
//! A batch is signed over the Merkle root of its reports ([`BatchHead`]), so one of them, the way to the root and the signed
//! head show what is in it, in a few hundred bytes. An author verifies every report that it hears with the key that the
//! ledger has of the vehicle, and keys never change: so a report under its head that this key did not sign, or that breaks the
//! protocol's bounds, convicts it before whoever knows the two keys. No honest author makes such a batch, whatever it hears.
//!
//! What is to follow: `milepost_incentives::misconduct` and docs/adr/0016-misconduct.md.
//!
//! Not covered: a report of a vehicle that the ledger does not know. It may have been enrolled a moment later.

use k256::ecdsa::VerifyingKey;
use wincode::{SchemaRead, SchemaWrite};

use crate::batch::BatchHead;
use crate::merkle::Path;
use crate::signed::Signed;
use crate::{Address, Batch, ChainId, KeyId, SignedBatch, SignedReport};

/// A report of a batch that should not be in it.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct BadBatch {
    /// What the author signed.
    pub head: Signed<BatchHead>,
    /// The report.
    pub report: SignedReport,
    /// Its way to the root that the head names.
    pub path: Path,
}

/// Why an author is not convicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoBadBatch {
    /// A head that the author did not sign.
    #[error("{0} did not sign the batch's head")]
    NotSigned(Address),
    /// A report that is not under the head.
    #[error("the report is not in the batch of {0}")]
    NotInIt(Address),
    /// A report that nothing is wrong with.
    #[error("{0} signed the report")]
    Sound(KeyId),
    /// A vehicle whose key is not known.
    #[error("{0} is not enrolled, so whether it signed cannot be told")]
    Unknown(KeyId),
}

impl BadBatch {
    /// What shows that the report at `index` is in `batch`; `None` beyond its end.
    pub fn of(batch: &SignedBatch, index: usize) -> Option<Self> {
        Some(Self {
            head: Signed {
                message: batch.message.head(),
                signature: batch.signature,
            },
            report: batch.message.reports.get(index)?.clone(),
            path: Batch::tree(&batch.message.reports).prove(index)?,
        })
    }

    /// Who signed the batch.
    pub fn author(&self) -> Address {
        self.head.message.author
    }

    /// Whether whoever holds the key `author` is convicted, where `vehicle` is the key that the ledger has of the report's
    /// vehicle. Cost: two verifications.
    ///
    /// # Errors
    ///
    /// [`NoBadBatch`].
    pub fn verify(
        &self,
        chain: &ChainId,
        author: &VerifyingKey,
        vehicle: Option<&VerifyingKey>,
    ) -> Result<(), NoBadBatch> {
        let name = self.author();
        let signed = self.head.clone().verify(chain, author);
        let head = signed.map_err(|_| NoBadBatch::NotSigned(name))?;
        if self.path.root(Batch::leaf(&self.report)) != Some(head.reports_root) {
            return Err(NoBadBatch::NotInIt(name));
        }
        if !self.report.message.is_valid() {
            return Ok(());
        }
        let id = self.report.message.vehicle;
        let vehicle = vehicle.ok_or(NoBadBatch::Unknown(id))?;
        match self.report.clone().verify(chain, vehicle) {
            Ok(_) => Err(NoBadBatch::Sound(id)),
            Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Cell, Heading, Height, Measure, Observation, Place, Report, SecretKey, Sequence, Speed, Timestamp,
    };
    use proptest::prelude::*;

    const AT: Timestamp = Timestamp::from_millis(700_000_000_000);

    fn chain() -> ChainId {
        ChainId::new("town").expect("an id")
    }

    fn author() -> SecretKey {
        SecretKey::from_seed("author", 1)
    }

    fn vehicle(seed: u64) -> SecretKey {
        SecretKey::from_seed("vehicle", seed)
    }

    fn point(key: &SecretKey) -> VerifyingKey {
        key.public().verifying_key().expect("a point")
    }

    /// What a vehicle says, signed by `key`; without observations it is out of bounds.
    fn report(of: u64, sequence: u64, observations: usize, key: &SecretKey) -> SignedReport {
        let place = Place::from_degrees(44.494, 11.343).expect("on the globe");
        let seen = Observation {
            cell: Cell::at(place, Heading::UNAVAILABLE),
            place,
            heading: Heading::UNAVAILABLE,
            age_ms: 0,
            measure: Measure::Speed(Speed::from_cm_per_s(1_000).expect("a speed")),
        };
        let report = Report {
            version: Report::VERSION,
            vehicle: vehicle(of).key_id(),
            sequence: Sequence(sequence),
            sent_at: AT,
            observations: vec![seen; observations],
        };
        Signed::sign(report, &chain(), key).into_signed()
    }

    fn batch(reports: Vec<SignedReport>) -> SignedBatch {
        let batch = Batch {
            author: author().address(),
            sequence: 7,
            height: Height(9),
            created_at: AT,
            reports,
        };
        Signed::sign(batch, &chain(), &author()).into_signed()
    }

    fn verdict(claim: &BadBatch) -> Result<(), NoBadBatch> {
        let known = (0..4)
            .map(vehicle)
            .find(|key| key.key_id() == claim.report.message.vehicle);
        let known = known.map(|key| point(&key));
        claim.verify(&chain(), &point(&author()), known.as_ref())
    }

    #[test]
    fn one_forged_report_convicts_whose_head_it_is_under_and_nobody_else() {
        let forged = report(1, 2, 1, &vehicle(2));
        let signed = batch(vec![
            report(0, 1, 1, &vehicle(0)),
            forged,
            report(2, 1, 0, &vehicle(2)),
        ]);
        let claims: Vec<_> = (0..4).map_while(|index| BadBatch::of(&signed, index)).collect();
        assert_eq!(claims.len(), 3);
        assert_eq!(verdict(&claims[0]), Err(NoBadBatch::Sound(vehicle(0).key_id())));
        assert_eq!(verdict(&claims[1]), Ok(()), "another vehicle's signature");
        assert_eq!(verdict(&claims[2]), Ok(()), "out of bounds");
        let stranger = claims[1].verify(&chain(), &point(&vehicle(3)), Some(&point(&vehicle(1))));
        assert_eq!(stranger, Err(NoBadBatch::NotSigned(author().address())));
        let unknown = claims[1].verify(&chain(), &point(&author()), None);
        assert_eq!(unknown, Err(NoBadBatch::Unknown(vehicle(1).key_id())));
    }

    proptest! {
        /// What the module's header claims. Of the batches of an author that checks what it hears, no report, no forgery and
        /// no place in them makes evidence.
        #[test]
        fn no_batch_of_an_honest_author_convicts_it(
            heard in prop::collection::vec((0u64..4, 0u64..50, 0usize..3, 0u64..4), 1..24),
            picks in any::<[prop::sample::Index; 2]>(),
            forged in (0u64..4, 0u64..50, 0u64..5),
            moved in 0u32..30,
        ) {
            let heard: Vec<_> = heard
                .into_iter()
                .map(|(of, sequence, observations, by)| report(of, sequence, observations, &vehicle(by)))
                .collect();
            let checks = |report: &&SignedReport| {
                let key = (0..4).map(vehicle).find(|key| key.key_id() == report.message.vehicle);
                report.message.is_valid()
                    && key.is_some_and(|key| (*report).clone().verify(&chain(), &point(&key)).is_ok())
            };
            let kept: Vec<_> = heard.iter().filter(checks).cloned().collect();
            prop_assume!(!kept.is_empty());
            let signed = batch(kept);
            let count = signed.message.reports.len();
            for index in 0..count {
                let claim = BadBatch::of(&signed, index).expect("within");
                prop_assert!(verdict(&claim).is_err());
            }
            // Another report in its place, one that was heard and one that nobody signed; another place, another head.
            let mut claim = BadBatch::of(&signed, picks[0].index(count)).expect("within");
            claim.path.index = moved;
            prop_assert!(verdict(&claim).is_err());
            claim.report = picks[1].get(&heard).clone();
            prop_assert!(verdict(&claim).is_err());
            let (of, sequence, by) = forged;
            claim.report = report(of, sequence, 1, &vehicle(by));
            prop_assert!(verdict(&claim).is_err());
            claim.head.message.reports_root = Batch::leaf(&claim.report);
            claim.path = crate::merkle::Path { index: 0, count: 1, siblings: Vec::new() };
            prop_assert!(verdict(&claim).is_err());
        }
    }
}
