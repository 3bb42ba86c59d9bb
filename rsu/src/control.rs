//! What does a unit do for whoever owns its home, while it runs?
//!
//! A Unix socket in the home, for the owner alone (mode 0600), unlike the HTTP API, which others may reach. One line
//! asks, one line of JSON answers, and the connection ends. `checkpoint` puts a consistent copy of the store into a
//! folder of the home, by hard links; whoever asked removes it. What nobody removed goes at the next start.
//!
//! Bounded: one question at a time, of at most [`QUESTION_LEN_MAX`] bytes, within [`QUESTION_MAX`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use milepost_node::store::{Rocks, StoreError};
use serde::{Deserialize, Serialize};

use crate::home::Home;

/// The longest question, in bytes.
const QUESTION_LEN_MAX: u64 = 64;
/// How long a question may take to arrive.
const QUESTION_MAX: Duration = Duration::from_secs(2);
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// Copies of the store are in folders of the home whose names begin so.
const CHECKPOINT: &str = "checkpoint-";

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The store as it was a moment ago.
    Checkpoint(PathBuf),
    /// Why not.
    Error(String),
}

/// Copies the store into a new folder of the home.
///
/// # Errors
///
/// [`StoreError`].
pub fn checkpoint(home: &Home, store: &Rocks) -> Result<PathBuf, StoreError> {
    let folder = (0..)
        .map(|nth: u32| home.folder().join(format!("{CHECKPOINT}{nth}")))
        .find(|folder| !folder.exists())
        .expect("there are more numbers than folders");
    store.checkpoint(&folder)?;
    Ok(folder)
}

/// Removes copies that nobody removed.
///
/// # Errors
///
/// Where the home cannot be read, or a folder not be removed.
pub fn clear(home: &Home) -> std::io::Result<()> {
    for entry in std::fs::read_dir(home.folder())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(CHECKPOINT) {
            std::fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

/// Listens for as long as the returned task runs. An earlier run's socket is replaced.
///
/// # Errors
///
/// Where there can be no socket: its path may be too long, or its file system know none.
#[cfg(unix)]
pub fn serve(home: &Home, store: Rocks) -> std::io::Result<tokio::task::JoinHandle<()>> {
    use std::os::unix::fs::PermissionsExt;
    let path = home.control();
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = tokio::net::UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let home = home.clone();
    Ok(tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    if let Err(error) = answer(stream, &home, &store).await {
                        tracing::debug!(%error, "a question on the control socket was not answered");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket failed for a moment");
                    tokio::time::sleep(QUESTION_MAX).await;
                }
            }
        }
    }))
}

#[cfg(unix)]
async fn answer(mut stream: tokio::net::UnixStream, home: &Home, store: &Rocks) -> std::io::Result<()> {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    let mut question = String::new();
    let mut reader = BufReader::new((&mut stream).take(QUESTION_LEN_MAX));
    tokio::time::timeout(QUESTION_MAX, reader.read_line(&mut question)).await??;
    let answer = match question.trim() {
        "checkpoint" => {
            let (home, store) = (home.clone(), store.clone());
            let made = tokio::task::spawn_blocking(move || checkpoint(&home, &store)).await;
            match made.map_err(std::io::Error::other)? {
                Ok(folder) => Answer::Checkpoint(folder),
                Err(error) => Answer::Error(error.to_string()),
            }
        }
        other => Answer::Error(format!("expected checkpoint, found {other:?}")),
    };
    let line = serde_json::to_string(&answer).expect("plain data") + "\n";
    stream.write_all(line.as_bytes()).await?;
    stream.shutdown().await
}

/// Asks the unit that runs in a home; `None` where none runs.
///
/// # Errors
///
/// Where it does not answer.
#[cfg(unix)]
pub fn ask(socket: &Path, question: &str) -> std::io::Result<Option<Answer>> {
    use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
    let mut stream = match std::os::unix::net::UnixStream::connect(socket) {
        Ok(stream) => stream,
        // A socket that nobody listens on was left by a process that was killed.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    writeln!(stream, "{question}")?;
    let mut line = String::new();
    BufReader::new(stream.take(1 << 16)).read_line(&mut line)?;
    Ok(Some(serde_json::from_str(&line)?))
}

/// There is no such socket here: a backup is made of a unit that does not run.
#[cfg(not(unix))]
pub fn ask(_: &Path, _: &str) -> std::io::Result<Option<Answer>> {
    Ok(None)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_owner_gets_a_copy_and_nonsense_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::new(folder.path());
        assert_eq!(
            ask(&home.control(), "checkpoint").expect("asks"),
            None,
            "nobody runs"
        );
        let store = Rocks::open(&home.store()).expect("an empty store");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let _entered = runtime.enter();
        let _serving = serve(&home, store).expect("a socket");
        let Some(Answer::Checkpoint(copy)) = ask(&home.control(), "checkpoint").expect("answers") else {
            panic!("no copy");
        };
        assert!(copy.join("CURRENT").exists());
        assert!(matches!(
            ask(&home.control(), "dance"),
            Ok(Some(Answer::Error(_)))
        ));
        clear(&home).expect("clears");
        assert!(!copy.exists());
    }
}
