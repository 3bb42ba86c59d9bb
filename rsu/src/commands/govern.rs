//! `milepost-rsu propose`, `approve`, `withdraw`: what members decide together.

use std::str::FromStr;

use clap::{Args, Subcommand};
use milepost_rsu::submit::{Done, Signer, Standing};
use milepost_wire::{Access, Action, Address, Change, Height, KeyId, Member, ProposalId, PublicKey, Setting};
use serde_json::json;

use super::{Outcome, Sign};

/// What is proposed.
#[derive(Subcommand)]
pub(crate) enum Propose {
    /// Give a unit a vote. It should follow already: see `milepost-rsu join`, which prints its key.
    AddMember {
        /// The unit's public key: 66 hexadecimal digits.
        #[arg(long)]
        key: PublicKey,
        /// The company or authority that owns the unit.
        #[arg(long)]
        provider: String,
        /// Its voting power.
        #[arg(long, default_value_t = 1)]
        power: u64,
        #[command(flatten)]
        how: How,
    },
    /// Take a member's vote. Its unit goes on following.
    RemoveMember {
        /// The member's address: 40 hexadecimal digits.
        member: Address,
        #[command(flatten)]
        how: How,
    },
    /// Give a member more, or less, power.
    SetPower {
        /// The member's address.
        member: Address,
        /// Its power from then on.
        power: u64,
        #[command(flatten)]
        how: How,
    },
    /// Let a member go on under another key. Once it holds, put the new member.key into its home and restart the unit.
    SetKey {
        /// The member's address under its key so far.
        member: Address,
        /// The public key from then on.
        key: PublicKey,
        #[command(flatten)]
        how: How,
    },
    /// Set numbers of the rules: `milepost-rsu params` lists them.
    SetParam {
        /// NAME=NUMBER, such as reporters_needed=4 or speed.near=150. Several are set together or not at all.
        #[arg(required = true, value_name = "NAME=NUMBER")]
        settings: Vec<Given>,
        #[command(flatten)]
        how: How,
    },
    /// End an enrolment for good, whoever asked for it: of a vehicle, a roadside sensor or a listening unit.
    Revoke {
        /// Whose: 16 hexadecimal digits.
        vehicle: KeyId,
        #[command(flatten)]
        how: How,
    },
    /// Say who may come in, and who may read.
    SetAccess {
        /// The policy.
        access: AccessName,
        #[command(flatten)]
        how: How,
    },
}

/// Who proposes, and from when on it shall hold.
#[derive(Args)]
pub(crate) struct How {
    /// The first block that it shall hold for. By default as soon as it can: the second one after the block that decides.
    #[arg(long, value_name = "HEIGHT", default_value_t = 0)]
    at: u64,
    #[command(flatten)]
    sign: Sign,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum AccessName {
    /// Members vote, those whom they enrol report, anyone may read.
    Consortium,
    /// As consortium, and only members and those whom they enrolled may read.
    Private,
    /// As consortium, and any key may enrol itself, with a bond.
    Public,
}

impl From<AccessName> for Access {
    fn from(name: AccessName) -> Self {
        match name {
            AccessName::Consortium => Self::Consortium,
            AccessName::Private => Self::Private,
            AccessName::Public => Self::Public,
        }
    }
}

/// A number that is to be set.
#[derive(Clone)]
pub(crate) struct Given(pub(crate) Setting);

impl FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected NAME=NUMBER, such as reporters_needed=4, found {text:?}");
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        let value = match value {
            "true" => 1,
            "false" => 0,
            number => number.parse().map_err(|_| wrong())?,
        };
        let name = name.to_owned();
        Ok(Self(Setting { name, value }))
    }
}

impl Propose {
    pub(crate) fn execute(self) -> Outcome {
        let (change, how) = match self {
            Self::AddMember {
                key,
                provider,
                power,
                how,
            } => (Change::AddMember(Member { key, provider, power }), how),
            Self::RemoveMember { member, how } => (Change::RemoveMember { member }, how),
            Self::SetPower { member, power, how } => (Change::SetPower { member, power }, how),
            Self::SetKey { member, key, how } => (Change::SetKey { member, key }, how),
            Self::SetParam { settings, how } => {
                let settings = settings.into_iter().map(|Given(setting)| setting);
                (Change::SetParams(settings.collect()), how)
            }
            Self::Revoke { vehicle, how } => (Change::Revoke { vehicle }, how),
            Self::SetAccess { access, how } => (Change::SetAccess(access.into()), how),
        };
        propose(&how.sign, change, Height(how.at))
    }
}

/// Proposes a change, and says what came of it.
pub(crate) fn propose(sign: &Sign, change: Change, from: Height) -> Outcome {
    let signer = sign.signer()?;
    let done = signer.submit(Action::Propose {
        change: change.clone(),
        from,
    })?;
    let id = signer.proposal_of(&change, done.height)?;
    tell(sign, &signer, id, done)
}

/// Whose approval, of what.
#[derive(Args)]
pub(crate) struct Choice {
    /// The proposal's number: `milepost-rsu proposals` lists them.
    #[arg(value_name = "PROPOSAL")]
    id: u64,
    #[command(flatten)]
    sign: Sign,
}

impl Choice {
    pub(crate) fn approve(self) -> Outcome {
        let (signer, proposal) = (self.sign.signer()?, ProposalId(self.id));
        let done = signer.submit(Action::Approve { proposal })?;
        tell(&self.sign, &signer, proposal, done)
    }

    pub(crate) fn withdraw(self) -> Outcome {
        let (signer, proposal) = (self.sign.signer()?, ProposalId(self.id));
        let done = signer.submit(Action::Withdraw { proposal })?;
        tell(&self.sign, &signer, proposal, done)
    }
}

fn tell(sign: &Sign, signer: &Signer, id: ProposalId, done: Done) -> Outcome {
    let standing = signer.standing(id, done.height)?;
    if sign.json {
        let (state, from) = match standing {
            Standing::Open { .. } => ("open", None),
            Standing::Decided { from } => ("decided", Some(from)),
            Standing::Void => ("void", None),
            Standing::Gone => ("gone", None),
        };
        let power = match standing {
            Standing::Open { power, quorum } => Some(json!({ "approving": power, "needed": quorum })),
            _ => None,
        };
        println!(
            "{}",
            json!({
                "digest": done.digest,
                "height": done.height,
                "proposal": id,
                "standing": state,
                "power": power,
                "from": from,
            })
        );
    } else {
        println!("final       in block {}", done.height);
        let came = match standing {
            Standing::Open { power, quorum } => {
                format!("open, power {power} of {quorum} needed; others: milepost-rsu approve {id}")
            }
            Standing::Decided { from } => format!("decided, holds from block {from} on"),
            Standing::Void => "decided, and by then without sense: nothing changed".into(),
            Standing::Gone => "no longer there".into(),
        };
        println!("proposal    {id}: {came}");
    }
    Ok(standing != Standing::Void)
}
