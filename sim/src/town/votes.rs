//! What do the members decide, and what follows from it?
//!
//! Behind every honest member stands somebody who wants the changes that the scenario names. Now and then they look at
//! the ledger as their own member has it: is the change done, scheduled, open? Then they hand their member the
//! transaction that is missing, signed with its key. So proposals are made twice where two do not know of each other,
//! and votes are lost where a member crashes. A member that goes on under another key is restarted with it, once its
//! own ledger says so. A member that wants a unit to listen for it enrols it alone.
//!
//! What must hold of voters, whoever they are: [`super::watch`].

use milepost_incentives::State;
use milepost_node::Input as NodeInput;
use milepost_wire::transaction::Enrolment;
use milepost_wire::{
    Action, Address, Change, Height, Member, Members, Role, SecretKey, Setting, Signed, Transaction,
};

use super::{Event, Town};
use crate::fault::Trouble;

/// How often they look.
const LOOK_US: u64 = 700_000;
/// Whoever finds no proposal makes one with this chance.
const PROPOSES: f64 = 0.3;
/// How much later than possible a change shall hold, in heights, at most.
const LATER_MAX: u64 = 4;
/// How long it takes until a member is restarted with its new key.
const RENEWAL_US: u64 = 300_000;

/// The key that a member goes on with by the fault of this number.
pub(super) fn new_key(number: usize) -> SecretKey {
    SecretKey::from_seed("sim member's next key", number as u64)
}

impl Town<'_> {
    /// Those who want the change of this number look, and look again later.
    pub(super) fn campaign(&mut self, number: usize) {
        if !self.on.contains(&number) {
            return;
        }
        if let Trouble::EnrolUnit { member, operator } = self.scenario.fault[number].trouble
            && let Some(action) = self.enrolment(member, operator)
        {
            self.hand_in(operator, operator, action);
        }
        for member in self.honest().collect::<Vec<_>>() {
            if let Some(action) = self.ballot(member, number) {
                self.hand_in(member, member, action);
            }
        }
        let at_us = self.queue.now_us() + LOOK_US;
        self.queue.at(at_us, Event::Campaign(number));
    }

    /// The enrolment that a unit lacks, by the operator's ledger: a key is enrolled once and for all.
    fn enrolment(&self, unit: usize, operator: usize) -> Option<Action> {
        let view = self.members[operator].view()?;
        let (key, own) = (self.members[unit].key(), self.members[operator].address());
        view.members().get(&own)?;
        let is_known = view.state().vehicle(&key.key_id()).is_some();
        (!is_known).then(|| {
            Action::Enrol(Enrolment {
                key: key.public(),
                group: 0,
                role: Role::Unit { operator: own },
            })
        })
    }

    /// What a member's operator does about a change, as things stand there.
    fn ballot(&mut self, member: usize, number: usize) -> Option<Action> {
        let view = self.members[member].view()?;
        let (state, own) = (view.state(), self.members[member].address());
        state.members().get(&own)?;
        let change = self.missing_change(number, state)?;
        if state.scheduled().any(|(.., scheduled)| *scheduled == change) {
            return None;
        }
        match state.proposals().find(|(_, open)| open.change == change) {
            Some((proposal, _)) => {
                let approvals = state.approvals_of(proposal);
                let approved = approvals.iter().any(|(approving, _)| *approving == own);
                (!approved).then_some(Action::Approve { proposal })
            }
            None => {
                let from = Height(view.height().0 + self.chance.below(LATER_MAX + 1));
                self.chance
                    .chance(PROPOSES)
                    .then_some(Action::Propose { change, from })
            }
        }
    }

    /// The change that a fault wants, unless it is so already or has no sense.
    fn missing_change(&self, number: usize, state: &State) -> Option<Change> {
        let members = state.members();
        let named = |member: usize| self.named(member, members);
        match self.scenario.fault[number].trouble {
            Trouble::SetParam { ref name, value } => {
                let name = name.clone();
                let settings = vec![Setting { name, value }];
                let after = state.params().with(&settings).ok()?;
                (after != *state.params()).then_some(Change::SetParams(settings))
            }
            Trouble::SetAccess { access } => {
                (state.charter().access != access).then_some(Change::SetAccess(access))
            }
            Trouble::RevokeUnit { member } => {
                let vehicle = self.members[member].key().key_id();
                let enrolled = state.vehicle(&vehicle).filter(|unit| !unit.revoked);
                enrolled.map(|_| Change::Revoke { vehicle })
            }
            Trouble::AddMember { member, power } => named(member).is_none().then(|| {
                Change::AddMember(Member {
                    key: self.members[member].key().public(),
                    provider: format!("provider-{member}"),
                    power,
                })
            }),
            Trouble::RemoveMember { member } => Some(Change::RemoveMember {
                member: named(member)?,
            }),
            Trouble::SetPower { member, power } => {
                let member = named(member)?;
                let now = members.get(&member)?.power;
                (now != power).then_some(Change::SetPower { member, power })
            }
            Trouble::SetKey { member } => {
                let key = new_key(number);
                let member = named(member).filter(|member| *member != key.address())?;
                Some(Change::SetKey {
                    member,
                    key: key.public(),
                })
            }
            _ => None,
        }
    }

    /// Under which of its names a machine has a vote.
    fn named(&self, member: usize, members: &Members) -> Option<Address> {
        self.names(member).find(|name| members.get(name).is_some())
    }

    /// What a machine is called, or may come to be.
    pub(super) fn names(&self, member: usize) -> impl Iterator<Item = Address> {
        let own = self.members[member].address();
        let renewed = self.renewals(member).map(|number| new_key(number).address());
        [own].into_iter().chain(renewed)
    }

    /// The faults that give a machine another key.
    fn renewals(&self, machine: usize) -> impl Iterator<Item = usize> {
        let renews =
            move |trouble: &Trouble| matches!(trouble, Trouble::SetKey { member } if *member == machine);
        let faults = self.scenario.fault.iter().enumerate();
        faults
            .filter(move |(_, fault)| renews(&fault.trouble))
            .map(|(number, _)| number)
    }

    /// Hands a transaction of one member to another, or to itself.
    pub(super) fn hand_in(&mut self, member: usize, to: usize, action: Action) {
        let key = self.members[member].key().clone();
        let Some(view) = self.members[member].view() else {
            return;
        };
        let nonce = view.state().account(&key.address()).nonce;
        let transaction = Transaction {
            from: key.public(),
            nonce,
            action,
        };
        let signed = Signed::sign(transaction, &self.genesis.chain, &key);
        self.tell_node(to, NodeInput::Transaction(signed));
    }

    /// Where a member's ledger knows it under another key, it gets that key soon.
    pub(super) fn look_for_new_key(&mut self, member: usize, state: &State) {
        let own = self.members[member].address();
        if self.is_twin(member) || state.members().get(&own).is_some() {
            return;
        }
        let known = self
            .renewals(member)
            .find(|number| state.members().get(&new_key(*number).address()).is_some());
        if let Some(number) = known {
            let at_us = self.queue.now_us() + RENEWAL_US;
            self.queue.at(at_us, Event::Renewal { member, number });
        }
    }
}
