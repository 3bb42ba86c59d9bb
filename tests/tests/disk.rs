//! What does a member do on a disk that is full, or that refuses to be written?
//!
//! It stops with a message that says so, before it signs anything that it could not keep; the others go on. With room
//! on the disk again it takes up where it was. Not covered: damaged files, see `audit.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use milepost_tests::{Consortium, Plan, Program, Ride, Source, end_within, eventually};

const WAIT_MAX: Duration = Duration::from_secs(60);

#[test]
fn a_member_on_a_full_disk_stops_and_comes_back_when_there_is_room() {
    let mut consortium = Consortium::make(Plan::default());
    let disk = match SmallDisk::at(&consortium.home(3).join("store")) {
        Ok(disk) => disk,
        Err(why) => {
            eprintln!("not tried, for want of a small file system: {why}");
            return;
        }
    };
    consortium.start_all();
    consortium.reach(3, 3, WAIT_MAX);
    disk.fill();
    let drive = consortium
        .vehicle(0)
        .drive(Source::Jsonl(Ride::in_line(0).jsonl(20)), 60);
    eventually("the member on the full disk stops", WAIT_MAX, || {
        (!consortium.is_up(3)).then_some(())
    });
    let log = consortium.log(3);
    assert!(
        log.contains("No space left on device"),
        "it does not say why:\n{log}"
    );
    assert!(!log.contains("panicked"), "{log}");
    let height = consortium.height(0).expect("member 0 answers");
    consortium.reach(0, height + 3, WAIT_MAX);

    disk.make_room();
    consortium.forget_ended(3);
    consortium.start(3);
    consortium.reach(3, height + 3, WAIT_MAX);
    let summary = drive.finish(2 * WAIT_MAX);
    assert_eq!(summary["final"], summary["sent"], "{summary}");
    consortium.agree(consortium.all());
    consortium.stop_all();
}

#[test]
fn a_member_whose_writes_fail_stops_and_the_others_go_on() {
    let mut consortium = Consortium::running(Plan::default());
    consortium.reach(3, 2, WAIT_MAX);
    consortium.stop(3);
    // Files may not grow beyond 16 kB: writing more fails, as on a broken disk, with EFBIG.
    let home = consortium.home(3).to_owned();
    let limited = "trap '' XFSZ; ulimit -f 32; exec \"$0\" run --home \"$1\"";
    let log = consortium.folder().join("limited.log");
    let errors = std::fs::File::create(&log).expect("the testnet's folder can be written");
    let mut member = Command::new("sh")
        .args(["-c", limited])
        .arg(Program::Rsu.command().get_program())
        .arg(&home)
        .stdout(std::process::Stdio::null())
        .stderr(errors)
        .spawn()
        .expect("there is a shell");
    let drive = consortium
        .vehicle(0)
        .drive(Source::Jsonl(Ride::in_line(0).jsonl(20)), 60);
    let ended = end_within(&mut member, WAIT_MAX).and_then(|status| status.code());
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    assert_eq!(ended, Some(1), "it went on:\n{said}");
    assert!(said.contains("File too large"), "it does not say why:\n{said}");
    assert!(!said.contains("panicked"), "{said}");

    consortium.start(3);
    let summary = drive.finish(2 * WAIT_MAX);
    assert_eq!(summary["final"], summary["sent"], "{summary}");
    let height = consortium.height(0).expect("member 0 answers");
    consortium.reach(3, height, WAIT_MAX);
    consortium.agree(consortium.all());
    consortium.stop_all();
}

/// A file system of 24 MB in memory.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(folder: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "milepost"])
            .arg(folder)
            .output();
        let said = mount.map_err(|error| format!("there is no `mount`: {error}"))?;
        if said.status.success() {
            Ok(Self(folder.to_owned()))
        } else {
            Err(String::from_utf8_lossy(&said.stderr).trim().to_owned())
        }
    }

    fn filler(&self) -> PathBuf {
        self.0.join("somebody-elses-file")
    }

    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.filler()).expect("there is room yet");
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).expect("it was there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: when a test has failed, the member may still be there.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
