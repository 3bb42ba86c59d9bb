//! A town to measure: vehicles, their reports, and what one signature check costs on this machine.

use milepost_incentives::{BlockInput, Genesis, HeardBatch, Params, State};
use milepost_wire::transaction::{Enrolment, Role};
use milepost_wire::{
    Address, Cell, ChainId, Heading, Height, Measure, Member, Members, Observation, Output, Place, Report,
    SecretKey, Sequence, Signed, Speed, Timestamp, Verified,
};

/// A genesis and its vehicles' keys.
pub(crate) struct Town {
    pub(crate) genesis: Genesis,
    pub(crate) keys: Vec<SecretKey>,
}

impl Town {
    pub(crate) fn new(vehicles: u64) -> Self {
        let keys: Vec<_> = (0..vehicles)
            .map(|seed| SecretKey::from_seed("bench", seed))
            .collect();
        let member = Member {
            key: SecretKey::from_seed("bench member", 0).public(),
            provider: "bench".into(),
            power: 1,
        };
        let enrolled = keys.iter().zip(0..).map(|(key, group)| Enrolment {
            key: key.public(),
            group,
            role: Role::Vehicle,
        });
        let genesis = Genesis {
            chain: ChainId::new("bench").expect("a chain id"),
            time: Timestamp::from_millis(700_000_000_000),
            members: Members::new(vec![member]).expect("one member"),
            access: milepost_wire::Access::default(),
            params: Params::default(),
            vehicles: enrolled.collect(),
        };
        Self { genesis, keys }
    }

    /// One report of every vehicle, `ms` after genesis, of `roads` roads each of a hundred.
    pub(crate) fn reports(&self, ms: u64, roads: usize) -> Vec<Verified<Report>> {
        let sent_at = self.genesis.time.plus(ms);
        let report = |(index, key): (usize, &SecretKey)| {
            let observation = |at: usize| Observation {
                cell: Cell::segment(&format!("road {}", (index + 7 * at) % 100)),
                place: Place::from_degrees(44.494, 11.343).expect("on the globe"),
                heading: Heading::UNAVAILABLE,
                age_ms: 100,
                measure: Measure::Speed(
                    Speed::from_cm_per_s(1_300 + (index * 31 % 200) as u16).expect("below the limit"),
                ),
            };
            let report = Report {
                version: Report::VERSION,
                vehicle: key.key_id(),
                sequence: Sequence(ms),
                sent_at,
                observations: (0..roads).map(observation).collect(),
            };
            Signed::sign(report, &self.genesis.chain, key)
        };
        self.keys.iter().enumerate().map(report).collect()
    }

    /// Executes a block `ms` after genesis.
    pub(crate) fn block(&self, state: &mut State, ms: u64, reports: &[Verified<Report>]) -> Vec<Output> {
        let batch = HeardBatch {
            author: Address([7; 20]),
            reports,
        };
        state.apply(&BlockInput {
            height: Height(1),
            time: self.genesis.time.plus(ms),
            transactions: &[],
            batches: &[batch],
        })
    }
}
