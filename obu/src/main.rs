//! Runs the onboard unit of one vehicle, or asks the ledger on its behalf.

mod cli;
mod commands;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use commands::Failure;

/// Zenoh warns of each endpoint that does not answer; we say ourselves whether a unit is in reach.
const LOG_DEFAULT: &str = "warn,zenoh=error,milepost_obu=info";
/// The names under which a log filter is looked for.
const LOG_VARIABLES: [&str; 2] = ["MILEPOST_LOG", "RUST_LOG"];

// Zenoh needs the multi-thread scheduler; one worker is enough for one vehicle.
#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let filter = LOG_VARIABLES
        .iter()
        .find_map(|name| EnvFilter::try_from_env(name).ok());
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new(LOG_DEFAULT)))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    match commands::execute(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(error)) => {
            eprintln!("milepost-obu: {error}");
            ExitCode::from(1)
        }
        Err(Failure::Unreadable(error)) => {
            eprintln!("milepost-obu: {error}");
            ExitCode::from(2)
        }
    }
}
