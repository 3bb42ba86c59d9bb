//! Which rules are broken on purpose?
//!
//! A check that never fails proves nothing. Each [`Control`] breaks one rule that the ledger's safety rests on, in
//! the simulator and not in the node: in what a disk keeps, in what a member is handed, or in what the watch is
//! shown. The invariants must notice. A scenario names one as `control = "forget_log"`, a sweep as
//! `--control forget_log`.

use serde::{Deserialize, Serialize};

/// A rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Control {
    /// Disks lose at a crash what consensus logged, synced or not: members vote twice.
    ForgetLog,
    /// Disks report syncs that they did not make, so that outputs leave before they are durable.
    SpeakBeforeSync,
    /// Blocks that nobody proposed are taken as if their proposers had signed for them.
    UnsignedBodies,
    /// Whoever catches up believes every certificate.
    UncheckedCatchUp,
    /// The ledger executes a batch twice, as if it did not remember which reports it heard.
    DoublePay,
    /// Tokens appear that nobody made.
    MintedTokens,
    /// Two of four members run twins: more than a third of the power lies.
    TooManyTwins,
}

impl Control {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ForgetLog,
        Self::SpeakBeforeSync,
        Self::UnsignedBodies,
        Self::UncheckedCatchUp,
        Self::DoublePay,
        Self::MintedTokens,
        Self::TooManyTwins,
    ];

    /// As scenarios and the command line call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ForgetLog => "forget_log",
            Self::SpeakBeforeSync => "speak_before_sync",
            Self::UnsignedBodies => "unsigned_bodies",
            Self::UncheckedCatchUp => "unchecked_catch_up",
            Self::DoublePay => "double_pay",
            Self::MintedTokens => "minted_tokens",
            Self::TooManyTwins => "too_many_twins",
        }
    }
}
