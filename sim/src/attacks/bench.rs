//! How does the ledger fare under an attack?
//!
//! In: a scenario and a seed. The world, its drivers and their keys are those of the town ([`crate::founding`]); what
//! they say goes straight into the ledger's [`State`], as the members' units would put it there: blocks of ten seconds,
//! real signatures, no radio, no consensus. A road is heard by its own unit and by as many after it as
//! [`Link::heard_by`] says; insiders' units take up what they like ([`crate::insider`]). So a run takes seconds, and measures
//! the rules alone. Out: an [`Outcome`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use milepost_incentives::{BlockInput, Genesis, HeardBatch, State};
use milepost_obu::vehicle::Sensed;
use milepost_wire::output::Estimate;
use milepost_wire::transaction::Transaction;
use milepost_wire::{
    Address, Cell, Height, KeyId, Kind, Observation, Output, Report, SecretKey, Sequence, Signed, Verified,
};

use super::outcome::Outcome;
use crate::behaviour::{Behaviour, chosen_road, is_target};
use crate::crew::Company;
use crate::driver::{Deed, Driver};
use crate::founding::{self, Founded, FoundingError};
use crate::insider::{Insider, is_rival};
use crate::known::{Known, Said};
use crate::scenario::{Link, Scenario};
use crate::world::World;

/// Between two blocks.
const BLOCK_MS: u64 = 10_000;
/// Reports that replaying vehicles remember.
const OVERHEARD_MAX: usize = 256;
/// cm/s in km/h.
const KMH: f64 = 0.036;

/// Plays a scenario on the bench; what is noted is noted from `from_ms` on.
///
/// # Errors
///
/// [`FoundingError`].
///
/// # Panics
///
/// Where the ledger breaks a promise: tokens appear or vanish.
pub fn play(scenario: &Scenario, from_ms: u64, seed: u64) -> Result<Outcome, FoundingError> {
    let mut bench = Bench::new(scenario, from_ms, seed)?;
    let end_ms = bench.world.duration_ms + 4 * bench.slot_ms;
    while bench.now_ms < end_ms {
        bench.block();
    }
    bench.state.check().expect("tokens are neither made nor lost");
    Ok(bench.outcome)
}

/// A report as it was sent.
struct Sent {
    /// By the key of this number.
    key: usize,
    /// From this road.
    road: usize,
    report: Verified<Report>,
}

struct Bench {
    world: World,
    companies: Vec<Company>,
    company_of: Vec<usize>,
    keys: Vec<SecretKey>,
    ids: Vec<KeyId>,
    number_of: BTreeMap<KeyId, usize>,
    drivers: Vec<Driver>,
    sequences: Vec<u64>,
    road_of: BTreeMap<Cell, usize>,
    genesis: Genesis,
    units: Vec<SecretKey>,
    link: Link,
    insiders: Vec<Insider>,
    state: State,
    slot_ms: u64,
    /// When the attack begins.
    from_ms: u64,
    now_ms: u64,
    height: u64,
    next_sighting: usize,
    overheard: VecDeque<Verified<Report>>,
    said: Said,
    /// Roads on which a danger was invented, by slot.
    invented: BTreeMap<u32, BTreeSet<usize>>,
    outcome: Outcome,
}

impl Bench {
    fn new(scenario: &Scenario, from_ms: u64, seed: u64) -> Result<Self, FoundingError> {
        let slot_ms = scenario.slot_ms();
        let Founded {
            world,
            companies,
            company_of,
            keys,
            ids,
            member_keys,
            genesis,
        } = founding::found(scenario, seed)?;
        let drivers = (0..keys.len()).map(|key| Driver::new(&companies[company_of[key]], key, seed));
        let mut outcome = Outcome::new(&companies, &company_of, world.roads.len());
        let insiders = &scenario.insider;
        let rivals = |key: &usize| {
            insiders
                .iter()
                .any(|insider| is_rival(*key, insider.rivals_share))
        };
        outcome.watch_insiders(
            insiders
                .iter()
                .map(|insider| member_keys[insider.member].address())
                .collect(),
            (0..keys.len()).filter(rivals).collect(),
        );
        Ok(Self {
            number_of: ids.iter().copied().zip(0..).collect(),
            drivers: drivers.collect(),
            sequences: vec![0; keys.len()],
            road_of: (0..)
                .zip(&world.roads)
                .map(|(road, on)| (on.cell, road))
                .collect(),
            state: State::genesis(&genesis),
            link: scenario.link,
            insiders: insiders.clone(),
            units: member_keys,
            slot_ms,
            from_ms,
            now_ms: 0,
            height: 0,
            next_sighting: 0,
            overheard: VecDeque::new(),
            said: Said::default(),
            invented: BTreeMap::new(),
            outcome,
            world,
            companies,
            company_of,
            keys,
            ids,
            genesis,
        })
    }

    fn block(&mut self) {
        let until_ms = self.now_ms + BLOCK_MS;
        let mut reports = Vec::new();
        while let Some(sighting) = self.world.sightings.get(self.next_sighting).copied()
            && sighting.at_ms < until_ms
        {
            self.next_sighting += 1;
            let at = self.genesis.time.plus(sighting.at_ms);
            let slot = (sighting.at_ms / self.slot_ms) as u32;
            let known = Known {
                state: &self.state,
                said: &self.said,
                ids: &self.ids,
                slot,
            };
            let deed = self.drivers[sighting.vehicle].look(&self.world, &sighting, at, &known);
            match deed {
                Deed::Nothing => {}
                Deed::Again => {
                    let count = self.overheard.len().max(1);
                    let again = self.overheard.get(self.next_sighting % count).cloned();
                    let (key, road) = (sighting.vehicle, sighting.road);
                    reports.extend(again.map(|report| Sent { key, road, report }));
                }
                Deed::Tell {
                    road,
                    speed_kmh,
                    sensed,
                } => {
                    self.said.add(road, slot, speed_kmh);
                    reports.push(self.seal(sighting.vehicle, road, &sensed));
                }
                Deed::Warn { road, sensed } => {
                    self.invented.entry(slot).or_default().insert(road);
                    reports.push(self.seal(sighting.vehicle, road, &sensed));
                }
            }
        }
        self.now_ms = until_ms;
        self.height += 1;
        let heard: Vec<(Address, Vec<Verified<Report>>)> = (0..self.units.len())
            .map(|unit| (self.units[unit].address(), self.heard(unit, &reports)))
            .collect();
        let batches: Vec<HeardBatch<'_>> = heard
            .iter()
            .map(|(author, reports)| HeardBatch {
                author: *author,
                reports,
            })
            .collect();
        let outputs = self.state.apply(&BlockInput {
            height: Height(self.height),
            time: self.genesis.time.plus(self.now_ms),
            transactions: &self.asked(),
            batches: &batches,
        });
        for output in &outputs {
            self.note(output);
        }
        self.note_dangers();
        let begun = self.now_ms / self.slot_ms;
        self.said.forget_before(begun.saturating_sub(1));
        // Now and then: sealing costs, and so does reading through many unsealed changes.
        if self.height.is_multiple_of(6) {
            self.state.seal();
        }
    }

    /// Who does not mean well by now, with the number of its unit.
    fn insiders(&self) -> impl Iterator<Item = &Insider> {
        self.insiders
            .iter()
            .filter(|insider| insider.has_begun(self.now_ms))
    }

    /// What a member's unit puts into its batch.
    fn heard(&self, unit: usize, sent: &[Sent]) -> Vec<Verified<Report>> {
        let insider = self.insiders().find(|insider| insider.member == unit);
        let takes_up = |sent: &&Sent| {
            let within_reach = self.link.reaches(unit, sent.road, self.units.len());
            insider.map_or(within_reach, |insider| insider.takes_up(sent.key, within_reach))
        };
        sent.iter()
            .filter(takes_up)
            .map(|sent| sent.report.clone())
            .collect()
    }

    /// What insiders ask the ledger for.
    fn asked(&self) -> Vec<Verified<Transaction>> {
        let ask = |insider: &Insider| {
            let key = &self.units[insider.member];
            let asked = insider.ask(&self.state, key, &self.ids)?;
            Some(Signed::sign(asked, &self.genesis.chain, key))
        };
        self.insiders().filter_map(ask).collect()
    }

    fn seal(&mut self, key: usize, road: usize, sensed: &Sensed) -> Sent {
        let sequence = Sequence(self.sequences[key]);
        self.sequences[key] += 1;
        let report = Report {
            version: Report::VERSION,
            vehicle: self.ids[key],
            sequence,
            sent_at: sensed.at,
            observations: vec![Observation {
                cell: self.world.roads[road].cell,
                place: sensed.place,
                heading: sensed.heading,
                age_ms: 0,
                measure: sensed.measure,
            }],
        };
        let report = Signed::sign(report, &self.genesis.chain, &self.keys[key]);
        if self.companies.iter().any(Company::overhears) {
            if self.overheard.len() == OVERHEARD_MAX {
                self.overheard.pop_front();
            }
            self.overheard.push_back(report.clone());
        }
        Sent { key, road, report }
    }

    fn note(&mut self, output: &Output) {
        let from_slot = self.from_ms / self.slot_ms;
        let from_epoch = (self.from_ms / self.state.params().epoch_ms) as u32;
        match output {
            Output::Estimate(estimate) if estimate.item.kind == Kind::Speed => {
                self.note_estimate(estimate, u64::from(estimate.item.slot.0) >= from_slot);
            }
            Output::Payment(payment) => {
                let key = self.number_of[&payment.vehicle];
                let company = &self.companies[self.company_of[key]];
                let vehicle = company.vehicle_of(key);
                let is_under_attack = payment.epoch.0 >= from_epoch;
                self.outcome
                    .pay(key, vehicle, payment.amount.micro(), is_under_attack);
            }
            Output::OperatorPayment {
                epoch,
                operator,
                amount,
                ..
            } if epoch.0 >= from_epoch => self.outcome.pay_operator(*operator, amount.micro()),
            Output::Quarantined { epoch, vehicle, .. } => {
                let key = self.number_of[vehicle];
                let frozen = self
                    .state
                    .vehicle(vehicle)
                    .map_or(0, |known| known.unvested.micro());
                let after = epoch.0.checked_sub(from_epoch);
                self.outcome.quarantine(key, after, frozen);
            }
            Output::Released { vehicle, .. } => self.outcome.release(self.number_of[vehicle]),
            _ => {}
        }
    }

    fn note_estimate(&mut self, estimate: &Estimate, is_under_attack: bool) {
        let road = self.road_of[&estimate.item.cell];
        let truth = self.world.truth[&(road, estimate.item.slot.0)];
        let error_kmh = (f64::from(estimate.value) * KMH - truth.speed_kmh).abs();
        if is_under_attack {
            self.outcome.err(road, error_kmh);
        }
    }

    /// Once a slot's dangers are settled: are the invented ones on the map?
    fn note_dangers(&mut self) {
        let stale_ms = self.state.params().freshness_ms.max();
        while let Some(entry) = self.invented.first_entry()
            && (u64::from(*entry.key()) + 1) * self.slot_ms + stale_ms <= self.now_ms
        {
            for road in entry.remove() {
                let cell = self.world.roads[road].cell;
                let known = self.state.road(cell, Kind::Hazard);
                self.outcome.invent(known.is_some_and(|known| known.value != 0));
            }
        }
    }
}

/// The roads that this fleet lies about, of so many; `None` where it lies about any.
pub fn lied_about(behaviour: &Behaviour, roads: usize) -> Option<Vec<usize>> {
    match *behaviour {
        Behaviour::Target { roads_share, .. } => {
            Some((0..roads).filter(|&road| is_target(road, roads_share)).collect())
        }
        Behaviour::ColludeCell { .. } => Some(vec![chosen_road(roads)]),
        _ => None,
    }
}
