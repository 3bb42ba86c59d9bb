//! Who said that it holds what?
//!
//! The acknowledgements that others signed, the newest of each member, so that a member that does not hand out what it
//! acknowledged can be held to its word ([`milepost_wire::withheld`]). Bounded by bytes for each member, so that whoever
//! says much drives out its own words alone. A restart forgets them: nobody is then held to what it said before.

use std::collections::{BTreeMap, VecDeque};

use milepost_wire::{Address, Hash, Members, SignedAcks};

/// Acknowledgements of others, whose signatures were checked.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    of: BTreeMap<Address, Said>,
}

/// What one member said, the oldest first.
#[derive(Debug, Default)]
struct Said {
    acks: VecDeque<SignedAcks>,
    len: usize,
}

impl Promises {
    /// The most bytes of one member's words: some 1,700 acknowledgements of one batch each.
    const LEN_MAX: usize = 256 << 10;

    /// Notes what a member said.
    pub(crate) fn note(&mut self, acks: SignedAcks) {
        let said = self.of.entry(acks.message.member).or_default();
        said.len += len(&acks);
        said.acks.push_back(acks);
        while said.len > Self::LEN_MAX
            && let Some(oldest) = said.acks.pop_front()
        {
            said.len -= len(&oldest);
        }
    }

    /// The newest words by which a member promised a batch. Cost: a pass over what it said lately.
    pub(crate) fn of(&self, member: &Address, batch: &Hash) -> Option<&SignedAcks> {
        let said = self.of.get(member)?;
        said.acks
            .iter()
            .rev()
            .find(|acks| acks.message.batches.contains(batch))
    }

    /// Forgets those who have no vote.
    pub(crate) fn keep(&mut self, members: &Members) {
        self.of.retain(|member, _| members.get(member).is_some());
    }
}

/// What it takes, beside what there is for each.
fn len(acks: &SignedAcks) -> usize {
    size_of::<SignedAcks>() + 32 * acks.message.batches.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use milepost_wire::{Acks, Height, Signature, Signed};

    fn acks(member: u8, number: u64) -> SignedAcks {
        Signed {
            message: Acks {
                member: Address([member; 20]),
                height: Height(number),
                batches: vec![batch(number)],
            },
            signature: Signature([0; 64]),
        }
    }

    fn batch(number: u64) -> Hash {
        Hash::of("batch", &[&number.to_le_bytes()])
    }

    #[test]
    fn whoever_says_much_drives_out_its_own_words_alone() {
        let mut promises = Promises::default();
        promises.note(acks(1, 0));
        for number in 0..10_000 {
            promises.note(acks(2, number));
        }
        let (quiet, loud) = (Address([1; 20]), Address([2; 20]));
        assert!(promises.of(&quiet, &batch(0)).is_some());
        assert!(promises.of(&quiet, &batch(1)).is_none());
        assert!(promises.of(&loud, &batch(0)).is_none());
        let kept = (0..10_000).filter(|&number| promises.of(&loud, &batch(number)).is_some());
        let kept = kept.count();
        assert!((1_000..4_000).contains(&kept), "{kept} are kept");
        assert!(promises.of(&loud, &batch(9_999)).is_some(), "the newest");
    }
}
