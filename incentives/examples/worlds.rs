//! Prints small random worlds, one JSON object a line, with all that the ledger made of them.
//!
//! `incentives/model/model.py` reads them, reckons pay and reputation by itself, and compares:
//!
//! ```sh
//! cargo run --release -p milepost-incentives --example worlds -- 50 | python3 incentives/model/model.py
//! ```
//!
//! A world is a pure function of its number. What is published is given to the model rather than compared: how good
//! a figure is, `milepost-sim` measures.

use std::collections::BTreeMap;
use std::io::Write;

use milepost_incentives::params::PerKind;
use milepost_incentives::{BlockInput, Genesis, HeardBatch, Params, State};
use milepost_wire::transaction::{Enrolment, Role};
use milepost_wire::{
    Address, Cell, ChainId, Heading, Height, Humidity, KeyId, Kind, Measure, Member, Members, Observation,
    Output, Place, Report, SecretKey, Sequence, Signed, Speed, Timestamp, Verified,
};
use serde_json::{Value, json};

/// A small generator with a known future (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// From −`half` to `half`, small ones more often.
    fn around(&mut self, half: i64) -> i64 {
        let one = |dice: &mut Self| dice.below(half as u64 + 1) as i64;
        one(self) - one(self)
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// Who reports.
struct Reporter {
    key: SecretKey,
    enrolment: Enrolment,
    /// By how much it is off, in cm/s; the last kind of liar says anything.
    lie: Option<i64>,
}

fn params(dice: &mut Dice) -> Params {
    Params {
        slot_ms: 20_000,
        epoch_ms: 20_000 * dice.of(&[1, 2, 3]),
        freshness_ms: PerKind {
            speed: 10_000,
            congestion: 15_000,
            humidity: 20_000,
            hazard: 20_000,
        },
        items_max: dice.of(&[3, 6, 120]),
        evidence_full: dice.of(&[2, 6, 12]),
        evaluated_min: dice.of(&[4, 8]),
        vest_epochs: dice.of(&[0, 2, 7, 168]),
        wait_epochs: dice.of(&[0, 1, 3]),
        release_needs_vote: dice.below(2) == 0,
        reward_per_hour_micro: 1_000_000_000 + dice.below(80_000_000_000),
        halving_epochs: dice.of(&[3, 1_000]),
        vehicle_max_averages: dice.of(&[1, 3]),
        ..Params::default()
    }
}

fn reporters(dice: &mut Dice, members: &[SecretKey], world: u64) -> Vec<Reporter> {
    let count = 4 + dice.below(9);
    let sensors = dice.below(4);
    (0..count + sensors)
        .map(|nth| {
            let key = SecretKey::from_seed(&format!("world {world}"), nth);
            let operator = members[dice.below(members.len() as u64) as usize].address();
            Reporter {
                enrolment: Enrolment {
                    key: key.public(),
                    // Some share an owner.
                    group: dice.below(count + sensors),
                    role: if nth < count {
                        Role::Vehicle
                    } else {
                        Role::Anchor { operator }
                    },
                },
                key,
                lie: match dice.below(6) {
                    0 => Some(-700),
                    1 => None,
                    _ => Some(0),
                },
            }
        })
        .collect()
}

/// What `reporter` says of a road whose speed is `speed`.
fn measure(dice: &mut Dice, reporter: &Reporter, speed: i64) -> Measure {
    let said = match reporter.lie {
        Some(lie) => speed + lie + dice.around(150),
        None => dice.below(4_000) as i64,
    };
    match dice.below(8) {
        0 => Measure::Congestion((said.clamp(0, 2_500) / 500) as u8),
        1 => Measure::Humidity(Humidity::from_permille(said.clamp(0, 1_000) as u16).expect("in range")),
        _ => Measure::Speed(Speed::from_cm_per_s(said.clamp(0, 7_500) as u16).expect("in range")),
    }
}

struct World {
    params: Params,
    genesis: Genesis,
    members: Vec<SecretKey>,
    reporters: Vec<Reporter>,
    cells: Vec<Cell>,
}

impl World {
    fn new(dice: &mut Dice, number: u64) -> Self {
        let members: Vec<_> = (0..4)
            .map(|nth| SecretKey::from_seed("model member", nth))
            .collect();
        let params = params(dice);
        let reporters = reporters(dice, &members, number);
        let listed = members.iter().zip(0..).map(|(key, nth)| Member {
            key: key.public(),
            // Two of the four belong together.
            provider: format!("provider {}", nth / 2),
            power: 1,
        });
        let genesis = Genesis {
            access: milepost_wire::Access::default(),
            chain: ChainId::new("model").expect("a chain id"),
            time: Timestamp::from_millis(700_000_000_000),
            members: Members::new(listed.collect()).expect("four members"),
            params: params.clone(),
            vehicles: reporters.iter().map(|reporter| reporter.enrolment).collect(),
        };
        let roads = 2 + dice.below(12);
        Self {
            params,
            genesis,
            members,
            reporters,
            cells: (0..roads)
                .map(|road| Cell::segment(&format!("road {road}")))
                .collect(),
        }
    }

    fn report(
        &self,
        dice: &mut Dice,
        nth: usize,
        sequence: u64,
        now: Timestamp,
        speeds: &[i64],
    ) -> Verified<Report> {
        let reporter = &self.reporters[nth];
        let sent_at = now.plus(2_000).minus(dice.below(9_000));
        let observations = (0..1 + dice.below(4)).map(|_| {
            let road = dice.below(self.cells.len() as u64) as usize;
            Observation {
                cell: self.cells[road],
                place: Place::from_degrees(44.494, 11.343).expect("on the globe"),
                heading: Heading::UNAVAILABLE,
                age_ms: dice.below(12_000) as u16,
                measure: measure(dice, reporter, speeds[road]),
            }
        });
        let report = Report {
            version: Report::VERSION,
            vehicle: reporter.key.key_id(),
            sequence: Sequence(sequence),
            sent_at,
            observations: observations.collect(),
        };
        Signed::sign(report, &self.genesis.chain, &reporter.key)
    }
}

fn reports_json(reports: &BTreeMap<Address, Vec<Verified<Report>>>) -> Vec<Value> {
    let of_one = |report: &Verified<Report>, operator: &Address| {
        let observations = report
            .observations
            .iter()
            .map(|seen| json!([seen.cell, seen.measure.kind(), seen.measure.value(), seen.age_ms]));
        json!({
            "vehicle": report.vehicle,
            "sequence": report.sequence,
            "sent_ms": report.sent_at.millis(),
            "operator": operator,
            "observations": observations.collect::<Vec<_>>(),
        })
    };
    let all = reports.iter();
    all.flat_map(|(operator, heard)| heard.iter().map(move |report| of_one(report, operator)))
        .collect()
}

/// What the model takes as given (the roads after each estimate), and what it has to find (pay).
fn made(state: &State, outputs: &[Output]) -> (Vec<Value>, Vec<Value>) {
    let (mut roads, mut paid) = (Vec::new(), Vec::new());
    for output in outputs {
        match output {
            Output::Estimate(estimate) => {
                let item = estimate.item;
                let road = state.road(item.cell, item.kind).expect("just published");
                roads.push(json!([
                    item.slot, item.cell, item.kind, road.value, road.usual, road.heard
                ]));
            }
            Output::Payment(payment) => paid.push(json!({
                "epoch": payment.epoch,
                "vehicle": payment.vehicle,
                "points": payment.points,
                "amount": payment.amount.micro(),
            })),
            Output::OperatorPayment {
                epoch,
                operator,
                amount,
                ..
            } => paid.push(json!({
                "epoch": epoch,
                "operator": operator,
                "amount": amount.micro(),
            })),
            _ => {}
        }
    }
    (roads, paid)
}

fn ended(state: &State) -> Value {
    let vehicle = |id: &KeyId| {
        let vehicle = state.vehicle(id).expect("enrolled");
        let account = state.account(&state.vehicle_address(id).expect("enrolled"));
        json!({
            "good": vehicle.standing.good,
            "bad": vehicle.standing.bad,
            "debt": vehicle.standing.debt,
            "quarantined": vehicle.quarantine.is_some(),
            "earned": vehicle.earned.micro(),
            "unvested": vehicle.unvested.micro(),
            "balance": account.balance.micro(),
        })
    };
    let vehicles: BTreeMap<String, Value> = state
        .vehicles()
        .map(|(id, _)| (id.to_string(), vehicle(id)))
        .collect();
    let books = state.books();
    json!({
        "vehicles": vehicles,
        "minted": books.minted.micro(),
        "burned": books.burned.micro(),
        "treasury": books.treasury.micro(),
        "carry": books.carry.micro(),
    })
}

fn play(number: u64) -> Value {
    let mut dice = Dice(number);
    let world = World::new(&mut dice, number);
    let mut state = State::genesis(&world.genesis);
    let mut speeds: Vec<i64> = world
        .cells
        .iter()
        .map(|_| 300 + dice.below(2_500) as i64)
        .collect();
    let mut blocks = Vec::new();
    let mut now = world.genesis.time.plus(3_000);
    for block in 0..24 + dice.below(30) {
        // Never longer than a slot, so that at most one slot of a kind falls due in a block.
        now = now.plus(1_000 + dice.below(19_000));
        for speed in &mut speeds {
            *speed = (*speed + dice.around(400)).clamp(100, 4_000);
        }
        let mut heard: BTreeMap<Address, Vec<Verified<Report>>> = BTreeMap::new();
        for nth in 0..world.reporters.len() {
            if dice.below(10) < 7 {
                let report = world.report(&mut dice, nth, block, now, &speeds);
                let unit = world.members[dice.below(4) as usize].address();
                heard.entry(unit).or_default().push(report);
            }
        }
        let batches: Vec<_> = heard
            .iter()
            .map(|(&author, reports)| HeardBatch { author, reports })
            .collect();
        let outputs = state.apply(&BlockInput {
            height: Height(block + 1),
            time: now,
            transactions: &[],
            batches: &batches,
        });
        assert_eq!(state.check(), Ok(()), "world {number}");
        state.seal();
        let (roads, paid) = made(&state, &outputs);
        blocks.push(json!({
            "time_ms": now.millis(),
            "reports": reports_json(&heard),
            "roads": roads,
            "paid": paid,
        }));
    }
    let enrolled = world.reporters.iter().map(|reporter| {
        json!({
            "vehicle": reporter.key.key_id(),
            "group": reporter.enrolment.group,
            "operator": reporter.enrolment.role.operator(),
        })
    });
    let providers: BTreeMap<String, &str> = world
        .genesis
        .members
        .iter()
        .map(|(address, member)| (address.to_string(), member.provider.as_str()))
        .collect();
    json!({
        "world": number,
        "genesis_ms": world.genesis.time.millis(),
        "params": world.params,
        "kinds": Kind::ALL,
        "providers": providers,
        "enrolled": enrolled.collect::<Vec<_>>(),
        "blocks": blocks,
        "end": ended(&state),
    })
}

fn main() -> std::io::Result<()> {
    let worlds = std::env::args()
        .nth(1)
        .and_then(|count| count.parse().ok())
        .unwrap_or(20);
    let mut out = std::io::stdout().lock();
    for number in 0..worlds {
        writeln!(out, "{}", play(number))?;
    }
    Ok(())
}
