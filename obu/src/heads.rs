//! Which blocks are known to be agreed on?
//!
//! In: heads and light blocks from anyone. Out: the headers of the last certified blocks, by height, against which
//! receipts and proofs are checked, or the light block that is needed first. Whether a block is to be believed says
//! [`milepost_wire::light`], which follows the members by certificates.
//!
//! The highest `kept_max` heights are covered: a higher head pushes the lowest out, and one below that range is refused
//! before any signature is looked at, so that nobody feeds a vehicle the past.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use milepost_wire::certificate::{CertificateError, Head};
use milepost_wire::light::{LightBlock, LightClient, LightError, Progress};
use milepost_wire::{ChainId, Hash, Header, Height, Members, Timestamp};
use serde::{Deserialize, Serialize};

/// A header whose certificate was checked; [`Certified::check`] and [`Heads`] alone make one. It costs a signature
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

/// A block that the vehicle's owner vouches for: its height and its name, written `HEIGHT:HASH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Anchor {
    /// Which height.
    pub height: Height,
    /// The hash of its header.
    pub block: Hash,
}

/// Text is no anchor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a block as HEIGHT:HASH, with 64 hexadecimal digits, such as /v1/light/latest tells them; found {0:?}"
)]
pub struct NotAnAnchor(String);

impl FromStr for Anchor {
    type Err = NotAnAnchor;

    fn from_str(text: &str) -> Result<Self, NotAnAnchor> {
        let parts = text.split_once(':');
        let read = parts.and_then(|(height, block)| Some((height.parse().ok()?, block.parse().ok()?)));
        let (height, block) = read.ok_or_else(|| NotAnAnchor(text.chars().take(100).collect()))?;
        Ok(Self {
            height: Height(height),
            block,
        })
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.height, self.block)
    }
}

impl TryFrom<String> for Anchor {
    type Error = NotAnAnchor;

    fn try_from(text: String) -> Result<Self, NotAnAnchor> {
        text.parse()
    }
}

impl From<Anchor> for String {
    fn from(anchor: Anchor) -> Self {
        anchor.to_string()
    }
}

/// Why a head was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// It is not to be believed.
    #[error(transparent)]
    Light(#[from] LightError),
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
    /// Not the block that the owner vouches for.
    #[error("block {height} is {found}, and {expected} is vouched for")]
    OtherAnchor {
        /// Which height.
        height: Height,
        /// The block that is vouched for.
        expected: Hash,
        /// The one that was given.
        found: Hash,
    },
}

impl HeadError {
    /// A word for counters.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Light(error) => match error {
                LightError::Certificate(CertificateError::OtherChain { .. }) => "head_of_other_chain",
                LightError::Certificate(CertificateError::OtherMembers) => "head_of_other_members",
                LightError::Certificate(CertificateError::NoQuorum { .. }) => "head_without_quorum",
                LightError::Certificate(_) | LightError::Members(_) => "head_forged",
                LightError::Expired { .. } => "trust_expired",
                LightError::Future { .. } => "head_of_the_future",
                LightError::NotLater { .. } | LightError::NotNext { .. } => "head_does_not_follow",
                LightError::Below { .. } => "head_below_trust",
                LightError::Fork(..) => "head_forked",
            },
            Self::Stale { .. } => "head_stale",
            Self::OtherAnchor { .. } => "head_not_vouched_for",
        }
    }
}

/// What became of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It was known.
    Known,
    /// It is believed.
    New(Certified),
    /// The light block at this height is needed first.
    Needs(Height),
}

/// The last certified headers.
#[derive(Clone, Debug)]
pub struct Heads {
    light: LightClient,
    /// What the owner vouches for, until its light block is here.
    anchor: Option<Anchor>,
    /// The head that the light blocks are needed for.
    wanted: Option<Head>,
    kept_max: u64,
    kept: BTreeMap<Height, Certified>,
}

impl Heads {
    /// Begins with what is trusted, and knows no head yet. At least one is kept.
    pub fn new(light: LightClient, kept_max: u64) -> Self {
        Self {
            light,
            anchor: None,
            wanted: None,
            kept_max: kept_max.max(1),
            kept: BTreeMap::new(),
        }
    }

    /// Goes on from a block that the owner vouches for, unless a higher one is trusted anyway.
    #[must_use]
    pub fn anchored(mut self, anchor: Option<Anchor>) -> Self {
        self.anchor = anchor.filter(|anchor| anchor.height > self.light.newest().0);
        self
    }

    /// The chain whose heads these are.
    pub fn chain(&self) -> &ChainId {
        &self.light.consortium().chain
    }

    /// What is trusted.
    pub fn trusted(&self) -> &LightClient {
        &self.light
    }

    /// The highest.
    pub fn newest(&self) -> Option<&Certified> {
        self.kept.last_key_value().map(|(_, header)| header)
    }

    /// The one at `height`, where it is still kept.
    pub fn at(&self, height: Height) -> Option<&Certified> {
        self.kept.get(&height)
    }

    /// The light block that is needed for what was heard, if any is.
    pub fn needed(&self) -> Option<Height> {
        let anchor = self.anchor.map(|anchor| anchor.height);
        anchor.or_else(|| self.light.needed())
    }

    /// Forgets the light blocks that wait for others. The head that was heard last is still wanted.
    pub fn give_up(&mut self) {
        self.light.give_up();
    }

    /// Takes a head in.
    ///
    /// # Errors
    ///
    /// [`HeadError`]; what costs nothing is checked first.
    pub fn hear(&mut self, now: Timestamp, head: Head) -> Result<Heard, HeadError> {
        self.check_age(head.header.height)?;
        let known = self.at(head.header.height);
        if known.is_some_and(|known| **known == head.header) {
            return Ok(Heard::Known);
        }
        if let Some(anchor) = self.anchor {
            return Ok(Heard::Needs(anchor.height));
        }
        match self.light.hear(now, &head)? {
            Progress::Believed => self.admit(Certified(Arc::new(head.header))),
            Progress::Needs(height) => {
                self.wanted = Some(head);
                Ok(Heard::Needs(height))
            }
        }
    }

    /// Whether a head is to be believed, however old.
    ///
    /// # Errors
    ///
    /// [`HeadError`].
    pub fn hear_of_old(&mut self, now: Timestamp, head: &Head) -> Result<Heard, HeadError> {
        match self.hear(now, head.clone()) {
            Err(HeadError::Stale { .. }) => Ok(match self.light.judge(now, head)? {
                Progress::Believed => Heard::Known,
                Progress::Needs(height) => Heard::Needs(height),
            }),
            heard => heard,
        }
    }

    /// Takes in a light block that was needed, or another answer for the same height.
    ///
    /// # Errors
    ///
    /// [`HeadError`].
    pub fn offer(&mut self, now: Timestamp, block: LightBlock) -> Result<Heard, HeadError> {
        if let Some(Anchor { height, block: name }) = self.anchor {
            let found = block.head.header.hash();
            if (block.head.header.height, found) != (height, name) {
                return Err(HeadError::OtherAnchor {
                    height,
                    expected: name,
                    found,
                });
            }
            let (consortium, bounds) = (self.light.consortium().clone(), self.light.bounds());
            self.light = LightClient::resume(consortium, block, bounds)?;
            self.anchor = None;
            return Ok(Heard::Known);
        }
        match self.light.offer(now, block)? {
            Progress::Needs(height) => Ok(Heard::Needs(height)),
            Progress::Believed => match self.wanted.take() {
                Some(head) => self.hear_of_old(now, &head),
                None => Ok(Heard::Known),
            },
        }
    }

    /// Takes in a header that was checked elsewhere in this process.
    ///
    /// # Errors
    ///
    /// [`HeadError`].
    pub fn admit(&mut self, header: Certified) -> Result<Heard, HeadError> {
        if header.chain != *self.chain() {
            let (expected, found) = (self.chain().clone(), header.chain.clone());
            return Err(LightError::from(CertificateError::OtherChain { expected, found }).into());
        }
        self.check_age(header.height)?;
        match self.at(header.height) {
            Some(known) if *known == header => return Ok(Heard::Known),
            Some(known) => {
                return Err(LightError::Fork(header.height, known.hash(), header.hash()).into());
            }
            None => {}
        }
        self.kept.insert(header.height, header.clone());
        let newest = self.newest().map_or(0, |newest| newest.height.0);
        self.kept = self
            .kept
            .split_off(&Height(newest.saturating_sub(self.kept_max - 1)));
        Ok(Heard::New(header))
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
    use crate::testing::{NOW, Town};

    #[test]
    fn heads_are_kept_up_to_their_bound_and_never_go_back() {
        let town = Town::new(4);
        let mut heads = Heads::new(town.light(), 3);
        for height in 1..=5 {
            assert!(
                heads
                    .hear(NOW, town.head(height, Hash::ZERO))
                    .is_ok_and(|heard| matches!(heard, Heard::New(_)))
            );
        }
        assert_eq!(heads.kept.len(), 3);
        assert_eq!(heads.newest().unwrap().height, Height(5));
        assert!(matches!(
            heads.hear(NOW, town.head(2, Hash::ZERO)),
            Err(HeadError::Stale { .. })
        ));
        assert_eq!(
            heads.hear(NOW, town.head(4, Hash::ZERO)),
            Ok(Heard::Known),
            "known"
        );
    }

    #[test]
    fn a_missed_head_may_come_late() {
        let town = Town::new(4);
        let mut heads = Heads::new(town.light(), 3);
        heads.hear(NOW, town.head(5, Hash::ZERO)).unwrap();
        assert!(
            heads
                .hear(NOW, town.head(4, Hash::ZERO))
                .is_ok_and(|heard| matches!(heard, Heard::New(_)))
        );
        assert_eq!(heads.newest().unwrap().height, Height(5));
    }

    #[test]
    fn a_head_without_a_quorum_is_refused() {
        let town = Town::new(4);
        let mut heads = Heads::new(town.light(), 3);
        let mut head = town.head(1, Hash::ZERO);
        head.certificate.signatures.truncate(2);
        assert_eq!(heads.hear(NOW, head).unwrap_err().reason(), "head_without_quorum");
        let other = Town::named("other", 4);
        assert_eq!(
            heads.hear(NOW, other.head(1, Hash::ZERO)).unwrap_err().reason(),
            "head_of_other_chain"
        );
        assert!(heads.newest().is_none());
    }

    #[test]
    fn a_fork_is_told() {
        let town = Town::new(4);
        let mut heads = Heads::new(town.light(), 3);
        heads.hear(NOW, town.head(1, Hash::ZERO)).unwrap();
        assert!(matches!(
            heads.hear(NOW, town.head(1, Hash([1; 32]))),
            Err(HeadError::Light(LightError::Fork(..)))
        ));
    }

    #[test]
    fn what_the_owner_vouches_for_comes_before_anything_else() {
        let town = Town::new(4);
        let vouched = town.head(7, Hash::ZERO);
        let anchor: Anchor = format!("7:{}", vouched.header.hash()).parse().unwrap();
        let mut heads = Heads::new(town.light(), 3).anchored(Some(anchor));
        assert_eq!(
            heads.hear(NOW, town.head(9, Hash::ZERO)),
            Ok(Heard::Needs(Height(7)))
        );
        let other = town.light_block(&town.head(7, Hash([1; 32])));
        assert_eq!(
            heads.offer(NOW, other).unwrap_err().reason(),
            "head_not_vouched_for"
        );
        assert_eq!(heads.needed(), Some(Height(7)));
        heads.offer(NOW, town.light_block(&vouched)).unwrap();
        assert_eq!(heads.trusted().newest(), (Height(7), vouched.header.hash()));
        assert!(matches!(
            heads.hear(NOW, town.head(9, Hash::ZERO)),
            Ok(Heard::New(_))
        ));

        let lower = Heads::new(town.light(), 3).anchored(Some(Anchor {
            height: Height::ZERO,
            block: Hash::ZERO,
        }));
        assert_eq!(lower.needed(), None, "what is trusted is higher");
        for text in ["", "7", "7:", ":00", "seven:00", "7:zz"] {
            assert!(text.parse::<Anchor>().is_err(), "{text}");
        }
    }

    #[test]
    fn other_members_are_believed_by_their_light_block() {
        let (town, later) = (Town::new(4), Town::of(&[0, 1, 2, 7]));
        let mut heads = Heads::new(town.light(), 3);
        let head = later.head(5, Hash::ZERO);
        assert_eq!(heads.hear(NOW, head.clone()), Ok(Heard::Needs(Height(5))));
        let heard = heads.offer(NOW, later.light_block(&head)).unwrap();
        assert!(matches!(heard, Heard::New(header) if *header == head.header));
        let strangers = Town::of(&[90, 91, 92, 93]);
        let head = strangers.head(6, Hash::ZERO);
        let told = heads.hear(NOW, head.clone()).unwrap_err();
        assert_eq!(told.reason(), "head_does_not_follow");
        assert!(heads.offer(NOW, strangers.light_block(&head)).is_err());
        assert_eq!(heads.newest().unwrap().height, Height(5));
    }
}
