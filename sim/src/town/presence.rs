//! Who is there, as far as members are told?
//!
//! As zenoh's liveliness does it: whoever comes, goes, or is cut off is told of a moment later, each other member by itself.
//! What is told is what is so when it arrives. Amid faults it is wrong at times, and stays so until something changes.

use milepost_node::Input as NodeInput;
use milepost_wire::Address;

use super::{Event, Town};

/// So long it takes at most until a change is told: a lease of zenoh's and somewhat more.
const TOLD_WITHIN_US: u64 = 2_500_000;
/// The share of what is told that is wrong, where there are faults.
const WRONG: f64 = 1.0 / 16.0;

impl Town<'_> {
    /// Something changed: everybody will be told who is there.
    pub(super) fn look_around(&mut self) {
        for of in 0..self.members.len() {
            self.look_for(self.members[of].address());
        }
    }

    /// Everybody will be told whether this unit is there.
    pub(super) fn look_for(&mut self, unit: Address) {
        for to in 0..self.members.len() {
            let at_us = self.queue.now_us() + self.rumours.below(TOLD_WITHIN_US);
            self.queue.at(at_us, Event::Presence { to, unit });
        }
    }

    /// A member is told whether a unit is there.
    pub(super) fn tell_presence(&mut self, to: usize, unit: Address) {
        let machines = (0..self.members.len()).filter(|of| self.members[*of].address() == unit);
        let mut reached = machines.filter(|of| {
            let machine = &self.members[*of];
            machine.is_on() && !machine.is_frozen() && self.connected(*of, to) && self.connected(to, *of)
        });
        let is_so = reached.next().is_some();
        let is_wrong = !self.scenario.fault.is_empty() && self.rumours.chance(WRONG);
        let is_present = is_so != is_wrong;
        self.tell_node(to, NodeInput::Presence { unit, is_present });
    }
}
