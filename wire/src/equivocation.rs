//! Did a member sign two different things?
//!
//! In one round a member says one thing of a kind: one proposal, one prevote, one precommit. Two of a kind that its key
//! signed for one height and round, on different blocks, convict it before whoever knows the key: no honest member makes
//! them, whatever it hears, in whatever order, and however often it is started anew, since it writes down what it says
//! before it says it.
//!
//! What is to follow, and how old such evidence may be: `milepost_incentives::misconduct` and docs/adr/0016-misconduct.md.
//!
//! Not covered: words of different rounds. A member may change its mind from one round to the next, and must where the
//! others' votes say so; whether it had to cannot be told from its own words.

use k256::ecdsa::VerifyingKey;
use wincode::{SchemaRead, SchemaWrite};

use crate::vote::{self, Step};
use crate::{Address, ChainId, Hash, Height, Signature};

/// Two words of one member that exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Equivocation {
    /// Who is said to have signed both.
    pub member: Address,
    /// Which kind of word.
    pub step: Step,
    /// For which height.
    pub height: Height,
    /// In which round.
    pub round: u32,
    /// One of the two.
    pub one: Word,
    /// The other, on another block.
    pub other: Word,
}

/// What a member signed, beside what its two words have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Word {
    /// On which block; `None` for a vote for nothing.
    pub value: Option<Hash>,
    /// Of a proposal: the earlier round in which its block had a quorum of prevotes.
    pub valid_round: Option<u32>,
    /// Over [`vote::digest`] or, of a proposal, [`vote::proposal_digest`].
    pub signature: Signature,
}

/// Why two words are no equivocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEquivocation {
    /// One word, said twice.
    #[error("both words of {0} are on the same block")]
    SameBlock(Address),
    /// A proposal of nothing.
    #[error("a proposal names a block")]
    NoBlock,
    /// A word that the member did not sign, or not for this height, round and step.
    #[error("{0} did not sign both words for this height, round and step")]
    NotSigned(Address),
}

impl Equivocation {
    /// Whether whoever holds `key` signed both. Cost: two verifications.
    ///
    /// # Errors
    ///
    /// [`NoEquivocation`].
    pub fn verify(&self, chain: &ChainId, key: &VerifyingKey) -> Result<(), NoEquivocation> {
        if self.one.value == self.other.value {
            return Err(NoEquivocation::SameBlock(self.member));
        }
        for word in [&self.one, &self.other] {
            let digest = self.digest(chain, word)?;
            let verified = word.signature.verify(key, &digest);
            verified.map_err(|_| NoEquivocation::NotSigned(self.member))?;
        }
        Ok(())
    }

    fn digest(&self, chain: &ChainId, word: &Word) -> Result<Hash, NoEquivocation> {
        let &Self {
            member,
            step,
            height,
            round,
            ..
        } = self;
        if step != Step::Propose {
            return Ok(vote::digest(chain, step, height, round, word.value, member));
        }
        let value = word.value.ok_or(NoEquivocation::NoBlock)?;
        let valid_round = word.valid_round.map_or(-1, i64::from);
        Ok(vote::proposal_digest(
            chain,
            height,
            round,
            valid_round,
            value,
            member,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecretKey;
    use proptest::prelude::*;

    fn chain() -> ChainId {
        ChainId::new("town").expect("an id")
    }

    fn key() -> SecretKey {
        SecretKey::from_seed("two-faced", 1)
    }

    fn step() -> impl Strategy<Value = Step> {
        prop::sample::select(vec![Step::Propose, Step::Prevote, Step::Precommit])
    }

    /// What `key` says, and where.
    fn say(step: Step, height: u64, round: u32, value: Option<u8>, valid_round: Option<u32>) -> Word {
        let (key, chain) = (key(), chain());
        let value = value.map(|byte| Hash([byte; 32]));
        let digest = match (step, value) {
            (Step::Propose, Some(value)) => vote::proposal_digest(
                &chain,
                Height(height),
                round,
                valid_round.map_or(-1, i64::from),
                value,
                key.address(),
            ),
            _ => vote::digest(&chain, step, Height(height), round, value, key.address()),
        };
        Word {
            value,
            valid_round,
            signature: Signature::sign(&key, &digest),
        }
    }

    fn claim(step: Step, height: u64, round: u32, one: Word, other: Word) -> Equivocation {
        Equivocation {
            member: key().address(),
            step,
            height: Height(height),
            round,
            one,
            other,
        }
    }

    fn verdict(claim: &Equivocation) -> Result<(), NoEquivocation> {
        claim.verify(&chain(), &key().public().verifying_key().expect("a point"))
    }

    #[test]
    fn two_blocks_in_one_step_are_proof_and_so_is_a_block_and_nothing() {
        for step in [Step::Propose, Step::Prevote, Step::Precommit] {
            let (one, other) = (say(step, 7, 2, Some(1), None), say(step, 7, 2, Some(2), None));
            assert_eq!(verdict(&claim(step, 7, 2, one, other)), Ok(()));
        }
        let (one, nothing) = (
            say(Step::Prevote, 7, 0, Some(1), None),
            say(Step::Prevote, 7, 0, None, None),
        );
        assert_eq!(verdict(&claim(Step::Prevote, 7, 0, one, nothing)), Ok(()));
    }

    #[test]
    fn one_word_twice_a_strangers_and_another_chains_are_none() {
        let one = say(Step::Precommit, 7, 0, Some(1), None);
        let other = say(Step::Precommit, 7, 0, Some(2), None);
        let whole = claim(Step::Precommit, 7, 0, one, other);
        let me = key().address();
        assert_eq!(
            verdict(&Equivocation { other: one, ..whole }),
            Err(NoEquivocation::SameBlock(me))
        );
        let stranger = SecretKey::from_seed("two-faced", 2);
        let point = stranger.public().verifying_key().expect("a point");
        assert_eq!(whole.verify(&chain(), &point), Err(NoEquivocation::NotSigned(me)));
        let elsewhere = ChainId::new("elsewhere").expect("an id");
        let own = key().public().verifying_key().expect("a point");
        assert_eq!(whole.verify(&elsewhere, &own), Err(NoEquivocation::NotSigned(me)));
        let mut forged = whole;
        forged.other.value = Some(Hash([9; 32]));
        assert_eq!(verdict(&forged), Err(NoEquivocation::NotSigned(me)));
    }

    proptest! {
        /// What the module's header claims. Whatever a member says of a step, once for each height and round and again as
        /// often as it likes, no two of its words make evidence, under any name that they are given.
        #[test]
        fn no_two_words_of_an_honest_member_convict_it(
            said in prop::collection::btree_map(
                (step(), 1u64..4, 0u32..3),
                (prop::option::of(0u8..3), prop::option::of(0u32..2)),
                1..12,
            ),
            picks in any::<[prop::sample::Index; 3]>(),
            claimed in (step(), 1u64..4, 0u32..3),
            swapped in any::<bool>(),
        ) {
            let words: Vec<_> = said
                .iter()
                .map(|(&(step, height, round), &(value, valid_round))| {
                    // A proposal is of a block.
                    let value = if step == Step::Propose { Some(value.unwrap_or(0)) } else { value };
                    ((step, height, round), say(step, height, round, value, valid_round))
                })
                .collect();
            let [one, other, of] = picks.map(|pick| words[pick.index(words.len())]);
            for (step, height, round) in [claimed, one.0, other.0, of.0] {
                let mut claim = claim(step, height, round, one.1, other.1);
                prop_assert!(verdict(&claim).is_err());
                // What is not signed may be changed at will.
                if swapped {
                    std::mem::swap(&mut claim.one.value, &mut claim.other.value);
                    std::mem::swap(&mut claim.one.valid_round, &mut claim.other.valid_round);
                    prop_assert!(verdict(&claim).is_err());
                }
            }
        }
    }
}
