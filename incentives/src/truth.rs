//! What is true of an item, and what would be without one group?
//!
//! In: one [`Voice`] for each vehicle, with its word and its weight. Out: the weighted lower median, or for
//! codes the weighted plurality (of equals, the smaller code), with everybody or with one group left out.
//!
//! Weights are squared reputations, capped so that nobody decides alone: from three voices on, one weighs at
//! most half of all, and from two groups on, a group weighs at most half. What was published before speaks
//! as one voice more. The result can be moved at will by half of an item's weight, and not by less.
//!
//! Cost: O(n log n) for an item of n voices, all groups' leave-outs included.

use std::collections::{BTreeMap, BTreeSet};

use milepost_wire::KeyId;
use milepost_wire::state::Q;

use crate::fixed::muldiv;

/// One vehicle's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Voice {
    pub(crate) vehicle: KeyId,
    pub(crate) group: u64,
    /// Its word as a difference from what was known before, or the code.
    pub(crate) word: i64,
    /// Its weight; 0 for a vehicle in quarantine, which is heard and does not count.
    pub(crate) weight: u64,
    /// Its weight in the published estimate: [`crate::reputation::speaks`]. A sensor's is its `weight` among the vehicles'.
    pub(crate) speaks: u64,
    /// Whether it is a roadside sensor's ([`crate::anchor`]), which judges like three groups.
    pub(crate) anchor: bool,
}

impl Voice {
    /// As how many independent groups it judges.
    pub(crate) fn judges(&self) -> u32 {
        if self.anchor { ANCHOR_JUDGES } else { 1 }
    }
}

/// As how many independent groups a roadside sensor judges.
const ANCHOR_JUDGES: u32 = 3;

/// What a set of voices says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opinion {
    pub(crate) word: i64,
    /// How many groups of positive weight it rests on; a roadside sensor counts as three.
    pub(crate) groups: u32,
}

/// The voices on one item, weighed, and ready to be asked.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    said: Said,
    /// As how many each group of positive weight judges.
    judges: BTreeMap<u64, u32>,
    /// As how many all groups judge together.
    witnesses: u32,
    /// How many of the groups have vehicles that count.
    groups: u32,
    /// All voices' weight, without what was known before.
    weight: u64,
    /// Each group's part of it.
    weights: BTreeMap<u64, u64>,
}

#[derive(Clone, Debug)]
enum Said {
    Numbers(Numbers),
    Codes(Codes),
}

/// Caps the weights, of both kinds: a voice at half from three counting voices on, a group at half from two groups on.
pub(crate) fn cap_weights(voices: &mut [Voice]) {
    let mut speakers: Vec<Voice> = voices
        .iter()
        .map(|voice| Voice {
            weight: voice.speaks,
            ..*voice
        })
        .collect();
    cap(&mut speakers);
    cap(voices);
    for (voice, speaker) in voices.iter_mut().zip(speakers) {
        voice.speaks = speaker.weight;
    }
}

fn cap(voices: &mut [Voice]) {
    let counting = voices.iter().filter(|voice| voice.weight > 0).count();
    if counting >= 3 {
        let cap = (sum(voices) / 2).max(1);
        for voice in voices.iter_mut() {
            voice.weight = voice.weight.min(cap);
        }
    }
    let groups = weight_by_group(voices);
    if groups.len() >= 2 {
        let cap = (sum(voices) / 2).max(1);
        for voice in voices.iter_mut().filter(|voice| voice.weight > 0) {
            let group = groups.get(&voice.group).copied().unwrap_or(0);
            if group > cap {
                voice.weight = muldiv(voice.weight, cap, group).max(1);
            }
        }
    }
}

fn sum(voices: &[Voice]) -> u64 {
    voices
        .iter()
        .fold(0, |sum, voice| u64::saturating_add(sum, voice.weight))
}

/// Groups of positive weight.
fn weight_by_group(voices: &[Voice]) -> BTreeMap<u64, u64> {
    let mut groups = BTreeMap::new();
    for voice in voices.iter().filter(|voice| voice.weight > 0) {
        let weight = groups.entry(voice.group).or_insert(0u64);
        *weight = weight.saturating_add(voice.weight);
    }
    groups
}

impl Truth {
    /// Of numbers, as differences from what was known before, which weighs `prior_weight`.
    pub(crate) fn of_numbers(voices: &[Voice], prior_weight: u64) -> Self {
        Self::new(voices, Said::Numbers(Numbers::new(voices, prior_weight)))
    }

    /// Of codes; `prior` is the code known before, and its weight.
    pub(crate) fn of_codes(voices: &[Voice], prior: (i64, u64)) -> Self {
        Self::new(voices, Said::Codes(Codes::new(voices, prior)))
    }

    fn new(voices: &[Voice], said: Said) -> Self {
        let (mut judges, mut groups) = (BTreeMap::new(), BTreeSet::new());
        for voice in voices.iter().filter(|voice| voice.weight > 0) {
            let known = judges.entry(voice.group).or_insert(0);
            *known = voice.judges().max(*known);
            if !voice.anchor {
                groups.insert(voice.group);
            }
        }
        Self {
            said,
            witnesses: judges.values().sum(),
            judges,
            groups: u32::try_from(groups.len()).unwrap_or(u32::MAX),
            weight: sum(voices),
            weights: weight_by_group(voices),
        }
    }

    /// All voices' weight, without those of `group`.
    pub(crate) fn weight_without(&self, group: u64) -> u64 {
        let own = self.weights.get(&group).copied().unwrap_or(0);
        self.weight.saturating_sub(own)
    }

    /// How much weight `group` leaves for what lies within `reach` of `word`; for codes, for the very same.
    fn weight_near(&self, group: u64, word: i64, reach: i64) -> u64 {
        match &self.said {
            Said::Numbers(numbers) => {
                numbers.weight_within(group, word.saturating_sub(reach), word.saturating_add(reach))
            }
            Said::Codes(codes) => codes.weight_of(Some(group), word),
        }
    }

    /// How far the others agree that `word` is wrong and `others` right, in [`Q`]: by how much those who say what `others`
    /// is, within `reach`, outweigh those who say what `word` is, of all of them. One's own group is left out.
    pub(crate) fn consent(&self, group: u64, (word, others): (i64, i64), reach: i64) -> u64 {
        let [against, in_favour] = [others, word].map(|said| self.weight_near(group, said, reach));
        let all = self.weight_without(group).max(1);
        muldiv(against.saturating_sub(in_favour).min(all), Q, all)
    }

    /// What everybody says; `None` where nobody counts.
    pub(crate) fn whole(&self) -> Option<Opinion> {
        self.opinion(None)
    }

    /// What the others say, with `group` left out; `None` where no other counts.
    pub(crate) fn without(&self, group: u64) -> Option<Opinion> {
        self.opinion(Some(group))
    }

    fn opinion(&self, left_out: Option<u64>) -> Option<Opinion> {
        let own = left_out.and_then(|group| self.judges.get(&group)).copied();
        let groups = self.witnesses - own.unwrap_or(0);
        if groups == 0 {
            return None;
        }
        let word = match &self.said {
            Said::Numbers(numbers) => numbers.median(left_out),
            Said::Codes(codes) => codes.plurality(left_out),
        }?;
        Some(Opinion { word, groups })
    }

    /// All voices' weight.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// How many groups of vehicles count.
    pub(crate) fn groups(&self) -> u32 {
        self.groups
    }
}

/// Numbers in their order, with running sums of weights.
#[derive(Clone, Debug)]
struct Numbers {
    words: Vec<i64>,
    /// The weight up to and with each word.
    running: Vec<u64>,
    /// For each group, where its words stand and its own weight up to and with each.
    by_group: BTreeMap<u64, Vec<(usize, u64)>>,
}

impl Numbers {
    fn new(voices: &[Voice], prior_weight: u64) -> Self {
        let prior = (0, None, prior_weight);
        let mut said: Vec<_> = voices
            .iter()
            .map(|voice| (voice.word, Some(voice.group), voice.weight))
            .chain([prior])
            .filter(|&(_, _, weight)| weight > 0)
            .collect();
        said.sort_unstable();
        let mut numbers = Self {
            words: Vec::with_capacity(said.len()),
            running: Vec::with_capacity(said.len()),
            by_group: BTreeMap::new(),
        };
        let mut all = 0u64;
        for (at, (word, group, weight)) in said.into_iter().enumerate() {
            all = all.saturating_add(weight);
            numbers.words.push(word);
            numbers.running.push(all);
            if let Some(group) = group {
                let own = numbers.by_group.entry(group).or_default();
                let before = own.last().map_or(0, |&(_, weight)| weight);
                own.push((at, before.saturating_add(weight)));
            }
        }
        numbers
    }

    /// The weight of the words from `low` to `high`, without one group's.
    fn weight_within(&self, left_out: u64, low: i64, high: i64) -> u64 {
        let own = self.by_group.get(&left_out).map_or(&[][..], Vec::as_slice);
        let weight_before = |end: usize| {
            let all = end.checked_sub(1).map_or(0, |last| self.running[last]);
            let before = own.partition_point(|&(at, _)| at < end);
            all.saturating_sub(before.checked_sub(1).map_or(0, |last| own[last].1))
        };
        let from = self.words.partition_point(|&word| word < low);
        let to = self.words.partition_point(|&word| word <= high);
        weight_before(to).saturating_sub(weight_before(from))
    }

    /// The least word below and at which at least half of the weight lies.
    fn median(&self, left_out: Option<u64>) -> Option<i64> {
        let own = left_out.and_then(|group| self.by_group.get(&group));
        let own = own.map_or(&[][..], Vec::as_slice);
        let weight_to = |at: usize| {
            let before = own.partition_point(|&(own_at, _)| own_at <= at);
            let own_weight = before.checked_sub(1).map_or(0, |last| own[last].1);
            self.running[at].saturating_sub(own_weight)
        };
        let all = weight_to(self.words.len().checked_sub(1)?);
        if all == 0 {
            return None;
        }
        let (mut low, mut high) = (0, self.words.len() - 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if u128::from(weight_to(middle)) * 2 >= u128::from(all) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Some(self.words[low])
    }
}

/// The weight of each code, and each group's part of it.
#[derive(Clone, Debug)]
struct Codes {
    weights: BTreeMap<i64, u64>,
    by_group: BTreeMap<(u64, i64), u64>,
}

impl Codes {
    fn new(voices: &[Voice], (prior, prior_weight): (i64, u64)) -> Self {
        let mut codes = Self {
            weights: BTreeMap::from([(prior, prior_weight)]),
            by_group: BTreeMap::new(),
        };
        for voice in voices {
            let all = codes.weights.entry(voice.word).or_default();
            *all = all.saturating_add(voice.weight);
            let own = codes.by_group.entry((voice.group, voice.word)).or_default();
            *own = own.saturating_add(voice.weight);
        }
        codes
    }

    /// The weight of one code, without one group's.
    fn weight_of(&self, left_out: Option<u64>, code: i64) -> u64 {
        let all = self.weights.get(&code).copied().unwrap_or(0);
        let own = left_out.and_then(|group| self.by_group.get(&(group, code)));
        all.saturating_sub(own.copied().unwrap_or(0))
    }

    /// The code with the greatest weight; of equals, the smallest.
    fn plurality(&self, left_out: Option<u64>) -> Option<i64> {
        let mut best = None;
        for &code in self.weights.keys() {
            let weight = self.weight_of(left_out, code);
            if weight > best.map_or(0, |(_, weight)| weight) {
                best = Some((code, weight));
            }
        }
        best.map(|(code, _)| code)
    }
}

/// The weighted lower median of `distances`; 0 where nothing weighs.
pub(crate) fn spread(distances: impl Iterator<Item = (i64, u64)>) -> i64 {
    let mut sorted: Vec<_> = distances.filter(|&(_, weight)| weight > 0).collect();
    sorted.sort_unstable();
    let all: u128 = sorted.iter().map(|&(_, weight)| u128::from(weight)).sum();
    let mut running = 0u128;
    for (distance, weight) in sorted {
        running += u128::from(weight);
        if running * 2 >= all {
            return distance;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn voice(group: u64, word: i64, weight: u64) -> Voice {
        Voice {
            vehicle: KeyId::default(),
            group,
            word,
            weight,
            speaks: weight,
            anchor: false,
        }
    }

    fn voices(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Voice>> {
        let one = (0u64..6, -20i64..20, 0u64..1000);
        prop::collection::vec(
            one.prop_map(|(group, word, weight)| voice(group, word, weight)),
            len,
        )
    }

    /// The definition, word by word.
    fn slow_consent(
        voices: &[Voice],
        prior: u64,
        without: u64,
        (word, others): (i64, i64),
        reach: i64,
    ) -> u64 {
        let judges = voices.iter().filter(|voice| voice.group != without);
        let judges: Vec<_> = judges.map(|voice| (voice.word, voice.weight)).collect();
        let all = judges.iter().map(|&(_, weight)| weight).sum::<u64>().max(1);
        let alike = |word: i64| -> u64 {
            let said = judges.iter().copied().chain([(0, prior)]);
            said.filter(|&(said, _)| said.abs_diff(word) <= reach as u64)
                .map(|(_, weight)| weight)
                .sum()
        };
        muldiv(alike(others).saturating_sub(alike(word)).min(all), Q, all)
    }

    /// The definition, word by word.
    fn slow_median(voices: &[Voice], prior: u64, without: Option<u64>) -> Option<i64> {
        let mut said: Vec<_> = voices
            .iter()
            .filter(|voice| Some(voice.group) != without)
            .map(|voice| (voice.word, voice.weight))
            .collect();
        if said.iter().all(|&(_, weight)| weight == 0) {
            return None;
        }
        said.push((0, prior));
        Some(spread(said.into_iter()))
    }

    #[test]
    fn the_more_say_what_the_judged_says_the_less_the_others_agree_against_it() {
        let consent = |judges: &[(i64, u64)]| {
            let mut voices = vec![voice(0, 50, 9)];
            voices.extend(
                (1..)
                    .zip(judges)
                    .map(|(group, &(word, weight))| voice(group, word, weight)),
            );
            let truth = Truth::of_numbers(&voices, 0);
            let others = truth.without(0).expect("judges").word;
            truth.consent(0, (50, others), 5)
        };
        assert_eq!(consent(&[(0, 4)]), Q, "one judge agrees with itself");
        assert_eq!(consent(&[(0, 4), (3, 4), (-2, 4)]), Q);
        assert_eq!(consent(&[(0, 4), (3, 4), (48, 4)]), Q / 3);
        assert_eq!(consent(&[(0, 4), (48, 4)]), 0, "even");
        assert_eq!(
            consent(&[(0, 4), (20, 4), (90, 4)]),
            Q / 3,
            "they don't agree with one another"
        );
    }

    #[test]
    fn judges_of_codes_agree_where_they_say_the_same() {
        let truth = Truth::of_codes(&[voice(0, 1, 9), voice(1, 2, 6), voice(2, 1, 3)], (2, 1));
        assert_eq!(truth.consent(0, (1, 2), 0), muldiv(7 - 3, Q, 9));
    }

    #[test]
    fn the_lower_of_two_medians_counts() {
        let truth = Truth::of_numbers(&[voice(1, 10, 5), voice(2, 20, 5)], 0);
        assert_eq!(truth.whole(), Some(Opinion { word: 10, groups: 2 }));
        assert_eq!(truth.without(1), Some(Opinion { word: 20, groups: 1 }));
    }

    #[test]
    fn nobody_judges_a_group_that_is_alone() {
        let truth = Truth::of_numbers(&[voice(1, 10, 5), voice(1, 11, 5), voice(2, 12, 0)], 7);
        assert_eq!(truth.without(1), None);
        assert_eq!(truth.without(2).map(|opinion| opinion.groups), Some(1));
    }

    #[test]
    fn a_roadside_sensor_judges_like_three_groups_and_is_no_vehicle() {
        let sensor = Voice {
            anchor: true,
            ..voice(2, 12, 5)
        };
        let truth = Truth::of_numbers(&[voice(1, 10, 5), sensor], 0);
        assert_eq!(truth.without(1), Some(Opinion { word: 12, groups: 3 }));
        assert_eq!((truth.groups(), truth.witnesses), (1, 4));
    }

    #[test]
    fn of_equal_codes_the_smaller_wins() {
        let truth = Truth::of_codes(&[voice(1, 4, 5), voice(2, 2, 5)], (9, 4));
        assert_eq!(truth.whole().map(|opinion| opinion.word), Some(2));
        assert_eq!(truth.without(2).map(|opinion| opinion.word), Some(4));
    }

    proptest! {
        #[test]
        fn consent_by_running_sums_is_consent_by_hand(
            voices in voices(0..12), prior in 0u64..500, group in 0u64..6, said in (-20i64..20, -20i64..20), reach in 0i64..15,
        ) {
            let truth = Truth::of_numbers(&voices, prior);
            prop_assert_eq!(truth.consent(group, said, reach), slow_consent(&voices, prior, group, said, reach));
            prop_assert!(truth.consent(group, said, reach) <= Q);
        }

        #[test]
        fn leaving_out_is_what_its_definition_says(voices in voices(0..30), prior in 0u64..500) {
            let truth = Truth::of_numbers(&voices, prior);
            prop_assert_eq!(truth.whole().map(|o| o.word), slow_median(&voices, prior, None));
            for group in 0..7 {
                prop_assert_eq!(truth.without(group).map(|o| o.word), slow_median(&voices, prior, Some(group)));
            }
        }

        #[test]
        fn the_truth_lies_among_the_voices(voices in voices(1..30)) {
            if let Some(opinion) = Truth::of_numbers(&voices, 0).whole() {
                prop_assert!(voices.iter().any(|voice| voice.word == opinion.word && voice.weight > 0));
            }
        }

        #[test]
        fn no_group_keeps_more_than_half(mut voices in voices(0..30)) {
            let before = sum(&voices);
            cap_weights(&mut voices);
            let groups = weight_by_group(&voices);
            // Every voice that counts keeps at least 1, so rounding can add one for each.
            let rounding = voices.len() as u64;
            prop_assert!(groups.len() < 2 || groups.values().all(|&weight| weight <= before / 2 + rounding));
        }

        #[test]
        fn a_minority_cannot_move_the_truth_out_of_the_majoritys_range(
            honest in prop::collection::vec(-5i64..=5, 4..20), lie in any::<i32>(),
        ) {
            let mut voices: Vec<_> = honest.iter().zip(0..).map(|(&word, group)| voice(group, word, 100)).collect();
            let liars = (honest.len() - 1) as u64;
            voices.extend((0..liars).map(|liar| voice(100 + liar, lie.into(), 100)));
            cap_weights(&mut voices);
            let word = Truth::of_numbers(&voices, 0).whole().expect("voices count").word;
            prop_assert!((-5..=5).contains(&word));
        }

        #[test]
        fn no_weights_overflow(weights in prop::collection::vec(any::<u64>(), 0..10), word in any::<i64>()) {
            let mut voices: Vec<_> = weights.iter().zip(0..).map(|(&weight, group)| voice(group % 3, word, weight)).collect();
            cap_weights(&mut voices);
            let _ = (Truth::of_numbers(&voices, u64::MAX).without(1), Truth::of_codes(&voices, (1, u64::MAX)).without(1));
        }
    }
}
