//! What does a member sign when it votes?
//!
//! The digest binds the chain, the kind of vote, height, round, value and voter. Precommits over one block are
//! what a certificate is made of, so a light client needs this and nothing else of consensus.

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use crate::{Address, ChainId, Hash, Height};

/// The steps of a Tendermint round that a member signs.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead, Serialize, Deserialize,
)]
#[wincode(tag_encoding = "u8")]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The proposer's word.
    Propose,
    /// The first vote.
    Prevote,
    /// The second vote: more than two thirds of these decide.
    Precommit,
}

/// The digest that `voter` signs. `value` is `None` for a vote for nothing.
pub fn digest(
    chain: &ChainId,
    step: Step,
    height: Height,
    round: u32,
    value: Option<Hash>,
    voter: Address,
) -> Hash {
    let step = [match step {
        Step::Propose => 0,
        Step::Prevote => 1,
        Step::Precommit => 2,
    }];
    let value = value.map_or([0; 33], |hash| {
        let mut tagged = [1; 33];
        tagged[1..].copy_from_slice(&hash.0);
        tagged
    });
    Hash::of(
        "vote",
        &[
            &step,
            &height.0.to_le_bytes(),
            &round.to_le_bytes(),
            &value,
            &voter.0,
            chain.as_str().as_bytes(),
        ],
    )
}

/// The digest that a proposer signs: a proposal also names the round in which its value was last seen to have
/// a quorum of prevotes, or −1.
pub fn proposal_digest(
    chain: &ChainId,
    height: Height,
    round: u32,
    valid_round: i64,
    value: Hash,
    voter: Address,
) -> Hash {
    let vote = digest(chain, Step::Propose, height, round, Some(value), voter);
    Hash::of("proposal", &[&vote.0, &valid_round.to_le_bytes()])
}
