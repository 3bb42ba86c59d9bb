//! Whom does the file give reason to trust?
//!
//! On the ledger trust is learnt from epoch to epoch. A file has no later epochs, so it is played again and again:
//! every claim is judged with what is trusted so far, the verdicts make the next epoch's trust, and it ends when no
//! reputation moves any more. The last epoch's truth is the estimate.
//!
//! One thing is added to the ledger's rules. There an owner's vehicles have been somewhere and seen something each;
//! here sources of one group repeat one another, so a group's words on an item share the weight of one.

use std::collections::BTreeMap;

use milepost_incentives::Params;
use milepost_incentives::claims::{Judgement, Tested, Trust, Word, judge};
use milepost_incentives::params::Tolerance;
use milepost_wire::state::Q;
use rayon::prelude::*;

/// Who says what of one item.
pub type Said = [(u32, i64)];

/// After so many epochs it ends in any case. Records fade by 1/32 an epoch: what moves for longer goes in a circle.
pub const EPOCHS_MAX: u32 = 32;

/// A reputation that moves by less than a hundredth stands still.
const STILL: u32 = (Q / 100) as u32;

/// What is known of a source in the end.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Who speaks with it, named by a source.
    pub group: u64,
    /// Its record.
    pub trust: Trust,
    /// What its claims came to in the last epoch.
    pub tested: Tested,
}

/// What the file teaches.
pub struct Learnt {
    /// One for each item; `None` where only sources in quarantine speak.
    pub judgements: Vec<Option<Judgement>>,
    /// One for each source.
    pub sources: Vec<Source>,
    /// How many epochs it took.
    pub epochs: u32,
}

/// Plays the items until trust stands still; tells `progress` after each epoch how far the trust has come.
pub fn learn(items: &[&Said], groups: &[u64], tolerance: Tolerance, mut progress: impl FnMut(f64)) -> Learnt {
    let params = Params {
        // There is nobody to vote.
        release_needs_vote: false,
        ..Params::default()
    };
    let mut sources: Vec<Source> = groups
        .iter()
        .map(|&group| Source {
            group,
            trust: Trust::new(&params),
            tested: Tested::default(),
        })
        .collect();
    let mut epochs = 0;
    loop {
        let judgements: Vec<Option<Judgement>> = items
            .par_iter()
            .map(|said| judge(&words(said, &sources), tolerance))
            .collect();
        count(items, &judgements, &mut sources);
        epochs += 1;
        let moved = close_epoch(&params, &mut sources);
        progress(f64::from(epochs) / f64::from(EPOCHS_MAX));
        if moved < STILL || epochs == EPOCHS_MAX {
            return Learnt {
                judgements,
                sources,
                epochs,
            };
        }
    }
}

/// The words on one item, a group's sharing the weight of one.
fn words(said: &Said, sources: &[Source]) -> Vec<Word> {
    let mut members: BTreeMap<u64, u64> = BTreeMap::new();
    for &(source, _) in said {
        let source = &sources[source as usize];
        *members.entry(source.group).or_default() += u64::from(source.trust.weight() > 0);
    }
    said.iter()
        .map(|&(source, value)| {
            let source = &sources[source as usize];
            let weight = source.trust.weight();
            let share = weight / members[&source.group].max(1);
            Word {
                value,
                group: source.group,
                weight: share.max(weight.min(1)),
            }
        })
        .collect()
}

fn count(items: &[&Said], judgements: &[Option<Judgement>], sources: &mut [Source]) {
    for source in sources.iter_mut() {
        source.tested = Tested::default();
    }
    for (said, judgement) in items.iter().zip(judgements) {
        let verdicts = judgement.iter().flat_map(|judgement| &judgement.verdicts);
        for (&(source, _), &verdict) in said.iter().zip(verdicts) {
            sources[source as usize].tested.count(verdict);
        }
    }
}

/// Returns by how much the reputation moved that moved most.
fn close_epoch(params: &Params, sources: &mut [Source]) -> u32 {
    let mut moved = 0;
    for source in sources {
        let before = source.trust.reputation();
        source.trust.close_epoch(params, source.tested);
        moved = moved.max(source.trust.reputation().abs_diff(before));
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Tolerance = Tolerance { near: 5, far: 15 };

    /// A chance of our own, the same on every machine.
    fn chance(of: u64, below: u64) -> u64 {
        let mut x = of.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x ^= x >> 29;
        x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (x >> 32) % below
    }

    /// Items of which twelve sources speak, with errors of their own; `liars` of them say one false value.
    fn town(liars: u32) -> Vec<Vec<(u32, i64)>> {
        let item = |item: u64| {
            let (truth, lie) = (
                chance(item, 1_000) as i64,
                2_000 + chance(item + 7_000, 1_000) as i64,
            );
            // Few speak of some items, so there the liars are in the majority.
            let speaks = move |source: u32| chance(item * 64 + u64::from(source), 100) < 50;
            let word = move |source: u32| match source {
                _ if source < liars => lie,
                _ => truth + chance(item * 97 + u64::from(source), 7) as i64 - 3,
            };
            (0..12)
                .filter(|&source| speaks(source))
                .map(|source| (source, word(source)))
                .collect()
        };
        (0..600).map(item).collect()
    }

    fn play(items: &[Vec<(u32, i64)>], groups: &[u64]) -> Learnt {
        let items: Vec<&Said> = items.iter().map(Vec::as_slice).collect();
        learn(&items, groups, TOLERANCE, |_| ())
    }

    fn groups_of(items: &[Vec<(u32, i64)>]) -> Vec<u64> {
        super::super::groups::Likeness::of(12, items.iter().map(Vec::as_slice)).groups()
    }

    #[test]
    fn those_who_agreed_on_a_lie_are_found_even_where_they_are_the_majority() {
        let items = town(5);
        let groups = groups_of(&items);
        assert_eq!(groups[..5], [groups[0]; 5], "one voice");
        let learnt = play(&items, &groups);
        for (place, source) in learnt.sources.iter().enumerate() {
            assert_eq!(source.trust.is_quarantined(), place < 5, "source {place}");
        }
        let wrong = |(said, judgement): (&Vec<(u32, i64)>, &Option<Judgement>)| {
            said.iter().any(|&(source, _)| source >= 5)
                && judgement
                    .as_ref()
                    .is_some_and(|judgement| judgement.value >= 2_000)
        };
        assert_eq!(
            items
                .iter()
                .zip(&learnt.judgements)
                .filter(|&pair| wrong(pair))
                .count(),
            0
        );
    }

    #[test]
    fn without_liars_nobody_is_silenced() {
        let items = town(0);
        let learnt = play(&items, &groups_of(&items));
        assert!(learnt.epochs < EPOCHS_MAX, "it settles");
        assert!(
            learnt
                .sources
                .iter()
                .all(|source| !source.trust.is_quarantined() && u64::from(source.trust.reputation()) > Q / 2)
        );
    }

    /// The control: a majority that is not known to be one voice wins, as it must.
    #[test]
    fn a_majority_of_independent_voices_is_believed() {
        let learnt = play(&town(8), &(0..12).collect::<Vec<_>>());
        assert!(
            learnt.sources[..8]
                .iter()
                .all(|source| !source.trust.is_quarantined())
        );
        assert!(
            learnt.sources[8..]
                .iter()
                .all(|source| source.trust.is_quarantined())
        );
    }

    #[test]
    fn a_mirror_adds_nothing_to_what_it_mirrors() {
        let sources = |group: [u64; 3]| -> Vec<Source> {
            let trust = Trust::new(&Params::default());
            group
                .iter()
                .map(|&group| Source {
                    group,
                    trust,
                    tested: Tested::default(),
                })
                .collect()
        };
        let said = [(0, 5), (1, 5), (2, 9)];
        let weights = |group| -> Vec<u64> {
            words(&said, &sources(group))
                .iter()
                .map(|word| word.weight)
                .collect()
        };
        let apart = weights([0, 1, 2]);
        assert_eq!(apart[0], apart[2]);
        let mirrored = weights([0, 0, 2]);
        assert_eq!(mirrored[0] + mirrored[1], mirrored[2]);
    }
}
