//! What do members make of what they hear?
//!
//! Carries inputs to a member's unit and node, and their outputs to each other, to the lines and to the watch.

use std::sync::Arc;

use milepost_incentives::State;
use milepost_node::ledger::Contents;
use milepost_node::message::PeerMessage;
use milepost_node::{Input as NodeInput, Output as NodeOutput, View};
use milepost_obu::heads::Certified;
use milepost_rsu::receipts;
use milepost_rsu::unit::{Input as UnitInput, Output as UnitOutput};
use milepost_wire::proof::ReceiptNotice;
use milepost_wire::state::StateKey;
use milepost_wire::{Amount, KeyId, decode, encode};

use super::{Event, Town};
use crate::control::Control;

/// How many of the newest heads are at hand for receipts.
const HEADS_MAX: usize = 512;
/// How many of the newest ledgers a liar can build on.
const VIEWS_MAX: usize = 32;
/// How often a frozen member is looked at.
const FROST_US: u64 = 20_000;

impl Town<'_> {
    pub(super) fn tell_unit(&mut self, member: usize, input: UnitInput) {
        let now_us = self.queue.now_us();
        let outputs = self.members[member].tell_unit(now_us, &self.genesis, input);
        for output in outputs {
            match output {
                UnitOutput::Batch(batch) => {
                    self.batches.insert(batch.digest(), batch.clone());
                    self.tell_node(member, NodeInput::Batch(batch));
                }
                UnitOutput::Receipts(vehicle, notice) => self.hand_over(vehicle, notice),
                UnitOutput::Again(vehicle, height) => {
                    let notices = receipts::again(self.members[member].disk(), height, vehicle);
                    for notice in notices.unwrap_or_default() {
                        self.hand_over(vehicle, notice);
                    }
                }
                UnitOutput::Live(_) | UnitOutput::Accepted(_) => {}
            }
        }
        self.plan_wake(member);
    }

    pub(super) fn hand_over(&mut self, vehicle: KeyId, notice: ReceiptNotice) {
        let (Some(vehicle), Some(head)) = (self.number_of.get(&vehicle), self.heads.get(&notice.height))
        else {
            return;
        };
        let (vehicle, head) = (*vehicle, head.clone());
        if let Some(at_us) = self.arrival() {
            self.queue.at(
                at_us,
                Event::Receipts {
                    vehicle,
                    head,
                    notice,
                },
            );
        }
    }

    /// Tells a node something, as soon as it does not wait for its disk.
    pub(super) fn tell_node(&mut self, member: usize, input: NodeInput) {
        let now_us = self.queue.now_us();
        if let Some(at_us) = self.members[member].waits_until(now_us) {
            self.queue.at(at_us, Event::Told { member, input });
            return;
        }
        match self.members[member].tell_node(now_us, &self.genesis, input) {
            Ok(outputs) => self.carry_out(member, outputs),
            Err(fatal) => self.stop(member, &fatal),
        }
    }

    /// Carries out what a node wants. Where it must wait for its disk first, what is for others' ears waits, too.
    pub(super) fn carry_out(&mut self, member: usize, outputs: Vec<NodeOutput>) {
        let now_us = self.queue.now_us();
        let waits = self.members[member].wait_for_disk(now_us);
        let mut later = Vec::new();
        for output in outputs {
            match output {
                NodeOutput::Committed(view) => self.commit(member, view),
                NodeOutput::Equivocated(_) => *self.struck.entry("equivocation_seen").or_default() += 1,
                NodeOutput::Complains(of) => {
                    *self.struck.entry("complaint_made").or_default() += 1;
                    self.watch.complained(self.members[member].address(), of);
                }
                output if waits.is_some() => later.push(output),
                output => self.speak(member, output),
            }
        }
        if let Some((at_us, start)) = waits
            && !later.is_empty()
        {
            let event = Event::Spoken {
                member,
                start,
                outputs: later,
            };
            self.queue.at(at_us, event);
        }
        self.plan_wake(member);
    }

    /// A member has waited for its disk, and now it speaks; unless it died meanwhile, or stands still.
    pub(super) fn speak_late(&mut self, member: usize, start: u32, outputs: Vec<NodeOutput>) {
        if !self.members[member].is_in_life(start) {
            return;
        }
        if self.members[member].is_frozen() {
            let at_us = self.queue.now_us() + FROST_US;
            let event = Event::Spoken {
                member,
                start,
                outputs,
            };
            self.queue.at(at_us, event);
            return;
        }
        for output in outputs {
            self.speak(member, output);
        }
    }

    fn speak(&mut self, member: usize, output: NodeOutput) {
        match output {
            NodeOutput::Send { bytes, .. } => {
                let message: PeerMessage = decode(&bytes).expect("a member writes what a member reads");
                self.watch.spoke(self.members[member].address(), &message);
                self.send(member, message);
            }
            NodeOutput::Fetch { want, of } => self.ask(member, want, of),
            NodeOutput::Committed(_) | NodeOutput::Equivocated(_) | NodeOutput::Complains(_) => {}
        }
    }

    pub(super) fn commit(&mut self, member: usize, view: Arc<View>) {
        let now_us = self.queue.now_us();
        if self.watch.committed(now_us, member, &view) {
            let head = view.head().expect("a committed block has a head").clone();
            // The watch tells where the certificate is none.
            if let Some(voters) = self.watch.voters_named(&head.header.members_hash)
                && let Ok(head) = Certified::check(head, &self.genesis.chain, voters)
            {
                self.heads.insert(view.height(), head);
            }
            self.look_everywhere(&view);
            if self.heads.len() > HEADS_MAX {
                self.heads.pop_first();
            }
            self.break_rule(&view);
            self.newest = view.clone();
            self.views.insert(view.height(), view.clone());
            if self.views.len() > VIEWS_MAX {
                self.views.pop_first();
            }
        }
        self.look_for_progress();
        self.look_for_new_key(member, view.state());
        self.tell_unit(member, UnitInput::Committed(view));
    }

    /// The controls that show the watch what a ledger with a broken rule would: once, at the first block with a
    /// batch.
    fn break_rule(&mut self, view: &View) {
        let control = self.scenario.control;
        if self.controlled || view.batches().is_empty() {
            return;
        }
        match control {
            Some(Control::DoublePay) => {
                // Executed once more on the ledger below, which has not heard these reports.
                let Some(block) = view.block() else { return };
                let contents = Contents {
                    transactions: Vec::new(),
                    batches: view.batches().to_vec(),
                };
                let (proposer, time) = (block.header.proposer, block.header.time);
                let again = self.newest.ledger().build(proposer, time, &contents);
                let (_, executed) = again.expect("it was executed before");
                self.watch.read_outputs(self.queue.now_us(), &executed.outputs);
            }
            Some(Control::MintedTokens) => {
                let tree = view.state().tree_entries().map(|(key, value)| match key {
                    StateKey::Books => {
                        let mut books = view.state().books();
                        books.treasury = Amount::from_micro(books.treasury.micro() + 1);
                        (key, encode(&books))
                    }
                    _ => (key, value),
                });
                let open = view.state().open_entries();
                let state = State::load(&self.genesis, tree, open).expect("one number differs");
                self.watch.check_state(&state);
            }
            _ => return,
        }
        self.controlled = true;
    }

    pub(super) fn plan_wake(&mut self, member: usize) {
        let now_us = self.queue.now_us();
        if let Some((at_us, life)) = self.members[member].wake_to_plan(now_us) {
            self.queue.at(at_us, Event::Wake { member, life });
        }
    }

    pub(super) fn wake(&mut self, member: usize, life: u32) {
        let now_us = self.queue.now_us();
        let Some(due) = self.members[member].woken(now_us, life) else {
            return;
        };
        if due.unit {
            self.tell_unit(member, UnitInput::Wake);
        }
        if due.node {
            self.tell_node(member, NodeInput::Wake);
        }
        self.plan_wake(member);
    }
}
