//! What is published of an item, and what does the ledger remember of it?
//!
//! In: the words on one item, weighed, and what was known of the road before ([`Said`]). Out: the [`Estimate`] with
//! its 90 % interval, and the [`Road`] once it is published.
//!
//! What words are compared with, and scored by, is [`crate::truth`]'s median; what is published lies near it and
//! weighs words by the time their vehicles spent on the road.

use milepost_wire::output::{Estimate, Item};
use milepost_wire::state::{Q, Road};

use crate::fixed::{narrow, narrow_signed};
use crate::params::Params;
use crate::sighting::Sighting;
use crate::truth::{Truth, Voice};

/// The words on one item, and what was known before.
pub(crate) struct Said<'a> {
    pub(crate) item: Item,
    /// The road as it was published last.
    pub(crate) road: Option<Road>,
    /// What words are differences from, in the kind's unit.
    pub(crate) before: i64,
    /// One for each sighting.
    pub(crate) voices: &'a [Voice],
    pub(crate) sightings: &'a [Sighting],
    pub(crate) truth: &'a Truth,
    /// The weighted median, or plurality.
    pub(crate) median: i64,
    /// The median distance of the words from it.
    pub(crate) spread: i64,
}

/// What is published of an item, and what is remembered of its road.
pub(crate) fn publish(params: &Params, said: &Said<'_>) -> (Estimate, Road) {
    let kind = said.item.kind;
    let (value, half) = match params.tolerance(kind) {
        None => (said.median, 0),
        Some(tolerance) => {
            let near = tolerance.near;
            let counts = said.sightings.iter().map(Sighting::count);
            let reach = i64::from(near).max(said.spread * 3);
            // Of a road that was never published, nothing is known before.
            let prior_weight = said.road.map_or(0, |_| params.prior_weight.into());
            let centre = centre(said.voices, counts, said.median, reach, prior_weight);
            (
                said.before + centre,
                interval_half(said.spread, near, said.truth.witnesses()),
            )
        }
    };
    let value = narrow_signed(value);
    let estimate = Estimate {
        item: said.item,
        value,
        // No kind has negative values.
        low: narrow_signed((i64::from(value) - half).max(0)),
        high: narrow_signed(i64::from(value) + half),
        vehicles: said
            .voices
            .iter()
            .filter(|voice| voice.weight > 0 && !voice.anchor)
            .count() as u32,
        weight: said.truth.weight(),
        spread: narrow_signed(said.spread),
    };
    (estimate, road_after(params, said, value))
}

/// The road once this slot is published. Slots in which nobody came count as such.
fn road_after(params: &Params, said: &Said<'_>, value: i32) -> Road {
    let slot = said.item.slot;
    let known = said.road.unwrap_or(Road {
        value,
        slot,
        heard: narrow(u64::from(params.reporters_needed) * Q),
        usual: value,
    });
    let mut heard = u64::from(known.heard);
    for _ in 1..slot.0.saturating_sub(known.slot.0).min(IDLE_SLOTS_MAX) {
        heard -= heard >> params.heard_shift;
    }
    heard -= heard >> params.heard_shift;
    heard += (u64::from(said.truth.groups()) * Q) >> params.heard_shift;
    let usual = if said.item.kind.is_category() {
        // Codes have no average.
        value
    } else {
        // Rounded to the nearest, so that it does not drift.
        let difference = i64::from(value) - i64::from(known.usual);
        let half = (1i64 << params.usual_shift) / 2;
        narrow_signed(i64::from(known.usual) + ((difference + half) >> params.usual_shift))
    };
    Road {
        value,
        slot,
        heard: narrow(heard),
        usual,
    }
}

/// Beyond so many empty slots a road is as scarce as can be.
const IDLE_SLOTS_MAX: u32 = 1024;

/// What is published of numbers: the mean over the time that vehicles spent on the road, of words that are drawn
/// to within `reach` of the weighted median.
///
/// The median alone is robust and, where traffic stops and goes, wrong: what a road operator calls the speed of a
/// stretch is all distance by all time (Edie 1963), a mean over vehicle-seconds. One step from the median with
/// the influence of each word bounded (Huber 1964) keeps both: liars move it by their share of the weight times `reach`
/// and no further. `counts` are the observations behind each word, one a second; `prior_weight` is that of what was
/// published before, whose word is 0 and which speaks for as long as the average voice.
fn centre(
    voices: &[Voice],
    counts: impl Iterator<Item = u32>,
    median: i64,
    reach: i64,
    prior_weight: u64,
) -> i64 {
    let counts: Vec<u32> = counts.collect();
    let average = counts.iter().map(|&count| u128::from(count)).sum::<u128>() / (counts.len().max(1) as u128);
    let said = voices
        .iter()
        .zip(&counts)
        .map(|(voice, &count)| (voice.word, u128::from(voice.weight) * u128::from(count)));
    let prior = (0, u128::from(prior_weight) * average);
    let (mut sum, mut all) = (0i128, 0i128);
    for (word, weight) in said.chain([prior]) {
        let weight = i128::try_from(weight).unwrap_or(i128::MAX >> 40);
        let word = word.clamp(median.saturating_sub(reach), median.saturating_add(reach));
        sum = sum.saturating_add(weight.saturating_mul(i128::from(word)));
        all = all.saturating_add(weight);
    }
    if all == 0 {
        median
    } else {
        i64::try_from(sum.div_euclid(all)).unwrap_or(median)
    }
}

/// Half the width of a 90 % interval around a median of `groups` independent words.
///
/// For normal errors a median's standard error is 1.2533 σ/√n, and σ is 1.4826 times the median distance, so
/// that 1.645 standard errors are 3.06 median distances by √n. A few vehicles can agree by chance: the
/// distance is taken to be no less than a third of `near`, within which honest words lie from each other.
fn interval_half(spread: i64, near: u32, groups: u32) -> i64 {
    let spread_306 = spread.clamp(0, 1 << 32) as u64 * 306;
    let wide = spread_306.max(u64::from(near) * 102) * 256;
    // √(n · 2¹⁶) = 2⁸ · √n.
    let root = (u64::from(groups.max(1)) << 16).isqrt();
    wide.div_ceil(root * 100) as i64
}

#[cfg(test)]
mod tests {
    use milepost_wire::KeyId;
    use proptest::prelude::*;

    use super::*;

    fn voice(group: u64, word: i64, weight: u64) -> Voice {
        Voice {
            vehicle: KeyId::default(),
            group,
            word,
            weight,
            anchor: false,
        }
    }

    #[test]
    fn a_vehicle_that_stands_longer_counts_longer() {
        let voices = [voice(1, 0, 4), voice(2, 100, 4), voice(3, 100, 4)];
        assert_eq!(centre(&voices, [20, 5, 5].into_iter(), 100, 1_000, 0), 33);
    }

    #[test]
    fn more_witnesses_narrow_the_interval() {
        assert_eq!(interval_half(0, 139, 1), 142);
        assert_eq!(interval_half(0, 139, 100), 15);
        assert!(interval_half(200, 139, 9) > interval_half(200, 139, 16));
    }

    proptest! {
        /// However wild the words of a few, they draw the centre no further than their share times the reach.
        #[test]
        fn a_liar_moves_the_centre_by_its_share_of_the_reach(
            honest in prop::collection::vec(-20i64..20, 3..20), lie in any::<i32>(), reach in 1i64..100,
        ) {
            let mut voices: Vec<Voice> = honest.iter().zip(0..).map(|(&word, group)| voice(group, word, 10)).collect();
            let before = centre(&voices, voices.iter().map(|_| 1), 0, reach, 0);
            voices.push(voice(99, lie.into(), 10));
            let after = centre(&voices, voices.iter().map(|_| 1), 0, reach, 0);
            prop_assert!((after - before).abs() <= 2 * reach / (honest.len() as i64 + 1) + 1);
        }
    }
}
