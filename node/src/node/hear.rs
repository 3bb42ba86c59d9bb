//! What do the others say, and is it worth hearing?
//!
//! Consensus messages of this height go to the engine, once; those of the next are kept, a few and verified. A body
//! is believed once a signed proposal of the right proposer named its hash, and held until then. Nothing that is not
//! signed makes a member begin a height, and nothing before its time.

use std::sync::Arc;

use milepost_wire::topic::Channel;
use milepost_wire::transaction::Transaction;
use milepost_wire::vote::{self, Step};
use milepost_wire::{Address, Block, Hash, Height, Signed, Verified};

use super::{Fatal, Named, Node, Settings};
use crate::batch::VerifiedBatch;
use crate::context::{Voters, proposer};
use crate::message::{Acks, PeerMessage, Proposal, ProposedBody};
use crate::store::{Store, Write};

/// Proposals of bodies that no signed proposal named yet: no more are held.
const HELD_MAX: usize = 8;
/// Consensus messages are kept from heights up to so far ahead, ...
const AHEAD_MAX: u64 = 1;
/// ... no more than so many of them, ...
const EARLY_MAX: usize = 512;
/// ... and no more than so many of one member: an honest one sends three in a round.
const EARLY_OF_ONE_MAX: usize = 12;
/// Bodies are named by at most so many proposals of a round, as many as the engine keeps: an honest proposer makes
/// one, ...
const NAMED_IN_ROUND_MAX: usize = 2;
/// ... and in rounds up to so far ahead of this member's own, as in the engine.
const ROUNDS_AHEAD_MAX: u32 = 10;
/// Between two syncs that are for acknowledgements alone lie so many milliseconds where the next height could begin: less
/// than members wait for one another then, so that batches which come together are in one block.
const ACK_SYNC_EVERY_MS: u64 = 25;
/// Nobody is believed to hold a batch that is further behind: its word would be too old to hold it to.
const ACKS_BEHIND_MAX: u64 = 512;

impl<S: Store> Node<S> {
    pub(super) fn hear(&mut self, message: PeerMessage) -> Result<(), Fatal> {
        match message {
            PeerMessage::Vote(_)
            | PeerMessage::Proposal(_)
            | PeerMessage::Polka(_)
            | PeerMessage::Round(_) => self.hear_consensus(message),
            PeerMessage::Body(body) => self.hear_body(body),
            PeerMessage::Acks(acks) => {
                self.hear_acks(acks);
                Ok(())
            }
            PeerMessage::Status(status) => {
                self.claimed = self.claimed.max(status.height);
                Ok(())
            }
            // The shell verifies batches and hands them in as such.
            PeerMessage::Batch(_) => Ok(()),
        }
    }

    pub(super) fn hear_consensus(&mut self, message: PeerMessage) -> Result<(), Fatal> {
        let height = match &message {
            PeerMessage::Vote(vote) => vote.height,
            PeerMessage::Proposal(proposal) => proposal.height,
            PeerMessage::Polka(polka) => polka.height,
            PeerMessage::Round(certificate) => certificate.height,
            _ => return Ok(()),
        };
        let next = self.next();
        if height < next {
            return Ok(());
        }
        // Whoever votes on a height claims to have the one below. That may be a lie: it costs a question.
        self.claimed = self.claimed.max(Height(height.0 - 1));
        if height > Height(next.0 + AHEAD_MAX) {
            return Ok(());
        }
        let signed = self.is_signed(&message, height);
        if signed && let Some(member) = speaker(&message) {
            self.spoke(member, height);
        }
        if height > next {
            self.keep_early(message, signed);
            return Ok(());
        }
        if let Some(resting) = self.resting {
            // Another member has begun this height. A forgery shall not make us begin it, and nobody before its time:
            // how far blocks lie apart is for a quorum to say.
            if !signed || self.now.mono_ms < resting.earliest {
                self.keep_early(message, signed);
                return Ok(());
            }
            self.start()?;
            if self.next() != height {
                // Starting the height was enough to decide it.
                return Ok(());
            }
        }
        if let PeerMessage::Proposal(proposal) = &message
            && signed
            && self.may_name(proposal)
        {
            self.name(proposal);
        }
        let hash = if let PeerMessage::Proposal(proposal) = &message {
            Some(proposal.value)
        } else {
            None
        };
        let stepped = self.engine.hear(message)?;
        self.run(stepped)?;
        match hash {
            Some(hash) => self.consider(hash),
            None => Ok(()),
        }
    }

    /// Keeps a signed message until its height is begun, within bounds for each member.
    fn keep_early(&mut self, message: PeerMessage, signed: bool) {
        let by = speaker(&message);
        let of_one = self.early.iter().filter(|kept| speaker(kept) == by).count();
        if signed
            && of_one < EARLY_OF_ONE_MAX
            && self.early.len() < EARLY_MAX
            && !self.early.contains(&message)
        {
            self.early.push(message);
        }
    }

    /// Whether a vote, or a proposal of the right proposer, is signed by the member it names: a member of `height`,
    /// the next or the one after it. Certificates are checked by the engine.
    pub(super) fn is_signed(&self, message: &PeerMessage, height: Height) -> bool {
        let chain = self.ledger().chain();
        let members = if height == self.next() {
            self.members()
        } else {
            self.ledger().following()
        };
        match message {
            PeerMessage::Vote(vote) => {
                let step = if vote.precommit {
                    Step::Precommit
                } else {
                    Step::Prevote
                };
                let digest = vote::digest(chain, step, vote.height, vote.round, vote.value, vote.voter);
                members
                    .point(&vote.voter)
                    .is_some_and(|point| vote.signature.verify(point, &digest).is_ok())
            }
            PeerMessage::Proposal(proposal) => {
                let turn = proposer(&Voters::of(members), proposal.height, proposal.round);
                let valid_round = proposal.valid_round.map_or(-1, i64::from);
                let (height, round) = (proposal.height, proposal.round);
                let digest = vote::proposal_digest(
                    chain,
                    height,
                    round,
                    valid_round,
                    proposal.value,
                    proposal.proposer,
                );
                turn == proposal.proposer
                    && members
                        .point(&proposal.proposer)
                        .is_some_and(|point| proposal.signature.verify(point, &digest).is_ok())
            }
            _ => false,
        }
    }

    /// Whether a proposal may name one body more: a proposer that lies could name any number of them.
    fn may_name(&self, proposal: &Proposal) -> bool {
        let named = self.deciding.named.values().flatten();
        let in_round = named.filter(|named| named.round == proposal.round).count();
        in_round < NAMED_IN_ROUND_MAX
            && proposal.round <= self.engine.round().saturating_add(ROUNDS_AHEAD_MAX)
    }

    /// Notes that the right proposer named a body, and takes it up if it came before.
    pub(super) fn name(&mut self, proposal: &Proposal) {
        let Proposal {
            round,
            valid_round,
            value,
            proposer,
            ..
        } = *proposal;
        self.deciding.named.entry(value).or_default().insert(Named {
            round,
            valid_round,
            proposer,
        });
        if let Some(index) = self.deciding.held.iter().position(|(hash, _)| *hash == value)
            && let Some((hash, block)) = self.deciding.held.remove(index)
        {
            self.take_body(hash, block);
        }
    }

    fn take_body(&mut self, hash: Hash, block: Block) {
        self.deciding.arrived.insert(hash, self.now.wall);
        self.deciding.bodies.insert(hash, Arc::new(block));
    }

    pub(super) fn hear_body(&mut self, body: ProposedBody) -> Result<(), Fatal> {
        let (hash, height) = (body.block.hash(), body.block.header.height);
        if height != self.next() && height != self.next().next() || self.deciding.bodies.contains_key(&hash) {
            return Ok(());
        }
        // Anybody can put other contents under a header that was proposed; they must not stand in for the true ones.
        if !body.block.is_whole() {
            tracing::debug!(%height, "a body that is not its header's is refused");
            return Ok(());
        }
        if height == self.next() && self.deciding.named.contains_key(&hash) {
            self.take_body(hash, body.block);
            return self.consider(hash);
        }
        if self.deciding.held.iter().all(|(held, _)| *held != hash) {
            if self.deciding.held.len() == HELD_MAX {
                self.deciding.held.pop_front();
            }
            self.deciding.held.push_back((hash, body.block));
        }
        Ok(())
    }

    pub(super) fn hear_acks(&mut self, acks: Signed<Acks>) {
        let member = acks.message.member;
        let Some(point) = self.members().point(&member) else {
            return;
        };
        let is_late = acks.message.height.0.saturating_add(ACKS_BEHIND_MAX) < self.ledger().height().0;
        if is_late || !(1..=Acks::COUNT_MAX).contains(&acks.message.batches.len()) {
            return;
        }
        let Ok(acks) = acks.verify(self.ledger().chain(), point) else {
            return;
        };
        for digest in &acks.batches {
            self.pool.ack(*digest, member);
        }
        self.promises.note(acks.into_signed());
    }

    pub(super) fn take_batch(&mut self, batch: Arc<VerifiedBatch>) -> Result<(), Fatal> {
        let Some(provider) = self.ledger().state().provider(&batch.author()) else {
            return Ok(());
        };
        let digest = batch.digest();
        let needed = self
            .deciding
            .bodies
            .values()
            .any(|block| block.body.batches.iter().any(|named| named.digest == digest));
        if needed {
            self.deciding.batches.insert(digest, batch.clone());
        }
        match self.pool.add_batch(provider, batch.clone()) {
            // Whoever sends it again has not heard that it is here.
            Ok(new) => {
                if new {
                    self.store
                        .write(&[Write::Batch(digest, batch.signed().clone())], false)?;
                    self.unsynced = true;
                }
                self.pool.ack(digest, self.me);
                self.acks.insert(digest);
                if new && batch.author() == self.me {
                    self.send(Channel::Batch, &PeerMessage::Batch(batch.signed().clone()));
                }
            }
            Err(full) => tracing::debug!(%digest, %full, "batch refused"),
        }
        if needed { self.consider_all() } else { Ok(()) }
    }

    /// Acknowledges what is durable: a member that lost what it promised would look like one that withholds it. The sync of
    /// a vote or a block serves for all batches that came before it, and else one of their own.
    pub(super) fn send_acks(&mut self) -> Result<(), Fatal> {
        if self.members().get(&self.me).is_none() {
            // Nobody counts what a unit without a vote holds.
            self.acks.clear();
        }
        if self.acks.is_empty() {
            return Ok(());
        }
        if self.unsynced {
            if self.now.mono_ms < self.ack_sync_at() {
                return Ok(());
            }
            self.store.write(&[], true)?;
            self.unsynced = false;
            self.acks_synced_ms = self.now.mono_ms;
        }
        let digests: Vec<Hash> = std::mem::take(&mut self.acks).into_iter().collect();
        for batches in digests.chunks(Acks::COUNT_MAX) {
            let acks = Acks {
                member: self.me,
                height: self.ledger().height(),
                batches: batches.to_vec(),
            };
            let signed = Signed::sign(acks, self.ledger().chain(), &self.key).into_signed();
            self.send(Channel::Batch, &PeerMessage::Acks(signed));
        }
        Ok(())
    }

    /// Not before this is anything synced for the sake of acknowledgements alone. They are in time where the others have them
    /// when the next height begins; a slow disk shall not be kept from votes by them.
    pub(super) fn ack_sync_at(&self) -> u64 {
        let Settings {
            block_interval_ms,
            gather_ms,
            ..
        } = self.settings;
        match self.resting {
            Some(resting) => {
                let again_at = self.acks_synced_ms.saturating_add(ACK_SYNC_EVERY_MS);
                resting.earliest.saturating_sub(gather_ms).max(again_at)
            }
            None => {
                let since = self.acks_synced_ms.max(self.started_ms);
                since.saturating_add(block_interval_ms)
            }
        }
    }

    pub(super) fn take_transaction(&mut self, transaction: Verified<Transaction>) {
        let Ok(sender) = transaction.from.address() else {
            return;
        };
        let next_nonce = self.next_nonce(&sender);
        if let Err(full) = self.pool.add_transaction(sender, next_nonce, transaction) {
            tracing::debug!(%sender, %full, "transaction refused");
        }
    }

    pub(super) fn next_nonce(&self, sender: &Address) -> u64 {
        self.ledger().state().account(sender).nonce
    }
}

/// Who signed a vote or a proposal.
fn speaker(message: &PeerMessage) -> Option<Address> {
    match message {
        PeerMessage::Vote(vote) => Some(vote.voter),
        PeerMessage::Proposal(proposal) => Some(proposal.proposer),
        _ => None,
    }
}
