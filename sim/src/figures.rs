//! What came of it?
//!
//! The result of a run, in the shape that `--json` prints (`docs`, "What a run prints with --json"), as a table
//! for people, and as the two tables of `--out`. Plain data: [`crate::town`] and [`crate::demo`] fill it in.
//!
//! Floats are rounded to fixed decimals before they are written, and maps are ordered: equal results are equal
//! bytes.

mod csv;
mod expected;
pub mod kinds;
mod picture;
#[cfg(test)]
mod samples;
mod table;

pub use csv::{items_csv, vehicles_csv};
pub use expected::Checked;
pub use picture::picture;

use std::collections::BTreeMap;

use milepost_obu::finality::Finality;
use milepost_wire::{Address, Hash};
use serde::Serialize;

use self::kinds::{CongestionFigures, HazardFigures, HumidityFigures};
use crate::insider::Conduct;

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Where chance came from.
    pub seed: u64,
    /// How long it lasted.
    pub minutes: f64,
    /// Vehicles that reported.
    pub vehicles: usize,
    /// The members, in the order of the scenario.
    pub members: Vec<MemberFigures>,
    /// What became of reports.
    pub reports: ReportFigures,
    /// How good the final picture was.
    pub picture: PictureFigures,
    /// What became of the fleets, in the order of the scenario.
    pub fleets: Vec<FleetFigures>,
    /// What members got out of meaning ill by vehicles, in the order of the scenario.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub insiders: Vec<InsiderFigures>,
    /// What became of the tokens.
    pub rewards: RewardFigures,
    /// What became of the ledger.
    pub ledger: LedgerFigures,
    /// How often each fault struck, and what it cost.
    pub faults: BTreeMap<&'static str, u64>,
    /// Whether what must hold held.
    pub invariants: Invariants,
    /// The state that all members share.
    pub state_root: Hash,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemberFigures {
    /// Its address.
    pub id: Address,
    /// How many blocks it has.
    pub height: u64,
    /// Its state after them.
    pub state_root: Hash,
}

/// What became of reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReportFigures {
    /// Reports that vehicles sent, each once however often it was repeated.
    pub sent: u64,
    /// Reports that the ledger executed, each once.
    pub heard: u64,
    /// Messages that a unit refused, and reports that the ledger did not count, by reason. A message that several
    /// units refuse counts several times.
    pub rejected: BTreeMap<String, u64>,
}

/// How good the final picture was. Speeds in km/h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PictureFigures {
    /// Figures published: a road and a slot.
    pub items: usize,
    /// The share of roads and slots with a truth that have one.
    pub coverage: f64,
    /// Mean absolute error.
    pub speed_mae_kmh: f64,
    /// The same, had the reporters' speeds simply been averaged.
    pub plain_mean_mae_kmh: f64,
    /// Root of the mean squared error.
    pub speed_rmse_kmh: f64,
    /// Mean error: above 0, the picture is too fast.
    pub bias_kmh: f64,
    /// The share of truths within the published 90 % interval.
    pub interval_90_hit: f64,
    /// Mean absolute error, weighed by the seconds that vehicles spent there.
    pub weighted_mae_kmh: f64,
    /// The same, had the reporters' speeds simply been averaged.
    pub plain_mean_weighted_mae_kmh: f64,
    /// The share of level-of-service letters that are right.
    pub los_agreement: f64,
    /// The same, had the reporters' speeds simply been averaged.
    pub plain_mean_los_agreement: f64,
    /// Over all roads and slots, those included of which nobody spoke.
    pub all: AllFigures,
    /// Of congestion, where vehicles report it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub congestion: Option<CongestionFigures>,
    /// Of the roads' humidity, where vehicles report it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub humidity: Option<HumidityFigures>,
    /// Of dangers, where vehicles report them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hazards: Option<HazardFigures>,
}

/// How good the picture was over all roads and slots that somebody drove on, whether heard of or not. Of the latter the
/// ledger says what it knows from before, and the plain mean is taken to say the road's free-flow speed, which
/// nobody but the world knows. Speeds in km/h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct AllFigures {
    /// Roads and slots with a truth.
    pub items: usize,
    /// The share of them of which something was said.
    pub coverage: f64,
    /// Mean absolute error.
    pub speed_mae_kmh: f64,
    /// That of the plain mean with free flow where nobody spoke.
    pub plain_mean_mae_kmh: f64,
    /// Mean absolute error, weighed by the seconds that vehicles spent there.
    pub weighted_mae_kmh: f64,
    /// That of the plain mean with free flow where nobody spoke.
    pub plain_mean_weighted_mae_kmh: f64,
    /// The share of truths within the 90 % interval.
    pub interval_90_hit: f64,
    /// The share of level-of-service letters that are right.
    pub los_agreement: f64,
}

/// One fleet. Amounts in tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FleetFigures {
    /// What it does.
    pub behaviour: String,
    /// How many vehicles.
    pub count: usize,
    /// What one vehicle was paid on average.
    pub paid_mean: f64,
    /// The share of all pay.
    pub paid_share: f64,
    /// Mean reputation at the end, 0 to 1.
    pub reputation_mean: f64,
    /// Vehicles that were ever quarantined.
    pub quarantined: usize,
    /// Vehicles that were released again.
    pub released: usize,
    /// In which epoch half of the quarantined ones were.
    pub quarantine_epoch_median: Option<f64>,
}

/// One insider. Amounts in tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InsiderFigures {
    /// Which member.
    pub member: usize,
    /// What it does.
    pub conduct: Conduct,
    /// What it was paid as an operator.
    pub paid: f64,
    /// How many vehicles are its rival's.
    pub rivals: usize,
    /// What one of these was paid on average.
    pub rivals_paid_mean: f64,
    /// What one of the other vehicles was paid on average.
    pub others_paid_mean: f64,
    /// How many of the rival's ever were in quarantine.
    pub rivals_quarantined: usize,
}

/// What became of the tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RewardFigures {
    /// Made.
    pub minted: f64,
    /// Paid to vehicles.
    pub vehicles: f64,
    /// Paid to operators.
    pub operators: f64,
    /// What the consortium holds.
    pub treasury: f64,
    /// Kept for the next epoch.
    pub carry: f64,
    /// Destroyed.
    pub burned: f64,
    /// How unequally honest vehicles were paid: 0 all the same, 1 one has all.
    pub gini_honest: f64,
}

/// What became of the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LedgerFigures {
    /// Blocks at the end, of the member with most.
    pub height: u64,
    /// Blocks a minute.
    pub blocks_per_minute: f64,
    /// From a report's first sending until its block is decided.
    pub finality_ms: Finality,
    /// Bytes of all blocks, certificates and batches.
    pub bytes: u64,
    /// Reports in a block, on average.
    pub reports_per_block: f64,
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Invariants {
    /// minted − burned was held, after every block.
    pub conservation: bool,
    /// Members never had two blocks, or two states, at one height, nor a block that nobody proposed.
    pub agreement: bool,
    /// No report counted twice, and every payment is what the rules give.
    pub paid_once: bool,
    /// No member voted for two things in one step.
    pub no_equivocation: bool,
    /// Replaying the chain gives the same state.
    pub replay_equal: bool,
    /// Every certificate that a member keeps verifies.
    pub certified: bool,
    /// After the last fault the chain went on, with every honest member.
    pub progress: bool,
}

impl Invariants {
    /// As long as nothing is broken.
    pub const HOLD: Self = Self {
        conservation: true,
        agreement: true,
        paid_once: true,
        no_equivocation: true,
        replay_equal: true,
        certified: true,
        progress: true,
    };

    /// Whether all hold.
    pub const fn all(&self) -> bool {
        self.is_safe() && self.progress
    }

    /// Whether all hold but that the chain goes on.
    pub const fn is_safe(&self) -> bool {
        self.conservation
            && self.agreement
            && self.paid_once
            && self.no_equivocation
            && self.replay_equal
            && self.certified
    }
}

/// One road and slot: a line of `items.csv`.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The road's name.
    pub place: String,
    /// When the slot began, by the world's own clock.
    pub slot_begin_s: u64,
    /// When it ended.
    pub slot_end_s: u64,
    /// What was published, or was known from before.
    pub published: Option<Published>,
    /// How it was; `None` where nobody came by.
    pub truth: Option<crate::world::Truth>,
    /// How it is when nothing is in the way, in km/h.
    pub free_flow_kmh: f64,
    /// The plain mean of what the reporters said.
    pub plain_mean_kmh: Option<f64>,
}

/// A published figure, in km/h.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Published {
    /// The estimate.
    pub kmh: f64,
    /// The 90 % interval's lower end.
    pub low_kmh: f64,
    /// Its upper end.
    pub high_kmh: f64,
    /// On how many vehicles it rests.
    pub vehicles: u32,
    /// Whether somebody spoke of it; otherwise it is what was known from before.
    pub heard: bool,
}

/// One vehicle: a line of `vehicles.csv`.
#[derive(Clone, Debug, PartialEq)]
pub struct VehicleRow {
    /// Its name in the world.
    pub vehicle: String,
    /// What it does.
    pub behaviour: String,
    /// What it was paid, in tokens.
    pub paid: f64,
    /// Its reputation at the end, 0 to 1.
    pub reputation: f64,
    /// Whether it is quarantined at the end.
    pub quarantined: bool,
    /// When it first was.
    pub epoch_quarantined: Option<u32>,
    /// When it last was released.
    pub epoch_released: Option<u32>,
}

/// What became of each fleet, given its name and its vehicles.
pub fn fleets(vehicles: &[VehicleRow], fleets: &[(String, Vec<usize>)]) -> Vec<FleetFigures> {
    let all: f64 = vehicles.iter().map(|vehicle| vehicle.paid).sum();
    fleets
        .iter()
        .map(|(behaviour, own)| {
            let own: Vec<&VehicleRow> = own.iter().map(|vehicle| &vehicles[*vehicle]).collect();
            let count = own.len();
            let paid: f64 = own.iter().map(|vehicle| vehicle.paid).sum();
            let reputation: f64 = own.iter().map(|vehicle| vehicle.reputation).sum();
            let mut epochs: Vec<u32> = own
                .iter()
                .filter_map(|vehicle| vehicle.epoch_quarantined)
                .collect();
            epochs.sort_unstable();
            FleetFigures {
                behaviour: behaviour.clone(),
                count,
                paid_mean: round6(paid / count.max(1) as f64),
                paid_share: round(if all > 0.0 { paid / all } else { 0.0 }),
                reputation_mean: round(reputation / count.max(1) as f64),
                quarantined: epochs.len(),
                released: own
                    .iter()
                    .filter(|vehicle| vehicle.epoch_released.is_some())
                    .count(),
                quarantine_epoch_median: median(&epochs),
            }
        })
        .collect()
}

fn median(sorted: &[u32]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = f64::from(*sorted.get(middle)?);
    Some(if sorted.len() % 2 == 1 {
        upper
    } else {
        (f64::from(sorted[middle - 1]) + upper) / 2.0
    })
}

/// The Gini coefficient of what vehicles were paid.
pub fn gini(paid: impl Iterator<Item = f64>) -> f64 {
    let mut paid: Vec<f64> = paid.collect();
    paid.sort_by(f64::total_cmp);
    let (count, sum) = (paid.len() as f64, paid.iter().sum::<f64>());
    if sum <= 0.0 {
        return 0.0;
    }
    let weighted: f64 = paid
        .iter()
        .enumerate()
        .map(|(rank, paid)| (2.0 * rank as f64 - count + 1.0) * paid)
        .sum();
    round(weighted / (count * sum))
}

/// Four decimals: a hundredth of a per cent, or four inches an hour.
pub fn round(value: f64) -> f64 {
    // Adding zero turns a negative zero into a positive one.
    (value * 1e4).round() / 1e4 + 0.0
}

/// Six decimals: micro-tokens.
pub fn round6(value: f64) -> f64 {
    (value * 1e6).round() / 1e6 + 0.0
}

/// Micro-tokens as tokens.
pub fn tokens(micro: u64) -> f64 {
    micro as f64 / 1e6
}

impl Figures {
    /// One JSON object.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_pay_has_no_gini_and_one_that_has_all_nearly_one() {
        assert_eq!(gini([3.0; 5].into_iter()), 0.0);
        assert_eq!(gini([0.0, 0.0, 0.0, 8.0].into_iter()), 0.75);
        assert_eq!(gini(std::iter::empty()), 0.0);
    }
}
