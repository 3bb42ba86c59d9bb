//! May the sender have this done?
//!
//! Transfers from the sender's own account; enrolment and its end, for members alone. What is refused changes
//! nothing, not even the sender's nonce.

use milepost_wire::identity::KeyError;
use milepost_wire::output::Output;
use milepost_wire::transaction::{Action, Enrolment};
use milepost_wire::{Access, Address, Amount, Height, KeyId, SignedReport, Transaction, Verified};

use crate::access;
use crate::misconduct::{self, Acquittal};
use crate::proposal::{self, Improper};
use crate::quarantine::{self, Moment};
use crate::state::{State, sum};
use crate::vesting;
use crate::withheld::{self, Unheard};

/// The most listening units of one member that are not revoked.
pub const UNITS_OF_ONE_MAX: usize = 16;

/// Why the ledger refused a transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The sender's key, or the vehicle's, is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Not the sender's next transaction: executed before, or one before it is missing.
    #[error("{account} has nonce {expected}, the transaction {found}")]
    Nonce {
        /// Whose account.
        account: Address,
        /// Its next nonce.
        expected: u64,
        /// The transaction's.
        found: u64,
    },
    /// More than there is.
    #[error("{account} holds {held} and cannot spend {wanted}")]
    Overdrawn {
        /// Whose account.
        account: Address,
        /// What is there.
        held: Amount,
        /// What was to be moved.
        wanted: Amount,
    },
    /// Only members may do this.
    #[error("{0} is no member of the consortium")]
    NotAMember(Address),
    /// A roadside sensor or unit in another member's name.
    #[error("{sender} cannot enrol a roadside sensor or unit of {operator}")]
    NotItsOperator {
        /// Who asks.
        sender: Address,
        /// In whose name.
        operator: Address,
    },
    /// What another member enrolled, or nobody.
    #[error("{sender} did not enrol {vehicle}, so it cannot revoke it alone: propose it to the members")]
    NotItsToRevoke {
        /// What is enrolled.
        vehicle: KeyId,
        /// Who asks.
        sender: Address,
    },
    /// Members alone say who comes in.
    #[error("nobody enrols itself here: the access policy is {0:?}, not public")]
    NotPublic(Access),
    /// A member has as many listening units as it may.
    #[error("{0} has {UNITS_OF_ONE_MAX} listening units: revoke one first")]
    TooManyUnits(Address),
    /// Two reports that show no fraud, or not this vehicle's, or one that was dealt with.
    #[error("the reports are no proof against {0}")]
    NoProof(KeyId),
    /// What does not convict the member that it is held against.
    #[error(transparent)]
    Acquitted(#[from] Acquittal),
    /// A complaint that nobody listens to.
    #[error(transparent)]
    Unheard(#[from] Unheard),
    /// Nothing that members could decide, or have.
    #[error(transparent)]
    Improper(#[from] Improper),
    /// Another vehicle, enrolled now or once, has this id.
    #[error("a vehicle with the key id {0} was enrolled before")]
    IdTaken(KeyId),
    /// No such vehicle, or its enrolment has ended.
    #[error("{0} is not enrolled as a vehicle")]
    NotEnrolled(KeyId),
}

/// Executes one transaction; what is refused is not done. Out: whether it was, and what followed.
pub(crate) fn transact(
    state: &mut State,
    height: Height,
    transaction: &Verified<Transaction>,
) -> Vec<Output> {
    let mut outputs = Vec::new();
    let done = execute(state, height, transaction, &mut outputs).is_ok();
    let digest = transaction.digest();
    outputs.insert(0, Output::Transacted { digest, done });
    outputs
}

/// Executes a transaction whose signature was checked.
pub(crate) fn execute(
    state: &mut State,
    height: Height,
    transaction: &Transaction,
    outputs: &mut Vec<Output>,
) -> Result<(), Rejected> {
    let account = transaction.from.address()?;
    let expected = state.account(&account).nonce;
    if transaction.nonce != expected {
        let found = transaction.nonce;
        return Err(Rejected::Nonce {
            account,
            expected,
            found,
        });
    }
    match &transaction.action {
        &Action::Transfer { to, amount } => transfer(state, account, to, amount)?,
        Action::Enrol(enrolment) => enrol(state, account, enrolment, height)?,
        &Action::Revoke { vehicle } => revoke(state, account, vehicle)?,
        Action::Accuse { one, other } => accuse(state, account, one, other, outputs)?,
        Action::SelfEnrol => access::enrol_itself(state, transaction.from, account, height)?,
        Action::Blame(evidence) => {
            require_member(state, account)?;
            misconduct::blame(state, height, evidence, outputs)?;
        }
        Action::Complain(complaint) => {
            require_member(state, account)?;
            withheld::complain(state, account, height, complaint, outputs)?;
        }
        Action::Propose { change, from } => {
            require_member(state, account)?;
            proposal::propose(state, account, change, *from, height)?;
        }
        Action::Approve { proposal } => {
            require_member(state, account)?;
            proposal::approve(state, account, *proposal, height)?;
        }
        Action::Withdraw { proposal } => {
            require_member(state, account)?;
            proposal::withdraw(state, account, *proposal)?;
        }
    }
    let mut sender = state.account(&account);
    sender.nonce = sender.nonce.saturating_add(1);
    state.accounts.insert(account, sender);
    Ok(())
}

impl State {
    /// What the ledger would say to a transaction whose signature was checked, were it the next one to be executed: for
    /// whoever wants to know before sending it. Cost: what executing it costs.
    ///
    /// # Errors
    ///
    /// [`Rejected`], the reason why it would not be done.
    pub fn rehearse(&self, height: Height, transaction: &Transaction) -> Result<(), Rejected> {
        // The tables are shared until they are changed.
        execute(&mut self.clone(), height, transaction, &mut Vec::new())
    }
}

fn transfer(state: &mut State, from: Address, to: Address, amount: Amount) -> Result<(), Rejected> {
    spend(state, from, amount)?;
    // Read after the sender was written, so that who pays himself has what he had.
    let mut receiver = state.account(&to);
    receiver.balance = sum(receiver.balance, amount);
    state.accounts.insert(to, receiver);
    Ok(())
}

/// Takes from an account what it has, vested pay included.
pub(crate) fn spend(state: &mut State, from: Address, amount: Amount) -> Result<(), Rejected> {
    let now = state.books().epoch;
    let held = sum(state.account(&from).balance, vesting::vested(state, &from, now));
    let overdrawn = Rejected::Overdrawn {
        account: from,
        held,
        wanted: amount,
    };
    let left = held.checked_sub(amount).ok_or(overdrawn)?;
    if state.vehicle_address(&from.key_id()) == Some(from) {
        vesting::settle(state, &from.key_id(), now);
    }
    let mut sender = state.account(&from);
    sender.balance = left;
    state.accounts.insert(from, sender);
    Ok(())
}

fn enrol(state: &mut State, sender: Address, enrolment: &Enrolment, height: Height) -> Result<(), Rejected> {
    require_member(state, sender)?;
    if let Some(operator) = enrolment.role.operator().filter(|&operator| operator != sender) {
        return Err(Rejected::NotItsOperator { sender, operator });
    }
    if enrolment.role.is_unit() && state.units_of(sender) >= UNITS_OF_ONE_MAX {
        return Err(Rejected::TooManyUnits(sender));
    }
    let address = enrolment.key.address()?;
    if state.vehicles.contains(&address.key_id()) {
        return Err(Rejected::IdTaken(address.key_id()));
    }
    state.enrol(enrolment, address, Some(sender), height);
    Ok(())
}

/// Whoever asked for it ends it alone; what belongs to nobody, the members end together ([`Change::Revoke`]).
///
/// [`Change::Revoke`]: milepost_wire::Change::Revoke
fn revoke(state: &mut State, sender: Address, id: KeyId) -> Result<(), Rejected> {
    let enrolled = state.vehicle(&id).filter(|vehicle| !vehicle.revoked);
    let operator = enrolled.ok_or(Rejected::NotEnrolled(id))?.operator();
    if operator != Some(sender) {
        return Err(Rejected::NotItsToRevoke { vehicle: id, sender });
    }
    state.revoke(id);
    Ok(())
}

/// Two signed reports speak for themselves: the vehicle is quarantined by rule.
fn accuse(
    state: &mut State,
    sender: Address,
    one: &SignedReport,
    other: &SignedReport,
    outputs: &mut Vec<Output>,
) -> Result<(), Rejected> {
    require_member(state, sender)?;
    let (vehicle, ground) = quarantine::prove(state, one, other)?;
    let now = Moment::of_block(state);
    let imposed = quarantine::impose(state, vehicle, ground, now.epoch, now);
    outputs.push(imposed.ok_or(Rejected::NoProof(vehicle))?);
    Ok(())
}

fn require_member(state: &State, sender: Address) -> Result<(), Rejected> {
    match state.members().get(&sender) {
        Some(_) => Ok(()),
        None => Err(Rejected::NotAMember(sender)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Town;
    use milepost_wire::{PublicKey, Role, SecretKey};

    fn run(state: &mut State, key: &SecretKey, nonce: u64, action: Action) -> Result<(), Rejected> {
        let from = key.public();
        let transaction = Transaction { from, nonce, action };
        let before = state.tree_entries().collect::<Vec<_>>();
        let result = execute(state, Height(1), &transaction, &mut Vec::new());
        if result.is_err() {
            assert_eq!(
                state.tree_entries().collect::<Vec<_>>(),
                before,
                "on Err, nothing has moved"
            );
        }
        result
    }

    fn give(state: &mut State, to: Address, micro: u64) {
        state.credit(to, Amount::from_micro(micro));
    }

    #[test]
    fn a_transfer_moves_what_is_there_and_no_more() {
        let town = Town::new(2);
        let mut state = State::genesis(&town.genesis);
        let (sender, receiver) = (&town.keys[0], town.keys[1].address());
        give(&mut state, sender.address(), 10);
        let transfer = |micro| Action::Transfer {
            to: receiver,
            amount: Amount::from_micro(micro),
        };
        assert!(matches!(
            run(&mut state, sender, 0, transfer(11)),
            Err(Rejected::Overdrawn { .. })
        ));
        assert_eq!(run(&mut state, sender, 0, transfer(10)), Ok(()));
        assert_eq!(state.account(&receiver).balance, Amount::from_micro(10));
        assert_eq!(state.account(&sender.address()).balance, Amount::ZERO);
    }

    #[test]
    fn the_same_transaction_is_executed_once() {
        let town = Town::new(1);
        let mut state = State::genesis(&town.genesis);
        let key = &town.keys[0];
        give(&mut state, key.address(), 10);
        let to_self = Action::Transfer {
            to: key.address(),
            amount: Amount::from_micro(4),
        };
        assert_eq!(run(&mut state, key, 0, to_self.clone()), Ok(()));
        assert_eq!(state.account(&key.address()).balance, Amount::from_micro(10));
        assert!(matches!(
            run(&mut state, key, 0, to_self),
            Err(Rejected::Nonce {
                expected: 1,
                found: 0,
                ..
            })
        ));
    }

    #[test]
    fn a_member_enrols_roadside_sensors_of_its_own_alone() {
        let town = Town::new(1);
        let mut state = State::genesis(&town.genesis);
        let sensor = SecretKey::from_seed("sensor", 1);
        let [member, other] = [&town.members[0], &town.members[1]];
        let enrol = |operator: &SecretKey| {
            Action::Enrol(Enrolment {
                key: sensor.public(),
                group: 9,
                role: Role::Anchor {
                    operator: operator.address(),
                },
            })
        };
        assert!(matches!(
            run(&mut state, member, 0, enrol(other)),
            Err(Rejected::NotItsOperator { .. })
        ));
        assert_eq!(run(&mut state, member, 0, enrol(member)), Ok(()));
        assert_eq!(state.books().vehicles, 1, "no vehicle");
        let vehicle = sensor.key_id();
        assert!(matches!(
            run(&mut state, other, 0, Action::Revoke { vehicle }),
            Err(Rejected::NotItsToRevoke { .. })
        ));
        assert_eq!(run(&mut state, member, 1, Action::Revoke { vehicle }), Ok(()));
        assert_eq!(state.books().vehicles, 1);
        assert_eq!(state.check(), Ok(()));
    }

    fn unit(seed: u64, operator: &SecretKey) -> Action {
        Action::Enrol(Enrolment {
            key: SecretKey::from_seed("unit", seed).public(),
            group: 0,
            role: Role::Unit {
                operator: operator.address(),
            },
        })
    }

    #[test]
    fn a_member_has_up_to_sixteen_units_of_its_own() {
        let town = Town::new(1);
        let mut state = State::genesis(&town.genesis);
        let [member, other] = [&town.members[0], &town.members[1]];
        assert!(matches!(
            run(&mut state, member, 0, unit(0, other)),
            Err(Rejected::NotItsOperator { .. })
        ));
        let count = UNITS_OF_ONE_MAX as u64;
        for nth in 0..count {
            assert_eq!(run(&mut state, member, nth, unit(nth, member)), Ok(()));
        }
        assert_eq!(
            run(&mut state, member, count, unit(count, member)),
            Err(Rejected::TooManyUnits(member.address()))
        );
        assert_eq!(
            run(&mut state, other, 0, unit(count, other)),
            Ok(()),
            "another's count for itself"
        );
        let vehicle = SecretKey::from_seed("unit", 3).key_id();
        assert_eq!(run(&mut state, member, count, Action::Revoke { vehicle }), Ok(()));
        assert_eq!(run(&mut state, member, count + 1, unit(99, member)), Ok(()));
        assert_eq!(state.check(), Ok(()));
    }

    #[test]
    fn a_unit_works_for_its_operator_as_long_as_both_are_what_they_were() {
        let town = Town::new(1);
        let mut state = State::genesis(&town.genesis);
        let member = &town.members[0];
        let key = SecretKey::from_seed("unit", 5);
        let author = key.address();
        assert_eq!(state.provider(&author), None);
        assert_eq!(state.provider(&member.address()), Some(member.address()));
        assert_eq!(run(&mut state, member, 0, unit(5, member)), Ok(()));
        assert_eq!(state.provider(&author), Some(member.address()));
        let mut another = author;
        another.0[0] ^= 1;
        assert_eq!(another.key_id(), author.key_id());
        assert_eq!(state.provider(&another), None, "of another key with this id");
        assert_eq!(
            state.provider(&town.keys[0].address()),
            None,
            "a vehicle is no unit"
        );

        let mut without = state.clone();
        let rest = without.members().to_vec().into_iter();
        let rest = rest.filter(|left| left.key != member.public()).collect();
        without.set_members(milepost_wire::Members::new(rest).expect("three"));
        assert_eq!(without.provider(&author), None, "its operator has no vote");

        let vehicle = author.key_id();
        assert_eq!(run(&mut state, member, 1, Action::Revoke { vehicle }), Ok(()));
        assert_eq!(state.provider(&author), None);
    }

    #[test]
    fn what_a_unit_hears_is_its_operators_share_and_what_it_says_itself_is_not_heard() {
        use crate::{BlockInput, HeardBatch};
        let town = Town::new(2);
        let mut state = State::genesis(&town.genesis);
        let (member, key) = (&town.members[2], SecretKey::from_seed("unit", 1));
        assert_eq!(run(&mut state, member, 0, unit(1, member)), Ok(()));
        let now = town.at(1_000);
        let seen = || {
            vec![crate::testing::seen(
                crate::testing::cell(1),
                0,
                crate::testing::speed(1_000),
            )]
        };
        let said = town.report(0, 1, now, seen());
        let own = milepost_wire::Report {
            vehicle: key.key_id(),
            ..(*said).clone()
        };
        let own = milepost_wire::Signed::sign(own, &town.genesis.chain, &key);
        let outputs = state.apply(&BlockInput {
            height: Height(2),
            time: now,
            transactions: &[],
            batches: &[HeardBatch {
                author: key.address(),
                reports: &[said, own],
            }],
        });
        let receipts = outputs.iter().filter_map(|output| match output {
            Output::Receipt(receipt) => Some((receipt.vehicle, receipt.outcome)),
            _ => None,
        });
        use milepost_wire::output::Outcome;
        let mut expected = vec![
            (town.keys[0].key_id(), Outcome::Counted),
            (key.key_id(), Outcome::NotEnrolled),
        ];
        expected.sort_by_key(|(vehicle, _)| *vehicle);
        assert_eq!(receipts.collect::<Vec<_>>(), expected);
        let operators: Vec<_> = state
            .open
            .sightings
            .iter()
            .map(|(_, sighting)| sighting.operator)
            .collect();
        assert_eq!(operators, [member.address()]);
    }

    #[test]
    fn members_alone_enrol_and_revoke() {
        let town = Town::new(1);
        let mut state = State::genesis(&town.genesis);
        let newcomer = SecretKey::from_seed("newcomer", 1);
        let enrol = |key| {
            Action::Enrol(Enrolment {
                key,
                group: 9,
                role: Role::Vehicle,
            })
        };
        let revoke = Action::Revoke {
            vehicle: newcomer.key_id(),
        };
        let member = &town.members[0];
        assert!(matches!(
            run(&mut state, &town.keys[0], 0, enrol(newcomer.public())),
            Err(Rejected::NotAMember(_))
        ));
        assert!(matches!(
            run(&mut state, member, 0, enrol(PublicKey([7; 33]))),
            Err(Rejected::Key(_))
        ));
        assert_eq!(run(&mut state, member, 0, enrol(newcomer.public())), Ok(()));
        assert_eq!(state.books().vehicles, 2);
        assert!(matches!(
            run(&mut state, &town.keys[0], 0, revoke.clone()),
            Err(Rejected::NotItsToRevoke { .. })
        ));
        for other in &town.members[1..] {
            assert!(matches!(
                run(&mut state, other, 0, revoke.clone()),
                Err(Rejected::NotItsToRevoke { .. })
            ));
        }
        let vehicle = town.keys[0].key_id();
        assert!(
            matches!(
                run(&mut state, member, 1, Action::Revoke { vehicle }),
                Err(Rejected::NotItsToRevoke { .. })
            ),
            "what all began with is no one member's"
        );
        assert_eq!(run(&mut state, member, 1, revoke.clone()), Ok(()));
        assert_eq!(
            run(&mut state, member, 2, revoke),
            Err(Rejected::NotEnrolled(newcomer.key_id()))
        );
        assert_eq!(
            run(&mut state, member, 2, enrol(newcomer.public())),
            Err(Rejected::IdTaken(newcomer.key_id())),
            "for good"
        );
        assert_eq!(state.check(), Ok(()));
    }
}
