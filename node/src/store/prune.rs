//! How is a store made to forget?
//!
//! Bodies and the batches that they name, a block at a time; outputs with their index; batches that no block ever
//! named. Headers and certificates stay. Each block goes with one write that also notes how far it has come, so a
//! crash leaves nothing half forgotten; none of it is synced, since forgetting twice does no harm.
//!
//! What may be forgotten is not decided here: see [`crate::keeper`].

use std::collections::BTreeSet;

use milepost_wire::{Hash, Height};
use rocksdb::{IteratorMode, WriteBatch};

use super::rocks::damaged;
use super::schema::{self, Index};
use super::{Rocks, Store, StoreError};

impl Rocks {
    /// Forgets bodies up to `last`, at most `count` blocks of them, and their batches unless a later block names them.
    /// Says how many blocks went.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn prune_bodies(&self, last: Height, count: u64) -> Result<u64, StoreError> {
        let from = self.pruned()?;
        let until = Height(last.0.min(from.0.saturating_add(count)));
        let mut height = from;
        while height < until {
            height = height.next();
            let block = self.block(height)?;
            // Until the end of this block, no commit may name one of its batches anew.
            let _naming = self.naming();
            let mut writes = WriteBatch::default();
            let named: BTreeSet<Hash> = block
                .into_iter()
                .flat_map(|(block, _)| block.body.batches)
                .map(|named| named.digest)
                .collect();
            for digest in named {
                if self.named(&digest)?.is_none_or(|at| at <= height) {
                    writes.delete_cf(self.family(schema::BATCHES), digest.0);
                    writes.delete_cf(self.family(schema::NAMED), digest.0);
                }
            }
            let key = schema::height(height);
            writes.delete_cf(self.family(schema::BLOCKS), key);
            writes.put_cf(self.family(schema::META), schema::PRUNED, key);
            self.db.write(writes)?;
        }
        Ok(height.0.saturating_sub(from.0))
    }

    /// Forgets outputs up to `last`, at most `count` blocks of them, with the ways to find them. Says how many blocks'
    /// outputs went.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn prune_outputs(&self, last: Height, count: u64) -> Result<u64, StoreError> {
        let from = self.outputs_pruned()?;
        let until = Height(last.0.min(from.0.saturating_add(count)));
        let mut height = from;
        while height < until {
            height = height.next();
            let key = schema::height(height);
            let mut writes = WriteBatch::default();
            for (index, output) in (0u32..).zip(self.outputs(height)?.into_iter().flatten()) {
                match schema::index(&output, (height, index)) {
                    Some(Index::Explain(key)) => writes.delete_cf(self.family(schema::EXPLAIN), key),
                    // The newest estimate of a road may be an old one; it leaves with its proof.
                    Some(Index::Picture(road)) => {
                        let newest = self.get(schema::PICTURE, &road)?;
                        if newest.as_deref() == Some(schema::below(height, index).as_slice()) {
                            writes.delete_cf(self.family(schema::PICTURE), road);
                        }
                    }
                    None => {}
                }
            }
            writes.delete_cf(self.family(schema::OUTPUTS), key);
            writes.put_cf(self.family(schema::META), schema::OUTPUTS_PRUNED, key);
            self.db.write(writes)?;
        }
        Ok(height.0.saturating_sub(from.0))
    }

    /// Looks at batches that came while the newest block was at most `last`, at most `count` of them, and forgets
    /// those that no block names. Says how many it forgot.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn prune_undecided(&self, last: Height, count: usize) -> Result<u64, StoreError> {
        let _naming = self.naming();
        let mut writes = WriteBatch::default();
        let mut forgotten = 0;
        let family = self.family(schema::ARRIVED);
        for entry in self.db.iterator_cf(family, IteratorMode::Start).take(count) {
            let (key, _) = entry?;
            let wrong = || damaged(schema::ARRIVED, &key, &"not a height and a digest");
            let (height, digest) = key.split_at_checked(8).ok_or_else(wrong)?;
            if height > schema::height(last).as_slice() {
                break;
            }
            let digest = Hash(digest.try_into().map_err(|_| wrong())?);
            if self.named(&digest)?.is_none() {
                writes.delete_cf(self.family(schema::BATCHES), digest.0);
                forgotten += 1;
            }
            writes.delete_cf(family, &key);
        }
        self.db.write(writes)?;
        Ok(forgotten)
    }

    /// The last block that names a batch.
    fn named(&self, digest: &Hash) -> Result<Option<Height>, StoreError> {
        let Some(bytes) = self.get(schema::NAMED, &digest.0)? else {
            return Ok(None);
        };
        let bytes = bytes.as_slice().try_into();
        let bytes = bytes.map_err(|_| damaged(schema::NAMED, &digest.0, &"not a height"))?;
        Ok(Some(Height(u64::from_be_bytes(bytes))))
    }
}
