//! What does the ledger know at one height?
//!
//! Two parts. What is authenticated entry by entry: the books, accounts, vehicles and roads of
//! [`milepost_wire::state`]. And what is *open*: sightings, tallies and traces that live for minutes or hours and
//! are committed by one hash. Both are tables that forks share, so that a proposed block can be executed on a
//! fork and thrown away.
//!
//! This file holds the memory and its readers. What changes it: [`crate::apply`]. How it is written down:
//! [`crate::store`].

use std::sync::Arc;

use milepost_wire::state::{
    Account, Books, Charter, Operator, Proposal, Quarantine, Road, Sentence, Standing, StateKey, Vehicle,
    Vesting, Withheld,
};
use milepost_wire::time::{Epoch, Slot};
use milepost_wire::transaction::{Enrolment, Role};
use milepost_wire::{
    Address, Amount, Cell, Change, Height, KeyId, Kind, Member, Members, ProposalId, Sequence, Timestamp,
    encode,
};

use crate::genesis::Genesis;
use crate::hazard::{Claim, DangerKey, FalseClaims, WatchKey};
use crate::misconduct::Renamed;
use crate::params::Params;
use crate::sighting::{ServedKey, Sighting, Spot, Tally, TallyKey, Trace};
use crate::table::Table;
use crate::waiting::{WaitKey, Waiting};
use crate::withheld::{Between, Lodged};

/// The whole ledger state at one height. Cheap to fork until it has many unsealed changes.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) genesis: Arc<Genesis>,
    pub(crate) books: Table<(), Books>,
    pub(crate) accounts: Table<Address, Account>,
    pub(crate) vehicles: Table<KeyId, Vehicle>,
    pub(crate) roads: Table<(Cell, Kind), Road>,
    /// Members whose roadside sensors were ever judged.
    pub(crate) operators: Table<Address, Operator>,
    pub(crate) params: Table<(), Params>,
    pub(crate) charter: Table<(), Charter>,
    /// Who votes on the next block; `members` holds the same with curve points.
    pub(crate) voters: Table<Address, Member>,
    pub(crate) members: Members,
    pub(crate) proposals: Table<ProposalId, Proposal>,
    pub(crate) approvals: Table<(ProposalId, Address), Height>,
    pub(crate) scheduled: Table<(Height, ProposalId), Change>,
    /// Members that ever signed two different things.
    pub(crate) sentences: Table<Address, Sentence>,
    /// Members that others complained of, enough of them.
    pub(crate) withheld: Table<Address, Withheld>,
    /// Each vehicle's account. It follows from the vehicles' keys, at a square root each, and is not stored.
    pub(crate) addresses: Table<KeyId, Address>,
    /// Each operator's listening units that are not revoked. It follows from the vehicles, and is not stored.
    pub(crate) units: Table<(Address, KeyId), ()>,
    pub(crate) open: Open,
}

/// What is too short-lived to be authenticated entry by entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Open {
    /// The latest block's time.
    pub(crate) clock: Table<(), Timestamp>,
    /// What vehicles say on items that are not settled.
    pub(crate) sightings: Table<Spot, Sighting>,
    /// What each vehicle's next report is judged by.
    pub(crate) traces: Table<KeyId, Trace>,
    /// What vehicles gathered in epochs that are not closed.
    pub(crate) tallies: Table<TallyKey, Tally>,
    /// What roadside units served in epochs that are not closed, in [`milepost_wire::state::Q`].
    pub(crate) served: Table<ServedKey, u64>,
    /// How often a vehicle was quarantined before; absent for never.
    pub(crate) quarantined_before: Table<KeyId, u8>,
    /// Until when what a vehicle signed can no longer be held against it: its last quarantine's beginning.
    pub(crate) absolved: Table<KeyId, Timestamp>,
    /// A vehicle's bonded claims of danger that were contradicted.
    pub(crate) false_claims: Table<KeyId, FalseClaims>,
    /// Claims of danger that are not settled, and their bonds.
    pub(crate) claims: Table<DangerKey, Claim>,
    /// When vehicles last drove by an open danger without claiming it.
    pub(crate) passes: Table<DangerKey, Timestamp>,
    /// Where they did, in the order of slots.
    pub(crate) watched: Table<WatchKey, ()>,
    /// Words that nobody else could judge yet.
    pub(crate) waiting: Table<WaitKey, Waiting>,
    /// Names that members had lately, under keys of before.
    pub(crate) renamed: Table<Address, Renamed>,
    /// What members complain of; once a complaint no longer stands, the next one of anybody takes it away.
    pub(crate) complaints: Table<Between, Lodged>,
}

/// A promise that does not hold: our own bug, and a reason to stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Tokens appeared or vanished.
    #[error("minted {minted} less burned {burned} micro-tokens, but {held} are held")]
    NotConserved {
        /// Ever made, in micro-tokens.
        minted: u64,
        /// Ever destroyed, in micro-tokens.
        burned: u64,
        /// In accounts, not vested, bonded, in the treasury and carried, in micro-tokens.
        held: u128,
    },
    /// The books count other vehicles than there are.
    #[error("the books count {counted} vehicles, there are {found}")]
    Vehicles {
        /// What the books say.
        counted: u32,
        /// Enrolled and not revoked.
        found: usize,
    },
    /// A vehicle whose debt is no debt.
    #[error("vehicle {vehicle} owes {debt}")]
    Debt {
        /// Which one.
        vehicle: KeyId,
        /// Points, in [`milepost_wire::state::Q`].
        debt: i64,
    },
}

impl State {
    /// The state before the first block, all of it unsealed.
    ///
    /// # Panics
    ///
    /// When a vehicle's key is none: [`Genesis::validate`] comes first.
    pub fn genesis(genesis: &Genesis) -> Self {
        let mut state = Self::empty(genesis);
        state.books.insert((), Books::default());
        state.params.insert((), genesis.params.clone());
        let charter = Charter {
            access: genesis.access,
            ..Charter::default()
        };
        state.charter.insert((), charter);
        for (address, member) in genesis.members.iter() {
            state.voters.insert(address, member.clone());
        }
        for enrolment in &genesis.vehicles {
            let address = enrolment
                .key
                .address()
                .expect("the genesis was validated, keys included");
            state.enrol(enrolment, address, None, Height::ZERO);
        }
        state
    }

    pub(crate) fn empty(genesis: &Genesis) -> Self {
        Self {
            genesis: Arc::new(genesis.clone()),
            books: Table::default(),
            accounts: Table::default(),
            vehicles: Table::default(),
            roads: Table::default(),
            operators: Table::default(),
            params: Table::default(),
            charter: Table::default(),
            voters: Table::default(),
            members: genesis.members.clone(),
            proposals: Table::default(),
            approvals: Table::default(),
            scheduled: Table::default(),
            sentences: Table::default(),
            withheld: Table::default(),
            addresses: Table::default(),
            units: Table::default(),
            open: Open::default(),
        }
    }

    /// A state to try a block on. Cost: a copy of the unsealed changes.
    #[must_use]
    pub fn fork(&self) -> Self {
        self.clone()
    }

    /// Makes the changes part of what forks share. Cheap where no other fork lives; drop them first.
    pub fn seal(&mut self) {
        self.books.seal();
        self.accounts.seal();
        self.vehicles.seal();
        self.roads.seal();
        self.operators.seal();
        self.params.seal();
        self.charter.seal();
        self.voters.seal();
        self.proposals.seal();
        self.approvals.seal();
        self.scheduled.seal();
        self.sentences.seal();
        self.withheld.seal();
        self.addresses.seal();
        self.units.seal();
        self.open.clock.seal();
        self.open.sightings.seal();
        self.open.traces.seal();
        self.open.tallies.seal();
        self.open.served.seal();
        self.open.quarantined_before.seal();
        self.open.absolved.seal();
        self.open.false_claims.seal();
        self.open.claims.seal();
        self.open.passes.seal();
        self.open.watched.seal();
        self.open.waiting.seal();
        self.open.renamed.seal();
        self.open.complaints.seal();
    }

    /// What the ledger keeps about itself.
    pub fn books(&self) -> Books {
        self.books.get(&()).copied().unwrap_or_default()
    }

    /// The account of an address that ever had one: what the authenticated tree holds.
    pub fn find_account(&self, address: &Address) -> Option<&Account> {
        self.accounts.get(address)
    }

    /// What an address holds; nothing where it was never heard of.
    pub fn account(&self, address: &Address) -> Account {
        self.accounts.get(address).copied().unwrap_or_default()
    }

    /// All accounts, in the order of their addresses.
    pub fn accounts(&self) -> impl Iterator<Item = (&Address, &Account)> {
        self.accounts.iter()
    }

    /// A vehicle, roadside sensor or listening unit that is or was enrolled.
    pub fn vehicle(&self, id: &KeyId) -> Option<&Vehicle> {
        self.vehicles.get(id)
    }

    /// All vehicles, roadside sensors and listening units that are or were enrolled, in the order of their ids.
    pub fn vehicles(&self) -> impl Iterator<Item = (&KeyId, &Vehicle)> {
        self.vehicles.iter()
    }

    /// A member whose roadside sensors were ever judged: what the authenticated tree holds.
    pub fn find_operator(&self, member: &Address) -> Option<&Operator> {
        self.operators.get(member)
    }

    /// What its roadside sensors say of a member.
    pub fn operator(&self, member: &Address) -> Operator {
        self.find_operator(member).copied().unwrap_or(Operator {
            standing: Standing {
                good: self.params().operator_start_good,
                bad: self.params().operator_start_bad,
                debt: 0,
                evaluated: 0,
            },
        })
    }

    /// What the authenticated tree holds of the consortium itself, encoded.
    pub fn find_decided(&self, key: &StateKey) -> Option<Vec<u8>> {
        match key {
            StateKey::Charter => self.charter.get(&()).map(encode),
            StateKey::Params => self.params.get(&()).map(encode),
            StateKey::Member(address) => self.voters.get(address).map(encode),
            StateKey::Proposal(id) => self.proposals.get(id).map(encode),
            StateKey::Approval(id, member) => self.approvals.get(&(*id, *member)).map(encode),
            StateKey::Scheduled(at, id) => self.scheduled.get(&(*at, *id)).map(encode),
            StateKey::Sentence(member) => self.sentences.get(member).map(encode),
            StateKey::Withheld(member) => self.withheld.get(member).map(encode),
            _ => None,
        }
    }

    /// The account that a vehicle is paid to.
    pub fn vehicle_address(&self, id: &KeyId) -> Option<Address> {
        self.addresses.get(id).copied()
    }

    /// The greatest number among a vehicle's reports that were heard.
    pub fn newest_report(&self, id: &KeyId) -> Option<Sequence> {
        self.open.traces.get(id).map(|trace| trace.replay.highest())
    }

    /// What is known about a piece of road.
    pub fn road(&self, cell: Cell, kind: Kind) -> Option<&Road> {
        self.roads.get(&(cell, kind))
    }

    /// All that is known about roads, in the order of cells and kinds.
    pub fn roads(&self) -> impl Iterator<Item = (Cell, Kind, &Road)> {
        self.roads.iter().map(|(&(cell, kind), road)| (cell, kind, road))
    }

    /// The numbers of the rules.
    pub fn params(&self) -> &Params {
        self.params.get(&()).unwrap_or(&self.genesis.params)
    }

    /// Who votes on the next block; while a block is being executed, on this one.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// From the next block on, others vote.
    pub(crate) fn set_members(&mut self, members: Members) {
        for (address, _) in self.members.clone().iter() {
            if members.get(&address).is_none() {
                self.voters.remove(&address);
            }
        }
        for (address, member) in members.iter() {
            if self.members.get(&address) != Some(member) {
                self.voters.insert(address, member.clone());
            }
        }
        self.members = members;
    }

    /// For which member `author` makes batches: itself, or the one that enrolled it as a listening unit; nobody's batches
    /// count but these.
    pub fn provider(&self, author: &Address) -> Option<Address> {
        if self.members.get(author).is_some() {
            return Some(*author);
        }
        let unit = self.unit(author)?;
        let operator = unit.role.operator()?;
        self.members.get(&operator).map(|_| operator)
    }

    /// A listening unit that is not revoked.
    pub fn unit(&self, address: &Address) -> Option<&Vehicle> {
        let id = address.key_id();
        let unit = self
            .vehicle(&id)
            .filter(|known| known.role.is_unit() && !known.revoked)?;
        (self.vehicle_address(&id)? == *address).then_some(unit)
    }

    /// All listening units that are not revoked, in the order of their operators.
    pub fn units(&self) -> impl Iterator<Item = (Address, KeyId)> {
        self.units.iter().map(|(&unit, ())| unit)
    }

    /// How many listening units work for a member.
    pub(crate) fn units_of(&self, operator: Address) -> usize {
        let id = |byte| KeyId([byte; 8]);
        self.units.range((operator, id(0))..=(operator, id(0xff))).count()
    }

    /// When slot 0 and epoch 0 began.
    pub fn genesis_time(&self) -> Timestamp {
        self.genesis.time
    }

    /// The latest block's time; before the first block, the genesis'.
    pub fn time(&self) -> Timestamp {
        self.open.clock.get(&()).copied().unwrap_or(self.genesis.time)
    }

    /// The slot that a moment lies in; slot 0 for moments before genesis.
    pub fn slot_of(&self, at: Timestamp) -> Slot {
        Slot(self.count(at, self.params().slot_ms))
    }

    /// The epoch that a moment lies in; epoch 0 for moments before genesis.
    pub fn epoch_of(&self, at: Timestamp) -> Epoch {
        Epoch(self.count(at, self.params().epoch_ms))
    }

    fn count(&self, at: Timestamp, length_ms: u64) -> u32 {
        let since = at.since(self.genesis.time);
        u32::try_from(since / length_ms.max(1)).unwrap_or(u32::MAX)
    }

    /// The epoch that a slot is paid in.
    pub fn epoch_of_slot(&self, slot: Slot) -> Epoch {
        let epoch = u64::from(slot.0) / self.params().slots_per_epoch();
        Epoch(u32::try_from(epoch).unwrap_or(u32::MAX))
    }

    /// When the items of `kind` in `slot` are settled: when the last observation of them has gone stale.
    pub fn slot_due(&self, slot: Slot, kind: Kind) -> Timestamp {
        let end = u64::from(slot.0)
            .saturating_add(1)
            .saturating_mul(self.params().slot_ms);
        let wait = self.params().freshness_ms.get(kind);
        self.genesis.time.plus(end).plus(wait)
    }

    /// When `epoch` is closed: when all its items are settled.
    pub fn epoch_due(&self, epoch: Epoch) -> Timestamp {
        let end = u64::from(epoch.0)
            .saturating_add(1)
            .saturating_mul(self.params().epoch_ms);
        let wait = self.params().freshness_ms.max();
        self.genesis.time.plus(end).plus(wait)
    }

    /// Enrols without asking who wants it.
    pub(crate) fn enrol(
        &mut self,
        enrolment: &Enrolment,
        address: Address,
        enrolled_by: Option<Address>,
        height: Height,
    ) {
        let params = self.params();
        let vehicle = Vehicle {
            key: enrolment.key,
            group: enrolment.group,
            role: enrolment.role,
            enrolled_by,
            bond: Amount::ZERO,
            enrolled_at: height,
            revoked: false,
            standing: Standing {
                good: params.start_good,
                bad: params.start_bad,
                debt: 0,
                evaluated: 0,
            },
            quarantine: None::<Quarantine>,
            unvested: Amount::ZERO,
            vesting: Vesting::default(),
            earned: Amount::ZERO,
        };
        self.vehicles.insert(address.key_id(), vehicle);
        self.addresses.insert(address.key_id(), address);
        if let Role::Unit { operator } = enrolment.role {
            self.units.insert((operator, address.key_id()), ());
        }
        let mut books = self.books();
        books.vehicles = books
            .vehicles
            .saturating_add(u32::from(enrolment.role == Role::Vehicle));
        self.books.insert((), books);
    }

    /// Ends an enrolment for good, without asking who wants it; of what is not enrolled, nothing happens.
    pub(crate) fn revoke(&mut self, id: KeyId) {
        let enrolled = self.vehicle(&id).filter(|vehicle| !vehicle.revoked);
        let Some(mut vehicle) = enrolled.cloned() else {
            return;
        };
        vehicle.revoked = true;
        let role = vehicle.role;
        self.vehicles.insert(id, vehicle);
        self.return_bond(id);
        // It will not be heard again, so its replay window is not needed; every other vehicle's is kept for good.
        self.open.traces.remove(&id);
        self.open.false_claims.remove(&id);
        self.open.absolved.remove(&id);
        if let Role::Unit { operator } = role {
            self.units.remove(&(operator, id));
        }
        let mut books = self.books();
        books.vehicles = books.vehicles.saturating_sub(u32::from(role == Role::Vehicle));
        self.books.insert((), books);
    }

    /// Puts tokens into an account. The supply fits 62 bits, so a sum of tokens that exist always fits.
    pub(crate) fn credit(&mut self, address: Address, amount: Amount) {
        let mut account = self.account(&address);
        account.balance = sum(account.balance, amount);
        self.accounts.insert(address, account);
    }

    /// Takes tokens out of existence.
    pub(crate) fn burn(&mut self, amount: Amount) {
        let mut books = self.books();
        books.burned = sum(books.burned, amount);
        self.books.insert((), books);
    }

    /// All micro-tokens that somebody holds: in accounts, not vested, bonded, in the treasury and carried. Cost: a
    /// pass over accounts and vehicles.
    pub fn held(&self) -> u128 {
        let books = self.books();
        let accounts = self.accounts().map(|(_, account)| account.balance);
        let unvested = self.vehicles().map(|(_, vehicle)| vehicle.unvested);
        let own_bonds = self.vehicles().map(|(_, vehicle)| vehicle.bond);
        let bonds = self.open.claims.iter().map(|(_, claim)| claim.bond());
        let all = accounts
            .chain(unvested)
            .chain(own_bonds)
            .chain(bonds)
            .chain([books.treasury, books.carry]);
        all.map(|amount| u128::from(amount.micro())).sum()
    }

    /// Whether every promise about the whole holds. Cost: a pass over accounts and vehicles.
    ///
    /// # Errors
    ///
    /// The first [`Violation`] found.
    pub fn check(&self) -> Result<(), Violation> {
        let (books, held) = (self.books(), self.held());
        let mut found = 0usize;
        for (&vehicle, entry) in self.vehicles() {
            found += usize::from(!entry.revoked && entry.role == Role::Vehicle);
            let debt = entry.standing.debt;
            if debt > 0 {
                return Err(Violation::Debt { vehicle, debt });
            }
        }
        let (minted, burned) = (books.minted.micro(), books.burned.micro());
        if u128::from(minted) != held + u128::from(burned) {
            return Err(Violation::NotConserved { minted, burned, held });
        }
        if usize::try_from(books.vehicles) != Ok(found) {
            let counted = books.vehicles;
            return Err(Violation::Vehicles { counted, found });
        }
        Ok(())
    }
}

/// The sum of tokens that exist.
pub(crate) fn sum(one: Amount, other: Amount) -> Amount {
    one.checked_add(other)
        .expect("all tokens ever made fit 62 bits: Params::validate")
}
