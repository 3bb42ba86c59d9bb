//! `milepost-rsu vehicle`: who may report.

use clap::{Args, Subcommand};
use milepost_rsu::submit::Done;
use milepost_wire::transaction::Enrolment;
use milepost_wire::{Action, KeyId, PublicKey, Role};
use serde_json::json;

use super::ask::Ask;
use super::{Outcome, Sign};

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Vehicle {
    #[command(subcommand)]
    command: Option<Command>,
    /// Shows this vehicle's record: 16 hexadecimal digits.
    #[arg(required = true)]
    keyid: Option<KeyId>,
    #[command(flatten)]
    ask: Ask,
}

#[derive(Subcommand)]
enum Command {
    /// Lists who is enrolled, in the order of key ids.
    List {
        /// Begins after this one.
        #[arg(long, value_name = "KEYID")]
        after: Option<KeyId>,
        /// At most so many, and at most 1000.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        ask: Ask,
    },
    /// Admits a vehicle, or a roadside sensor of the member's own.
    Enrol {
        /// The vehicle's public key, as `milepost-obu address` prints it: 66 hexadecimal digits.
        #[arg(long)]
        key: PublicKey,
        /// What has one owner shares a group, and does not vouch for one another.
        #[arg(long)]
        group: u64,
        /// It is a roadside sensor of this member: it outweighs a vehicle, and earns nothing.
        #[arg(long)]
        sensor: bool,
        #[command(flatten)]
        sign: Sign,
    },
    /// Ends an enrolment for good, where this member asked for it. What others enrolled, or the genesis: `propose revoke`.
    Revoke {
        /// Which: 16 hexadecimal digits.
        keyid: KeyId,
        #[command(flatten)]
        sign: Sign,
    },
}

impl Vehicle {
    pub(crate) fn execute(self) -> Outcome {
        match (self.command, self.keyid) {
            (Some(Command::List { after, limit, ask }), _) => {
                let after = after.map_or_else(String::new, |after| format!("&after={after}"));
                ask.vehicles(&format!("/v1/vehicles?limit={limit}{after}"))
            }
            (
                Some(Command::Enrol {
                    key,
                    group,
                    sensor,
                    sign,
                }),
                _,
            ) => {
                let signer = sign.signer()?;
                let role = if sensor {
                    Role::Anchor {
                        operator: signer.address(),
                    }
                } else {
                    Role::Vehicle
                };
                let done = signer.submit(Action::Enrol(Enrolment { key, group, role }))?;
                tell(&sign, key.address()?.key_id(), "enrolled", done)
            }
            (Some(Command::Revoke { keyid, sign }), _) => {
                let done = sign.signer()?.submit(Action::Revoke { vehicle: keyid })?;
                tell(&sign, keyid, "revoked", done)
            }
            (None, Some(keyid)) => self.ask.show(&format!("/v1/vehicles/{keyid}")),
            (None, None) => anyhow::bail!("expected a key id, or list, enrol, revoke"),
        }
    }
}

pub(super) fn tell(sign: &Sign, vehicle: KeyId, what: &str, done: Done) -> Outcome {
    if sign.json {
        println!(
            "{}",
            json!({ "digest": done.digest, "height": done.height, "vehicle": vehicle, "done": what })
        );
    } else {
        println!("final       in block {}\n{what:<12}{vehicle}", done.height);
    }
    Ok(true)
}
