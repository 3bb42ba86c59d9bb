//! What do the vehicles' words on one slot come to?
//!
//! When the last observation of a slot's items has gone stale, all items of a kind are settled together: first
//! the truth of each, then, since a word is compared with what is said elsewhere, every word's score. Published
//! estimates move the roads; scores move the tallies that the epoch's end turns into pay and reputation.
//!
//! Out: an [`Output::Estimate`] ([`crate::estimate`]) for each item that somebody trusted spoke of, followed by a
//! [`Score`] for each of its words. In quarantine a word is scored in the shadow: its share is 0, and so are its
//! points; likewise a roadside sensor's, whose scores make its operator's name.

use std::collections::BTreeMap;

use milepost_wire::output::{Item, Output, Score};
use milepost_wire::state::{Q, Road};
use milepost_wire::time::Slot;
use milepost_wire::{Cell, Kind};

use crate::anchor::{self, Reading};
use crate::estimate::{self, Said};
use crate::fixed::{narrow, narrow_signed, times};
use crate::params::Tolerance;
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
        let published = case.outcome.map(|outcome| {
            let said = Said {
                item: case.item,
                road: case.road,
                before: case.before,
                voices: &case.voices,
                sightings: &case.sightings,
                truth: &case.truth,
                median: outcome.word,
                spread: case.spread,
            };
            estimate::publish(state.params(), &said)
        });
        if let Some((estimate, road)) = published {
            state.roads.insert((case.item.cell, kind), road);
            outputs.push(Output::Estimate(estimate));
        }
        // Who reports a road for the first time gets no premium for scarcity: it would pay to make roads up.
        let heard = published.map_or(u64::from(state.params().reporters_needed) * Q, |(_, road)| {
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
    let (mut voices, mut sightings, mut readings) = (Vec::new(), Vec::new(), Vec::new());
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
        let quarantined = vehicle.quarantine.is_some();
        let operator = vehicle.role.operator();
        if let Some(member) = operator.and_then(|operator| state.members().get(&operator))
            && !quarantined
            && operator.is_some_and(|operator| anchor::is_trusted(state, &operator))
        {
            readings.push(Reading {
                voice: voices.len(),
                provider: &member.provider,
            });
        }
        voices.push(Voice {
            vehicle: spot.vehicle,
            group: vehicle.group,
            word,
            weight: match operator {
                None => reputation::weight(&vehicle.standing, quarantined),
                // To be weighed against the vehicles.
                Some(_) => 0,
            },
            anchor: operator.is_some(),
        });
        sightings.push(**sighting);
    }
    truth::cap_weights(&mut voices);
    anchor::weigh(&mut voices, &readings, params.tolerance(kind));
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
    Case {
        item,
        road,
        before,
        class: params.class(kind, usual),
        outcome,
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
            Some(&members) if voice.weight > 0 && !voice.anchor => {
                score::share(params, case.truth.groups(), members)
            }
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
    for voice in counting_vehicles(case) {
        *members.entry(voice.group).or_insert(0) += 1;
    }
    members
}

fn counting_vehicles(case: &Case) -> impl Iterator<Item = &Voice> {
    case.voices
        .iter()
        .filter(|voice| voice.weight > 0 && !voice.anchor)
}

fn forget(state: &mut State, kind: Kind, slot: Slot) {
    let range = Spot::first(kind, slot)..=Spot::last(kind, slot);
    let spots: Vec<Spot> = state.open.sightings.range(range).map(|(spot, _)| *spot).collect();
    for spot in spots {
        state.open.sightings.remove(&spot);
    }
}
