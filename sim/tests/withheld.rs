//! Who does not hand out what it acknowledged is recorded, and who is merely slow, cut off or slandered is not.

use milepost_sim::scenario::Scenario;
use milepost_sim::town::{self, Played};

/// Four members for some minutes, and what goes wrong.
fn play(seed: u64, minutes: u64, faults: &str) -> Played {
    let text = format!(
        "seed = {seed}\nminutes = {minutes}\n\n\
         [world]\nkind = \"grid\"\ncells = 4\nvehicles = 6\nlook_share = 0.8\n\n\
         [ledger]\nmembers = 4\nslot_seconds = 10\nepoch_minutes = 1\nblock_interval_ms = 400\n\
         heartbeat_ms = 1500\nbatch_age_ms = 200\n\n\
         [ledger.params]\njail_epochs = 0\n\
         freshness_ms = {{ speed = 10000, congestion = 10000, humidity = 10000, hazard = 10000 }}\n\n\
         [link]\ndelay_ms = [5, 25]\n\n{faults}"
    );
    let scenario = Scenario::parse(&text, "withheld").expect("a scenario");
    town::play(&scenario, seed, |_| ()).expect("it is played")
}

/// Lines lose a fifth of what is said, so that everybody lacks a batch now and then.
const LOSSY: &str = "[[fault]]\nkind = \"lossy\"\nloss = 0.2\nat_minute = 0\nfor_minutes = 3\n";

fn lie(kind: &str, member: usize) -> String {
    format!("\n[[fault]]\nkind = \"{kind}\"\nmember = {member}\nat_minute = 0\nfor_minutes = 100\n")
}

#[test]
fn who_acknowledges_and_does_not_hand_out_is_recorded() {
    for seed in 1..4 {
        let played = play(seed, 4, &(LOSSY.to_owned() + &lie("withhold", 3)));
        assert_eq!(played.withheld, [3], "seed {seed}: {:?}", played.figures.faults);
        assert!(played.complaints >= 2, "seed {seed}: {}", played.complaints);
        assert!(played.figures.invariants.is_safe(), "{:?}", played.broken);
        assert_eq!(played.jailed, 0);
    }
}

/// A member that loses messages, is cut off, stands still, waits for its disk and crashes; and a liar that complains of all.
#[test]
fn who_is_slow_and_cut_off_is_not_at_one_liars_word() {
    let troubles = [
        "kind = \"slow_disk\"\nmember = 2\nsync_ms = 150\nat_minute = 0.2\nfor_minutes = 1",
        "kind = \"partition\"\nmembers = [2]\nat_minute = 1.3\nfor_minutes = 0.6",
        "kind = \"crash\"\nmember = 2\ntorn = true\nat_minute = 2.1\nfor_minutes = 0.4",
        "kind = \"freeze\"\nmember = 2\nat_minute = 2.7\nfor_minutes = 0.3",
    ];
    let troubles = troubles
        .map(|trouble| format!("\n[[fault]]\n{trouble}\n"))
        .concat();
    for seed in 1..4 {
        let played = play(seed, 4, &(LOSSY.to_owned() + &troubles + &lie("slander", 0)));
        assert!(played.withheld.is_empty(), "seed {seed}: {:?}", played.withheld);
        // The liar was listened to, once about each.
        assert!(
            (1..=3).contains(&played.complaints),
            "seed {seed}: {}",
            played.complaints
        );
        assert!(played.figures.invariants.is_safe(), "{:?}", played.broken);
    }
}

/// The control of the one above: two liars of four are more than a third, they get somebody recorded, and the watch says so.
#[test]
fn at_the_word_of_more_than_a_third_it_is_and_the_watch_notices() {
    let played = play(1, 2, &(lie("slander", 0) + &lie("slander", 1)));
    assert!(!played.withheld.is_empty());
    assert!(!played.figures.invariants.is_safe());
    assert!(
        played
            .broken
            .iter()
            .any(|what| what.contains("at the word of liars alone")),
        "{:?}",
        played.broken
    );
}
