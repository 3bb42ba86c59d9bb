//! What does the ledger remember?
//!
//! The keys and values of the authenticated tree: what a balance, a reputation or a road's last estimate looks
//! like to whoever checks a proof. How they change is `incentives`'.
//!
//! Fractions are in units of 1/65 536 ([`Q`]).

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use crate::time::{Epoch, Slot};
use crate::{
    Access, Address, Amount, Cell, Change, Hash, Height, KeyId, Kind, Member, ProposalId, PublicKey, Role,
    Timestamp, encode,
};

/// One, in the ledger's fixed-point numbers.
pub const Q: u64 = 65_536;

/// Under which key something stands in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
#[wincode(tag_encoding = "u8")]
pub enum StateKey {
    /// The ledger's own books: [`Books`].
    Books,
    /// An [`Account`].
    Account(Address),
    /// A [`Vehicle`].
    Vehicle(KeyId),
    /// A [`Road`].
    Road(Cell, Kind),
    /// An [`Operator`].
    Operator(Address),
    /// The [`Charter`].
    Charter,
    /// The numbers of the rules, as `milepost_incentives::Params`.
    Params,
    /// A [`crate::Member`] of the next height.
    Member(Address),
    /// A [`Proposal`] that is open.
    Proposal(ProposalId),
    /// Since which [`Height`] a member approves of an open proposal.
    Approval(ProposalId, Address),
    /// A [`Change`] that was decided on and takes force at a height.
    Scheduled(Height, ProposalId),
    /// A member's last [`Sentence`].
    Sentence(Address),
    /// What others complained of a member: [`Withheld`].
    Withheld(Address),
}

impl StateKey {
    /// The greatest length of a value, in bytes.
    pub const VALUE_LEN_MAX: usize = 1024;

    /// The bytes that are hashed to the key's place.
    pub fn bytes(&self) -> Vec<u8> {
        encode(self)
    }
}

/// What the ledger keeps about itself. `minted − burned` is what all accounts hold, plus `treasury`, `carry`
/// and what has not vested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Books {
    /// The epoch that is open.
    pub epoch: Epoch,
    /// The first slot that is not settled yet.
    pub slot: Slot,
    /// Tokens ever made.
    pub minted: Amount,
    /// Tokens ever destroyed.
    pub burned: Amount,
    /// What the consortium as a whole holds.
    pub treasury: Amount,
    /// What the last epochs left for the next one's vehicles.
    pub carry: Amount,
    /// Merkle root of (address, cumulative amount), in OpenZeppelin's standard format, as of the last epoch.
    pub payout_root: Hash,
    /// Vehicles enrolled and not revoked; roadside sensors and listening units are not counted.
    pub vehicles: u32,
}

/// What the consortium has settled about itself, beside its members and the numbers of its rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Charter {
    /// Who may come in, and who may read.
    pub access: Access,
    /// The newest proposal.
    pub newest: ProposalId,
}

/// A proposal that waits for members' approval.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Proposal {
    /// The member that made it.
    pub by: Address,
    /// What shall change.
    pub change: Change,
    /// The first height that it shall hold for.
    pub from: Height,
    /// In which block it was made.
    pub made_at: Height,
    /// The block time after which it is forgotten.
    pub until: Timestamp,
}

/// What follows from a member's having signed two different things.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Sentence {
    /// Whose share its operator forfeits: the epoch in which it was sentenced.
    pub epoch: Epoch,
    /// The first epoch in which it may have its vote back, where it lost it.
    pub until: Epoch,
    /// What it signed up to here has been dealt with.
    pub absolved: Height,
    /// How often it was sentenced, this time included.
    pub times: u32,
    /// The vote that it lost and did not get back.
    pub jailed: Option<Member>,
}

/// That members with more than a third of the power complained of one that did not hand out what it had acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Withheld {
    /// The epoch in which so many had, the last time.
    pub epoch: Epoch,
    /// In which block.
    pub height: Height,
    /// How often it came to that.
    pub times: u32,
}

/// What an address holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Account {
    /// What it can spend.
    pub balance: Amount,
    /// How many of its transactions were executed.
    pub nonce: u64,
}

/// A member as the owner of roadside sensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Operator {
    /// What all of its sensors' readings together say of it.
    pub standing: Standing,
}

/// An enrolled vehicle, roadside sensor or listening unit.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Vehicle {
    /// Its key.
    pub key: PublicKey,
    /// Its owner or fleet.
    pub group: u64,
    /// What it is.
    pub role: Role,
    /// Who asked for it, and may end it: a member, or it itself; nobody where it is in the genesis.
    pub enrolled_by: Option<Address>,
    /// What it put at stake when it enrolled itself.
    pub bond: Amount,
    /// Since when.
    pub enrolled_at: Height,
    /// Whether its enrolment has ended for good.
    pub revoked: bool,
    /// What its record says.
    pub standing: Standing,
    /// Whether its reports count.
    pub quarantine: Option<Quarantine>,
    /// Pay that can still be slashed, as of `vesting.since`.
    pub unvested: Amount,
    /// How the unvested pay is let go.
    pub vesting: Vesting,
    /// All that it was ever paid.
    pub earned: Amount,
}

/// The timetable by which pay reaches a vehicle's account: evenly, from epoch to epoch.
///
/// It is brought up to date whenever the vehicle is paid, spends or is judged, and not in between: see
/// [`Vehicle::vested`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Vesting {
    /// In how many epochs, in [`Q`], the last of it is let go.
    pub left: u32,
    /// The epoch at whose beginning this was so.
    pub since: Epoch,
    /// All that was ever let go.
    pub released: Amount,
    /// All that was ever slashed.
    pub slashed: Amount,
}

impl Vehicle {
    /// Who answers for it, where somebody does: a member, or it itself.
    pub fn operator(&self) -> Option<Address> {
        self.role.operator().or(self.enrolled_by)
    }

    /// How much of the unvested pay is let go by the beginning of epoch `now`. In quarantine, nothing is.
    pub fn vested(&self, now: Epoch) -> Amount {
        if self.quarantine.is_some() {
            return Amount::ZERO;
        }
        let elapsed = u64::from(now.0.saturating_sub(self.vesting.since.0)) * Q;
        if elapsed >= u64::from(self.vesting.left) {
            return self.unvested;
        }
        let part = u128::from(self.unvested.micro()) * u128::from(elapsed) / u128::from(self.vesting.left);
        Amount::from_micro(u64::try_from(part).unwrap_or(u64::MAX))
    }
}

/// A vehicle's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Standing {
    /// Weight of good reports, in [`Q`].
    pub good: u64,
    /// Weight of bad reports, in [`Q`].
    pub bad: u64,
    /// Points owed from earlier epochs, 0 or negative, in [`Q`].
    pub debt: i64,
    /// Reports that others' reports could judge.
    pub evaluated: u32,
}

impl Standing {
    /// `good / (good + bad)`, in [`Q`]; 0 without a record.
    pub fn reputation(&self) -> u32 {
        let all = u128::from(self.good) + u128::from(self.bad);
        (u128::from(self.good) * u128::from(Q))
            .checked_div(all)
            .map_or(0, |fraction| fraction as u32)
    }
}

/// A decision that a vehicle's reports no longer count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Quarantine {
    /// The epoch of the decision.
    pub since: Epoch,
    /// How often this vehicle was quarantined, this time included.
    pub times: u8,
    /// Why.
    pub ground: Ground,
}

/// Why a vehicle's reports no longer count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
#[wincode(tag_encoding = "u8")]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// A reputation below the limit.
    Reputation,
    /// One sequence number with two contents.
    TwoContents,
    /// Places where no car can have been one after the other.
    ImpossibleMotion,
    /// Dangers claimed that others, who drove by, did not see.
    FalseHazard,
    /// More than two thirds of the members' votes.
    Vote,
}

/// What is known about one kind of thing on one piece of road.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Road {
    /// The last published estimate, in the kind's unit.
    pub value: i32,
    /// The slot it is of.
    pub slot: Slot,
    /// Moving average of reporters per slot, in [`Q`].
    pub heard: u32,
    /// Moving average of the estimates: what the road is usually like.
    pub usual: i32,
    /// What `value` speaks for when the next slot is estimated, in average stays of a vehicle, in [`Q`].
    pub memory: u32,
    /// Moving average of how far words lay from what the others said, in the kind's unit ...
    pub deviation: u32,
    /// ... and over how many average stays of a vehicle, in [`Q`].
    pub judged: u32,
}
