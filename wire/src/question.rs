//! Who asks?
//!
//! Under [`Access::Private`](crate::Access::Private) a unit's API answers those alone whom the ledger knows. Whoever asks
//! signs what it asks, and when: a [`Question`]. This file says whether a question is signed, fresh and the one that is asked;
//! whether its key may read, the ledger says (`milepost_incentives::State::may_read`).
//!
//! Not covered: eavesdroppers. Whoever overhears a question can ask the same once more while it is fresh, and reads the
//! answer along anyway. Encryption is the link's.
//!
//! Source: docs/adr/0026-access.md.

use wincode::{SchemaRead, SchemaWrite};

use crate::codec::{Message, decode, encode};
use crate::identity::KeyError;
use crate::signed::{BadSignature, Signed};
use crate::{Address, ChainId, DecodeError, Hash, PublicKey, SecretKey, Timestamp};

/// A reader's word that it is the one who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Question {
    /// Its key.
    pub reader: PublicKey,
    /// When it asks, by its own clock.
    pub at: Timestamp,
    /// SHA-256 of what is asked: the method, a space, path and query, as in `GET /v1/vehicles?limit=3`.
    pub asked: Hash,
}

/// A question as it travels.
pub type SignedQuestion = Signed<Question>;

impl Message for Question {
    const NAME: &'static str = "question";
    const LEN_MAX: usize = 128;
}

impl Message for SignedQuestion {
    const NAME: &'static str = "signed question";
    const LEN_MAX: usize = Question::LEN_MAX + 64;
}

/// Why it is not known who asks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unasked {
    /// No question at all.
    #[error("expected Milepost and a signed question in hexadecimal")]
    NotHex,
    /// Bytes that are no question.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A key that is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Another question was signed.
    #[error("another question was signed than {0}")]
    Other(String),
    /// Signed too long ago, or a clock is wrong.
    #[error("the question was signed at {signed:?}, here it is {now:?}: more than {} s lie between", Question::FRESH_MS / 1000)]
    Stale {
        /// When it was signed, by the reader's clock.
        signed: Timestamp,
        /// The unit's clock.
        now: Timestamp,
    },
    /// Signed by somebody else, or for another chain.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

impl Question {
    /// The most that the reader's clock and the unit's may be apart, the way included, in milliseconds.
    pub const FRESH_MS: u64 = 60_000;
    /// What stands before the question in HTTP's `Authorization`.
    pub const SCHEME: &'static str = "Milepost ";

    /// The value of HTTP's `Authorization` for a question.
    pub fn authorization(key: &SecretKey, chain: &ChainId, asked: &str, at: Timestamp) -> String {
        let question = Self {
            reader: key.public(),
            at,
            asked: digest(asked),
        };
        let signed = Signed::sign(question, chain, key);
        format!("{}{}", Self::SCHEME, hex::encode(encode(signed.signed())))
    }

    /// Who asks `asked`, by the value of `Authorization`. Cost: a verification.
    ///
    /// # Errors
    ///
    /// [`Unasked`].
    pub fn reader(
        authorization: &str,
        chain: &ChainId,
        asked: &str,
        now: Timestamp,
    ) -> Result<Address, Unasked> {
        let text = authorization.strip_prefix(Self::SCHEME).ok_or(Unasked::NotHex)?;
        if text.len() > 2 * <SignedQuestion as Message>::LEN_MAX {
            return Err(Unasked::NotHex);
        }
        let bytes = hex::decode(text).map_err(|_| Unasked::NotHex)?;
        let signed: SignedQuestion = decode(&bytes)?;
        if signed.message.asked != digest(asked) {
            return Err(Unasked::Other(asked.to_owned()));
        }
        let at = signed.message.at;
        if at.since(now).max(now.since(at)) > Self::FRESH_MS {
            return Err(Unasked::Stale { signed: at, now });
        }
        let key = signed.message.reader.verifying_key()?;
        signed.verify(chain, &key)?;
        Ok(Address::of(&key))
    }
}

fn digest(asked: &str) -> Hash {
    Hash::of("asked", &[asked.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: Timestamp = Timestamp::from_millis(700_000_000_000);

    fn chain() -> ChainId {
        ChainId::new("town").expect("an id")
    }

    fn key() -> SecretKey {
        SecretKey::from_seed("reader", 1)
    }

    #[test]
    fn a_question_names_its_reader_for_a_minute_and_for_itself_alone() {
        let asked = "GET /v1/status";
        let header = Question::authorization(&key(), &chain(), asked, AT);
        let read = |asked: &str, now| Question::reader(&header, &chain(), asked, now);
        assert_eq!(read(asked, AT), Ok(key().address()));
        assert_eq!(read(asked, AT.plus(60_000)), Ok(key().address()));
        assert_eq!(
            read(asked, AT.minus(60_000)),
            Ok(key().address()),
            "its clock runs ahead"
        );
        assert!(matches!(read(asked, AT.plus(60_001)), Err(Unasked::Stale { .. })));
        assert!(matches!(read("GET /v1/params", AT), Err(Unasked::Other(_))));
        let elsewhere = ChainId::new("elsewhere").expect("an id");
        let other = Question::reader(&header, &elsewhere, asked, AT);
        assert!(matches!(other, Err(Unasked::Signature(_))));
    }

    proptest! {
        /// Whoever holds no key passes for nobody: what is changed in a question makes it nobody's.
        #[test]
        fn a_changed_question_is_nobodys(at in 0usize..200, flip in 1u8..=255) {
            let asked = "GET /v1/status";
            let header = Question::authorization(&key(), &chain(), asked, AT);
            let mut bytes = hex::decode(&header[Question::SCHEME.len()..]).expect("its own");
            let at = at % bytes.len();
            bytes[at] ^= flip;
            let changed = format!("{}{}", Question::SCHEME, hex::encode(&bytes));
            let read = Question::reader(&changed, &chain(), asked, AT);
            // The top bit of `s` is a hint that is not signed.
            let is_hint = at == bytes.len() - 32 && flip == 0x80;
            prop_assert_eq!(read.is_ok(), is_hint);
        }

        #[test]
        fn any_text_is_an_error_and_no_panic(text in ".*") {
            prop_assert!(Question::reader(&text, &chain(), "GET /", AT).is_err());
        }
    }
}
