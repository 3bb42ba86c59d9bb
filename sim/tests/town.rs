//! Whole towns in virtual time, invariants checked after every block.

use milepost_sim::figures::{Figures, items_csv, vehicles_csv};
use milepost_sim::scenario::Scenario;
use milepost_sim::town::{self, Played};

fn play(text: &str, seed: u64) -> Played {
    let scenario = Scenario::parse(text, "test").expect("a scenario");
    town::play(&scenario, seed, |_| ()).expect("a town")
}

fn read(name: &str) -> String {
    let path = format!("{}/scenarios/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).expect("a scenario of ours")
}

/// Plays one of our scenarios with its own expectations.
fn ours(name: &str) -> Figures {
    let scenario = Scenario::parse(&read(name), name).expect("a scenario");
    let played = town::play(&scenario, scenario.seed, |_| ()).expect("a town");
    assert!(played.broken.is_empty(), "{:?}", played.broken);
    let missed = played.figures.missed(&scenario.expect);
    assert!(missed.is_empty(), "{missed:?}");
    played.figures
}

/// A town that is played in seconds.
const SMALL: &str = r#"
    minutes = 10
    [world]
    kind = "grid"
    cells = 16
    [ledger]
    members = 4
    slot_seconds = 30
    epoch_minutes = 2
    block_interval_ms = 2000
    batch_age_ms = 1000
    [link]
    delay_ms = [5, 25]
    loss = 0.02
"#;

#[test]
fn one_scenario_and_one_seed_give_the_same_bytes_twice() {
    let text = format!(
        "{SMALL}\n[[fleet]]\ncount = 30\nbehaviour = \"honest\"\n[[fleet]]\ncount = 10\nbehaviour = \"camouflage\"\n"
    );
    let (one, two) = (play(&text, 3), play(&text, 3));
    assert_eq!(one.figures.json(), two.figures.json());
    assert_eq!(
        items_csv(&one.items, &one.beside),
        items_csv(&two.items, &two.beside)
    );
    assert_eq!(vehicles_csv(&one.vehicles), vehicles_csv(&two.vehicles));
    assert_ne!(one.figures.json(), play(&text, 4).figures.json());
}

#[test]
fn who_invents_jams_earns_a_twentieth_at_most_and_hardly_moves_the_picture() {
    let (clean, biased) = (ours("grid-clean.toml"), ours("grid-bias.toml"));
    let paid = |behaviour: &str| {
        let fleet = biased.fleets.iter().find(|fleet| fleet.behaviour == behaviour);
        fleet.expect("it is in the scenario").paid_mean
    };
    assert!(
        paid("honest") >= 20.0 * paid("bias"),
        "{} and {}",
        paid("honest"),
        paid("bias")
    );
    let (with, without) = (biased.picture.speed_mae_kmh, clean.picture.speed_mae_kmh);
    assert!(with <= 1.5 * without, "{with} with liars, {without} without");
}

#[test]
fn other_kinds_than_speed_have_a_picture_that_liars_hardly_move() {
    let figures = ours("grid-kinds.toml");
    let picture = figures.picture;
    let humidity = picture.humidity.expect("vehicles report it");
    assert!(
        humidity.mae_pct < 0.7 * humidity.plain_mean_mae_pct,
        "{humidity:?}"
    );
    let hazards = picture.hazards.expect("vehicles report them");
    assert!(hazards.found_in_time > 0 && hazards.witnessed <= hazards.real);
    assert!(picture.congestion.expect("vehicles report it").items > 5_000);
    // The control: nothing can be as good as this, and the table and `[expect]` say so.
    let text = read("grid-kinds.toml");
    let begin = text.find("[expect]").expect("it expects something");
    let impossible = format!(
        "{}[expect]\n\"picture.humidity.mae_pct\" = {{ max = 0.5 }}\n\"picture.hazards.false\" = -1\n\
         \"picture.congestion.agreement\" = {{ min = 0.999 }}\n",
        &text[..begin]
    );
    let expect = Scenario::parse(&impossible, "test").expect("a scenario").expect;
    assert_eq!(figures.missed(&expect).len(), 3, "{:?}", figures.missed(&expect));
    let table = figures.table();
    for name in ["congestion", "humidity", "hazards"] {
        assert!(table.contains(&format!("\n  {name}")), "{table}");
    }
}

#[test]
fn what_vehicles_report_besides_moves_no_car_and_no_word_on_speed() {
    let alone = format!(
        "{SMALL}\n[[fleet]]\ncount = 30\nbehaviour = \"honest\"\n[[fleet]]\ncount = 10\nbehaviour = \"random\"\n"
    );
    let kinds = "cells = 16\nkinds = [\"speed\", \"congestion\", \"humidity\", \"hazard\"]";
    let all = alone.replace("cells = 16", kinds);
    // A seed with obstacles.
    let (alone, one, two) = (play(&alone, 4), play(&all, 4), play(&all, 4));
    assert_eq!(one.figures.json(), two.figures.json());
    let table = |played: &Played| items_csv(&played.items, &played.beside);
    assert_eq!(table(&one), table(&two));
    for kind in ["speed", "congestion", "humidity", "hazard"] {
        let is_of = |line: &str| line.split(',').nth(1) == Some(kind);
        assert!(table(&one).lines().any(is_of), "{kind}");
        assert_eq!(table(&alone).lines().any(is_of), kind == "speed", "{kind}");
    }
    let plain = |played: &Played| -> Vec<_> {
        let items = played.items.iter();
        items.map(|item| (item.truth, item.plain_mean_kmh)).collect()
    };
    assert_eq!(plain(&alone), plain(&one));
    assert!(!alone.figures.json().contains("humidity"));
}

#[test]
fn members_that_come_and_go_have_the_same_chain_in_the_end() {
    let figures = ours("crash.toml");
    assert!(
        figures
            .members
            .iter()
            .all(|member| member.height == figures.ledger.height)
    );
    assert!(
        figures
            .members
            .iter()
            .all(|member| member.state_root == figures.state_root)
    );
    assert_eq!(figures.reports.sent, figures.reports.heard, "no report is lost");
}

#[test]
fn a_replayed_report_earns_nothing() {
    let text = format!(
        "{SMALL}\n[[fleet]]\ncount = 30\nbehaviour = \"honest\"\n[[fleet]]\ncount = 10\nbehaviour = \"replay\"\n"
    );
    let played = play(&text, 1);
    assert!(played.broken.is_empty(), "{:?}", played.broken);
    let replaying = &played.figures.fleets[1];
    assert_eq!(
        (replaying.behaviour.as_str(), replaying.paid_mean),
        ("replay", 0.0)
    );
    assert!(played.figures.fleets[0].paid_mean > 0.0);
    assert!(played.figures.reports.rejected["heard_before"] > 0);
}

/// The control of the control: a disk that forgets what consensus logged lets a member vote twice, and the watch
/// sees it.
/// A town that its first members mean ill by, where each road is heard by so many of its four units.
fn with_insiders(heard_by: usize, conducts: &[&str]) -> Figures {
    let insiders = conducts.iter().enumerate().map(|(member, conduct)| {
        format!("[[insider]]\nmember = {member}\nconduct = \"{conduct}\"\nrivals_share = 0.3\n")
    });
    let insiders: String = insiders.collect();
    let reach = format!("loss = 0.02\nheard_by = {heard_by}");
    let text = SMALL.replace("loss = 0.02", &reach);
    let played = play(
        &format!("{text}\n[[fleet]]\ncount = 40\nbehaviour = \"honest\"\n{insiders}"),
        5,
    );
    assert!(played.figures.invariants.all(), "{:?}", played.broken);
    played.figures
}

#[test]
fn who_censors_a_rivals_vehicles_hurts_them_where_it_alone_hears_them() {
    let clean = with_insiders(2, &[]);
    let [shared, alone] = [2, 1].map(|heard_by| with_insiders(heard_by, &["censor"]));
    assert_eq!(clean.insiders, []);
    assert_eq!(
        shared.reports.heard, shared.reports.sent,
        "another unit took them up"
    );
    let insider = &alone.insiders[0];
    assert!(insider.rivals_paid_mean < insider.others_paid_mean, "{insider:?}");
    assert!(alone.reports.heard < alone.reports.sent);
}

#[test]
fn who_claims_to_have_heard_everything_is_paid_more_than_its_share_as_an_operator() {
    let forges = with_insiders(1, &["forge_reception"]);
    let fair = forges.rewards.operators / forges.members.len() as f64;
    let forger = &forges.insiders[0];
    assert!(forger.paid > 1.1 * fair, "{} of {fair}", forger.paid);
}

#[test]
fn one_accuser_of_four_has_nobody_held_and_three_have_whom_they_like() {
    let held = |accusers| with_insiders(4, &vec!["accuse"; accusers]).insiders[0].rivals_quarantined;
    assert_eq!(held(1), 0);
    assert!(held(3) > 0);
}

/// The control of the control: a disk that forgets what consensus logged lets a member vote twice, and the watch
/// sees it.
#[test]
fn a_disk_that_forgets_is_found_out_in_some_seed() {
    let crashes: String = (0..40)
        .map(|nth| {
            let (member, at) = (nth % 4, 0.2 + 0.07 * f64::from(nth));
            format!("[[fault]]\nkind = \"crash\"\nmember = {member}\nat_minute = {at}\nfor_minutes = 0.001\n")
        })
        .collect();
    let sound = format!(
        "minutes = 3\n[world]\nkind = \"grid\"\ncells = 9\nvehicles = 20\n\
         [ledger]\nslot_seconds = 30\nepoch_minutes = 1\nblock_interval_ms = 200\nheartbeat_ms = 200\n\
         [link]\ndelay_ms = [20, 120]\nloss = 0.02\n{crashes}"
    );
    let forgetful = format!("control = \"forget_log\"\n{sound}");
    let equivocates = |text: &str, seed: u64| !play(text, seed).figures.invariants.no_equivocation;
    let found = (1..=8).find(|seed| equivocates(&forgetful, *seed));
    let seed = found.expect("a member that forgets its votes votes twice in one of eight seeds");
    assert!(
        !equivocates(&sound, seed),
        "the same faults on a sound disk, seed {seed}"
    );
}

#[test]
fn a_missed_expectation_is_a_failure_in_the_junit_file_with_what_was_measured_and_what_was_expected() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (scenario, junit) = (folder.path().join("town.toml"), folder.path().join("junit.xml"));
    let town = "minutes = 2\n[world]\nkind = \"grid\"\ncells = 9\n[ledger]\nmembers = 1\n\
                [[fleet]]\ncount = 10\nbehaviour = \"honest\"\n\
                [expect]\n\"picture.items\" = { min = 1 }\n\"fleets.honest.count\" = { max = 9 }\n";
    std::fs::write(&scenario, town).expect("a temporary folder");
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_milepost-sim"))
        .arg("run")
        .args([&scenario, &"--junit".into(), &junit])
        .output()
        .expect("our own program");
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let xml = std::fs::read_to_string(junit).expect("written");
    assert!(xml.contains("tests=\"3\" failures=\"1\""), "{xml}");
    assert!(
        xml.contains("<failure message=\"fleets.honest.count is 10, expected at most 9\""),
        "{xml}"
    );
    assert!(xml.contains("name=\"picture.items: at least 1\""), "{xml}");
}
