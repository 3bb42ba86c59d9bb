//! What is one word worth?
//!
//! `a`: do independent others agree on this item. `b`: would the same word have agreed anywhere, that is, with
//! the other roads of its class in the same slot. `q = a − b`, less one where it is far off. A word that knows
//! nothing of what goes on (a constant, the class's mean, a copy of the published map) has `a = b` in
//! expectation and earns nothing. Points are `v · q`, where the worth `v` is what the item was needed, shared,
//! fresh and judged by many.
//!
//! Fractions are in [`Q`].

use std::collections::BTreeMap;

use milepost_wire::state::Q;

use crate::fixed::{muldiv, times, times_signed};
use crate::params::{Params, Tolerance};
use crate::truth::Opinion;

/// `K`: 1 up to `near`, falling linearly to 0 at `far`; for codes, equal or not. In units of
/// [`scale`], so that sums are exact.
fn closeness(tolerance: Option<Tolerance>, one: i64, other: i64) -> i64 {
    match tolerance {
        None => i64::from(one == other),
        Some(tolerance) => {
            let distance = one.abs_diff(other).min(u64::from(tolerance.far)) as i64;
            (i64::from(tolerance.far) - distance).min(scale(Some(tolerance)))
        }
    }
}

/// What full closeness counts.
fn scale(tolerance: Option<Tolerance>) -> i64 {
    tolerance.map_or(1, |tolerance| {
        i64::from(tolerance.far) - i64::from(tolerance.near)
    })
}

/// `K(one − other)`, in [`Q`].
pub(crate) fn agreement(tolerance: Option<Tolerance>, one: i64, other: i64) -> u64 {
    fraction(closeness(tolerance, one, other), scale(tolerance))
}

fn fraction(part: i64, whole: i64) -> u64 {
    muldiv(part.max(0) as u64, Q, whole.max(0) as u64)
}

/// Whether the two don't agree at all.
pub(crate) fn is_far(tolerance: Option<Tolerance>, one: i64, other: i64) -> bool {
    closeness(tolerance, one, other) == 0
}

/// Whether the two agree fully.
pub(crate) fn is_near(tolerance: Option<Tolerance>, one: i64, other: i64) -> bool {
    closeness(tolerance, one, other) == scale(tolerance)
}

/// What was settled on the roads of one class in one slot, ready to be asked how a word would have fared there.
///
/// The sum of `K` over all roads is exact and costs O(log n): `K` is piecewise linear, so running sums over the
/// sorted words give it.
#[derive(Clone, Debug)]
pub(crate) struct Elsewhere {
    words: Vec<i64>,
    /// The sum of the words before each place.
    running: Vec<i64>,
}

impl Elsewhere {
    pub(crate) fn new(mut words: Vec<i64>) -> Self {
        words.sort_unstable();
        let mut running = Vec::with_capacity(words.len() + 1);
        running.push(0);
        let mut sum = 0i64;
        for &word in &words {
            sum = sum.saturating_add(word);
            running.push(sum);
        }
        Self { words, running }
    }

    /// `b`: the mean closeness of `word` to these roads, without its own, which says `own`. `None` where no
    /// other road is left.
    pub(crate) fn agreement(&self, tolerance: Option<Tolerance>, word: i64, own: Option<i64>) -> Option<u64> {
        let own_closeness = own.map_or(0, |own| closeness(tolerance, word, own));
        let count = self.words.len() as i64 - i64::from(own.is_some());
        if count <= 0 {
            return None;
        }
        let sum = self.closeness_sum(tolerance, word) - own_closeness;
        Some(fraction(sum, count.saturating_mul(scale(tolerance))))
    }

    fn closeness_sum(&self, tolerance: Option<Tolerance>, word: i64) -> i64 {
        let below = |limit: i64| self.words.partition_point(|&other| other < limit);
        let Some(tolerance) = tolerance else {
            return (below(word.saturating_add(1)) - below(word)) as i64;
        };
        let (near, far) = (i64::from(tolerance.near), i64::from(tolerance.far));
        let at = |distance: i64| below(word.saturating_add(distance));
        // Borders of the rising, the level and the falling part.
        let (a, b, c, d) = (at(-far), at(-near), at(near + 1), at(far + 1));
        let sum = |from: usize, to: usize| self.running[to].saturating_sub(self.running[from]);
        let len = |from: usize, to: usize| (to - from) as i64;
        let rising = sum(a, b).saturating_add(len(a, b).saturating_mul(far.saturating_sub(word)));
        let falling = len(c, d)
            .saturating_mul(far.saturating_add(word))
            .saturating_sub(sum(c, d));
        let level = len(b, c).saturating_mul(scale(Some(tolerance)));
        rising.saturating_add(level).saturating_add(falling)
    }
}

/// `κ`: how much `groups` independent judges count.
pub(crate) fn kappa(groups: u32) -> u64 {
    match groups {
        0 => 0,
        1 => Q / 2,
        2 => Q / 4 * 3,
        _ => Q,
    }
}

/// How scarce reports of a road are where `heard` groups report in a slot, in [`Q`]: 1 to
/// [`Params::need_max`].
pub(crate) fn need(params: &Params, heard: u64) -> u64 {
    muldiv(u64::from(params.reporters_needed) * Q, Q, heard.max(1)).clamp(Q, u64::from(params.need_max) * Q)
}

/// What one of `members` vehicles of a group gets where `groups` groups report, in [`Q`]. All shares in an
/// item sum to no more than the reporters needed: one vehicle more never makes it dearer than that.
pub(crate) fn share(params: &Params, groups: u32, members: u32) -> u64 {
    let needed = u64::from(params.reporters_needed) * Q;
    muldiv(needed, 1, groups.into()).min(Q) / u64::from(members.max(1))
}

/// How fresh an observation of this age is, in [`Q`].
pub(crate) fn freshness(age_ms: u64, limit_ms: u64) -> u64 {
    muldiv(limit_ms.saturating_sub(age_ms), Q, limit_ms)
}

/// How well one word fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quality {
    /// `a`.
    pub(crate) agreement: u64,
    /// `b`.
    pub(crate) anywhere: u64,
    /// `q`.
    pub(crate) quality: i64,
    /// Whether the record gets better for it.
    pub(crate) good: bool,
    /// Whether the record gets worse for it.
    pub(crate) bad: bool,
}

/// Compares a word with what the others say, and with what is said elsewhere.
pub(crate) fn quality(tolerance: Option<Tolerance>, word: i64, others: Opinion, anywhere: u64) -> Quality {
    let agreement = agreement(tolerance, word, others.word);
    let bad = is_far(tolerance, word, others.word);
    Quality {
        agreement,
        anywhere,
        quality: agreement as i64 - anywhere as i64 - if bad { Q as i64 } else { 0 },
        good: is_near(tolerance, word, others.word),
        bad,
    }
}

/// `v = need · share · freshness · κ`.
pub(crate) fn worth(need: u64, share: u64, freshness: u64, kappa: u64) -> u64 {
    times(times(times(need, share), freshness), kappa)
}

/// `v · q`.
pub(crate) fn points(worth: u64, quality: i64) -> i64 {
    times_signed(worth, quality)
}

/// What was settled in one slot, by class of road.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    by_class: BTreeMap<usize, Elsewhere>,
    everywhere: Elsewhere,
}

impl Settled {
    /// From each road's class and word.
    pub(crate) fn new(roads: &[(usize, i64)]) -> Self {
        let mut by_class: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
        for &(class, word) in roads {
            by_class.entry(class).or_default().push(word);
        }
        let everywhere = roads.iter().map(|&(_, word)| word).collect();
        Self {
            by_class: by_class
                .into_iter()
                .map(|(class, words)| (class, Elsewhere::new(words)))
                .collect(),
            everywhere: Elsewhere::new(everywhere),
        }
    }

    /// `b` for a word on a road of `class` that says `own`, if anything; `known` is what a copy of the
    /// published map would say. Where the slot has no other road of the class, all roads are compared; where
    /// it has no other road, the published map.
    pub(crate) fn anywhere(
        &self,
        tolerance: Option<Tolerance>,
        class: usize,
        word: i64,
        own: Option<i64>,
        known: i64,
    ) -> u64 {
        self.by_class
            .get(&class)
            .and_then(|class| class.agreement(tolerance, word, own))
            .or_else(|| self.everywhere.agreement(tolerance, word, own))
            .unwrap_or_else(|| agreement(tolerance, word, known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPEED: Option<Tolerance> = Some(Tolerance { near: 139, far: 417 });

    #[test]
    fn agreement_falls_from_near_to_far() {
        assert_eq!(agreement(SPEED, 139, 0), Q);
        assert_eq!(agreement(SPEED, 278, 0), Q / 2);
        assert_eq!(agreement(SPEED, -417, 0), 0);
        assert_eq!(agreement(None, 3, 3), Q);
        assert_eq!(agreement(None, 3, 4), 0);
    }

    #[test]
    fn a_road_without_company_is_compared_with_the_map() {
        let alone = Settled::new(&[(1, -500)]);
        assert_eq!(alone.anywhere(SPEED, 1, -500, Some(-500), 0), 0, "news");
        assert_eq!(alone.anywhere(SPEED, 1, 0, Some(-500), 0), Q, "a copy of the map");
        let classes = Settled::new(&[(1, -500), (2, -500)]);
        assert_eq!(classes.anywhere(SPEED, 1, -500, Some(-500), 0), Q, "all roads");
    }

    #[test]
    fn scarce_roads_are_worth_up_to_four_times() {
        let params = Params::default();
        assert_eq!(need(&params, 0), 4 * Q);
        assert_eq!(need(&params, Q), 3 * Q);
        assert_eq!(need(&params, 100 * Q), Q);
    }

    proptest! {
        #[test]
        fn sums_by_halves_are_the_sums_by_hand(
            words in prop::collection::vec(-900i64..900, 0..40), word in -900i64..900, code in any::<bool>(),
        ) {
            let tolerance = if code { None } else { SPEED };
            let slow: i64 = words.iter().map(|&other| closeness(tolerance, word, other)).sum();
            prop_assert_eq!(Elsewhere::new(words).closeness_sum(tolerance, word), slow);
        }

        #[test]
        fn a_further_report_never_makes_an_item_dearer_than_what_is_needed(
            members in prop::collection::vec(1u32..20, 1..40),
        ) {
            let params = Params::default();
            let groups = members.len() as u32;
            let all: u64 = members.iter().map(|&count| share(&params, groups, count) * u64::from(count)).sum();
            prop_assert!(all <= u64::from(params.reporters_needed) * Q);
        }

        #[test]
        fn points_rise_with_quality(
            word in -900i64..900, others in -900i64..900, nearer in 0i64..900, worth in 0u64..4 * Q, anywhere in 0..=Q,
        ) {
            let closer = others + (word - others).signum() * nearer.min((word - others).abs());
            let judge = |word| {
                let quality = quality(SPEED, word, Opinion { word: others, groups: 3 }, anywhere);
                points(worth, quality.quality)
            };
            prop_assert!(judge(closer) >= judge(word));
        }

        #[test]
        fn points_stay_within_twice_the_worth(worth in 0u64..=4 * Q, a in 0..=Q, b in 0..=Q, far in any::<bool>()) {
            let quality = a as i64 - b as i64 - if far { Q as i64 } else { 0 };
            let points = points(worth, quality);
            prop_assert!(points <= worth as i64 && points >= -2 * worth as i64);
        }

        #[test]
        fn no_word_overflows(words in prop::collection::vec(any::<i32>(), 0..10), word in any::<i64>(), near in any::<u16>()) {
            let tolerance = Some(Tolerance { near: near.into(), far: u32::from(near) + 1 });
            let words = words.into_iter().map(i64::from).collect();
            let _ = Elsewhere::new(words).agreement(tolerance, word, Some(word));
        }
    }
}
