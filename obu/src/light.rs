//! What does the ledger say, to someone who trusts no single unit?
//!
//! In: proofs from anyone, and the time. Out: typed facts, each under a header that more than two thirds of the
//! consortium's power signed, or the light block that is needed first. Which members those are, [`Heads`] follows.
//!
//! A unit may also tell the truth of yesterday. So nothing about the state is taken from more than `lag_max` blocks
//! below the newest head that this client has ever verified. A client that has just begun has seen none: ask several
//! units, and take the newest answer.
//!
//! Not covered: what a unit leaves out of a picture. What it shows is proved, that it shows all is not.

use milepost_wire::certificate::Head;
use milepost_wire::codec::decode_within;
use milepost_wire::output::Estimate;
use milepost_wire::proof::{OutputsProof, ProofError, StateProof};
use milepost_wire::state::{Account, StateKey, Vehicle};
use milepost_wire::time::Epoch;
use milepost_wire::{Address, Height, KeyId, Output, Timestamp};
use serde::Serialize;

use crate::explain::Explanation;
use crate::heads::{HeadError, Heads, Heard};

/// A fact, and since when it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Proved<T> {
    /// What was proved.
    pub value: T,
    /// The block that it was proved under.
    pub height: Height,
    /// The block's time.
    pub time: Timestamp,
}

/// Why an answer was not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The proof proves nothing.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Its head is not to be believed, or stale.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Whether its head is to be believed cannot be told yet.
    #[error("the light block {0} is needed first, and nobody gave one that can be believed")]
    Needs(Height),
}

/// A client that believes proofs and nothing else.
#[derive(Clone, Debug)]
pub struct LightClient {
    heads: Heads,
}

impl LightClient {
    /// Has verified nothing yet. State is taken from up to as many blocks below the newest as `heads` keeps.
    pub const fn new(heads: Heads) -> Self {
        Self { heads }
    }

    /// The heads that it knows.
    pub const fn heads(&self) -> &Heads {
        &self.heads
    }

    /// The same, for giving it light blocks.
    pub const fn heads_mut(&mut self) -> &mut Heads {
        &mut self.heads
    }

    /// What `address` holds; nothing, where it has no account.
    ///
    /// # Errors
    ///
    /// [`Refused`].
    pub fn account(
        &mut self,
        now: Timestamp,
        address: Address,
        proof: &StateProof,
    ) -> Result<Proved<Account>, Refused> {
        let value = self.state(now, StateKey::Account(address), proof)?;
        let decode = |bytes| decode_within(bytes, "account", StateKey::VALUE_LEN_MAX);
        let account = value.map(decode).transpose().map_err(ProofError::from)?;
        Ok(proved(&proof.head, account.unwrap_or_default()))
    }

    /// What is known of `vehicle`; `None` where it was never enrolled.
    ///
    /// # Errors
    ///
    /// [`Refused`].
    pub fn vehicle(
        &mut self,
        now: Timestamp,
        vehicle: KeyId,
        proof: &StateProof,
    ) -> Result<Proved<Option<Vehicle>>, Refused> {
        let value = self.state(now, StateKey::Vehicle(vehicle), proof)?;
        let decode = |bytes| decode_within(bytes, "vehicle", StateKey::VALUE_LEN_MAX);
        Ok(proved(
            &proof.head,
            value.map(decode).transpose().map_err(ProofError::from)?,
        ))
    }

    /// The figures of the final picture that `proof` shows, of whatever age.
    ///
    /// # Errors
    ///
    /// [`Refused`].
    pub fn estimates(
        &mut self,
        now: Timestamp,
        proof: &OutputsProof,
    ) -> Result<Proved<Vec<Estimate>>, Refused> {
        self.outputs(now, proof)?;
        let estimate = |(output, _): &(Output, _)| match output {
            Output::Estimate(estimate) => Some(*estimate),
            _ => None,
        };
        Ok(proved(
            &proof.head,
            proof.outputs.iter().filter_map(estimate).collect(),
        ))
    }

    /// Adds what `proof` shows of one vehicle's scores and payment in one epoch, of whatever age.
    ///
    /// # Errors
    ///
    /// [`Refused`]; then nothing was added.
    pub fn explain(
        &mut self,
        now: Timestamp,
        explanation: &mut Explanation,
        proof: &OutputsProof,
    ) -> Result<(), Refused> {
        self.outputs(now, proof)?;
        for (output, path) in &proof.outputs {
            explanation.add(proof.head.header.height, path.index, output);
        }
        Ok(())
    }

    /// An explanation from several proofs at once; the first that proves nothing spoils it.
    ///
    /// # Errors
    ///
    /// [`Refused`].
    pub fn explanation(
        &mut self,
        now: Timestamp,
        vehicle: KeyId,
        epoch: Epoch,
        proofs: &[OutputsProof],
    ) -> Result<Explanation, Refused> {
        let mut explanation = Explanation::new(vehicle, epoch);
        for proof in proofs {
            self.explain(now, &mut explanation, proof)?;
        }
        Ok(explanation)
    }

    fn state<'a>(
        &mut self,
        now: Timestamp,
        key: StateKey,
        proof: &'a StateProof,
    ) -> Result<Option<&'a [u8]>, Refused> {
        // Hashing costs less than signatures.
        let value = proof.check(key)?;
        believed(self.heads.hear(now, proof.head.clone())?)?;
        Ok(value)
    }

    fn outputs(&mut self, now: Timestamp, proof: &OutputsProof) -> Result<(), Refused> {
        proof.check()?;
        // The past does not change: what was put out then is true now.
        believed(self.heads.hear_of_old(now, &proof.head)?)
    }
}

fn believed(heard: Heard) -> Result<(), Refused> {
    match heard {
        Heard::Known | Heard::New(_) => Ok(()),
        Heard::Needs(height) => Err(Refused::Needs(height)),
    }
}

fn proved<T>(head: &Head, value: T) -> Proved<T> {
    Proved {
        value,
        height: head.header.height,
        time: head.header.time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW, Town};
    use milepost_wire::output::Item;
    use milepost_wire::time::Slot;
    use milepost_wire::{Amount, Cell, Hash, Kind, encode};

    const ADDRESS: Address = Address([3; 20]);

    fn light(town: &Town) -> LightClient {
        LightClient::new(Heads::new(town.light(), 5))
    }

    fn account_proof(town: &Town, height: u64, micro: u64) -> StateProof {
        let account = Account {
            balance: Amount::from_micro(micro),
            nonce: 1,
        };
        town.state_proof(height, StateKey::Account(ADDRESS), Some(encode(&account)))
    }

    #[test]
    fn a_balance_is_believed_with_its_proof_alone() {
        let town = Town::new(4);
        let mut light = light(&town);
        let proof = account_proof(&town, 9, 5);
        let account = light.account(NOW, ADDRESS, &proof).unwrap();
        assert_eq!((account.value.balance.micro(), account.height), (5, Height(9)));

        let mut richer = proof.clone();
        richer.value = account_proof(&town, 9, 6).value;
        assert!(matches!(
            light.account(NOW, ADDRESS, &richer),
            Err(Refused::Proof(ProofError::State { .. }))
        ));
        let other = Address([4; 20]);
        assert!(matches!(
            light.account(NOW, other, &proof),
            Err(Refused::Proof(ProofError::OtherKey { .. }))
        ));
    }

    #[test]
    fn an_address_without_an_account_holds_nothing() {
        let town = Town::new(4);
        let mut light = light(&town);
        let absent = town.state_proof(1, StateKey::Account(ADDRESS), None);
        assert_eq!(
            light.account(NOW, ADDRESS, &absent).unwrap().value,
            Account::default()
        );
        let absent = town.state_proof(2, StateKey::Vehicle(KeyId([1; 8])), None);
        assert_eq!(light.vehicle(NOW, KeyId([1; 8]), &absent).unwrap().value, None);
    }

    #[test]
    fn the_truth_of_yesterday_is_refused() {
        let town = Town::new(4);
        let mut light = light(&town);
        light.account(NOW, ADDRESS, &account_proof(&town, 20, 5)).unwrap();
        light.account(NOW, ADDRESS, &account_proof(&town, 16, 5)).unwrap();
        let stale = light.account(NOW, ADDRESS, &account_proof(&town, 15, 5));
        assert!(matches!(stale, Err(Refused::Head(HeadError::Stale { .. }))));
    }

    #[test]
    fn one_member_alone_proves_nothing() {
        let town = Town::new(4);
        let mut light = light(&town);
        let mut proof = account_proof(&town, 1, 5);
        proof.head.certificate.signatures.truncate(1);
        assert!(light.account(NOW, ADDRESS, &proof).is_err());
        assert!(light.heads.newest().is_none());
    }

    #[test]
    fn an_estimate_is_proved_however_old_it_is() {
        let town = Town::new(4);
        let mut light = light(&town);
        let item = Item {
            slot: Slot(1),
            cell: Cell::segment("a"),
            kind: Kind::Speed,
        };
        let estimate = Estimate {
            item,
            value: 900,
            low: 800,
            high: 1000,
            vehicles: 3,
            weight: 1,
            spread: 10,
        };
        light.heads.hear(NOW, town.head(100, Hash::ZERO)).unwrap();
        let mut proof = town.outputs_proof(7, &[Output::Estimate(estimate)]);
        assert_eq!(light.estimates(NOW, &proof).unwrap().value, [estimate]);
        proof.outputs[0].0 = Output::Estimate(Estimate {
            value: 901,
            ..estimate
        });
        assert!(light.estimates(NOW, &proof).is_err());
    }
}
