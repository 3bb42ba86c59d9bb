//! Does this header descend from the genesis, and did its members agree on it?
//!
//! A [`Lineage`] is walked upwards, header by header: each names its parent and the members who vote on it, and carries
//! their certificate; where the members change, the header before commits to the next ones. Nothing else is needed to
//! believe a state root, so this is how one who joins, and one who audits, gets from the genesis to any height.
//!
//! Cost: a quorum of signature checks a header, on all cores; 20,000 headers of four members take some seconds.

use milepost_incentives::Genesis;
use milepost_wire::certificate::{CertificateError, Head};
use milepost_wire::{ChainId, Hash, Height, Members};
use rayon::prelude::*;

/// The certified chain of headers up to some height.
#[derive(Clone, Debug)]
pub struct Lineage {
    chain: ChainId,
    members: Members,
    members_hash: Hash,
    height: Height,
    tip: Hash,
}

/// Why a header does not descend from the genesis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineageError {
    /// Not the next one.
    #[error("the header at height {found} does not follow the one at {tip}")]
    NotNext {
        /// The newest believed.
        tip: Height,
        /// What came.
        found: Height,
    },
    /// It descends from another block.
    #[error("header {height} names the parent {found}, the block below is {expected}")]
    Parent {
        /// Which header.
        height: Height,
        /// The block below.
        expected: Hash,
        /// What it names.
        found: Hash,
    },
    /// It is not certified.
    #[error("header {height}: {why}")]
    Certificate {
        /// Which header.
        height: Height,
        /// Why not.
        why: CertificateError,
    },
    /// Members whose names did not come along.
    #[error("header {height} gives the vote to members {hash}, who are not known")]
    Members {
        /// Which header.
        height: Height,
        /// What commits to them.
        hash: Hash,
    },
}

impl Lineage {
    /// Before the first block.
    pub fn genesis(genesis: &Genesis) -> Self {
        Self {
            chain: genesis.chain.clone(),
            members: genesis.members.clone(),
            members_hash: genesis.members.hash(),
            height: Height::ZERO,
            tip: genesis.hash(),
        }
    }

    /// The newest height that is believed.
    pub fn height(&self) -> Height {
        self.height
    }

    /// The newest block that is believed; before the first, the genesis.
    pub fn tip(&self) -> Hash {
        self.tip
    }

    /// Who votes on the next block.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Goes up by `heads`; `sets` holds the members whom they give the vote to, in any order.
    ///
    /// # Errors
    ///
    /// [`LineageError`], the first in order of height where links are concerned; nothing is believed then.
    pub fn extend(&mut self, heads: &[Head], sets: &[Members]) -> Result<(), LineageError> {
        let mut next = self.clone();
        let mut voters = Vec::with_capacity(heads.len());
        for head in heads {
            voters.push(next.members.clone());
            next.step(head, sets)?;
        }
        heads.par_iter().zip(&voters).try_for_each(|(head, members)| {
            head.verify(&self.chain, members)
                .map_err(|why| LineageError::Certificate {
                    height: head.header.height,
                    why,
                })
        })?;
        *self = next;
        Ok(())
    }

    /// Takes a header whose certificate is checked elsewhere.
    fn step(&mut self, head: &Head, sets: &[Members]) -> Result<(), LineageError> {
        let header = &head.header;
        if header.height != self.height.next() {
            return Err(LineageError::NotNext {
                tip: self.height,
                found: header.height,
            });
        }
        if header.parent != self.tip {
            return Err(LineageError::Parent {
                height: header.height,
                expected: self.tip,
                found: header.parent,
            });
        }
        let hash = header.next_members_hash;
        if hash != self.members_hash {
            let known = sets.iter().find(|members| members.hash() == hash);
            self.members = known.cloned().ok_or(LineageError::Members {
                height: header.height,
                hash,
            })?;
            self.members_hash = hash;
        }
        self.height = header.height;
        self.tip = header.hash();
        Ok(())
    }
}
