//! Whom does a member not wait for?
//!
//! A round gives its proposer time, and then those whose precommits are slow. Where the proposer is not there at all, or a
//! quorum has given the round up already, nothing can come of the waiting: the timeout is brought forward. Timeouts decide
//! when a member goes on, never what it may say, so nobody can break a promise by lying about who is there.
//!
//! Who is there, zenoh's liveliness tells, which may be late or wrong. So a member that sees no quorum waits as ever, and so
//! does every member once each of them had a turn: rounds then last as long as they must for all to meet in one.
//! Why: docs/adr/0033-absent-proposers.md.

use malachite_types::TimeoutKind;
use milepost_wire::Address;

use super::Node;
use crate::context::number;
use crate::store::Store;

/// So many present units are remembered; a consortium has far fewer.
pub(crate) const PRESENT_MAX: usize = 4_096;

impl<S: Store> Node<S> {
    pub(super) fn note_presence(&mut self, unit: Address, is_present: bool) {
        if !is_present {
            self.present.remove(&unit);
        } else if self.present.len() < PRESENT_MAX {
            self.present.insert(unit);
        }
    }

    /// Brings those timeouts of this round forward that nothing can come of.
    pub(super) fn hurry(&mut self) {
        if self.resting.is_some() || self.timers.is_empty() {
            return;
        }
        let round = self.engine.round();
        let (now, absent_at) = (self.now.mono_ms, self.now.mono_ms + self.settings.absent_ms);
        for nth in 0..self.timers.len() {
            let timeout = self.timers[nth].0;
            let latest = match timeout.kind {
                _ if number(timeout.round) != round => continue,
                TimeoutKind::Propose if self.waits_in_vain(round) => absent_at,
                TimeoutKind::Precommit if self.is_quorum(self.engine.gave_up()) => now,
                _ => continue,
            };
            let at = &mut self.timers[nth].1;
            *at = latest.min(*at);
        }
    }

    /// Whether the proposer of `round` is not there, has proposed nothing, and a quorum is there without it.
    fn waits_in_vain(&self, round: u32) -> bool {
        let members = self.members();
        if round as usize >= members.iter().count() || members.get(&self.me).is_none() {
            return false;
        }
        let turn = self.engine.proposer();
        if turn == self.me || self.present.contains(&turn) {
            return false;
        }
        let has_proposed = self
            .deciding
            .named
            .values()
            .flatten()
            .any(|named| named.round == round);
        let others = self.present.iter().filter(|unit| **unit != self.me);
        !has_proposed && self.is_quorum(others.copied().chain([self.me]))
    }

    /// Whether these are a quorum of the members, by their power. Who is no member counts for nothing.
    fn is_quorum(&self, units: impl Iterator<Item = Address>) -> bool {
        let members = self.members();
        let powers = units.filter_map(|unit| Some(members.get(&unit)?.power));
        members.is_quorum(powers.sum())
    }
}
