//! What does a member do about another that does not hand out what it acknowledged?
//!
//! Who lacks a batch asks those first who said that they hold it, one after the other. Whoever has not answered when the
//! block is decided is *insisted on*: asked for that batch again and again, although it came from somewhere else. An
//! attempt counts where the other votes meanwhile, at a height at which it did not yet: then it is there, and it has the
//! block, so the batch is on its disk, whatever it lost in a crash. After [`ATTEMPTS_MAX`] of them this member complains
//! ([`milepost_wire::withheld`]), in the next block that it proposes.
//!
//! Bounded by one batch for each other member. None of it is on disk: whoever goes on withholding is asked again.
//!
//! Not covered: a link that is cut in one direction. To those behind it, it looks the same.

use std::collections::BTreeMap;

use milepost_wire::{Address, Block, Complaint, Hash, Height};

use super::{Node, Output, Want};
use crate::store::Store;

/// After so many attempts, this member complains.
const ATTEMPTS_MAX: u32 = 6;
/// Nobody is asked for one thing for longer than so many milliseconds.
const INSIST_MAX_MS: u64 = 600_000;

/// A batch that a member promised and is asked for again and again.
#[derive(Debug)]
pub(super) struct Demand {
    what: Complaint,
    /// When it is asked next.
    at: u64,
    /// When it is let go.
    until: u64,
    was_asked: bool,
    /// The greatest height at which it was heard.
    heard: Height,
    /// And at which it was when the last attempt was counted.
    counted: Height,
    attempts: u32,
}

impl<S: Store> Node<S> {
    /// Which other member to ask for a batch: those first who said that they hold it, then the rest, and then again.
    pub(super) fn whom_to_ask(&mut self, batch: Hash) -> Option<Address> {
        let others = self.members().iter().map(|(member, _)| member);
        let mut others: Vec<_> = others.filter(|member| *member != self.me).collect();
        if others.is_empty() {
            return None;
        }
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn % others.len();
        others.rotate_left(turn);
        let asked = |member: &Address| self.deciding.asked.contains_key(&(batch, *member));
        let promised = |member: &Address| self.promises.of(member, &batch).is_some();
        let rest = || others.iter().filter(|member| !asked(member));
        let next = rest().find(|member| promised(member)).or_else(|| rest().next());
        let next = *next.unwrap_or(&others[0]);
        self.deciding.asked.entry((batch, next)).or_insert(true);
        Some(next)
    }

    pub(super) fn handed_out(&mut self, by: Address, batch: Hash) {
        if let Some(in_vain) = self.deciding.asked.get_mut(&(batch, by)) {
            *in_vain = false;
        }
        if self
            .demands
            .get(&by)
            .is_some_and(|demand| demand.what.batch == batch)
        {
            self.demands.remove(&by);
        }
    }

    /// A member signed something for a height.
    pub(super) fn spoke(&mut self, member: Address, height: Height) {
        if let Some(demand) = self.demands.get_mut(&member) {
            demand.heard = demand.heard.max(height);
        }
    }

    /// A block is decided: who was asked for a batch of it in vain is asked on.
    pub(super) fn insist(&mut self, block: &Block, asked: &BTreeMap<(Hash, Address), bool>) {
        let members = self.members().clone();
        self.promises.keep(&members);
        let (height, next) = (block.header.height, self.next());
        let state = self.view.state();
        let me = self.me;
        let is_heard = |what: &Complaint| state.heed(next, &me, what).is_ok();
        self.complaints.retain(is_heard);
        self.demands.retain(|member, _| members.get(member).is_some());
        if members.get(&me).is_none() {
            self.demands.clear();
            return;
        }
        for named in &block.body.batches {
            let batch = named.digest;
            let of_it = (batch, Address([0; 20]))..=(batch, Address([0xff; 20]));
            let in_vain = asked.range(of_it).filter(|(_, in_vain)| **in_vain);
            for ((_, member), _) in in_vain {
                let promise = self.promises.of(member, &batch).cloned();
                let what = promise.map(|promise| Complaint { promise, batch });
                if let Some(what) = what.filter(is_heard)
                    && self.complaints.iter().all(|waiting| waiting.accused() != *member)
                {
                    let demand = Demand {
                        what,
                        at: self.now.mono_ms + self.settings.demand_ms,
                        until: self.now.mono_ms + INSIST_MAX_MS,
                        was_asked: false,
                        heard: height,
                        counted: height,
                        attempts: 0,
                    };
                    self.demands.entry(*member).or_insert(demand);
                }
            }
        }
    }

    /// When somebody is asked again.
    pub(super) fn demand_at(&self) -> Option<u64> {
        self.demands.values().map(|demand| demand.at).min()
    }

    /// Asks again those whose time has come, and complains of those who were asked often enough.
    pub(super) fn demand(&mut self) {
        let now = self.now.mono_ms;
        let mut done = Vec::new();
        for (member, demand) in &mut self.demands {
            if demand.at > now {
                continue;
            }
            if demand.heard > demand.counted {
                demand.attempts += u32::from(demand.was_asked);
                demand.counted = demand.heard;
            }
            if demand.attempts >= ATTEMPTS_MAX || demand.until <= now {
                done.push(*member);
                continue;
            }
            demand.at = now + self.settings.demand_ms;
            demand.was_asked = true;
            self.outputs.push(Output::Fetch {
                want: Want::Batch(demand.what.batch),
                of: Some(*member),
            });
        }
        for member in done {
            if let Some(demand) = self.demands.remove(&member)
                && demand.attempts >= ATTEMPTS_MAX
            {
                tracing::warn!(%member, batch = %demand.what.batch, "a member does not hand out a batch that it acknowledged");
                self.complaints.push(demand.what);
                self.outputs.push(Output::Complains(member));
            }
        }
    }
}
