//! Did a member promise a batch and not hand it out?
//!
//! Members acknowledge the batches that they hold ([`Acks`]), and blocks name those that more than two thirds of the power
//! acknowledged: so an acknowledgement promises the batch to whoever asks. That a promise was broken leaves no signature. What
//! leaves one is that a member says so: a [`Complaint`], in a transaction of the member's own, with the promise in it. One
//! complaint proves nothing; those of more than a third of the power are not all lies.
//!
//! How many count, for how long, and what follows: `milepost_incentives::withheld` and docs/adr/0016-misconduct.md.

use k256::ecdsa::VerifyingKey;
use wincode::{SchemaRead, SchemaWrite};

use crate::codec::Message;
use crate::signed::Signed;
use crate::{Address, ChainId, Hash, Height};

/// Which batches a member has verified and stored.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Acks {
    /// Who.
    pub member: Address,
    /// The newest block that it had: it can be held to its word as long as that is not too long ago.
    pub height: Height,
    /// 1 to [`Acks::COUNT_MAX`] digests.
    pub batches: Vec<Hash>,
}

/// [`Acks`] as they travel.
pub type SignedAcks = Signed<Acks>;

impl Acks {
    /// The most digests in one message.
    pub const COUNT_MAX: usize = 64;
}

impl Message for Acks {
    const NAME: &'static str = "acks";
    const LEN_MAX: usize = 36 + 32 * Acks::COUNT_MAX;
}

/// A member's word that another promised a batch, was asked for it again and again, and did not hand it out.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Complaint {
    /// The promise.
    pub promise: SignedAcks,
    /// Which of the batches in it.
    pub batch: Hash,
}

/// Why nobody can complain so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPromise {
    /// A promise of other batches, or of more than fit one.
    #[error("{member} did not promise batch {batch} by these acknowledgements")]
    NotOfThis {
        /// Who is complained of.
        member: Address,
        /// The batch.
        batch: Hash,
    },
    /// Acknowledgements that the member did not sign.
    #[error("{0} did not sign the acknowledgements")]
    NotSigned(Address),
}

impl Complaint {
    /// Who is complained of.
    pub fn accused(&self) -> Address {
        self.promise.message.member
    }

    /// Whether whoever holds `key` promised the batch. Cost: one verification.
    ///
    /// # Errors
    ///
    /// [`NoPromise`].
    pub fn verify(&self, chain: &ChainId, key: &VerifyingKey) -> Result<(), NoPromise> {
        let Acks { member, batches, .. } = &self.promise.message;
        let (member, batch) = (*member, self.batch);
        if batches.len() > Acks::COUNT_MAX || !batches.contains(&batch) {
            return Err(NoPromise::NotOfThis { member, batch });
        }
        let signed = self.promise.clone().verify(chain, key);
        signed.map(drop).map_err(|_| NoPromise::NotSigned(member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SecretKey, Transaction, encode};
    use proptest::prelude::*;

    fn chain() -> ChainId {
        ChainId::new("town").expect("an id")
    }

    fn key() -> SecretKey {
        SecretKey::from_seed("promiser", 1)
    }

    fn batch(number: u8) -> Hash {
        Hash([number; 32])
    }

    fn promise(batches: Vec<Hash>, by: &SecretKey) -> SignedAcks {
        let acks = Acks {
            member: key().address(),
            height: Height(7),
            batches,
        };
        Signed::sign(acks, &chain(), by).into_signed()
    }

    fn verdict(promise: SignedAcks, batch: Hash) -> Result<(), NoPromise> {
        let point = key().public().verifying_key().expect("a point");
        Complaint { promise, batch }.verify(&chain(), &point)
    }

    #[test]
    fn what_was_promised_can_be_complained_of_and_what_another_signed_cannot() {
        let member = key().address();
        assert_eq!(
            verdict(promise(vec![batch(1), batch(2)], &key()), batch(2)),
            Ok(())
        );
        assert_eq!(
            verdict(promise(vec![batch(1)], &key()), batch(2)),
            Err(NoPromise::NotOfThis {
                member,
                batch: batch(2)
            })
        );
        let stranger = SecretKey::from_seed("promiser", 2);
        assert_eq!(
            verdict(promise(vec![batch(1)], &stranger), batch(1)),
            Err(NoPromise::NotSigned(member))
        );
        let mut later = promise(vec![batch(1)], &key());
        later.message.height = Height(8);
        assert_eq!(verdict(later, batch(1)), Err(NoPromise::NotSigned(member)));
    }

    #[test]
    fn the_longest_complaint_fits_a_transaction() {
        let full = Complaint {
            promise: promise(vec![batch(1); Acks::COUNT_MAX], &key()),
            batch: batch(1),
        };
        assert!(encode(&full).len() <= Transaction::LEN_MAX - 256);
        assert!(encode(&full.promise.message).len() <= Acks::LEN_MAX);
        let over = promise(vec![batch(1); Acks::COUNT_MAX + 1], &key());
        assert!(matches!(
            verdict(over, batch(1)),
            Err(NoPromise::NotOfThis { .. })
        ));
    }

    proptest! {
        /// Whatever a member promised, in however many messages, and however they are mixed, nobody can complain of a
        /// batch that it did not.
        #[test]
        fn what_was_not_promised_cannot_be_complained_of(
            promised in prop::collection::vec(prop::collection::vec(0u8..16, 1..8), 1..4),
            of in any::<prop::sample::Index>(),
            added in prop::collection::vec(0u8..32, 0..3),
            wanted in 0u8..32,
        ) {
            let mut promise = promise(of.get(&promised).iter().map(|&number| batch(number)).collect(), &key());
            let is_promised = promise.message.batches.contains(&batch(wanted)) && added.is_empty();
            promise.message.batches.extend(added.into_iter().map(batch));
            prop_assert_eq!(verdict(promise, batch(wanted)).is_ok(), is_promised);
        }
    }
}
