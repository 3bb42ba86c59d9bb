//! What reaches whom, and when?
//!
//! The radio between vehicles and units, and the lines between members: delays, losses and cuts; questions and
//! their answers.

use std::sync::Arc;

use milepost_node::message::PeerMessage;
use milepost_node::store::Store as _;
use milepost_node::{Input as NodeInput, VerifiedBatch, Want};
use milepost_rsu::unit::Input as UnitInput;
use milepost_wire::signed::signing_digest;
use milepost_wire::{Address, SignedBatch};

use super::member::Answer;
use super::{Event, Town};
use crate::control::Control;
use crate::fault::{Trouble, Way};

impl Town<'_> {
    /// When something that is sent now arrives; `None` where it is lost.
    pub(super) fn arrival(&mut self) -> Option<u64> {
        let (shortest, longest) = self.scenario.link.delay_ms;
        let delay_us = shortest * 1000 + self.radio.below((longest - shortest) * 1000 + 1);
        let lost = self.scenario.link.loss > 0.0 && self.radio.chance(self.scenario.link.loss);
        (!lost).then(|| self.queue.now_us() + delay_us)
    }

    /// When something that a member sends to another arrives: once, never, or several times.
    fn crossings(&mut self) -> Vec<u64> {
        let mut arrivals: Vec<u64> = self.arrival().into_iter().collect();
        let lossy: Vec<(f64, f64, u64)> = self
            .troubles()
            .filter_map(|trouble| match trouble {
                Trouble::Lossy {
                    loss,
                    duplicate,
                    delay_ms,
                } => Some((*loss, *duplicate, *delay_ms)),
                _ => None,
            })
            .collect();
        for (loss, duplicate, delay_ms) in lossy {
            if self.chance.chance(loss) {
                arrivals.clear();
            } else if self.chance.chance(duplicate) {
                arrivals.extend_from_within(..);
            }
            for at_us in &mut arrivals {
                *at_us += self.chance.below(delay_ms * 1000 + 1);
            }
        }
        arrivals
    }

    /// Whether what one member says now gets through to another.
    pub(super) fn connected(&self, from: usize, to: usize) -> bool {
        self.troubles().all(|trouble| match trouble {
            Trouble::Partition { members, way } => {
                let (leaves, enters) = (members.contains(&from), members.contains(&to));
                match way {
                    Way::Both => leaves == enters,
                    Way::In => leaves || !enters,
                    Way::Out => !leaves || enters,
                }
            }
            _ => true,
        }) && self.is_audience(from, to)
    }

    /// Two machines with one key are two worlds: each is heard by its own audience.
    fn is_audience(&self, from: usize, to: usize) -> bool {
        let mut twinned = false;
        let mut in_audience = false;
        for (fault, twin) in self.twins.iter().filter(|(fault, _)| self.on.contains(fault)) {
            let Trouble::Twins { member, audience } = &self.scenario.fault[*fault].trouble else {
                continue;
            };
            twinned |= *member == from || *twin == from;
            in_audience |= *twin == to || audience.contains(&to);
        }
        // Everybody hears those that are one machine; those that are two are heard by one side each.
        !twinned || in_audience == self.is_twin(from)
    }

    /// Whether this is the second machine of a liar.
    pub(super) fn is_twin(&self, member: usize) -> bool {
        member >= self.units
    }

    /// Sends what a member says to all others; a liar says something else to some.
    pub(super) fn send(&mut self, from: usize, message: PeerMessage) {
        let said = self.twist(from, message);
        for to in (0..self.members.len()).filter(|to| *to != from) {
            if let Some(message) = &said[to % 2] {
                self.pass(from, to, message);
            }
        }
    }

    /// Puts a message on the line to another member.
    pub(super) fn pass(&mut self, from: usize, to: usize, message: &Arc<PeerMessage>) {
        for at_us in self.crossings() {
            let message = message.clone();
            self.queue.at(at_us, Event::Peer { to, from, message });
        }
    }

    /// A message gets to another member.
    pub(super) fn deliver(&mut self, from: usize, to: usize, message: &PeerMessage) {
        if !self.connected(from, to) {
            return;
        }
        match message {
            PeerMessage::Batch(signed) => {
                let batch = self.verified(signed);
                self.tell_unit(to, UnitInput::Batch(batch.clone()));
                self.tell_node(to, NodeInput::Batch(batch));
            }
            PeerMessage::Body(body) if self.scenario.control == Some(Control::UnsignedBodies) => {
                // As if nobody had asked whether it was proposed.
                let proposal = self.proposal_for(body);
                self.tell_node(to, NodeInput::Peer(proposal));
                self.tell_node(to, NodeInput::Peer(message.clone()));
            }
            _ => self.tell_node(to, NodeInput::Peer(message.clone())),
        }
    }

    /// The verified form of a batch, which its author made.
    pub(super) fn verified(&self, signed: &SignedBatch) -> Arc<VerifiedBatch> {
        let digest = signing_digest(&self.genesis.chain, &signed.message);
        self.batches
            .get(&digest)
            .cloned()
            .expect("every batch was made by a unit of this town")
    }

    /// Asks one machine: any that can be reached, or one of this name.
    pub(super) fn ask(&mut self, from: usize, want: Want, of: Option<Address>) {
        let is_meant = |to: &usize| of.is_none_or(|name| self.members[*to].address() == name);
        let others: Vec<usize> = (0..self.members.len())
            .filter(|to| *to != from && is_meant(to) && self.connected(from, *to))
            .collect();
        if others.is_empty() {
            return;
        }
        let to = others[self.radio.below(others.len() as u64) as usize];
        for at_us in self.crossings() {
            self.queue.at(at_us, Event::Asked { to, from, want });
        }
    }

    /// A question gets to a member, which answers from its disk.
    pub(super) fn answer(&mut self, to: usize, from: usize, want: Want) {
        if !self.connected(from, to) {
            return;
        }
        let found = self.found(to, want);
        let Some(answer) = self.twist_answer(to, want, found) else {
            return;
        };
        for at_us in self.crossings() {
            let answer = Box::new(answer.clone());
            let event = Event::Answered {
                to: from,
                from: to,
                answer,
            };
            self.queue.at(at_us, event);
        }
    }

    fn found(&self, member: usize, want: Want) -> Option<Answer> {
        let store = self.members[member].disk_in_use()?;
        match want {
            Want::Block(height) => {
                let (block, certificate) = store.block(height).ok().flatten()?;
                let batches = block
                    .body
                    .batches
                    .iter()
                    .map(|named| self.batches.get(&named.digest).cloned());
                Some(Answer::Block {
                    batches: batches.collect::<Option<_>>()?,
                    block: Box::new(block),
                    certificate,
                })
            }
            Want::Body(hash) => {
                let block = store.body(&hash).ok().flatten()?;
                Some(Answer::Body(Box::new(block)))
            }
            Want::Batch(digest) => {
                let signed = store.batch(&digest).ok().flatten()?;
                Some(Answer::Batch(self.verified(&signed)))
            }
        }
    }

    /// An answer gets back.
    pub(super) fn take_answer(&mut self, to: usize, from: usize, answer: Answer) {
        if !self.connected(from, to) {
            return;
        }
        let answer = match answer {
            Answer::Block { block, batches, .. }
                if self.scenario.control == Some(Control::UncheckedCatchUp) =>
            {
                // As if whatever stands in the certificate had passed.
                let certificate = self.certificate_for(&block);
                Answer::Block {
                    block,
                    certificate,
                    batches,
                }
            }
            answer => answer,
        };
        if let Answer::Batch(batch) = &answer {
            let (by, batch) = (self.members[from].address(), batch.digest());
            self.tell_node(to, NodeInput::HandedOut { by, batch });
        }
        self.tell_node(to, answer.into_input());
    }
}
