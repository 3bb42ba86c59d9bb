//! Can a member's ledger be saved while it runs, and brought back after its disk is lost?
//!
//! Under load. What is saved verifies; what is there already is never written over; a damaged backup is refused. That a
//! restored member contradicts no earlier vote is shown in `node/tests/power_loss.rs`; here, that it is silent at first,
//! then votes again.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use milepost_tests::{Consortium, Drive, Plan, Ride, Said, Source, eventually, verify};

const DRIVE_S: u32 = 30;
/// How long some blocks may take on a busy machine.
const BLOCKS_MAX: Duration = Duration::from_secs(60);
/// The member whose disk is lost.
const LOST: usize = 2;

#[test]
fn a_member_is_saved_while_it_runs_and_comes_back_from_the_backup() {
    let mut consortium = Consortium::running(Plan::default());
    let drives: Vec<Drive> = (0..2)
        .map(|nth| {
            let lines = Ride::in_line(nth).jsonl(DRIVE_S);
            consortium.vehicle(nth).drive(Source::Jsonl(lines), 60)
        })
        .collect();
    consortium.reach(LOST, 5, BLOCKS_MAX);
    let out = consortium.folder().join("backup");
    let saved = backup(&consortium, &out).ended_with(0).json();
    assert!(saved["height"].as_u64() >= Some(5), "{saved}");
    assert!(consortium.is_up(LOST));
    assert!(backup(&consortium, &out).ended_with(2).stderr.contains("already"));
    let report = verify(&out).ended_with(0).json();
    assert_eq!(
        (&report["height"], &report["state_root"]),
        (&saved["height"], &saved["state_root"])
    );
    assert!(!out.join("member.key").exists(), "the key belongs elsewhere");
    assert_eq!(checkpoints(consortium.home(LOST)), Vec::<PathBuf>::new());

    assert!(
        restore(&consortium, &out)
            .ended_with(2)
            .stderr
            .contains("already")
    );
    // What the backup does not have, its peers must give.
    let height = saved["height"].as_u64().expect("a height");
    consortium.reach(0, height + 2, BLOCKS_MAX);
    consortium.kill(LOST);
    let home = consortium.home(LOST).to_owned();
    for lost in ["store", "snapshots"] {
        std::fs::remove_dir_all(home.join(lost)).expect("it was there");
    }
    refuse_damaged(&consortium, &out);
    let restored = restore(&consortium, &out).ended_with(0).json();
    assert_eq!(restored, saved);
    let tip = consortium.height(0).expect("member 0 answers");
    assert!(tip > height, "nothing was lost");
    consortium.start(LOST);
    consortium.reach(LOST, tip, BLOCKS_MAX);
    let id = consortium.get(LOST, "/v1/status").expect("it answers")["id"].clone();
    eventually("the restored member signs again", BLOCKS_MAX, || {
        let block = consortium.get(0, "/v1/blocks/latest")?;
        // What it signed before it was lost may be in the block after the tip.
        let since = block["height"].as_u64()? > tip + 1;
        let signers = since.then_some(&block["certificate"]["signers"])?;
        signers.as_array()?.contains(&id).then_some(())
    });
    assert!(
        consortium.log(LOST).contains("may vote again"),
        "it was not silent"
    );
    for drive in drives {
        let summary = drive.finish(Duration::from_secs(u64::from(DRIVE_S) + 75));
        assert_eq!(summary["lost"], 0, "{summary}");
    }
    consortium.agree(consortium.all());
    consortium.stop_all();
    let _ = verify(&home).ended_with(0);
}

/// One byte of the middle of every table and log, one file at a time: none is restored.
fn refuse_damaged(consortium: &Consortium, out: &Path) {
    let files = std::fs::read_dir(out.join("store")).expect("a folder");
    let paths = files.map(|file| file.expect("it can be listed").path());
    let tables: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "sst"))
        .collect();
    assert!(!tables.is_empty());
    for table in tables {
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .open(&table)
            .expect("opens");
        let at = file.metadata().expect("it is there").len() / 3;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("reads");
        file.write_all_at(&[byte[0] ^ 0x20], at).expect("writes");
        let said = restore(consortium, out);
        file.write_all_at(&byte, at).expect("writes");
        assert!(!said.panicked(), "{said}");
        assert_eq!(said.status, Some(1), "{}: {said}", table.display());
        assert!(!consortium.home(LOST).join("store").exists());
    }
}

fn backup(consortium: &Consortium, out: &Path) -> Said {
    consortium.operate(LOST, &["backup", "--out", out.to_str().expect("a plain name")])
}

fn restore(consortium: &Consortium, from: &Path) -> Said {
    consortium.operate(LOST, &["restore", "--from", from.to_str().expect("a plain name")])
}

fn checkpoints(home: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(home).expect("a folder");
    let paths = files.map(|file| file.expect("it can be listed").path());
    paths
        .filter(|path| path.to_string_lossy().contains("checkpoint"))
        .collect()
}
