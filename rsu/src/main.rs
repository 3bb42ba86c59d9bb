//! Runs one roadside unit, begins consortia to try out, and asks, steers and checks running ones.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::Outcome;
use commands::ask::Ask;
use commands::backup::{Backup, Restore};
use commands::certificate::Certificate;
use commands::govern::{Choice, Propose};
use commands::init::{Found, Init};
use commands::join::Join;
use commands::quarantine::Quarantine;
use commands::run::Run;
use commands::testnet::Testnet;
use commands::unit::Unit;
use commands::vehicle::Vehicle;
use commands::verify::Verify;

/// A roadside unit: hears the road, judges it, agrees on it with the others, and serves it.
#[derive(Parser)]
#[command(name = "milepost-rsu", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes keys, genesis and settings for a consortium on this machine.
    Testnet(Testnet),
    /// Makes the home of one real unit: its key, its settings, a request for its link certificate, and member.json, which
    /// tells who it is.
    Init(Init),
    /// Makes the genesis of a chain from its members' member.json.
    Genesis(Found),
    /// Makes a provider's authority, and issues link certificates under it.
    #[command(subcommand)]
    Certificate(Certificate),
    /// Brings a new unit into a chain that runs: makes its key and settings, gets the genesis and the newest snapshot
    /// from its peers, and checks every certificate on the way. `run` then follows, and votes once admitted.
    Join(Join),
    /// Runs a unit until SIGINT or SIGTERM.
    Run(Run),
    /// Tells how a running unit is.
    Status {
        #[command(flatten)]
        ask: Ask,
    },
    /// Shows a block: its number, or latest.
    Block {
        /// The block's height, or latest.
        #[arg(default_value = "latest")]
        height: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Shows what an address holds.
    Account {
        /// 40 hexadecimal digits.
        address: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Shows a vehicle's record, lists those that are enrolled, enrols one, or ends an enrolment.
    Vehicle(Vehicle),
    /// Lists units that listen without a vote, lets one pass on what it hears, or ends that.
    #[command(subcommand)]
    Unit(Unit),
    /// Lists who votes, and who will.
    Members {
        #[command(flatten)]
        ask: Ask,
    },
    /// Lists the numbers of the rules, and the access policy.
    Params {
        #[command(flatten)]
        ask: Ask,
    },
    /// Lists what members have proposed, and what is decided and does not hold yet.
    Proposals {
        #[command(flatten)]
        ask: Ask,
    },
    /// Proposes a change to the members, and approves it: see `approve`. Waits until that is final.
    #[command(subcommand)]
    Propose(Propose),
    /// Approves a proposal. Once members with more than two thirds of the power do, it holds two blocks later.
    Approve(Choice),
    /// Takes a member's approval back; whoever made the proposal so takes back the whole.
    Withdraw(Choice),
    /// Proposes that a vehicle's reports no longer count, or count again, or proves that it lies.
    #[command(subcommand)]
    Quarantine(Quarantine),
    /// Saves a unit's ledger to a new folder, while the unit runs, and replays the copy.
    Backup(Backup),
    /// Brings a backup into a home that has no ledger; what it holds is replayed before.
    Restore(Restore),
    /// Replays a stopped unit's chain, from genesis or where blocks are pruned from the oldest snapshot, and checks every
    /// certificate, signature, root and sum.
    Verify(Verify),
}

fn main() -> ExitCode {
    match execute(Args::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("milepost-rsu: {}", explain(&error));
            ExitCode::from(if is_unreadable(&error) { 2 } else { 1 })
        }
    }
}

fn execute(command: Command) -> Outcome {
    match command {
        Command::Testnet(command) => command.execute(),
        Command::Init(command) => command.execute(),
        Command::Genesis(command) => command.execute(),
        Command::Certificate(command) => command.execute(),
        Command::Join(command) => command.execute(),
        Command::Run(command) => command.execute(),
        Command::Status { ask } => ask.status(),
        Command::Block { height, ask } => ask.show(&format!("/v1/blocks/{height}")),
        Command::Account { address, ask } => ask.show(&format!("/v1/accounts/{address}")),
        Command::Vehicle(command) => command.execute(),
        Command::Unit(command) => command.execute(),
        Command::Members { ask } => ask.members(),
        Command::Params { ask } => ask.params(),
        Command::Proposals { ask } => ask.proposals(),
        Command::Propose(command) => command.execute(),
        Command::Approve(command) => command.approve(),
        Command::Withdraw(command) => command.withdraw(),
        Command::Quarantine(command) => command.execute(),
        Command::Backup(command) => command.execute(),
        Command::Restore(command) => command.execute(),
        Command::Verify(command) => command.execute(),
    }
}

/// The error and its causes, each said once.
fn explain(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |told, cause| {
        let cause = cause.to_string();
        if told.is_empty() {
            cause
        } else if told.contains(&cause) {
            told
        } else {
            format!("{told}: {cause}")
        }
    })
}

/// Whether the fault lies in what was given rather than in what happened.
fn is_unreadable(error: &anyhow::Error) -> bool {
    use milepost_rsu::backup::BackupError;
    use milepost_rsu::founding::FoundingError;
    use milepost_rsu::home::HomeError;
    use milepost_rsu::joining::JoinError;
    use milepost_rsu::run::RunError;
    use milepost_rsu::submit::SubmitError;
    use milepost_rsu::testnet::TestnetError;
    error.chain().any(|cause| {
        cause
            .downcast_ref::<HomeError>()
            .is_some_and(|error| !matches!(error, HomeError::Write { .. }))
            || matches!(cause.downcast_ref(), Some(RunError::Home(_)))
            || matches!(cause.downcast_ref(), Some(SubmitError::Home(_)))
            || matches!(
                cause.downcast_ref(),
                Some(
                    FoundingError::Exists(_)
                        | FoundingError::NoMember { .. }
                        | FoundingError::Members(_)
                        | FoundingError::Genesis(_)
                )
            )
            || matches!(
                cause.downcast_ref(),
                Some(
                    BackupError::Home(_)
                        | BackupError::Exists(_)
                        | BackupError::NoLedger(_)
                        | BackupError::NoBackup { .. }
                        | BackupError::OtherChain { .. }
                )
            )
            || matches!(
                cause.downcast_ref(),
                Some(
                    JoinError::Ledger(_)
                        | JoinError::NoPeer
                        | JoinError::Unconfirmed(_)
                        | JoinError::OtherGenesis { .. }
                        | JoinError::Genesis { .. }
                )
            )
            || cause
                .downcast_ref::<TestnetError>()
                .is_some_and(|error| !matches!(error, TestnetError::Home(_) | TestnetError::Key(_)))
    })
}
