//! What becomes of a member on a slow link?
//!
//! All three links of a member take 200 ms each way, and stand still for a second now and then, as TCP does where packets
//! are lost. The others go on as before, the member keeps up, every report becomes final, and nobody says two things.

use std::time::Duration;

use milepost_tests::{Consortium, Drive, Plan, Relay, Ride, Slow, Source};

const WAIT_MAX: Duration = Duration::from_secs(60);
const SLOW: Slow = Slow {
    delay: Duration::from_millis(200),
    stall_after: 50,
    stall: Duration::from_secs(1),
};

#[test]
fn a_member_on_a_slow_link_keeps_up_and_holds_nobody_up() {
    let mut consortium = Consortium::make(Plan::default());
    for other in 0..3 {
        consortium.reroute(3, other, |address| Relay::to(address, SLOW).address().to_string());
    }
    consortium.start_all();
    for nth in consortium.all() {
        consortium.reach(nth, 3, WAIT_MAX);
    }
    // One of the vehicles is heard by the slow member alone, as long as it answers.
    let drives: Vec<Drive> = (0..4)
        .map(|nth| {
            let lines = Ride::in_line(nth).jsonl(12);
            consortium.vehicle(nth).drive(Source::Jsonl(lines), 60)
        })
        .collect();
    for drive in drives {
        drive.finish_final(2 * WAIT_MAX);
    }
    let tip = consortium.height(0).expect("member 0 answers");
    consortium.reach(3, tip, WAIT_MAX);
    consortium.hear_each_other(consortium.all(), WAIT_MAX);
    consortium.agree(consortium.all());
    for nth in consortium.all() {
        assert_eq!(consortium.metric(nth, "milepost_equivocations_total"), Some(0));
    }
    let given_up = consortium.metric(0, "milepost_rounds_given_up_total");
    println!("{tip} blocks, {given_up:?} rounds given up");
    consortium.stop_all();
}
