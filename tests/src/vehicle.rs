//! How does a test drive, and ask, as a vehicle does?

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use milepost_wire::SecretKey;
use serde_json::Value;

use crate::program::{Program, Said, kill, scratch, signal, spawn};

/// One enrolled vehicle, and whom it knows.
#[derive(Clone, Debug)]
pub struct Vehicle {
    /// Its key file.
    pub key: PathBuf,
    /// `consortium.json`.
    pub consortium: PathBuf,
    /// Endpoints of roadside units.
    pub connect: Vec<String>,
    /// The folder of its link certificate, where units want one.
    pub tls: Option<PathBuf>,
}

/// What a vehicle sees.
#[derive(Clone, Debug)]
pub enum Source {
    /// JSON lines.
    Jsonl(String),
    /// One vehicle of SUMO's floating-car data: the file, and its name there.
    Fcd(PathBuf, String),
}

impl Vehicle {
    /// Its signing key.
    pub fn secret(&self) -> SecretKey {
        let text = std::fs::read_to_string(&self.key).expect("testnet wrote it");
        SecretKey::from_hex(&text).expect("testnet wrote it")
    }

    /// Where reports wait that have no receipt: beside the key.
    pub fn outbox(&self) -> PathBuf {
        self.beside("outbox")
    }

    /// The same, with another key.
    #[must_use]
    pub fn with_key(&self, key: impl Into<PathBuf>) -> Self {
        Self {
            key: key.into(),
            ..self.clone()
        }
    }

    /// A `milepost-obu` command in its name.
    pub fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut obu = Program::Obu.command();
        obu.arg(command).arg("--key").arg(&self.key);
        obu.arg("--consortium").arg(&self.consortium);
        obu.arg("--connect").args(&self.connect);
        if let Some(folder) = &self.tls {
            obu.arg("--tls").arg(folder);
        }
        obu.args(arguments);
        obu
    }

    /// Asks, and returns the JSON that is printed.
    ///
    /// # Panics
    ///
    /// Where the command fails.
    pub fn ask(&self, command: &str, arguments: &[&str]) -> Value {
        Said::by(
            self.command(command, arguments).arg("--json"),
            Duration::from_secs(90),
        )
        .ended_with(0)
        .json()
    }

    /// Sets out. After the source's end it waits for receipts up to `linger_s` seconds.
    pub fn drive(&self, source: Source, linger_s: u64) -> Drive {
        let mut command = self.command("run", &["--json", "--linger", &linger_s.to_string()]);
        match source {
            Source::Jsonl(lines) => {
                let file = self.beside("jsonl");
                std::fs::write(&file, lines).expect("the testnet's folder can be written");
                command.arg("--source").arg(format!("jsonl:{}", file.display()));
            }
            Source::Fcd(file, name) => {
                command.arg("--source").arg(format!("fcd:{}", file.display()));
                command.args(["--vehicle", &name]);
            }
        }
        Drive::start(&mut command)
    }

    fn beside(&self, extension: &str) -> PathBuf {
        let mut name = self.key.clone().into_os_string();
        name.push(".");
        name.push(extension);
        Path::new(&name).to_owned()
    }
}

/// A vehicle under way; stopped for good where it is dropped before its end.
#[derive(Debug)]
pub struct Drive {
    child: Option<Child>,
    command: String,
    stdout: File,
    stderr: File,
}

impl Drive {
    fn start(command: &mut Command) -> Self {
        let (stdout, stderr) = (scratch(), scratch());
        Self {
            child: Some(spawn(command, &stdout, &stderr)),
            command: format!("{command:?}"),
            stdout,
            stderr,
        }
    }

    /// Waits for its end and returns its summary.
    ///
    /// # Panics
    ///
    /// Where it does not end within `limit`, or fails.
    pub fn finish(mut self, limit: Duration) -> Value {
        let child = self.child.take().expect("it is taken only here");
        let handle = |file: &File| file.try_clone().expect("a handle can be cloned");
        let command = std::mem::take(&mut self.command);
        Said::of(child, command, handle(&self.stdout), handle(&self.stderr), limit)
            .ended_with(0)
            .json()
    }

    /// Waits for its end; all that it sent must be final. A receipt that says a report was heard before says so, too: the
    /// ledger has it, by another unit's batch, whose receipt the vehicle missed. So does one that says a report brings
    /// nothing new: the unit that heard it was killed, and it came too late when it was sent again.
    ///
    /// # Panics
    ///
    /// As [`Drive::finish`], and where a report was lost or still waits.
    pub fn finish_final(self, limit: Duration) -> Value {
        let summary = self.finish(limit);
        assert!(summary["sent"].as_u64() > Some(0), "nothing was said: {summary}");
        let count = |path: &str| summary.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        let late = count("/outcomes/heard_before") + count("/outcomes/nothing_new");
        let on_the_ledger = count("/final") + late;
        assert_eq!(on_the_ledger, count("/sent"), "a report was lost: {summary}");
        let left = (&summary["waiting"], &summary["lost"]);
        assert_eq!(left, (&0.into(), &0.into()), "{summary}");
        summary
    }

    /// Asks it to end, as Ctrl-C does, and returns its summary.
    ///
    /// # Panics
    ///
    /// As [`Drive::finish`].
    pub fn stop(self) -> Value {
        if let Some(child) = &self.child {
            signal(child, "TERM");
        }
        self.finish(Duration::from_secs(20))
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill(&mut child);
        }
    }
}
