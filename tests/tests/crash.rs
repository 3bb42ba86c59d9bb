//! What survives kill -9?
//!
//! Four members under load; SIGKILL to one, SIGSTOP to another, SIGKILL to two, then to all. Vehicles go on
//! driving meanwhile, and none of their reports may be lost.

use std::time::{Duration, Instant};

use milepost_tests::{Consortium, Drive, Plan, Ride, Source};

/// How long the vehicles drive, in seconds.
const DRIVE_S: u32 = 45;
/// How long some blocks may take on a busy machine.
const BLOCKS_MAX: Duration = Duration::from_secs(30);
/// The promise: so long after its start, a member that was killed has what the others had then.
const BACK_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn one_that_is_gone_holds_nobody_up_and_killing_all_loses_nothing() {
    let mut consortium = Consortium::running(Plan::default());
    let drives: Vec<Drive> = (0..3)
        .map(|nth| {
            let lines = Ride::in_line(nth).jsonl(DRIVE_S);
            consortium.vehicle(nth).drive(Source::Jsonl(lines), 60)
        })
        .collect();
    rise(&consortium, 3);

    one_killed(&mut consortium);
    one_frozen(&consortium);
    two_killed(&mut consortium);
    all_killed(&mut consortium);

    for drive in drives {
        let summary = drive.finish(Duration::from_secs(u64::from(DRIVE_S) + 75));
        let count = |name: &str| summary[name].as_u64().expect("a number");
        assert_eq!(count("observations"), u64::from(DRIVE_S), "{summary}");
        assert_eq!(
            (count("waiting"), count("lost")),
            (0, 0),
            "reports were lost: {summary}"
        );
        assert!(count("final") > 0, "no report counts: {summary}");
    }
    consortium.agree(consortium.all());
    consortium.stop_all();
}

fn one_killed(consortium: &mut Consortium) {
    let victim = 1;
    consortium.kill(victim);
    let others = [0, 2, 3];
    let killed_at = height(consortium, 0);
    for nth in others {
        consortium.reach(nth, killed_at + 4, BLOCKS_MAX);
    }

    let tip = height(consortium, 0);
    let began = Instant::now();
    consortium.start(victim);
    consortium.reach(victim, tip, BLOCKS_MAX);
    let took = began.elapsed();
    println!(
        "a member killed at block {killed_at} was back at block {tip} after {:.1} s",
        took.as_secs_f64()
    );
    assert!(
        took <= BACK_WITHIN,
        "it took {took:?}, promised are {BACK_WITHIN:?}"
    );
    consortium.agree(consortium.all());
    rise(consortium, 2);
}

/// A frozen member keeps its connections, and must not make the others wait for it to read.
fn one_frozen(consortium: &Consortium) {
    let victim = 2;
    consortium.freeze(victim);
    let frozen_at = height(consortium, 0);
    for nth in [0, 1, 3] {
        consortium.reach(nth, frozen_at + 4, BLOCKS_MAX);
    }
    consortium.thaw(victim);
    consortium.reach(victim, frozen_at + 4, BLOCKS_MAX);
    rise(consortium, 2);
}

/// Two of four decide nothing; when one more is back, they do.
fn two_killed(consortium: &mut Consortium) {
    consortium.kill(0);
    consortium.kill(3);
    // What was on its way when they died may still arrive.
    std::thread::sleep(Duration::from_secs(1));
    let stuck_at = [1, 2].map(|nth| height(consortium, nth));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(
        [1, 2].map(|nth| height(consortium, nth)),
        stuck_at,
        "two of four decided a block"
    );
    consortium.start(3);
    for nth in [1, 2, 3] {
        consortium.reach(nth, stuck_at[0].max(stuck_at[1]) + 3, BLOCKS_MAX);
    }
    consortium.start(0);
    rise(consortium, 2);
    consortium.agree(consortium.all());
}

fn all_killed(consortium: &mut Consortium) {
    // What a member answered before is what it must still have.
    let before: Vec<(u64, [String; 2])> = consortium
        .all()
        .map(|nth| {
            let tip = height(consortium, nth);
            (tip, consortium.block(nth, tip))
        })
        .collect();
    for nth in consortium.all() {
        consortium.kill(nth);
    }
    consortium.start_all();
    for (nth, (tip, block)) in before.iter().enumerate() {
        let found = height(consortium, nth);
        assert!(
            found >= *tip,
            "member {nth} went back from block {tip} to {found}"
        );
        assert_eq!(
            consortium.block(nth, *tip),
            *block,
            "member {nth} has another block {tip}"
        );
    }
    rise(consortium, 4);
    consortium.agree(consortium.all());
}

fn height(consortium: &Consortium, nth: usize) -> u64 {
    consortium
        .height(nth)
        .unwrap_or_else(|| panic!("member {nth} does not answer"))
}

/// Waits until every member has so many blocks more.
fn rise(consortium: &Consortium, blocks: u64) {
    let goal = consortium
        .all()
        .filter_map(|nth| consortium.height(nth))
        .max()
        .unwrap_or(0)
        + blocks;
    for nth in consortium.all() {
        consortium.reach(nth, goal, BLOCKS_MAX);
    }
}
