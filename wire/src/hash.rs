//! How is anything named by its content?
//!
//! SHA-256 with a domain in front, so that the hash of one kind of thing is never the hash of another.

use sha2::{Digest, Sha256};
use wincode::{SchemaRead, SchemaWrite};

/// A SHA-256 digest.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Thirty-two zero bytes: no parent, an empty tree.
    pub const ZERO: Self = Self([0; 32]);

    /// Hashes `parts` one after the other under `domain`. The parts must be of fixed length, or the last one
    /// alone may vary: their borders are not marked.
    pub fn of(domain: &str, parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"milepost/1/");
        hasher.update(domain.as_bytes());
        hasher.update([0]);
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// SHA-256 of a file's bytes, as `sha256sum` prints it: for what is no message of ours.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}", hex::encode(&self.0[..4]))
    }
}

impl std::str::FromStr for Hash {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        fixed_hex(text).map(Self)
    }
}

/// Why text is not a fixed number of bytes in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hexadecimal digits, found {found:?}")]
pub struct HexError {
    /// How many digits were wanted.
    pub expected: usize,
    /// What stood there, cut to 80 characters.
    pub found: String,
}

/// Reads `N` bytes from hexadecimal, with or without `0x`.
pub(crate) fn fixed_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| HexError {
        expected: 2 * N,
        found: text.chars().take(80).collect(),
    })?;
    Ok(bytes)
}

/// Serde as text, for a type that is written with `Display` and read with `FromStr`.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_text;

serde_as_text!(Hash);
