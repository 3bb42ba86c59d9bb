//! What does a member do at its roadside unit that does not mean well by vehicles?
//!
//! In: a scenario's `[[insider]]`. Out: which reports its unit puts into its batches, and what it asks the ledger for.
//! [`CONDUCTS`] is the one list, and `milepost-sim behaviours` prints it. A member cannot change what a vehicle signed;
//! it can leave it out, claim to have heard what it did not, and vote.
//!
//! Not covered: lies in consensus ([`crate::fault`]).

use std::collections::BTreeMap;
use std::fmt;

use milepost_incentives::State;
use milepost_wire::transaction::{Action, Transaction};
use milepost_wire::{Address, Change, Hash, Height, KeyId, ProposalId, SecretKey};
use serde::{Deserialize, Serialize};

use crate::behaviour::Parameter;
use crate::rng::Rng;
use crate::scenario::minutes_ms;

/// A member that does not mean well. In a scenario: `[[insider]]` with `member`, `conduct`, and what else is set.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Insider {
    /// Which member, counted from 0.
    pub member: usize,
    /// What it does.
    pub conduct: Conduct,
    /// When it begins.
    #[serde(default)]
    pub from_minute: f64,
    /// The share of vehicles that are a rival's: whom it censors, or wants in quarantine.
    #[serde(default = "rivals_share")]
    pub rivals_share: f64,
}

/// What an insider does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conduct {
    /// Claims to have heard whatever any unit heard.
    ForgeReception,
    /// Leaves out what a rival's vehicles say.
    Censor,
    /// Proposes to put a rival's vehicles into quarantine, and approves whoever else does.
    Accuse,
}

impl fmt::Display for Conduct {
    /// As a scenario names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ForgeReception => "forge_reception",
            Self::Censor => "censor",
            Self::Accuse => "accuse",
        })
    }
}

/// A conduct, for people.
pub struct Spec {
    /// As a scenario names it.
    pub name: &'static str,
    /// What such a member does.
    pub about: &'static str,
    /// Its parameters.
    pub parameters: &'static [Parameter],
}

const RIVALS_SHARE: f64 = 0.1;

const fn rivals_share() -> f64 {
    RIVALS_SHARE
}

const RIVALS: &[Parameter] = &[Parameter {
    name: "rivals_share",
    default: RIVALS_SHARE,
    about: "the share of vehicles that are a rival's",
}];

/// Every conduct there is.
pub const CONDUCTS: &[Spec] = &[
    Spec {
        name: "forge_reception",
        about: "claims to have heard what other units heard, for the operators' share",
        parameters: &[],
    },
    Spec {
        name: "censor",
        about: "leaves out what a rival's vehicles say",
        parameters: RIVALS,
    },
    Spec {
        name: "accuse",
        about: "asks the members to put a rival's honest vehicles into quarantine, and approves of it",
        parameters: RIVALS,
    },
];

/// Whether a key of this number is a rival's vehicle, where this share is: the same for all insiders.
pub fn is_rival(key: usize, rivals_share: f64) -> bool {
    Rng::fork(0, "rival", key as u64).chance(rivals_share)
}

impl Insider {
    /// When it begins.
    pub fn from_ms(&self) -> u64 {
        minutes_ms(self.from_minute)
    }

    /// Whether it has begun by then.
    pub fn has_begun(&self, now_ms: u64) -> bool {
        self.from_ms() < now_ms
    }

    /// Whether its unit takes up a report of the vehicle of this number. `within_reach` is whether it could hear it.
    pub fn takes_up(&self, vehicle: usize, within_reach: bool) -> bool {
        match self.conduct {
            Conduct::ForgeReception => true,
            Conduct::Censor => within_reach && !is_rival(vehicle, self.rivals_share),
            Conduct::Accuse => within_reach,
        }
    }

    /// What it asks the ledger for in this block; `ids` are the vehicles by number. One at a time: an approval of what
    /// another insider proposed, or an accusation more.
    pub fn ask(&self, state: &State, key: &SecretKey, ids: &[KeyId]) -> Option<Transaction> {
        if self.conduct != Conduct::Accuse {
            return None;
        }
        let own = key.address();
        let action = self
            .to_approve(state, &own)
            .map(|proposal| Action::Approve { proposal })
            .or_else(|| self.to_propose(state, &own, ids))?;
        Some(Transaction {
            from: key.public(),
            nonce: state.account(&own).nonce,
            action,
        })
    }

    /// The first open proposal to quarantine a vehicle that it has not approved yet.
    fn to_approve(&self, state: &State, own: &Address) -> Option<ProposalId> {
        let accusations = state
            .proposals()
            .filter(|(_, open)| matches!(open.change, Change::Quarantine { .. }));
        accusations
            .map(|(id, _)| id)
            .find(|&id| state.approvals_of(id).iter().all(|(member, _)| member != own))
    }

    fn to_propose(&self, state: &State, own: &Address, ids: &[KeyId]) -> Option<Action> {
        let open: BTreeMap<KeyId, Address> = state
            .proposals()
            .filter_map(|(_, open)| match open.change {
                Change::Quarantine { vehicle, .. } => Some((vehicle, open.by)),
                _ => None,
            })
            .collect();
        if open.values().filter(|by| *by == own).count() >= milepost_incentives::OPEN_PROPOSALS_MAX {
            return None;
        }
        let is_free = |id: &KeyId| {
            state
                .vehicle(id)
                .is_some_and(|vehicle| vehicle.quarantine.is_none())
        };
        let vehicle = (0..)
            .zip(ids)
            .filter(|&(number, _)| is_rival(number, self.rivals_share))
            .map(|(_, id)| *id)
            .find(|id| is_free(id) && !open.contains_key(id))?;
        Some(Action::Propose {
            change: Change::Quarantine {
                vehicle,
                evidence: Hash::ZERO,
            },
            from: Height(0),
        })
    }
}
