//! What do tests speak of?
//!
//! Keys, places, reports and ledgers that are the same in every test.

use std::sync::Arc;

use milepost_incentives::{Genesis, Params};
use milepost_node::store::Store;
use milepost_node::{Input, Node, Now, Output, VerifiedBatch, View};
use milepost_wire::state::{Standing, Vehicle, Vesting};
use milepost_wire::transaction::{Enrolment, Role};
use milepost_wire::{
    Address, Amount, Cell, ChainId, Heading, Height, Measure, Member, Members, Observation, Place, Report,
    SecretKey, Sequence, Signed, Speed, Timestamp, Verified,
};

/// When tests take place.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(700_000_000_000);

pub(crate) fn chain() -> ChainId {
    ChainId::new("test").expect("a chain id")
}

pub(crate) fn member_key(seed: u64) -> SecretKey {
    SecretKey::from_seed("member", seed)
}

pub(crate) fn member(seed: u64) -> Address {
    member_key(seed).address()
}

pub(crate) fn vehicle_key(seed: u64) -> SecretKey {
    SecretKey::from_seed("vehicle", seed)
}

pub(crate) fn vehicle(seed: u64) -> Vehicle {
    Vehicle {
        key: vehicle_key(seed).public(),
        group: seed,
        role: Role::Vehicle,
        enrolled_by: None,
        bond: Amount::ZERO,
        enrolled_at: Height::ZERO,
        revoked: false,
        standing: Standing {
            good: 65_536,
            bad: 3 * 65_536,
            debt: 0,
            evaluated: 0,
        },
        quarantine: None,
        unvested: Amount::ZERO,
        vesting: Vesting::default(),
        earned: Amount::ZERO,
    }
}

/// A drive through Bologna at `speed_cm_per_s`, seen `age_ms` before it is told.
pub(crate) fn observation(speed_cm_per_s: u16, age_ms: u16) -> Observation {
    let place = Place::from_degrees(44.494, 11.343).expect("on the globe");
    let heading = Heading::from_degrees(90.0);
    Observation {
        cell: Cell::at(place, heading),
        place,
        heading,
        age_ms,
        measure: Measure::Speed(Speed::from_cm_per_s(speed_cm_per_s).expect("a speed")),
    }
}

pub(crate) fn report_of(
    vehicle: u64,
    sequence: u64,
    sent_at: Timestamp,
    observations: Vec<Observation>,
) -> Verified<Report> {
    let key = vehicle_key(vehicle);
    let report = Report {
        version: Report::VERSION,
        vehicle: key.key_id(),
        sequence: Sequence(sequence),
        sent_at,
        observations,
    };
    Signed::sign(report, &chain(), &key)
}

pub(crate) fn report(vehicle: u64, sequence: u64) -> Verified<Report> {
    report_of(vehicle, sequence, NOW, vec![observation(1400, 0)])
}

/// A chain of `members` members with vehicles 0 to 9, which began a minute before [`NOW`].
pub(crate) fn genesis(members: u64) -> Genesis {
    let members = (0..members).map(|seed| Member {
        key: member_key(seed).public(),
        provider: format!("provider-{seed}"),
        power: 1,
    });
    let vehicles = (0..10).map(|seed| Enrolment {
        key: vehicle_key(seed).public(),
        group: seed,
        role: Role::Vehicle,
    });
    Genesis {
        chain: chain(),
        time: NOW.minus(60_000),
        members: Members::new(members.collect()).expect("members"),
        access: milepost_wire::Access::default(),
        params: Params {
            slot_ms: 10_000,
            epoch_ms: 60_000,
            ..Params::default()
        },
        vehicles: vehicles.collect(),
    }
}

/// The ledger of a consortium of one, which agrees with itself in virtual time.
pub(crate) struct Ledger<S> {
    node: Node<S>,
    now: Now,
}

impl<S: Store> Ledger<S> {
    pub(crate) fn open(store: S) -> Self {
        let now = Now {
            mono_ms: 0,
            wall: NOW,
        };
        let (node, _) = Node::open(
            &genesis(1),
            member_key(0),
            milepost_node::Settings::default(),
            store,
            now,
        )
        .expect("an empty store");
        Self { node, now }
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.node.view()
    }

    /// Commits the next block, with `batch` in it where there is one.
    pub(crate) fn commit(&mut self, batch: Option<Arc<VerifiedBatch>>) -> Arc<View> {
        let mut input = batch.map_or(Input::Wake, Input::Batch);
        for _ in 0..1000 {
            let outputs = self.node.handle(self.now, input).expect("a sound store");
            for output in outputs {
                if let Output::Committed(view) = output {
                    return view;
                }
            }
            let wait_ms = self.node.wake_at().saturating_sub(self.now.mono_ms);
            self.now.mono_ms += wait_ms;
            self.now.wall = self.now.wall.plus(wait_ms);
            input = Input::Wake;
        }
        panic!("a lone member decides by itself");
    }
}
