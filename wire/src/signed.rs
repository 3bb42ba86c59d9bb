//! Who said this, and did they?
//!
//! Bytes decode to [`Signed`]; [`Signed::verify`] yields [`Verified`], which nothing else can make and which
//! the cores accept alone. What is signed is the SHA-256 of the chain's id, the message's name and its bytes:
//! a signature given on one chain, or for one kind of message, is worth nothing on another. Signatures are
//! ECDSA over secp256k1, deterministic (RFC 6979), with the lower of the two possible `s`.
//!
//! The lower `s` leaves its top bit free, and as in EIP-2098 that bit tells whether the `y` of the point `R` is
//! odd. It is a hint for verifying many signatures at once and is not signed: whether a signature is valid does
//! not depend on it.

use k256::Scalar;
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use k256::ecdsa::{self, VerifyingKey};
use wincode::{SchemaRead, SchemaWrite};

use crate::codec::Message;
use crate::{ChainId, Hash, SecretKey, memo};

/// `r` and `s`, big-endian, 32 bytes each; the top bit of `s` holds the parity of `R` (EIP-2098).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
pub struct Signature(pub [u8; 64]);

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signature({}…)", hex::encode(&self.0[..4]))
    }
}

/// The signature is not this key's over this message on this chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

impl Signature {
    /// Signs a digest. Cost: about half a verification.
    pub fn sign(key: &SecretKey, digest: &Hash) -> Self {
        let (signature, recovery) = key.signing_key().sign_prehash_recoverable(&digest.0);
        let mut bytes: [u8; 64] = signature.to_bytes().into();
        bytes[32] |= u8::from(recovery.is_y_odd()) << 7;
        Self(bytes)
    }

    /// Checks it; within [`memo::remembering`], no more than once.
    ///
    /// # Errors
    ///
    /// [`BadSignature`], also where `s` is the higher of the two.
    pub fn verify(&self, key: &VerifyingKey, digest: &Hash) -> Result<(), BadSignature> {
        memo::verdict(self, key, digest, || {
            key.verify_prehash(&digest.0, &self.parse()?)
                .map_err(|_| BadSignature)
        })
    }

    /// `r` and `s` as numbers.
    pub(crate) fn scalars(&self) -> Result<(Scalar, Scalar), BadSignature> {
        let (r, s) = self.parse()?.split_scalars();
        Ok((*r, *s))
    }

    /// Without the hint; refused where `r` or `s` is zero or not below the group's order, or `s` the higher.
    fn parse(&self) -> Result<ecdsa::Signature, BadSignature> {
        let mut bytes = self.0;
        bytes[32] &= 0x7f;
        let signature = ecdsa::Signature::from_slice(&bytes).map_err(|_| BadSignature)?;
        if signature.normalize_s() == signature {
            Ok(signature)
        } else {
            Err(BadSignature)
        }
    }
}

/// A message and a signature that nobody has checked yet.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Signed<T> {
    /// What is said.
    pub message: T,
    /// Whose it is said to be, the message itself tells.
    pub signature: Signature,
}

/// A message whose signature was checked. Only [`Signed::verify`], [`crate::many::verify_many`]
/// and [`Signed::sign`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T> {
    signed: Signed<T>,
    digest: Hash,
}

impl<T: Message> Signed<T> {
    /// Signs `message` for `chain`.
    pub fn sign(message: T, chain: &ChainId, key: &SecretKey) -> Verified<T> {
        let digest = signing_digest(chain, &message);
        let signature = Signature::sign(key, &digest);
        Verified {
            signed: Self { message, signature },
            digest,
        }
    }

    /// Checks the signature. Cost: about 85 µs on an x86 server core.
    ///
    /// # Errors
    ///
    /// [`BadSignature`].
    pub fn verify(self, chain: &ChainId, key: &VerifyingKey) -> Result<Verified<T>, BadSignature> {
        let digest = signing_digest(chain, &self.message);
        self.signature.verify(key, &digest)?;
        Ok(Verified { signed: self, digest })
    }
}

impl<T> Verified<T> {
    /// For [`crate::many`] alone, which checks as [`Signed::verify`] does.
    pub(crate) fn checked(signed: Signed<T>, digest: Hash) -> Self {
        Self { signed, digest }
    }

    /// What was signed: the message's own name among all messages of its chain.
    pub fn digest(&self) -> Hash {
        self.digest
    }

    /// The message with its signature, as it travels.
    pub fn signed(&self) -> &Signed<T> {
        &self.signed
    }

    /// The message with its signature, as it travels.
    pub fn into_signed(self) -> Signed<T> {
        self.signed
    }
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.signed.message
    }
}

/// The digest that a signature on `message` covers.
pub fn signing_digest<T: Message>(chain: &ChainId, message: &T) -> Hash {
    let name = T::NAME.as_bytes();
    let chain = chain.as_str().as_bytes();
    // Name and chain are shorter than 256 bytes, so one byte tells where each ends.
    let (name_len, chain_len) = ([name.len() as u8], [chain.len() as u8]);
    Hash::of(
        "signed",
        &[&name_len, name, &chain_len, chain, &message.signed_bytes()],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::{Action, Transaction};
    use crate::{Address, Amount};

    fn transfer(key: &SecretKey) -> Transaction {
        let action = Action::Transfer {
            to: Address([7; 20]),
            amount: Amount::from_micro(5),
        };
        Transaction {
            from: key.public(),
            nonce: 0,
            action,
        }
    }

    #[test]
    fn a_signature_binds_chain_key_and_content() {
        let (key, other) = (SecretKey::from_seed("test", 1), SecretKey::from_seed("test", 2));
        let point = key.public().verifying_key().expect("a point");
        let (here, there) = (
            ChainId::new("here").expect("an id"),
            ChainId::new("there").expect("an id"),
        );
        let signed = Signed::sign(transfer(&key), &here, &key).into_signed();

        assert!(signed.clone().verify(&here, &point).is_ok());
        assert!(signed.clone().verify(&there, &point).is_err());
        assert!(
            signed
                .clone()
                .verify(&here, &other.public().verifying_key().expect("a point"))
                .is_err()
        );
        let mut changed = signed;
        changed.message.nonce = 1;
        assert!(changed.verify(&here, &point).is_err());
    }

    #[test]
    fn the_higher_s_is_refused() {
        let key = SecretKey::from_seed("test", 1);
        let digest = Hash([9; 32]);
        let low = Signature::sign(&key, &digest);
        let mut bytes = low.0;
        bytes[32] &= 0x7f;
        let (r, s) = ecdsa::Signature::from_slice(&bytes)
            .expect("a signature")
            .split_scalars();
        let high = ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).expect("a signature");
        let point = key.public().verifying_key().expect("a point");
        assert!(low.verify(&point, &digest).is_ok());
        assert!(Signature(high.to_bytes().into()).verify(&point, &digest).is_err());
    }

    #[test]
    fn the_parity_hint_does_not_decide() {
        let key = SecretKey::from_seed("test", 1);
        let mut flipped = Signature::sign(&key, &Hash([9; 32]));
        flipped.0[32] ^= 0x80;
        assert!(
            flipped
                .verify(&key.public().verifying_key().expect("a point"), &Hash([9; 32]))
                .is_ok()
        );
    }
}
