//! Does a unit without a vote bring reports onto the ledger, and its provider the operator's share?
//!
//! A fifth unit follows four members, and keeps the reports that reach it to itself, so that nobody else hears its vehicles.
//! Before member 0 enrols it, nothing of what it hears counts; afterwards all of it does, six vehicles are paid, and of the
//! members only member 0 has earned. Another member can neither enrol in its name nor revoke what it enrolled.

use std::time::Duration;

use milepost_tests::{Consortium, Plan, Ride, Source, Vehicle, eventually, micro, verify};
use serde_json::Value;

/// How long the vehicles drive, in seconds: two epochs and a bit.
const DRIVE_S: u32 = 24;
/// How long the last receipts, and then the pay, may take.
const PAY_MAX: Duration = Duration::from_secs(60);

#[test]
fn what_only_a_listening_unit_hears_is_paid_and_its_provider_earns() {
    let mut consortium = Consortium::running(Plan::default());
    consortium.reach(0, 2, PAY_MAX);
    let (unit, joined) = consortium.join();
    keep_reports(&consortium, unit);
    consortium.start(unit);

    // The control: where nobody answers for the unit, its vehicle's reports wait.
    let alone = near(&consortium, unit, 7).drive(Source::Jsonl(Ride::in_line(7).jsonl(3)), 4);
    let summary = alone.finish(PAY_MAX);
    assert!(summary["sent"].as_u64() > Some(0), "{summary}");
    assert_eq!(summary["final"], 0, "somebody else heard it: {summary}");

    let key = joined["key"].as_str().expect("join tells the key");
    let enrolled = consortium
        .operate(0, &["unit", "enrol", "--key", key])
        .ended_with(0)
        .json();
    let id = enrolled["vehicle"].as_str().expect("a key id");
    let height = enrolled["height"].as_u64().expect("a height");
    consortium.reach(unit, height, PAY_MAX);
    let operator = member(&consortium, 0);
    assert_eq!(
        get(&consortium, unit, "/v1/members")["works_for"],
        operator.as_str()
    );

    drive(&consortium, unit);
    let listed = get(&consortium, 1, "/v1/units")["units"][0].clone();
    assert_eq!(listed["id"], id, "{listed}");
    assert_eq!(listed["operator"], operator.as_str(), "{listed}");
    let last = consortium.agree(consortium.all());
    for height in 1..=last {
        let block = get(&consortium, 0, &format!("/v1/blocks/{height}"));
        for batch in block["batches"].as_array().expect("a list") {
            assert_eq!(batch["author"], listed["address"], "{batch} in block {height}");
        }
    }
    paid(&consortium);

    let refused = consortium.operate(1, &["unit", "revoke", id]);
    assert!(refused.ended_with(1).stderr.contains("did not enrol"));
    let done = consortium
        .operate(0, &["unit", "revoke", id])
        .ended_with(0)
        .json();
    consortium.reach(unit, done["height"].as_u64().expect("a height"), PAY_MAX);
    assert_eq!(get(&consortium, unit, "/v1/members")["works_for"], Value::Null);
    consortium.stop_all();
    for nth in [0, unit] {
        let report = verify(consortium.home(nth)).ended_with(0).json();
        assert_eq!(report["ok"], true, "{report}");
    }
}

/// The unit's reports do not travel on as they are.
fn keep_reports(consortium: &Consortium, unit: usize) {
    let path = consortium.home(unit).join("rsu.toml");
    let settings = std::fs::read_to_string(&path).expect("join wrote it");
    let kept = settings.replace("pass_reports_on = true", "pass_reports_on = false");
    assert_ne!(kept, settings, "the setting is there");
    std::fs::write(&path, kept).expect("the testnet's folder can be written");
}

/// A vehicle in reach of this unit alone.
fn near(consortium: &Consortium, unit: usize, nth: usize) -> Vehicle {
    Vehicle {
        connect: vec![consortium.endpoint(unit).to_owned()],
        ..consortium.vehicle(nth)
    }
}

/// Six vehicles drive at once in reach of the unit; each must hear from it that all its reports count.
fn drive(consortium: &Consortium, unit: usize) {
    let rides = Ride::two_roads();
    let trace = consortium.folder().join("town.fcd.xml");
    std::fs::write(&trace, Ride::fcd(&rides, DRIVE_S)).expect("the testnet's folder can be written");
    let drives: Vec<_> = (0..rides.len())
        .map(|nth| {
            let source = Source::Fcd(trace.clone(), format!("v{nth}"));
            near(consortium, unit, nth).drive(source, PAY_MAX.as_secs())
        })
        .collect();
    for drive in drives {
        let summary = drive.finish(PAY_MAX + 2 * Duration::from_secs(DRIVE_S.into()));
        assert_eq!(
            summary["final"], summary["sent"],
            "not every report counts: {summary}"
        );
        assert_eq!(summary["waiting"], 0, "{summary}");
    }
}

/// A vehicle is paid, and of the members only the unit's operator.
fn paid(consortium: &Consortium) {
    let id = consortium.vehicle(0).secret().key_id();
    let provider = eventually("pay for vehicle 0 and for the operator", PAY_MAX, || {
        let vehicle = consortium.get(0, &format!("/v1/vehicles/{id}"))?;
        let earned = micro(&vehicle["earned"])?;
        let provider = balance(consortium, 0);
        (earned > 0 && provider > 0).then_some(provider)
    });
    assert!(provider > 0);
    for nth in 1..4 {
        assert_eq!(balance(consortium, nth), 0, "member {nth} heard nobody");
    }
}

fn balance(consortium: &Consortium, nth: usize) -> u64 {
    let account = get(
        consortium,
        0,
        &format!("/v1/accounts/{}", member(consortium, nth)),
    );
    micro(&account["balance"]).expect("an amount")
}

fn member(consortium: &Consortium, nth: usize) -> String {
    get(consortium, nth, "/v1/members")["id"]
        .as_str()
        .expect("an address")
        .to_owned()
}

fn get(consortium: &Consortium, nth: usize, path: &str) -> Value {
    consortium
        .get(nth, path)
        .unwrap_or_else(|| panic!("member {nth} does not answer {path}"))
}
