//! What do the vehicles' words on one slot come to?
//!
//! When the last observation of a slot's items has gone stale, all items of a kind are settled together: first
//! the truth of each, then, since a word is compared with what is said elsewhere, every word's score. Published
//! estimates move the roads; scores move the tallies that the epoch's end turns into pay and reputation.
//!
//! Out: an [`Output::Estimate`] ([`crate::estimate`]) for each item that somebody trusted spoke of, followed by a
//! [`Output::Score`] for each of its words. In quarantine a word is scored in the shadow: its share is 0, and so are its
//! points; likewise a roadside sensor's, whose scores make its operator's name.

use std::collections::BTreeMap;

use milepost_wire::output::{Estimate, Item, Output};
use milepost_wire::state::{Q, Road, Standing};
use milepost_wire::time::Slot;
use milepost_wire::{Cell, KeyId, Kind};

use crate::anchor::{self, Reading};
use crate::estimate::{self, Said};
use crate::fixed;
use crate::hazard::{self, Company, Verdict};
use crate::lean::Lean;
use crate::params::Params;
use crate::reputation;
use crate::score::{self, Against, News, Quality, Scale, Settled};
use crate::sighting::{Sighting, Spot, TallyKey, Trace};
use crate::state::State;
use crate::tally::{self, Line};
use crate::truth::{self, Opinion, Truth, Voice};
use crate::waiting::{self, Waiting};

/// The words on one item, and what they come to.
struct Case {
    item: Item,
    road: Option<Road>,
    /// What was known before, in the kind's unit.
    before: i64,
    /// The class of the road.
    class: usize,
    /// One for each sighting, in the order of vehicles; then one for each who was silent on dangers.
    voices: Vec<Voice>,
    sightings: Vec<Sighting>,
    truth: Truth,
    /// Who came by an open danger.
    company: Company,
    /// The weighted median, or plurality.
    plurality: Option<Opinion>,
    /// The same, where it may be published: what words are compared with.
    outcome: Option<Opinion>,
    /// What the outcome tells beyond what was known when its first voice was heard.
    news: Option<News>,
    /// The same voices on what was news to them: the difference of each from what was known when it was heard. Codes have
    /// none.
    tidings: Option<Truth>,
    /// What the sensors of two providers agree on.
    sensed: Option<i64>,
    /// What counts as known of a road that was never published, as a difference from `before`.
    guessed: Option<i64>,
    /// The median distance of the words from the outcome.
    spread: i64,
    /// The kind's scale, widened by the spread where it is not far beyond that of the slot's other roads.
    scale: Scale,
}

impl Case {
    /// What was published when a word was heard; for numbers, as words are, as a difference from `before`.
    fn known(&self, sighting: &Sighting) -> i64 {
        match self.guessed {
            Some(guessed) => guessed,
            None if self.item.kind.is_category() => sighting.known(),
            None => sighting.known() - self.before,
        }
    }

    /// Works out what is news on it.
    fn compare(&mut self, params: &Params) {
        let first = self.outcome.zip(self.sightings.first());
        self.news = first.map(|(outcome, first)| self.scale.news(outcome.word, self.known(first)));
        if self.item.kind.is_category() {
            return;
        }
        let told: Vec<Voice> = self
            .voices
            .iter()
            .zip(&self.sightings)
            .map(|(voice, sighting)| Voice {
                word: voice.word - self.known(sighting),
                ..*voice
            })
            .collect();
        self.tidings = Some(Truth::of_numbers(&told, prior_weight(params, self.road)));
    }

    /// As the estimate takes it; `None` where nobody counts.
    fn said(&self) -> Option<Said<'_>> {
        Some(Said {
            item: self.item,
            road: self.road,
            before: self.before,
            voices: &self.voices,
            sightings: &self.sightings,
            truth: &self.truth,
            median: self.outcome?.word,
            spread: self.spread,
        })
    }
}

/// Settles all items of `kind` in `slot`, and forgets what they rested on.
pub(crate) fn settle(state: &mut State, kind: Kind, slot: Slot) -> Vec<Output> {
    let cases = cases(state, kind, slot);
    let settled = {
        let news = cases.iter().filter_map(|case| Some((case.class, case.news?)));
        Settled::new(&news.collect::<Vec<_>>())
    };
    let mut published = publish(state, kind, &cases).into_iter();
    let mut outputs = Vec::new();
    for case in &cases {
        let published = case.outcome.and_then(|_| published.next());
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

/// What is published of the items that somebody trusted spoke of, and their roads. Remembers how vehicles lean.
fn publish(state: &mut State, kind: Kind, cases: &[Case]) -> Vec<(Estimate, Road)> {
    let said: Vec<Said<'_>> = cases.iter().filter_map(Case::said).collect();
    let vehicles = said
        .iter()
        .flat_map(|said| said.voices)
        .map(|voice| voice.vehicle);
    let mut leans: BTreeMap<KeyId, Lean> = vehicles
        .filter_map(|vehicle| Some((vehicle, state.open.traces.get(&vehicle)?.lean)))
        .collect();
    let published = estimate::publish(state.params(), kind, &said, &mut leans);
    for (vehicle, lean) in leans {
        if let Some(trace) = state.open.traces.get(&vehicle).filter(|trace| trace.lean != lean) {
            state.open.traces.insert(vehicle, Trace { lean, ..*trace });
        }
    }
    published
}

/// Gathers the sightings of each item, weighs them and finds the truth.
fn cases(state: &State, kind: Kind, slot: Slot) -> Vec<Case> {
    let mut by_cell: BTreeMap<Cell, Vec<(&Spot, &Sighting)>> = BTreeMap::new();
    let range = Spot::first(kind, slot)..=Spot::last(kind, slot);
    for (spot, sighting) in state.open.sightings.range(range) {
        by_cell.entry(spot.cell).or_default().push((spot, sighting));
    }
    if kind == Kind::Hazard {
        for cell in hazard::watched(state, slot) {
            by_cell.entry(cell).or_default();
        }
    }
    let mut cases: Vec<Case> = by_cell
        .into_iter()
        .map(|(cell, entries)| case(state, Item { slot, cell, kind }, &entries))
        .collect();
    temper(&mut cases, Scale::of(state.params(), kind));
    if !kind.is_category() {
        guess(&mut cases);
    }
    for case in &mut cases {
        case.compare(state.params());
    }
    cases
}

/// Of a road that was never published anybody would guess that it is like the others: what differs from their middle is news
/// there. One number for all roads of the world would make news of what is usual in a town.
fn guess(cases: &mut [Case]) {
    let outcomes = cases
        .iter()
        .filter_map(|case| Some(case.before + case.outcome?.word));
    let mut outcomes: Vec<i64> = outcomes.collect();
    if outcomes.len() < ROADS_MIN {
        return;
    }
    outcomes.sort_unstable();
    let middle = outcomes[outcomes.len() / 2];
    for case in cases.iter_mut().filter(|case| case.road.is_none()) {
        case.guessed = Some(middle - case.before);
    }
}

/// How far honest words lie apart is a matter of traffic and much the same on most roads of a slot. Where it is far more
/// than on half of them, somebody lies: that must not make lies look like traffic.
fn temper(cases: &mut [Case], scale: Scale) {
    let shared = cases.iter().filter(|case| case.truth.groups() >= 2);
    let mut spreads: Vec<i64> = shared.map(|case| case.spread).collect();
    if spreads.len() < ROADS_MIN {
        return;
    }
    spreads.sort_unstable();
    let most = spreads[spreads.len() / 2].saturating_mul(2);
    for case in cases.iter_mut() {
        case.scale = scale.widened(case.spread.min(most));
    }
}

/// With fewer roads to compare, each stands for itself.
const ROADS_MIN: usize = 8;

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
        let word = word(kind, before, sighting);
        let quarantined = vehicle.quarantine.is_some();
        let standing = standing_so_far(state, item.slot, spot.vehicle, vehicle.standing);
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
                None => reputation::weight(&standing, quarantined),
                // To be weighed against the vehicles.
                Some(_) => 0,
            },
            speaks: reputation::speaks(params, &standing, quarantined),
            anchor: operator.is_some(),
        });
        sightings.push(**sighting);
    }
    let company = match kind {
        Kind::Hazard => hazard::company(state, item),
        _ => Company::default(),
    };
    voices.extend(company.silent());
    truth::cap_weights(&mut voices);
    let scale = Scale::of(params, kind);
    let sensed = anchor::weigh(&mut voices, &readings, scale);
    let prior_weight = prior_weight(params, road);
    let truth = if kind.is_category() {
        Truth::of_codes(&voices, (before, prior_weight))
    } else {
        Truth::of_numbers(&voices, prior_weight)
    };
    let plurality = truth.whole();
    let outcome = match kind {
        Kind::Hazard => {
            plurality.and_then(|plurality| hazard::agreed(&voices, plurality, before, road.is_some()))
        }
        _ => plurality,
    };
    let spread = outcome.map_or(0, |outcome| truth::spread(distances(kind, &voices, outcome)));
    Case {
        item,
        news: None,
        tidings: None,
        sensed,
        guessed: None,
        road,
        before,
        class: params.class(kind, usual),
        company,
        plurality,
        outcome,
        spread,
        scale: scale.widened(spread),
        voices,
        sightings,
        truth,
    }
}

/// What a vehicle says: a code, or the difference from what was known before.
fn word(kind: Kind, before: i64, sighting: &Sighting) -> i64 {
    if kind.is_category() {
        sighting.value()
    } else {
        sighting.value() - before
    }
}

/// What was known before weighs; of a road that was never published, nothing was.
fn prior_weight(params: &Params, road: Option<Road>) -> u64 {
    road.map_or(0, |_| params.prior_weight.into())
}

/// A vehicle's record with what the open epoch has shown so far: who begins to lie is heard less from the next slot
/// on.
fn standing_so_far(state: &State, slot: Slot, vehicle: KeyId, standing: Standing) -> Standing {
    let epoch = state.epoch_of_slot(slot);
    let tally = state.open.tallies.get(&TallyKey { epoch, vehicle });
    tally.map_or(standing, |tally| {
        reputation::after_epoch(state.params(), standing, tally)
    })
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

/// Scores every word on one item, and those on the same road that waited for it.
fn score_case(state: &mut State, case: &Case, settled: &Settled, need: u64, outputs: &mut Vec<Output>) {
    let kind = case.item.kind;
    let members = members_by_group(case);
    let verdicts = verdicts(state, case);
    let confirmed = case
        .voices
        .iter()
        .filter(|voice| matches!(verdicts.get(&voice.vehicle), Some(Verdict::Confirmed(_))));
    let first = hazard::first_group(state, case.item, confirmed);
    for (voice, sighting) in case.voices.iter().zip(&case.sightings) {
        let others = match verdicts.get(&voice.vehicle) {
            Some(Verdict::Confirmed(others) | Verdict::Contradicted(others)) => Some(*others),
            Some(Verdict::Unseen) => None,
            None => case.truth.without(voice.group),
        };
        let share = match members.get(&voice.group) {
            Some(&members) if voice.weight > 0 && !voice.anchor => {
                score::share(state.params(), case.truth.groups(), members)
            }
            _ => 0,
        };
        if others.is_none() && waiting::is_slow(kind) {
            if !voice.anchor {
                let (slot, sighting) = (case.item.slot, *sighting);
                let waiting = Waiting {
                    slot,
                    sighting,
                    share,
                };
                waiting::keep(state, case.item, voice.vehicle, waiting);
            }
            continue;
        }
        // The first to warn earns double.
        let times = if first == Some(voice.group) && others.is_some_and(|others| others.word == voice.word) {
            2
        } else {
            1
        };
        let line = line(
            state,
            case,
            settled,
            voice,
            sighting,
            others,
            (need * times, share),
        );
        tally::write(state, &line, outputs);
    }
    for (id, waiting) in waiting::on(state, case.item) {
        score_waiting(state, case, settled, need, (id, &waiting), outputs);
    }
    if kind == Kind::Hazard {
        outputs.extend(hazard::close(state, case.item, &verdicts, &case.company));
    }
}

/// What becomes of the claims of danger; nothing where the item is of another kind.
fn verdicts(state: &State, case: &Case) -> BTreeMap<KeyId, Verdict> {
    let claims = case.voices.iter().zip(&case.sightings).filter_map(|(voice, _)| {
        let verdict = || hazard::verdict(&case.voices, voice, &case.company, case.plurality, case.before);
        hazard::is_claimed(state, case.item, voice.vehicle).then(|| (voice.vehicle, verdict()))
    });
    if case.item.kind == Kind::Hazard {
        claims.collect()
    } else {
        BTreeMap::new()
    }
}

/// How a word fares.
fn line(
    state: &State,
    case: &Case,
    settled: &Settled,
    voice: &Voice,
    sighting: &Sighting,
    others: Option<Opinion>,
    (need, share): (u64, u64),
) -> Line {
    let (params, kind) = (state.params(), case.item.kind);
    let known = case.known(sighting);
    let scale = case.scale;
    let consent = others.map_or(0, |others| {
        case.truth
            .consent(voice.group, (voice.word, others.word), scale.side())
    });
    let judged = others.map_or(Quality::default(), |others| {
        let anywhere = match kind {
            // Dangers are too rare for it to matter how many there are elsewhere.
            Kind::Hazard => 0,
            _ => settled.anywhere(scale, case.class, scale.news(voice.word, known), case.news),
        };
        let theirs = case
            .tidings
            .as_ref()
            .and_then(|tidings| tidings.without(voice.group));
        let against = Against {
            others: others.word,
            theirs: theirs.map(|theirs| News::Number(theirs.word)),
            anywhere,
            consent,
        };
        score::quality(params, scale, (voice.word, known), &against)
    });
    let mut certainty = score::certainty(case.truth.weight_without(voice.group), voice.weight);
    if judged.bad {
        let is_sensed = |sensed| scale.is_far(voice.word, sensed);
        let times = if case.sensed.is_some_and(is_sensed) {
            anchor::CONTRADICTED_TIMES
        } else {
            1
        };
        certainty = fixed::times(certainty, consent) * times;
    }
    Line {
        epoch: state.epoch_of_slot(case.item.slot),
        vehicle: voice.vehicle,
        item: case.item,
        value: if kind.is_category() {
            voice.word
        } else {
            case.before + voice.word
        },
        before: case.before,
        known,
        others,
        judged,
        certainty,
        need,
        share,
        freshness: score::freshness(sighting.age_ms(), params.freshness_ms.get(kind)),
        operator: sighting.operator,
    }
}

/// Scores a word that waited, if the others' words on this item can judge it.
fn score_waiting(
    state: &mut State,
    case: &Case,
    settled: &Settled,
    need: u64,
    (id, waiting): (KeyId, &Waiting),
    outputs: &mut Vec<Output>,
) {
    let kind = case.item.kind;
    let Some(vehicle) = state.vehicle(&id).filter(|vehicle| !vehicle.revoked) else {
        waiting::forget(state, case.item, id);
        return;
    };
    let voice = Voice {
        vehicle: id,
        group: vehicle.group,
        word: word(kind, case.before, &waiting.sighting),
        weight: 0,
        speaks: 0,
        anchor: false,
    };
    let others = match kind {
        Kind::Hazard => hazard::confirmed_late(&case.voices, &voice, case.outcome),
        _ => case.truth.without(voice.group),
    };
    if others.is_none() {
        return;
    }
    let share = if vehicle.quarantine.is_some() {
        0
    } else {
        waiting.share
    };
    let said = line(
        state,
        case,
        settled,
        &voice,
        &waiting.sighting,
        others,
        (need, share),
    );
    let item = Item {
        slot: waiting.slot,
        ..case.item
    };
    waiting::forget(state, item, id);
    tally::write(state, &Line { item, ..said }, outputs);
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

#[cfg(test)]
mod tests {
    use milepost_wire::Output;

    use crate::State;
    use crate::testing::{Town, cell, seen, speed};

    /// The quality of each word of a first slot, where two vehicles are on each road and drive so fast (cm/s).
    fn qualities(speeds: &[i64]) -> Vec<i32> {
        let town = Town::new(2 * speeds.len() as u64);
        let mut state = State::genesis(&town.genesis);
        let at = town.at(10_000);
        let reports: Vec<_> = (0..2 * speeds.len())
            .map(|vehicle| {
                let road = vehicle / 2;
                town.report(vehicle, 0, at, vec![seen(cell(road), 0, speed(speeds[road]))])
            })
            .collect();
        town.block(&mut state, at, &reports);
        let settled = town.block(&mut state, town.at(400_000), &[]);
        let quality = |road: usize| {
            let scores = settled.iter().find_map(|output| match output {
                Output::Score(score) if score.item.cell == cell(road) => Some(score.quality),
                _ => None,
            });
            scores.expect("every road was judged")
        };
        (0..speeds.len()).map(quality).collect()
    }

    #[test]
    fn where_nothing_is_known_yet_news_is_what_differs_from_the_other_roads() {
        let mut speeds = [2_000; 12];
        speeds[7] = 800;
        for (road, quality) in qualities(&speeds).into_iter().enumerate() {
            assert_eq!(quality > 0, road == 7, "road {road}: {quality}");
        }
    }

    #[test]
    fn of_few_roads_nothing_is_guessed() {
        // Four roads as the rules' default has it, and one that is not.
        let default = i64::from(crate::Params::default().speed_default_cm_s);
        let qualities = qualities(&[default, default, default, default, 800]);
        assert!(
            qualities[..4].iter().all(|quality| *quality <= 0),
            "{qualities:?}"
        );
        assert!(qualities[4] > 0, "{qualities:?}");
    }
}
