//! How does the outbox survive kill -9, a power cut and years on flash?
//!
//! One file of frames, written at its end alone: a mark, the length, eight bytes of a hash, an [`Entry`]. What is
//! not whole is skipped on opening, wherever it stands, and the file is then written anew. It is also written anew
//! when more of it is dead than alive: next to itself, synced, and renamed.
//!
//! Sequence numbers are reserved 256 at a time, and the reservation is synced before the first of them
//! is used: one sync in so many reports instead of one each. After a crash what was reserved and not used is skipped;
//! [`FileJournal::close`] gives it back. Reports themselves are synced when the owner asks: killing the process loses
//! none, a power cut those since the last sync, and their sequences stay used.
//!
//! A second process with the same outbox would use the same numbers: a lock beside the file refuses it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use milepost_wire::codec::decode_within;
use milepost_wire::{ChainId, Hash, KeyId, Message, Sequence, SignedReport, encode};
use wincode::{SchemaRead, SchemaWrite};

use super::{Journal, Resumed};
use crate::durable;
use crate::outbox::{Change, Kept};

/// How many sequence numbers are reserved at once.
const RESERVED_AHEAD: u64 = 256;
/// Below this length, in bytes, a file is not written anew for what is dead in it.
const REWRITE_LEN_MIN: u64 = 256 << 10;

const MARK: [u8; 4] = *b"mpo1";
/// Mark, length (4 bytes, little-endian), hash (8 bytes).
const FRAME_HEAD_LEN: usize = 16;
const ENTRY_LEN_MAX: usize = SignedReport::LEN_MAX + 64;

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
#[wincode(tag_encoding = "u8")]
enum Entry {
    /// Whose outbox this is.
    Owner(ChainId, KeyId),
    /// Sequences below this may have been used. The last one counts.
    Reserved(Sequence),
    /// A report waits.
    Keep(Kept),
    /// It waits no longer.
    Forget(Sequence),
}

/// Why an outbox cannot be kept on disk.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error("outbox {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it.
    #[error("outbox {0} is in use by another process")]
    InUse(PathBuf),
    /// It belongs to another vehicle, or to another chain.
    #[error(
        "outbox {path} belongs to vehicle {found} on chain {found_chain}, not to {expected} on {expected_chain}"
    )]
    OtherOwner {
        /// The file.
        path: PathBuf,
        /// This vehicle.
        expected: KeyId,
        /// This chain.
        expected_chain: ChainId,
        /// The file's vehicle.
        found: KeyId,
        /// The file's chain.
        found_chain: ChainId,
    },
    /// There is something else in the file; it is left alone.
    #[error("{0} is not an outbox: expected an empty or missing file, or one that milepost-obu wrote")]
    NotAnOutbox(PathBuf),
}

/// An outbox on disk.
#[derive(Debug)]
pub struct FileJournal {
    path: PathBuf,
    file: File,
    owner: Entry,
    /// Sequences below this are reserved, and the disk knows.
    reserved: Sequence,
    next_sequence: Sequence,
    /// Where the frames of what waits stand.
    live: BTreeMap<Sequence, Range<u64>>,
    live_len: u64,
    len: u64,
    dirty: bool,
    /// Held for as long as this lives.
    _lock: File,
}

impl FileJournal {
    /// Opens or begins the outbox of `vehicle` on `chain`. `fresh` is the first sequence of a new outbox: a count of
    /// milliseconds, so that a vehicle which lost its disk does not start below what it used.
    ///
    /// # Errors
    ///
    /// [`JournalError`].
    pub fn open(
        path: &Path,
        chain: &ChainId,
        vehicle: KeyId,
        fresh: Sequence,
    ) -> Result<(Self, Resumed), JournalError> {
        let failed = |source| JournalError::Io {
            path: path.to_owned(),
            source,
        };
        let lock = lock(path)?;
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(failed)?,
        };
        let owner = Entry::Owner(chain.clone(), vehicle);
        let found = Found::read(&bytes);
        match found.owner {
            Some((found_chain, found)) if (&found_chain, found) != (chain, vehicle) => {
                let (expected, expected_chain) = (vehicle, chain.clone());
                return Err(JournalError::OtherOwner {
                    path: path.to_owned(),
                    expected,
                    expected_chain,
                    found,
                    found_chain,
                });
            }
            None if found.whole_len == 0 && !frame(&owner).starts_with(&bytes) => {
                return Err(JournalError::NotAnOutbox(path.to_owned()));
            }
            _ => {}
        }
        let damaged = found.whole_len != bytes.len();
        let next_sequence = match found.reserved {
            None => found.above_kept().max(fresh),
            // What is missing may have been a reservation.
            Some(reserved) if damaged => found
                .above_kept()
                .max(Sequence(reserved.0 + RESERVED_AHEAD))
                .max(fresh),
            Some(reserved) => found.above_kept().max(reserved),
        };
        let (file, live, len) =
            write_anew(path, &owner, next_sequence, &bytes, &found.live).map_err(failed)?;
        let live_len = live.values().map(|range| range.end - range.start).sum();
        let resumed = Resumed {
            next_sequence,
            kept: found.kept.into_values().collect(),
        };
        let journal = Self {
            path: path.to_owned(),
            file,
            owner,
            reserved: next_sequence,
            next_sequence,
            live,
            live_len,
            len,
            dirty: false,
            _lock: lock,
        };
        Ok((journal, resumed))
    }

    /// Brings everything recorded so far to the disk itself.
    ///
    /// # Errors
    ///
    /// [`JournalError::Io`].
    pub fn sync(&mut self) -> Result<(), JournalError> {
        if std::mem::take(&mut self.dirty) {
            self.file.sync_data().map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    /// Gives back what was reserved and not used.
    ///
    /// # Errors
    ///
    /// [`JournalError::Io`].
    pub fn close(mut self) -> Result<(), JournalError> {
        // Nothing may be sent from here on: the journal is gone.
        self.append(&Entry::Reserved(self.next_sequence))?;
        self.sync()
    }

    fn append(&mut self, entry: &Entry) -> Result<Range<u64>, JournalError> {
        let frame = frame(entry);
        self.file
            .write_all(&frame)
            .map_err(|source| self.failed(source))?;
        self.dirty = true;
        let start = self.len;
        self.len += frame.len() as u64;
        Ok(start..self.len)
    }

    fn reserve(&mut self, sequence: Sequence) -> Result<(), JournalError> {
        if sequence >= self.reserved {
            let reserved = Sequence(sequence.0.saturating_add(RESERVED_AHEAD));
            self.append(&Entry::Reserved(reserved))?;
            self.sync()?;
            self.reserved = reserved;
        }
        Ok(())
    }

    fn rewrite_if_mostly_dead(&mut self) -> Result<(), JournalError> {
        if self.len < REWRITE_LEN_MIN || self.len < 2 * self.live_len {
            return Ok(());
        }
        let written = fs::read(&self.path)
            .and_then(|bytes| write_anew(&self.path, &self.owner, self.reserved, &bytes, &self.live));
        (self.file, self.live, self.len) = written.map_err(|source| self.failed(source))?;
        self.dirty = false;
        Ok(())
    }

    fn failed(&self, source: io::Error) -> JournalError {
        JournalError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

impl Journal for FileJournal {
    type Error = JournalError;

    fn record(&mut self, change: &Change) -> Result<(), JournalError> {
        match change {
            Change::Keep(kept) => {
                self.reserve(kept.sequence)?;
                let range = self.append(&Entry::Keep(kept.clone()))?;
                self.next_sequence = self.next_sequence.max(Sequence(kept.sequence.0 + 1));
                self.live_len += range.end - range.start;
                self.live.insert(kept.sequence, range);
            }
            Change::Forget(sequence) => {
                if let Some(range) = self.live.remove(sequence) {
                    self.live_len -= range.end - range.start;
                    self.append(&Entry::Forget(*sequence))?;
                }
            }
        }
        self.rewrite_if_mostly_dead()
    }
}

/// What the whole frames of a file say.
#[derive(Default)]
struct Found {
    owner: Option<(ChainId, KeyId)>,
    reserved: Option<Sequence>,
    kept: BTreeMap<Sequence, Kept>,
    live: BTreeMap<Sequence, Range<u64>>,
    /// The length of all whole frames together.
    whole_len: usize,
}

impl Found {
    fn read(bytes: &[u8]) -> Self {
        let (mut found, mut at) = (Self::default(), 0);
        while at < bytes.len() {
            match whole_frame(&bytes[at..]) {
                Some((entry, len)) => {
                    found.take(entry, at as u64..(at + len) as u64);
                    found.whole_len += len;
                    at += len;
                }
                None => at += 1,
            }
        }
        found
    }

    fn take(&mut self, entry: Entry, range: Range<u64>) {
        match entry {
            Entry::Owner(chain, vehicle) => self.owner = Some((chain, vehicle)),
            Entry::Reserved(sequence) => self.reserved = Some(sequence),
            Entry::Keep(kept) => {
                self.live.insert(kept.sequence, range);
                self.kept.insert(kept.sequence, kept);
            }
            Entry::Forget(sequence) => {
                self.live.remove(&sequence);
                self.kept.remove(&sequence);
            }
        }
    }

    fn above_kept(&self) -> Sequence {
        self.kept
            .last_key_value()
            .map_or(Sequence(0), |(sequence, _)| Sequence(sequence.0 + 1))
    }
}

fn frame(entry: &Entry) -> Vec<u8> {
    let entry = encode(entry);
    let len = u32::try_from(entry.len()).expect("an entry is a report and some bytes");
    let mut frame = Vec::with_capacity(FRAME_HEAD_LEN + entry.len());
    frame.extend(MARK);
    frame.extend(len.to_le_bytes());
    frame.extend(&Hash::of("outbox", &[&entry]).0[..8]);
    frame.extend(entry);
    frame
}

/// The entry that begins here, and the length of its frame; `None` where none that is whole does.
fn whole_frame(bytes: &[u8]) -> Option<(Entry, usize)> {
    let (head, rest) = bytes.split_at_checked(FRAME_HEAD_LEN)?;
    let len = head
        .strip_prefix(&MARK)?
        .first_chunk()
        .map(|len| u32::from_le_bytes(*len) as usize)?;
    if len > ENTRY_LEN_MAX {
        return None;
    }
    let entry = rest.get(..len)?;
    if head[8..] != Hash::of("outbox", &[entry]).0[..8] {
        return None;
    }
    Some((
        decode_within(entry, "outbox entry", ENTRY_LEN_MAX).ok()?,
        FRAME_HEAD_LEN + len,
    ))
}

type Written = (File, BTreeMap<Sequence, Range<u64>>, u64);

/// Replaces the file by one with nothing dead in it: afterwards it is either the old one or the new one.
fn write_anew(
    path: &Path,
    owner: &Entry,
    reserved: Sequence,
    old: &[u8],
    live: &BTreeMap<Sequence, Range<u64>>,
) -> io::Result<Written> {
    let mut bytes = frame(owner);
    bytes.extend(frame(&Entry::Reserved(reserved)));
    let mut moved = BTreeMap::new();
    for (sequence, range) in live {
        let frame = old
            .get(range.start as usize..range.end as usize)
            .ok_or_else(|| io::Error::other("the file became shorter while in use"))?;
        let start = bytes.len() as u64;
        bytes.extend(frame);
        moved.insert(*sequence, start..bytes.len() as u64);
    }
    let file = durable::replace(path, &with_suffix(path, ".new"), &bytes)?;
    // The handle still writes at the end of what is now the outbox.
    Ok((file, moved, bytes.len() as u64))
}

fn lock(path: &Path) -> Result<File, JournalError> {
    let failed = |source| JournalError::Io {
        path: path.to_owned(),
        source,
    };
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(with_suffix(path, ".lock"))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use milepost_wire::{Cell, Timestamp};
    use proptest::prelude::*;

    const VEHICLE: KeyId = KeyId([7; 8]);

    fn chain() -> ChainId {
        ChainId::new("town").unwrap()
    }

    fn keep(sequence: u64) -> Change {
        Change::Keep(Kept {
            sequence: Sequence(sequence),
            sealed_at: Timestamp::from_millis(sequence),
            cell: Cell::segment("a"),
            bytes: vec![sequence as u8; 40],
        })
    }

    fn forget(sequence: u64) -> Change {
        Change::Forget(Sequence(sequence))
    }

    fn open(path: &Path) -> (FileJournal, Resumed) {
        FileJournal::open(path, &chain(), VEHICLE, Sequence(0)).unwrap()
    }

    fn waiting(resumed: &Resumed) -> Vec<u64> {
        resumed.kept.iter().map(|kept| kept.sequence.0).collect()
    }

    #[test]
    fn what_waits_and_the_next_sequence_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox");
        let (mut journal, resumed) = open(&path);
        assert_eq!(
            resumed,
            Resumed {
                next_sequence: Sequence(0),
                kept: vec![]
            }
        );
        for change in [keep(0), keep(1), forget(0), keep(2)] {
            journal.record(&change).unwrap();
        }
        journal.close().unwrap();
        let (_, resumed) = open(&path);
        assert_eq!(waiting(&resumed), [1, 2]);
        assert_eq!(
            resumed.next_sequence,
            Sequence(3),
            "closed in order: none is skipped"
        );
    }

    #[test]
    fn a_killed_process_skips_what_it_had_reserved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox");
        let (mut journal, _) = open(&path);
        journal.record(&keep(0)).unwrap();
        drop(journal);
        assert_eq!(open(&path).1.next_sequence, Sequence(RESERVED_AHEAD));
    }

    #[test]
    fn a_new_outbox_begins_where_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox");
        let (_, resumed) = FileJournal::open(&path, &chain(), VEHICLE, Sequence(1_000_000)).unwrap();
        assert_eq!(resumed.next_sequence, Sequence(1_000_000));
    }

    #[test]
    fn an_outbox_survives_truncation_at_every_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox");
        let (mut journal, _) = open(&path);
        for change in [keep(0), keep(1), forget(0), keep(2), keep(3), forget(2)] {
            journal.record(&change).unwrap();
        }
        drop(journal);
        let whole = fs::read(&path).unwrap();
        for len in 0..=whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            let (journal, resumed) = open(&path);
            let waiting = waiting(&resumed);
            assert!(waiting.iter().all(|sequence| *sequence < resumed.next_sequence.0));
            drop(journal);
            assert_eq!(self::waiting(&open(&path).1), waiting, "and stays so");
        }
    }

    #[test]
    fn damage_in_the_middle_costs_no_more_than_what_it_hit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox");
        let (mut journal, _) = open(&path);
        for sequence in 0..3 {
            journal.record(&keep(sequence)).unwrap();
        }
        let middle = journal.live[&Sequence(1)].start as usize + 20;
        drop(journal);
        let mut bytes = fs::read(&path).unwrap();
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let (_, resumed) = open(&path);
        assert_eq!(waiting(&resumed), [0, 2]);
        assert!(resumed.next_sequence >= Sequence(RESERVED_AHEAD));
    }

    #[test]
    fn dead_reports_do_not_fill_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox");
        let (mut journal, _) = open(&path);
        journal.record(&keep(0)).unwrap();
        for sequence in 1..10_000 {
            journal.record(&keep(sequence)).unwrap();
            journal.record(&forget(sequence)).unwrap();
            assert!(journal.len <= REWRITE_LEN_MIN + 1024);
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), journal.len);
        drop(journal);
        assert_eq!(waiting(&open(&path).1), [0]);
    }

    #[test]
    fn another_vehicles_outbox_and_other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox");
        drop(open(&path));
        let other = FileJournal::open(&path, &chain(), KeyId([8; 8]), Sequence(0));
        assert!(matches!(other, Err(JournalError::OtherOwner { .. })));

        fs::write(&path, "a secret key").unwrap();
        let refused = FileJournal::open(&path, &chain(), VEHICLE, Sequence(0));
        assert!(matches!(refused, Err(JournalError::NotAnOutbox(_))));
        assert_eq!(fs::read(&path).unwrap(), b"a secret key");
    }

    #[test]
    fn two_processes_never_share_an_outbox() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox");
        let (_journal, _) = open(&path);
        let second = FileJournal::open(&path, &chain(), VEHICLE, Sequence(0));
        assert!(matches!(second, Err(JournalError::InUse(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// A crash loses any part of what was written since the last sync; a kill loses nothing.
        #[test]
        fn sequences_never_repeat_across_crashes(
            lives in prop::collection::vec((1u64..600, 0usize..4000, 0u8..3), 1..8),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("outbox");
            let mut used = std::collections::BTreeSet::new();
            for (reports, torn, ending) in lives {
                let (mut journal, resumed) = open(&path);
                let mut synced = journal.len;
                for sequence in resumed.next_sequence.0..resumed.next_sequence.0 + reports {
                    let before = journal.reserved;
                    journal.record(&keep(sequence)).unwrap();
                    if journal.reserved != before {
                        // Synced after the reservation and before the report.
                        synced = journal.live[&Sequence(sequence)].start;
                    }
                    prop_assert!(used.insert(sequence), "{} twice", sequence);
                    journal.record(&forget(sequence)).unwrap();
                    synced = synced.min(journal.len);
                }
                match ending {
                    0 => journal.close().unwrap(),
                    1 => drop(journal),
                    _ => {
                        let len = journal.len.saturating_sub(torn as u64).max(synced);
                        drop(journal);
                        OpenOptions::new().write(true).open(&path).unwrap().set_len(len).unwrap();
                    }
                }
            }
        }

        #[test]
        fn no_bytes_in_the_file_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0usize..400) {
            let mut file = frame(&Entry::Owner(chain(), VEHICLE));
            file.extend(frame(&Entry::Reserved(Sequence(5))));
            file.splice(at.min(file.len()).., bytes);
            let _ = Found::read(&file);
        }
    }
}
