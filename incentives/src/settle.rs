//! What do the vehicles' words on one slot come to?
//!
//! When the last observation of a slot's items has gone stale, all items of a kind are settled together: first
//! the truth of each, then, since a word is compared with what is said elsewhere, every word's score. Published
//! estimates move the roads; scores move the tallies that the epoch's end turns into pay and reputation.
//!
//! Out: an [`Estimate`] for each item that somebody trusted spoke of, followed by a [`Score`] for each of its
//! words. In quarantine a word is scored in the shadow: its share is 0, and so are its points.

use std::collections::BTreeMap;

use milepost_wire::output::{Estimate, Item, Output, Score};
use milepost_wire::state::{Q, Road};
use milepost_wire::time::Slot;
use milepost_wire::{Cell, Kind};

use crate::fixed::{narrow, narrow_signed, times};
use crate::params::{Params, Tolerance};
use crate::reputation;
use crate::score::{self, Quality, Settled};
use crate::sighting::{ServedKey, Sighting, Spot, TallyKey};
use crate::state::State;
use crate::truth::{self, Opinion, Truth, Voice};

/// The words on one item, and what they come to.
struct Case {
    item: Item,
    road: Option<Road>,
    /// What was known before, in the kind's unit.
    before: i64,
    /// The class of the road.
    class: usize,
    /// One for each sighting, in the order of vehicles.
    voices: Vec<Voice>,
    sightings: Vec<Sighting>,
    truth: Truth,
    /// The weighted median, or plurality: what words are compared with.
    outcome: Option<Opinion>,
    /// What is published, as a difference from `before`.
    centre: Option<i64>,
    /// The median distance of the words from the outcome.
    spread: i64,
    /// The kind's tolerance, widened by the spread.
    tolerance: Option<Tolerance>,
}

/// Settles all items of `kind` in `slot`, and forgets what they rested on.
pub(crate) fn settle(state: &mut State, kind: Kind, slot: Slot) -> Vec<Output> {
    let cases = cases(state, kind, slot);
    let settled = {
        let outcomes = cases
            .iter()
            .filter_map(|case| case.outcome.map(|outcome| (case.class, outcome.word)));
        Settled::new(&outcomes.collect::<Vec<_>>())
    };
    let mut outputs = Vec::new();
    for case in &cases {
        let road = case
            .outcome
            .map(|outcome| road_after(state.params(), case, outcome));
        if let (Some(outcome), Some(road)) = (case.outcome, road) {
            state.roads.insert((case.item.cell, kind), road);
            outputs.push(Output::Estimate(estimate(state.params(), case, outcome)));
        }
        // Who reports a road for the first time gets no premium for scarcity: it would pay to make roads up.
        let heard = road.map_or(u64::from(state.params().reporters_needed) * Q, |road| {
            road.heard.into()
        });
        score_case(
            state,
            case,
            &settled,
            score::need(state.params(), heard),
            &mut outputs,
        );
    }
    forget(state, kind, slot);
    outputs
}

/// Gathers the sightings of each item, weighs them and finds the truth.
fn cases(state: &State, kind: Kind, slot: Slot) -> Vec<Case> {
    let mut by_cell: BTreeMap<Cell, Vec<(&Spot, &Sighting)>> = BTreeMap::new();
    let range = Spot::first(kind, slot)..=Spot::last(kind, slot);
    for (spot, sighting) in state.open.sightings.range(range) {
        by_cell.entry(spot.cell).or_default().push((spot, sighting));
    }
    by_cell
        .into_iter()
        .map(|(cell, entries)| case(state, Item { slot, cell, kind }, &entries))
        .collect()
}

fn case(state: &State, item: Item, entries: &[(&Spot, &Sighting)]) -> Case {
    let (params, kind) = (state.params(), item.kind);
    let road = state.road(item.cell, kind).copied();
    let before = i64::from(road.map_or(params.default_value(kind), |road| road.value));
    let usual = road.map_or(params.default_value(kind), |road| road.usual);
    let (mut voices, mut sightings) = (Vec::new(), Vec::new());
    for (spot, sighting) in entries {
        // Who was revoked in the meantime is not heard any more.
        let Some(vehicle) = state.vehicle(&spot.vehicle).filter(|vehicle| !vehicle.revoked) else {
            continue;
        };
        let word = if kind.is_category() {
            sighting.value()
        } else {
            sighting.value() - before
        };
        voices.push(Voice {
            vehicle: spot.vehicle,
            group: vehicle.group,
            word,
            weight: reputation::weight(&vehicle.standing, vehicle.quarantine.is_some()),
        });
        sightings.push(**sighting);
    }
    truth::cap_weights(&mut voices);
    // Of a road that was never published, nothing is known before.
    let prior_weight = road.map_or(0, |_| params.prior_weight.into());
    let truth = if kind.is_category() {
        Truth::of_codes(&voices, (before, prior_weight))
    } else {
        Truth::of_numbers(&voices, prior_weight)
    };
    let outcome = truth.whole();
    let spread = outcome.map_or(0, |outcome| truth::spread(distances(kind, &voices, outcome)));
    let tolerance = params.tolerance(kind).map(|tolerance| tolerance.widened(spread));
    let centre = outcome.map(|outcome| match tolerance {
        None => outcome.word,
        Some(_) => {
            let counts = sightings.iter().map(|sighting| sighting.count());
            let reach = params
                .tolerance(kind)
                .map_or(0, |tolerance| i64::from(tolerance.near))
                .max(spread * 3);
            truth::centre(&voices, counts, outcome.word, reach, prior_weight)
        }
    });
    Case {
        item,
        road,
        before,
        class: params.class(kind, usual),
        outcome,
        centre,
        spread,
        tolerance,
        voices,
        sightings,
        truth,
    }
}

/// How far each voice is from an outcome, with its weight; codes are equal or not.
fn distances(kind: Kind, voices: &[Voice], outcome: Opinion) -> impl Iterator<Item = (i64, u64)> {
    voices.iter().map(move |voice| {
        let distance = if kind.is_category() {
            i64::from(voice.word != outcome.word)
        } else {
            voice.word.abs_diff(outcome.word).min(1 << 32) as i64
        };
        (distance, voice.weight)
    })
}

/// The published value, in the kind's unit.
fn value(case: &Case, outcome: Opinion) -> i32 {
    let base = if case.item.kind.is_category() {
        0
    } else {
        case.before
    };
    narrow_signed(base + case.centre.unwrap_or(outcome.word))
}

fn estimate(params: &Params, case: &Case, outcome: Opinion) -> Estimate {
    let value = value(case, outcome);
    let spread = case.spread;
    let half = params.tolerance(case.item.kind).map_or(0, |tolerance| {
        truth::interval_half(spread, tolerance.near, case.truth.groups())
    });
    Estimate {
        item: case.item,
        value,
        // No kind has negative values.
        low: narrow_signed((i64::from(value) - half).max(0)),
        high: narrow_signed(i64::from(value) + half),
        vehicles: case.voices.iter().filter(|voice| voice.weight > 0).count() as u32,
        weight: case.truth.weight(),
        spread: narrow_signed(spread),
    }
}

/// The road once this slot is published. Slots in which nobody came count as such.
fn road_after(params: &Params, case: &Case, outcome: Opinion) -> Road {
    let value = value(case, outcome);
    let slot = case.item.slot;
    let known = case.road.unwrap_or(Road {
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
    heard += (u64::from(case.truth.groups()) * Q) >> params.heard_shift;
    let usual = if case.item.kind.is_category() {
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

/// Scores every word on one item, and adds the scores to the tallies.
fn score_case(state: &mut State, case: &Case, settled: &Settled, need: u64, outputs: &mut Vec<Output>) {
    let kind = case.item.kind;
    let epoch = state.epoch_of_slot(case.item.slot);
    let members = members_by_group(case);
    let known = if kind.is_category() { case.before } else { 0 };
    let own = case.outcome.map(|outcome| outcome.word);
    for (voice, sighting) in case.voices.iter().zip(&case.sightings) {
        let params = state.params();
        let others = case.truth.without(voice.group);
        let judged = others.map_or(Quality::default(), |others| {
            let anywhere = settled.anywhere(case.tolerance, case.class, voice.word, own, known);
            score::quality(case.tolerance, voice.word, others, anywhere)
        });
        let groups = others.map_or(0, |others| others.groups);
        let share = match members.get(&voice.group) {
            Some(&members) if voice.weight > 0 => score::share(params, case.truth.groups(), members),
            _ => 0,
        };
        let freshness = score::freshness(sighting.age_ms(), params.freshness_ms.get(kind));
        let kappa = score::kappa(groups);
        let worth = score::worth(need, share, freshness, kappa);
        let points = score::points(worth, judged.quality);
        let well_reputed = state
            .vehicle(&voice.vehicle)
            .is_some_and(|vehicle| vehicle.standing.reputation() >= params.reputation_base);
        outputs.push(Output::Score(Score {
            epoch,
            vehicle: voice.vehicle,
            item: case.item,
            value: narrow_signed(if kind.is_category() {
                voice.word
            } else {
                case.before + voice.word
            }),
            before: narrow_signed(case.before),
            others: narrow_signed(others.map_or(0, |others| others.word)),
            agreement: narrow(judged.agreement),
            anywhere: narrow(judged.anywhere),
            quality: narrow_signed(judged.quality),
            groups,
            kappa: narrow(kappa),
            need: narrow(need),
            share: narrow(share),
            freshness: narrow(freshness),
            worth: narrow(worth),
            points,
        }));

        let vehicle = voice.vehicle;
        let key = TallyKey { epoch, vehicle };
        let mut tally = state.open.tallies.get(&key).copied().unwrap_or_default();
        tally.points = tally.points.saturating_add(points);
        tally.base = tally.base.saturating_add(if well_reputed { worth } else { 0 });
        tally.evaluated = tally.evaluated.saturating_add(u32::from(others.is_some()));
        tally.good = tally.good.saturating_add(u32::from(judged.good));
        tally.bad = tally.bad.saturating_add(u32::from(judged.bad));
        state.open.tallies.insert(key, tally);

        if share > 0 {
            let operator = sighting.operator;
            let key = ServedKey { epoch, operator };
            let served = state.open.served.get(&key).copied().unwrap_or(0);
            state
                .open
                .served
                .insert(key, served.saturating_add(times(need, share)));
        }
    }
}

/// How many counting vehicles of each group there are: they share what one would get.
fn members_by_group(case: &Case) -> BTreeMap<u64, u32> {
    let mut members = BTreeMap::new();
    for voice in case.voices.iter().filter(|voice| voice.weight > 0) {
        *members.entry(voice.group).or_insert(0) += 1;
    }
    members
}

fn forget(state: &mut State, kind: Kind, slot: Slot) {
    let range = Spot::first(kind, slot)..=Spot::last(kind, slot);
    let spots: Vec<Spot> = state.open.sightings.range(range).map(|(spot, _)| *spot).collect();
    for spot in spots {
        state.open.sightings.remove(&spot);
    }
}
