//! Can operators found a consortium of real units by the commands that docs/operations.md names, and steer it?
//!
//! Each makes its own unit's home and has its own authority certify its link; one makes the genesis of all. They run over
//! secured links, vehicles are enrolled and heard. Then they vote one vehicle into quarantine, whose reports no longer count
//! and which is not released without a record that speaks for it; prove by its own two reports that another one was where it
//! cannot have been; and let a member go on under another key.

use std::time::Duration;

use milepost_tests::{Consortium, Program, Ride, Source, Vehicle, eventually, verify};
use serde_json::Value;

/// How long some blocks, or the last receipts, may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn operators_found_a_chain_and_steer_it_by_commands() {
    let mut consortium = Consortium::founded(4);
    consortium.start_all();
    consortium.reach(0, 2, PATIENCE);
    let [good, bad, worse] = [0, 1, 2].map(|nth| consortium.enrol(nth));
    for (vehicle, ahead_m) in [(&good, 0.0), (&bad, 10.0), (&worse, 20.0)] {
        let summary = drive(vehicle, ahead_m);
        assert_eq!(summary["final"], summary["sent"], "{summary}");
    }
    votes_into_quarantine(&consortium, &bad);
    proves_a_jump(&consortium, &worse);
    let summary = drive(&good, 200.0);
    assert_eq!(summary["final"], summary["sent"], "{summary}");
    changes_key(&mut consortium, 3);
    consortium.agree(consortium.all());
    consortium.stop_all();
    for nth in consortium.all() {
        let verified = verify(consortium.home(nth)).ended_with(0).json();
        assert_eq!(verified["ok"], true, "{verified}");
    }
}

/// Drives a stretch of the road that begins so far ahead.
fn drive(vehicle: &Vehicle, ahead_m: f64) -> Value {
    let ride = Ride::in_line(0).behind(-ahead_m);
    let drive = vehicle.drive(Source::Jsonl(ride.jsonl(4)), PATIENCE.as_secs());
    let summary = drive.finish(2 * PATIENCE);
    assert!(summary["sent"].as_u64() > Some(0), "{summary}");
    summary
}

fn votes_into_quarantine(consortium: &Consortium, vehicle: &Vehicle) {
    let id = vehicle.secret().key_id().to_string();
    let evidence = consortium.folder().join("photograph");
    std::fs::write(&evidence, "it was not there").expect("the temporary folder can be written");
    let evidence = evidence.to_str().expect("a plain name");
    let proposed = consortium
        .operate(0, &["quarantine", "propose", &id, "--evidence", evidence])
        .ended_with(0)
        .json();
    let number = proposed["proposal"].to_string();
    // Two of four are no quorum.
    let second = vote(consortium, 1, &number);
    assert_eq!(second["standing"], "open", "{second}");
    let third = vote(consortium, 2, &number);
    assert_eq!(third["standing"], "decided", "{third}");
    let from = third["from"].as_u64().expect("a height");
    consortium.reach(0, from, PATIENCE);
    let shown = consortium.operate(0, &["vehicle", &id]).ended_with(0).json();
    assert!(!shown["quarantine"].is_null(), "{shown}");
    let summary = drive(vehicle, 200.0);
    assert_eq!(summary["final"], 0, "{summary}");
    let released = consortium.operate(0, &["quarantine", "release", &id]);
    assert!(released.ended_with(1).stderr.contains("record"));
}

fn vote(consortium: &Consortium, nth: usize, proposal: &str) -> Value {
    // It may hear of the proposal a moment later.
    eventually("the vote is taken", PATIENCE, || {
        let said = consortium.operate(nth, &["quarantine", "vote", proposal]);
        (said.status == Some(0)).then(|| said.json())
    })
}

fn proves_a_jump(consortium: &Consortium, vehicle: &Vehicle) {
    let id = vehicle.secret().key_id().to_string();
    let evidence = consortium.folder().join("evidence");
    let evidence = evidence.to_str().expect("a plain name");
    let list = ["quarantine", "evidence", "--vehicle", &id, "--out", evidence];
    let none = consortium.operate(1, &list).ended_with(0).json();
    assert_eq!(none["evidence"], Value::Array(Vec::new()), "it was honest so far");
    // A hundred kilometres within a few seconds.
    let ride = Ride::in_line(0).behind(100_000.0);
    let drive = vehicle.drive(Source::Jsonl(ride.jsonl(2)), 2);
    let summary = drive.finish(2 * PATIENCE);
    assert_eq!(summary["final"], 0, "{summary}");

    let api = consortium.api(1);
    let stranger = Program::Rsu.run(["quarantine", "evidence", "--api", api]);
    assert!(stranger.ended_with(1).stderr.contains("for members"));
    let listed = consortium.operate(1, &list).ended_with(0).json();
    let piece = &listed["evidence"][0];
    assert_eq!(
        (&piece["vehicle"], &piece["reason"]),
        (&id.clone().into(), &"jump".into()),
        "{listed}"
    );
    let [before, report] =
        ["before", "report"].map(|kind| format!("{evidence}/{id}-{}.{kind}", piece["sequence"]));
    // One report proves nothing.
    let _ = consortium
        .operate(1, &["quarantine", "prove", &report, &report])
        .ended_with(1);
    let proved = consortium
        .operate(1, &["quarantine", "prove", &before, &report])
        .ended_with(0)
        .json();
    consortium.reach(0, proved["height"].as_u64().expect("a height"), PATIENCE);
    let shown = consortium.operate(0, &["vehicle", &id]).ended_with(0).json();
    assert!(!shown["quarantine"].is_null(), "{shown}");
}

fn changes_key(consortium: &mut Consortium, nth: usize) {
    let old = consortium.get(nth, "/v1/members").expect("it answers")["id"].clone();
    let path = consortium.folder().join("new.key");
    let made = Program::Obu.run(["keygen", "--json", "--out", path.to_str().expect("a plain name")]);
    let made = made.ended_with(0).json();
    let from = consortium.decide(
        &[
            "propose",
            "set-key",
            old.as_str().expect("an address"),
            made["public_key"].as_str().expect("a key"),
        ],
        &[0, 1, 2],
    );
    consortium.reach(nth, from, PATIENCE);
    consortium.stop(nth);
    std::fs::copy(&path, consortium.home(nth).join("member.key")).expect("the home can be written");
    consortium.start(nth);
    let members = consortium.get(nth, "/v1/members").expect("it answers");
    assert_eq!(
        (&members["id"], &members["votes"]),
        (&made["address"], &true.into()),
        "{members}"
    );
    // Three of four must sign, and one of the other three is down.
    consortium.stop(0);
    let tip = consortium.height(1).expect("it answers");
    consortium.reach(1, tip + 4, PATIENCE);
    let block = consortium
        .get(1, &format!("/v1/blocks/{}", tip + 3))
        .expect("it answers");
    let signers = block["certificate"]["signers"].as_array().expect("a list");
    assert!(signers.contains(&made["address"]), "{block}");
    consortium.start(0);
    let tip = consortium.height(1).expect("it answers");
    consortium.reach(0, tip, PATIENCE);
}
