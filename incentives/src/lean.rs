//! Have a vehicle's words leant to one side of what others say, lately?
//!
//! In: by how much each of a vehicle's words on one slot's items lay from what the others and the road's past said
//! there. Out: its [`Lean`], and how far its words can be trusted in the picture before any record says so.
//!
//! A vehicle that met a red light is far off on one road, a liar on all of them: what counts is the median over its
//! roads, and one road alone tells little. A lie that cannot be seen (of a jam, where there is one) does not count, so
//! that words are weighed by the value that they could have been wrong by. Reputation takes epochs, and most
//! vehicles of a town are gone by then; this takes a slot. It touches the published figure alone: not pay, not
//! reputation, not quarantine.
//!
//! Source: docs/adr/0010-estimator.md; the idea of weighing sources by their distance from the others is that of
//! truth discovery (Li et al., CRH, SIGMOD 2014).

use milepost_wire::state::Q;
use wincode::{SchemaRead, SchemaWrite};

use crate::fixed::{muldiv, narrow, narrow_signed};
use crate::params::Tolerance;
use crate::truth;

/// How a vehicle's words lay lately. In the kind's unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(crate) struct Lean {
    /// The median of its words' differences from the others', fading.
    side: i32,
    /// The median of their distances, fading.
    apart: u32,
    /// On how many words it rests.
    words: u32,
}

/// One word's difference from what the others say, and its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Off {
    pub(crate) by: i64,
    pub(crate) weight: u64,
}

impl Lean {
    /// With another slot's words. What was before counts as at most `memory` of them.
    #[must_use]
    pub(crate) fn after(self, words: &[Off], memory: u32) -> Self {
        let said = words.iter().filter(|word| word.weight > 0);
        let count = said.clone().count() as i64;
        if count == 0 {
            return self;
        }
        let side = truth::spread(said.clone().map(|word| (word.by, word.weight)));
        let apart = truth::spread(said.map(|word| (word.by.saturating_abs(), word.weight)));
        let before = i64::from(self.words.min(memory));
        let mix = |now: i64, then: i64| {
            let sum = now
                .clamp(-OFF_MAX, OFF_MAX)
                .saturating_mul(count)
                .saturating_add(then * before);
            sum / (count + before)
        };
        Self {
            side: narrow_signed(mix(side, self.side.into())),
            apart: narrow(mix(apart, self.apart.into()).unsigned_abs()),
            words: narrow((count + before).unsigned_abs()),
        }
    }

    /// How far it can be trusted, in [`Q`]: fully up to `tolerance.near`, not at all from `tolerance.far` on. `typical`
    /// is how far words lay from the others' on the whole.
    ///
    /// Words that scatter, to both sides, by more than half as much again as is typical are leaning, too. With n words
    /// the lean counts n²/(n² + 2): a third for one, nine tenths for five.
    pub(crate) fn trust(self, tolerance: Tolerance, typical: u64) -> u64 {
        let scatter = u64::from(self.apart).saturating_sub(typical.saturating_mul(3) / 2);
        let lean = u64::from(self.side.unsigned_abs()).max(scatter);
        let squared = u64::from(self.words).saturating_mul(self.words.into());
        let lean = muldiv(lean, squared, squared.saturating_add(2));
        let (near, far) = (u64::from(tolerance.near), u64::from(tolerance.far));
        muldiv(far.saturating_sub(lean), Q, far.saturating_sub(near)).min(Q)
    }
}

/// No word is further off than this: more than any kind can express.
const OFF_MAX: i64 = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPEED: Tolerance = Tolerance { near: 167, far: 333 };

    fn words(by: &[i64]) -> Vec<Off> {
        by.iter().map(|&by| Off { by, weight: 1 }).collect()
    }

    fn trust(by: &[i64]) -> u64 {
        Lean::default().after(&words(by), 3).trust(SPEED, 100)
    }

    #[test]
    fn a_red_light_costs_no_trust_and_the_same_lie_on_every_road_all_of_it() {
        assert_eq!(trust(&[20, -900, -30, 60, 10]), Q);
        assert_eq!(trust(&[-690, -700, -300, -694, -650]), 0);
    }

    #[test]
    fn one_word_tells_less_than_three() {
        let (one, three) = (trust(&[-700]), trust(&[-700, -700, -700]));
        assert!(0 < one && one < Q, "{one}");
        assert_eq!(three, 0);
    }

    #[test]
    fn words_that_scatter_far_more_than_others_are_not_trusted() {
        assert_eq!(trust(&[1_000, -900, 1_100, -1_000, 900]), 0);
        assert_eq!(trust(&[100, -110, 90, -95, 100]), Q);
    }

    #[test]
    fn who_stops_lying_is_trusted_again() {
        let mut lean = Lean::default().after(&words(&[-700; 8]), 3);
        let mut slots = 0;
        while lean.trust(SPEED, 100) < Q {
            lean = lean.after(&words(&[0, 5, -5]), 3);
            slots += 1;
        }
        assert_eq!(slots, 2);
    }

    proptest! {
        #[test]
        fn nothing_overflows_and_order_does_not_matter(
            mut by in prop::collection::vec((any::<i64>(), any::<u64>()), 0..12), memory in any::<u32>(),
            typical in any::<u64>(), turns in 1usize..4,
        ) {
            let mut lean = (Lean::default(), Lean::default());
            for _ in 0..turns {
                let offs: Vec<Off> = by.iter().map(|&(by, weight)| Off { by, weight }).collect();
                lean.0 = lean.0.after(&offs, memory);
                by.reverse();
                let offs: Vec<Off> = by.iter().map(|&(by, weight)| Off { by, weight }).collect();
                lean.1 = lean.1.after(&offs, memory);
                prop_assert_eq!(lean.0, lean.1);
                prop_assert!(lean.0.trust(SPEED, typical) <= Q);
            }
        }
    }
}
