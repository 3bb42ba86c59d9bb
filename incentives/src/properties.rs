//! Do the promises hold whatever the road says?
//!
//! Random towns: honest, random and lying words of a few vehicles on a few roads, relayed by several units, with
//! transfers between them, block after block; after each block every promise is checked.

use milepost_wire::output::{Outcome, Output, Payment, Receipt};
use milepost_wire::payout::adds_up;
use milepost_wire::state::{Ground, Q, Quarantine};
use milepost_wire::time::Epoch;
use milepost_wire::transaction::Action;
use milepost_wire::{
    Amount, Height, Humidity, Measure, Observation, Place, Report, Role, Sequence, Transaction, Verified,
};
use proptest::prelude::*;

use crate::params::PerKind;
use crate::testing::{Town, cell, seen, speed};
use crate::{Audit, BlockInput, HeardBatch, Params, State, Unsound, replay};

const VEHICLES: usize = 8;

/// Epochs of two slots of 20 s, so that a short story closes several.
fn quick() -> Params {
    Params {
        slot_ms: 20_000,
        epoch_ms: 40_000,
        freshness_ms: PerKind {
            speed: 10_000,
            congestion: 15_000,
            humidity: 30_000,
            hazard: 20_000,
        },
        items_max: 6,
        evaluated_min: 3,
        reward_per_hour_micro: 90_000_000_007,
        vest_epochs: 5,
        ..Params::default()
    }
}

/// What one vehicle says in one block.
#[derive(Clone, Debug)]
struct Said {
    vehicle: usize,
    sequence: u64,
    /// Relative to the block's time, in ms.
    sent: i64,
    observations: Vec<(usize, u16, Measure)>,
    /// Which units relay it.
    relays: Vec<usize>,
}

/// One block of a story.
#[derive(Clone, Debug)]
struct Page {
    after_ms: u64,
    said: Vec<Said>,
    /// From, to and how much.
    transfers: Vec<(usize, usize, u64)>,
}

fn measure() -> impl Strategy<Value = Measure> {
    prop_oneof![
        4 => (0i64..6_000).prop_map(speed),
        4 => (1_300i64..1_500).prop_map(speed),
        1 => (0u8..=5).prop_map(Measure::Congestion),
        1 => (0u16..1_000).prop_map(|wet| Measure::Humidity(Humidity::from_permille(wet).expect("below 1000"))),
        1 => (1u8..4).prop_map(Measure::Hazard),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    let observations = prop::collection::vec((0usize..3, 0u16..20_000, measure()), 1..5);
    let relays = prop::collection::vec(0usize..4, 1..3);
    (0..VEHICLES, 0u64..400, -12_000i64..8_000, observations, relays).prop_map(
        |(vehicle, sequence, sent, observations, relays)| Said {
            vehicle,
            sequence,
            sent,
            observations,
            relays,
        },
    )
}

fn story(pages: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Page>> {
    let transfers = prop::collection::vec((0..VEHICLES, 0..VEHICLES, 0u64..3_000_000), 0..3);
    let after = prop_oneof![5 => 1_000u64..15_000, 1 => 15_000u64..200_000];
    let page = (after, prop::collection::vec(said(), 0..8), transfers);
    prop::collection::vec(
        page.prop_map(|(after_ms, said, transfers)| Page {
            after_ms,
            said,
            transfers,
        }),
        pages,
    )
}

/// A page as a block: what each unit heard, and the transactions.
struct Heard {
    time: milepost_wire::Timestamp,
    batches: Vec<Vec<Verified<Report>>>,
    transactions: Vec<Verified<Transaction>>,
}

fn heard(town: &Town, state: &State, page: &Page) -> Heard {
    let time = state.time().plus(page.after_ms);
    let mut batches = vec![Vec::new(); town.members.len()];
    for said in &page.said {
        let sent_at = milepost_wire::Timestamp::from_millis(time.millis().saturating_add_signed(said.sent));
        let observations: Vec<Observation> = said
            .observations
            .iter()
            .map(|&(road, age_ms, measure)| seen(cell(road), age_ms, measure))
            .collect();
        let report = town.report(said.vehicle, said.sequence, sent_at, observations);
        for &unit in &said.relays {
            batches[unit].push(report.clone());
        }
    }
    let transactions = page.transfers.iter().map(|&(from, to, micro)| {
        let key = &town.keys[from];
        let action = Action::Transfer {
            to: town.keys[to].address(),
            amount: Amount::from_micro(micro),
        };
        let nonce = state.account(&key.address()).nonce;
        town.transaction(
            key,
            Transaction {
                from: key.public(),
                nonce,
                action,
            },
        )
    });
    Heard {
        time,
        batches,
        transactions: transactions.collect(),
    }
}

fn apply(town: &Town, state: &mut State, heard: &Heard) -> Vec<Output> {
    let batches: Vec<HeardBatch<'_>> = town
        .members
        .iter()
        .zip(&heard.batches)
        .map(|(unit, reports)| HeardBatch {
            author: unit.address(),
            reports,
        })
        .collect();
    state.apply(&BlockInput {
        height: Height(1),
        time: heard.time,
        transactions: &heard.transactions,
        batches: &batches,
    })
}

/// Groups of two, so that some vehicles do not vouch for each other; the last two are roadside sensors of two
/// members.
fn town() -> Town {
    let mut town = Town::with(VEHICLES as u64, quick());
    town.genesis.vehicles[1].group = 0;
    for member in 0..2 {
        let operator = town.members[member].address();
        town.genesis.vehicles[VEHICLES - 1 - member].role = Role::Anchor { operator };
    }
    town
}

/// The state with everybody at home: well reputed, so that points are paid.
fn trusted(town: &Town) -> State {
    let mut state = State::genesis(&town.genesis);
    for key in &town.keys {
        let mut vehicle = state.vehicle(&key.key_id()).expect("enrolled").clone();
        (vehicle.standing.good, vehicle.standing.bad) = (9 * Q, Q);
        state.vehicles.insert(key.key_id(), vehicle);
    }
    state
}

fn payments(outputs: &[Output]) -> impl Iterator<Item = &Payment> {
    outputs.iter().filter_map(|output| match output {
        Output::Payment(payment) => Some(payment),
        _ => None,
    })
}

fn outcomes(outputs: &[Output]) -> Vec<Outcome> {
    let receipts = outputs.iter().filter_map(|output| match output {
        Output::Receipt(Receipt { outcome, .. }) => Some(*outcome),
        _ => None,
    });
    receipts.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_promise_holds_after_every_block(story in story(4..24)) {
        let town = town();
        let mut state = trusted(&town);
        let mut audit = Audit::new(&town.genesis.params);
        for page in &story {
            let heard = heard(&town, &state, page);
            let outputs = apply(&town, &mut state, &heard);
            prop_assert_eq!(state.check(), Ok(()));
            prop_assert_eq!(audit.read(&outputs), Ok(()));
            prop_assert_eq!(state.books().minted,
                Amount::from_micro(crate::supply::rewards(&town.genesis.params, Epoch(0), state.books().epoch).minted));
            prop_assert!(state.next_due().is_none_or(|due| due > state.time()), "all that was due is done");
            for payment in payments(&outputs) {
                prop_assert!(payment.multiplier > 0 || payment.amount == Amount::ZERO);
            }
            if story.len() % 2 == 0 {
                state.seal();
            }
        }
    }

    #[test]
    fn the_order_of_reports_and_batches_does_not_matter(story in story(2..8), turn in 0usize..8) {
        let town = town();
        let (mut forth, mut back) = (trusted(&town), trusted(&town));
        for page in &story {
            let mut page = heard(&town, &forth, page);
            let one = apply(&town, &mut forth, &page);
            for batch in &mut page.batches {
                batch.reverse();
                if !batch.is_empty() {
                    let turn = turn % batch.len();
                    batch.rotate_left(turn);
                }
            }
            let other = apply(&town, &mut back, &page);
            prop_assert_eq!(one, other);
            prop_assert_eq!(forth.open_root(), back.open_root());
            prop_assert!(forth.tree_entries().eq(back.tree_entries()));
        }
    }

    #[test]
    fn how_often_blocks_are_made_does_not_change_what_is_settled(story in story(2..8), beats in 1u64..9) {
        let town = town();
        let (mut rare, mut often) = (trusted(&town), trusted(&town));
        for page in &story {
            let page = heard(&town, &rare, page);
            let from = rare.time();
            let mut piecewise = Vec::new();
            for beat in 1..=beats {
                let time = from.plus(page.time.since(from) * beat / (beats + 1));
                piecewise.extend(town.block(&mut often, time, &[]));
            }
            piecewise.extend(apply(&town, &mut often, &page));
            let at_once = apply(&town, &mut rare, &page);
            let lasting = |outputs: Vec<Output>| -> Vec<Output> {
                // A run of empty epochs may be closed in pieces.
                outputs.into_iter().filter(|output| !matches!(output, Output::EpochClosed(_))).collect()
            };
            prop_assert_eq!(lasting(at_once), lasting(piecewise));
            prop_assert_eq!(rare.open_root(), often.open_root());
            prop_assert!(rare.tree_entries().eq(often.tree_entries()));
        }
    }

    #[test]
    fn what_was_stored_loads_to_the_same_state(story in story(2..10)) {
        let town = town();
        let mut state = trusted(&town);
        let (mut tree, mut open) = (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
        for page in &story {
            let mut fork = state.fork();
            apply(&town, &mut fork, &heard(&town, &state, page));
            for (key, value) in fork.tree_changes() {
                match value {
                    Some(value) => tree.insert(key, value),
                    None => tree.remove(&key),
                };
            }
            for (key, value) in fork.open_changes() {
                match value {
                    Some(value) => open.insert(key, value),
                    None => open.remove(&key),
                };
            }
            state = fork;
            state.seal();
        }
        let loaded = State::load(&town.genesis, tree.into_iter(), open.into_iter());
        let loaded = loaded.expect("what was written reads back");
        prop_assert_eq!(loaded.open_root(), state.open_root());
        prop_assert!(loaded.tree_entries().eq(state.tree_entries()));
        prop_assert_eq!(loaded.next_due(), state.next_due());
        prop_assert_eq!(loaded.payout_tree().root(), state.payout_tree().root());
        prop_assert_eq!(loaded.check(), Ok(()));
    }
}

/// Three trusted vehicles say the same on road 0 in a first slot, for the road to be known, and again later.
fn quiet_story(
    town: &Town,
    state: &mut State,
    mut between: impl FnMut(&mut State, &[Verified<Report>]),
) -> Vec<Output> {
    let mut outputs = Vec::new();
    for (sequence, value) in [(1, 1_400), (2, 700)] {
        let now = town.at(sequence * 20_000 + 5_000);
        let other_road = [seen(cell(0), 0, speed(value)), seen(cell(1), 0, speed(1_400))];
        let reports: Vec<_> = (0..4)
            .map(|vehicle| town.report(vehicle, sequence, now, other_road.to_vec()))
            .collect();
        outputs.extend(town.block(state, now, &reports));
        between(state, &reports);
    }
    outputs.extend(town.block(state, town.at(200_000), &[]));
    outputs
}

#[test]
fn useful_reports_are_paid_and_everything_is_explained() {
    let town = town();
    let mut state = trusted(&town);
    let mut audit = Audit::new(&town.genesis.params);
    let outputs = quiet_story(&town, &mut state, |_, _| {});
    assert_eq!(audit.read(&outputs), Ok(()));
    for payment in payments(&outputs) {
        let (epoch, vehicle) = (payment.epoch, payment.vehicle);
        let scores = outputs.iter().filter_map(|output| match output {
            Output::Score(score) if (score.epoch, score.vehicle) == (epoch, vehicle) => Some(score),
            _ => None,
        });
        let closed = outputs.iter().find_map(|output| match output {
            Output::EpochClosed(closed) if closed.epoch == epoch => Some(closed),
            _ => None,
        });
        let closed = closed.expect("the epoch was closed");
        assert!(adds_up(scores.clone(), payment, closed), "{payment:?}");
        let mut wrong = *payment;
        wrong.amount = Amount::from_micro(payment.amount.micro() + 1);
        assert!(!adds_up(scores.clone(), &wrong, closed), "one micro-token more");
        assert!(
            scores.clone().count() == 0 || !adds_up(scores.skip(1), payment, closed),
            "a line less"
        );
    }
    let paid = payments(&outputs)
        .filter(|payment| payment.amount > Amount::ZERO)
        .count();
    assert!(paid >= 3, "{outputs:#?}");
    assert_ne!(
        state.payout_tree().root(),
        milepost_wire::Hash::ZERO,
        "some has vested"
    );
    assert_eq!(state.check(), Ok(()));
}

#[test]
fn a_replayed_report_earns_nothing() {
    let town = town();
    let (mut once, mut often) = (trusted(&town), trusted(&town));
    let first = quiet_story(&town, &mut once, |_, _| {});
    let mut audit = Audit::new(&town.genesis.params);
    let again = quiet_story(&town, &mut often, |state, reports| {
        for delay in [0, 1_000, 3_000] {
            let outputs = town.block(state, state.time().plus(delay), reports);
            assert!(
                outcomes(&outputs)
                    .iter()
                    .all(|outcome| *outcome == Outcome::HeardBefore)
            );
        }
    });
    let all = |outputs: &[Output]| payments(outputs).copied().collect::<Vec<_>>();
    assert_eq!(all(&first), all(&again));
    assert_eq!(audit.read(&again), Ok(()));
    for (id, vehicle) in once.vehicles() {
        assert_eq!(Some(vehicle), often.vehicle(id));
    }
}

/// The negative control: with the replay window broken, the audit must notice.
#[test]
fn a_broken_replay_window_is_caught() {
    let town = town();
    let mut state = trusted(&town);
    let mut audit = Audit::new(&town.genesis.params);
    let mut caught = None;
    replay::broken::during(|| {
        let now = town.at(25_000);
        let report = town.report(0, 1, now, vec![seen(cell(0), 0, speed(1_400))]);
        for _ in 0..2 {
            let outputs = town.block(&mut state, now, std::slice::from_ref(&report));
            caught = audit.read(&outputs).err();
        }
    });
    let vehicle = town.keys[0].key_id();
    let sequence = Sequence(1);
    assert_eq!(caught, Some(Unsound::CountedTwice { vehicle, sequence }));
}

#[test]
fn a_quarantined_vehicle_earns_nothing_and_does_not_count() {
    let town = town();
    let mut state = trusted(&town);
    let id = town.keys[3].key_id();
    let mut vehicle = state.vehicle(&id).expect("enrolled").clone();
    vehicle.quarantine = Some(Quarantine {
        since: Epoch(0),
        times: 1,
        ground: Ground::Vote,
    });
    (vehicle.standing.good, vehicle.standing.bad) = (Q, 99 * Q);
    state.vehicles.insert(id, vehicle);
    let outputs = quiet_story(&town, &mut state, |_, _| {});
    let own: Vec<_> = payments(&outputs)
        .filter(|payment| payment.vehicle == id)
        .collect();
    assert!(!own.is_empty() && own.iter().all(|payment| payment.amount == Amount::ZERO));
    for output in &outputs {
        match output {
            Output::Score(score) if score.vehicle == id => assert_eq!(score.points, 0),
            Output::Estimate(estimate) => assert_eq!(estimate.vehicles, 3),
            Output::Receipt(receipt) if receipt.vehicle == id => {
                assert_eq!(receipt.outcome, Outcome::Quarantined);
            }
            _ => {}
        }
    }
    let standing = state.vehicle(&id).expect("enrolled").standing;
    assert!(standing.evaluated > 0, "scored in the shadow");
}

/// Two vehicles say one thing, the roadside sensors of two members another.
#[test]
fn roadside_sensors_decide_earn_nothing_and_make_their_operators_name() {
    let town = town();
    let mut state = trusted(&town);
    let mut outputs = Vec::new();
    let (agreeing, lonely) = (town.members[0].address(), town.members[1].address());
    for sequence in 1..=2 {
        let now = town.at(sequence * 20_000 + 5_000);
        let said = [(2, 0, 1_400), (3, 0, 1_400), (7, 0, 700), (6, 0, 710)];
        // On another road the second member's sensor is wrong.
        let elsewhere = [(2, 1, 1_400), (4, 1, 1_400), (5, 1, 1_400), (6, 1, 100)];
        let mut by_vehicle = std::collections::BTreeMap::<_, Vec<_>>::new();
        for (vehicle, road, value) in said.into_iter().chain(elsewhere) {
            by_vehicle
                .entry(vehicle)
                .or_default()
                .push(seen(cell(road), 0, speed(value)));
        }
        let reports: Vec<_> = by_vehicle
            .into_iter()
            .map(|(vehicle, seen)| town.report(vehicle, sequence, now, seen))
            .collect();
        outputs.extend(town.block(&mut state, now, &reports));
    }
    outputs.extend(town.block(&mut state, town.at(400_000), &[]));
    assert_eq!(state.check(), Ok(()));
    assert_eq!(Audit::new(&town.genesis.params).read(&outputs), Ok(()));

    let sensors = [town.keys[6].key_id(), town.keys[7].key_id()];
    for output in &outputs {
        match output {
            Output::Estimate(estimate) if estimate.item.cell == cell(0) => {
                assert_eq!(estimate.vehicles, 2, "sensors are no vehicles");
                assert!(
                    estimate.value < 1_000,
                    "two sensors outweigh two vehicles: {estimate:?}"
                );
            }
            Output::Estimate(estimate) => assert!(estimate.value > 1_100, "one does not outweigh three"),
            Output::Score(score) if sensors.contains(&score.vehicle) => assert_eq!(score.points, 0),
            Output::Score(score) if score.item.cell == cell(0) => {
                assert_eq!((score.groups, u64::from(score.kappa)), (7, Q), "six and one");
            }
            Output::Payment(payment) => assert!(!sensors.contains(&payment.vehicle)),
            _ => {}
        }
    }
    let name = |member| state.operator(member).standing.reputation();
    assert!(name(&agreeing) > 49_152, "it began with 3/4");
    assert!(name(&lonely) < 49_152);
    assert_eq!(state.operator(&town.members[2].address()).standing.evaluated, 0);
}

/// One vehicle says 1,400 where two others and the sensors of two members say 700; or one of these sensors does not.
#[test]
fn who_contradicts_the_sensors_of_two_providers_is_blamed_five_times_and_of_one_once() {
    let blamed = |other_sensor: i64| {
        let town = town();
        let mut state = trusted(&town);
        let now = town.at(25_000);
        let said = [(0, 700), (2, 1_400), (4, 700), (6, other_sensor), (7, 700)];
        let reports =
            said.map(|(vehicle, value)| town.report(vehicle, 1, now, vec![seen(cell(0), 0, speed(value))]));
        town.block(&mut state, now, &reports);
        // The slot is settled, and its epoch still open.
        let params = &town.genesis.params;
        town.block(
            &mut state,
            town.at(2 * params.slot_ms + params.freshness_ms.speed),
            &[],
        );
        let of = |vehicle: usize| {
            let id = town.keys[vehicle].key_id();
            let mut tallies = state.open.tallies.iter();
            tallies
                .find(|(key, _)| key.vehicle == id)
                .map(|(_, tally)| tally.bad)
        };
        assert_eq!(of(0), Some(0), "it agrees");
        of(2).expect("it was judged")
    };
    assert_eq!(blamed(710), 5 * Q);
    let once = blamed(1_000);
    assert!(0 < once && once < Q, "not all agree: {once}");
}

/// Whose sensors are always wrong is not listened to any more.
#[test]
fn a_ruined_operators_sensors_do_not_count() {
    let town = town();
    let mut state = trusted(&town);
    let operator = town.members[0].address();
    let mut record = state.operator(&operator);
    record.standing.bad = 9 * record.standing.good;
    state.operators.insert(operator, record);
    let now = town.at(25_000);
    let reports = [(2, 1_400), (7, 700)]
        .map(|(vehicle, value)| town.report(vehicle, 1, now, vec![seen(cell(0), 0, speed(value))]));
    town.block(&mut state, now, &reports);
    let outputs = town.block(&mut state, town.at(100_000), &[]);
    let estimate = outputs.iter().find_map(|output| match output {
        Output::Estimate(estimate) => Some(estimate),
        _ => None,
    });
    let value = estimate.map(|estimate| estimate.value);
    assert!(
        value.is_some_and(|value| value > 1_390),
        "the vehicle alone decides: {value:?}"
    );
}

#[test]
fn strangers_teleporters_the_stale_and_the_early_are_not_heard() {
    let town = town();
    let mut state = trusted(&town);
    let now = town.at(100_000);
    let outcome = |state: &mut State, report| outcomes(&town.block(state, now, &[report]))[0];
    let here = seen(cell(0), 0, speed(1_400));
    let far = Observation {
        place: Place::from_degrees(45.494, 11.343).expect("on the globe"),
        ..here
    };
    let report = |sequence, ms, what: Observation| town.report(0, sequence, town.at(ms), vec![what]);
    assert_eq!(
        outcome(&mut state, report(1, 89_000, here)),
        Outcome::NothingNew,
        "stale"
    );
    assert_eq!(
        outcome(&mut state, report(1, 106_000, here)),
        Outcome::NothingNew,
        "early"
    );
    assert_eq!(outcome(&mut state, report(1, 104_000, here)), Outcome::Counted);
    assert_eq!(
        outcome(&mut state, report(2, 100_000, far)),
        Outcome::NothingNew,
        "111 km in 4 s"
    );
    let stranger = Town::with(99, quick());
    let strange = stranger.report(98, 1, now, vec![here]);
    assert_eq!(outcome(&mut state, strange), Outcome::NotEnrolled);
}

#[test]
fn a_vehicle_is_scored_on_so_many_items_and_no_more() {
    let town = town();
    let mut state = trusted(&town);
    let now = town.at(25_000);
    let all = (0..9).map(|road| seen(cell(road), 0, speed(1_400))).collect();
    town.block(&mut state, now, &[town.report(0, 1, now, all)]);
    assert_eq!(state.open.sightings.iter().count(), 6);
}

#[test]
fn nothing_open_makes_nothing_due() {
    let town = town();
    let mut state = trusted(&town);
    assert_eq!(state.next_due(), None);
    town.block(&mut state, town.at(1_000_000), &[]);
    assert_eq!(state.next_due(), None);
    let now = town.at(1_000_001);
    town.block(
        &mut state,
        now,
        &[town.report(0, 1, now, vec![seen(cell(0), 0, speed(1_400))])],
    );
    assert_eq!(state.next_due(), Some(town.at(1_020_000 + 10_000)));
}

#[test]
fn a_years_pause_is_made_up_for_at_once() {
    let town = town();
    let mut state = trusted(&town);
    quiet_story(&town, &mut state, |_, _| {});
    let year_ms = 365 * 24 * 3_600_000;
    let outputs = town.block(&mut state, town.at(year_ms), &[]);
    assert_eq!(outputs.len(), 1, "788,395 empty epochs are closed as one");
    assert_eq!(state.check(), Ok(()));
    assert_eq!(state.books().epoch, state.epoch_of(town.at(year_ms - 30_000)));
}

#[test]
fn a_vehicle_can_be_enrolled_and_heard_in_one_block() {
    let town = Town::with(2, quick());
    let mut genesis = town.genesis.clone();
    let newcomer = genesis.vehicles.pop().expect("two vehicles");
    let mut state = State::genesis(&genesis);
    let (now, member) = (town.at(25_000), &town.members[0]);
    let enrol = Transaction {
        from: member.public(),
        nonce: 0,
        action: Action::Enrol(newcomer),
    };
    let report = town.report(1, 1, now, vec![seen(cell(0), 0, speed(1_400))]);
    let heard = Heard {
        time: now,
        batches: vec![vec![report]],
        transactions: vec![town.transaction(member, enrol)],
    };
    let outputs = apply(&town, &mut state, &heard);
    assert!(matches!(outputs[0], Output::Transacted { done: true, .. }));
    assert_eq!(outcomes(&outputs), [Outcome::Counted]);
}
