//! `milepost-rsu quarantine`: whose reports shall not count, and whose shall again.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use milepost_wire::{Action, Change, Hash, Height, KeyId, SignedReport, decode};
use serde_json::json;

use super::ask::Ask;
use super::govern::{Choice, propose};
use super::{Outcome, Sign};

#[derive(Subcommand)]
pub(crate) enum Quarantine {
    /// List the newest signed reports that this unit held to be impossible or unlikely, or that contradict another one under
    /// the same number: the grounds to propose, or prove, on.
    Evidence {
        /// Only of this vehicle: 16 hexadecimal digits.
        #[arg(long, value_name = "KEYID")]
        vehicle: Option<KeyId>,
        /// At most so many, and at most 1000.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Write each into this folder, as KEYID-SEQUENCE.report, with the vehicle's report before it, or the other one under
        /// its number, as .before: as `prove` reads them.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Propose that a vehicle's reports no longer count, where no rule says so and the members judge.
    Propose {
        /// Which: 16 hexadecimal digits.
        vehicle: KeyId,
        /// What the members are shown: its SHA-256 goes onto the ledger, the file itself goes round among them.
        #[arg(long, value_name = "FILE")]
        evidence: PathBuf,
        #[command(flatten)]
        sign: Sign,
    },
    /// Approve such a proposal, or one to release: the same as `milepost-rsu approve`.
    Vote(Choice),
    /// Propose that a vehicle's reports count again. Its record in the shadow must allow it.
    Release {
        /// Which: 16 hexadecimal digits.
        vehicle: KeyId,
        #[command(flatten)]
        sign: Sign,
    },
    /// Show two signed reports of one vehicle that cannot both be honest: then the rules impose quarantine by
    /// themselves, and nobody votes.
    Prove {
        /// A file with one of them, in hexadecimal.
        one: PathBuf,
        /// A file with the other.
        other: PathBuf,
        #[command(flatten)]
        sign: Sign,
    },
}

impl Quarantine {
    pub(crate) fn execute(self) -> Outcome {
        match self {
            Self::Evidence {
                vehicle,
                limit,
                out,
                ask,
            } => {
                let vehicle = vehicle.map_or_else(String::new, |vehicle| format!("&vehicle={vehicle}"));
                ask.evidence(&format!("/v1/evidence?limit={limit}{vehicle}"), out.as_deref())
            }
            Self::Propose {
                vehicle,
                evidence,
                sign,
            } => {
                let shown = std::fs::read(&evidence)
                    .with_context(|| format!("cannot read {}", evidence.display()))?;
                let evidence = Hash::sha256(&shown);
                propose(&sign, Change::Quarantine { vehicle, evidence }, Height::ZERO)
            }
            Self::Vote(choice) => choice.approve(),
            Self::Release { vehicle, sign } => propose(&sign, Change::Release { vehicle }, Height::ZERO),
            Self::Prove { one, other, sign } => {
                let (one, other) = (report(&one)?, report(&other)?);
                let vehicle = one.message.vehicle;
                let done = sign.signer()?.submit(Action::Accuse { one, other })?;
                if sign.json {
                    println!(
                        "{}",
                        json!({ "digest": done.digest, "height": done.height, "vehicle": vehicle })
                    );
                } else {
                    println!("final       in block {}\nquarantined {vehicle}", done.height);
                }
                Ok(true)
            }
        }
    }
}

fn report(path: &Path) -> anyhow::Result<SignedReport> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let bytes = hex::decode(text.trim());
    let bytes =
        bytes.with_context(|| format!("{}: expected a signed report in hexadecimal", path.display()))?;
    decode(&bytes).with_context(|| format!("{}: no signed report", path.display()))
}
