//! What does a member do about another that signed two different things?
//!
//! It puts the two words into the next block that it proposes itself, in a transaction of its own: nobody needs to be asked,
//! and nobody else could keep it out. What the ledger has dealt with, or will not hear, is dropped with the next block, so
//! that each offence comes once. Each of the members that saw it does so; the first one counts.
//!
//! What is seen is in the store with the next durable write, so a member that was killed brings it when it is back.

use milepost_wire::{Action, Body, Equivocation, Signed, Transaction};

use super::{Fatal, Node};
use crate::ledger::Contents;
use crate::store::{Store, Write};

/// Members whose offences wait, one for each: further ones are dropped, and a sentence covers them anyway.
const EVIDENCE_MAX: usize = 16;

impl<S: Store> Node<S> {
    pub(super) fn keep_evidence(&mut self, evidence: Equivocation) -> Result<(), Fatal> {
        let is_new = self.evidence.iter().all(|kept| kept.member != evidence.member);
        if is_new && self.evidence.len() < EVIDENCE_MAX && self.convicts(&evidence) {
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
            .filter(|evidence| self.convicts(evidence))
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
        for (nonce, evidence) in (first..).zip(&self.evidence) {
            // These few are small beside what a block holds; the pool leaves them no room only where it is full.
            if contents.transactions.len() == Body::TRANSACTIONS_MAX {
                return;
            }
            let action = Action::Blame(*evidence);
            let transaction = Transaction { from, nonce, action };
            let signed = Signed::sign(transaction, self.ledger().chain(), &self.key);
            contents.transactions.push(signed);
        }
    }

    /// Whether the ledger would sentence somebody else for it, at this member's word, in the next block.
    fn convicts(&self, evidence: &Equivocation) -> bool {
        let state = self.ledger().state();
        self.members().get(&self.me).is_some()
            && matches!(state.convict(self.next(), evidence), Ok(member) if member != self.me)
    }
}
