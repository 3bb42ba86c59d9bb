//! Which unit passes a report on to the ledger?
//!
//! Reports reach every unit of a linked mesh, and one batch is enough. The members are ranked for each vehicle
//! by a hash of both (rendezvous hashing), so the work is shared evenly and, when a member leaves, its vehicles
//! alone move. The first batches a report at once. Every other one keeps it for a while for each rank above
//! its own, and drops it when somebody's verified batch, or a block, has it by then. So nobody can keep a
//! report from the ledger, nobody has to ask who is up, and in the common case there are no duplicates; where
//! there are, the ledger counts the report once.
//!
//! Memory: at most [`Limits::waiting_max`] reports; beyond, a report is passed on at once rather than dropped.

use std::collections::BTreeMap;

use milepost_wire::recent::Recent;
use milepost_wire::{Address, Hash, Height, KeyId, Report, Sequence, Verified};
use serde::{Deserialize, Serialize};

use crate::ear::is_lost;

/// How long to wait for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// For each unit that is ranked above this one, in ms: longer than it takes to batch, send and verify.
    pub wait_ms: u64,
    /// Reports that wait.
    pub waiting_max: usize,
    /// Reports that are remembered as another unit's; the oldest are forgotten first.
    pub taken_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wait_ms: 400,
            waiting_max: 16_384,
            taken_max: 131_072,
        }
    }
}

/// Keeps the reports that another unit should pass on.
#[derive(Clone, Debug)]
pub struct Handoff {
    me: Address,
    limits: Limits,
    waiting: BTreeMap<(u64, KeyId, Sequence), Verified<Report>>,
    taken: Recent<(KeyId, Sequence), Height>,
    /// The ledger's newest block.
    height: Height,
}

/// How many of `members` come before `me` for `vehicle`. A unit without a vote comes last.
pub fn rank(vehicle: KeyId, me: Address, members: impl Iterator<Item = Address> + Clone) -> usize {
    let weight = |member: Address| Hash::of("handoff", &[&vehicle.0, &member.0]);
    let mine = weight(me);
    let mut before = 0;
    let mut votes = false;
    for member in members.clone() {
        votes |= member == me;
        before += usize::from(weight(member) > mine);
    }
    if votes { before } else { members.count() }
}

impl Handoff {
    /// The handoff of the unit `me`.
    pub fn new(me: Address, limits: Limits) -> Self {
        Self {
            me,
            limits,
            waiting: BTreeMap::new(),
            taken: Recent::new(limits.taken_max),
            height: Height::ZERO,
        }
    }

    /// Takes a report that was just heard; returns it where this unit is to pass it on now.
    pub fn hear(
        &mut self,
        now_ms: u64,
        report: Verified<Report>,
        members: impl Iterator<Item = Address> + Clone,
    ) -> Option<Verified<Report>> {
        let name = (report.vehicle, report.sequence);
        if self.is_taken(name.0, name.1) {
            return None;
        }
        let before = rank(report.vehicle, self.me, members) as u64;
        if before == 0 || self.waiting.len() >= self.limits.waiting_max {
            return Some(report);
        }
        let due_ms = now_ms.saturating_add(before.saturating_mul(self.limits.wait_ms));
        self.waiting.insert((due_ms, name.0, name.1), report);
        None
    }

    /// Says how far the ledger is.
    pub const fn stand(&mut self, height: Height) {
        self.height = height;
    }

    /// Notes that somebody's batch, or a block, has the report.
    pub fn taken(&mut self, vehicle: KeyId, sequence: Sequence) {
        self.taken.insert((vehicle, sequence), self.height);
    }

    /// Whether somebody's batch, or a block, has the report, and has it still: a batch may be lost.
    pub fn is_taken(&self, vehicle: KeyId, sequence: Sequence) -> bool {
        self.taken
            .get(&(vehicle, sequence))
            .is_some_and(|since| !is_lost(*since, self.height))
    }

    /// The reports that waited long enough, and that nobody took.
    pub fn due(&mut self, now_ms: u64) -> Vec<Verified<Report>> {
        let mut due = Vec::new();
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > now_ms {
                break;
            }
            let ((_, vehicle, sequence), report) = entry.remove_entry();
            if !self.is_taken(vehicle, sequence) {
                due.push(report);
            }
        }
        due
    }

    /// When to ask for what is due.
    pub fn wake_at(&self) -> Option<u64> {
        self.waiting.keys().next().map(|(due_ms, ..)| *due_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use proptest::prelude::*;

    /// `count` units that all hear one report. The first `down` of its ranking are silent. Whoever batches is
    /// heard by all others `delay_ms` later. Returns how many batched.
    fn batched(count: usize, vehicle: u64, down: usize, delay_ms: u64) -> usize {
        let members: Vec<Address> = (0..count as u64).map(samples::member).collect();
        let report = samples::report(vehicle, 1);
        let mut units: Vec<Handoff> = members
            .iter()
            .filter(|me| rank(report.vehicle, **me, members.iter().copied()) >= down)
            .map(|me| Handoff::new(*me, Limits::default()))
            .collect();
        let mut batches = 0;
        let mut heard_at = None;
        for now_ms in (0..60_000).step_by(10) {
            if heard_at.is_some_and(|at| at <= now_ms) {
                for unit in &mut units {
                    unit.taken(report.vehicle, report.sequence);
                }
            }
            for unit in &mut units {
                let now_due = if now_ms == 0 {
                    unit.hear(now_ms, report.clone(), members.iter().copied())
                        .into_iter()
                        .collect()
                } else {
                    unit.due(now_ms)
                };
                if !now_due.is_empty() {
                    batches += 1;
                    heard_at.get_or_insert(now_ms + delay_ms);
                }
            }
        }
        batches
    }

    #[test]
    fn a_unit_without_a_vote_comes_last() {
        let members = (0..4).map(samples::member);
        assert_eq!(rank(KeyId([3; 8]), samples::member(9), members), 4);
    }

    #[test]
    fn the_work_is_shared() {
        let members = (0..4).map(samples::member);
        for me in members.clone() {
            let first = (0..400u64)
                .filter(|vehicle| rank(KeyId(vehicle.to_be_bytes()), me, members.clone()) == 0)
                .count();
            assert!((60..140).contains(&first), "{first} of 400");
        }
    }

    #[test]
    fn more_than_can_wait_is_passed_on_at_once() {
        let limits = Limits {
            waiting_max: 2,
            ..Limits::default()
        };
        let mut handoff = Handoff::new(samples::member(9), limits);
        let members = (0..4).map(samples::member);
        let mut passed = 0;
        for sequence in 0..5 {
            let report = samples::report(1, sequence);
            passed += usize::from(handoff.hear(0, report, members.clone()).is_some());
        }
        assert_eq!(passed, 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn exactly_one_batches_when_all_are_up(count in 1usize..8, vehicle in 0u64..1000) {
            prop_assert_eq!(batched(count, vehicle, 0, 200), 1);
        }

        #[test]
        fn when_the_first_are_down_the_next_does(count in 2usize..8, vehicle in 0u64..1000, down in 1usize..7) {
            prop_assert_eq!(batched(count, vehicle, down.min(count - 1), 200), 1);
        }

        /// However late the others hear of it, everyone's word gets through at least once.
        #[test]
        fn a_report_is_never_lost(count in 1usize..8, vehicle in 0u64..1000, delay_ms in 0u64..5000) {
            prop_assert!(batched(count, vehicle, 0, delay_ms) >= 1);
        }
    }
}
