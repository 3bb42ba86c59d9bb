//! `milepost-sim detect` over a labelled log that the test makes itself.
//!
//! One straight road, a car each four seconds in each direction, heard by two receivers. Every fifth car lies:
//! about its speed, by repeating another, or by inventing a queue of pseudonyms around itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

const NS_PER_MS: u64 = 1_000_000;
const CARS: u64 = 60;
const STEP_MS: u64 = 500;

/// What a car says at one moment, and whether that is a lie.
#[derive(Clone, Copy)]
struct Said {
    pseudonym: u64,
    at_ms: u64,
    x_m: f64,
    y_m: f64,
    speed: f64,
    heading: f64,
    lie: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Lie {
    Speed,
    Replay,
    Queue,
    None,
}

/// Where the car is, if it is on the road: 800 m at 13 m/s, in its lane.
fn truth(car: u64, at_ms: u64) -> Option<Said> {
    let speed = 13.0;
    let driven_m = at_ms.checked_sub(2000 * car)? as f64 / 1000.0 * speed;
    let east = car.is_multiple_of(2);
    let side_m = (car * 7 % 11) as f64 / 10.0;
    (driven_m < 800.0).then_some(Said {
        pseudonym: car,
        at_ms,
        x_m: if east { driven_m } else { 800.0 - driven_m },
        y_m: if east { -2.0 - side_m } else { 2.0 + side_m },
        speed,
        heading: if east { 90.0 } else { 270.0 },
        lie: false,
    })
}

fn says(car: u64, at_ms: u64, lie: Lie) -> Vec<Said> {
    let Some(said) = truth(car, at_ms) else {
        return Vec::new();
    };
    match lie {
        _ if car % 5 != 4 || car < 20 => vec![said],
        Lie::None => vec![said],
        Lie::Speed => vec![Said {
            speed: said.speed - 6.0,
            lie: true,
            ..said
        }],
        Lie::Replay => {
            let victim = truth(car - 2, at_ms - 1000).unwrap_or(said);
            let lie = victim.pseudonym != car;
            vec![Said {
                pseudonym: car,
                at_ms,
                lie,
                ..victim
            }]
        }
        Lie::Queue => {
            let ghost = |nth: u64| Said {
                pseudonym: 1_000_000 + 100_000 * nth + 1000 * car + at_ms / STEP_MS,
                x_m: said.x_m - 6.0 * nth as f64,
                lie: true,
                ..said
            };
            [vec![said], (1..=4).map(ghost).collect()].concat()
        }
    }
}

/// Writes what two receivers heard, and returns their files and the number of different messages.
fn record(folder: &Path, lie: Lie) -> (Vec<PathBuf>, u64) {
    let mut logs = [(200.0, Vec::new()), (500.0, Vec::new())];
    let mut messages = 0;
    for step in 0..400 {
        let said: Vec<Said> = (0..CARS).flat_map(|car| says(car, step * STEP_MS, lie)).collect();
        for said in said {
            let mut heard = false;
            for (receiver_m, log) in &mut logs {
                if (said.x_m - *receiver_m).hypot(said.y_m) < 390.0 {
                    heard = true;
                    log.push(json!({
                        "rcvTime": (said.at_ms + 1) * NS_PER_MS, "sendTime": said.at_ms * NS_PER_MS,
                        "sender_id": "car", "sender_alias": said.pseudonym, "messageID": step,
                        "attacker": u8::from(said.lie),
                        "receiver": { "pos": format!("{receiver_m},0.0,0.0") },
                        "sender": {
                            "pos": format!("{},{},0.0", said.x_m, said.y_m),
                            "spd": said.speed, "acl": 0.0, "hed": said.heading,
                        },
                    }));
                }
            }
            messages += u64::from(heard);
        }
    }
    let write = |(at, (_, log)): (usize, &(f64, Vec<Value>))| {
        let path = folder.join(format!("rx_{at}.json"));
        std::fs::write(&path, serde_json::to_string_pretty(log).expect("JSON")).expect("a file");
        path
    };
    (logs.iter().enumerate().map(write).collect(), messages)
}

fn detect(files: &[PathBuf]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_milepost-sim"))
        .args(["detect", "--json", "--in"])
        .args(files)
        .output()
        .expect("milepost-sim starts")
}

/// The figures over a log of such lies.
fn figures(lie: Lie) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let (files, messages) = record(folder.path(), lie);
    let output = detect(&files);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let figures: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let counted: u64 = ["tp", "fp", "tn", "fn"]
        .iter()
        .map(|cell| figures["messages"][cell].as_u64().expect("a count"))
        .sum();
    assert_eq!(
        counted, messages,
        "each message counts once, however many heard it"
    );
    assert!(figures["received"].as_u64() > Some(messages), "{figures}");
    figures
}

fn number(figures: &Value, path: &str) -> f64 {
    figures.pointer(path).and_then(Value::as_f64).expect("a number")
}

#[test]
fn honest_traffic_is_believed() {
    let figures = figures(Lie::None);
    assert_eq!(number(&figures, "/messages/fp"), 0.0, "{figures}");
    assert_eq!(number(&figures, "/vehicles/fp"), 0.0, "{figures}");
}

#[test]
fn each_lie_is_caught_by_its_check_and_the_honest_are_not() {
    for (lie, check) in [
        (Lie::Speed, "speed_drift"),
        (Lie::Replay, "replay"),
        (Lie::Queue, "sudden_appearance"),
    ] {
        let figures = figures(lie);
        assert!(number(&figures, "/messages/f1") > 0.9, "{check}: {figures}");
        assert!(
            number(&figures, "/messages/honest_flagged") < 0.02,
            "{check}: {figures}"
        );
        assert!(number(&figures, "/vehicles/recall") > 0.8, "{check}: {figures}");
        let hits = number(&figures, &format!("/checks/{check}/true_hits"));
        assert!(
            hits > 0.5 * number(&figures, "/messages/tp"),
            "{check}: {figures}"
        );
    }
}

#[test]
fn a_log_that_cannot_be_read_is_refused_with_file_and_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let broken = folder.path().join("broken.json");
    std::fs::write(&broken, "[\n{\"rcvTime\": 1},\n{}]").expect("a file");
    for (path, said) in [
        (broken, "broken.json:2: missing field `sendTime`"),
        (folder.path().join("absent.json"), "absent.json: "),
    ] {
        let output = detect(&[path]);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains(said), "{error}");
    }
}
