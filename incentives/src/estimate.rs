//! What is published of an item, and what does the ledger remember of it?
//!
//! In: the words on all items of one kind and slot, weighed, and what was known of each road before ([`Said`]). Out:
//! for each item the [`Estimate`] with its 90 % interval, and the [`Road`] once it is published.
//!
//! The speed of a stretch is all distance by all time that vehicles spent on it (Edie 1963): the mean of the vehicles'
//! mean speeds, each weighed by its time there. Where few vehicles of many are heard, that mean says more about
//! those few than about the road. So the road's past speaks, too, for as long as an average vehicle stays ([`Road::memory`]):
//! in a jam with many words it hardly counts, on a road with one passer-by it counts as much. This is the estimate
//! that errs least where a word's error and the road's own change from slot to slot are of one size (an empirical Bayes
//! or Kalman filter of gain ½); it is flat around there.
//!
//! Liars are kept within bounds twice. A word counts as far as its vehicle is trusted: its reputation, and whether its
//! words lean ([`Lean`]). And it is drawn to within a reach of the median of words and memory (Huber 1964): a minority of
//! the weight cannot move the median out of the others' words, nor the mean by more than its share of twice the reach.
//!
//! Words are compared, and scored, by another measure: [`crate::truth`]'s median. Codes have no mean; their plurality is
//! published as it is. Why these numbers: docs/adr/0010-estimator.md.

use std::collections::BTreeMap;

use milepost_wire::output::{Estimate, Item};
use milepost_wire::state::{Q, Road};
use milepost_wire::time::Slot;
use milepost_wire::{Cell, KeyId, Kind};

use crate::fixed::{muldiv, narrow, narrow_signed, times};
use crate::lean::{Lean, Off};
use crate::params::{Params, Tolerance};
use crate::sighting::Sighting;
use crate::state::State;
use crate::stay;
use crate::truth::{self, Truth, Voice};

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

/// What an estimate rests on.
#[derive(Clone, Copy, Debug, Default)]
struct Worth {
    /// See [`Road::memory`].
    memory: u64,
    /// See [`Road::deviation`].
    deviation: u64,
    /// See [`Road::judged`].
    judged: u64,
}

/// What is published of the items of one kind and slot, and what is remembered of their roads, in the same order. `leans` are
/// how speeds of those vehicles leant before; they are brought up to date.
pub(crate) fn publish(
    params: &Params,
    kind: Kind,
    said: &[Said<'_>],
    leans: &mut BTreeMap<KeyId, Lean>,
) -> Vec<(Estimate, Road)> {
    match params.tolerance(kind) {
        None => said
            .iter()
            .map(|said| {
                let value = narrow_signed(said.median);
                let road = road_after(params, said, value, Worth::default());
                (estimate(said, value, 0), road)
            })
            .collect(),
        Some(tolerance) => numbers(params, kind, tolerance, said, leans),
    }
}

fn numbers(
    params: &Params,
    kind: Kind,
    tolerance: Tolerance,
    said: &[Said<'_>],
    leans: &mut BTreeMap<KeyId, Lean>,
) -> Vec<(Estimate, Road)> {
    let stays = stay::stays(params, said);
    let mut heard: Vec<Heard<'_>> = said
        .iter()
        .zip(stays)
        .map(|(said, stays)| Heard {
            said,
            stays,
            memory: said
                .road
                .map_or(0, |road| memory_at(params, &road, said.item.slot)),
        })
        .collect();
    let reach = i64::from(tolerance.near) * i64::from(params.reach_nears);
    if kind == Kind::Speed {
        // Trust in whom past slots showed up, then in whom this one does, and once more: who shares a road with a liar
        // looks like one until the liar is known. Of the other kinds there are too few words.
        let before = std::mem::take(leans);
        let mut typical = tolerance.far.into();
        *leans = before.clone();
        for _ in 0..2 {
            let offs: Vec<Vec<Off>> = trusting(params, &heard, leans, typical)
                .iter()
                .map(|item| item.offs(reach, USUAL_STAYS))
                .collect();
            typical = truth::spread(known(&offs).map(|off| (off.by.saturating_abs(), 1))).unsigned_abs();
            for (vehicle, words) in by_vehicle(&heard, &offs) {
                let lean = before.get(&vehicle).copied().unwrap_or_default();
                leans.insert(vehicle, lean.after(&words, params.lean_words));
            }
        }
        heard = trusting(params, &heard, leans, typical);
    }
    let offs: Vec<Vec<Off>> = heard.iter().map(|item| item.offs(reach, 0)).collect();
    let deviation = typical_deviation(tolerance, &heard, &offs);
    let usual = usual(params, kind, said);
    heard
        .iter()
        .zip(&offs)
        .map(|(item, offs)| item.publish(params, reach, usual, deviation, offs))
        .collect()
}

/// The words on one item and for how long they speak, in average stays ([`Q`]).
struct Heard<'a> {
    said: &'a Said<'a>,
    /// Of each voice.
    stays: Vec<u64>,
    /// What the road's past speaks for.
    memory: u64,
}

impl<'a> Heard<'a> {
    /// Lets each vehicle speak for the fraction ([`Q`]) of its stay that it is trusted for, and the sensors, whose weight is
    /// against the vehicles', for as much less.
    fn trusting(&self, trust: impl Fn(&Voice) -> u64) -> Self {
        let trusted = self
            .stays
            .iter()
            .zip(self.said.voices)
            .map(|(&stay, voice)| match voice.anchor {
                true => stay,
                false => times(stay, trust(voice)),
            });
        let trusted: Vec<u64> = trusted.collect();
        let (before, after) = (self.of_vehicles(&self.stays), self.of_vehicles(&trusted));
        let stays = trusted
            .into_iter()
            .zip(self.said.voices)
            .map(|(stay, voice)| match voice.anchor {
                true => muldiv(stay, after, before).max(stay.min(voice.weight)),
                false => stay,
            });
        Self {
            said: self.said,
            stays: stays.collect(),
            memory: self.memory,
        }
    }

    fn of_vehicles(&self, stays: &[u64]) -> u64 {
        let vehicles = stays
            .iter()
            .zip(self.said.voices)
            .filter(|(_, voice)| !voice.anchor);
        vehicles.map(|(stay, _)| stay).sum()
    }

    /// How far each word is from what the road's past and the other groups say, their words drawn to within `reach` of the
    /// median: one wrong sensor must not bring good vehicles into disrepute. Of weight 0 where they say nothing. What is
    /// usual on the road speaks for `usual_stays`.
    fn offs(&self, reach: i64, usual_stays: u64) -> Vec<Off> {
        let spoken = self
            .said
            .voices
            .iter()
            .map(|voice| voice.word)
            .zip(self.stays.iter().copied());
        let median = truth::spread(spoken.chain([(0, self.memory)]));
        let mut of_group: BTreeMap<u64, (i128, i128)> = BTreeMap::new();
        let past = i128::from(drawn(0, median, reach)) * i128::from(self.memory);
        let (mut sum, mut all) = (past, i128::from(self.memory));
        if let Some(road) = self.said.road {
            let usual = i64::from(road.usual).saturating_sub(self.said.before);
            sum += i128::from(drawn(usual, median, reach)) * i128::from(usual_stays);
            all += i128::from(usual_stays);
        }
        for (voice, &stay) in self.said.voices.iter().zip(&self.stays) {
            let own = of_group.entry(voice.group).or_default();
            let spoken = i128::from(drawn(voice.word, median, reach)) * i128::from(stay);
            *own = (own.0 + spoken, own.1 + i128::from(stay));
            (sum, all) = (sum + spoken, all + i128::from(stay));
        }
        self.said
            .voices
            .iter()
            .map(|voice| {
                let own = of_group.get(&voice.group).copied().unwrap_or_default();
                let (sum, all) = (sum - own.0, all - own.1);
                if all <= 0 {
                    return Off { by: 0, weight: 0 };
                }
                let others = i64::try_from(sum.div_euclid(all)).unwrap_or(0);
                let value = self.said.before.saturating_add(others).max(1);
                Off {
                    by: voice.word.saturating_sub(others),
                    weight: value.unsigned_abs(),
                }
            })
            .collect()
    }

    /// The estimate, and the road after it.
    fn publish(
        &self,
        params: &Params,
        reach: i64,
        usual: i64,
        typical: u64,
        offs: &[Off],
    ) -> (Estimate, Road) {
        // What other roads are like says little, and the last word where nobody else has one.
        let (prior, prior_stay) = match self.memory {
            0 => (usual.saturating_sub(self.said.before), PRIOR_STAY),
            _ => (0, 0),
        };
        let words = self
            .said
            .voices
            .iter()
            .map(|voice| voice.word)
            .zip(self.stays.iter().copied());
        let words: Vec<(i64, u64)> = words.chain([(0, self.memory), (prior, prior_stay)]).collect();
        let centre = centre(&words, reach);
        let value = narrow_signed(self.said.before.saturating_add(centre));

        let spoken: u64 = self.stays.iter().sum();
        let all = spoken.saturating_add(self.memory).saturating_add(prior_stay);
        let worth = self.worth(params, spoken, offs);
        let half = interval_half(shrunk(worth.deviation, worth.judged, typical), all);
        (
            estimate(self.said, value, half),
            road_after(params, self.said, value, worth),
        )
    }

    fn worth(&self, params: &Params, spoken: u64, offs: &[Off]) -> Worth {
        let (sum, judged_now) = deviations(&self.stays, offs);
        let (deviation, judged) = self
            .said
            .road
            .map_or((0, 0), |road| (road.deviation, road.judged));
        let sum = sum.saturating_add(u128::from(deviation) * u128::from(judged));
        let judged = judged_now.saturating_add(judged.into());
        Worth {
            memory: self.memory.saturating_add(spoken).min(params.memory_max.into()),
            deviation: sum
                .checked_div(judged.into())
                .map_or(0, |mean| u64::try_from(mean).unwrap_or(u64::MAX)),
            judged: judged.min(JUDGED_MAX),
        }
    }
}

/// The items with each voice as far as it is trusted. Sensors are calibrated, not judged.
fn trusting<'a>(
    params: &Params,
    heard: &[Heard<'a>],
    leans: &BTreeMap<KeyId, Lean>,
    typical: u64,
) -> Vec<Heard<'a>> {
    let trust = |voice: &Voice| match leans.get(&voice.vehicle) {
        Some(lean) if !voice.anchor => lean.trust(params.lean, typical),
        _ => Q,
    };
    heard.iter().map(|item| item.trusting(trust)).collect()
}

/// What a road's past speaks for in `slot`, in average stays ([`Q`]).
fn memory_at(params: &Params, road: &Road, slot: Slot) -> u64 {
    let slots = slot.0.saturating_sub(road.slot.0).min(IDLE_SLOTS_MAX);
    (0..slots).fold(road.memory.into(), |memory, _| {
        memory - (memory >> params.memory_shift)
    })
}

/// Words that somebody could be compared with.
fn known(offs: &[Vec<Off>]) -> impl Iterator<Item = &Off> {
    offs.iter().flatten().filter(|off| off.weight > 0)
}

/// Each vehicle's words on all items.
fn by_vehicle(heard: &[Heard<'_>], offs: &[Vec<Off>]) -> BTreeMap<KeyId, Vec<Off>> {
    let mut words: BTreeMap<KeyId, Vec<Off>> = BTreeMap::new();
    for (item, offs) in heard.iter().zip(offs) {
        for (voice, off) in item
            .said
            .voices
            .iter()
            .zip(offs)
            .filter(|(voice, _)| !voice.anchor)
        {
            words.entry(voice.vehicle).or_default().push(*off);
        }
    }
    words
}

/// The distances of an item's words, times the stays that they speak for, and the sum of these. One word says no more
/// about how words differ than two average ones.
fn deviations(stays: &[u64], offs: &[Off]) -> (u128, u64) {
    let words = stays.iter().zip(offs).filter(|(_, off)| off.weight > 0);
    words.fold((0, 0), |(sum, all), (&stay, off)| {
        let stay = stay.min(2 * Q);
        (
            sum + u128::from(off.by.unsigned_abs()) * u128::from(stay),
            all + stay,
        )
    })
}

/// By how much words differ from the others' on the whole.
fn typical_deviation(tolerance: Tolerance, heard: &[Heard<'_>], offs: &[Vec<Off>]) -> u64 {
    let items = heard
        .iter()
        .zip(offs)
        .map(|(item, offs)| deviations(&item.stays, offs));
    let (sum, all) = items.fold((0u128, 0u64), |(sum, all), (more, stay)| (sum + more, all + stay));
    let mean = sum.checked_div(all.into()).unwrap_or(0);
    shrunk(u64::try_from(mean).unwrap_or(u64::MAX), all, unknown(tolerance))
}

/// By how much words differ where nobody could tell yet: half of what nobody calls agreement.
fn unknown(tolerance: Tolerance) -> u64 {
    u64::from(tolerance.far) / 2
}

/// The mean `deviation` of words that speak for so many stays and, for one stay more, what is `usual`: one word that
/// happens to agree, or none, does not make a road certain.
fn shrunk(deviation: u64, stays: u64, usual: u64) -> u64 {
    let all = stays.saturating_add(Q);
    muldiv(deviation, stays, all).saturating_add(muldiv(usual, Q, all))
}

/// What the roads that are heard of are like, in the middle: all that is known about a road that never was.
fn usual(params: &Params, kind: Kind, said: &[Said<'_>]) -> i64 {
    let known = said.iter().filter_map(|said| said.road);
    let mut values: Vec<i32> = known.map(|road| road.value).collect();
    values.sort_unstable();
    let middle = values.get(values.len().saturating_sub(1) / 2).copied();
    middle.unwrap_or(params.default_value(kind)).into()
}

/// The mean of `words` by what they speak for, each drawn to within `reach` of their median.
fn centre(words: &[(i64, u64)], reach: i64) -> i64 {
    let median = truth::spread(words.iter().copied());
    let (mut sum, mut all) = (0i128, 0i128);
    for &(word, stay) in words {
        sum += i128::from(drawn(word, median, reach)) * i128::from(stay);
        all += i128::from(stay);
    }
    sum.checked_div_euclid(all)
        .map_or(0, |mean| i64::try_from(mean).unwrap_or(median))
}

fn drawn(word: i64, median: i64, reach: i64) -> i64 {
    word.clamp(median.saturating_sub(reach), median.saturating_add(reach))
}

/// Half the width of a 90 % interval, where words that speak for one average stay differ by `deviation` in the mean,
/// and the estimate rests on so many `stays`.
///
/// The error falls as the root of the stays. Nine of ten truths lay within 1.54 to 1.86 deviations by that root, over
/// three recorded towns and a drawn one, with liars and without.
fn interval_half(deviation: u64, stays: u64) -> i64 {
    // √(n · 2¹⁶ · 2¹⁶) = 2¹⁶ · √n.
    let root = (u128::from(stays.max(1)) << 16).isqrt();
    let half = (u128::from(deviation) * 165 * u128::from(Q)).div_ceil(root * 100);
    i64::try_from(half).unwrap_or(i64::MAX)
}

fn estimate(said: &Said<'_>, value: i32, half: i64) -> Estimate {
    let voices = said.voices.iter();
    Estimate {
        item: said.item,
        value,
        // No kind has negative values.
        low: narrow_signed(i64::from(value).saturating_sub(half).max(0)),
        high: narrow_signed(i64::from(value).saturating_add(half)),
        vehicles: voices.filter(|voice| voice.weight > 0 && !voice.anchor).count() as u32,
        weight: said.truth.weight(),
        spread: narrow_signed(said.spread),
    }
}

/// The road once this slot is published. Slots in which nobody came count as such.
fn road_after(params: &Params, said: &Said<'_>, value: i32, worth: Worth) -> Road {
    let slot = said.item.slot;
    let known = said.road.unwrap_or(Road {
        value,
        slot,
        heard: narrow(u64::from(params.reporters_needed) * Q),
        usual: value,
        memory: 0,
        deviation: 0,
        judged: 0,
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
        memory: narrow(worth.memory),
        deviation: narrow(worth.deviation),
        judged: narrow(worth.judged),
    }
}

/// Beyond so many empty slots a road is as scarce as can be.
const IDLE_SLOTS_MAX: u32 = 1024;

/// What the other roads' middle speaks for on a road of which nothing is known: a twentieth of a stay.
const PRIOR_STAY: u64 = Q / 20;
/// For how many average stays what is usual on a road speaks in telling who leans. It takes many slots to move: liars who
/// have moved the last figures of their roads are still seen by it.
const USUAL_STAYS: u64 = 4 * Q;
/// How far back a road's deviation goes: eight average stays.
const JUDGED_MAX: u64 = 8 * Q;

/// What can be said of a road without a word from it, in the kind's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// The value.
    pub value: i32,
    /// A 90 % interval's lower end.
    pub low: i32,
    /// A 90 % interval's upper end.
    pub high: i32,
}

impl State {
    /// What to expect of a road in a slot in which nobody spoke of it: what was published last, with an interval that
    /// widens as it fades. `None` for a road that was never published: see [`State::elsewhere`]. Nothing is stored or put
    /// out for it; it follows from the [`Road`], which has a proof.
    pub fn outlook(&self, cell: Cell, kind: Kind, slot: Slot) -> Option<Outlook> {
        let road = self.road(cell, kind)?;
        let tolerance = self.params().tolerance(kind);
        let deviation = tolerance.map_or(0, |tolerance| {
            shrunk(road.deviation.into(), road.judged.into(), unknown(tolerance))
        });
        // What changed since is not in the deviation: the past counts a quarter.
        let half = interval_half(deviation, memory_at(self.params(), road, slot) / 4);
        let value = i64::from(road.value);
        Some(Outlook {
            value: road.value,
            low: narrow_signed(value.saturating_sub(half).max(0)),
            high: narrow_signed(value.saturating_add(half)),
        })
    }

    /// What to expect of a road of which nothing is known: the middle of all others, and what nine of ten lie within. Cost:
    /// a pass over all roads.
    pub fn elsewhere(&self, kind: Kind) -> Option<Outlook> {
        let roads = self.roads().filter(|&(_, of, _)| of == kind);
        let mut values: Vec<i32> = roads.map(|(_, _, road)| road.value).collect();
        values.sort_unstable();
        let at = |percent: usize| values.get(values.len().checked_sub(1)? * percent / 100).copied();
        Some(Outlook {
            value: at(50)?,
            low: at(5)?,
            high: at(95)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use milepost_wire::{Address, Timestamp};
    use proptest::prelude::*;

    use super::*;

    /// Vehicle, word as a difference from what was known, weight and seconds on the road.
    type Word = (u8, i64, u64, u32);

    const NOW: Slot = Slot(10);

    fn road(memory: u64) -> Road {
        Road {
            value: 1_000,
            slot: Slot(9),
            heard: Q as u32,
            usual: 1_000,
            memory: narrow(memory),
            deviation: 100,
            judged: Q as u32,
        }
    }

    /// The estimates of roads that were published at 10 m/s before, and how vehicles lean after it.
    fn publish(roads: &[(Option<Road>, Vec<Word>)]) -> (Vec<(Estimate, Road)>, BTreeMap<KeyId, Lean>) {
        let voices: Vec<Vec<Voice>> = roads
            .iter()
            .map(|(_, words)| {
                let voice = |&(vehicle, word, weight, _): &Word| Voice {
                    vehicle: KeyId([vehicle; 8]),
                    group: vehicle.into(),
                    word,
                    weight,
                    speaks: weight,
                    anchor: false,
                };
                words.iter().map(voice).collect()
            })
            .collect();
        let sightings: Vec<Vec<Sighting>> = roads
            .iter()
            .map(|(_, words)| words.iter().map(|&(.., seconds)| sighting(seconds)).collect())
            .collect();
        let truths: Vec<Truth> = voices.iter().map(|voices| Truth::of_numbers(voices, 0)).collect();
        let said: Vec<Said<'_>> = (0u64..)
            .zip(roads)
            .map(|(number, (road, _))| Said {
                item: Item {
                    slot: NOW,
                    cell: Cell::from_bits(number),
                    kind: Kind::Speed,
                },
                road: *road,
                before: 1_000,
                voices: &voices[number as usize],
                sightings: &sightings[number as usize],
                truth: &truths[number as usize],
                median: 0,
                spread: 0,
            })
            .collect();
        let mut leans = BTreeMap::new();
        let published = super::publish(&Params::default(), Kind::Speed, &said, &mut leans);
        (published, leans)
    }

    fn sighting(seconds: u32) -> Sighting {
        let mut sighting = Sighting::new(0, 0, Timestamp::default(), 0, Address::default());
        for _ in 1..seconds {
            sighting.add(Kind::Speed, 0, 0, Timestamp::default(), 0);
        }
        sighting
    }

    fn value(roads: &[(Option<Road>, Vec<Word>)]) -> i32 {
        publish(roads).0[0].0.value
    }

    #[test]
    fn a_vehicle_that_stands_longer_counts_longer() {
        assert_eq!(centre(&[(-100, 2 * Q), (200, Q), (200, Q)], 1_000), 50);
    }

    #[test]
    fn the_past_counts_for_one_stay_and_hardly_against_many() {
        let passer_by = value(&[(Some(road(Q)), vec![(1, 160, Q, 30)])]);
        assert!((1_080..1_090).contains(&passer_by), "half way: {passer_by}");
        let jam: Vec<Word> = (0..20).map(|vehicle| (vehicle, -500, Q, 30)).collect();
        let jam = value(&[(Some(road(Q)), jam)]);
        assert!((500..530).contains(&jam), "{jam}");
    }

    #[test]
    fn a_liar_on_every_road_is_not_believed_on_any() {
        let roads: Vec<_> = (0..5)
            .map(|_| (Some(road(Q)), vec![(1, -694, Q, 30), (2, 3, Q, 30)]))
            .collect();
        let (published, leans) = publish(&roads);
        for (estimate, _) in published {
            assert!((995..1_010).contains(&estimate.value), "{}", estimate.value);
        }
        let trust = |vehicle| leans[&KeyId([vehicle; 8])].trust(Params::default().lean, 100);
        assert_eq!((trust(1), trust(2)), (0, Q));
    }

    /// Half of those on the roads say what the last figures say, which were moved by 25 km/h.
    #[test]
    fn liars_who_have_moved_the_last_figures_are_still_seen_by_what_is_usual() {
        let trust = |usual| {
            let moved = Road { usual, ..road(Q) };
            let words = vec![(1, 0, Q, 30), (2, 694, Q, 30)];
            let (_, leans) = publish(&vec![(Some(moved), words); 5]);
            [1, 2].map(|vehicle| leans[&KeyId([vehicle; 8])].trust(Params::default().lean, 100))
        };
        let [liar, honest] = trust(1_694);
        assert!(liar < honest, "{liar} {honest}");
        let [still, new] = trust(1_000);
        assert!(still > new, "where the last figures are as usual: {still} {new}");
    }

    #[test]
    fn what_fades_is_not_trusted_for_longer() {
        let params = Params::default();
        let known = road(Q);
        assert_eq!(memory_at(&params, &known, Slot(10)), Q * 7 / 8);
        assert!(memory_at(&params, &known, Slot(1_000)) < Q / 1_000);
        assert_eq!(memory_at(&params, &known, Slot(9)), Q, "of its own slot");
    }

    #[test]
    fn the_interval_is_a_known_multiple_of_the_words_deviation() {
        assert_eq!(interval_half(100, Q), 165);
        assert_eq!(interval_half(100, 4 * Q), 83);
        assert_eq!(interval_half(0, 0), 0);
    }

    #[test]
    fn a_road_that_was_heard_of_once_is_not_certain() {
        let (published, _) = publish(&[(None, vec![(1, 0, Q, 30)])]);
        let (estimate, road) = published[0];
        assert!(estimate.high - estimate.low > 500, "± 9 km/h: {estimate:?}");
        assert_eq!(road.judged, 0, "nobody to compare it with");
        let agreeing = publish(&[(Some(road_that_agrees()), vec![(1, 0, Q, 30)])]).0[0].0;
        assert!(agreeing.high - agreeing.low > 50, "{agreeing:?}");
    }

    /// Every word so far was the same.
    fn road_that_agrees() -> Road {
        Road {
            deviation: 0,
            ..road(Q)
        }
    }

    fn word() -> impl Strategy<Value = Word> {
        (0u8..40, -1_000i64..3_000, 1u64..=Q, 1u32..200)
    }

    fn roads() -> impl Strategy<Value = Vec<(Option<Road>, Vec<Word>)>> {
        let known = prop::option::of((0..=Q).prop_map(road));
        let words = prop::collection::btree_map(0u8..40, word(), 1..8).prop_map(|words| {
            let own = words
                .into_iter()
                .map(|(vehicle, (_, word, weight, seconds))| (vehicle, word, weight, seconds));
            own.collect::<Vec<_>>()
        });
        prop::collection::vec((known, words), 1..6)
    }

    proptest! {
        /// However wild the words of a minority: the figure stays among the others' words, but for the minority's share
        /// of the reach.
        #[test]
        fn a_minority_moves_the_estimate_by_its_share_of_the_reach(
            honest in prop::collection::vec((-200i64..200, 1u64..Q), 3..20),
            lies in prop::collection::vec((any::<i32>(), 1u64..Q), 1..8), reach in 1i64..1_000,
        ) {
            let weight = |words: &[(i64, u64)]| words.iter().map(|&(_, weight)| weight).sum::<u64>();
            let whole = weight(&honest);
            let mut lies: Vec<(i64, u64)> = lies.iter().map(|&(word, weight)| (word.into(), weight)).collect();
            while weight(&lies) >= whole {
                lies.pop();
            }
            let share = weight(&lies) as f64 / (whole + weight(&lies)) as f64;
            let all: Vec<(i64, u64)> = honest.iter().chain(&lies).copied().collect();
            let found = centre(&all, reach) as f64;
            let low = honest.iter().map(|&(word, _)| word).min().expect("three") as f64;
            let high = honest.iter().map(|&(word, _)| word).max().expect("three") as f64;
            let moved = share * reach as f64 + 1.0;
            prop_assert!(low - moved <= found && found <= high + moved, "{} in {}..{} ± {}", found, low, high, moved);
        }

        #[test]
        fn witnesses_who_agree_narrow_the_interval(word in -300i64..300, few in 1u8..20, more in 1u8..20) {
            let width = |count: u8| {
                let words = (0..count).map(|vehicle| (vehicle, word, Q, 30)).collect();
                let (published, _) = publish(&[(Some(road(Q)), words)]);
                published[0].0.high - published[0].0.low
            };
            prop_assert!(width(few + more) <= width(few));
        }

        #[test]
        fn the_order_of_words_does_not_matter(roads in roads()) {
            let mut turned = roads.clone();
            turned.iter_mut().for_each(|(_, words)| words.reverse());
            prop_assert_eq!(publish(&roads), publish(&turned));
        }

        #[test]
        fn an_estimate_lies_within_its_interval_and_what_is_remembered_within_its_bounds(roads in roads()) {
            for (estimate, road) in publish(&roads).0 {
                prop_assert!(estimate.low <= estimate.value.max(0) && estimate.value <= estimate.high);
                prop_assert!(u64::from(road.memory) <= Q && u64::from(road.judged) <= JUDGED_MAX);
            }
        }

        #[test]
        fn nothing_overflows(
            words in prop::collection::vec((any::<u8>(), any::<i32>(), any::<u64>(), 1u32..9), 1..9),
            road in prop::option::of((any::<[i32; 2]>(), any::<[u32; 4]>())),
        ) {
            let road = road.map(|([value, usual], [heard, memory, deviation, judged])| Road {
                value, slot: Slot(3), heard, usual, memory, deviation, judged,
            });
            let words = words.into_iter().map(|(vehicle, word, weight, count)| (vehicle, word.into(), weight, count));
            publish(&[(road, words.collect())]);
        }
    }
}
