//! What came of it?
//!
//! The result of a run, in the shape that `--json` prints (`docs`, "What a run prints with --json"), as a table
//! for people, and as the two tables of `--out`. Plain data: [`crate::town`] and [`crate::demo`] fill it in.
//!
//! Floats are rounded to fixed decimals before they are written, and maps are ordered: equal results are equal
//! bytes.

pub mod kinds;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use milepost_obu::finality::Finality;
use milepost_wire::{Address, Hash, Kind};
use serde::Serialize;
use serde_json::Value;

use self::kinds::{CongestionFigures, HazardFigures, HumidityFigures, Row};
use crate::scenario::{Expectation, Range};
use crate::world::conditions::level;

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

/// How good the picture was, where vehicles spent at least so many seconds.
pub fn picture(items: &[Item], truth_min_vehicle_s: f64) -> PictureFigures {
    let all: Vec<Compared> = items
        .iter()
        .filter_map(|item| Compared::new(item, truth_min_vehicle_s))
        .collect();
    let covered: Vec<Compared> = all.iter().filter_map(Compared::heard).collect();
    // Of what nobody spoke of, free flow is the best guess that needs no past.
    let with_fallback: Vec<Compared> = all
        .iter()
        .map(|item| Compared {
            plain: item.plain.or(Some(item.free_flow)),
            ..*item
        })
        .collect();
    PictureFigures {
        items: items
            .iter()
            .filter(|item| item.published.is_some_and(|published| published.heard))
            .count(),
        coverage: round(covered.len() as f64 / all.len().max(1) as f64),
        speed_mae_kmh: mean(&covered, Compared::error),
        plain_mean_mae_kmh: mean(&covered, Compared::plain_error),
        speed_rmse_kmh: round(mean_of(&covered, |item| item.error().map(|error| error * error)).sqrt()),
        bias_kmh: mean(&covered, |item| Some(item.published?.kmh - item.truth)),
        interval_90_hit: mean(&covered, Compared::holds),
        weighted_mae_kmh: weighted(&covered, Compared::error),
        plain_mean_weighted_mae_kmh: weighted(&covered, Compared::plain_error),
        los_agreement: mean(&covered, Compared::level_is_right),
        plain_mean_los_agreement: mean(&covered, Compared::plain_level_is_right),
        all: AllFigures {
            items: all.len(),
            coverage: mean(&all, |item| Some(f64::from(u8::from(item.published.is_some())))),
            speed_mae_kmh: mean(&all, Compared::error),
            plain_mean_mae_kmh: mean(&with_fallback, Compared::plain_error),
            weighted_mae_kmh: weighted(&all, Compared::error),
            plain_mean_weighted_mae_kmh: weighted(&with_fallback, Compared::plain_error),
            interval_90_hit: mean(&all, Compared::holds),
            los_agreement: mean(&all, Compared::level_is_right),
        },
        ..PictureFigures::default()
    }
}

/// An item beside its truth, in km/h.
#[derive(Clone, Copy)]
struct Compared {
    published: Option<Published>,
    truth: f64,
    vehicle_s: f64,
    plain: Option<f64>,
    free_flow: f64,
}

impl Compared {
    fn new(item: &Item, truth_min_vehicle_s: f64) -> Option<Self> {
        let truth = item
            .truth
            .filter(|truth| truth.vehicle_s >= truth_min_vehicle_s)?;
        Some(Self {
            published: item.published,
            truth: truth.speed_kmh,
            vehicle_s: truth.vehicle_s,
            plain: item.plain_mean_kmh,
            free_flow: item.free_flow_kmh,
        })
    }

    fn heard(&self) -> Option<Self> {
        self.published.filter(|published| published.heard).map(|_| *self)
    }

    fn error(&self) -> Option<f64> {
        Some((self.published?.kmh - self.truth).abs())
    }

    fn plain_error(&self) -> Option<f64> {
        Some((self.plain? - self.truth).abs())
    }

    fn holds(&self) -> Option<f64> {
        let Published {
            low_kmh, high_kmh, ..
        } = self.published?;
        Some(f64::from(u8::from((low_kmh..=high_kmh).contains(&self.truth))))
    }

    fn level_is_right(&self) -> Option<f64> {
        Some(self.is_level(self.published?.kmh))
    }

    fn plain_level_is_right(&self) -> Option<f64> {
        Some(self.is_level(self.plain?))
    }

    fn is_level(&self, kmh: f64) -> f64 {
        f64::from(u8::from(
            level(kmh, self.free_flow) == level(self.truth, self.free_flow),
        ))
    }
}

/// The mean of what there is.
fn mean_of(items: &[Compared], of: impl Fn(&Compared) -> Option<f64>) -> f64 {
    let found: Vec<f64> = items.iter().filter_map(of).collect();
    found.iter().sum::<f64>() / found.len().max(1) as f64
}

fn mean(items: &[Compared], of: impl Fn(&Compared) -> Option<f64>) -> f64 {
    round(mean_of(items, of))
}

/// The mean of what there is by the seconds that vehicles spent there.
fn weighted(items: &[Compared], of: impl Fn(&Compared) -> Option<f64>) -> f64 {
    let found = items.iter().filter_map(|item| Some((of(item)?, item.vehicle_s)));
    let (sum, all) = found.fold((0.0, 0.0), |(sum, all), (value, seconds)| {
        (sum + value * seconds, all + seconds)
    });
    round(if all > 0.0 { sum / all } else { 0.0 })
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

    /// What was found of each expected figure.
    pub fn checked(&self, expect: &BTreeMap<String, Expectation>) -> Vec<Checked> {
        let all = serde_json::to_value(self).expect("plain data");
        let check = |(path, expected): (&String, &Expectation)| {
            let found = find(&all, path);
            Checked {
                path: path.clone(),
                found: found.map(Value::to_string),
                expected: describe(expected),
                is_met: found.is_some_and(|found| meets(found, expected)),
            }
        };
        expect.iter().map(check).collect()
    }

    /// The expectations that are not met, each with what was found.
    pub fn missed(&self, expect: &BTreeMap<String, Expectation>) -> Vec<String> {
        let checked = self.checked(expect);
        checked.iter().filter_map(Checked::missed).collect()
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<12}{value}");
        };
        line(
            "time",
            format!(
                "{} minutes, {} vehicles, seed {}",
                self.minutes, self.vehicles, self.seed
            ),
        );
        let (reports, picture, ledger) = (&self.reports, &self.picture, &self.ledger);
        line(
            "reports",
            format!("{} sent, {} on the ledger", reports.sent, reports.heard),
        );
        for (reason, count) in &reports.rejected {
            line("", format!("{count} {reason}"));
        }
        line(
            "picture",
            format!(
                "{} items, {:.1} % covered, error {:.2} km/h (plain mean {:.2}), 90 % interval holds {:.1} %",
                picture.items,
                100.0 * picture.coverage,
                picture.speed_mae_kmh,
                picture.plain_mean_mae_kmh,
                100.0 * picture.interval_90_hit
            ),
        );
        line(
            "",
            format!(
                "by vehicles {:.2} km/h (plain mean {:.2}); level of service {:.1} % right (plain mean {:.1} %)",
                picture.weighted_mae_kmh,
                picture.plain_mean_weighted_mae_kmh,
                100.0 * picture.los_agreement,
                100.0 * picture.plain_mean_los_agreement
            ),
        );
        line(
            "everywhere",
            format!(
                "{} items, error {:.2} km/h (plain mean or free flow {:.2}), by vehicles {:.2} ({:.2})",
                picture.all.items,
                picture.all.speed_mae_kmh,
                picture.all.plain_mean_mae_kmh,
                picture.all.weighted_mae_kmh,
                picture.all.plain_mean_weighted_mae_kmh
            ),
        );
        let beside = [
            ("congestion", picture.congestion.map(|figures| figures.line())),
            ("humidity", picture.humidity.map(|figures| figures.line())),
            ("hazards", picture.hazards.map(|figures| figures.line())),
        ];
        for (name, text) in beside {
            if let Some(text) = text {
                line(name, text);
            }
        }
        for fleet in &self.fleets {
            line(
                "fleet",
                format!(
                    "{:>4} {:<11} {:>10.3} tokens each, reputation {:.2}, {} quarantined, {} released",
                    fleet.count,
                    fleet.behaviour,
                    fleet.paid_mean,
                    fleet.reputation_mean,
                    fleet.quarantined,
                    fleet.released
                ),
            );
        }
        if let Some(ratio) = self.honest_ratio() {
            line("", format!("an honest vehicle earned {ratio} as much as a liar"));
        }
        let rewards = &self.rewards;
        line(
            "tokens",
            format!(
                "{:.3} minted: {:.3} to vehicles, {:.3} to operators, {:.3} in the treasury, {:.3} carried, {:.3} burned",
                rewards.minted,
                rewards.vehicles,
                rewards.operators,
                rewards.treasury,
                rewards.carry,
                rewards.burned
            ),
        );
        line(
            "ledger",
            format!(
                "{} blocks, {:.1} a minute, {:.1} reports each, {} kB; final after {} ms (99 %: {}, all: {})",
                ledger.height,
                ledger.blocks_per_minute,
                ledger.reports_per_block,
                ledger.bytes / 1000,
                ledger.finality_ms.p50,
                ledger.finality_ms.p99,
                ledger.finality_ms.max
            ),
        );
        for member in &self.members {
            line(
                "member",
                format!(
                    "{} at height {}, state {:?}",
                    member.id, member.height, member.state_root
                ),
            );
        }
        for (fault, count) in &self.faults {
            line("fault", format!("{fault}: {count}"));
        }
        let holds = |held: bool| if held { "holds" } else { "BROKEN" };
        let invariants = &self.invariants;
        line(
            "invariants",
            format!(
                "conservation {}, agreement {}, paid once {}, no equivocation {}, replay {}, certificates {}, progress {}",
                holds(invariants.conservation),
                holds(invariants.agreement),
                holds(invariants.paid_once),
                holds(invariants.no_equivocation),
                holds(invariants.replay_equal),
                holds(invariants.certified),
                holds(invariants.progress)
            ),
        );
        text
    }

    /// How many times as much an honest vehicle earned as one of the others, on average.
    fn honest_ratio(&self) -> Option<String> {
        let mean = |honest: bool| {
            let fleets = self
                .fleets
                .iter()
                .filter(|fleet| (fleet.behaviour == "honest") == honest);
            let (paid, count) = fleets.fold((0.0, 0.0), |(paid, count), fleet| {
                (
                    paid + fleet.paid_mean * fleet.count as f64,
                    count + fleet.count as f64,
                )
            });
            (count > 0.0).then(|| paid / count)
        };
        let (honest, liars) = (mean(true)?, mean(false)?);
        Some(if liars > 0.0 {
            format!("{:.1} times", honest / liars)
        } else {
            "infinitely".into()
        })
    }
}

/// An expected figure, and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Where it stands in what `--json` prints.
    pub path: String,
    /// As `--json` prints it; `None` where there is no such figure.
    pub found: Option<String>,
    /// In words.
    pub expected: String,
    /// Whether it is as expected.
    pub is_met: bool,
}

impl Checked {
    /// What is wrong, in one line; `None` where nothing is.
    pub fn missed(&self) -> Option<String> {
        let Self { path, expected, .. } = self;
        (!self.is_met).then(|| match &self.found {
            None => format!("{path}: there is no such figure"),
            Some(found) => format!("{path} is {found}, expected {expected}"),
        })
    }
}

/// A figure by its dotted path. A step into a list is an index, or the `behaviour` or `id` of an entry.
fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, step| match value {
        Value::Array(entries) => match step.parse::<usize>() {
            Ok(index) => entries.get(index),
            Err(_) => entries.iter().find(|entry| {
                ["behaviour", "id"]
                    .iter()
                    .any(|name| entry.get(name).is_some_and(|text| text == step))
            }),
        },
        _ => value.get(step),
    })
}

fn meets(found: &Value, expected: &Expectation) -> bool {
    match expected {
        Expectation::Bool(expected) => found.as_bool() == Some(*expected),
        Expectation::Text(expected) => found.as_str() == Some(expected),
        Expectation::Number(expected) => found
            .as_f64()
            .is_some_and(|found| (found - expected).abs() < 1e-9),
        Expectation::Range(Range { min, max }) => found
            .as_f64()
            .is_some_and(|found| min.is_none_or(|min| found >= min) && max.is_none_or(|max| found <= max)),
    }
}

fn describe(expected: &Expectation) -> String {
    match expected {
        Expectation::Bool(expected) => expected.to_string(),
        Expectation::Number(expected) => expected.to_string(),
        Expectation::Text(expected) => format!("{expected:?}"),
        Expectation::Range(Range {
            min: Some(min),
            max: Some(max),
        }) => format!("{min} to {max}"),
        Expectation::Range(Range {
            min: Some(min),
            max: None,
        }) => format!("at least {min}"),
        Expectation::Range(Range {
            min: None,
            max: Some(max),
        }) => format!("at most {max}"),
        Expectation::Range(Range { min: None, max: None }) => "a number".into(),
    }
}

/// `items.csv`: speed, then the other kinds. Those leave the columns in km/h empty; the last five columns are the same for
/// all.
pub fn items_csv(items: &[Item], beside: &[Row]) -> String {
    let mut text = String::from(
        "place,kind,slot_begin_s,slot_end_s,estimate_kmh,low_kmh,high_kmh,vehicles,truth_kmh,truth_vehicle_s,unit,estimate,low,high,truth\n",
    );
    for item in items {
        let Item {
            place,
            slot_begin_s,
            slot_end_s,
            ..
        } = item;
        let estimate = item.published.map_or_else(
            || ",,".to_owned(),
            |Published {
                 kmh,
                 low_kmh,
                 high_kmh,
                 ..
             }| { format!("{kmh:.3},{low_kmh:.3},{high_kmh:.3}") },
        );
        let vehicles = item.published.map_or(0, |published| published.vehicles);
        let truth = item
            .truth
            .map_or_else(String::new, |truth| format!("{:.3}", truth.speed_kmh));
        let vehicle_s = round(item.truth.map_or(0.0, |truth| truth.vehicle_s));
        let _ = writeln!(
            text,
            "{},{},{slot_begin_s},{slot_end_s},{estimate},{vehicles},{truth},{vehicle_s},{},{estimate},{truth}",
            quoted(place),
            Kind::Speed,
            kinds::unit(Kind::Speed)
        );
    }
    kinds::write_rows(&mut text, beside);
    text
}

/// `vehicles.csv`.
pub fn vehicles_csv(vehicles: &[VehicleRow]) -> String {
    let mut text =
        String::from("vehicle,behaviour,paid,reputation,quarantined,epoch_quarantined,epoch_released\n");
    let epoch = |epoch: Option<u32>| epoch.map_or_else(String::new, |epoch| epoch.to_string());
    for row in vehicles {
        let _ = writeln!(
            text,
            "{},{},{:.6},{:.4},{},{},{}",
            quoted(&row.vehicle),
            row.behaviour,
            row.paid,
            row.reputation,
            row.quarantined,
            epoch(row.epoch_quarantined),
            epoch(row.epoch_released)
        );
    }
    text
}

/// A name as RFC 4180 wants it.
fn quoted(name: &str) -> String {
    if name.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Truth;

    fn figures() -> Figures {
        Figures {
            seed: 1,
            minutes: 1.0,
            vehicles: 2,
            members: vec![],
            reports: ReportFigures::default(),
            picture: PictureFigures {
                speed_mae_kmh: 2.5,
                ..PictureFigures::default()
            },
            fleets: fleets(&[], &[("honest".into(), vec![]), ("bias".into(), vec![])]),
            rewards: RewardFigures::default(),
            ledger: LedgerFigures::default(),
            faults: BTreeMap::new(),
            invariants: Invariants::HOLD,
            state_root: Hash::ZERO,
        }
    }

    #[test]
    fn a_missed_expectation_says_which_and_what_was_found() {
        let range = |min, max| Expectation::Range(Range { min, max });
        let expect = BTreeMap::from([
            ("picture.speed_mae_kmh".to_owned(), range(None, Some(2.0))),
            ("picture.items".to_owned(), Expectation::Number(0.0)),
            ("invariants.agreement".to_owned(), Expectation::Bool(true)),
            ("fleets.bias.count".to_owned(), range(Some(1.0), None)),
            ("fleets.0.count".to_owned(), Expectation::Number(0.0)),
            ("picture.colour".to_owned(), Expectation::Bool(true)),
        ]);
        assert_eq!(
            figures().missed(&expect),
            [
                "fleets.bias.count is 0, expected at least 1",
                "picture.colour: there is no such figure",
                "picture.speed_mae_kmh is 2.5, expected at most 2",
            ]
        );
    }

    fn item(kmh: Option<f64>, truth_kmh: f64) -> Item {
        Item {
            place: "a,b".into(),
            slot_begin_s: 60,
            slot_end_s: 120,
            published: kmh.map(|kmh| Published {
                kmh,
                low_kmh: kmh - 2.0,
                high_kmh: kmh + 2.0,
                vehicles: 3,
                heard: true,
            }),
            free_flow_kmh: 60.0,
            truth: Some(Truth {
                speed_kmh: truth_kmh,
                vehicle_s: 7.0,
            }),
            plain_mean_kmh: kmh.map(|kmh| kmh + 1.0),
        }
    }

    #[test]
    fn the_pictures_error_is_that_of_covered_items() {
        let picture = picture(
            &[item(Some(50.0), 51.0), item(Some(40.0), 37.0), item(None, 10.0)],
            1.0,
        );
        assert_eq!((picture.items, picture.coverage), (2, 0.6667));
        assert_eq!(
            (picture.speed_mae_kmh, picture.bias_kmh, picture.interval_90_hit),
            (2.0, 1.0, 0.5)
        );
        assert_eq!(picture.plain_mean_mae_kmh, 2.0);
        assert_eq!(picture.los_agreement, 1.0, "50 and 51 of 60 are B, 40 and 37 C");
        assert_eq!(picture.plain_mean_los_agreement, 0.5, "41 of 60 is B, 37 is C");
    }

    #[test]
    fn what_nobody_spoke_of_counts_over_all_and_what_nobody_drove_on_nowhere() {
        let mut unheard = item(Some(30.0), 34.0);
        unheard.published.as_mut().expect("some").heard = false;
        unheard.plain_mean_kmh = None;
        let mut brief = item(Some(90.0), 10.0);
        brief.truth.as_mut().expect("some").vehicle_s = 0.5;
        let picture = picture(&[item(Some(50.0), 51.0), unheard, brief], 1.0);
        assert_eq!((picture.coverage, picture.speed_mae_kmh), (0.5, 1.0));
        assert_eq!((picture.all.items, picture.all.coverage), (2, 1.0));
        assert_eq!(picture.all.speed_mae_kmh, 2.5);
        assert_eq!(
            picture.all.plain_mean_mae_kmh, 13.0,
            "0 and, from free flow at 60, 26"
        );
    }

    #[test]
    fn a_table_leaves_empty_what_was_not_published() {
        let text = items_csv(&[item(Some(50.0), 51.0), item(None, 10.0)], &[]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1],
            "\"a,b\",speed,60,120,50.000,48.000,52.000,3,51.000,7,km/h,50.000,48.000,52.000,51.000"
        );
        assert_eq!(lines[2], "\"a,b\",speed,60,120,,,,0,10.000,7,km/h,,,,10.000");
    }

    #[test]
    fn equal_pay_has_no_gini_and_one_that_has_all_nearly_one() {
        assert_eq!(gini([3.0; 5].into_iter()), 0.0);
        assert_eq!(gini([0.0, 0.0, 0.0, 8.0].into_iter()), 0.75);
        assert_eq!(gini(std::iter::empty()), 0.0);
    }
}
