//! Where are the programs under test, and what does one say?

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The longest that a command may take which only asks or checks.
const COMMAND_MAX: Duration = Duration::from_secs(90);

/// A program of this project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `milepost-rsu`.
    Rsu,
    /// `milepost-obu`.
    Obu,
    /// `milepost-sim`.
    Sim,
}

impl Program {
    const fn name(self) -> &'static str {
        match self {
            Self::Rsu => "milepost-rsu",
            Self::Obu => "milepost-obu",
            Self::Sim => "milepost-sim",
        }
    }

    /// The folder that all programs are in: the one above the test's own.
    pub fn folder() -> PathBuf {
        let test = std::env::current_exe().expect("a running program has a path");
        let deps = test.parent().expect("cargo puts tests into target/PROFILE/deps");
        deps.parent().expect("deps lies in target/PROFILE").to_owned()
    }

    /// A command that starts it.
    ///
    /// # Panics
    ///
    /// Where it was not built.
    pub fn command(self) -> Command {
        let path = Self::folder().join(self.name());
        assert!(
            path.is_file(),
            "{} is missing: `cargo build --release --workspace --bins` builds it",
            path.display()
        );
        Command::new(path)
    }

    /// Runs it to its end.
    ///
    /// # Panics
    ///
    /// Where it does not end within a minute and a half.
    pub fn run(self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Said {
        Said::by(self.command().args(arguments), COMMAND_MAX)
    }
}

/// Audits a home, or a backup, offline.
pub fn verify(home: &Path) -> Said {
    Program::Rsu.run([
        OsStr::new("verify"),
        "--json".as_ref(),
        "--home".as_ref(),
        home.as_ref(),
    ])
}

/// The project's own folder.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the workspace")
}

/// Starts a program that writes into these files.
pub(crate) fn spawn(command: &mut Command, stdout: &File, stderr: &File) -> Child {
    command
        .stdin(Stdio::null())
        .stdout(shared(stdout))
        .stderr(shared(stderr))
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

/// What a program said until it ended.
#[derive(Debug)]
pub struct Said {
    command: String,
    /// Its exit status; `None` where a signal ended it.
    pub status: Option<i32>,
    /// Its data.
    pub stdout: String,
    /// Its logs and errors.
    pub stderr: String,
}

impl Said {
    /// Runs a command to its end.
    ///
    /// # Panics
    ///
    /// Where it cannot be started, or does not end within `limit`.
    pub fn by(command: &mut Command, limit: Duration) -> Self {
        let (stdout, stderr) = (scratch(), scratch());
        let child = spawn(command, &stdout, &stderr);
        Self::of(child, format!("{command:?}"), stdout, stderr, limit)
    }

    /// Waits for a program that writes into these files.
    pub(crate) fn of(mut child: Child, command: String, stdout: File, stderr: File, limit: Duration) -> Self {
        let ended = end_within(&mut child, limit);
        let said = Self {
            command,
            status: ended.and_then(|status| status.code()),
            stdout: read(stdout),
            stderr: read(stderr),
        };
        assert!(
            ended.is_some(),
            "it did not end within {} s: {said}",
            limit.as_secs()
        );
        said
    }

    /// Itself, where it ended with `status` and nothing in it panicked.
    ///
    /// # Panics
    ///
    /// Otherwise, showing all that it said.
    #[must_use]
    pub fn ended_with(self, status: i32) -> Self {
        assert!(!self.panicked(), "it panicked: {self}");
        assert_eq!(self.status, Some(status), "its exit status is another: {self}");
        self
    }

    /// Whether some thread of it panicked.
    pub fn panicked(&self) -> bool {
        self.stderr.contains("panicked at")
    }

    /// What it printed as JSON.
    ///
    /// # Panics
    ///
    /// Where that is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            command,
            status,
            stdout,
            stderr,
        } = self;
        write!(
            f,
            "{command}\n-- exit status {status:?}\n-- stdout\n{stdout}\n-- stderr\n{stderr}"
        )
    }
}

/// Waits until a process has ended; kills it after `limit`, and returns nothing then.
pub fn end_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    while began.elapsed() < limit {
        if let Some(status) = child.try_wait().expect("one's own child can be waited for") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    kill(child);
    None
}

/// SIGKILL: no last words.
pub(crate) fn kill(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

/// Sends a signal by its name: `TERM`, `STOP`, `CONT`.
pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), child.id().to_string()])
        .status();
    assert!(
        sent.is_ok_and(|status| status.success()),
        "process {} is no more",
        child.id()
    );
}

/// A file that nobody else sees and that goes with its last handle: a pipe would fill up.
pub(crate) fn scratch() -> File {
    tempfile::tempfile().expect("the temporary folder can be written")
}

/// The file, for a child to write into.
fn shared(file: &File) -> Stdio {
    file.try_clone().expect("a handle can be cloned").into()
}

fn read(mut file: File) -> String {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .expect("a temporary file can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}
