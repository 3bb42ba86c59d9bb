//! How is a unit's ledger saved, and brought back?
//!
//! A backup is a folder like a home: `genesis.json`, `consortium.json`, `rsu.toml`, `store/`, `snapshots/`, and
//! `backup.json`, which tells what it is. The key is not in it: it belongs into a safe of its own. It is made of a
//! checkpoint, which a running unit gives over its control socket, copied beside the place where it shall be, replayed
//! as `verify` does, and only then put there: a backup that can be seen is whole and right.
//!
//! Restoring puts a copy into a home that has no ledger. What the unit's key has signed since the backup was made is in
//! nobody's hands, so the restored unit says nothing until it has committed a block whose time is later than the
//! restoration (docs/adr/0017-snapshots.md): it never contradicts an earlier vote.

use std::path::{Path, PathBuf};

use milepost_node::audit::{Progress, audit};
use milepost_node::snapshot::SnapshotError;
use milepost_node::snapshots::Snapshots;
use milepost_node::store::{Rocks, StoreError, install};
use milepost_wire::{Hash, Height, Timestamp};
use serde::{Deserialize, Serialize};

use crate::control::{self, Answer};
use crate::home::{Home, HomeError, make_folder, write_json};
use crate::rfc3339;

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The chain's genesis.
    pub genesis: Hash,
    /// Its newest block.
    pub height: Height,
    /// The state after it.
    pub state_root: Hash,
    /// When it was made, in RFC 3339.
    pub made_at: String,
}

/// Why there is no backup, or nothing restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A home that cannot be read or written.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Something is there already.
    #[error("{0} is there already, and is not written over")]
    Exists(PathBuf),
    /// Nothing to save.
    #[error("{0} holds no ledger")]
    NoLedger(PathBuf),
    /// A folder that is no backup.
    #[error("{path} is no backup: {why}")]
    NoBackup {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The home is another chain's.
    #[error("the backup is of the chain with genesis {found}, the home's is {expected}")]
    OtherChain {
        /// The home's.
        expected: Hash,
        /// The backup's.
        found: Hash,
    },
    /// The running unit gave no copy.
    #[error("the unit that runs in {home} gave no copy of its store: {why}")]
    Unit {
        /// Its home.
        home: PathBuf,
        /// Why.
        why: String,
    },
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The snapshots' folder cannot be used.
    #[error(transparent)]
    Snapshots(#[from] SnapshotError),
    /// Files cannot be copied.
    #[error("cannot copy {path}: {source}")]
    Copy {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What was copied is not right.
    #[error("the copy is not right: {}", .0.join("; "))]
    Wrong(Vec<String>),
}

/// Saves the ledger of the unit in `home`, which may be running, to the new folder `out`.
///
/// # Errors
///
/// [`BackupError`]; there is no `out` then.
pub fn backup(
    home: &Home,
    out: &Path,
    now: Timestamp,
    progress: impl FnMut(Progress),
) -> Result<Manifest, BackupError> {
    refuse_existing(out)?;
    let genesis = home.genesis()?;
    if !home.store().join("CURRENT").exists() {
        return Err(BackupError::NoLedger(home.store()));
    }
    let unfinished = Unfinished::begin(out)?;
    let part = Home::new(&unfinished.0);
    write_json(&part.folder().join("genesis.json"), &genesis)?;
    write_json(&part.folder().join("consortium.json"), &genesis.consortium())?;
    copy_file(&home.config_path(), &part.config_path())?;
    let copy = copy_of(home)?;
    let copied = copy_folder(&copy, &part.store());
    let _ = std::fs::remove_dir_all(&copy);
    copied?;
    // Taken after the store: whatever it has pruned, one of these is not below it.
    let snapshots = Snapshots::open(&home.snapshots())?;
    for height in snapshots.heights()? {
        copy_snapshot(
            &snapshots.path(height),
            &Snapshots::open(&part.snapshots())?.path(height),
        )?;
    }

    let manifest = check(&part, now, progress)?;
    write_json(&part.folder().join("backup.json"), &manifest)?;
    sync(part.folder())?;
    unfinished.finish(out)?;
    Ok(manifest)
}

/// Brings a backup into `home`, which has its key and no ledger. `run` then goes on from it, silent at first.
///
/// # Errors
///
/// [`BackupError`]; the home then still has no ledger.
pub fn restore(
    from: &Path,
    home: &Home,
    now: Timestamp,
    progress: impl FnMut(Progress),
) -> Result<Manifest, BackupError> {
    let no_backup = |why: String| BackupError::NoBackup {
        path: from.to_owned(),
        why,
    };
    let text = std::fs::read(from.join("backup.json")).map_err(|error| no_backup(error.to_string()))?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| no_backup(error.to_string()))?;
    let (backup, store) = (Home::new(from), home.store());
    home.key()?;
    settle(&store)?;
    refuse_existing(&store)?;
    let genesis = backup.genesis()?;
    if home.folder().join("genesis.json").exists() && home.genesis()?.hash() != genesis.hash() {
        return Err(BackupError::OtherChain {
            expected: home.genesis()?.hash(),
            found: genesis.hash(),
        });
    }
    let found = check(&backup, now, progress)?;
    if (found.genesis, found.height, found.state_root)
        != (manifest.genesis, manifest.height, manifest.state_root)
    {
        return Err(no_backup(format!(
            "it says block {} with state {}, and holds block {} with state {}",
            manifest.height, manifest.state_root, found.height, found.state_root
        )));
    }

    if !home.config_path().exists() {
        copy_file(&backup.config_path(), &home.config_path())?;
    }
    write_json(&home.folder().join("genesis.json"), &genesis)?;
    write_json(&home.folder().join("consortium.json"), &genesis.consortium())?;
    if backup.snapshots().exists() && !home.snapshots().exists() {
        copy_folder(&backup.snapshots(), &home.snapshots())?;
    }
    let beside = install::beside(&store);
    copy_folder(&backup.store(), &beside)?;
    // Before it has its place: a unit that starts from it is silent in any case.
    Rocks::open(&beside)?.silence(now)?;
    install::ready(&store).map_err(|source| BackupError::Copy { path: beside, source })?;
    settle(&store)?;
    Ok(manifest)
}

fn settle(store: &Path) -> Result<(), BackupError> {
    install::settle(store).map_err(|source| BackupError::Copy {
        path: store.to_owned(),
        source,
    })
}

/// Replays a copy.
fn check(copy: &Home, now: Timestamp, progress: impl FnMut(Progress)) -> Result<Manifest, BackupError> {
    let genesis = copy.genesis()?;
    let store = Rocks::open_read_only(&copy.store())?;
    let snapshots = Snapshots::open(&copy.snapshots())?;
    let report = audit(&genesis, &store, Some(&snapshots), progress);
    if !report.ok {
        return Err(BackupError::Wrong(report.errors));
    }
    Ok(Manifest {
        genesis: genesis.hash(),
        height: report.height,
        state_root: report.state_root,
        made_at: rfc3339::format(now),
    })
}

/// A consistent copy of the store in a folder of the home: the running unit's, or ours where none runs.
fn copy_of(home: &Home) -> Result<PathBuf, BackupError> {
    let no_copy = |why: String| BackupError::Unit {
        home: home.folder().to_owned(),
        why,
    };
    match control::ask(&home.control(), "checkpoint").map_err(|error| no_copy(error.to_string()))? {
        Some(Answer::Checkpoint(folder)) => Ok(folder),
        Some(Answer::Error(why)) => Err(no_copy(why)),
        None => Ok(control::checkpoint(home, &Rocks::open(&home.store())?)?),
    }
}

/// A folder that is not whole yet, and goes if it never is.
struct Unfinished(PathBuf);

impl Unfinished {
    fn begin(out: &Path) -> Result<Self, BackupError> {
        let mut name = out.file_name().unwrap_or_default().to_owned();
        name.push(".unfinished");
        let folder = out.with_file_name(name);
        match std::fs::remove_dir_all(&folder) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(BackupError::Copy { path: folder, source });
            }
            _ => {}
        }
        make_folder(&folder)?;
        Ok(Self(folder))
    }

    fn finish(self, out: &Path) -> Result<(), BackupError> {
        std::fs::rename(&self.0, out).map_err(|source| BackupError::Copy {
            path: out.to_owned(),
            source,
        })?;
        match out.parent().filter(|above| !above.as_os_str().is_empty()) {
            Some(above) => sync(above),
            None => sync(Path::new(".")),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn refuse_existing(path: &Path) -> Result<(), BackupError> {
    match path.exists() {
        true => Err(BackupError::Exists(path.to_owned())),
        false => Ok(()),
    }
}

/// Copies a snapshot, if the unit has not just removed it.
fn copy_snapshot(from: &Path, to: &Path) -> Result<(), BackupError> {
    match copy_folder(from, to) {
        Err(BackupError::Copy { .. }) if !from.exists() => {
            let _ = std::fs::remove_dir_all(to);
            Ok(())
        }
        copied => copied,
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), BackupError> {
    let wrong = |source| BackupError::Copy {
        path: from.to_owned(),
        source,
    };
    make_folder(to)?;
    for entry in std::fs::read_dir(from).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let copied = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_folder(&path, &copied)?;
        } else {
            copy_file(&path, &copied)?;
        }
    }
    sync(to)
}

/// Copies a file so that the copy survives a power loss.
fn copy_file(from: &Path, to: &Path) -> Result<(), BackupError> {
    let copied = std::fs::copy(from, to).and_then(|_| std::fs::File::open(to)?.sync_all());
    copied.map_err(|source| BackupError::Copy {
        path: from.to_owned(),
        source,
    })
}

/// Makes what was created in a folder durable.
fn sync(folder: &Path) -> Result<(), BackupError> {
    #[cfg(unix)]
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| BackupError::Copy {
            path: folder.to_owned(),
            source,
        })?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}
