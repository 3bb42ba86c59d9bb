//! Which snapshots are on this disk?
//!
//! A folder with one folder for each, named by its height: `offer` and `000000.chunk`, `000001.chunk`, … A snapshot is
//! written under another name, synced, and renamed once it is whole, so that one which can be seen is complete. What a
//! crash left half written is cleared away at the next start.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use milepost_incentives::{Genesis, State};
use milepost_wire::certificate::Head;
use milepost_wire::codec::decode;
use milepost_wire::{Height, Message, encode};

use crate::ledger::Ledger;
use crate::snapshot::{self, Chunk, Manifest, Offer, SnapshotError};

/// A folder of snapshots.
#[derive(Clone, Debug)]
pub struct Snapshots(PathBuf);

/// What is being written begins with this, so that it is no height.
const UNFINISHED: &str = "unfinished-";

impl Snapshots {
    /// The snapshots in `folder`, which is made where it is missing.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::File`].
    pub fn open(folder: &Path) -> Result<Self, SnapshotError> {
        std::fs::create_dir_all(folder).map_err(|error| file(folder, error))?;
        Ok(Self(folder.to_owned()))
    }

    /// Removes what was never finished.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::File`].
    pub fn clear(&self) -> Result<(), SnapshotError> {
        for entry in std::fs::read_dir(&self.0).map_err(|error| file(&self.0, error))? {
            let path = entry.map_err(|error| file(&self.0, error))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(UNFINISHED) {
                std::fs::remove_dir_all(&path).map_err(|error| file(&path, error))?;
            }
        }
        Ok(())
    }

    /// The heights of all snapshots, lowest first.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::File`].
    pub fn heights(&self) -> Result<Vec<Height>, SnapshotError> {
        let mut heights = Vec::new();
        for entry in std::fs::read_dir(&self.0).map_err(|error| file(&self.0, error))? {
            let name = entry.map_err(|error| file(&self.0, error))?.file_name();
            if let Some(height) = name.to_str().and_then(|name| name.parse().ok()) {
                heights.push(Height(height));
            }
        }
        heights.sort_unstable();
        Ok(heights)
    }

    /// Where the snapshot of a height is, or would be.
    pub fn path(&self, height: Height) -> PathBuf {
        self.folder(height)
    }

    /// What others may be offered; `None` where there is no such snapshot.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`].
    pub fn offer(&self, height: Height) -> Result<Option<Offer>, SnapshotError> {
        let path = self.folder(height).join("offer");
        match read(&path, Offer::LEN_MAX)? {
            Some(bytes) => Ok(Some(decode(&bytes)?)),
            None => Ok(None),
        }
    }

    /// The bytes of a chunk, unchecked; `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::File`].
    pub fn chunk(&self, height: Height, index: usize) -> Result<Option<Vec<u8>>, SnapshotError> {
        read(&chunk_path(&self.folder(height), index), Chunk::LEN_MAX)
    }

    /// The ledger of a snapshot, checked against the header that it came with.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`].
    pub fn ledger(&self, genesis: &Genesis, offer: &Offer) -> Result<Ledger, SnapshotError> {
        let folder = self.folder(offer.manifest.height);
        offer.check(u64::MAX)?;
        offer.ledger(genesis, |index| read_chunk(&folder, index))
    }

    /// Writes a snapshot of the state after the block of `head`. Cost: a pass over the state; one chunk in memory.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::File`].
    pub fn make(&self, head: &Head, state: &State) -> Result<Offer, SnapshotError> {
        let header = &head.header;
        let folder = self.begin(header.height)?;
        let mut manifest = Manifest {
            version: Manifest::VERSION,
            chain: header.chain.clone(),
            height: header.height,
            block: header.hash(),
            state_root: header.state_root,
            entries: 0,
            bytes: 0,
            chunks: Vec::new(),
        };
        for (entries, bytes) in snapshot::chunks(state) {
            write(&chunk_path(&folder, manifest.chunks.len()), &bytes)?;
            manifest.entries += entries;
            manifest.bytes += bytes.len() as u64;
            manifest.chunks.push(Chunk::name(&bytes));
        }
        let offer = Offer {
            head: head.clone(),
            manifest,
        };
        self.finish(&folder, &offer)?;
        Ok(offer)
    }

    /// Where the chunks of an offered snapshot are gathered until they are whole.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::File`].
    pub fn gather(&self, offer: Offer) -> Result<Gathered<'_>, SnapshotError> {
        let folder = self.begin(offer.manifest.height)?;
        Ok(Gathered {
            snapshots: self,
            folder,
            offer,
        })
    }

    /// Removes a snapshot.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::File`].
    pub fn remove(&self, height: Height) -> Result<(), SnapshotError> {
        let (folder, gone) = (self.folder(height), self.unfinished(height));
        // Half removed, it must not be seen.
        std::fs::rename(&folder, &gone).map_err(|error| file(&folder, error))?;
        std::fs::remove_dir_all(&gone).map_err(|error| file(&gone, error))
    }

    fn begin(&self, height: Height) -> Result<PathBuf, SnapshotError> {
        let folder = self.unfinished(height);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(file(&folder, error)),
            _ => {}
        }
        std::fs::create_dir(&folder).map_err(|error| file(&folder, error))?;
        Ok(folder)
    }

    fn finish(&self, unfinished: &Path, offer: &Offer) -> Result<(), SnapshotError> {
        write(&unfinished.join("offer"), &encode(offer))?;
        sync_folder(unfinished)?;
        let height = offer.manifest.height;
        if self.folder(height).exists() {
            self.remove(height)?;
        }
        std::fs::rename(unfinished, self.folder(height)).map_err(|error| file(unfinished, error))?;
        sync_folder(&self.0)
    }

    fn folder(&self, height: Height) -> PathBuf {
        self.0.join(format!("{:012}", height.0))
    }

    fn unfinished(&self, height: Height) -> PathBuf {
        self.0.join(format!("{UNFINISHED}{}", height.0))
    }
}

/// A snapshot that is being fetched.
pub struct Gathered<'a> {
    snapshots: &'a Snapshots,
    folder: PathBuf,
    offer: Offer,
}

impl Gathered<'_> {
    /// Keeps a chunk, if it is the one that the manifest names.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`].
    pub fn put(&self, index: usize, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.offer.check_chunk(index, bytes)?;
        write(&chunk_path(&self.folder, index), bytes)
    }

    /// The ledger that the chunks come to, where it is the one that the header commits to.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`].
    pub fn ledger(&self, genesis: &Genesis) -> Result<Ledger, SnapshotError> {
        self.offer
            .ledger(genesis, |index| read_chunk(&self.folder, index))
    }

    /// Keeps it among the snapshots, so that others can have it.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::File`].
    pub fn keep(self) -> Result<(), SnapshotError> {
        self.snapshots.finish(&self.folder, &self.offer)
    }

    /// Throws it away.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::File`].
    pub fn discard(self) -> Result<(), SnapshotError> {
        std::fs::remove_dir_all(&self.folder).map_err(|error| file(&self.folder, error))
    }
}

fn chunk_path(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("{index:06}.chunk"))
}

fn file(path: &Path, source: std::io::Error) -> SnapshotError {
    SnapshotError::File {
        path: path.to_owned(),
        source,
    }
}

/// A file's bytes, if it is there; never more than one beyond `limit`.
fn read(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, SnapshotError> {
    use std::io::Read;
    let opened = match File::open(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file(path, error)),
    };
    let mut bytes = Vec::new();
    opened
        .take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| file(path, error))?;
    Ok(Some(bytes))
}

fn read_chunk(folder: &Path, index: usize) -> Result<Vec<u8>, SnapshotError> {
    let path = chunk_path(folder, index);
    read(&path, Chunk::LEN_MAX)?.ok_or_else(|| file(&path, std::io::ErrorKind::NotFound.into()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), SnapshotError> {
    let mut opened = File::create(path).map_err(|error| file(path, error))?;
    opened.write_all(bytes).map_err(|error| file(path, error))?;
    opened.sync_all().map_err(|error| file(path, error))
}

/// Makes what was created or renamed in a folder durable.
fn sync_folder(path: &Path) -> Result<(), SnapshotError> {
    #[cfg(unix)]
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| file(path, error))?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}
