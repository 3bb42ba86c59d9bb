//! What do the programs say to input that nobody can use?
//!
//! Exit status 2, and a message that names the file, the line where there is one, and what was expected. Nothing
//! needs to run for it.

use std::io::Write;
use std::path::{Path, PathBuf};

use milepost_tests::{Program, Ride, Said};
use tempfile::TempDir;

/// A recording whose third line is too short.
const SHORT_CSV: &str =
    "timestep_time;vehicle_id;vehicle_x;vehicle_y;vehicle_speed\n0;a;11.3;44.5;9\n1;a;11.3\n";

/// A testnet's files, and room for bad ones.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        let net = folder.path().join("net");
        let made = Program::Rsu.run([
            "testnet",
            "--members",
            "1",
            "--vehicles",
            "1",
            "--out",
            text(&net),
        ]);
        let _ = made.ended_with(0);
        Self { folder }
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).expect("the temporary folder can be written");
        path
    }

    fn net(&self, name: &str) -> PathBuf {
        self.folder.path().join("net").join(name)
    }

    /// Drives by a source with nobody in reach; bad input is found all the same.
    fn drive(&self, source: &str, more: &[&str]) -> Said {
        let (key, consortium) = (self.net("vehicles/vehicle-0000.key"), self.net("consortium.json"));
        let mut arguments = vec!["run", "--json", "--linger", "0", "--source", source];
        arguments.extend(["--key", text(&key), "--consortium", text(&consortium)]);
        // The port of nothing: discard.
        arguments.extend(["--connect", "tcp/127.0.0.1:9"]);
        arguments.extend(more);
        Program::Obu.run(arguments)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the temporary folder's name is UTF-8")
}

/// Checks that all of this is said, with exit status 2.
fn refused(said: Said, expected: &[&str]) {
    let said = said.ended_with(2);
    for part in expected {
        assert!(said.stderr.contains(part), "{part:?} is not said: {said}");
    }
}

#[test]
fn a_damaged_recording_is_refused_with_file_line_and_expectation() {
    let desk = Desk::new();
    let whole = Ride::fcd(&[Ride::in_line(0)], 3);
    let cut = whole.len() * 2 / 3;
    let cut_line = whole[..cut].lines().count();
    let gzip = |bytes: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(bytes).expect("writing to memory does not fail");
        packed.finish().expect("writing to memory does not fail")
    };
    let packed = gzip(whole.as_bytes());
    let damaged_speed = whole.replacen("speed=\"13.9\"", "speed=\"fast\"", 1);
    let binary: Vec<u8> = (0..=255).cycle().take(4096).collect();
    // What follows the file's name.
    let cases: [(&str, Vec<u8>, String); 9] = [
        (
            "cut.xml",
            whole.as_bytes()[..cut].into(),
            format!(":{cut_line}: expected"),
        ),
        ("cut.xml.gz", packed[..packed.len() / 2].into(), ":".to_owned()),
        (
            "speed.xml",
            damaged_speed.into(),
            ":3: expected `speed` as".to_owned(),
        ),
        (
            "routes.xml",
            b"<routes>\n</routes>\n".into(),
            ":1: expected the root".to_owned(),
        ),
        ("short.csv", SHORT_CSV.into(), ":3: expected 5 columns".to_owned()),
        ("empty.xml", Vec::new(), ": expected `<fcd-export>`".to_owned()),
        ("empty.xml.gz", gzip(b""), ": expected `<fcd-export>`".to_owned()),
        ("binary.xml", binary, ": expected SUMO".to_owned()),
        (
            "parquet.xml",
            b"PAR1\x15\x04\x15\x10".into(),
            ": expected SUMO".to_owned(),
        ),
    ];
    for (name, bytes, after) in cases {
        let path = desk.file(name, bytes);
        let said = desk.drive(&format!("fcd:{}", path.display()), &[]);
        refused(said, &[&format!("{}{after}", path.display()), "expected"]);
    }
}

#[test]
fn wrong_usage_is_told_what_was_expected() {
    let desk = Desk::new();
    let trace = desk.file("good.xml", Ride::fcd(&[Ride::in_line(0)], 3));
    let source = format!("fcd:{}", trace.display());
    refused(desk.drive("tape:x", &[]), &["fcd:FILE", "tape:x"]);
    refused(
        desk.drive("fcd:/nowhere/at.all", &[]),
        &["/nowhere/at.all: expected"],
    );
    refused(
        desk.drive(&source, &["--vehicle", "nobody"]),
        &["good.xml", "expected records of vehicle", "nobody"],
    );

    let settings = desk.file("obu.toml", "bundle_ms = 500\nbundel_ms = 1\n");
    let said = desk.drive(&source, &["--config", text(&settings)]);
    refused(
        said,
        &[&format!("{}:2: expected", settings.display()), "bundel_ms"],
    );
    let no_key = desk.file("no.key", "eleven");
    let said = Program::Obu.run(["address", "--key", text(&no_key)]);
    refused(said, &["no.key:1: ", "64 hexadecimal digits"]);
}

#[test]
fn a_unit_and_a_scenario_are_told_too() {
    let desk = Desk::new();
    let home = desk.net("member-0");
    std::fs::write(home.join("rsu.toml"), "bundle_max = 0\n").expect("it can be written");
    refused(
        Program::Rsu.run(["run", "--home", text(&home)]),
        &["bundle_max", "expected"],
    );
    std::fs::write(home.join("genesis.json"), "{\n\"chain\": 7\n}").expect("it can be written");
    std::fs::write(home.join("rsu.toml"), "").expect("it can be written");
    refused(
        Program::Rsu.run(["run", "--home", text(&home)]),
        &["genesis.json", "line 2"],
    );

    let scenario = desk.file("town.toml", "minutes = 1\nminuets = 2\n");
    refused(
        Program::Sim.run(["run", text(&scenario)]),
        &["town.toml", "minuets", "2"],
    );
}
