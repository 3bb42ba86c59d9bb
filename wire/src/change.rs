//! What can the members decide together?
//!
//! A [`Change`] is proposed by one member and takes force once members with more than two thirds of the voting power
//! have approved: who votes, with what power and which key; the numbers of the rules; who may come in; which vehicles are
//! not heard.
//!
//! How proposals are counted, and when they take force: `milepost_incentives::proposal` and
//! docs/adr/0015-membership.md.

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use crate::{Address, Hash, KeyId, Member, PublicKey};

/// Which proposal: they are counted from 1, over the whole life of a chain.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    SchemaWrite,
    SchemaRead,
    Serialize,
    Deserialize,
)]
#[serde(transparent)]
pub struct ProposalId(pub u64);

impl std::fmt::Display for ProposalId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What the members decide on.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
#[wincode(tag_encoding = "u8")]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Gives a roadside unit a vote.
    AddMember(Member),
    /// Takes a member's vote.
    RemoveMember {
        /// Whose.
        member: Address,
    },
    /// Gives a member more, or less, power.
    SetPower {
        /// Whose.
        member: Address,
        /// From now on, at least 1.
        power: u64,
    },
    /// Lets a member go on under another key, with its name, its units and its sensors. Tokens stay where they are.
    SetKey {
        /// Under its key so far.
        member: Address,
        /// The one from now on.
        key: PublicKey,
    },
    /// Sets numbers of the rules: 1 to [`Setting::COUNT_MAX`] of them.
    SetParams(Vec<Setting>),
    /// Says who may come in, and who may read.
    SetAccess(Access),
    /// Puts a vehicle into quarantine, where no rule does and the members judge.
    Quarantine {
        /// Which one.
        vehicle: KeyId,
        /// SHA-256 of what the members were shown: logs, pictures, a report of the roadside units' checks.
        evidence: Hash,
    },
    /// Ends a vehicle's quarantine. Its record in the shadow must allow it.
    Release {
        /// Which one.
        vehicle: KeyId,
    },
    /// Ends an enrolment for good, whoever asked for it.
    Revoke {
        /// Whose.
        vehicle: KeyId,
    },
}

/// One number of the rules, by the name that it has in `genesis.json`; a number within another is `speed.near`, or
/// `class_bounds_cm_s.0`.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Which number: at most [`Setting::NAME_LEN_MAX`] bytes.
    pub name: String,
    /// What it shall be.
    pub value: u64,
}

impl Setting {
    /// The most numbers that are set by one change.
    pub const COUNT_MAX: usize = 8;
    /// The longest name, in bytes.
    pub const NAME_LEN_MAX: usize = 32;
}

/// Who may come in, and who may read.
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
    Serialize,
    Deserialize,
)]
#[wincode(tag_encoding = "u8")]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Members vote, those whom they enrol report, anyone may read.
    #[default]
    Consortium,
    /// As [`Access::Consortium`], and only members and those whom they enrolled may read.
    Private,
    /// As [`Access::Consortium`], and any key may enrol itself, with a bond.
    Public,
}
