//! Who is who?
//!
//! Everyone is a secp256k1 key. An address is Ethereum's (the last 20 bytes of the Keccak-256 of the
//! uncompressed public key), so that a wallet can hold the key and an EVM chain can pay it out; a key id is
//! the address's last 8 bytes, which is all that a report carries.

use k256::ecdsa::{SigningKey, VerifyingKey};
use sha3::{Digest, Keccak256};
use wincode::{SchemaRead, SchemaWrite};

use crate::hash::{HexError, fixed_hex, serde_as_text};

/// Twenty bytes that name an account, as on Ethereum.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
pub struct Address(pub [u8; 20]);

/// The last eight bytes of an address: how a report names its vehicle. The ledger refuses to enrol a second
/// key with the same id.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
pub struct KeyId(pub [u8; 8]);

/// A public key in SEC1's compressed form. It need not be on the curve until [`PublicKey::verifying_key`]
/// says so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
pub struct PublicKey(pub [u8; 33]);

/// A signing key. Its memory is wiped when it is dropped; it is never printed.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

/// Why a key is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 32 bytes in hexadecimal.
    #[error("a secret key is 64 hexadecimal digits")]
    NotHex,
    /// Zero, or not below the order of the group.
    #[error("these 32 bytes are no secp256k1 secret key")]
    NotAScalar,
    /// Not a point in SEC1's compressed form.
    #[error("{0} is no point of secp256k1")]
    NotAPoint(PublicKey),
    /// The operating system gave no randomness.
    #[error("the operating system's random source failed: {0}")]
    NoRandomness(String),
}

impl SecretKey {
    /// A new key from the operating system's randomness.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoRandomness`].
    pub fn generate() -> Result<Self, KeyError> {
        // One try in 2^128 draws no scalar; a few tries make that our own bug.
        for _ in 0..8 {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).map_err(|error| KeyError::NoRandomness(error.to_string()))?;
            if let Ok(key) = Self::from_bytes(&bytes) {
                return Ok(key);
            }
        }
        Err(KeyError::NotAScalar)
    }

    /// A key that anyone can derive from `seed`: for simulations and tests, worth nothing elsewhere.
    pub fn from_seed(label: &str, seed: u64) -> Self {
        let mut counter = 0u64;
        loop {
            let digest = crate::Hash::of(label, &[&seed.to_be_bytes(), &counter.to_be_bytes()]);
            if let Ok(key) = Self::from_bytes(&digest.0) {
                return key;
            }
            counter += 1;
        }
    }

    /// # Errors
    ///
    /// [`KeyError::NotAScalar`] for zero and for what is not below the group's order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        SigningKey::from_slice(bytes)
            .map(Self)
            .map_err(|_| KeyError::NotAScalar)
    }

    /// Reads what [`SecretKey::to_hex`] wrote.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotHex`], [`KeyError::NotAScalar`].
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let bytes = fixed_hex::<32>(text.trim()).map_err(|_| KeyError::NotHex)?;
        Self::from_bytes(&bytes)
    }

    /// The secret itself, for a key file.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey::of(self.0.verifying_key())
    }

    /// The address of the public half.
    pub fn address(&self) -> Address {
        Address::of(self.0.verifying_key())
    }

    /// The id of the public half.
    pub fn key_id(&self) -> KeyId {
        self.address().key_id()
    }

    pub(crate) fn signing_key(&self) -> &SigningKey {
        &self.0
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretKey of {}", self.address())
    }
}

impl PublicKey {
    /// The compressed form of a point.
    pub fn of(key: &VerifyingKey) -> Self {
        let point = key.to_sec1_point(true);
        Self(
            point
                .as_bytes()
                .try_into()
                .expect("a compressed point has 33 bytes"),
        )
    }

    /// The point itself. Cost: a square root, about 10 µs; keep the result.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotAPoint`].
    pub fn verifying_key(&self) -> Result<VerifyingKey, KeyError> {
        VerifyingKey::from_sec1_bytes(&self.0).map_err(|_| KeyError::NotAPoint(*self))
    }

    /// The address, where this is a point of the curve.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotAPoint`].
    pub fn address(&self) -> Result<Address, KeyError> {
        self.verifying_key().map(|key| Address::of(&key))
    }
}

impl Address {
    /// Ethereum's address of a public key (Yellow Paper, appendix F).
    pub fn of(key: &VerifyingKey) -> Self {
        let point = key.to_sec1_point(false);
        let digest: [u8; 32] = Keccak256::digest(&point.as_bytes()[1..]).into();
        Self(digest[12..].try_into().expect("twelve from thirty-two is twenty"))
    }

    /// The last eight bytes.
    pub fn key_id(&self) -> KeyId {
        KeyId(self.0[12..].try_into().expect("twelve from twenty is eight"))
    }
}

/// Mixed-case checksum as in EIP-55.
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = hex::encode(self.0);
        let digest: [u8; 32] = Keccak256::digest(digits.as_bytes()).into();
        f.write_str("0x")?;
        for (index, digit) in digits.chars().enumerate() {
            let nibble = digest[index / 2] >> (4 * (1 - index % 2)) & 0xf;
            let digit = if nibble >= 8 {
                digit.to_ascii_uppercase()
            } else {
                digit
            };
            std::fmt::Write::write_char(f, digit)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "@{}", hex::encode(&self.0[..4]))
    }
}

/// Letters of either case are read; a checksum in mixed case is not enforced, since tools lower-case freely.
impl std::str::FromStr for Address {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        fixed_hex(text).map(Self)
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "~{}", hex::encode(&self.0[..4]))
    }
}

impl std::str::FromStr for KeyId {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        fixed_hex(text).map(Self)
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", hex::encode(&self.0[..5]))
    }
}

impl std::str::FromStr for PublicKey {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        fixed_hex(text).map(Self)
    }
}

serde_as_text!(Address);
serde_as_text!(KeyId);
serde_as_text!(PublicKey);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_ethereums() {
        // The well-known first account of development chains (mnemonic "test test … junk").
        let key = SecretKey::from_hex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
            .expect("a key");
        assert_eq!(
            key.address().to_string(),
            "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
        );
        assert_eq!(key.key_id().to_string(), "827279cfffb92266");
    }

    #[test]
    fn a_key_survives_its_file() {
        let key = SecretKey::generate().expect("randomness");
        assert_eq!(
            SecretKey::from_hex(&key.to_hex()).expect("the same").public(),
            key.public()
        );
    }

    #[test]
    fn zero_and_garbage_are_no_keys() {
        assert_eq!(SecretKey::from_bytes(&[0; 32]).err(), Some(KeyError::NotAScalar));
        assert_eq!(
            SecretKey::from_bytes(&[0xff; 32]).err(),
            Some(KeyError::NotAScalar)
        );
        assert_eq!(SecretKey::from_hex("xyz").err(), Some(KeyError::NotHex));
        assert!(PublicKey([7; 33]).verifying_key().is_err());
    }

    #[test]
    fn a_secret_is_never_printed() {
        let key = SecretKey::from_seed("test", 1);
        assert!(!format!("{key:?}").contains(&key.to_hex()));
    }
}
