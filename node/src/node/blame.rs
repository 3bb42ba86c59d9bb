//! What does a member do about another that signed what no honest one does?
//!
//! It puts the evidence into the next block that it proposes itself, in a transaction of its own: nobody needs to be asked,
//! and nobody else could keep it out. What the ledger has dealt with, or will not hear, is dropped with the next block, so
//! that each offence comes once. Each of the members that saw it does so; the first one counts.
//!
//! Complaints of those who do not hand out what they acknowledged go the same way ([`super::withheld`]).
//!
//! What is seen is in the store with the next durable write, so a member that was killed brings it when it is back.

use milepost_incentives::Acquittal;
use milepost_wire::transaction::Action;
use milepost_wire::{Body, Evidence, Message, Signed, Transaction, encode};

use super::{Fatal, Node};
use crate::ledger::Contents;
use crate::store::{Store, Write};

/// Offences that wait, one of a kind for each member: further ones are dropped, and a sentence covers them anyway.
const EVIDENCE_MAX: usize = 16;

/// The longest evidence, in bytes: a transaction has some of its own.
const EVIDENCE_LEN_MAX: usize = Transaction::LEN_MAX - 256;

impl<S: Store> Node<S> {
    pub(super) fn keep_evidence(&mut self, evidence: Evidence) -> Result<(), Fatal> {
        let kind = |kept: &Evidence| (kept.accused(), std::mem::discriminant(kept));
        let is_new = self.evidence.iter().all(|kept| kind(kept) != kind(&evidence));
        if is_new && self.evidence.len() < EVIDENCE_MAX && self.may_convict(&evidence) {
            self.evidence.push(evidence);
            self.store_evidence()?;
        }
        Ok(())
    }

    /// Forgets what has been dealt with.
    pub(super) fn drop_evidence(&mut self) -> Result<(), Fatal> {
        let before = std::mem::take(&mut self.evidence);
        let count = before.len();
        self.evidence = before
            .into_iter()
            .filter(|evidence| self.may_convict(evidence))
            .collect();
        if self.evidence.len() < count {
            self.store_evidence()?;
        }
        Ok(())
    }

    fn store_evidence(&mut self) -> Result<(), Fatal> {
        let evidence = self.evidence.clone();
        Ok(self.store.write(&[Write::Evidence(evidence)], false)?)
    }

    /// Adds this member's transactions about what it saw, behind those of its own that are there.
    pub(super) fn add_evidence(&self, contents: &mut Contents) {
        let from = self.key.public();
        let own = contents.transactions.iter().filter(|own| own.from == from);
        let first = self.next_nonce(&self.me) + own.count() as u64;
        let ripe = self.evidence.iter().filter(|evidence| self.convicts(evidence));
        let blame = ripe.map(|evidence| Action::Blame(evidence.clone()));
        let complain = self.complaints.iter().cloned().map(Action::Complain);
        for (nonce, action) in (first..).zip(blame.chain(complain)) {
            // These few are small beside what a block holds; the pool leaves them no room only where it is full.
            if contents.transactions.len() == Body::TRANSACTIONS_MAX {
                return;
            }
            let transaction = Transaction { from, nonce, action };
            let signed = Signed::sign(transaction, self.ledger().chain(), &self.key);
            contents.transactions.push(signed);
        }
    }

    /// Whether something could go into the next block.
    pub(super) fn has_evidence(&self) -> bool {
        let next = self.next();
        self.evidence.iter().any(|evidence| evidence.height() < next)
    }

    /// Whether the ledger would sentence somebody else for it, at this member's word, in the next block.
    fn convicts(&self, evidence: &Evidence) -> bool {
        let state = self.ledger().state();
        self.members().get(&self.me).is_some()
            && matches!(state.convict(self.next(), evidence), Ok(member) if member != self.me)
    }

    /// Whether it would now, or when the author of a batch has no longer been ahead; and a transaction can hold it.
    fn may_convict(&self, evidence: &Evidence) -> bool {
        let ahead = || {
            let judged = self.ledger().state().convict(self.next(), evidence);
            matches!(evidence, Evidence::BadBatch(_)) && matches!(judged, Err(Acquittal::NotOver { .. }))
        };
        encode(evidence).len() <= EVIDENCE_LEN_MAX && (self.convicts(evidence) || ahead())
    }
}
