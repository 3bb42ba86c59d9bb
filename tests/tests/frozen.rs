//! What becomes of a member that stands still, and of the reports meanwhile?
//!
//! SIGSTOP under load, as when a virtual machine is suspended: connections stay, and nobody answers on them. The others
//! go on, the member notices when it goes on, starts anew, catches up, and is heard; every report becomes final, and
//! what was final stays. `MILEPOST_FROZEN_SECONDS=60` for the whole minute.

use std::time::Duration;

use milepost_tests::{Consortium, Drive, Plan, Ride, Source};

const FROZEN: Duration = Duration::from_secs(15);
const WAIT_MAX: Duration = Duration::from_secs(60);

#[test]
fn a_member_that_stood_still_catches_up_and_no_report_is_lost() {
    let frozen = std::env::var("MILEPOST_FROZEN_SECONDS").ok();
    let frozen = frozen.map_or(FROZEN, |text| {
        Duration::from_secs(text.parse().expect("a number of seconds"))
    });
    // Fresh for long: what waits with the member still counts when it goes on.
    let mut consortium = Consortium::running(Plan {
        overrides: &[
            "params.freshness_ms.speed=300000",
            "config.node.heartbeat_ms=1000",
        ],
        ..Plan::default()
    });
    consortium.reach(0, 2, WAIT_MAX);
    let drives: Vec<Drive> = (0..4)
        .map(|nth| {
            let lines = Ride::in_line(nth).jsonl(frozen.as_secs() as u32 + 8);
            consortium.vehicle(nth).drive(Source::Jsonl(lines), 60)
        })
        .collect();
    consortium.reach(2, 5, WAIT_MAX);
    let before: Vec<[String; 2]> = (1..=5).map(|height| consortium.block(2, height)).collect();

    consortium.freeze(2);
    let began = consortium.height(0).expect("member 0 answers");
    std::thread::sleep(frozen);
    let ended = consortium.height(0).expect("member 0 answers");
    assert!(
        ended > began + 3,
        "the others stood still, too: {began} to {ended}"
    );
    consortium.thaw(2);
    consortium.reach(2, ended, WAIT_MAX);
    consortium.hear_each_other(consortium.all(), WAIT_MAX);

    for drive in drives {
        drive.finish_final(frozen + 2 * WAIT_MAX);
    }
    let after: Vec<[String; 2]> = (1..=5).map(|height| consortium.block(2, height)).collect();
    assert_eq!(before, after, "what was final is not");
    consortium.agree(consortium.all());
    let log = consortium.log(2);
    assert!(log.contains("this process stood still"), "{log}");
    println!(
        "frozen for {} s: the others went from block {began} to {ended}",
        frozen.as_secs()
    );
    consortium.stop_all();
}
