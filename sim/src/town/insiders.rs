//! What do members at their roadside units do that do not mean well by vehicles?
//!
//! Their nodes keep to the rules of consensus. What differs is which reports their units take up, and what they ask the
//! ledger for: [`crate::insider`]. That a unit claims to have heard what it did not comes to the same as if somebody had
//! passed it on, so it just hears it.

use milepost_node::Input as NodeInput;
use milepost_wire::Signed;

use super::{Event, Town};
use crate::figures::{self, InsiderFigures};
use crate::insider::is_rival;

/// How often they look whether there is something to ask for.
const LOOK_US: u64 = 700_000;

impl Town<'_> {
    pub(super) fn plan_insiders(&mut self) {
        for (number, insider) in self.scenario.insider.iter().enumerate() {
            let from_ms = insider.from_ms();
            if from_ms < self.world.duration_ms {
                self.queue.at(from_ms * 1000, Event::Insider(number));
            }
        }
    }

    /// Whether a unit takes up what this vehicle sends now: it is near enough, and means well.
    pub(super) fn takes_up(&self, unit: usize, vehicle: usize) -> bool {
        let now_ms = self.queue.now_us() / 1000;
        let members = self.scenario.ledger.members;
        let road = self.vehicles[vehicle].road;
        let within_reach = self.scenario.link.reaches(unit, road, members);
        let mut insiders = self.scenario.insider.iter();
        let insider = insiders.find(|insider| insider.member == unit && insider.has_begun(now_ms));
        insider.map_or(within_reach, |insider| insider.takes_up(vehicle, within_reach))
    }

    /// An insider looks at its own ledger, hands its member what it wants to ask for, and looks again later.
    pub(super) fn look_after_own(&mut self, number: usize) {
        let insider = &self.scenario.insider[number];
        let member = insider.member;
        if let Some(view) = self.members[member].view() {
            let key = self.members[member].key();
            if let Some(asked) = insider.ask(view.state(), key, &self.ids) {
                let signed = Signed::sign(asked, &self.genesis.chain, key);
                self.tell_node(member, NodeInput::Transaction(signed));
            }
        }
        let next_us = self.queue.now_us() + LOOK_US;
        if next_us < self.world.duration_ms * 1000 {
            self.queue.at(next_us, Event::Insider(number));
        }
    }

    /// What each of them got out of it.
    pub(super) fn insiders(&self, paid: &[f64]) -> Vec<InsiderFigures> {
        let insiders = self.scenario.insider.iter();
        let figures = insiders.map(|insider| {
            let vehicles = 0..paid.len();
            let (rivals, others): (Vec<usize>, Vec<usize>) =
                vehicles.partition(|&vehicle| is_rival(vehicle, insider.rivals_share));
            let mean = |vehicles: &[usize]| {
                let sum: f64 = vehicles.iter().map(|&vehicle| paid[vehicle]).sum();
                figures::round6(sum / vehicles.len().max(1) as f64)
            };
            let is_held = |vehicle: &&usize| self.watch.quarantined.contains_key(&self.ids[**vehicle]);
            let names = self.names(insider.member);
            let earned = names.filter_map(|name| self.watch.operators.get(&name));
            InsiderFigures {
                member: insider.member,
                conduct: insider.conduct,
                paid: figures::tokens(earned.sum()),
                rivals: rivals.len(),
                rivals_paid_mean: mean(&rivals),
                others_paid_mean: mean(&others),
                rivals_quarantined: rivals.iter().filter(is_held).count(),
            }
        });
        figures.collect()
    }
}
