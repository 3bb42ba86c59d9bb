//! What do the rules make of claims that were made elsewhere?
//!
//! The truth and trust rules alone, without a ledger, vehicles or pay: for comparison with other methods on
//! anybody's data. In: the words that sources say on one item, each with its weight. Out: what is true of it, and
//! whether each word agrees with what is true without its group. Between epochs a source's [`Trust`] takes its
//! verdicts in.
//!
//! Nothing is decided here: medians, caps, agreement, records and quarantine are those of `truth`, `score` and
//! `reputation`. No history is known of an item, so no prior speaks; and what is published is the weighted median
//! itself, since a claim does not say how long it was watched for.

use milepost_wire::KeyId;
use milepost_wire::state::{Q, Standing};

use crate::params::{Params, Tolerance};
use crate::reputation::{self, Decision};
use crate::score::Scale;
use crate::sighting::Tally;
use crate::truth::{self, Truth, Voice};

/// One source's word on an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// What it says, in any unit.
    pub value: i64,
    /// Words of one group never judge each other, and together weigh at most half.
    pub group: u64,
    /// What it weighs: [`Trust::weight`].
    pub weight: u64,
}

/// How a word fares before the other groups' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No other group speaks.
    Unjudged,
    /// Within the near tolerance.
    Good,
    /// Neither near nor far.
    Between,
    /// Beyond the far tolerance.
    Bad,
}

/// What an item's words come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The weighted lower median.
    pub value: i64,
    /// Where a 90 % interval around it begins, ...
    pub low: i64,
    /// ... and ends.
    pub high: i64,
    /// The words' median distance from it.
    pub spread: i64,
    /// How many groups count.
    pub groups: u32,
    /// What all words weigh, caps applied.
    pub weight: u64,
    /// One for each word.
    pub verdicts: Vec<Verdict>,
}

/// Judges one item; `None` where no word weighs anything.
pub fn judge(words: &[Word], tolerance: Tolerance) -> Option<Judgement> {
    let mut voices: Vec<Voice> = words
        .iter()
        .map(|word| Voice {
            vehicle: KeyId::default(),
            group: word.group,
            word: word.value,
            weight: word.weight,
            speaks: word.weight,
            anchor: false,
        })
        .collect();
    truth::cap_weights(&mut voices);
    let truth = Truth::of_numbers(&voices, 0);
    let value = truth.whole()?.word;
    let distances = voices
        .iter()
        .map(|voice| (voice.word.abs_diff(value).min(1 << 32) as i64, voice.weight));
    let spread = truth::spread(distances);
    let scale = Scale::Numbers(tolerance.widened(spread));
    let verdict = |voice: &Voice| match truth.without(voice.group) {
        None => Verdict::Unjudged,
        Some(others) if scale.is_near(voice.word, others.word) => Verdict::Good,
        Some(others) if scale.is_far(voice.word, others.word) => Verdict::Bad,
        Some(_) => Verdict::Between,
    };
    let (low, high) = interval(&voices, truth.groups());
    Some(Judgement {
        value,
        low,
        high,
        spread,
        groups: truth.groups(),
        weight: truth.weight(),
        verdicts: voices.iter().map(verdict).collect(),
    })
}

/// Between which words the median lies in nine of ten cases, whatever the distribution of errors.
///
/// Of `groups` independent words, the number below the true median is binomial, so its rank lies within
/// 1.645 · √groups / 2 of the middle (Conover, *Practical Nonparametric Statistics*, 3.2). Of few words, it lies
/// between the least and the greatest, if that.
fn interval(voices: &[Voice], groups: u32) -> (i64, i64) {
    let mut said: Vec<(i64, u64)> = voices
        .iter()
        .filter(|voice| voice.weight > 0)
        .map(|voice| (voice.word, voice.weight))
        .collect();
    said.sort_unstable();
    // 0.8225 in Q by √(groups · 2¹⁶) = 2⁸ · √groups.
    let reach = (53_903 << 8) / (u64::from(groups.max(1)) << 16).isqrt();
    let all: u128 = said.iter().map(|&(_, weight)| u128::from(weight)).sum();
    let at = |fraction: u64| {
        let mut running = 0u128;
        let rank = said.iter().position(|&(_, weight)| {
            running += u128::from(weight);
            running * u128::from(Q) >= all * u128::from(fraction)
        });
        rank.or(said.len().checked_sub(1)).map_or(0, |rank| said[rank].0)
    };
    (at((Q / 2).saturating_sub(reach)), at((Q / 2 + reach).min(Q)))
}

/// What a source's words came to in an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tested {
    /// Words that others could judge, ...
    pub evaluated: u32,
    /// ... of which good, ...
    pub good: u32,
    /// ... and bad.
    pub bad: u32,
}

impl Tested {
    /// Counts one word.
    pub fn count(&mut self, verdict: Verdict) {
        self.evaluated += u32::from(verdict != Verdict::Unjudged);
        self.good += u32::from(verdict == Verdict::Good);
        self.bad += u32::from(verdict == Verdict::Bad);
    }
}

/// A source's record, and whether it is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    standing: Standing,
    quarantined: bool,
}

impl Trust {
    /// Of a source that nothing is known of: reputation ¼ with the default parameters.
    pub fn new(params: &Params) -> Self {
        Self {
            standing: Standing {
                good: params.start_good,
                bad: params.start_bad,
                debt: 0,
                evaluated: 0,
            },
            quarantined: false,
        }
    }

    /// What its words weigh: its reputation squared, 0 in quarantine.
    pub fn weight(&self) -> u64 {
        reputation::weight(&self.standing, self.quarantined)
    }

    /// Between 0 and [`Q`].
    pub fn reputation(&self) -> u32 {
        self.standing.reputation()
    }

    /// Whether its words are judged and do not count.
    pub fn is_quarantined(&self) -> bool {
        self.quarantined
    }

    /// Ends an epoch: the record takes in what the words came to, and leads into quarantine or out of it.
    pub fn close_epoch(&mut self, params: &Params, tested: Tested) {
        let tally = Tally {
            evaluated: tested.evaluated,
            good: u64::from(tested.good) * Q,
            bad: u64::from(tested.bad) * Q,
            ..Tally::default()
        };
        self.standing = reputation::after_epoch(params, self.standing, &tally);
        match reputation::decide(params, &self.standing, &tally, self.quarantined) {
            Decision::Stay => {}
            Decision::Quarantine => {
                self.standing = reputation::counted_anew(self.standing);
                self.quarantined = true;
            }
            Decision::Release => {
                self.standing = reputation::released();
                self.quarantined = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOLERANCE: Tolerance = Tolerance { near: 5, far: 15 };

    fn words(values: &[i64]) -> Vec<Word> {
        values
            .iter()
            .zip(0..)
            .map(|(&value, group)| Word {
                value,
                group,
                weight: Q,
            })
            .collect()
    }

    #[test]
    fn a_word_is_judged_by_the_others_alone() {
        let judged = judge(&words(&[100, 101, 102, 110, 500]), TOLERANCE).expect("words count");
        use Verdict::{Bad, Between, Good};
        assert_eq!(judged.value, 102);
        assert_eq!(judged.verdicts, [Good, Good, Good, Between, Bad]);
    }

    #[test]
    fn who_speaks_alone_is_not_judged_and_who_weighs_nothing_does_not_count() {
        let alone = judge(&words(&[7]), TOLERANCE).expect("a word counts");
        assert_eq!((alone.value, &alone.verdicts[..]), (7, &[Verdict::Unjudged][..]));
        let mut silenced = words(&[7, 900]);
        silenced[0].weight = 0;
        let judged = judge(&silenced, TOLERANCE).expect("a word counts");
        assert_eq!(judged.value, 900);
        assert_eq!(
            judged.verdicts,
            [Verdict::Bad, Verdict::Unjudged],
            "judged in the shadow"
        );
        silenced[1].weight = 0;
        assert_eq!(judge(&silenced, TOLERANCE), None);
    }

    #[test]
    fn more_independent_words_narrow_the_interval() {
        let spread = |count: i64| {
            let values: Vec<i64> = (0..count).map(|at| at * 1_000 / (count - 1)).collect();
            let judged = judge(&words(&values), TOLERANCE).expect("words count");
            judged.high - judged.low
        };
        assert_eq!(spread(3), 1_000);
        // 1.645 / √101 = 16.4 % of the ranks.
        assert_eq!(spread(101), 160);
    }

    #[test]
    fn a_source_that_is_always_far_off_is_silenced_and_heard_again_once_it_is_right() {
        let params = Params {
            release_needs_vote: false,
            ..Params::default()
        };
        let mut trust = Trust::new(&params);
        let (mut bad, mut good) = (Tested::default(), Tested::default());
        for _ in 0..30 {
            bad.count(Verdict::Bad);
            good.count(Verdict::Good);
        }
        trust.close_epoch(&params, bad);
        assert!(trust.is_quarantined() && trust.weight() == 0);
        for _ in 0..200 {
            trust.close_epoch(&params, good);
        }
        assert!(!trust.is_quarantined() && trust.weight() > 0);
    }

    proptest! {
        #[test]
        fn the_value_lies_within_its_interval_and_the_interval_among_the_words(
            said in prop::collection::vec((-1_000i64..1_000, 0u64..4, 0u64..100), 1..30),
        ) {
            let words: Vec<Word> =
                said.iter().map(|&(value, group, weight)| Word { value, group, weight }).collect();
            if let Some(judged) = judge(&words, TOLERANCE) {
                prop_assert!(judged.low <= judged.value && judged.value <= judged.high);
                for end in [judged.low, judged.value, judged.high] {
                    prop_assert!(words.iter().any(|word| word.value == end && word.weight > 0));
                }
            }
        }

        #[test]
        fn no_words_overflow(
            said in prop::collection::vec((any::<i64>(), any::<u64>(), any::<u64>()), 0..10), near in any::<u32>(),
        ) {
            let words: Vec<Word> =
                said.iter().map(|&(value, group, weight)| Word { value, group, weight }).collect();
            let _ = judge(&words, Tolerance { near, far: near.saturating_add(1) });
        }
    }
}
