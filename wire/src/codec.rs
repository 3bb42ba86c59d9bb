//! How does a message become bytes, and which bytes are a message?
//!
//! bincode's wire format: little-endian fixed-width integers, `u64` lengths, one byte for an `Option`'s tag;
//! enums carry a one-byte tag. Everything from outside passes [`decode`], which stands on three rules: a size
//! limit before anything else, no trailing bytes, and one encoding only, so that a message which decodes
//! re-encodes to the same bytes or is refused.
//!
//! Source: docs/adr/0002-encoding.md.

use wincode::config::DefaultConfig;
use wincode::{SchemaRead, SchemaWrite};

/// A type that travels, with its name (for signatures and logs) and its greatest length in bytes.
pub trait Message:
    SchemaWrite<DefaultConfig, Src = Self> + for<'de> SchemaRead<'de, DefaultConfig, Dst = Self> + Sized
{
    /// What separates this message's signatures and digests from every other message's.
    const NAME: &'static str;
    /// The greatest number of bytes that are decoded at all.
    const LEN_MAX: usize;

    /// What a signature covers: by default the message as it travels.
    fn signed_bytes(&self) -> Vec<u8> {
        encode(self)
    }
}

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Refused before a single byte was read.
    #[error("a {message} of {len} bytes exceeds the limit of {limit}")]
    TooLong {
        /// The message's name.
        message: &'static str,
        /// How many bytes came.
        len: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// Cut short, a length or tag that cannot be, or bytes left over.
    #[error("not a {message}: {reason}")]
    Malformed {
        /// The message's name.
        message: &'static str,
        /// What the decoder met.
        reason: String,
    },
    /// Decodes, but would be written differently.
    #[error("not the canonical encoding of a {message}")]
    NotCanonical {
        /// The message's name.
        message: &'static str,
    },
}

/// Writes a message. Cost: one allocation, about 7 ns per observation.
///
/// # Panics
///
/// Where one sequence takes more than 4 MiB in memory, which no message within its limits does. Lists without a
/// limit, such as a whole state, are written piece by piece.
pub fn encode<T>(value: &T) -> Vec<u8>
where
    T: SchemaWrite<DefaultConfig, Src = T> + ?Sized,
{
    wincode::serialize(value)
        .expect("writing to memory fails only beyond the sequence limit, which every message keeps")
}

/// Reads a message that came from outside. Cost: about 10 ns per observation, and 7 for writing it again. A
/// sequence's length is believed up to 4 MiB in memory, reserved but not touched before its elements come.
///
/// # Errors
///
/// [`DecodeError`] when the bytes are too many, no such message, or not its only encoding.
pub fn decode<T: Message>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode_within(bytes, T::NAME, T::LEN_MAX)
}

/// [`decode`] for a type that is not a message by itself: a state value, a WAL entry.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_within<T>(bytes: &[u8], message: &'static str, limit: usize) -> Result<T, DecodeError>
where
    T: SchemaWrite<DefaultConfig, Src = T> + for<'de> SchemaRead<'de, DefaultConfig, Dst = T>,
{
    if bytes.len() > limit {
        return Err(DecodeError::TooLong {
            message,
            len: bytes.len(),
            limit,
        });
    }
    let value: T = wincode::deserialize_exact(bytes).map_err(|error| DecodeError::Malformed {
        message,
        reason: error.to_string(),
    })?;
    if encode(&value) != bytes {
        return Err(DecodeError::NotCanonical { message });
    }
    Ok(value)
}
