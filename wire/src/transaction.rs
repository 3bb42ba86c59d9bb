//! What may be asked of the ledger, besides hearing reports?

use wincode::{SchemaRead, SchemaWrite};

use crate::codec::Message;
use crate::signed::Signed;
use crate::{
    Address, Amount, Change, Complaint, Evidence, Height, KeyId, ProposalId, PublicKey, SignedReport,
};

/// What a transaction asks for.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
#[wincode(tag_encoding = "u8")]
pub enum Action {
    /// Moves tokens from the sender's account.
    Transfer {
        /// Whose account they go to; it need not exist yet.
        to: Address,
        /// How many.
        amount: Amount,
    },
    /// Admits a vehicle, or a roadside sensor or listening unit of the sender's own. Members alone may ask.
    Enrol(Enrolment),
    /// Ends an enrolment for good. Whoever asked for it alone may ask: a member, or a vehicle that enrolled itself.
    Revoke {
        /// Which one.
        vehicle: KeyId,
    },
    /// Shows that a vehicle lies: two of its reports that cannot both be honest, under one sequence number or from two
    /// places where no car can have been. It is quarantined by rule. Members alone may ask.
    Accuse {
        /// One of the two.
        one: SignedReport,
        /// The other.
        other: SignedReport,
    },
    /// Proposes a change to the other members, and approves it. Members alone may ask.
    Propose {
        /// What shall change.
        change: Change,
        /// The first height that it shall hold for. Where the members take longer to approve, it takes force as
        /// soon as it can.
        from: Height,
    },
    /// Approves a proposal. Members alone may ask.
    Approve {
        /// Which one.
        proposal: ProposalId,
    },
    /// Takes one's approval back; whoever made the proposal so takes back the whole.
    Withdraw {
        /// Which one.
        proposal: ProposalId,
    },
    /// Shows that a member signed what no honest one does: two different things where it may sign one, or a batch with a
    /// report that its vehicle did not. It is sentenced by rule. Members alone may ask.
    Blame(Evidence),
    /// Enrols the sender's own key as a vehicle, for a bond, where the access policy is [`Access::Public`].
    ///
    /// [`Access::Public`]: crate::Access::Public
    SelfEnrol,
    /// Says that a member did not hand out a batch that it had acknowledged. Where members with more than a third of the
    /// power complain of one, that is recorded. Members alone may ask.
    Complain(Complaint),
}

/// What an enrolled key stands for.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    SchemaWrite,
    SchemaRead,
    serde::Serialize,
    serde::Deserialize,
)]
#[wincode(tag_encoding = "u8")]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A vehicle: it is paid for what it reports.
    #[default]
    Vehicle,
    /// A sensor at the roadside (radar, loop, camera). It reports like a vehicle, outweighs one, and earns nothing
    /// but its operator's good name.
    Anchor {
        /// The member that owns it.
        operator: Address,
    },
    /// A roadside unit without a vote. It says nothing of its own: it passes on what it hears, in batches that count as
    /// its operator's.
    Unit {
        /// The member that it works for.
        operator: Address,
    },
}

impl Role {
    /// The owner, where it is a roadside sensor or a unit.
    pub const fn operator(&self) -> Option<Address> {
        match self {
            Self::Vehicle => None,
            Self::Anchor { operator } | Self::Unit { operator } => Some(*operator),
        }
    }

    /// The same of another owner; a vehicle stays a vehicle.
    #[must_use]
    pub const fn of(self, operator: Address) -> Self {
        match self {
            Self::Vehicle => Self::Vehicle,
            Self::Anchor { .. } => Self::Anchor { operator },
            Self::Unit { .. } => Self::Unit { operator },
        }
    }

    /// Whether it is a unit without a vote.
    pub const fn is_unit(&self) -> bool {
        matches!(self, Self::Unit { .. })
    }
}

/// The admission of a vehicle, a roadside sensor or a listening unit.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    SchemaWrite,
    SchemaRead,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// Its key.
    pub key: PublicKey,
    /// What has one owner, vehicles and sensors alike, shares a group, and does not vouch for one another.
    pub group: u64,
    /// What it is.
    #[serde(default)]
    pub role: Role,
}

impl Enrolment {
    /// The group of all that enrolled itself.
    pub const OPEN_GROUP: u64 = u64::MAX;
}

/// A request that costs its sender a nonce.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Transaction {
    /// Who asks; the account is the key's address.
    pub from: PublicKey,
    /// How many transactions of this sender were executed before.
    pub nonce: u64,
    /// What is asked.
    pub action: Action,
}

/// A transaction as it travels.
pub type SignedTransaction = Signed<Transaction>;

impl Message for Transaction {
    const NAME: &'static str = "transaction";
    const LEN_MAX: usize = 4096;
}

impl Message for SignedTransaction {
    const NAME: &'static str = "signed transaction";
    const LEN_MAX: usize = Transaction::LEN_MAX + 64;
}
