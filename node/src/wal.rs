//! What must consensus remember of a height that is not decided yet?
//!
//! Every vote, proposal, polka and timeout that moved it, in order, so that a member which restarts says again
//! what it said before and nothing else. An entry is durable before anything that follows from it leaves the
//! node.

use malachite_core::{Input, ProposedValue};
use malachite_types::{Round, Timeout, TimeoutKind, Validity, ValueOrigin};
use milepost_wire::{Address, DecodeError, Hash, Height, Message, codec};
use wincode::{SchemaRead, SchemaWrite};

use crate::context::{self, BlockId, Context, number};
use crate::message::{PeerMessage, Polka, Proposal, Vote};

/// One thing that moved consensus.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
#[wincode(tag_encoding = "u8")]
pub(crate) enum Entry {
    Vote(Vote),
    Proposal(Proposal),
    Polka(Polka),
    Timeout {
        step: Step,
        round: u32,
    },
    Value {
        height: Height,
        round: u32,
        valid_round: Option<u32>,
        proposer: Address,
        value: Hash,
        valid: bool,
    },
}

/// The timeouts that the log keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
#[wincode(tag_encoding = "u8")]
pub(crate) enum Step {
    Propose,
    Prevote,
    Precommit,
}

impl Entry {
    /// The entry for an input that the engine wants kept; `None` for one that it never asks to keep.
    pub(crate) fn of(input: &Input<Context>) -> Option<Self> {
        Some(match input {
            Input::Vote(vote) => Self::Vote(vote.into()),
            Input::Proposal(proposal) => Self::Proposal(proposal.into()),
            Input::PolkaCertificate(polka) => Self::Polka(polka.into()),
            Input::TimeoutElapsed(timeout) => {
                let step = match timeout.kind {
                    TimeoutKind::Propose => Step::Propose,
                    TimeoutKind::Prevote => Step::Prevote,
                    TimeoutKind::Precommit => Step::Precommit,
                    TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => return None,
                };
                Self::Timeout {
                    step,
                    round: number(timeout.round),
                }
            }
            Input::ProposedValue(value, _) => Self::Value {
                height: value.height.0,
                round: number(value.round),
                valid_round: value.valid_round.as_u32(),
                proposer: value.proposer.0,
                value: value.value.0,
                valid: value.validity.to_bool(),
            },
            Input::StartHeight(..)
            | Input::RoundCertificate(_)
            | Input::Propose(_)
            | Input::SyncValueResponse(_) => {
                return None;
            }
        })
    }

    /// The input that is fed again after a restart.
    pub(crate) fn into_input(self) -> Input<Context> {
        match self {
            Self::Vote(vote) => Input::Vote(vote.into()),
            Self::Proposal(proposal) => Input::Proposal(proposal.into()),
            Self::Polka(polka) => Input::PolkaCertificate(polka.into()),
            Self::Timeout { step, round } => {
                let kind = match step {
                    Step::Propose => TimeoutKind::Propose,
                    Step::Prevote => TimeoutKind::Prevote,
                    Step::Precommit => TimeoutKind::Precommit,
                };
                Input::TimeoutElapsed(Timeout::new(Round::new(round), kind))
            }
            Self::Value {
                height,
                round,
                valid_round,
                proposer,
                value,
                valid,
            } => Input::ProposedValue(
                ProposedValue {
                    height: context::Height(height),
                    round: Round::new(round),
                    valid_round: valid_round.map_or(Round::Nil, Round::new),
                    proposer: context::Address(proposer),
                    value: BlockId(value),
                    validity: Validity::from_bool(valid),
                },
                ValueOrigin::Consensus,
            ),
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode_within(bytes, "log entry", PeerMessage::LEN_MAX)
    }
}
