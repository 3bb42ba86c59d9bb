//! May members be started in any order, and hours apart?
//!
//! Members link to those before them in the settings, which start after them here, with gaps beyond every timeout. As
//! long as there are two of four they wait, and say so; the third makes a quorum; the fourth catches up. All hear all.

use std::time::Duration;

use milepost_tests::{Consortium, Plan};

const WAIT_MAX: Duration = Duration::from_secs(60);
/// Longer than a lease of zenoh's (2 s), than its longest pause between attempts to link (2 s), and than a round.
const GAP: Duration = Duration::from_secs(6);

#[test]
fn members_find_together_in_whatever_order_they_come() {
    let mut consortium = Consortium::make(Plan::default());
    consortium.start(3);
    std::thread::sleep(GAP);
    consortium.start(1);
    std::thread::sleep(GAP);
    assert_eq!(
        [consortium.height(1), consortium.height(3)],
        [Some(0), Some(0)],
        "two of four decided a block"
    );
    consortium.hear_each_other([1, 3], WAIT_MAX);

    consortium.start(0);
    for nth in [0, 1, 3] {
        consortium.reach(nth, 3, WAIT_MAX);
    }
    std::thread::sleep(GAP);
    let tip = consortium.height(0).expect("member 0 answers");
    consortium.start(2);
    consortium.reach(2, tip + 2, WAIT_MAX);
    consortium.hear_each_other(consortium.all(), WAIT_MAX);
    consortium.agree(consortium.all());
    consortium.stop_all();
}
