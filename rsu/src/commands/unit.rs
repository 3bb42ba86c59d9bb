//! `milepost-rsu unit`: who may pass on reports without a vote.

use clap::Subcommand;
use milepost_wire::transaction::Enrolment;
use milepost_wire::{Action, KeyId, PublicKey, Role};

use super::ask::Ask;
use super::vehicle::tell;
use super::{Outcome, Sign};

/// What is done about listening units.
#[derive(Subcommand)]
pub(crate) enum Unit {
    /// Lists them, and for whom they work.
    List {
        #[command(flatten)]
        ask: Ask,
    },
    /// Lets a unit that follows pass on what it hears, in batches that count as this member's: at most 16 of them.
    Enrol {
        /// The unit's public key, as `milepost-rsu join` prints it: 66 hexadecimal digits.
        #[arg(long)]
        key: PublicKey,
        #[command(flatten)]
        sign: Sign,
    },
    /// Ends that for good. The unit goes on following; it cannot be enrolled again under its key.
    Revoke {
        /// Which: 16 hexadecimal digits.
        keyid: KeyId,
        #[command(flatten)]
        sign: Sign,
    },
}

impl Unit {
    pub(crate) fn execute(self) -> Outcome {
        match self {
            Self::List { ask } => ask.units(),
            Self::Enrol { key, sign } => {
                let signer = sign.signer()?;
                let operator = signer.address();
                let enrolment = Enrolment {
                    key,
                    // It says nothing of its own, so it vouches for nobody.
                    group: 0,
                    role: Role::Unit { operator },
                };
                let done = signer.submit(Action::Enrol(enrolment))?;
                tell(&sign, key.address()?.key_id(), "enrolled", done)
            }
            Self::Revoke { keyid, sign } => {
                let done = sign.signer()?.submit(Action::Revoke { vehicle: keyid })?;
                tell(&sign, keyid, "revoked", done)
            }
        }
    }
}
