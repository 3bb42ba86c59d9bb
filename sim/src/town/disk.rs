//! What does a member's disk keep, and what does it lose?
//!
//! [`Disk`] stands between a node and its [`Memory`]. What the node writes without a sync stays in a cache; a sync
//! moves the cache to the disk, a power failure empties it, or leaves the first of its writes there: a torn log.
//! A write is there whole or not at all, as with a database that checks its log. The next sync can be made to
//! fail, or to be the last thing that happens before the power fails.
//!
//! Here live the controls that break a disk's promises, see [`Control`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use milepost_node::store::{Commit, Loaded, Memory, Place, Placed, Store, StoreError, Write};
use milepost_wire::certificate::Head;
use milepost_wire::output::Output;
use milepost_wire::time::Epoch;
use milepost_wire::{Block, Certificate, Hash, Height, KeyId, SignedBatch};

use crate::control::Control;
use crate::rng::Rng;

/// A disk with its cache. Clones share it, so that it outlives the process that is killed on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<Drive>>);

#[derive(Debug, Default)]
struct Drive {
    kept: Memory,
    /// Written and not synced, oldest first.
    cached: Vec<Vec<Write>>,
    next_sync: NextSync,
    syncs: u64,
    control: Option<Control>,
}

/// What happens at the next sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum NextSync {
    /// It works.
    #[default]
    Works,
    /// It fails, and nothing is on the disk.
    Fails,
    /// Everything is on the disk, and then the power fails.
    IsTheLast,
}

impl Disk {
    /// An empty disk that breaks its promises as `control` says.
    pub(super) fn new(control: Option<Control>) -> Self {
        let kept = Memory::default();
        if control == Some(Control::ForgetLog) {
            kept.forget_log_at_crash();
        }
        Self(Arc::new(Mutex::new(Drive {
            kept,
            control,
            ..Drive::default()
        })))
    }

    /// The power fails. With `torn`, some of what was not synced is there all the same.
    pub(super) fn crash(&self, torn: Option<&mut Rng>) {
        let mut drive = self.lock();
        let cached = std::mem::take(&mut drive.cached);
        if let Some(rng) = torn {
            let left = rng.below(cached.len() as u64 + 1) as usize;
            for writes in cached.iter().take(left) {
                drive
                    .kept
                    .write(writes, true)
                    .expect("writing to memory does not fail");
            }
        }
        drive.next_sync = NextSync::Works;
        drive.kept.crash();
    }

    /// Says what happens at the next sync.
    pub(super) fn at_next_sync(&self, what: NextSync) {
        self.lock().next_sync = what;
    }

    /// How many syncs there were since this was last asked.
    pub(super) fn take_syncs(&self) -> u64 {
        std::mem::take(&mut self.lock().syncs)
    }

    fn lock(&self) -> MutexGuard<'_, Drive> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drive {
    fn sync(&mut self) -> Result<(), StoreError> {
        if self.control == Some(Control::SpeakBeforeSync) {
            return Ok(());
        }
        self.flush()?;
        self.end_of_sync()
    }

    /// Moves the cache to the disk.
    fn flush(&mut self) -> Result<(), StoreError> {
        if self.next_sync == NextSync::Fails {
            self.next_sync = NextSync::Works;
            return Err(StoreError::Database("no space left on device (simulated)".into()));
        }
        self.syncs += 1;
        for writes in std::mem::take(&mut self.cached) {
            self.kept.write(&writes, true)?;
        }
        Ok(())
    }

    fn end_of_sync(&mut self) -> Result<(), StoreError> {
        if self.next_sync == NextSync::IsTheLast {
            self.next_sync = NextSync::Works;
            return Err(StoreError::Database("the power failed (simulated)".into()));
        }
        Ok(())
    }

    fn find<T>(&self, pick: impl Fn(&Write) -> Option<T>) -> Option<T> {
        self.cached.iter().flatten().find_map(pick)
    }
}

impl Store for Disk {
    fn load(&mut self, genesis: Hash) -> Result<Loaded, StoreError> {
        self.lock().kept.load(genesis)
    }

    fn write(&mut self, writes: &[Write], durable: bool) -> Result<(), StoreError> {
        let mut drive = self.lock();
        drive.cached.push(writes.to_vec());
        if durable { drive.sync() } else { Ok(()) }
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StoreError> {
        let mut drive = self.lock();
        drive.flush()?;
        drive.kept.commit(commit)?;
        drive.end_of_sync()
    }

    fn head(&self, height: Height) -> Result<Option<Head>, StoreError> {
        self.lock().kept.head(height)
    }

    fn block(&self, height: Height) -> Result<Option<(Block, Certificate)>, StoreError> {
        self.lock().kept.block(height)
    }

    fn batch(&self, digest: &Hash) -> Result<Option<SignedBatch>, StoreError> {
        let drive = self.lock();
        let cached = drive.find(|write| match write {
            Write::Batch(found, signed) if found == digest => Some(signed.clone()),
            _ => None,
        });
        cached.map_or_else(|| drive.kept.batch(digest), |signed| Ok(Some(signed)))
    }

    fn body(&self, hash: &Hash) -> Result<Option<Block>, StoreError> {
        let drive = self.lock();
        let cached = drive.find(|write| match write {
            Write::Body(found, block) if found == hash => Some(block.clone()),
            _ => None,
        });
        cached.map_or_else(|| drive.kept.body(hash), |block| Ok(Some(block)))
    }

    fn own(&self, height: Height, round: u32) -> Result<Option<Hash>, StoreError> {
        let drive = self.lock();
        let cached = drive.find(|write| match write {
            Write::Own(at, in_round, hash) if (*at, *in_round) == (height, round) => Some(*hash),
            _ => None,
        });
        cached.map_or_else(|| drive.kept.own(height, round), |hash| Ok(Some(hash)))
    }

    fn outputs(&self, height: Height) -> Result<Option<Vec<Output>>, StoreError> {
        self.lock().kept.outputs(height)
    }

    fn explanation(&self, vehicle: KeyId, epoch: Epoch) -> Result<Vec<Place>, StoreError> {
        self.lock().kept.explanation(vehicle, epoch)
    }

    fn picture(&self) -> Result<Vec<Placed>, StoreError> {
        self.lock().kept.picture()
    }

    fn size_bytes(&self) -> u64 {
        self.lock().kept.size_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(disk: &mut Disk, index: u32, durable: bool) -> Result<(), StoreError> {
        disk.write(&[Write::Log(Height(1), index, vec![index as u8])], durable)
    }

    fn kept(disk: &mut Disk) -> Vec<Vec<u8>> {
        disk.load(Hash::ZERO).expect("it is this chain's").log
    }

    #[test]
    fn a_crash_loses_what_was_not_synced_and_a_torn_one_its_end() {
        let mut left = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let mut disk = Disk::new(None);
            log(&mut disk, 0, true).expect("works");
            (1..4).for_each(|index| log(&mut disk, index, false).expect("works"));
            assert_eq!(
                kept(&mut disk),
                [[0]],
                "nothing but what was synced is read after a start"
            );
            disk.crash(Some(&mut Rng::new(seed)));
            let found = kept(&mut disk);
            assert!(
                (0u8..).zip(&found).all(|(index, entry)| entry == &[index]),
                "{found:?}"
            );
            left.insert(found.len());
        }
        assert_eq!(left, std::collections::BTreeSet::from([1, 2, 3, 4]));
        let mut disk = Disk::new(None);
        log(&mut disk, 0, false).expect("works");
        disk.crash(None);
        assert!(kept(&mut disk).is_empty());
    }

    #[test]
    fn a_sync_that_fails_leaves_nothing_and_the_last_one_leaves_everything() {
        for (next, expected) in [(NextSync::Fails, 0), (NextSync::IsTheLast, 2)] {
            let mut disk = Disk::new(None);
            log(&mut disk, 0, false).expect("works");
            disk.at_next_sync(next);
            log(&mut disk, 1, true).expect_err("the node must stop");
            disk.crash(None);
            assert_eq!(kept(&mut disk).len(), expected);
            log(&mut disk, 2, true).expect("works again");
        }
    }

    #[test]
    fn a_disk_that_lies_about_syncs_loses_them() {
        let mut disk = Disk::new(Some(Control::SpeakBeforeSync));
        log(&mut disk, 0, true).expect("says so");
        disk.crash(None);
        assert!(kept(&mut disk).is_empty());
    }
}
