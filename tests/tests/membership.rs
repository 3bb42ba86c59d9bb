//! Can operators let a unit in and take another one's vote, by commands alone, while vehicles drive?
//!
//! Four members under load. A fifth comes by `join`, follows without a vote, is proposed and approved, and then votes:
//! with one of five dead, four must sign, so no block is made without it. Then another loses its vote, signs nothing more
//! and follows on. Every home verifies, and all stand on one state.

use std::collections::BTreeSet;
use std::time::Duration;

use milepost_tests::{Consortium, Drive, Plan, Ride, Source, verify};
use serde_json::Value;

/// How long the vehicles drive, in seconds.
const DRIVE_S: u32 = 40;
/// How long some blocks may take on a busy machine.
const BLOCKS_MAX: Duration = Duration::from_secs(60);

#[test]
fn a_fifth_member_is_voted_in_by_commands_and_a_removed_one_follows_on() {
    let mut consortium = Consortium::running(Plan::default());
    consortium.reach(0, 3, BLOCKS_MAX);
    let drives: Vec<Drive> = (0..3)
        .map(|nth| {
            let lines = Ride::in_line(nth).jsonl(DRIVE_S);
            consortium.vehicle(nth).drive(Source::Jsonl(lines), 60)
        })
        .collect();

    let (fifth, key) = come_in(&mut consortium);
    let from = consortium.decide(
        &["propose", "add-member", "--key", &key, "--provider", "provider-5"],
        &[0, 1, 2],
    );
    for nth in consortium.all() {
        consortium.reach(nth, from + 2, BLOCKS_MAX);
    }
    assert_eq!(votes(&consortium, fifth)["votes"], true);
    let voted = from;

    // Four of five must sign.
    consortium.kill(1);
    let alone = height(&consortium, 0);
    consortium.reach(0, alone + 6, BLOCKS_MAX);
    for signed in (alone + 2..=alone + 6).map(|height| signers(&consortium, height)) {
        assert!(signed.contains(&id(&consortium, fifth)), "{signed:?}");
    }
    consortium.start(1);
    let tip = height(&consortium, 0);
    consortium.reach(1, tip, BLOCKS_MAX);

    let gone = id(&consortium, 3);
    let from = consortium.decide(&["propose", "remove-member", &gone], &[fifth, 0, 1, 2]);
    for nth in consortium.all() {
        consortium.reach(nth, from + 6, BLOCKS_MAX);
    }
    for signed in (from..=from + 6).map(|height| signers(&consortium, height)) {
        assert!(
            !signed.contains(&gone),
            "it signed after its vote was taken: {signed:?}"
        );
    }
    assert_eq!(votes(&consortium, 3)["votes"], false);
    let refused = consortium.operate(3, &["propose", "remove-member", &id(&consortium, 0)]);
    assert!(refused.ended_with(1).stderr.contains("is no member"));

    for drive in drives {
        drive.finish_final(Duration::from_secs(u64::from(DRIVE_S) + 75));
    }
    let last = consortium.agree(consortium.all());
    let heard = (voted..=last).map(|height| block(&consortium, height)["reports"].as_u64());
    assert!(
        heard.flatten().sum::<u64>() > 0,
        "nobody was heard after block {voted}"
    );
    consortium.stop_all();
    verify_all(&consortium);
}

/// A fifth unit joins, follows, and may decide on nothing. Returns its number and its public key.
fn come_in(consortium: &mut Consortium) -> (usize, String) {
    let (fifth, joined) = consortium.join();
    consortium.start(fifth);
    let tip = height(consortium, 0);
    consortium.reach(fifth, tip, BLOCKS_MAX);
    let seen = votes(consortium, fifth);
    assert_eq!((&seen["votes"], &seen["id"]), (&false.into(), &joined["address"]));
    let refused = consortium.operate(fifth, &["propose", "set-param", "need_max=3"]);
    assert!(refused.ended_with(1).stderr.contains("is no member"));
    let key = joined["key"].as_str().expect("join tells the key").to_owned();
    (fifth, key)
}

fn verify_all(consortium: &Consortium) {
    let mut roots = BTreeSet::new();
    for nth in consortium.all() {
        let report = verify(consortium.home(nth)).ended_with(0).json();
        assert_eq!(
            (&report["ok"], &report["headers"]),
            (&true.into(), &report["height"])
        );
        roots.insert((report["height"].as_u64(), report["state_root"].to_string()));
    }
    let heights: BTreeSet<_> = roots.iter().map(|(height, _)| height).collect();
    assert_eq!(heights.len(), roots.len(), "two states at one height: {roots:?}");
}

fn height(consortium: &Consortium, nth: usize) -> u64 {
    consortium.height(nth).expect("it answers")
}

fn votes(consortium: &Consortium, nth: usize) -> Value {
    consortium.get(nth, "/v1/members").expect("it answers")
}

fn id(consortium: &Consortium, nth: usize) -> String {
    votes(consortium, nth)["id"]
        .as_str()
        .expect("an address")
        .to_owned()
}

fn block(consortium: &Consortium, height: u64) -> Value {
    consortium
        .get(0, &format!("/v1/blocks/{height}"))
        .expect("it is there")
}

/// Who signed a block's certificate.
fn signers(consortium: &Consortium, height: u64) -> Vec<String> {
    let block = block(consortium, height);
    let signers = block["certificate"]["signers"].as_array().expect("a list");
    signers
        .iter()
        .map(|signer| signer.as_str().expect("an address").to_owned())
        .collect()
}
