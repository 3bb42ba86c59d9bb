//! What do the users notice when all members are restarted, one after the other?
//!
//! Under load. Nothing: what a vehicle was told is final stays so, and what it says meanwhile becomes final. How long
//! no block was made, and in which rounds blocks were decided, is printed.

use std::time::Duration;

use milepost_tests::{Consortium, Drive, Plan, Ride, Source};

const DRIVE_S: u32 = 40;
const BLOCKS_MAX: Duration = Duration::from_secs(60);

#[test]
fn a_rolling_restart_loses_nothing() {
    let mut consortium = Consortium::running(Plan::default());
    consortium.reach(0, 3, BLOCKS_MAX);
    let drives: Vec<Drive> = (0..4)
        .map(|nth| {
            let lines = Ride::in_line(nth).jsonl(DRIVE_S);
            consortium.vehicle(nth).drive(Source::Jsonl(lines), 60)
        })
        .collect();
    let first = consortium.height(0).expect("member 0 answers");
    for nth in consortium.all() {
        let before: Vec<u64> = consortium
            .all()
            .filter_map(|nth| consortium.height(nth))
            .collect();
        consortium.stop(nth);
        let other = (nth + 1) % 4;
        consortium.reach(other, before[other] + 2, BLOCKS_MAX);
        consortium.start(nth);
        let tip = consortium.height(other).expect("it was not stopped");
        consortium.reach(nth, tip, BLOCKS_MAX);
    }
    for drive in drives {
        drive.finish_final(Duration::from_secs(u64::from(DRIVE_S) + 90));
    }
    let last = consortium.agree(consortium.all());
    let mut pauses_ms = std::collections::BTreeMap::<u64, Vec<u64>>::new();
    let mut before: Option<u64> = None;
    for height in first..=last {
        let block = consortium
            .get(0, &format!("/v1/blocks/{height}"))
            .expect("it was agreed on");
        let at = milliseconds(block["time"].as_str().expect("a block has its time"));
        let round = block["certificate"]["round"].as_u64().expect("a number");
        let pause_ms = before.map_or(0, |before| at - before);
        pauses_ms.entry(round).or_default().push(pause_ms);
        before = Some(at);
    }
    for (round, mut pauses_ms) in pauses_ms {
        pauses_ms.sort_unstable();
        pauses_ms.reverse();
        println!(
            "decided in round {round}: {} blocks; longest without one before them, ms: {:?}",
            pauses_ms.len(),
            &pauses_ms[..pauses_ms.len().min(5)]
        );
    }
    consortium.stop_all();
}

/// Of the day: `2026-01-02T03:04:05.678Z`.
fn milliseconds(time: &str) -> u64 {
    let of_day = time.split_once('T').expect("RFC 3339").1.trim_end_matches('Z');
    let mut parts = of_day
        .split([':', '.'])
        .map(|part| part.parse::<u64>().expect("a number"));
    let mut next = || parts.next().expect("hours, minutes, seconds, milliseconds");
    ((next() * 60 + next()) * 60 + next()) * 1000 + next()
}
