//! Which blocks are known to be agreed on?
//!
//! In: heads from anyone. Out: the headers of the last certified blocks, by height, against which receipts and
//! proofs are checked. The highest `kept_max` heights are covered: a higher head pushes the lowest out, and one below
//! that range is refused before any signature is looked at, so that nobody feeds a vehicle the past.
//!
//! Not covered: a change of members. A head that other members voted on is refused until the vehicle is given
//! the new `consortium.json`.

use std::collections::BTreeMap;
use std::sync::Arc;

use milepost_wire::certificate::{CertificateError, Head};
use milepost_wire::{ChainId, Hash, Header, Height, Members};

/// A header whose certificate was checked; [`Certified::check`] alone makes one. It costs a signature
/// verification per signer, so a process with many vehicles checks once and hands clones around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified(Arc<Header>);

impl Certified {
    /// Checks the certificate.
    ///
    /// # Errors
    ///
    /// [`CertificateError`].
    pub fn check(head: Head, chain: &ChainId, members: &Members) -> Result<Self, CertificateError> {
        head.verify(chain, members)?;
        Ok(Self(Arc::new(head.header)))
    }
}

impl std::ops::Deref for Certified {
    type Target = Header;

    fn deref(&self) -> &Header {
        &self.0
    }
}

/// Why a head was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The certificate vouches for nothing.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Too far below the newest.
    #[error(
        "a head of height {found} is stale: {newest} is certified, and no more than {lag_max} below is taken"
    )]
    Stale {
        /// The head's height.
        found: Height,
        /// The highest that was verified.
        newest: Height,
        /// How far below it may lie.
        lag_max: u64,
    },
    /// Two certified headers at one height: more than a third of the members lie.
    #[error("the consortium certified two blocks at height {0}: {1} and {2}")]
    Fork(Height, Hash, Hash),
}

impl HeadError {
    /// A word for counters.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Certificate(CertificateError::OtherChain { .. }) => "head_of_other_chain",
            Self::Certificate(CertificateError::OtherMembers) => "head_of_other_members",
            Self::Certificate(CertificateError::NoQuorum { .. }) => "head_without_quorum",
            Self::Certificate(_) => "head_forged",
            Self::Stale { .. } => "head_stale",
            Self::Fork(..) => "head_forked",
        }
    }
}

/// The last certified headers.
#[derive(Clone, Debug)]
pub struct Heads {
    chain: ChainId,
    members: Members,
    members_hash: Hash,
    kept_max: u64,
    kept: BTreeMap<Height, Certified>,
}

impl Heads {
    /// Knows no head yet. At least one is kept.
    pub fn new(chain: ChainId, members: Members, kept_max: u64) -> Self {
        let members_hash = members.hash();
        Self {
            chain,
            members,
            members_hash,
            kept_max: kept_max.max(1),
            kept: BTreeMap::new(),
        }
    }

    /// The chain whose heads these are.
    pub fn chain(&self) -> &ChainId {
        &self.chain
    }

    /// Who certifies them.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// The highest.
    pub fn newest(&self) -> Option<&Certified> {
        self.kept.last_key_value().map(|(_, header)| header)
    }

    /// The one at `height`, where it is still kept.
    pub fn at(&self, height: Height) -> Option<&Certified> {
        self.kept.get(&height)
    }

    /// Takes a head in. `Ok(None)` where it was known.
    ///
    /// # Errors
    ///
    /// [`HeadError`]; what costs nothing is checked first.
    pub fn hear(&mut self, head: Head) -> Result<Option<Certified>, HeadError> {
        self.check_age(head.header.height)?;
        if self
            .at(head.header.height)
            .is_some_and(|known| **known == head.header)
        {
            return Ok(None);
        }
        self.admit(Certified::check(head, &self.chain, &self.members)?)
    }

    /// Takes in a header that was checked elsewhere in this process. `Ok(None)` where it was known.
    ///
    /// # Errors
    ///
    /// [`HeadError`].
    pub fn admit(&mut self, header: Certified) -> Result<Option<Certified>, HeadError> {
        if header.chain != self.chain {
            let (expected, found) = (self.chain.clone(), header.chain.clone());
            return Err(CertificateError::OtherChain { expected, found }.into());
        }
        if header.members_hash != self.members_hash {
            return Err(CertificateError::OtherMembers.into());
        }
        self.check_age(header.height)?;
        match self.at(header.height) {
            Some(known) if *known == header => return Ok(None),
            Some(known) => return Err(HeadError::Fork(header.height, known.hash(), header.hash())),
            None => {}
        }
        self.kept.insert(header.height, header.clone());
        let newest = self.newest().map_or(0, |newest| newest.height.0);
        self.kept = self
            .kept
            .split_off(&Height(newest.saturating_sub(self.kept_max - 1)));
        Ok(Some(header))
    }

    fn check_age(&self, found: Height) -> Result<(), HeadError> {
        match self.newest().map(|newest| newest.height) {
            Some(newest) if found.0.saturating_add(self.kept_max) <= newest.0 => Err(HeadError::Stale {
                found,
                newest,
                lag_max: self.kept_max - 1,
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Town;

    #[test]
    fn heads_are_kept_up_to_their_bound_and_never_go_back() {
        let town = Town::new(4);
        let mut heads = Heads::new(town.chain.clone(), town.members.clone(), 3);
        for height in 1..=5 {
            assert!(heads.hear(town.head(height, Hash::ZERO)).unwrap().is_some());
        }
        assert_eq!(heads.kept.len(), 3);
        assert_eq!(heads.newest().unwrap().height, Height(5));
        assert!(matches!(
            heads.hear(town.head(2, Hash::ZERO)),
            Err(HeadError::Stale { .. })
        ));
        assert_eq!(heads.hear(town.head(4, Hash::ZERO)), Ok(None), "known");
    }

    #[test]
    fn a_missed_head_may_come_late() {
        let town = Town::new(4);
        let mut heads = Heads::new(town.chain.clone(), town.members.clone(), 3);
        heads.hear(town.head(5, Hash::ZERO)).unwrap();
        assert!(heads.hear(town.head(4, Hash::ZERO)).unwrap().is_some());
        assert_eq!(heads.newest().unwrap().height, Height(5));
    }

    #[test]
    fn a_head_without_a_quorum_is_refused() {
        let town = Town::new(4);
        let mut heads = Heads::new(town.chain.clone(), town.members.clone(), 3);
        let mut head = town.head(1, Hash::ZERO);
        head.certificate.signatures.truncate(2);
        assert_eq!(heads.hear(head).unwrap_err().reason(), "head_without_quorum");
        let other = Town::named("other", 4);
        assert_eq!(
            heads.hear(other.head(1, Hash::ZERO)).unwrap_err().reason(),
            "head_of_other_chain"
        );
        assert!(heads.newest().is_none());
    }

    #[test]
    fn a_fork_is_told() {
        let town = Town::new(4);
        let mut heads = Heads::new(town.chain.clone(), town.members.clone(), 3);
        heads.hear(town.head(1, Hash::ZERO)).unwrap();
        assert!(matches!(
            heads.hear(town.head(1, Hash([1; 32]))),
            Err(HeadError::Fork(..))
        ));
    }
}
