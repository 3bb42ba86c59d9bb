//! Does `milepost-rsu verify` find what is wrong with a store, and nothing wrong with a good one?
//!
//! Two ways for a store to go bad: a byte changes on the disk, as disks do, and RocksDB's checksums should tell;
//! or somebody changes a value through RocksDB itself, with all checksums right, and replaying must tell. In
//! either case there is an error text and no panic, and a unit does not start on a disk that it cannot trust.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use milepost_tests::{Consortium, Drive, Plan, Program, Ride, Said, Source, end_within, verify};
use rocksdb::{DB, IteratorMode, Options};

/// Where in each file a byte is flipped, in percent.
const FLIPPED_AT: [u64; 4] = [15, 40, 60, 85];
/// Column families, each with one value changed. The rest is derived from them, or never outlives a block.
const FAMILIES: [&str; 7] = [
    "headers",
    "blocks",
    "certificates",
    "outputs",
    "batches",
    "tree",
    "open",
];

#[test]
fn a_good_store_passes_and_every_kind_of_damage_is_found() {
    let mut consortium = Consortium::running(Plan::default());
    drive(&consortium);
    consortium.agree(consortium.all());
    let height = consortium.height(0).expect("member 0 answers");
    // One after a crash; another with both tables and a log, since a restart turns the log into tables.
    consortium.kill(1);
    consortium.stop(2);
    consortium.start(2);
    drive(&consortium);
    consortium.stop_all();

    for nth in consortium.all() {
        let report = verify(consortium.home(nth)).ended_with(0).json();
        assert_eq!(report["ok"], true, "member {nth}: {report}");
        assert!(
            report["height"].as_u64() >= Some(height),
            "member {nth}: {report}"
        );
        assert!(report["reports"].as_u64() > Some(0), "member {nth}: {report}");
    }

    let home = consortium.home(2);
    refuses_to_start(home, &consortium.folder().join("damaged"));
    never_panics(home, &consortium.folder().join("broken"));
    let mut passed = unseen_flips(home);
    passed.extend(unseen_cuts(home));
    passed.extend(unseen_changes(home));
    assert!(
        passed.is_empty(),
        "damage that verify did not find, or not well:\n{}",
        passed.join("\n")
    );
    let _ = verify(home).ended_with(0);
}

#[test]
fn a_home_that_is_none_is_named() {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let nowhere = folder.path().join("nowhere");
    let said = verify(&nowhere).ended_with(2);
    assert!(said.stderr.contains("nowhere"), "{said}");
}

/// A unit that finds its log damaged stops with an error before it says anything to anybody.
fn refuses_to_start(home: &Path, copy: &Path) {
    let copied = Command::new("cp").arg("-r").args([home, copy]).status();
    assert!(
        copied.is_ok_and(|status| status.success()),
        "the home cannot be copied"
    );
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
    let len = |path: &PathBuf| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let log = data_files(copy)
        .into_iter()
        .filter(is_log)
        .max_by_key(len)
        .expect("there is a log");
    let file = std::fs::File::options().read(true).write(true).open(&log);
    flip(&file.expect("it can be written"), len(&log) / 2);
    let said = Program::Rsu
        .run(["run", "--home", copy.to_str().expect("UTF-8")])
        .ended_with(1);
    assert!(
        !said.stdout.contains("ready"),
        "it was ready on a damaged disk: {said}"
    );
    assert!(
        said.stderr.contains("milepost-rsu: "),
        "it does not say why: {said}"
    );
}

/// What a file of the store is that was damaged, and whether a unit can still start.
const BROKEN: [(&str, bool); 4] = [
    // It names a file that is not there.
    ("CURRENT", false),
    ("MANIFEST", false),
    ("sst", false),
    // A torn end, as after a power loss.
    ("log", true),
];

/// Whatever file is cut in half, a unit does not start, says why and does not panic; or it can do without.
fn never_panics(home: &Path, copy: &Path) {
    for (kind, starts) in BROKEN {
        let copied = Command::new("cp").arg("-r").args([home, copy]).status();
        assert!(
            copied.is_ok_and(|status| status.success()),
            "the home cannot be copied"
        );
        let files = std::fs::read_dir(copy.join("store")).expect("the store is a folder");
        let cut = files
            .map(|entry| entry.expect("it can be listed").path())
            .filter(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().contains(kind))
            })
            .max_by_key(|path| std::fs::metadata(path).map_or(0, |metadata| metadata.len()))
            .unwrap_or_else(|| panic!("no {kind} in the store"));
        let len = std::fs::metadata(&cut).expect("it is there").len();
        let file = std::fs::File::options()
            .write(true)
            .open(&cut)
            .expect("it can be written");
        file.set_len(len / 2).expect("it can be cut");
        let errors = std::fs::File::create(copy.join("errors")).expect("it can be written");
        let mut unit = Program::Rsu.command();
        let mut unit = unit
            .args(["run", "--home"])
            .arg(copy)
            .stdout(std::process::Stdio::null())
            .stderr(errors)
            .spawn()
            .expect("it was built");
        // One that starts goes on until it is ended.
        let status = end_within(&mut unit, Duration::from_secs(if starts { 4 } else { 30 }));
        let said = std::fs::read_to_string(copy.join("errors")).unwrap_or_default();
        assert!(!said.contains("panicked"), "{kind}: {said}");
        let code = status.and_then(|status| status.code());
        assert_eq!(code, (!starts).then_some(1), "{kind} cut in half: {said}");
        if !starts {
            assert!(
                said.contains("milepost-rsu: "),
                "{kind}: it does not say why: {said}"
            );
        }
        std::fs::remove_dir_all(copy).expect("it was copied");
    }
}

/// Cuts off the second half of each file that holds data; tells of those that verify let pass.
fn unseen_cuts(home: &Path) -> Vec<String> {
    let mut passed = Vec::new();
    for path in data_files(home) {
        let whole = std::fs::read(&path).expect("it can be read");
        if whole.is_empty() {
            continue;
        }
        std::fs::write(&path, &whole[..whole.len() / 2]).expect("it can be written");
        let said = verify(home);
        std::fs::write(&path, &whole).expect("it can be written");
        if let Some(why) = let_pass(&said) {
            passed.push(format!("{}, cut in half: {why}", path.display()));
        }
    }
    passed
}

fn drive(consortium: &Consortium) {
    let drives: Vec<Drive> = (0..3)
        .map(|nth| {
            let lines = Ride::in_line(nth).jsonl(6);
            consortium.vehicle(nth).drive(Source::Jsonl(lines), 30)
        })
        .collect();
    for drive in drives {
        drive.finish(Duration::from_secs(60));
    }
}

/// Flips a bit at several places in each file that holds data; tells of those that verify let pass.
fn unseen_flips(home: &Path) -> Vec<String> {
    let (mut passed, families) = (Vec::new(), families(home));
    let (mut tables, mut logs) = (0, 0);
    for path in data_files(home) {
        let file = std::fs::File::options().read(true).write(true).open(&path);
        let file = file.expect("the store's files can be written");
        let len = file.metadata().expect("it has a length").len();
        if len == 0 {
            continue;
        }
        match path.extension().is_some_and(|extension| extension == "sst") {
            true => tables += 1,
            false => logs += 1,
        }
        for percent in FLIPPED_AT {
            let at = len * percent / 100;
            flip(&file, at);
            let said = verify(home);
            flip(&file, at);
            if let Some(why) = let_pass(&said) {
                let name = path.file_name().expect("a file").to_string_lossy();
                let family = families.get(&*name).map_or("log", String::as_str);
                passed.push(format!("{name} ({family}), byte {at} of {len}: {why}"));
            }
        }
    }
    assert!(
        tables > 0 && logs > 0,
        "{tables} tables and {logs} logs: nothing to damage"
    );
    passed
}

/// Tables and write-ahead logs.
fn data_files(home: &Path) -> Vec<PathBuf> {
    let store = std::fs::read_dir(home.join("store")).expect("the store is a folder");
    let is_data = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| extension == "sst" || extension == "log")
    };
    let mut paths: Vec<PathBuf> = store
        .map(|entry| entry.expect("it can be listed").path())
        .filter(is_data)
        .collect();
    paths.sort();
    paths
}

fn flip(file: &std::fs::File, at: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("it is within the file");
    file.write_all_at(&[byte[0] ^ 0x10], at)
        .expect("it can be written");
}

/// Which column family each table belongs to, by the table's name.
fn families(home: &Path) -> BTreeMap<String, String> {
    let (options, path) = (Options::default(), home.join("store"));
    let families = DB::list_cf(&options, &path).expect("the store is one of RocksDB's");
    let db = DB::open_cf_for_read_only(&options, &path, families, false).expect("it was closed well");
    let tables = db.live_files().expect("they can be listed").into_iter();
    // RocksDB names a table `/000013.sst`.
    tables
        .map(|table| {
            (
                table.name.trim_start_matches('/').to_owned(),
                table.column_family_name,
            )
        })
        .collect()
}

/// Changes a value in each family through RocksDB, which then has its checksums right; tells as [`unseen_flips`].
fn unseen_changes(home: &Path) -> Vec<String> {
    let mut passed = Vec::new();
    for family in FAMILIES {
        let kept = change(home, family, None);
        let said = verify(home);
        change(home, family, Some(kept));
        if let Some(why) = let_pass(&said) {
            passed.push(format!("a value of {family}, changed by RocksDB: {why}"));
        }
    }
    passed
}

/// A key and its value.
type Entry = (Box<[u8]>, Box<[u8]>);

/// Changes one bit of the value in the middle of a family, or puts an entry back. Returns the entry as it was.
fn change(home: &Path, family: &str, back: Option<Entry>) -> Entry {
    let (options, path) = (Options::default(), home.join("store"));
    let families = DB::list_cf(&options, &path).expect("the store is one of RocksDB's");
    let db = DB::open_cf(&options, &path, families).expect("nobody else has it open");
    let handle = db.cf_handle(family).expect("the schema has it");
    if let Some((key, value)) = back {
        db.put_cf(handle, &key, &value).expect("it can be written");
        return (key, value);
    }
    let entries: Vec<_> = db
        .iterator_cf(handle, IteratorMode::Start)
        .map(|entry| entry.expect("it can be read"))
        .collect();
    let (key, value) = entries[entries.len() / 2].clone();
    let mut changed = value.clone();
    changed[value.len() / 2] ^= 0x10;
    db.put_cf(handle, &key, changed).expect("it can be written");
    (key, value)
}

/// Why a verdict on damage is not what it should be, if so.
fn let_pass(said: &Said) -> Option<String> {
    if said.panicked() {
        return Some(format!("it panicked: {}", said.stderr));
    }
    match said.status {
        Some(1) if said.stdout.contains("\"errors\":[\"") || !said.stderr.trim().is_empty() => None,
        Some(1) => Some("no error text".into()),
        Some(0) => Some(format!("found right: {}", said.stdout.trim())),
        status => Some(format!("exit status {status:?}: {}", said.stderr)),
    }
}
