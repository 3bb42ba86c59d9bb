//! Who may read, and who may come in by itself?
//!
//! As the members decided ([`Access`], changeable by vote): by default anyone may read and members say who comes in. Under
//! `private` those alone read who are on the ledger: members and what they enrolled. Under `public` any key enrols itself as a
//! vehicle, with a bond ([`Params::enrol_bond`]) that it has back when it leaves, and loses to the treasury when it is quarantined.
//!
//! Whoever has tokens can have many names. So all that enrolled itself is one group ([`Enrolment::OPEN_GROUP`]): it does not
//! vouch for one another, and earns where a vehicle that a member enrolled, or a roadside sensor, speaks of the same road.
//!
//! Source: docs/adr/0026-access.md.
//!
//! [`Params::enrol_bond`]: crate::Params::enrol_bond

use milepost_wire::transaction::Enrolment;
use milepost_wire::{Access, Address, Amount, Height, KeyId, PublicKey, Role};

use crate::state::{State, sum};
use crate::transact::{Rejected, spend};

impl State {
    /// Whether the policy lets this address read.
    pub fn may_read(&self, reader: &Address) -> bool {
        self.charter().access != Access::Private || self.is_known(reader)
    }

    /// Whether it is a member, or enrolled.
    fn is_known(&self, reader: &Address) -> bool {
        let id = reader.key_id();
        let enrolled = || {
            let is_it = self.vehicle_address(&id) == Some(*reader);
            is_it && self.vehicle(&id).is_some_and(|known| !known.revoked)
        };
        self.members().get(reader).is_some() || enrolled()
    }
}

/// Enrols the sender itself, for a bond.
pub(crate) fn enrol_itself(
    state: &mut State,
    key: PublicKey,
    sender: Address,
    height: Height,
) -> Result<(), Rejected> {
    let access = state.charter().access;
    if access != Access::Public {
        return Err(Rejected::NotPublic(access));
    }
    let id = sender.key_id();
    if state.vehicles.contains(&id) {
        return Err(Rejected::IdTaken(id));
    }
    let bond = Amount::from_micro(state.params().enrol_bond);
    spend(state, sender, bond)?;
    let enrolment = Enrolment {
        key,
        group: Enrolment::OPEN_GROUP,
        role: Role::Vehicle,
    };
    state.enrol(&enrolment, sender, Some(sender), height);
    state.set_bond(id, bond);
    Ok(())
}

impl State {
    fn set_bond(&mut self, id: KeyId, bond: Amount) {
        if let Some(mut vehicle) = self.vehicle(&id).cloned() {
            vehicle.bond = bond;
            self.vehicles.insert(id, vehicle);
        }
    }

    fn take_bond(&mut self, id: KeyId) -> Amount {
        let bond = self.vehicle(&id).map_or(Amount::ZERO, |vehicle| vehicle.bond);
        if bond > Amount::ZERO {
            self.set_bond(id, Amount::ZERO);
        }
        bond
    }

    /// Whoever leaves has its bond back.
    pub(crate) fn return_bond(&mut self, id: KeyId) {
        let bond = self.take_bond(id);
        if let Some(address) = self.vehicle_address(&id).filter(|_| bond > Amount::ZERO) {
            self.credit(address, bond);
        }
    }

    /// Whoever is quarantined has lost it.
    pub(crate) fn forfeit_bond(&mut self, id: KeyId) {
        let bond = self.take_bond(id);
        let mut books = self.books();
        books.treasury = sum(books.treasury, bond);
        self.books.insert((), books);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Town;
    use crate::transact::execute;
    use crate::{Params, quarantine};
    use milepost_wire::state::{Charter, Ground};
    use milepost_wire::time::Epoch;
    use milepost_wire::{Action, SecretKey, Transaction};
    use proptest::prelude::*;

    fn with(access: Access) -> (Town, State) {
        let town = Town::new(2);
        let mut state = State::genesis(&town.genesis);
        let charter = Charter {
            access,
            ..state.charter()
        };
        state.charter.insert((), charter);
        (town, state)
    }

    fn ask(state: &mut State, key: &SecretKey, action: Action) -> Result<(), Rejected> {
        let transaction = Transaction {
            from: key.public(),
            nonce: state.account(&key.address()).nonce,
            action,
        };
        execute(state, Height(3), &transaction, &mut Vec::new())
    }

    /// Tokens that are on the books, too.
    fn give(state: &mut State, to: Address, micro: u64) {
        let amount = Amount::from_micro(micro);
        state.credit(to, amount);
        let mut books = state.books();
        books.minted = sum(books.minted, amount);
        state.books.insert((), books);
    }

    #[test]
    fn private_is_for_members_and_what_they_enrolled() {
        let stranger = SecretKey::from_seed("stranger", 1);
        for access in [Access::Consortium, Access::Public] {
            assert!(with(access).1.may_read(&stranger.address()));
        }
        let (town, mut state) = with(Access::Private);
        assert!(!state.may_read(&stranger.address()));
        assert!(state.may_read(&town.members[0].address()));
        let reader = town.keys[0].address();
        assert!(state.may_read(&reader));
        let mut namesake = reader;
        namesake.0[0] ^= 1;
        assert!(!state.may_read(&namesake), "another key with its id");
        state.revoke(reader.key_id());
        assert!(!state.may_read(&reader));
    }

    #[test]
    fn a_key_enrols_itself_where_the_policy_and_its_tokens_allow() {
        let key = SecretKey::from_seed("newcomer", 1);
        let bond = Params::default().enrol_bond;
        for access in [Access::Consortium, Access::Private] {
            let (_, mut state) = with(access);
            give(&mut state, key.address(), bond);
            assert_eq!(
                ask(&mut state, &key, Action::SelfEnrol),
                Err(Rejected::NotPublic(access))
            );
        }
        let (town, mut state) = with(Access::Public);
        give(&mut state, key.address(), bond - 1);
        assert!(matches!(
            ask(&mut state, &key, Action::SelfEnrol),
            Err(Rejected::Overdrawn { .. })
        ));
        give(&mut state, key.address(), 3);
        assert_eq!(ask(&mut state, &key, Action::SelfEnrol), Ok(()));
        assert_eq!(
            ask(&mut state, &key, Action::SelfEnrol),
            Err(Rejected::IdTaken(key.key_id()))
        );
        assert_eq!(state.account(&key.address()).balance, Amount::from_micro(2));
        let vehicle = state.vehicle(&key.key_id()).expect("enrolled");
        assert_eq!(
            (vehicle.group, vehicle.bond.micro()),
            (Enrolment::OPEN_GROUP, bond)
        );
        assert_eq!(state.check(), Ok(()));

        let revoke = Action::Revoke {
            vehicle: key.key_id(),
        };
        assert!(matches!(
            ask(&mut state, &town.members[0], revoke.clone()),
            Err(Rejected::NotItsToRevoke { .. })
        ));
        assert_eq!(ask(&mut state, &key, revoke), Ok(()));
        assert_eq!(
            state.account(&key.address()).balance,
            Amount::from_micro(bond + 2)
        );
        assert_eq!(state.check(), Ok(()));
    }

    proptest! {
        /// Whatever becomes of one that enrolled itself, no token is made or lost, and its bond is in one place.
        #[test]
        fn a_bond_is_held_returned_or_forfeited(bond in 0u64..1_000, quarantined in any::<bool>(), leaves in any::<bool>()) {
            let (_, mut state) = with(Access::Public);
            let params = Params { enrol_bond: bond, ..Params::default() };
            state.params.insert((), params);
            let key = SecretKey::from_seed("newcomer", 1);
            give(&mut state, key.address(), 1_000);
            prop_assert_eq!(ask(&mut state, &key, Action::SelfEnrol), Ok(()));
            let id = key.key_id();
            if quarantined {
                let now = quarantine::Moment::of_block(&state);
                prop_assert!(quarantine::impose(&mut state, id, Ground::TwoContents, Epoch(0), now).is_some());
            }
            if leaves {
                prop_assert_eq!(ask(&mut state, &key, Action::Revoke { vehicle: id }), Ok(()));
            }
            prop_assert_eq!(state.check(), Ok(()));
            let held = state.vehicle(&id).map(|vehicle| vehicle.bond.micro());
            let balance = state.account(&key.address()).balance.micro();
            let treasury = state.books().treasury.micro();
            let expected = match (quarantined, leaves) {
                (false, false) => (Some(bond), 1_000 - bond, 0),
                (false, true) => (Some(0), 1_000, 0),
                (true, _) => (Some(0), 1_000 - bond, bond),
            };
            prop_assert_eq!((held, balance, treasury), expected);
        }
    }
}
