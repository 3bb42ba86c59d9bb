//! How is a store begun in the middle of a chain?
//!
//! A new store is filled beside the one that is in use: headers, then the state, and last of all, in one synced write,
//! the tip that makes it a store. Then it takes the other's place: [`ready`] renames it, which says that it is whole,
//! and [`settle`], which runs at every start, removes the old one and renames again. A crash anywhere in between leaves
//! either the old store or the new one.

use std::path::{Path, PathBuf};

use milepost_wire::certificate::Head;
use milepost_wire::codec::{decode_within, encode};
use milepost_wire::{Hash, Height, Member, Members, Timestamp};
use rocksdb::{WriteBatch, WriteOptions};

use super::rocks::damaged;
use super::schema;
use super::{Rocks, Store, StoreError};
use crate::ledger::Ledger;

/// Entries are written in batches of about so many bytes.
const WRITE_LEN: usize = 1 << 20;

impl Rocks {
    /// Headers from a height on, at most `count`, fewer where there are no more.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn heads(&self, from: Height, count: usize) -> Result<Vec<Head>, StoreError> {
        let heights = (from.0..).take(count).map(Height);
        heights
            .map_while(|height| self.head(height).transpose())
            .collect()
    }

    /// The members whom these headers give the vote to, where they change.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn members_after(&self, heads: &[Head]) -> Result<Vec<Members>, StoreError> {
        let changes = heads
            .iter()
            .map(|head| &head.header)
            .filter(|header| header.next_members_hash != header.members_hash);
        changes
            .map(|header| self.members(&header.next_members_hash))
            .filter_map(Result::transpose)
            .collect()
    }

    pub(super) fn put_members(&self, writes: &mut WriteBatch, members: &Members) {
        let family = self.family(schema::MEMBERS);
        writes.put_cf(family, members.hash().0, encode(&members.to_vec()));
    }

    /// The members with this hash, where a header gave them the vote; those of the genesis are not here.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn members(&self, hash: &Hash) -> Result<Option<Members>, StoreError> {
        let Some(bytes) = self.get(schema::MEMBERS, &hash.0)? else {
            return Ok(None);
        };
        let wrong = |why: &dyn std::fmt::Display| damaged(schema::MEMBERS, &hash.0, why);
        let list: Vec<Member> =
            decode_within(&bytes, "members", Members::COUNT_MAX * 512).map_err(|error| wrong(&error))?;
        Members::new(list).map(Some).map_err(|error| wrong(&error))
    }

    /// Writes headers that were verified, with the members whom they give the vote to.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn put_heads(&self, heads: &[Head], sets: &[Members]) -> Result<(), StoreError> {
        let mut writes = WriteBatch::default();
        for head in heads {
            let key = schema::height(head.header.height);
            writes.put_cf(self.family(schema::HEADERS), key, encode(&head.header));
            writes.put_cf(self.family(schema::CERTIFICATES), key, encode(&head.certificate));
        }
        for members in sets {
            self.put_members(&mut writes, members);
        }
        Ok(self.db.write(writes)?)
    }

    /// Writes a whole state that was verified, into a store that has none.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn put_state(&self, ledger: &Ledger) -> Result<(), StoreError> {
        let mut writes = WriteBatch::default();
        let state = ledger.state();
        let tree = state
            .tree_entries()
            .map(|(key, value)| (schema::TREE, key.bytes(), value));
        let open = state
            .open_entries()
            .map(|(key, value)| (schema::OPEN, key, value));
        for (family, key, value) in tree.chain(open) {
            writes.put_cf(self.family(family), key, value);
            if writes.size_in_bytes() >= WRITE_LEN {
                self.db.write(std::mem::take(&mut writes))?;
            }
        }
        Ok(self.db.write(writes)?)
    }

    /// Makes a store of what was put: it begins after the block of `head`, and its member says nothing before a block
    /// of a later time than `silent_until`. Durable once this returns.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn begin_at(
        &self,
        genesis: Hash,
        head: &Head,
        silent_until: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let (meta, tip) = (self.family(schema::META), schema::height(head.header.height));
        let mut writes = WriteBatch::default();
        writes.put_cf(meta, schema::GENESIS, genesis.0);
        for name in [schema::TIP, schema::PRUNED, schema::OUTPUTS_PRUNED] {
            writes.put_cf(meta, name, tip);
        }
        if let Some(until) = silent_until {
            writes.put_cf(meta, schema::SILENT, until.millis().to_be_bytes());
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        Ok(self.db.write_opt(writes, &options)?)
    }

    /// Makes a copy of a store fit to go on from: what this key signed meanwhile is unknown, so its own votes, bodies
    /// and log are forgotten, and it says nothing before a block of a later time than `silent_until`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn silence(&self, silent_until: Timestamp) -> Result<(), StoreError> {
        let mut writes = WriteBatch::default();
        for name in [schema::LOG, schema::OWN, schema::BODIES] {
            for (key, _) in self.all(name)? {
                writes.delete_cf(self.family(name), key);
            }
        }
        let until = silent_until.millis().to_be_bytes();
        writes.put_cf(self.family(schema::META), schema::SILENT, until);
        let mut options = WriteOptions::default();
        options.set_sync(true);
        Ok(self.db.write_opt(writes, &options)?)
    }

    /// Puts a consistent copy of the whole database into a new folder on the same file system, as it is now: tables
    /// are linked, not copied. The member goes on meanwhile.
    ///
    /// # Errors
    ///
    /// [`StoreError`], also where the folder exists.
    pub fn checkpoint(&self, folder: &Path) -> Result<(), StoreError> {
        let checkpoint = rocksdb::checkpoint::Checkpoint::new(&self.db)?;
        Ok(checkpoint.create_checkpoint(folder)?)
    }
}

/// Where a store is filled that shall take another's place.
pub fn beside(store: &Path) -> PathBuf {
    named(store, "new")
}

/// Says that the store beside this one is whole. It is closed by now.
///
/// # Errors
///
/// Where a folder cannot be renamed.
pub fn ready(store: &Path) -> std::io::Result<()> {
    std::fs::rename(beside(store), named(store, "ready"))?;
    sync_above(store)
}

/// Puts a store that is whole into the place of the one before, and clears away one that is not.
///
/// # Errors
///
/// Where a folder cannot be removed or renamed.
pub fn settle(store: &Path) -> std::io::Result<()> {
    remove(&beside(store))?;
    let ready = named(store, "ready");
    if ready.exists() {
        remove(store)?;
        std::fs::rename(&ready, store)?;
        sync_above(store)?;
    }
    Ok(())
}

fn named(store: &Path, ending: &str) -> PathBuf {
    let mut name = store.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ending);
    store.with_file_name(name)
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a renaming durable.
fn sync_above(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::File::open(folder)?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}
