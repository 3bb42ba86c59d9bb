//! Did all of them say this, for less than asking each?
//!
//! In: signatures with their keys and digests. Out: one verdict each, always the one that [`Signature::verify`]
//! gives. A valid signature satisfies `u₁·G + u₂·Q = R`, and `R` can be had back from `r` and the parity hint
//! in the top bit of `s`. Instead of many such equations, one is checked: the sum of all, each times a
//! coefficient of its own, in one multi-scalar multiplication that shares its doublings.
//!
//! *Sound*, because the coefficients are hashed from every signature, key and digest in the sum: whoever changes
//! one signature changes all coefficients, and so cannot make two errors cancel. The group is of prime order, so
//! a sum with a wrong term is zero for one in 2¹²⁷ coefficients, and that many hashes is what a forger would
//! have to try. No randomness is drawn: every machine does the same.
//!
//! *Complete*, because a sum that fails decides nothing: a wrong hint, an `R` whose `x` is not below the group's
//! order, or a bad signature cost the time to verify that sum's signatures singly. Whether a signature is valid
//! depends neither on its hint nor on its company.
//!
//! Not covered: finding the bad one faster than singly. A sum takes at most [`SUM_LEN_MAX`] signatures, so one
//! bad signature spoils the saving for that many.
//!
//! Source: docs/adr/0004-signatures.md.

use k256::ecdsa::VerifyingKey;
use k256::elliptic_curve::Group;
use k256::elliptic_curve::ff::BatchInverter;
use k256::elliptic_curve::ops::{LinearCombination, Reduce};
use k256::elliptic_curve::point::DecompressPoint;
use k256::elliptic_curve::subtle::Choice;
use k256::{AffinePoint, FieldBytes, ProjectivePoint, Scalar};

use crate::codec::Message;
use crate::signed::{BadSignature, Signature, Signed, Verified, signing_digest};
use crate::{ChainId, Hash, PublicKey};

/// The most signatures in one sum: a longer one saves 2 % more, and one bad signature would spoil more.
pub const SUM_LEN_MAX: usize = 32;

/// Below this many, the doublings that a sum shares do not pay for lifting every `R`.
const SUM_LEN_MIN: usize = 4;

/// A signature, whose it is said to be, and what it is said to cover.
pub type Claim<'a> = (&'a Signature, &'a VerifyingKey, Hash);

/// [`Signed::verify`] for many messages at once, with the same verdicts in the same order.
pub fn verify_many<T: Message>(
    chain: &ChainId,
    signed: Vec<(Signed<T>, VerifyingKey)>,
) -> Vec<Result<Verified<T>, BadSignature>> {
    let digests: Vec<Hash> = signed
        .iter()
        .map(|(signed, _)| signing_digest(chain, &signed.message))
        .collect();
    let claims: Vec<Claim<'_>> = signed
        .iter()
        .zip(&digests)
        .map(|((signed, key), digest)| (&signed.signature, key, *digest))
        .collect();
    let verdicts = verify_digests(&claims);
    signed
        .into_iter()
        .zip(digests)
        .zip(verdicts)
        .map(|(((signed, _), digest), verdict)| verdict.map(|()| Verified::checked(signed, digest)))
        .collect()
}

/// [`Signature::verify`] for many signatures at once, with the same verdicts in the same order.
///
/// Cost: where all are valid and their hints right, see docs/adr/0004-signatures.md; else, for each sum with one
/// that is not, that and single verification.
pub fn verify_digests(claims: &[Claim<'_>]) -> Vec<Result<(), BadSignature>> {
    claims
        .chunks(SUM_LEN_MAX)
        .flat_map(|claims| {
            if claims.len() >= SUM_LEN_MIN && hold_together(claims) {
                vec![Ok(()); claims.len()]
            } else {
                claims
                    .iter()
                    .map(|(signature, key, digest)| signature.verify(key, digest))
                    .collect()
            }
        })
        .collect()
}

/// Whether one sum shows all `claims` to be valid; `false` says nothing about any one of them.
///
/// Memory: about 6 kB per claim, so ask for a few hundred at most.
pub fn hold_together(claims: &[Claim<'_>]) -> bool {
    sum(claims).is_some_and(|sum| bool::from(sum.is_identity()))
}

/// `Σ cᵢ·(u₁ᵢ·G + u₂ᵢ·Qᵢ − Rᵢ)`; `None` where a signature is malformed or its `r` and hint lift to no point.
fn sum(claims: &[Claim<'_>]) -> Option<ProjectivePoint> {
    let mut inverses = Vec::with_capacity(claims.len());
    let mut terms = Vec::with_capacity(2 * claims.len() + 1);
    for (signature, _, _) in claims {
        let (_, s) = signature.scalars().ok()?;
        inverses.push(s);
    }
    BatchInverter::invert_with_external_scratch(&mut inverses, &mut vec![Scalar::ZERO; claims.len()]);

    let mut of_generator = Scalar::ZERO;
    let coefficients = coefficients(claims);
    for (((signature, key, digest), inverse), coefficient) in claims.iter().zip(inverses).zip(coefficients) {
        let (r, _) = signature.scalars().ok()?;
        let scaled = coefficient * inverse;
        of_generator += <Scalar as Reduce<FieldBytes>>::reduce(&digest.0.into()) * scaled;
        terms.push((ProjectivePoint::from(*key.as_affine()), r * scaled));
        terms.push((-lift(signature)?, coefficient));
    }
    terms.push((ProjectivePoint::GENERATOR, of_generator));
    Some(ProjectivePoint::lincomb_vartime(terms.as_slice()))
}

/// The point whose `x` is `r` and whose `y` is as odd as the hint says. Cost: a square root, about 10 µs.
fn lift(signature: &Signature) -> Option<ProjectivePoint> {
    let r: [u8; 32] = signature.0[..32].try_into().expect("half of sixty-four");
    let odd = Choice::from(signature.0[32] >> 7);
    Option::from(AffinePoint::decompress(&r.into(), odd)).map(|point: AffinePoint| point.into())
}

/// One number below 2¹²⁷ per claim, each depending on all claims.
///
/// 127 bits and not 128, because such a scalar stays in one half when k256 splits it along the curve's
/// endomorphism, and then costs half.
fn coefficients(claims: &[Claim<'_>]) -> impl Iterator<Item = Scalar> {
    let mut all = Vec::with_capacity(claims.len() * (64 + 33 + 32));
    for (signature, key, digest) in claims {
        all.extend(signature.0);
        all.extend(PublicKey::of(key).0);
        all.extend(digest.0);
    }
    let seed = Hash::of("many", &[&all]);
    (0u64..).map(move |index| {
        let digest = Hash::of("coefficient", &[&seed.0, &index.to_le_bytes()]);
        let bytes = digest.0[..16].try_into().expect("half of thirty-two");
        Scalar::from(u128::from_be_bytes(bytes) >> 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecretKey;
    use k256::ecdsa::{self, RecoveryId};
    use proptest::prelude::*;

    type Owned = (Signature, VerifyingKey, Hash);

    fn point(seed: u64) -> VerifyingKey {
        SecretKey::from_seed("many", seed)
            .public()
            .verifying_key()
            .expect("a point")
    }

    fn valid(count: u64) -> Vec<Owned> {
        (0..count)
            .map(|seed| {
                let digest = Hash::of("test", &[&seed.to_le_bytes()]);
                let signature = Signature::sign(&SecretKey::from_seed("many", seed), &digest);
                (signature, point(seed), digest)
            })
            .collect()
    }

    fn claims(owned: &[Owned]) -> Vec<Claim<'_>> {
        owned
            .iter()
            .map(|(signature, key, digest)| (signature, key, *digest))
            .collect()
    }

    fn singly(owned: &[Owned]) -> Vec<Result<(), BadSignature>> {
        owned
            .iter()
            .map(|(signature, key, digest)| signature.verify(key, digest))
            .collect()
    }

    /// The verdicts on `owned`, having checked that they are those of single verification.
    fn verdicts(owned: &[Owned]) -> Vec<bool> {
        let verdicts = verify_digests(&claims(owned));
        assert_eq!(verdicts, singly(owned));
        verdicts.iter().map(Result::is_ok).collect()
    }

    #[test]
    fn valid_signatures_hold_together_in_any_number() {
        let all = valid(SUM_LEN_MAX as u64 + 2);
        for count in [0, 1, 2, 3, 4, SUM_LEN_MAX, all.len()] {
            assert!(hold_together(&claims(&all[..count])), "{count}");
            assert_eq!(verdicts(&all[..count]), vec![true; count]);
        }
    }

    #[test]
    fn one_signature_many_times_is_valid_each_time() {
        let one = valid(1)[0];
        assert!(hold_together(&claims(&[one; 5])));
        assert_eq!(verdicts(&[one; 5]), [true; 5]);
    }

    #[test]
    fn a_wrong_key_is_found() {
        let mut owned = valid(5);
        owned[3].1 = point(0);
        assert!(!hold_together(&claims(&owned)));
        assert_eq!(verdicts(&owned), [true, true, true, false, true]);
    }

    #[test]
    fn a_wrong_hint_costs_time_alone() {
        let mut owned = valid(5);
        owned[2].0.0[32] ^= 0x80;
        assert!(!hold_together(&claims(&owned)));
        assert_eq!(verdicts(&owned), [true; 5]);
    }

    #[test]
    fn the_higher_s_is_refused_whatever_its_hint() {
        for hint in [0, 0x80] {
            let mut owned = valid(5);
            let (_, s) = owned[1].0.scalars().expect("numbers");
            owned[1].0.0[32..].copy_from_slice(&(-s).to_bytes());
            owned[1].0.0[32] ^= hint;
            assert_eq!(verdicts(&owned), [true, false, true, true, true]);
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let order: [u8; 32] = {
            let mut below: [u8; 32] = (-Scalar::ONE).to_bytes().into();
            below[31] += 1;
            below
        };
        for number in [[0; 32], [0xff; 32], order] {
            for half in [0, 32] {
                let mut owned = valid(5);
                owned[4].0.0[half..half + 32].copy_from_slice(&number);
                assert_eq!(verdicts(&owned), [true, true, true, true, false]);
            }
        }
    }

    #[test]
    fn errors_that_are_opposite_do_not_cancel() {
        // The same signature, over one more and over one less than it covers: without coefficients, the sum of
        // the two errors is zero.
        let mut owned = valid(5);
        owned[1] = owned[0];
        let z = <Scalar as Reduce<FieldBytes>>::reduce(&owned[0].2.0.into());
        owned[0].2 = Hash((z + Scalar::ONE).to_bytes().into());
        owned[1].2 = Hash((z - Scalar::ONE).to_bytes().into());
        assert!(!hold_together(&claims(&owned)));
        assert_eq!(verdicts(&owned), [false, false, true, true, true]);
    }

    #[test]
    fn an_x_beyond_the_order_is_valid_all_the_same() {
        // Such an `R` turns up once in 2¹²⁸ signatures; but for any `R`, `s` and digest there is a key.
        let mut owned = valid(5);
        let digest = Hash([9; 32]);
        let (signature, key) = (1u8..=255)
            .find_map(|r| {
                let (mut rs, mut s) = ([0; 64], [0; 32]);
                (rs[31], s[31]) = (r, 5);
                rs[32..].copy_from_slice(&s);
                let signature = ecdsa::Signature::from_slice(&rs).ok()?;
                let beyond = RecoveryId::new(false, true);
                let key = VerifyingKey::recover_from_prehash(&digest.0, &signature, beyond).ok()?;
                Some((Signature(rs), key))
            })
            .expect("half of all numbers are the x of a point");
        owned[0] = (signature, key, digest);
        assert!(!hold_together(&claims(&owned)));
        assert_eq!(verdicts(&owned), [true; 5]);
    }

    #[test]
    fn messages_come_back_in_order_with_their_digests() {
        use crate::transaction::{Action, Transaction};
        use crate::{Address, Amount};

        let chain = ChainId::new("here").expect("an id");
        let signed: Vec<_> = (0..5)
            .map(|seed| {
                let key = SecretKey::from_seed("many", seed);
                let action = Action::Transfer {
                    to: Address([7; 20]),
                    amount: Amount::from_micro(seed),
                };
                let message = Transaction {
                    from: key.public(),
                    nonce: seed,
                    action,
                };
                let mut signed = Signed::sign(message, &chain, &key).into_signed();
                if seed == 2 {
                    signed.message.nonce = 9;
                }
                (signed, point(seed))
            })
            .collect();
        let singly: Vec<_> = signed
            .iter()
            .map(|(signed, key)| signed.clone().verify(&chain, key))
            .collect();
        assert_eq!(verify_many(&chain, signed), singly);
        assert_eq!(singly.iter().filter(|verdict| verdict.is_err()).count(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_flipped_bit_anywhere_is_judged_as_singly(
            which in 0usize..6, bit in 0usize..(64 + 32) * 8, more in prop::option::of(0usize..(64 + 32) * 8),
        ) {
            let mut owned = valid(6);
            for (at, bit) in [(which, Some(bit)), ((which + 1) % 6, more)] {
                let Some(bit) = bit else { continue };
                let byte = if bit < 512 { &mut owned[at].0.0[bit / 8] } else { &mut owned[at].2.0[bit / 8 - 64] };
                *byte ^= 1 << (bit % 8);
            }
            let all_hold = hold_together(&claims(&owned));
            prop_assert!(!all_hold, "a sum held with a flipped bit, be it only a hint");
            verdicts(&owned);
        }
    }
}
