//! With what does a chain begin?
//!
//! Its name, its first members and vehicles, the time that slots and epochs count from, and the numbers of the
//! rules. In JSON, `genesis.json`. Its hash is the first block's parent, and all that has to be agreed on
//! beforehand.

use std::collections::BTreeSet;

use milepost_wire::identity::KeyError;
use milepost_wire::transaction::Enrolment;
use milepost_wire::{Access, Address, ChainId, Consortium, Hash, KeyId, Members, Timestamp, encode};
use serde::{Deserialize, Serialize};

use crate::params::{Params, ParamsError};

/// A chain's beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// The chain's name.
    pub chain: ChainId,
    /// When slot 0 and epoch 0 begin.
    pub time: Timestamp,
    /// Who votes on the first block.
    pub members: Members,
    /// Who may come in, and who may read.
    #[serde(default)]
    pub access: Access,
    /// The numbers of the rules.
    #[serde(default)]
    pub params: Params,
    /// Vehicles and roadside sensors enrolled from the start.
    #[serde(default)]
    pub vehicles: Vec<Enrolment>,
}

/// Why a chain cannot begin like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// Numbers that make no rules.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// A vehicle's key that is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A roadside sensor or unit that nobody answers for.
    #[error("the roadside sensor or unit {sensor} is {operator}'s, who is no member")]
    NoOperator {
        /// Which one.
        sensor: KeyId,
        /// Whose it is said to be.
        operator: Address,
    },
    /// Two vehicles that reports could not tell apart.
    #[error("two vehicles have the key id {0}")]
    Twice(KeyId),
}

impl Genesis {
    /// What the first block names as its parent: the hash of a binary encoding in which the vehicles are in the
    /// order of their keys.
    pub fn hash(&self) -> Hash {
        let mut vehicles = self.vehicles.clone();
        vehicles.sort();
        // Each part tells its own length, so their borders are clear.
        let parts = [
            encode(&self.chain),
            encode(&self.time),
            encode(&self.members.to_vec()),
            encode(&self.access),
            encode(&self.params),
            encode(&vehicles),
        ];
        Hash::of("genesis", &[&parts.concat()])
    }

    /// What a light client starts from.
    pub fn consortium(&self) -> Consortium {
        Consortium {
            chain: self.chain.clone(),
            genesis: self.hash(),
            members: self.members.clone(),
        }
    }

    /// Whether a chain can begin like this. Cost: a square root per vehicle.
    ///
    /// # Errors
    ///
    /// [`GenesisError`].
    pub fn validate(&self) -> Result<(), GenesisError> {
        self.params.validate()?;
        let mut seen = BTreeSet::new();
        for vehicle in &self.vehicles {
            let id = vehicle.key.address()?.key_id();
            if !seen.insert(id) {
                return Err(GenesisError::Twice(id));
            }
            let (sensor, owner) = (id, vehicle.role.operator());
            if let Some(operator) = owner.filter(|owner| self.members.get(owner).is_none()) {
                return Err(GenesisError::NoOperator { sensor, operator });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Town;
    use milepost_wire::{PublicKey, Role};

    #[test]
    fn a_genesis_survives_its_file() {
        let genesis = Town::new(3).genesis;
        let text = serde_json::to_string(&genesis).expect("plain data");
        let read: Genesis = serde_json::from_str(&text).expect("the same");
        assert_eq!(read, genesis);
        assert_eq!(read.hash(), genesis.hash());
    }

    #[test]
    fn the_order_of_vehicles_does_not_matter_and_every_number_does() {
        let genesis = Town::new(3).genesis;
        let mut turned = genesis.clone();
        turned.vehicles.reverse();
        assert_eq!(turned.hash(), genesis.hash());
        let mut changed = genesis.clone();
        changed.params.items_max += 1;
        assert_ne!(changed.hash(), genesis.hash());
    }

    #[test]
    fn a_roadside_sensor_is_a_members() {
        let mut genesis = Town::new(2).genesis;
        let member = genesis.members.iter().next().expect("four members").0;
        genesis.vehicles[0].role = Role::Anchor { operator: member };
        assert_eq!(genesis.validate(), Ok(()));
        let operator = Address([7; 20]);
        genesis.vehicles[0].role = Role::Anchor { operator };
        assert!(matches!(genesis.validate(), Err(GenesisError::NoOperator { .. })));
    }

    #[test]
    fn doubles_and_no_keys_are_refused() {
        let mut genesis = Town::new(2).genesis;
        genesis.vehicles.push(genesis.vehicles[0]);
        assert!(matches!(genesis.validate(), Err(GenesisError::Twice(_))));
        genesis.vehicles[2].key = PublicKey([7; 33]);
        assert!(matches!(genesis.validate(), Err(GenesisError::Key(_))));
    }
}
