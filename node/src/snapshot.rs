//! What is the state after a block, in pieces that can be checked one by one?
//!
//! A snapshot is every entry of the state at one height, in order, cut into chunks of bounded length. The
//! [`Manifest`] names each chunk by its hash; it stands beside the certified header whose `state_root` the whole must
//! come to. Two members cut the same state into the same chunks, so a chunk may come from any of them.
//!
//! What a chunk is worth is known in two steps: at once, whether it is the one that the manifest names; and once all
//! are here, whether the manifest was honest, by the state root that certificates vouch for. Nothing is used before
//! that. Source: docs/adr/0017-snapshots.md.

use std::cell::RefCell;

use milepost_incentives::{Genesis, State};
use milepost_wire::certificate::Head;
use milepost_wire::codec::{DecodeError, decode, decode_within};
use milepost_wire::state::StateKey;
use milepost_wire::{ChainId, Hash, Height, Message, encode};
use wincode::{SchemaRead, SchemaWrite};

use crate::ledger::{Ledger, LedgerError};

/// One entry of the state.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
#[wincode(tag_encoding = "u8")]
pub enum Entry {
    /// Of the authenticated tree: an encoded [`StateKey`] and its value. These come first.
    Tree(Vec<u8>, Vec<u8>),
    /// Of the short-lived tables.
    Open(Vec<u8>, Vec<u8>),
}

/// A run of entries.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Chunk {
    /// In the order of the state.
    pub entries: Vec<Entry>,
}

impl Chunk {
    /// A chunk is closed once its entries have so many bytes.
    pub const CLOSED_AT: usize = 256 << 10;

    /// What the manifest calls a chunk of these bytes.
    pub fn name(bytes: &[u8]) -> Hash {
        Hash::of("snapshot chunk", &[bytes])
    }
}

/// What a snapshot consists of.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Manifest {
    /// [`Manifest::VERSION`].
    pub version: u16,
    /// Of which ledger.
    pub chain: ChainId,
    /// After which block.
    pub height: Height,
    /// That block.
    pub block: Hash,
    /// What all entries must come to.
    pub state_root: Hash,
    /// How many entries there are.
    pub entries: u64,
    /// How many bytes all chunks have.
    pub bytes: u64,
    /// The chunks' names, in order.
    pub chunks: Vec<Hash>,
}

impl Manifest {
    /// The version that this code makes and reads.
    pub const VERSION: u16 = 1;
    /// The most chunks: 16 GiB of state.
    pub const CHUNKS_MAX: usize = 65_536;

    /// What names the snapshot.
    pub fn digest(&self) -> Hash {
        Hash::of("snapshot", &[&encode(self)])
    }
}

/// A snapshot that a member has: the certified header, and what to ask for.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Offer {
    /// The header after which the state was taken, with its certificate.
    pub head: Head,
    /// What there is to fetch.
    pub manifest: Manifest,
}

impl Message for Chunk {
    const NAME: &'static str = "snapshot chunk";
    const LEN_MAX: usize = 1 << 20;
}

impl Message for Offer {
    const NAME: &'static str = "snapshot offer";
    const LEN_MAX: usize = Head::LEN_MAX + 256 + 32 * Manifest::CHUNKS_MAX;
}

/// Why a snapshot is refused.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Bytes that are no such thing.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A manifest that does not go with its header.
    #[error("the snapshot's {what} is {found}, its header says {expected}")]
    Manifest {
        /// Which field.
        what: &'static str,
        /// What the header says.
        expected: String,
        /// What the manifest says.
        found: String,
    },
    /// More than this member takes.
    #[error("the snapshot has {bytes} bytes in {chunks} chunks, at most {limit} bytes are taken")]
    TooLarge {
        /// How many bytes it says it has.
        bytes: u64,
        /// In how many chunks.
        chunks: usize,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A chunk that is not the one that the manifest names.
    #[error("chunk {index} is {found}, the manifest names {expected}")]
    Chunk {
        /// Which, from 0.
        index: usize,
        /// What the manifest names.
        expected: Hash,
        /// What the bytes are.
        found: Hash,
    },
    /// Entries that are out of order, too many or too few.
    #[error("the snapshot holds {found} entries that can be read in order, its manifest says {expected}")]
    Entries {
        /// How many there should be.
        expected: u64,
        /// How many there are.
        found: u64,
    },
    /// The entries are no state, or not the one that was certified.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Offer {
    /// Whether manifest and header go together, and the whole is within `limit` bytes. The header's certificate is for
    /// the caller to check: it knows the members.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`].
    pub fn check(&self, limit: u64) -> Result<(), SnapshotError> {
        fn equal<T: PartialEq + std::fmt::Display>(
            what: &'static str,
            expected: &T,
            found: &T,
        ) -> Result<(), SnapshotError> {
            if expected == found {
                return Ok(());
            }
            Err(SnapshotError::Manifest {
                what,
                expected: expected.to_string(),
                found: found.to_string(),
            })
        }
        let (header, manifest) = (&self.head.header, &self.manifest);
        equal("version", &Manifest::VERSION, &manifest.version)?;
        equal("chain", &header.chain, &manifest.chain)?;
        equal("height", &header.height, &manifest.height)?;
        equal("block", &header.hash(), &manifest.block)?;
        equal("state root", &header.state_root, &manifest.state_root)?;
        let (bytes, chunks) = (manifest.bytes, manifest.chunks.len());
        if bytes > limit || chunks > Manifest::CHUNKS_MAX {
            return Err(SnapshotError::TooLarge { bytes, chunks, limit });
        }
        Ok(())
    }

    /// Whether these bytes are the chunk at `index`.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Chunk`].
    pub fn check_chunk(&self, index: usize, bytes: &[u8]) -> Result<(), SnapshotError> {
        let expected = self.manifest.chunks.get(index).copied().unwrap_or_default();
        let found = Chunk::name(bytes);
        if found == expected && bytes.len() <= Chunk::LEN_MAX {
            Ok(())
        } else {
            Err(SnapshotError::Chunk {
                index,
                expected,
                found,
            })
        }
    }

    /// The ledger that a snapshot holds, where its chunks are read one at a time with `chunk`: each is checked against
    /// the manifest, and the whole against the header's state root.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`].
    pub fn ledger(
        &self,
        genesis: &Genesis,
        chunk: impl FnMut(usize) -> Result<Vec<u8>, SnapshotError>,
    ) -> Result<Ledger, SnapshotError> {
        let reader = RefCell::new(Reader::new(self, chunk));
        let tree = std::iter::from_fn(|| reader.borrow_mut().tree());
        let open = std::iter::from_fn(|| reader.borrow_mut().open());
        let ledger = Ledger::restore(genesis, &self.head.header, tree, open);
        // What kept the entries from coming is the reason, rather than that they are incomplete.
        reader.into_inner().finish()?;
        Ok(ledger?)
    }
}

/// Cuts a state into encoded chunks. Cost: one pass over the state, holding one chunk at a time.
pub fn chunks(state: &State) -> impl Iterator<Item = (u64, Vec<u8>)> {
    let tree = state
        .tree_entries()
        .map(|(key, value)| Entry::Tree(key.bytes(), value));
    let open = state.open_entries().map(|(key, value)| Entry::Open(key, value));
    let mut entries = tree.chain(open).peekable();
    std::iter::from_fn(move || {
        let mut chunk = Chunk { entries: Vec::new() };
        let mut len = 0;
        while len < Chunk::CLOSED_AT {
            let Some(entry) = entries.next() else { break };
            let (Entry::Tree(key, value) | Entry::Open(key, value)) = &entry;
            // A tag and two lengths.
            len += 17 + key.len() + value.len();
            chunk.entries.push(entry);
        }
        (!chunk.entries.is_empty()).then(|| (chunk.entries.len() as u64, encode(&chunk)))
    })
}

/// Reads a snapshot's entries, a chunk at a time.
struct Reader<'a, F> {
    offer: &'a Offer,
    chunk: F,
    next: usize,
    entries: std::iter::Peekable<std::vec::IntoIter<Entry>>,
    read: u64,
    failed: Option<SnapshotError>,
}

impl<'a, F: FnMut(usize) -> Result<Vec<u8>, SnapshotError>> Reader<'a, F> {
    fn new(offer: &'a Offer, chunk: F) -> Self {
        Self {
            offer,
            chunk,
            next: 0,
            entries: Vec::new().into_iter().peekable(),
            read: 0,
            failed: None,
        }
    }

    fn tree(&mut self) -> Option<(StateKey, Vec<u8>)> {
        if !matches!(self.peek()?, Entry::Tree(..)) {
            return None;
        }
        let Some(Entry::Tree(key, value)) = self.entries.next() else {
            return None;
        };
        match decode_within(&key, "state key", 64) {
            Ok(key) => {
                self.read += 1;
                Some((key, value))
            }
            Err(error) => {
                self.failed = Some(error.into());
                None
            }
        }
    }

    fn open(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        if !matches!(self.peek()?, Entry::Open(..)) {
            return None;
        }
        let Some(Entry::Open(key, value)) = self.entries.next() else {
            return None;
        };
        self.read += 1;
        Some((key, value))
    }

    fn peek(&mut self) -> Option<&Entry> {
        while self.failed.is_none()
            && self.entries.peek().is_none()
            && self.next < self.offer.manifest.chunks.len()
        {
            match self.load() {
                Ok(entries) => self.entries = entries.into_iter().peekable(),
                Err(error) => self.failed = Some(error),
            }
        }
        match self.failed {
            Some(_) => None,
            None => self.entries.peek(),
        }
    }

    fn load(&mut self) -> Result<Vec<Entry>, SnapshotError> {
        let index = self.next;
        self.next += 1;
        let bytes = (self.chunk)(index)?;
        self.offer.check_chunk(index, &bytes)?;
        Ok(decode::<Chunk>(&bytes)?.entries)
    }

    /// Whether all was read that the manifest speaks of, and nothing else.
    fn finish(mut self) -> Result<(), SnapshotError> {
        let left = self.peek().is_some();
        if let Some(error) = self.failed {
            return Err(error);
        }
        let expected = self.offer.manifest.entries;
        if left || self.read != expected {
            return Err(SnapshotError::Entries {
                expected,
                found: self.read,
            });
        }
        Ok(())
    }
}
