//! What becomes of what a vehicle sees while no roadside unit is in reach?

use std::time::Duration;

use milepost_tests::{Consortium, Plan, Ride, Source};

/// How long a drive may take, with all its receipts.
const DRIVE_MAX: Duration = Duration::from_secs(90);
/// How many observations each vehicle makes. Into how many reports they go is its own matter.
const OBSERVATIONS: u32 = 5;

/// Fresh for long, so that a slow machine makes no report too old.
const PLAN: Plan<'_> = Plan {
    members: 4,
    vehicles: 2,
    overrides: &["params.freshness_ms.speed=300000"],
    tls: false,
};

#[test]
fn reports_wait_on_disk_until_a_unit_is_in_reach() {
    let mut consortium = Consortium::make(PLAN);
    let [turned_off, patient] = [0, 1].map(|nth| consortium.vehicle(nth));
    let seen = |nth| Source::Jsonl(Ride::in_line(nth).jsonl(OBSERVATIONS));

    // One vehicle is turned off before anybody heard it, ...
    let alone = turned_off.drive(seen(0), 0).finish(DRIVE_MAX);
    assert_eq!(alone["sent"], 0, "somebody heard it: {alone}");
    assert_eq!(alone["observations"], OBSERVATIONS, "{alone}");
    assert!(alone["waiting"].as_u64() > Some(0), "nothing waits: {alone}");
    let kept = std::fs::metadata(turned_off.outbox()).expect("the outbox is a file beside the key");
    assert!(kept.len() > 0, "the outbox is empty");

    // ... the other one keeps driving until the members come up.
    let waits = patient.drive(seen(1), DRIVE_MAX.as_secs());
    std::thread::sleep(Duration::from_secs(2));
    consortium.start_all();
    let back = turned_off
        .drive(Source::Jsonl(String::new()), DRIVE_MAX.as_secs())
        .finish(DRIVE_MAX);
    assert_eq!(
        back["sent"], alone["waiting"],
        "other reports left than had waited: {back}"
    );
    let waited = waits.finish(DRIVE_MAX);
    assert_eq!(waited["observations"], OBSERVATIONS, "{waited}");
    for (who, summary) in [("turned off", back), ("patient", waited)] {
        assert!(summary["sent"].as_u64() > Some(0), "the one {who}: {summary}");
        assert_eq!(
            summary["outcomes"]["counted"], summary["sent"],
            "the one {who}: {summary}"
        );
        assert_eq!(summary["waiting"], 0, "the one {who}: {summary}");
    }
    consortium.stop_all();
}
