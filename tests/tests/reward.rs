//! Does a report become tokens, and can the vehicle itself check how?
//!
//! Six vehicles of one recording drive two roads at two speeds, three on each: the fewest that can vouch for one
//! another, and for whom the other road is news.

use std::time::Duration;

use milepost_tests::{Consortium, Plan, Program, Ride, Said, Source, Vehicle, eventually, micro};
use serde_json::Value;

/// How long the vehicles drive, in seconds: two epochs and a bit.
const DRIVE_S: u32 = 24;
/// How long the last receipts, and then the pay, may take.
const PAY_MAX: Duration = Duration::from_secs(60);

#[test]
fn a_report_becomes_a_balance_that_its_vehicle_can_explain_and_spend() {
    let mut consortium = Consortium::running(Plan::default());
    drive(&consortium);

    let vehicle = consortium.vehicle(0);
    let (epoch, paid) = eventually("a payment for vehicle 0", PAY_MAX, || {
        payment(&consortium, &vehicle)
    });
    explain(&vehicle, epoch, paid);
    see(&vehicle);
    spend(&vehicle, &consortium);

    consortium.agree(consortium.all());
    supply(&consortium);
    consortium.stop_all();
}

/// All vehicles drive at once; each must hear that all its reports count.
fn drive(consortium: &Consortium) {
    let rides = Ride::two_roads();
    let trace = consortium.folder().join("town.fcd.xml");
    std::fs::write(&trace, Ride::fcd(&rides, DRIVE_S)).expect("the testnet's folder can be written");
    let drives: Vec<_> = (0..rides.len())
        .map(|nth| {
            let source = Source::Fcd(trace.clone(), format!("v{nth}"));
            consortium.vehicle(nth).drive(source, PAY_MAX.as_secs())
        })
        .collect();
    for drive in drives {
        let summary = drive.finish(PAY_MAX + 2 * Duration::from_secs(DRIVE_S.into()));
        assert_eq!(summary["observations"], DRIVE_S, "{summary}");
        assert_eq!(
            summary["final"], summary["sent"],
            "not every report counts: {summary}"
        );
        assert_eq!(summary["waiting"], 0, "{summary}");
    }
}

/// The first epoch that paid the vehicle, and how much, by a unit's own word.
fn payment(consortium: &Consortium, vehicle: &Vehicle) -> Option<(u64, u64)> {
    let id = vehicle.secret().key_id();
    let newest = consortium.get(0, "/v1/status")?["epoch"].as_u64()?;
    (0..newest).find_map(|epoch| {
        let explained = consortium.get(0, &format!("/v1/explain/{id}/{epoch}"))?;
        let amount = micro(&explained["payment"]["amount"])?;
        (amount > 0).then_some((epoch, amount))
    })
}

/// The account holds at least this pay, and its lines come to its points, by proof.
fn explain(vehicle: &Vehicle, epoch: u64, paid: u64) {
    let balance = vehicle.ask("balance", &[]);
    assert_eq!(balance["verified"], true, "{balance}");
    assert!(
        micro(&balance["balance"]) >= Some(paid),
        "less than was paid for epoch {epoch} alone: {balance}"
    );
    let reputation = balance["vehicle"]["reputation"].as_f64();
    assert!(reputation > Some(0.25), "it did not rise: {balance}");

    let explained = vehicle.ask("explain", &["--epoch", &epoch.to_string()]);
    assert_eq!(explained["verified"], true, "{explained}");
    assert_eq!(explained["adds_up"], true, "{explained}");
    let scores = explained["scores"].as_array().expect("there are scores");
    let points: i64 = scores
        .iter()
        .map(|score| score["points"].as_i64().expect("points"))
        .sum();
    let payment = &explained["payment"];
    assert_eq!(payment["points"], points, "{explained}");
    assert_eq!(micro(&payment["amount"]), Some(paid), "{explained}");
}

/// The final picture of the town has figures of both roads.
fn see(vehicle: &Vehicle) {
    let picture = vehicle.ask("picture", &["--bbox", "11.2,44.4,11.5,44.6"]);
    assert_eq!(picture["verified"], true, "{picture}");
    let estimates = picture["estimates"].as_array().expect("there are estimates");
    for (road, cm_per_s) in [("fast", 2000), ("slow", 690)] {
        let is_it = |estimate: &Value| {
            (estimate["value"].as_i64()).is_some_and(|value| (value - cm_per_s).abs() < 50)
        };
        assert!(
            estimates.iter().any(is_it),
            "no figure of about {cm_per_s} cm/s, as on the {road} road: {picture}"
        );
    }
}

/// Tokens move to a new account: as many as were sent, and no others.
fn spend(vehicle: &Vehicle, consortium: &Consortium) {
    let key = consortium.folder().join("friend.key");
    let made = Program::Obu.run(["keygen", "--json", "--out", key.to_str().expect("UTF-8")]);
    let made = made.ended_with(0).json();
    let to = made["address"].as_str().expect("an address");
    let sent = vehicle.ask("transfer", &["--to", to, "--amount", "0.000123", "--wait"]);
    assert_eq!(
        (&sent["verified"], &sent["executed"]),
        (&Value::Bool(true), &Value::Bool(true)),
        "{sent}"
    );
    let held = vehicle.with_key(key).ask("balance", &[]);
    assert_eq!(micro(&held["balance"]), Some(123), "{held}");
    assert_eq!(held["vehicle"], Value::Null, "a friend is no vehicle: {held}");

    let mut too_much = vehicle.command("transfer", &["--to", to, "--amount", "1000000"]);
    let refused = Said::by(&mut too_much, PAY_MAX).ended_with(1);
    assert!(
        refused.stderr.contains("1000000"),
        "what cannot be spent is named: {refused}"
    );
}

/// What was made is what is held.
fn supply(consortium: &Consortium) {
    let status = consortium.get(0, "/v1/status").expect("member 0 answers");
    let amount = |name: &str| micro(&status["supply"][name]).expect("an amount");
    assert_eq!(amount("minted") - amount("burned"), amount("held"), "{status}");
}
