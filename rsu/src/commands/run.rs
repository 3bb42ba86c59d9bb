//! `milepost-rsu run`: a unit until it is asked to stop, started anew where that is the way on.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use milepost_rsu::config::{Config, LogFormat};
use milepost_rsu::home::Home;
use milepost_rsu::run::Ended;
use milepost_rsu::{joining, run};
use tracing_subscriber::EnvFilter;

use super::Outcome;

#[derive(Args)]
pub(crate) struct Run {
    /// The unit's folder: rsu.toml, member.key, genesis.json, store/.
    #[arg(long)]
    home: PathBuf,
}

impl Run {
    pub(crate) fn execute(self) -> Outcome {
        run_unit(&Home::new(self.home))
    }
}

fn run_unit(home: &Home) -> Outcome {
    let config = home.config()?;
    start_logging(&config);
    // Zenoh needs the multi-thread scheduler.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ready = |api: SocketAddr| println!("ready: api http://{api} zenoh {}", config.listen.join(" "));
    let ended = runtime.block_on(async {
        let stop = signalled().context("cannot listen for signals")?;
        anyhow::Ok(run::run(home, &config, stop, ready).await?)
    })?;
    match ended {
        Ended::Asked => Ok(true),
        Ended::Frozen => {
            tracing::warn!("starting anew: the others may have given this unit up while it stood still");
            start_anew()
        }
        Ended::Deaf => {
            tracing::warn!("starting anew: the links are up and nobody is heard on them");
            start_anew()
        }
        Ended::Behind => {
            // Where no snapshot can be had, the unit goes on as it is, and tries again.
            match joining::leap(home, &config) {
                Ok(caught) => tracing::info!(?caught, "starting anew after catching up"),
                Err(error) => tracing::error!(%error, "this unit could not catch up"),
            }
            start_anew()
        }
    }
}

/// Replaces this process by a new one of the same program with the same arguments, under the same number. Returns only
/// where that fails.
#[cfg(unix)]
fn start_anew() -> Outcome {
    use std::os::unix::process::CommandExt;
    let program = std::env::current_exe().context("cannot find this program")?;
    let error = std::process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .exec();
    Err(error).context("cannot start anew")
}

/// Ends the process, for whoever supervises it to start it again.
#[cfg(not(unix))]
fn start_anew() -> Outcome {
    anyhow::bail!("this process stood still, and must be started again")
}

/// Done at SIGINT or SIGTERM.
#[cfg(unix)]
fn signalled() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Done at Ctrl-C.
#[cfg(not(unix))]
fn signalled() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

fn start_logging(config: &Config) {
    let filter = EnvFilter::try_from_env("MILEPOST_LOG")
        .or_else(|_| EnvFilter::try_from_default_env())
        .unwrap_or_else(|_| EnvFilter::new("info,zenoh=warn,arc_malachitebft_core_consensus=warn"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.log {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
}
