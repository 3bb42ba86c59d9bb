//! What some attacks get out of the rules, on a few epochs of one seed.
//!
//! `milepost-sim attacks` plays all of them for longer; docs/incentives.md has its table. Here is what holds on any seed,
//! each with a town in which it does not.

use milepost_sim::attacks::bench;
use milepost_sim::attacks::outcome::{Figure, Figures, Outcome};
use milepost_sim::attacks::plan::{ATTACKS, Setting};
use milepost_sim::scenario::{Scenario, minutes_ms};

const SETTING: Setting = Setting {
    warm: 4,
    epochs: 4,
    slots: 12,
};

fn play(text: &str) -> Outcome {
    let scenario = Scenario::parse(text, "test").expect("a scenario");
    let from_ms = minutes_ms(f64::from(SETTING.from_minute()));
    bench::play(&scenario, from_ms, 1).expect("it can be played")
}

fn attack(name: &str, percent: u32) -> String {
    let attack = ATTACKS.iter().find(|attack| attack.name == name);
    attack
        .expect("there is such an attack")
        .scenario(&SETTING, percent)
}

/// The figures of a scenario in comparison with the same without the attack.
fn figures(name: &str, percent: u32) -> Figures {
    play(&attack(name, percent)).figures(&play(&attack(name, 0)), SETTING.epochs)
}

#[test]
fn who_lies_everywhere_is_paid_next_to_nothing_and_nobody_honest_is_held_for_it() {
    let figures = figures("bias", 20);
    assert!(figures[&Figure::PayRatio] > 20.0, "{figures:?}");
    assert!(figures[&Figure::QuarantinedAfter] <= 8.0, "{figures:?}");
    assert_eq!(figures[&Figure::HonestEverQuarantined], 0.0, "{figures:?}");
    // Who does the same a little is neither found out nor kept from earning.
    let slight = attack("bias", 20) + "offset_kmh = -2\n";
    let slight = play(&slight).figures(&play(&attack("bias", 0)), SETTING.epochs);
    assert!(slight[&Figure::PayRatio] < 2.0, "{slight:?}");
    assert_eq!(slight[&Figure::AttackersQuarantined], 0.0, "{slight:?}");
}

#[test]
fn a_unit_that_claims_to_have_heard_all_gets_no_more_than_the_cap_of_one_operator() {
    let pay = figures("forge_reception", 1)[&Figure::OperatorPay];
    // A third of the operators' share instead of a quarter.
    assert!((1.0..=1.34).contains(&pay), "{pay}");
}

#[test]
fn a_censor_harms_its_rivals_only_where_no_other_unit_hears_them() {
    let (beside_others, alone) = (figures("censor", 1), figures("censor, alone there", 1));
    let rivals = |figures: &Figures| figures[&Figure::RivalPay];
    assert!(
        (0.95..1.05).contains(&rivals(&beside_others)),
        "{beside_others:?}"
    );
    assert!(rivals(&alone) < 0.95, "{alone:?}");
    assert!(alone[&Figure::OperatorPay] < 1.0, "it serves less: {alone:?}");
}

#[test]
fn two_accusers_of_four_hold_nobody_and_three_hold_whom_they_like() {
    let two = figures("accuse, two", 1);
    assert_eq!(two[&Figure::HonestEverQuarantined], 0.0, "{two:?}");
    let third = "\n[[insider]]\nmember = 2\nconduct = \"accuse\"\nfrom_minute = 48\n";
    let three = play(&(attack("accuse, two", 1) + third));
    let three = three.figures(&play(&attack("accuse, two", 0)), SETTING.epochs);
    assert!(three[&Figure::HonestEverQuarantined] > 0.02, "{three:?}");
}
