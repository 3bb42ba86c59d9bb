//! The store on disk.
//!
//! One RocksDB database, its write-ahead log synced at each durable write. Values carry a checksum of their
//! own: RocksDB's block checksums are checked on reading too, but a damaged value must never pass for a
//! shorter or another one.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use milepost_wire::certificate::Head;
use milepost_wire::codec::{Message, decode, decode_within, encode};
use milepost_wire::output::Output;
use milepost_wire::state::StateKey;
use milepost_wire::time::Epoch;
use milepost_wire::{
    Block, Body, Certificate, Evidence, Hash, Header, Height, KeyId, SignedBatch, Timestamp,
};
use rocksdb::{ColumnFamily, ColumnFamilyDescriptor, DB, IteratorMode, Options, WriteBatch, WriteOptions};

use super::schema::{self, Index};
use super::{Commit, Entry, Loaded, Place, Placed, Store, StoreError, Write};

/// A RocksDB database. Clones share it.
#[derive(Clone)]
pub struct Rocks {
    pub(super) db: Arc<DB>,
    /// Proposed bodies on the disk, to be forgotten one by one: range deletions would slow down every reading
    /// until the next compaction.
    bodies: Arc<Mutex<BTreeSet<Hash>>>,
    /// Held while batches are named by a block, or forgotten: what is named must not be forgotten at that moment.
    naming: Arc<Mutex<()>>,
}

impl From<rocksdb::Error> for StoreError {
    fn from(error: rocksdb::Error) -> Self {
        Self::Database(error.to_string())
    }
}

/// The most bytes of one block's outputs.
const OUTPUTS_LEN_MAX: usize = 256 << 20;

/// The most bytes of evidence: that of sixteen members fits.
const EVIDENCE_LEN_MAX: usize = 64 << 10;

/// Outputs are written in runs of so many: the encoding bounds the length of a single sequence, and a block that
/// closes an epoch of a large town may put out more than that.
const OUTPUTS_RUN: usize = 4096;

fn encode_outputs(outputs: &[Output]) -> Vec<u8> {
    encode(
        &outputs
            .chunks(OUTPUTS_RUN)
            .map(<[Output]>::to_vec)
            .collect::<Vec<_>>(),
    )
}

impl Rocks {
    /// Opens the database in `path`, making it where there is none. A damaged database is refused, not mended.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`], also where another process has it open.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_paranoid_checks(true);
        options.set_compression_type(rocksdb::DBCompressionType::Lz4);
        options.set_keep_log_file_num(4);
        options.set_max_total_wal_size(64 << 20);
        options.set_wal_recovery_mode(rocksdb::DBRecoveryMode::TolerateCorruptedTailRecords);
        let families = schema::ALL.iter().map(|name| {
            let mut family = Options::default();
            family.set_compression_type(rocksdb::DBCompressionType::Lz4);
            family.set_write_buffer_size(8 << 20);
            ColumnFamilyDescriptor::new(*name, family)
        });
        let db = DB::open_cf_descriptors(&options, path, families)?;
        Ok(Self::over(db))
    }

    /// Opens the database in `path` for reading alone, and strictly: a torn end of its log, which a running member
    /// mends after a power loss, is an error here.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`], also where there is none.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let mut options = Options::default();
        options.set_paranoid_checks(true);
        options.set_wal_recovery_mode(rocksdb::DBRecoveryMode::AbsoluteConsistency);
        let db = DB::open_cf_for_read_only(&options, path, schema::ALL, false)?;
        Ok(Self::over(db))
    }

    fn over(db: DB) -> Self {
        Self {
            db: Arc::new(db),
            bodies: Arc::default(),
            naming: Arc::default(),
        }
    }

    fn bodies(&self) -> MutexGuard<'_, BTreeSet<Hash>> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn naming(&self) -> MutexGuard<'_, ()> {
        self.naming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entries of one height in a family whose keys are [`schema::below`] a height.
    fn of_height(&self, family: &str, height: Height) -> Result<Vec<Entry>, StoreError> {
        let prefix = schema::height(height);
        let from = IteratorMode::From(&prefix, rocksdb::Direction::Forward);
        let mut entries = Vec::new();
        for entry in self.db.iterator_cf(self.family(family), from) {
            let (key, value) = entry?;
            if !key.starts_with(&prefix) {
                break;
            }
            entries.push((key.into_vec(), value.into_vec()));
        }
        Ok(entries)
    }

    pub(super) fn family(&self, name: &str) -> &ColumnFamily {
        self.db
            .cf_handle(name)
            .expect("every column family is opened at start")
    }

    pub(super) fn get(&self, family: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.db.get_cf(self.family(family), key)?)
    }

    fn read<T: Message>(&self, family: &str, key: &[u8]) -> Result<Option<T>, StoreError> {
        let Some(bytes) = self.get(family, key)? else {
            return Ok(None);
        };
        decode(&bytes)
            .map(Some)
            .map_err(|error| damaged(family, key, &error))
    }

    pub(super) fn all(&self, family: &str) -> Result<Vec<Entry>, StoreError> {
        self.db
            .iterator_cf(self.family(family), IteratorMode::Start)
            .map(|entry| Ok(entry.map(|(key, value)| (key.into_vec(), value.into_vec()))?))
            .collect()
    }

    /// A number that is kept about the store itself.
    fn number(&self, name: &[u8]) -> Result<Option<u64>, StoreError> {
        let Some(bytes) = self.get(schema::META, name)? else {
            return Ok(None);
        };
        let bytes = bytes
            .as_slice()
            .try_into()
            .map_err(|_| damaged(schema::META, name, &"not a number"))?;
        Ok(Some(u64::from_be_bytes(bytes)))
    }

    fn tip(&self) -> Result<Height, StoreError> {
        Ok(self.number(schema::TIP)?.map_or(Height::ZERO, Height))
    }

    /// Up to which height bodies and batches were pruned; [`Height::ZERO`] where none was.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn pruned(&self) -> Result<Height, StoreError> {
        Ok(self.number(schema::PRUNED)?.map_or(Height::ZERO, Height))
    }

    /// Up to which height outputs were pruned; [`Height::ZERO`] where none was.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn outputs_pruned(&self) -> Result<Height, StoreError> {
        Ok(self.number(schema::OUTPUTS_PRUNED)?.map_or(Height::ZERO, Height))
    }

    fn header(&self, height: Height) -> Result<Option<Header>, StoreError> {
        self.read(schema::HEADERS, &schema::height(height))
    }

    /// How often RocksDB failed to flush or to compact since it was opened.
    pub fn background_errors(&self) -> u64 {
        let errors = self.db.property_int_value("rocksdb.background-errors");
        errors.ok().flatten().unwrap_or(0)
    }

    /// The height of the newest block.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn height(&self) -> Result<Height, StoreError> {
        self.tip()
    }

    /// The genesis that this store was begun with.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn genesis(&self) -> Result<Option<Hash>, StoreError> {
        let Some(bytes) = self.get(schema::META, schema::GENESIS)? else {
            return Ok(None);
        };
        let bytes = bytes
            .as_slice()
            .try_into()
            .map_err(|_| damaged(schema::META, schema::GENESIS, &"not a hash"))?;
        Ok(Some(Hash(bytes)))
    }

    fn evidence(&self) -> Result<Vec<Evidence>, StoreError> {
        let found = self.db.get_cf(self.family(schema::META), schema::EVIDENCE)?;
        let Some(bytes) = found else {
            return Ok(Vec::new());
        };
        decode_within(&bytes, "evidence", EVIDENCE_LEN_MAX)
            .map_err(|error| damaged(schema::META, schema::EVIDENCE, &error))
    }

    /// Until which block time this store's member says nothing, if so: see [`Loaded::silent_until`].
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn silent_until(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.number(schema::SILENT)?.map(Timestamp::from_millis))
    }

    /// The authenticated state as it stands on the disk.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn tree_entries(&self) -> Result<Vec<(StateKey, Vec<u8>)>, StoreError> {
        self.all(schema::TREE)?
            .into_iter()
            .map(|(key, value)| {
                let state_key = decode_within(&key, "state key", 64)
                    .map_err(|error| damaged(schema::TREE, &key, &error))?;
                Ok((state_key, value))
            })
            .collect()
    }

    /// The short-lived state as it stands on the disk.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn open_entries(&self) -> Result<Vec<Entry>, StoreError> {
        self.all(schema::OPEN)
    }

    /// Reads everything there is, so that RocksDB's checksums are checked where nobody else looks.
    ///
    /// # Errors
    ///
    /// [`StoreError`], which names the first family that does not read.
    pub fn scrub(&self) -> Result<(), StoreError> {
        for name in schema::ALL {
            for entry in self.db.iterator_cf(self.family(name), IteratorMode::Start) {
                entry.map_err(|error| damaged(name, b"", &error))?;
            }
        }
        Ok(())
    }

    /// All batches, decided or not, each with the digest that it is filed under.
    ///
    /// # Errors
    ///
    /// [`StoreError`], at the first that does not read.
    pub fn batches(&self) -> impl Iterator<Item = Result<(Hash, SignedBatch), StoreError>> + '_ {
        self.db
            .iterator_cf(self.family(schema::BATCHES), IteratorMode::Start)
            .map(|entry| {
                let (key, value) = entry?;
                let digest = key.as_ref().try_into();
                let digest = digest.map_err(|_| damaged(schema::BATCHES, &key, &"not a digest"))?;
                let signed = decode(&value).map_err(|error| damaged(schema::BATCHES, &key, &error))?;
                Ok((Hash(digest), signed))
            })
    }

    /// Hands everything written so far to the disk.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn flush(&self) -> Result<(), StoreError> {
        Ok(self.db.flush_wal(true)?)
    }
}

pub(super) fn damaged(family: &str, key: &[u8], why: &dyn std::fmt::Display) -> StoreError {
    let key: String = key.iter().take(32).map(|byte| format!("{byte:02x}")).collect();
    StoreError::Damaged {
        what: format!("{family}/{key}"),
        why: why.to_string(),
    }
}

impl Store for Rocks {
    fn load(&mut self, genesis: Hash) -> Result<Loaded, StoreError> {
        match self.genesis()? {
            None => {
                let mut options = WriteOptions::default();
                options.set_sync(true);
                self.db
                    .put_cf_opt(self.family(schema::META), schema::GENESIS, genesis.0, &options)?;
            }
            Some(found) if found != genesis => {
                return Err(StoreError::OtherChain {
                    expected: genesis,
                    found,
                });
            }
            Some(_) => {}
        }
        let height = self.tip()?;
        let tip = match height {
            Height::ZERO => None,
            _ => Some(self.head(height)?.ok_or_else(|| {
                damaged(
                    schema::HEADERS,
                    &schema::height(height),
                    &"the newest block is missing",
                )
            })?),
        };
        let log = self.of_height(schema::LOG, height.next())?;
        let log = log.into_iter().map(|(_, entry)| entry).collect();
        for (key, _) in self.all(schema::BODIES)? {
            let hash = key.as_slice().try_into();
            let hash = hash.map_err(|_| damaged(schema::BODIES, &key, &"not a hash"))?;
            self.bodies().insert(Hash(hash));
        }
        Ok(Loaded {
            tip,
            tree: self.tree_entries()?,
            open: self.open_entries()?,
            log,
            evidence: self.evidence()?,
            silent_until: self.silent_until()?,
        })
    }

    fn write(&mut self, writes: &[Write], durable: bool) -> Result<(), StoreError> {
        if writes.is_empty() && durable {
            return self.flush();
        }
        let mut batch = WriteBatch::default();
        for write in writes {
            match write {
                Write::Batch(digest, signed) => {
                    let arrived = schema::arrived(self.tip()?, digest);
                    batch.put_cf(self.family(schema::BATCHES), digest.0, encode(signed));
                    batch.put_cf(self.family(schema::ARRIVED), arrived, []);
                }
                Write::Body(hash, block) => {
                    self.bodies().insert(*hash);
                    batch.put_cf(self.family(schema::BODIES), hash.0, encode(block));
                }
                Write::Own(height, round, hash) => {
                    batch.put_cf(self.family(schema::OWN), schema::below(*height, *round), hash.0);
                }
                Write::Log(height, index, entry) => {
                    batch.put_cf(self.family(schema::LOG), schema::below(*height, *index), entry);
                }
                Write::Evidence(evidence) => {
                    batch.put_cf(self.family(schema::META), schema::EVIDENCE, encode(evidence));
                }
                Write::Voice => batch.delete_cf(self.family(schema::META), schema::SILENT),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durable);
        Ok(self.db.write_opt(batch, &options)?)
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StoreError> {
        let height = commit.block.header.height;
        let tip = self.tip()?;
        if height != tip.next() {
            return Err(StoreError::NotNext { tip, height });
        }
        let key = schema::height(height);
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(schema::HEADERS), key, encode(&commit.block.header));
        batch.put_cf(self.family(schema::BLOCKS), key, encode(&commit.block.body));
        batch.put_cf(self.family(schema::CERTIFICATES), key, encode(commit.certificate));
        batch.put_cf(self.family(schema::OUTPUTS), key, encode_outputs(commit.outputs));
        batch.put_cf(self.family(schema::META), schema::TIP, key);
        for (named, signed) in commit.block.body.batches.iter().zip(commit.batches) {
            batch.put_cf(self.family(schema::BATCHES), named.digest.0, encode(*signed));
            batch.put_cf(self.family(schema::NAMED), named.digest.0, key);
        }
        for (key, value) in commit.tree {
            put_or_delete(
                &mut batch,
                self.family(schema::TREE),
                &key.bytes(),
                value.as_deref(),
            );
        }
        for (key, value) in commit.open {
            put_or_delete(&mut batch, self.family(schema::OPEN), key, value.as_deref());
        }
        for (index, output) in (0u32..).zip(commit.outputs) {
            match schema::index(output, (height, index)) {
                Some(Index::Explain(key)) => batch.put_cf(self.family(schema::EXPLAIN), key, []),
                Some(Index::Picture(key)) => {
                    batch.put_cf(self.family(schema::PICTURE), key, schema::below(height, index));
                }
                None => {}
            }
        }
        if let Some(members) = commit.members {
            self.put_members(&mut batch, members);
        }
        // Of the height that is now decided, nothing but the block is needed any more.
        for family in [schema::LOG, schema::OWN] {
            for (key, _) in self.of_height(family, height)? {
                batch.delete_cf(self.family(family), key);
            }
        }
        for hash in std::mem::take(&mut *self.bodies()) {
            batch.delete_cf(self.family(schema::BODIES), hash.0);
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        let _naming = self.naming();
        Ok(self.db.write_opt(batch, &options)?)
    }

    fn head(&self, height: Height) -> Result<Option<Head>, StoreError> {
        let key = schema::height(height);
        let certificate = self.read(schema::CERTIFICATES, &key)?;
        match (self.header(height)?, certificate) {
            (Some(header), Some(certificate)) => Ok(Some(Head { header, certificate })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(damaged(
                schema::CERTIFICATES,
                &key,
                &"the block has no certificate",
            )),
            (None, Some(_)) => Err(damaged(schema::HEADERS, &key, &"the certificate has no header")),
        }
    }

    fn block(&self, height: Height) -> Result<Option<(Block, Certificate)>, StoreError> {
        let Some(Head { header, certificate }) = self.head(height)? else {
            return Ok(None);
        };
        let key = schema::height(height);
        let Some(bytes) = self.get(schema::BLOCKS, &key)? else {
            return Ok(None);
        };
        let body: Body = decode_within(&bytes, "body", Block::LEN_MAX)
            .map_err(|error| damaged(schema::BLOCKS, &key, &error))?;
        Ok(Some((Block { header, body }, certificate)))
    }

    fn batch(&self, digest: &Hash) -> Result<Option<SignedBatch>, StoreError> {
        self.read(schema::BATCHES, &digest.0)
    }

    fn body(&self, hash: &Hash) -> Result<Option<Block>, StoreError> {
        self.read(schema::BODIES, &hash.0)
    }

    fn own(&self, height: Height, round: u32) -> Result<Option<Hash>, StoreError> {
        let key = schema::below(height, round);
        let Some(bytes) = self.get(schema::OWN, &key)? else {
            return Ok(None);
        };
        let bytes = bytes
            .as_slice()
            .try_into()
            .map_err(|_| damaged(schema::OWN, &key, &"not a hash"))?;
        Ok(Some(Hash(bytes)))
    }

    fn outputs(&self, height: Height) -> Result<Option<Vec<Output>>, StoreError> {
        let key = schema::height(height);
        let Some(bytes) = self.get(schema::OUTPUTS, &key)? else {
            return Ok(None);
        };
        let chunks: Vec<Vec<Output>> = decode_within(&bytes, "outputs", OUTPUTS_LEN_MAX)
            .map_err(|error| damaged(schema::OUTPUTS, &key, &error))?;
        Ok(Some(chunks.concat()))
    }

    fn explanation(&self, vehicle: KeyId, epoch: Epoch) -> Result<Vec<Place>, StoreError> {
        let prefix = schema::explain_prefix(vehicle, epoch);
        let from = IteratorMode::From(&prefix, rocksdb::Direction::Forward);
        let mut places = Vec::new();
        for entry in self.db.iterator_cf(self.family(schema::EXPLAIN), from) {
            let (key, _) = entry?;
            let Some(rest) = key.strip_prefix(prefix.as_slice()) else {
                break;
            };
            places.push(schema::place(rest).ok_or_else(|| damaged(schema::EXPLAIN, &key, &"not a place"))?);
        }
        Ok(places)
    }

    fn picture(&self) -> Result<Vec<Placed>, StoreError> {
        self.all(schema::PICTURE)?
            .into_iter()
            .map(|(key, value)| {
                let what = decode_within(&key, "picture key", 16)
                    .map_err(|error| damaged(schema::PICTURE, &key, &error))?;
                let place =
                    schema::place(&value).ok_or_else(|| damaged(schema::PICTURE, &key, &"not a place"))?;
                Ok((what, place))
            })
            .collect()
    }

    fn size_bytes(&self) -> u64 {
        let tables = schema::ALL.iter().filter_map(|name| {
            self.db
                .property_int_value_cf(self.family(name), "rocksdb.total-sst-files-size")
                .ok()
                .flatten()
        });
        let buffers = schema::ALL.iter().filter_map(|name| {
            self.db
                .property_int_value_cf(self.family(name), "rocksdb.cur-size-active-mem-table")
                .ok()
                .flatten()
        });
        tables.chain(buffers).sum()
    }
}

fn put_or_delete(batch: &mut WriteBatch, family: &ColumnFamily, key: &[u8], value: Option<&[u8]>) {
    match value {
        Some(value) => batch.put_cf(family, key, value),
        None => batch.delete_cf(family, key),
    }
}
