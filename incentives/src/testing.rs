//! A town for the tests: members, vehicles and their keys, from seeds; and a chain of blocks in it.

use milepost_wire::transaction::{Enrolment, Role};
use milepost_wire::{
    Action, Address, Cell, ChainId, Heading, Height, Measure, Member, Members, Observation, Output, Place,
    Report, SecretKey, Sequence, Signed, Speed, Timestamp, Transaction, Verified,
};

use crate::transact::{Rejected, execute};
use crate::{BlockInput, Genesis, HeardBatch, Params, State, proposal};

/// A genesis, and the keys of all who appear in it.
pub(crate) struct Town {
    pub(crate) genesis: Genesis,
    pub(crate) members: Vec<SecretKey>,
    pub(crate) keys: Vec<SecretKey>,
}

/// When every town begins, in ms.
pub(crate) const START_MS: u64 = 700_000_000_000;

impl Town {
    /// With four members and this many vehicles, each a group of its own.
    pub(crate) fn new(vehicles: u64) -> Self {
        Self::with(vehicles, Params::default())
    }

    pub(crate) fn with(vehicles: u64, params: Params) -> Self {
        let members: Vec<_> = (0..4)
            .map(|seed| SecretKey::from_seed("town member", seed))
            .collect();
        let keys: Vec<_> = (0..vehicles)
            .map(|seed| SecretKey::from_seed("town vehicle", seed))
            .collect();
        let listed = members.iter().zip(0..).map(|(key, nth)| Member {
            key: key.public(),
            provider: format!("provider {nth}"),
            power: 1,
        });
        let enrolled = keys.iter().zip(0..).map(|(key, group)| Enrolment {
            key: key.public(),
            group,
            role: Role::Vehicle,
        });
        let genesis = Genesis {
            chain: ChainId::new("town").expect("a chain id"),
            time: Timestamp::from_millis(START_MS),
            members: Members::new(listed.collect()).expect("four members"),
            access: milepost_wire::Access::default(),
            params,
            vehicles: enrolled.collect(),
        };
        Self {
            genesis,
            members,
            keys,
        }
    }

    /// `ms` after the beginning.
    pub(crate) fn at(&self, ms: u64) -> Timestamp {
        self.genesis.time.plus(ms)
    }

    pub(crate) fn report(
        &self,
        vehicle: usize,
        sequence: u64,
        sent_at: Timestamp,
        observations: Vec<Observation>,
    ) -> Verified<Report> {
        let key = &self.keys[vehicle];
        let report = Report {
            version: Report::VERSION,
            vehicle: key.key_id(),
            sequence: Sequence(sequence),
            sent_at,
            observations,
        };
        Signed::sign(report, &self.genesis.chain, key)
    }

    pub(crate) fn transaction(&self, key: &SecretKey, transaction: Transaction) -> Verified<Transaction> {
        Signed::sign(transaction, &self.genesis.chain, key)
    }

    /// Executes a block in which the first member heard `reports`.
    pub(crate) fn block(
        &self,
        state: &mut State,
        time: Timestamp,
        reports: &[Verified<Report>],
    ) -> Vec<Output> {
        let batch = HeardBatch {
            author: self.members[0].address(),
            reports,
        };
        state.apply(&BlockInput {
            height: Height(1),
            time,
            transactions: &[],
            batches: &[batch],
        })
    }
}

/// A town's ledger, of which only what is asked for and decided matters. Modules add the questions of their own.
pub(crate) struct Chain {
    pub(crate) town: Town,
    pub(crate) state: State,
    /// Of the block that comes next.
    pub(crate) height: u64,
}

impl Chain {
    /// From the town's genesis, as if `height` came next.
    pub(crate) fn new(town: Town, height: u64) -> Self {
        let state = State::genesis(&town.genesis);
        Self { town, state, height }
    }

    pub(crate) fn address(&self, member: usize) -> Address {
        self.town.members[member].address()
    }

    /// What the owner of `key` asks for next.
    pub(crate) fn transaction(&self, key: &SecretKey, action: Action) -> Transaction {
        let (from, nonce) = (key.public(), self.state.account(&key.address()).nonce);
        Transaction { from, nonce, action }
    }

    /// Asks in the block that comes next, and leaves it open.
    pub(crate) fn ask(
        &mut self,
        key: &SecretKey,
        action: Action,
        outputs: &mut Vec<Output>,
    ) -> Result<(), Rejected> {
        let transaction = self.transaction(key, action);
        let before: Vec<_> = self.state.open_entries().collect();
        let done = execute(&mut self.state, Height(self.height), &transaction, outputs);
        if done.is_err() {
            assert!(self.state.open_entries().eq(before), "on Err, nothing has moved");
        }
        done
    }

    /// Ends so many blocks.
    pub(crate) fn pass(&mut self, blocks: u64) {
        for _ in 0..blocks {
            proposal::end_block(&mut self.state, Height(self.height));
            self.height += 1;
        }
    }
}

/// A cell by number.
pub(crate) fn cell(number: usize) -> Cell {
    Cell::segment(&format!("road {number}"))
}

/// Something seen in the middle of Bologna.
pub(crate) fn seen(cell: Cell, age_ms: u16, measure: Measure) -> Observation {
    Observation {
        cell,
        place: Place::from_degrees(44.494, 11.343).expect("on the globe"),
        heading: Heading::UNAVAILABLE,
        age_ms,
        measure,
    }
}

/// A speed, clamped to what is possible.
pub(crate) fn speed(cm_per_s: i64) -> Measure {
    let clamped = cm_per_s.clamp(0, 6_999) as u16;
    Measure::Speed(Speed::from_cm_per_s(clamped).expect("below the limit"))
}
