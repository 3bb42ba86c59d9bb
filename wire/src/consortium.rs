//! Whom does a vehicle trust to begin with?
//!
//! A chain's id, its first members and the hash of its genesis: enough to check every certificate.

use wincode::{SchemaRead, SchemaWrite};

use crate::{Hash, Members};

/// A chain's name: 1 to 32 of `a-z`, `0-9` and `-`. Part of every signature and every topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
pub struct ChainId(String);

/// Why text is no chain id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a chain id is 1 to 32 characters of a-z, 0-9 and -, found {0:?}")]
pub struct NotAChainId(String);

impl ChainId {
    /// The most characters.
    pub const LEN_MAX: usize = 32;

    /// # Errors
    ///
    /// [`NotAChainId`].
    pub fn new(text: &str) -> Result<Self, NotAChainId> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > Self::LEN_MAX || !text.bytes().all(allowed) {
            return Err(NotAChainId(text.chars().take(80).collect()));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether the text is one that [`ChainId::new`] takes; decoding cannot check it.
    pub fn is_valid(&self) -> bool {
        Self::new(&self.0).is_ok()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ChainId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Debug for ChainId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for ChainId {
    type Err = NotAChainId;

    fn from_str(text: &str) -> Result<Self, NotAChainId> {
        Self::new(text)
    }
}

crate::hash::serde_as_text!(ChainId);

/// What a light client starts from. In JSON, `consortium.json`: `{chain, genesis, members: [{key, provider,
/// power}]}`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consortium {
    /// The chain's name.
    pub chain: ChainId,
    /// The hash of its genesis: the first block's parent.
    pub genesis: Hash,
    /// Who votes.
    pub members: Members,
}
