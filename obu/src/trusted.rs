//! What does a vehicle trust when it starts again?
//!
//! The newest block that certificates led to, with all that is needed to go on from it; before the first, since when the
//! members of `consortium.json` are trusted. One small file: a mark, a hash, an encoded [`Kept`]. It is written beside
//! itself, synced and renamed, so that a power cut leaves the old one or the new one. A damaged file is an error and
//! never a fresh start: who could make a vehicle forget would make it trust the first members for ever.
//!
//! Several programs of one vehicle may use it at once. Each of them only ever writes what it believed itself, so whose
//! write is the last does not matter.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use milepost_wire::codec::{decode_within, encode};
use milepost_wire::light::{Bounds, LightBlock, LightClient, LightError};
use milepost_wire::{ChainId, Consortium, Hash, Height, Message, Timestamp};
use wincode::{SchemaRead, SchemaWrite};

use crate::durable;

const MARK: [u8; 4] = *b"mpt1";
/// Mark and hash.
const HEAD_LEN: usize = 4 + 32;
const KEPT_LEN_MAX: usize = LightBlock::LEN_MAX + 128;

/// What is in the file.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
struct Kept {
    chain: ChainId,
    genesis: Hash,
    /// Since when the first members are trusted.
    since: Timestamp,
    /// `None` before the first.
    block: Option<LightBlock>,
}

/// Why it cannot be told what is trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustedError {
    /// The operating system refused.
    #[error("trusted block {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in the file is not what was written.
    #[error(
        "trusted block {path} is damaged: {why}; remove it only if you trust the members in consortium.json as of today"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It belongs to another chain.
    #[error("trusted block {path} is of chain {found}, not of {expected}")]
    OtherChain {
        /// The file.
        path: PathBuf,
        /// This chain, and its genesis.
        expected: String,
        /// The file's.
        found: String,
    },
}

/// The file in which a vehicle keeps what it trusts.
#[derive(Debug)]
pub struct TrustFile {
    path: PathBuf,
    /// What it holds.
    newest: (Height, Hash),
    since: Timestamp,
}

impl TrustFile {
    /// Reads what is trusted, or begins to trust the consortium's first members `now`.
    ///
    /// # Errors
    ///
    /// [`TrustedError`].
    pub fn open(
        path: &Path,
        consortium: &Consortium,
        now: Timestamp,
        bounds: Bounds,
    ) -> Result<(Self, LightClient), TrustedError> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(read.map_err(|source| failed(path, source))?),
        };
        let file = |since, light: &LightClient| Self {
            path: path.to_owned(),
            newest: light.newest(),
            since,
        };
        let Some(bytes) = bytes else {
            let light = LightClient::new(consortium.clone(), now, bounds);
            let file = file(now, &light);
            file.write(&light)?;
            return Ok((file, light));
        };
        let damaged = |why: &dyn std::fmt::Display| TrustedError::Damaged {
            path: path.to_owned(),
            why: why.to_string(),
        };
        let Kept {
            chain,
            genesis,
            since,
            block,
        } = read(&bytes).map_err(|why| damaged(&why))?;
        if (&chain, genesis) != (&consortium.chain, consortium.genesis) {
            let named = |chain: &ChainId, genesis: Hash| format!("{chain} with genesis {genesis}");
            return Err(TrustedError::OtherChain {
                path: path.to_owned(),
                expected: named(&consortium.chain, consortium.genesis),
                found: named(&chain, genesis),
            });
        }
        let light = match block {
            None => LightClient::new(consortium.clone(), since, bounds),
            Some(block) => {
                let resumed = LightClient::resume(consortium.clone(), block, bounds);
                let resumed = resumed.map_err(|error: LightError| damaged(&error))?;
                resumed.with_genesis(since)
            }
        };
        Ok((file(since, &light), light))
    }

    /// Writes what is trusted by now, where that has changed. Durable once this returns.
    ///
    /// # Errors
    ///
    /// [`TrustedError::Io`].
    pub fn keep(&mut self, light: &LightClient) -> Result<(), TrustedError> {
        if light.newest() != self.newest {
            self.write(light)?;
            self.newest = light.newest();
        }
        Ok(())
    }

    fn write(&self, light: &LightClient) -> Result<(), TrustedError> {
        let consortium = light.consortium();
        let kept = encode(&Kept {
            chain: consortium.chain.clone(),
            genesis: consortium.genesis,
            since: self.since,
            block: light.newest_block().cloned(),
        });
        let bytes = [&MARK[..], &Hash::of("trusted", &[&kept]).0, &kept].concat();
        let mut beside = self.path.clone().into_os_string();
        // Another program of this vehicle may be writing too.
        beside.push(format!(".{}.new", std::process::id()));
        let written = durable::replace(&self.path, Path::new(&beside), &bytes);
        written.map(drop).map_err(|source| failed(&self.path, source))
    }
}

fn failed(path: &Path, source: io::Error) -> TrustedError {
    TrustedError::Io {
        path: path.to_owned(),
        source,
    }
}

fn read(bytes: &[u8]) -> Result<Kept, String> {
    let (head, kept) = bytes
        .split_at_checked(HEAD_LEN)
        .filter(|(head, _)| head.starts_with(&MARK))
        .ok_or("it does not begin as one that milepost-obu wrote")?;
    if head[MARK.len()..] != Hash::of("trusted", &[kept]).0 {
        return Err("its hash is another".into());
    }
    decode_within(kept, "trusted block", KEPT_LEN_MAX).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::Heads;
    use crate::testing::{NOW, Town};

    fn open(path: &Path, town: &Town, now: Timestamp) -> Result<(TrustFile, LightClient), TrustedError> {
        TrustFile::open(path, &town.consortium(), now, Bounds::default())
    }

    #[test]
    fn what_was_believed_is_trusted_after_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let (path, town) = (folder.path().join("trusted"), Town::new(4));
        let (mut file, light) = open(&path, &town, NOW).unwrap();
        assert_eq!(light.newest().0, Height::ZERO);
        let later = Town::of(&[0, 1, 2, 7]);
        let head = later.head(9, Hash::ZERO);
        let mut heads = Heads::new(light, 4);
        heads.hear(NOW, head.clone()).unwrap();
        heads.offer(NOW, later.light_block(&head)).unwrap();
        file.keep(heads.trusted()).unwrap();
        let (_, light) = open(&path, &town, NOW).unwrap();
        assert_eq!(light.newest(), (Height(9), head.header.hash()));
        assert_eq!(light.members(), &later.members);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn starting_again_makes_the_first_members_no_younger() {
        let folder = tempfile::tempdir().unwrap();
        let (path, town) = (folder.path().join("trusted"), Town::new(4));
        open(&path, &town, NOW).unwrap();
        let late = NOW.plus(Bounds::default().trust_period_ms + 1);
        let (_, light) = open(&path, &town, late).unwrap();
        let told = light.judge(late, &town.head(1, Hash::ZERO));
        assert!(matches!(told, Err(LightError::Expired { .. })), "{told:?}");
    }

    #[test]
    fn a_damaged_file_is_told_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, town) = (folder.path().join("trusted"), Town::new(4));
        open(&path, &town, NOW).unwrap();
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            for damaged in [&bytes[..], &whole[..place]] {
                fs::write(&path, damaged).unwrap();
                let told = open(&path, &town, NOW);
                assert!(
                    matches!(told, Err(TrustedError::Damaged { .. })),
                    "byte {place}: {told:?}"
                );
                assert_eq!(fs::read(&path).unwrap(), damaged);
            }
        }
    }

    #[test]
    fn what_another_chain_left_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trusted");
        open(&path, &Town::new(4), NOW).unwrap();
        let told = open(&path, &Town::named("other", 4), NOW);
        assert!(matches!(told, Err(TrustedError::OtherChain { .. })), "{told:?}");
    }
}
