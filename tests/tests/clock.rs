//! What becomes of a member whose clock is wrong?
//!
//! Five minutes ahead, then five minutes behind, then right again. The others go on, blocks keep to the true time,
//! reports become final; the member follows, and says what is to be done about it.

use std::time::Duration;

use milepost_rsu::{clock, rfc3339};
use milepost_tests::{Consortium, Drive, Plan, Ride, Source, eventually, skewed};

const WAIT_MAX: Duration = Duration::from_secs(60);
const OFF_S: i64 = 300;
/// How far ahead of the others' clocks a block may lie: `drift_ms`.
const DRIFT_MS: u64 = 2_000;

#[test]
fn a_wrong_clock_neither_stops_the_chain_nor_moves_its_time() {
    let mut consortium = Consortium::make(Plan::default());
    let folder = consortium.folder().to_owned();
    consortium.set_environment(3, skewed(&folder, OFF_S));
    consortium.start_all();
    off(&consortium, OFF_S, "clock is ahead of the other members'");

    consortium.stop(3);
    consortium.set_environment(3, skewed(&folder, -OFF_S));
    consortium.start(3);
    off(&consortium, -OFF_S, "clock is behind the other members'");

    consortium.stop(3);
    consortium.set_environment(3, Vec::new());
    consortium.start(3);
    let tip = consortium.height(0).expect("member 0 answers");
    consortium.reach(3, tip + 8, WAIT_MAX);
    assert_eq!(consortium.metric(3, "milepost_clock_error_ms"), Some(0));
    consortium.hear_each_other(consortium.all(), WAIT_MAX);
    consortium.agree(consortium.all());
    consortium.stop_all();
}

/// Under load: the chain goes on by the others' clocks, member 3 follows and tells of its own.
fn off(consortium: &Consortium, seconds: i64, told: &str) {
    let drives: Vec<Drive> = (0..4)
        .map(|nth| {
            let lines = Ride::in_line(nth).jsonl(6);
            consortium.vehicle(nth).drive(Source::Jsonl(lines), 60)
        })
        .collect();
    let before = consortium.height(0).expect("member 0 answers");
    for nth in consortium.all() {
        consortium.reach(nth, before + 8, WAIT_MAX);
    }
    eventually("member 3 tells that its clock is wrong", WAIT_MAX, || {
        consortium.log(3).contains(told).then_some(())
    });
    let error_ms = consortium
        .metric(3, "milepost_clock_error_ms")
        .expect("member 3 answers");
    assert!((error_ms - 1000 * seconds).abs() < 10_000, "{error_ms} ms");
    for nth in 0..3 {
        assert_eq!(
            consortium.metric(nth, "milepost_clock_error_ms"),
            Some(0),
            "member {nth}"
        );
        assert!(!consortium.log(nth).contains("machine's clock"), "member {nth}");
    }
    for drive in drives {
        drive.finish_final(2 * WAIT_MAX);
    }
    let tip = consortium.agree(consortium.all());
    // Moments in UTC, as text of one length, compare as they follow one another.
    let latest = rfc3339::format(clock::wall().plus(DRIFT_MS));
    for height in before.max(1)..=tip {
        let block = consortium.get(0, &format!("/v1/blocks/{height}"));
        let block = block.expect("it was agreed on");
        let time = block["time"].as_str().expect("a block has its time");
        assert!(time <= latest.as_str(), "block {height} of {time} at {latest}");
    }
}
