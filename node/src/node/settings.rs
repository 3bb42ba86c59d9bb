//! How long does a member wait for what?

use std::time::Duration;

use malachite_types::LinearTimeouts;
use serde::{Deserialize, Serialize};

/// How long a member waits for what. In `rsu.toml` under `[node]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The least time between two blocks, in milliseconds.
    pub block_interval_ms: u64,
    /// After the first batch or transaction that a quiet ledger has to decide, others may join it for so many milliseconds:
    /// whatever comes a moment after a block was begun waits for a whole interval.
    pub gather_ms: u64,
    /// Without anything to decide, a block is made after so many milliseconds: quiet roads wear out no flash.
    pub heartbeat_ms: u64,
    /// A block whose time is further ahead of one's own clock than so many milliseconds waits.
    pub drift_ms: u64,
    /// How long a proposal may take in the first round, in milliseconds.
    pub propose_ms: u64,
    /// How long a proposal may take of a member that is not there, as far as zenoh's liveliness tells, in milliseconds.
    pub absent_ms: u64,
    /// How long prevotes, and then precommits, may take in the first round, in milliseconds.
    pub vote_ms: u64,
    /// By how much each of these grows in each further round, in milliseconds.
    pub round_delta_ms: u64,
    /// The longest that any of them grows, in milliseconds.
    pub timeout_max_ms: u64,
    /// After so many milliseconds without progress, votes are sent again.
    pub rebroadcast_ms: u64,
    /// How often a member tells how far it has come, in milliseconds.
    pub status_ms: u64,
    /// After so many milliseconds, what was fetched and did not come is fetched again.
    pub refetch_ms: u64,
    /// A member that did not hand out a batch that it acknowledged is asked again after so many milliseconds, six times,
    /// before this one complains of it.
    pub demand_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            block_interval_ms: 500,
            gather_ms: 50,
            heartbeat_ms: 10_000,
            drift_ms: 2_000,
            propose_ms: 1_000,
            absent_ms: 200,
            vote_ms: 500,
            round_delta_ms: 250,
            timeout_max_ms: 5_000,
            rebroadcast_ms: 700,
            status_ms: 1_000,
            refetch_ms: 400,
            demand_ms: 5_000,
        }
    }
}

impl Settings {
    pub(super) fn timeouts(&self) -> LinearTimeouts {
        let (vote, delta) = (
            Duration::from_millis(self.vote_ms),
            Duration::from_millis(self.round_delta_ms),
        );
        LinearTimeouts {
            propose: Duration::from_millis(self.propose_ms),
            propose_delta: delta,
            prevote: vote,
            prevote_delta: delta,
            precommit: vote,
            precommit_delta: delta,
            rebroadcast: Duration::from_millis(self.rebroadcast_ms),
            max_timeout: Duration::from_millis(self.timeout_max_ms),
        }
    }
}
