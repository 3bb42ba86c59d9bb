//! Does the core keep its promises, whatever it is told?

use super::*;
use crate::journal::{Journal, MemoryJournal};
use crate::testing::Town;
use milepost_wire::{Amount, Hash, Speed, output};
use proptest::prelude::*;

const T0: u64 = 1_000_000;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(T0 + ms)
}

fn config(town: &Town) -> VehicleConfig {
    VehicleConfig::new(town.consortium(), at(0), SecretKey::from_seed("vehicle", 1))
}

fn linked(town: &Town) -> Vehicle {
    let mut vehicle = Vehicle::new(config(town), Sequence(0));
    vehicle.handle(at(0), Input::Link(true));
    vehicle
}

fn sensed(ms: u64) -> Input {
    Input::Sensed(Sensed {
        at: at(ms),
        place: Place::from_degrees(44.494, 11.343).unwrap(),
        heading: Heading::from_degrees(90.0),
        measure: Measure::Speed(Speed::from_m_per_s_clamped(13.9)),
        segment: None,
    })
}

/// Lets the vehicle see something and send it.
fn report(vehicle: &mut Vehicle, ms: u64) -> Vec<Output> {
    vehicle.handle(at(ms), sensed(ms));
    vehicle.handle(at(ms + 1000), Input::Tick)
}

fn puts(outputs: &[Output]) -> Vec<milepost_wire::SignedReport> {
    let put = |output: &Output| match output {
        Output::Put { bytes, .. } => Some(milepost_wire::decode(bytes).unwrap()),
        _ => None,
    };
    outputs.iter().filter_map(put).collect()
}

fn receipt(vehicle: KeyId, sequence: u64) -> LedgerOutput {
    LedgerOutput::Receipt(Receipt {
        vehicle,
        sequence: Sequence(sequence),
        outcome: Outcome::Counted,
    })
}

fn finalised(outputs: &[Output]) -> Vec<u64> {
    let sequence = |output: &Output| match output {
        Output::Finalised { sequence, .. } => Some(sequence.0),
        _ => None,
    };
    outputs.iter().filter_map(sequence).collect()
}

#[test]
fn what_is_seen_is_signed_stored_and_sent_within_a_second() {
    let town = Town::new(4);
    let mut vehicle = linked(&town);
    assert_eq!(vehicle.handle(at(0), sensed(0)), [Output::WakeAt(at(1000))]);
    vehicle.handle(at(400), sensed(400));
    let outputs = vehicle.handle(at(1000), Input::Tick);
    let [
        Output::Store(Change::Keep(kept)),
        Output::Put { topic, bytes },
        Output::WakeAt(_),
    ] = &outputs[..]
    else {
        panic!("{outputs:?}");
    };
    assert_eq!(&kept.bytes, bytes);
    let cell = Cell::at(
        Place::from_degrees(44.494, 11.343).unwrap(),
        Heading::from_degrees(90.0),
    );
    assert_eq!(topic, &milepost_wire::topic::report(&town.chain, cell));

    let key = SecretKey::from_seed("vehicle", 1)
        .public()
        .verifying_key()
        .unwrap();
    let report = puts(&outputs).remove(0).verify(&town.chain, &key).unwrap();
    assert!(report.is_valid());
    assert_eq!(
        report
            .observations
            .iter()
            .map(|seen| seen.age_ms)
            .collect::<Vec<_>>(),
        [1000, 600]
    );
}

#[test]
fn a_full_bundle_does_not_wait() {
    let town = Town::new(4);
    let mut vehicle = Vehicle::new(
        VehicleConfig {
            observations_max: 3,
            ..config(&town)
        },
        Sequence(0),
    );
    vehicle.handle(at(0), Input::Link(true));
    let sent: Vec<_> = (0..7)
        .map(|ms| puts(&vehicle.handle(at(ms), sensed(ms))).len())
        .collect();
    assert_eq!(sent, [0, 0, 1, 0, 0, 1, 0]);
    assert_eq!(
        puts(&vehicle.handle(at(7), Input::Flush)).len(),
        1,
        "and the last leaves with the engine"
    );
}

#[test]
fn a_named_segment_is_the_cell() {
    let town = Town::new(4);
    let mut vehicle = linked(&town);
    let Input::Sensed(reading) = sensed(0) else {
        unreachable!()
    };
    vehicle.handle(
        at(0),
        Input::Sensed(Sensed {
            segment: Some("46".into()),
            ..reading
        }),
    );
    let outputs = vehicle.handle(at(0), Input::Flush);
    assert_eq!(
        puts(&outputs)[0].message.observations[0].cell,
        Cell::segment("46")
    );
}

#[test]
fn out_of_reach_reports_are_stored_and_leave_in_order_afterwards() {
    let town = Town::new(4);
    let mut vehicle = Vehicle::new(config(&town), Sequence(5));
    for nth in 0..20 {
        assert_eq!(puts(&report(&mut vehicle, nth * 2000)).len(), 0);
    }
    assert_eq!(vehicle.waiting(), 20);
    let mut sent = puts(&vehicle.handle(at(60_000), Input::Link(true)));
    assert_eq!(sent.len(), 8, "a burst");
    sent.extend(puts(&vehicle.handle(at(60_500), Input::Tick)));
    sent.extend(puts(&vehicle.handle(at(61_000), Input::Tick)));
    let sequences: Vec<_> = sent.iter().map(|report| report.message.sequence.0).collect();
    assert_eq!(sequences, (5..25).collect::<Vec<_>>());
    assert_eq!((vehicle.counts().sent, vehicle.counts().resent), (20, 0));
}

#[test]
fn a_receipt_under_a_certified_head_is_final_in_either_order() {
    let town = Town::new(4);
    let mut vehicle = linked(&town);
    let outputs = [receipt(vehicle.id(), 0), receipt(vehicle.id(), 1)];
    let (head, notice) = (town.head(1, output::root(&outputs)), Town::notice(1, &outputs));
    report(&mut vehicle, 0);
    report(&mut vehicle, 2000);
    let mut only_first = notice.clone();
    only_first.outputs.truncate(1);
    vehicle.handle(at(4000), Input::Receipt(only_first));
    assert_eq!(vehicle.waiting(), 2, "no head yet");
    assert_eq!(finalised(&vehicle.handle(at(4001), Input::Head(head))), [0]);
    assert_eq!(
        finalised(&vehicle.handle(at(4002), Input::Receipt(notice.clone()))),
        [1]
    );
    assert_eq!(
        finalised(&vehicle.handle(at(4003), Input::Receipt(notice))),
        [0; 0],
        "once"
    );
    assert_eq!(vehicle.waiting(), 0);
    assert_eq!(vehicle.counts().finalised[&Outcome::Counted], 2);
}

#[test]
fn whoever_missed_the_receipt_that_counts_is_not_content_with_heard_before() {
    let town = Town::new(4);
    let mut vehicle = linked(&town);
    let again = |vehicle: KeyId, sequence| {
        LedgerOutput::Receipt(Receipt {
            vehicle,
            sequence: Sequence(sequence),
            outcome: Outcome::HeardBefore,
        })
    };
    let id = vehicle.id();
    let (counted, repeated) = ([receipt(id, 0)], [again(id, 0), again(id, 1)]);
    let heads = [
        town.head(1, output::root(&counted)),
        town.head(2, output::root(&repeated)),
    ];
    report(&mut vehicle, 0);
    report(&mut vehicle, 2000);
    for head in heads {
        vehicle.handle(at(4000), Input::Head(head));
    }
    let tell = |vehicle: &mut Vehicle, height, outputs: &[LedgerOutput]| {
        finalised(&vehicle.handle(at(4001), Input::Receipt(Town::notice(height, outputs))))
    };
    assert_eq!(
        tell(&mut vehicle, 2, &repeated),
        [0; 0],
        "it may have counted before"
    );
    assert_eq!(tell(&mut vehicle, 1, &counted), [0]);
    assert_eq!(tell(&mut vehicle, 2, &repeated), [0; 0]);
    assert_eq!(
        tell(&mut vehicle, 2, &repeated),
        [1],
        "nobody knows of another block"
    );
    assert_eq!(vehicle.waiting(), 0);
    let finalised = &vehicle.counts().finalised;
    assert_eq!(
        (finalised[&Outcome::Counted], finalised[&Outcome::HeardBefore]),
        (1, 1)
    );
}

#[test]
fn a_forged_receipt_ticks_nothing_off() {
    let town = Town::new(4);
    let mut vehicle = linked(&town);
    report(&mut vehicle, 0);
    let (id, other) = (vehicle.id(), KeyId([9; 8]));
    // Under a head that says something else.
    vehicle.handle(
        at(2000),
        Input::Head(town.head(1, output::root(&[receipt(other, 0)]))),
    );
    vehicle.handle(at(2001), Input::Receipt(Town::notice(1, &[receipt(id, 0)])));
    // Under a head that too few signed.
    let mut head = town.head(2, output::root(&[receipt(id, 0)]));
    head.certificate.signatures.truncate(2);
    vehicle.handle(at(2002), Input::Head(head));
    vehicle.handle(at(2003), Input::Receipt(Town::notice(2, &[receipt(id, 0)])));
    // Of another chain, and for another vehicle.
    vehicle.handle(
        at(2004),
        Input::Head(Town::named("other", 4).head(3, output::root(&[receipt(id, 0)]))),
    );
    vehicle.handle(at(2005), Input::Receipt(Town::notice(3, &[receipt(id, 0)])));
    vehicle.handle(at(2006), Input::Receipt(Town::notice(1, &[receipt(other, 0)])));
    assert_eq!(vehicle.waiting(), 1);
    assert!(vehicle.counts().finalised.is_empty());
    let refused: Vec<_> = vehicle
        .counts()
        .refused
        .iter()
        .map(|(reason, count)| (*reason, *count))
        .collect();
    assert_eq!(
        refused,
        [
            ("head_of_other_chain", 1),
            ("head_without_quorum", 1),
            ("receipt_forged", 1)
        ]
    );
}

#[test]
fn receipts_without_a_head_are_held_back_up_to_a_bound() {
    let town = Town::new(4);
    let mut vehicle = linked(&town);
    for height in 1..100 {
        vehicle.handle(
            at(0),
            Input::Receipt(Town::notice(height, &[receipt(vehicle.id(), 0)])),
        );
    }
    assert_eq!(vehicle.early.len(), EARLY_MAX);
    assert_eq!(
        vehicle.counts().refused["receipt_without_head"],
        99 - EARLY_MAX as u64
    );
}

#[test]
fn a_payment_is_told_once() {
    let town = Town::new(4);
    let mut vehicle = linked(&town);
    let payment = Payment {
        epoch: Epoch(3),
        vehicle: vehicle.id(),
        points: 1,
        debt: 0,
        reputation: 1,
        multiplier: 1,
        useful: 1,
        presence: 0,
        base: 1,
        by_use: Amount::from_micro(7),
        by_base: Amount::ZERO,
        amount: Amount::from_micro(7),
    };
    let outputs = [LedgerOutput::Payment(payment)];
    vehicle.handle(at(0), Input::Head(town.head(1, output::root(&outputs))));
    let notice = Town::notice(1, &outputs);
    assert_eq!(
        vehicle.handle(at(1), Input::Receipt(notice.clone())),
        [Output::Paid(payment)]
    );
    assert_eq!(vehicle.handle(at(2), Input::Receipt(notice)), []);
    assert_eq!(vehicle.counts().paid_micro, 7);
}

#[test]
fn a_process_with_many_vehicles_checks_a_head_once() {
    let town = Town::new(4);
    let mut vehicle = linked(&town);
    report(&mut vehicle, 0);
    let outputs = [receipt(vehicle.id(), 0)];
    let head = town.head(1, output::root(&outputs));
    let certified = Certified::check(head, &town.chain, &town.members).unwrap();
    vehicle.handle(at(2000), Input::Certified(certified));
    assert_eq!(
        finalised(&vehicle.handle(at(2001), Input::Receipt(Town::notice(1, &outputs)))),
        [0]
    );
}

#[test]
fn other_members_certify_receipts_once_their_light_block_was_asked_for() {
    let (town, later) = (Town::new(4), Town::of(&[0, 1, 2, 7]));
    let mut vehicle = linked(&town);
    report(&mut vehicle, 0);
    let outputs = [receipt(vehicle.id(), 0)];
    let head = later.head(9, output::root(&outputs));
    vehicle.handle(at(2000), Input::Receipt(Town::notice(9, &outputs)));
    let told = vehicle.handle(at(2000), Input::Head(head.clone()));
    assert!(told.contains(&Output::AskLight(Height(9))), "{told:?}");
    assert!(
        vehicle.handle(at(2500), Input::Head(head.clone())).is_empty(),
        "once a second"
    );
    let told = vehicle.handle(at(2501), Input::Light(later.light_block(&head)));
    assert_eq!(finalised(&told), [0]);
    assert_eq!(vehicle.trusted().members(), &later.members);
}

#[test]
fn a_forged_way_that_leads_nowhere_holds_up_nothing() {
    let (town, strangers) = (Town::new(4), Town::of(&[90, 91, 92, 93]));
    let mut vehicle = linked(&town);
    let forged = strangers.head(800, Hash::ZERO);
    let told = vehicle.handle(at(0), Input::Head(forged.clone()));
    assert_eq!(told, [Output::AskLight(Height(800))]);
    let told = vehicle.handle(at(1), Input::Light(strangers.light_block(&forged)));
    assert_eq!(told, [Output::AskLight(Height(400))], "which nobody has");
    let later = Town::of(&[0, 1, 2, 7]);
    let head = later.head(9, Hash::ZERO);
    assert!(vehicle.handle(at(500), Input::Head(head.clone())).is_empty());
    let told = vehicle.handle(at(1500), Input::Head(head.clone()));
    assert_eq!(told, [Output::AskLight(Height(9))]);
    vehicle.handle(at(1501), Input::Light(later.light_block(&head)));
    assert_eq!(vehicle.newest_head().unwrap().height, Height(9));
}

#[test]
fn what_is_too_old_to_say_is_counted_and_left_out() {
    let town = Town::new(4);
    let mut vehicle = linked(&town);
    vehicle.handle(at(100_000), sensed(0));
    assert_eq!(puts(&vehicle.handle(at(101_000), Input::Tick)).len(), 0);
    assert_eq!(vehicle.counts().too_old, 1);
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Sense,
    Link(bool),
    Head(u64),
    Receipts(u64, u64),
    Garbage(Vec<u8>),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u64..3000).prop_map(Step::Wait),
        4 => Just(Step::Sense),
        1 => any::<bool>().prop_map(Step::Link),
        1 => (0u64..6).prop_map(Step::Head),
        1 => (0u64..6, 0u64..30).prop_map(|(height, sequence)| Step::Receipts(height, sequence)),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Step::Garbage),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever happens, in whatever order, with crashes at any time: no sequence is ever signed twice, nothing is
    /// sent out of reach, nothing is sent that is not stored, bounds hold, and the vehicle asks to be woken while
    /// anything waits to be sent.
    #[test]
    fn a_vehicle_keeps_its_promises(steps in prop::collection::vec(step(), 1..150)) {
        let town = Town::new(1);
        let small = || {
            let mut config = config(&town);
            config.outbox.len_max = 10;
            config
        };
        let (mut journal, mut vehicle) = (MemoryJournal::default(), Vehicle::new(small(), Sequence(0)));
        let (mut now, mut linked, mut wake_at) = (0, false, None::<Timestamp>);
        let mut signed = BTreeMap::<u64, Vec<u8>>::new();
        let own = vehicle.id();
        let receipts: Vec<_> = (0..30).map(|sequence| receipt(own, sequence)).collect();

        for step in steps {
            let input = match step {
                Step::Wait(ms) => {
                    now += ms;
                    Input::Tick
                }
                Step::Sense => sensed(now),
                Step::Link(up) => {
                    linked = up;
                    Input::Link(up)
                }
                Step::Head(height) => Input::Head(town.head(height, output::root(&receipts))),
                Step::Receipts(height, sequence) => {
                    let mut notice = Town::notice(height, &receipts);
                    notice.outputs = vec![notice.outputs[sequence as usize].clone()];
                    Input::Receipt(notice)
                }
                Step::Garbage(bytes) => match milepost_wire::decode::<ReceiptNotice>(&bytes) {
                    Ok(notice) => Input::Receipt(notice),
                    Err(_) => continue,
                },
                Step::Crash => {
                    let resumed = journal.resume();
                    vehicle = Vehicle::new(small(), resumed.next_sequence);
                    for change in vehicle.resume(at(now), resumed.kept) {
                        journal.record(&change).unwrap();
                    }
                    (linked, wake_at) = (false, None);
                    continue;
                }
            };
            for output in vehicle.handle(at(now), input) {
                match output {
                    Output::Store(change) => journal.record(&change).unwrap(),
                    Output::WakeAt(time) => {
                        prop_assert!(time > at(now));
                        wake_at = Some(time);
                    }
                    Output::Put { bytes, .. } => {
                        prop_assert!(linked);
                        let report: milepost_wire::SignedReport = milepost_wire::decode(&bytes).unwrap();
                        let sequence = report.message.sequence;
                        prop_assert!(journal.resume().kept.iter().any(|kept| kept.sequence == sequence));
                        let first = signed.entry(sequence.0).or_insert_with(|| bytes.clone());
                        prop_assert_eq!(&*first, &bytes, "one sequence, one report");
                    }
                    Output::Finalised { .. } | Output::Paid(_) | Output::AskLight(_) => {}
                }
            }
            prop_assert!(vehicle.waiting() <= 10);
            prop_assert_eq!(vehicle.waiting(), journal.resume().kept.len());
            if linked && vehicle.waiting() > 0 {
                prop_assert!(wake_at.is_some_and(|wake_at| wake_at <= at(now + 60_000)));
            }
        }
    }

    /// Nothing that decodes makes it panic, either.
    #[test]
    fn whatever_comes_as_a_head_or_a_receipt_nothing_panics(
        cut in 0usize..2000, flips in prop::collection::vec((0usize..2000, any::<u8>()), 0..4),
    ) {
        let town = Town::new(1);
        let mut vehicle = linked(&town);
        report(&mut vehicle, 0);
        let outputs = [receipt(vehicle.id(), 0), receipt(vehicle.id(), 1)];
        let mut head = encode(&town.head(1, output::root(&outputs)));
        let mut notice = encode(&Town::notice(1, &outputs));
        for bytes in [&mut head, &mut notice] {
            for (index, flip) in &flips {
                let index = index % bytes.len();
                bytes[index] ^= flip;
            }
            bytes.truncate(cut);
        }
        if let Ok(notice) = milepost_wire::decode(&notice) {
            vehicle.handle(at(2000), Input::Receipt(notice));
        }
        if let Ok(head) = milepost_wire::decode(&head) {
            vehicle.handle(at(2001), Input::Head(head));
        }
        vehicle.handle(at(2002), Input::Head(town.head(u64::MAX, Hash::ZERO)));
    }
}
