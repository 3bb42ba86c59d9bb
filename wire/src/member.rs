//! Who votes, and with what weight?

use k256::ecdsa::VerifyingKey;
use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use crate::identity::KeyError;
use crate::{Address, Hash, PublicKey, encode};

/// One roadside unit with a vote.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The unit's key.
    pub key: PublicKey,
    /// The company or authority that owns the unit: 1 to 64 characters.
    pub provider: String,
    /// Its voting power, at least 1.
    pub power: u64,
}

/// Why members cannot form a consortium.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembersError {
    /// Nobody, or too many.
    #[error("a consortium has 1 to 128 members, found {0}")]
    Count(usize),
    /// A key that is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Two members with one key.
    #[error("member {0} is listed twice")]
    Twice(Address),
    /// No power, or so much that sums of it could overflow.
    #[error("a member's power is 1 to 4294967296, found {0}")]
    Power(u64),
    /// No name, or too long a one.
    #[error("a provider's name has 1 to 64 characters, found {0:?}")]
    Provider(String),
}

/// A consortium's members, in the order of their addresses, with their curve points at hand.
#[derive(Clone)]
pub struct Members(std::sync::Arc<Vec<Known>>);

#[derive(Clone)]
struct Known {
    address: Address,
    point: VerifyingKey,
    member: Member,
}

impl Members {
    /// The most members.
    pub const COUNT_MAX: usize = 128;
    /// The most power of one member: three times the total then fits 64 bits with room.
    pub const POWER_MAX: u64 = 1 << 32;

    /// # Errors
    ///
    /// [`MembersError`]. Cost: a square root per member.
    pub fn new(members: Vec<Member>) -> Result<Self, MembersError> {
        if members.is_empty() || members.len() > Self::COUNT_MAX {
            return Err(MembersError::Count(members.len()));
        }
        let mut known = Vec::with_capacity(members.len());
        for member in members {
            if !(1..=Self::POWER_MAX).contains(&member.power) {
                return Err(MembersError::Power(member.power));
            }
            if !(1..=64).contains(&member.provider.chars().count()) {
                return Err(MembersError::Provider(member.provider));
            }
            let point = member.key.verifying_key()?;
            known.push(Known {
                address: Address::of(&point),
                point,
                member,
            });
        }
        known.sort_by_key(|known| known.address);
        if let Some(pair) = known.windows(2).find(|pair| pair[0].address == pair[1].address) {
            return Err(MembersError::Twice(pair[0].address));
        }
        Ok(Self(std::sync::Arc::new(known)))
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Each member with its address, in the order of addresses.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Address, &Member)> {
        self.0.iter().map(|known| (known.address, &known.member))
    }

    /// The member with this address.
    pub fn get(&self, address: &Address) -> Option<&Member> {
        self.find(address).map(|known| &known.member)
    }

    /// The member's curve point.
    pub fn point(&self, address: &Address) -> Option<&VerifyingKey> {
        self.find(address).map(|known| &known.point)
    }

    /// All voting power.
    pub fn total_power(&self) -> u64 {
        self.0.iter().map(|known| known.member.power).sum()
    }

    /// The least power that is more than two thirds of all.
    pub fn quorum(&self) -> u64 {
        self.total_power() * 2 / 3 + 1
    }

    /// Whether `power` is more than two thirds of all.
    pub fn is_quorum(&self, power: u64) -> bool {
        power >= self.quorum()
    }

    /// What headers and light clients commit to.
    pub fn hash(&self) -> Hash {
        let mut bytes = Vec::new();
        for known in self.0.iter() {
            let encoded = encode(&known.member);
            bytes.extend((encoded.len() as u64).to_le_bytes());
            bytes.extend(encoded);
        }
        Hash::of("members", &[&bytes])
    }

    /// As a list, in the order of addresses.
    pub fn to_vec(&self) -> Vec<Member> {
        self.0.iter().map(|known| known.member.clone()).collect()
    }

    fn find(&self, address: &Address) -> Option<&Known> {
        self.0
            .binary_search_by_key(address, |known| known.address)
            .ok()
            .map(|index| &self.0[index])
    }
}

impl PartialEq for Members {
    fn eq(&self, other: &Self) -> bool {
        self.0
            .iter()
            .map(|known| &known.member)
            .eq(other.0.iter().map(|known| &known.member))
    }
}

impl Eq for Members {}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|known| (known.address, known.member.power)))
            .finish()
    }
}

impl Serialize for Members {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|known| &known.member))
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecretKey;

    fn member(seed: u64, power: u64) -> Member {
        Member {
            key: SecretKey::from_seed("member", seed).public(),
            provider: "test".into(),
            power,
        }
    }

    #[test]
    fn a_quorum_is_more_than_two_thirds() {
        let members = Members::new((0..3).map(|seed| member(seed, 1)).collect()).expect("members");
        assert!(!members.is_quorum(2), "two of three is exactly two thirds");
        assert!(members.is_quorum(3));
        assert_eq!(members.quorum(), 3);
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let forth = Members::new((0..4).map(|seed| member(seed, seed + 1)).collect()).expect("members");
        let back = Members::new((0..4).rev().map(|seed| member(seed, seed + 1)).collect()).expect("members");
        assert_eq!(forth.hash(), back.hash());
        assert_eq!(forth, back);
    }

    #[test]
    fn doubles_and_the_powerless_are_refused() {
        assert!(matches!(
            Members::new(vec![member(1, 1), member(1, 2)]),
            Err(MembersError::Twice(_))
        ));
        assert_eq!(
            Members::new(vec![member(1, 0)]).err(),
            Some(MembersError::Power(0))
        );
        assert_eq!(Members::new(vec![]).err(), Some(MembersError::Count(0)));
    }
}
