//! Was this very signature judged before?
//!
//! For simulations alone. There, all members stand in one process and each verifies what every other does: the same
//! signature by the same key over the same digest, a dozen times, at 85 µs each. Within [`remembering`],
//! [`Signature::verify`] works every verdict out once and gives it again when it is asked the same question.
//!
//! *Sound*, because a verdict depends on signature, key and digest alone, and all three are kept and compared whole:
//! no question gets another one's answer. What is remembered is what verification found, good or bad; signing
//! leaves nothing behind.
//!
//! A program that anybody relies on never opens such a scope (`clippy.toml` refuses it outside of the simulator):
//! outside of one, every signature is verified each time.
//!
//! Not covered: [`crate::many`]'s sums, of which no two are alike.
//!
//! Source: docs/adr/0027-remembered-verdicts.md.

use std::cell::RefCell;

use k256::ecdsa::VerifyingKey;

use crate::recent::Recent;
use crate::signed::{BadSignature, Signature};
use crate::{Hash, PublicKey};

thread_local! {
    static MEMO: RefCell<Option<Recent<Question, Verdict>>> = const { RefCell::new(None) };
}

/// Signature, key and digest, each as a whole.
type Question = (Signature, PublicKey, Hash);
type Verdict = Result<(), BadSignature>;

/// Does `work`, and on this thread works out no verdict twice meanwhile, as long as it is among the last so many.
/// At most twice `verdicts` are kept, of some 200 bytes each; all are forgotten at the end.
pub fn remembering<T>(verdicts: usize, work: impl FnOnce() -> T) -> T {
    /// Puts back what was there, after a panic too.
    struct Scope(Option<Recent<Question, Verdict>>);
    impl Drop for Scope {
        fn drop(&mut self) {
            MEMO.set(self.0.take());
        }
    }
    let _scope = Scope(MEMO.replace(Some(Recent::new(verdicts))));
    work()
}

/// The verdict of `judge`, which outside of [`remembering`] is always asked.
pub(crate) fn verdict(
    signature: &Signature,
    key: &VerifyingKey,
    digest: &Hash,
    judge: impl FnOnce() -> Verdict,
) -> Verdict {
    MEMO.with_borrow_mut(|memo| match memo {
        Some(memo) => {
            let question = (*signature, PublicKey::of(key), *digest);
            if let Some(known) = memo.touch(&question) {
                return *known;
            }
            let verdict = judge();
            memo.insert(question, verdict);
            verdict
        }
        None => judge(),
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "what is tested")]
mod tests {
    use super::*;
    use crate::SecretKey;
    use proptest::prelude::*;

    /// How many verdicts are kept on this thread.
    fn kept() -> usize {
        MEMO.with_borrow(|memo| memo.as_ref().map_or(0, Recent::len))
    }

    fn key(number: u64) -> SecretKey {
        SecretKey::from_seed("memo", number)
    }

    /// Does the signature that `signer` gave on `said` pass for `claimed`'s on `heard`, with a bit of it flipped?
    fn ask((signer, said, claimed, heard, flipped): (u64, u8, u64, u8, Option<usize>)) -> Verdict {
        let mut signature = Signature::sign(&key(signer), &Hash([said; 32]));
        if let Some(bit) = flipped {
            signature.0[bit / 8] ^= 1 << (bit % 8);
        }
        let claimed = key(claimed).public().verifying_key().expect("a point");
        signature.verify(&claimed, &Hash([heard; 32]))
    }

    #[test]
    fn a_question_is_worked_out_once_within_a_scope_and_each_time_outside_of_one() {
        let (signature, point) = (
            Signature([7; 64]),
            key(0).public().verifying_key().expect("a point"),
        );
        let asked = std::cell::Cell::new(0);
        let ask = |digest: u8| {
            let judge = || {
                asked.set(asked.get() + 1);
                Err(BadSignature)
            };
            assert!(verdict(&signature, &point, &Hash([digest; 32]), judge).is_err());
        };
        let repeat = || [1, 1, 2, 1, 2].into_iter().for_each(ask);
        repeat();
        assert_eq!(asked.take(), 5);
        remembering(8, repeat);
        assert_eq!(asked.take(), 2);
        repeat();
        assert_eq!(asked.take(), 5);
    }

    #[test]
    fn a_panic_ends_the_scope_too() {
        let panicked = std::panic::catch_unwind(|| remembering(8, || panic!("for the test")));
        assert!(panicked.is_err());
        assert!(MEMO.with_borrow(Option::is_none));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whatever is asked, in whatever order and however often: a forged signature never passes, and no more is
        /// kept than was allowed.
        #[test]
        fn verdicts_are_those_of_verification_and_their_number_is_bounded(
            questions in prop::collection::vec(
                (0u64..2, 0u8..2, 0u64..2, 0u8..2, prop::option::weighted(0.3, 0usize..512)), 1..24),
            verdicts in 1usize..6,
        ) {
            let alone: Vec<Verdict> = questions.iter().copied().map(ask).collect();
            remembering(verdicts, || {
                for _ in 0..2 {
                    for (question, expected) in questions.iter().zip(&alone) {
                        prop_assert_eq!(ask(*question), *expected);
                        prop_assert!(kept() <= 2 * verdicts);
                    }
                }
                Ok(())
            })?;
            prop_assert_eq!(kept(), 0);
        }
    }
}
