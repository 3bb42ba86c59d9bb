//! What does a block put out?
//!
//! Everything that members computed from a block and that somebody may want proved: estimates, receipts,
//! scores, payments. Outputs are the leaves under the header's outputs root; none is needed to go on.

use serde::Serialize;
use wincode::{SchemaRead, SchemaWrite};

use crate::codec::Message;
use crate::payout::Purse;
use crate::state::Ground;
use crate::time::{Epoch, Slot};
use crate::vote::Step;
use crate::{Address, Amount, Cell, Change, Hash, Height, KeyId, Kind, ProposalId, Sequence, encode, merkle};

/// What an estimate is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead, Serialize)]
pub struct Item {
    /// Which slot.
    pub slot: Slot,
    /// Which piece of road.
    pub cell: Cell,
    /// Which kind.
    pub kind: Kind,
}

/// One consequence of a block.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize)]
#[wincode(tag_encoding = "u8")]
#[serde(tag = "output", rename_all = "snake_case")]
pub enum Output {
    /// What became of a report.
    Receipt(Receipt),
    /// What became of a transaction.
    Transacted {
        /// What the sender signed.
        digest: Hash,
        /// Whether it was done.
        done: bool,
    },
    /// A figure of the final picture.
    Estimate(Estimate),
    /// How one vehicle's word on one item was scored.
    Score(Score),
    /// What one vehicle was paid for an epoch.
    Payment(Payment),
    /// What one roadside unit's operator was paid for an epoch.
    OperatorPayment {
        /// Which epoch.
        epoch: Epoch,
        /// The unit.
        operator: Address,
        /// Items it helped to serve, weighted by need, in [`crate::state::Q`].
        served: u64,
        /// Its reputation as the owner of roadside sensors, by which `served` is weighed, in
        /// [`crate::state::Q`].
        reputation: u32,
        /// What it got.
        amount: Amount,
    },
    /// An epoch's sums.
    EpochClosed(EpochClosed),
    /// What became of the bond of a claim of danger, or of a part of it.
    Bond(Bond),
    /// A vehicle's reports no longer count.
    Quarantined {
        /// The epoch that is to blame.
        epoch: Epoch,
        /// Which one.
        vehicle: KeyId,
        /// Why.
        ground: Ground,
        /// What was destroyed of its unvested pay.
        slashed: Amount,
    },
    /// A vehicle's reports count again.
    Released {
        /// Since which epoch.
        epoch: Epoch,
        /// Which one.
        vehicle: KeyId,
    },
    /// A change that the members decided on holds from the next block on.
    Enacted {
        /// Which proposal it was.
        proposal: ProposalId,
        /// What changed.
        change: Change,
        /// Whether it could be done. Not so where an earlier change has left it without sense.
        done: bool,
    },
    /// A member was convicted.
    Sentenced {
        /// The epoch whose share it forfeits.
        epoch: Epoch,
        /// Who.
        member: Address,
        /// Of what.
        offence: Offence,
        /// Where it loses its vote: the first epoch in which it may have it back.
        jailed_until: Option<Epoch>,
    },
    /// What an operator lost of its share, to the treasury. It stands behind the payment of the rest.
    Forfeited {
        /// Of which epoch.
        epoch: Epoch,
        /// Who.
        operator: Address,
        /// How much.
        amount: Amount,
    },
    /// Members with more than a third of the power complained of one that did not hand out what it had acknowledged.
    Withheld {
        /// The epoch whose share it forfeits a part of, where the rules say so.
        epoch: Epoch,
        /// Of whom.
        member: Address,
        /// How many complained.
        complaints: u32,
    },
}

/// What a member was convicted of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize)]
#[wincode(tag_encoding = "u8")]
#[serde(rename_all = "snake_case")]
pub enum Offence {
    /// It signed two different things.
    Equivocation {
        /// Two words of which kind.
        step: Step,
        /// At which height.
        height: Height,
        /// In which round.
        round: u32,
    },
    /// It, or a listening unit of its own, made a batch with a report that its vehicle did not sign.
    BadBatch {
        /// Who signed the batch. A listening unit is revoked.
        author: Address,
        /// The author's own count of its batches.
        sequence: u64,
    },
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize)]
pub struct Receipt {
    /// Whose report.
    pub vehicle: KeyId,
    /// Which one.
    pub sequence: Sequence,
    /// What became of it.
    pub outcome: Outcome,
}

/// What the ledger made of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, SchemaWrite, SchemaRead, Serialize)]
#[wincode(tag_encoding = "u8")]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// At least one of its observations counts.
    Counted,
    /// It was heard before, or is too old to tell.
    HeardBefore,
    /// The vehicle is not enrolled, or no longer.
    NotEnrolled,
    /// The vehicle is quarantined.
    Quarantined,
    /// All of its observations are too old, too new, out of bounds, or repeat an item.
    NothingNew,
}

/// A figure of the final picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize)]
pub struct Estimate {
    /// Of what.
    pub item: Item,
    /// The value, in the kind's unit.
    pub value: i32,
    /// A 90 % interval's lower end.
    pub low: i32,
    /// A 90 % interval's upper end.
    pub high: i32,
    /// How many vehicles it rests on.
    pub vehicles: u32,
    /// Their weight, in [`crate::state::Q`].
    pub weight: u64,
    /// The weighted median distance from the value, in the kind's unit.
    pub spread: i32,
}

/// How one vehicle's word on one item was scored. Fractions are in [`crate::state::Q`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize)]
pub struct Score {
    /// Which epoch it is paid in.
    pub epoch: Epoch,
    /// Who.
    pub vehicle: KeyId,
    /// On what.
    pub item: Item,
    /// What it said.
    pub value: i32,
    /// What was known before.
    pub before: i32,
    /// What the others say, as a difference from `before`.
    pub others: i32,
    /// What was published when it said so, as a difference from `before`; a code as it is.
    pub known: i32,
    /// `a`: how much of its news the others tell, too; below 0 where they tell the contrary.
    pub agreement: i32,
    /// `b`: the same, had it told its news elsewhere.
    pub anywhere: i32,
    /// `q = a − b − [far off] − margin`.
    pub quality: i32,
    /// Independent groups that could judge.
    pub groups: u32,
    /// `κ`: how much their judgement counts.
    pub kappa: u32,
    /// How scarce reports of this cell are, 1 to 4.
    pub need: u32,
    /// This reporter's share where more came than are needed.
    pub share: u32,
    /// How fresh the observation was.
    pub freshness: u32,
    /// `v = need · share · freshness · κ`.
    pub worth: u32,
    /// `v · q`.
    pub points: i64,
    /// What counts as presence: `v`, where the vehicle was well reputed.
    pub presence: u32,
}

/// What one vehicle was paid for an epoch. Fractions and points are in [`crate::state::Q`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize)]
pub struct Payment {
    /// Which epoch.
    pub epoch: Epoch,
    /// Who.
    pub vehicle: KeyId,
    /// The epoch's points: the sum of its scores'.
    pub points: i64,
    /// What was owed from before (0 or negative).
    pub debt: i64,
    /// Its reputation at the epoch's end, before this epoch's reports moved it.
    pub reputation: u32,
    /// What its points count for: reputation squared.
    pub multiplier: u32,
    /// `max(0, debt + points) · multiplier`.
    pub useful: u64,
    /// The worth of its well-reputed reports: the sum of its scores' presence.
    pub presence: u64,
    /// `presence · multiplier`; 0 for whom was of no use.
    pub base: u64,
    /// Micro-tokens by usefulness.
    pub by_use: Amount,
    /// Micro-tokens by presence.
    pub by_base: Amount,
    /// What was paid: the sum of the two, within the cap.
    pub amount: Amount,
}

/// An epoch's sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize)]
pub struct EpochClosed {
    /// Which epoch.
    pub epoch: Epoch,
    /// Tokens made for it.
    pub minted: Amount,
    /// Of the pool for vehicles (with what was carried), what was paid.
    pub to_vehicles: Amount,
    /// Paid to operators.
    pub to_operators: Amount,
    /// Put into the treasury.
    pub to_treasury: Amount,
    /// Left for the next epoch.
    pub carry: Amount,
    /// What vehicles shared.
    pub purse: Purse,
    /// All vehicles' useful points.
    pub useful_total: u64,
    /// All vehicles' base points.
    pub base_total: u64,
    /// Merkle root of (address, cumulative amount).
    pub payout_root: Hash,
}

/// A movement of tokens that a vehicle stakes on its word that there is a danger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize)]
pub struct Bond {
    /// In which epoch.
    pub epoch: Epoch,
    /// Who claimed the danger.
    pub claimant: KeyId,
    /// Where, and in which slot.
    pub item: Item,
    /// What became of it.
    pub fate: Fate,
    /// How much of it.
    pub amount: Amount,
}

/// Where bonded tokens go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize)]
#[wincode(tag_encoding = "u8")]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// From the claimant into the bond.
    Locked,
    /// Back to the claimant.
    Returned,
    /// Out of existence: the claim was contradicted.
    Burned,
    /// To a vehicle that contradicted it.
    Awarded {
        /// Which one.
        to: KeyId,
    },
}

impl Output {
    /// The output's leaf under the outputs root.
    pub fn leaf(&self) -> Hash {
        merkle::leaf(&encode(self))
    }

    /// The vehicle that it concerns, where it concerns one.
    pub fn vehicle(&self) -> Option<KeyId> {
        match self {
            Self::Receipt(receipt) => Some(receipt.vehicle),
            Self::Score(score) => Some(score.vehicle),
            Self::Payment(payment) => Some(payment.vehicle),
            Self::Bond(bond) => Some(match bond.fate {
                Fate::Awarded { to } => to,
                Fate::Locked | Fate::Returned | Fate::Burned => bond.claimant,
            }),
            Self::Quarantined { vehicle, .. } | Self::Released { vehicle, .. } => Some(*vehicle),
            _ => None,
        }
    }
}

impl Message for Output {
    const NAME: &'static str = "output";
    const LEN_MAX: usize = 512;
}

/// The outputs root of a block.
pub fn root(outputs: &[Output]) -> Hash {
    merkle::root(&outputs.iter().map(Output::leaf).collect::<Vec<_>>())
}
