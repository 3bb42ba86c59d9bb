//! Runs the onboard unit of one vehicle, or asks the ledger on its behalf.

mod cli;
mod commands;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use commands::Failure;

/// The names under which a log filter is looked for.
const LOG_VARIABLES: [&str; 2] = ["MILEPOST_LOG", "RUST_LOG"];

// Zenoh needs the multi-thread scheduler; one worker is enough for one vehicle.
#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let filter = LOG_VARIABLES.iter().find_map(|name| EnvFilter::try_from_env(name).ok());
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new("warn,milepost_obu=info")))
        .with_writer(std::io::stderr)
        .init();
    match commands::execute(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(error)) => {
            eprintln!("milepost-obu: {error:#}");
            ExitCode::from(1)
        }
        Err(Failure::Unreadable(error)) => {
            eprintln!("milepost-obu: {error:#}");
            ExitCode::from(2)
        }
    }
}
