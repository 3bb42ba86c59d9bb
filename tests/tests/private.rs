//! Is a chain as private, or as public, as its members voted?
//!
//! Four members make it private. From then on a unit's API tells a stranger nothing, and one who signs with a strange key
//! neither; members, operators' commands and enrolled vehicles read and report as before, until they are revoked; and no unit
//! starts with links that strangers can have. Made public, a key enrols itself with a bond, and is heard.

use std::time::Duration;

use milepost_tests::{Consortium, Plan, Program, Ride, Source, eventually, now};
use milepost_wire::SecretKey;
use milepost_wire::question::Question;

/// How long some blocks, or the last receipts, may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_private_chain_tells_strangers_nothing_and_a_public_one_lets_them_in() {
    let mut consortium = Consortium::running(Plan::default());
    consortium.reach(0, 2, PATIENCE);
    let stranger = SecretKey::from_seed("stranger", 1);
    assert_eq!(status(&consortium, "/v1/status", None), 200, "anyone may read");

    set(&consortium, &["propose", "set-access", "private"]);
    readers(&consortium, &stranger);
    operators(&consortium);
    let lines = Ride::in_line(0).jsonl(4);
    let drive = consortium
        .vehicle(0)
        .drive(Source::Jsonl(lines), PATIENCE.as_secs());
    let summary = drive.finish(2 * PATIENCE);
    assert_eq!(summary["waiting"], 0, "{summary}");
    assert!(summary["final"].as_u64() > Some(0), "{summary}");
    open_links(&mut consortium);

    set(&consortium, &["propose", "set-access", "public"]);
    set(
        &consortium,
        &["propose", "set-param", "enrol_bond=0", "release_needs_vote=false"],
    );
    assert_eq!(status(&consortium, "/v1/status", None), 200);
    comes_in(&consortium, &stranger);
    consortium.agree(consortium.all());
    consortium.stop_all();
}

/// Who may read a private chain, and who may not.
fn readers(consortium: &Consortium, stranger: &SecretKey) {
    for path in [
        "/v1/status",
        "/v1/blocks/latest",
        "/v1/picture",
        "/v1/vehicles?limit=2",
        "/v1/nothing",
    ] {
        assert_eq!(status(consortium, path, None), 401, "{path}");
        assert_eq!(status(consortium, path, Some(stranger)), 403, "{path}");
    }
    for path in ["/healthz", "/metrics"] {
        assert_eq!(status(consortium, path, None), 200, "{path}");
    }
    let vehicle = consortium.vehicle(1).secret();
    assert_eq!(status(consortium, "/v1/vehicles?limit=2", Some(&vehicle)), 200);
    let other = authorization(consortium, &vehicle, "/v1/status");
    assert_eq!(
        ask(consortium, "/v1/picture", Some(&other)),
        401,
        "signed for another question"
    );
    assert!(consortium.get(0, "/v1/status").is_some(), "a member reads");
    let said = Program::Rsu
        .run(["status", "--api", consortium.api(0)])
        .ended_with(1);
    assert!(said.stderr.contains("private"), "{said}");
}

/// Operators' commands do what they did.
fn operators(consortium: &Consortium) {
    for command in [
        vec!["status"],
        vec!["members"],
        vec!["vehicle", "list"],
        vec!["unit", "list"],
        vec!["params"],
    ] {
        let _ = consortium.operate(0, &command).ended_with(0).json();
    }
    let newcomer = SecretKey::from_seed("newcomer", 1);
    let key = newcomer.public().to_string();
    let enrol = ["vehicle", "enrol", "--key", &key, "--group", "77"];
    let _ = consortium.operate(1, &enrol).ended_with(0).json();
    let reads = |expected| {
        eventually(&format!("its question is answered {expected}"), PATIENCE, || {
            (status(consortium, "/v1/status", Some(&newcomer)) == expected).then_some(())
        });
    };
    reads(200);
    let id = newcomer.key_id().to_string();
    let refused = consortium.operate(2, &["vehicle", "revoke", &id]).ended_with(1);
    assert!(refused.stderr.contains("did not enrol"), "{refused}");
    let _ = consortium
        .operate(1, &["vehicle", "revoke", &id])
        .ended_with(0)
        .json();
    reads(403);
}

/// A unit that anybody could link to does not start; with what it had before, it does.
fn open_links(consortium: &mut Consortium) {
    consortium.stop(3);
    let path = consortium.home(3).join("rsu.toml");
    let settings = std::fs::read_to_string(&path).expect("testnet wrote it");
    let own = consortium.endpoint(3).to_owned();
    let open = settings.replace(&own, &own.replace("127.0.0.1", "0.0.0.0"));
    assert_ne!(open, settings, "it listens where it says");
    std::fs::write(&path, open).expect("the testnet's folder can be written");
    let home = consortium.home(3).to_str().expect("a plain name").to_owned();
    let said = Program::Rsu.run(["run", "--home", &home]).ended_with(1);
    assert!(said.stderr.contains("private"), "{said}");
    std::fs::write(&path, settings).expect("the testnet's folder can be written");
    consortium.start(3);
}

/// A key that nobody enrolled enrols itself, its reports count, and it leaves.
fn comes_in(consortium: &Consortium, stranger: &SecretKey) {
    let key = consortium.folder().join("stranger.key");
    std::fs::write(&key, stranger.to_hex()).expect("the testnet's folder can be written");
    let vehicle = consortium.vehicle(0).with_key(key);
    assert_eq!(vehicle.ask("enrol", &[])["done"], "enrolled");
    let lines = Ride::in_line(3).jsonl(4);
    let summary = vehicle
        .drive(Source::Jsonl(lines), PATIENCE.as_secs())
        .finish(2 * PATIENCE);
    assert_eq!(summary["final"], summary["sent"], "{summary}");
    assert_eq!(vehicle.ask("leave", &[])["done"], "left");
    let id = stranger.key_id();
    eventually("its enrolment has ended", PATIENCE, || {
        let vehicle = consortium.get(1, &format!("/v1/vehicles/{id}"))?;
        (vehicle["revoked"] == true).then_some(())
    });
}

/// Members 0, 1 and 2 decide, and everybody has it.
fn set(consortium: &Consortium, proposal: &[&str]) {
    let from = consortium.decide(proposal, &[0, 1, 2]);
    for nth in consortium.all() {
        consortium.reach(nth, from, PATIENCE);
    }
}

fn status(consortium: &Consortium, path: &str, reader: Option<&SecretKey>) -> u16 {
    let authorization = reader.map(|key| authorization(consortium, key, path));
    ask(consortium, path, authorization.as_deref())
}

fn authorization(consortium: &Consortium, reader: &SecretKey, path: &str) -> String {
    Question::authorization(reader, &consortium.known().chain, &format!("GET {path}"), now())
}

fn ask(consortium: &Consortium, path: &str, authorization: Option<&str>) -> u16 {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .into();
    let mut request = agent.get(format!("{}{path}", consortium.api(0)));
    if let Some(authorization) = authorization {
        request = request.header("Authorization", authorization);
    }
    request.call().expect("an answer").status().as_u16()
}
