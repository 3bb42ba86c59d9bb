//! Runs one roadside unit, begins consortia to try out, and asks and checks running ones.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use milepost_node::audit::{Progress, audit};
use milepost_node::snapshots::Snapshots;
use milepost_node::store::Rocks;
use milepost_rsu::certificates::{self, Authority};
use milepost_rsu::config::{Config, LogFormat};
use milepost_rsu::home::Home;
use milepost_rsu::run::Ended;
use milepost_rsu::testnet::{self, Plan};
use milepost_rsu::{clock, joining, run, status};
use milepost_wire::link::{Station, TlsFiles};
use milepost_wire::{ChainId, Hash, Height};
use serde_json::Value;
use tracing_subscriber::EnvFilter;

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
    Testnet {
        /// How many members vote.
        #[arg(long, default_value_t = 4)]
        members: usize,
        /// How many vehicles are enrolled.
        #[arg(long, default_value_t = 10)]
        vehicles: usize,
        /// The folder to make.
        #[arg(long)]
        out: PathBuf,
        /// Member i has its API on this port plus 2i, and zenoh on the port above that.
        #[arg(long, default_value_t = 7600)]
        base_port: u16,
        /// The chain's name: 1 to 32 of a-z, 0-9 and -. By default, testnet- and the time.
        #[arg(long)]
        chain: Option<ChainId>,
        /// Keys that anyone can derive, the same each time. By default, random ones.
        #[arg(long)]
        seed: Option<u64>,
        /// Sets a number of the rules (params.slot_ms=10000) or a setting of every member
        /// (config.node.block_interval_ms=250). May be given many times.
        #[arg(long = "config-override", value_name = "K=V")]
        overrides: Vec<String>,
        /// Writes into a folder that is not empty.
        #[arg(long)]
        force: bool,
        /// Mutual TLS on every link, under an authority that is made for it; vehicles use OUT/vehicles/tls.
        #[arg(long)]
        tls: bool,
    },
    /// Makes a provider's authority, and issues link certificates under it.
    #[command(subcommand)]
    Certificate(Certificate),
    /// Brings a new unit into a chain that runs: makes its key and settings, gets the genesis and the newest snapshot
    /// from its peers, and checks every certificate on the way. `run` then follows, and votes once admitted.
    Join {
        /// The folder to make; what it has already of member.key and rsu.toml is kept.
        #[arg(long)]
        home: PathBuf,
        /// The chain's genesis.json. Without it a peer's is taken, if its hash is the one that --genesis-hash says.
        #[arg(long)]
        genesis: Option<PathBuf>,
        /// The genesis' hash, as a member told it: 64 hexadecimal digits.
        #[arg(long)]
        genesis_hash: Option<Hash>,
        /// The zenoh endpoint of a unit that runs, such as tcp/192.0.2.7:7447. May be given many times.
        #[arg(long = "peer", value_name = "ENDPOINT", required = true)]
        peers: Vec<String>,
        /// A zenoh endpoint to listen on. May be given many times.
        #[arg(long, value_name = "ENDPOINT")]
        listen: Vec<String>,
        /// Where the HTTP API shall listen.
        #[arg(long)]
        api: Option<SocketAddr>,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Runs a unit until SIGINT or SIGTERM.
    Run {
        /// The unit's folder: rsu.toml, member.key, genesis.json, store/.
        #[arg(long)]
        home: PathBuf,
    },
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
    /// Shows a vehicle's record.
    Vehicle {
        /// 16 hexadecimal digits.
        keyid: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Replays a stopped unit's chain, from genesis or where blocks are pruned from the oldest snapshot, and checks every
    /// certificate, signature, root and sum.
    Verify {
        /// The unit's folder.
        #[arg(long)]
        home: PathBuf,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
enum Certificate {
    /// Makes an authority: authority.pem, to be trusted by the others, and authority.key, to be kept off the roadside.
    Authority {
        /// Whose it is.
        #[arg(long)]
        provider: String,
        /// The folder to write into.
        #[arg(long)]
        out: PathBuf,
    },
    /// Issues authorities.pem, link.pem and link.key for one machine.
    Issue {
        /// The folder with authority.pem and authority.key.
        #[arg(long)]
        authority: PathBuf,
        /// What the machine is.
        #[arg(long, value_enum)]
        station: StationName,
        /// A DNS name or IP address under which a roadside unit is reached. May be given many times.
        #[arg(long = "name", value_name = "NAME", required_if_eq("station", "roadside"))]
        names: Vec<String>,
        /// How long it is valid. There is no revocation list: keep it short.
        #[arg(long, default_value_t = certificates::LINK_DAYS)]
        days: u32,
        /// Another provider's authority.pem that the machine is to trust as well. May be given many times.
        #[arg(long = "trust", value_name = "FILE")]
        trusted: Vec<PathBuf>,
        /// The folder to write into.
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum StationName {
    Roadside,
    Vehicle,
}

#[derive(clap::Args)]
struct Ask {
    /// The unit's API.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    api: String,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

/// What a command came to: done, or an expectation not met.
type Outcome = anyhow::Result<bool>;

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
    use milepost_rsu::home::HomeError;
    use milepost_rsu::joining::JoinError;
    use milepost_rsu::run::RunError;
    use milepost_rsu::testnet::TestnetError;
    error.chain().any(|cause| {
        cause
            .downcast_ref::<HomeError>()
            .is_some_and(|error| !matches!(error, HomeError::Write { .. }))
            || matches!(cause.downcast_ref(), Some(RunError::Home(_)))
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

fn execute(command: Command) -> Outcome {
    match command {
        Command::Testnet {
            members,
            vehicles,
            out,
            base_port,
            chain,
            seed,
            overrides,
            force,
            tls,
        } => make_testnet(&Plan {
            members,
            vehicles,
            out,
            base_port,
            chain,
            seed,
            overrides,
            force,
            tls,
        }),
        Command::Certificate(command) => certify(command),
        Command::Join {
            home,
            genesis,
            genesis_hash,
            peers,
            listen,
            api,
            json,
        } => {
            let plan = joining::Plan {
                home,
                genesis,
                genesis_hash,
                peers,
                listen,
                api,
            };
            join(&plan, json)
        }
        Command::Run { home } => run_unit(&Home::new(home)),
        Command::Status { ask } => {
            let answer = status::ask(&ask.api, "/v1/status")?;
            if ask.json {
                println!("{answer}");
            } else {
                print!("{}", status::describe(&ask.api, answer)?);
            }
            Ok(true)
        }
        Command::Block { height, ask } => show(&ask, &format!("/v1/blocks/{height}")),
        Command::Account { address, ask } => show(&ask, &format!("/v1/accounts/{address}")),
        Command::Vehicle { keyid, ask } => show(&ask, &format!("/v1/vehicles/{keyid}")),
        Command::Verify { home, json } => verify(&Home::new(home), json),
    }
}

fn make_testnet(plan: &Plan) -> Outcome {
    let homes = testnet::make(plan, clock::wall())?;
    println!(
        "{} members and {} vehicles in {}",
        plan.members,
        plan.vehicles,
        plan.out.display()
    );
    for home in homes {
        println!("milepost-rsu run --home {}", home.folder().display());
    }
    Ok(true)
}

fn certify(command: Certificate) -> Outcome {
    match command {
        Certificate::Authority { provider, out } => {
            anyhow::ensure!(
                !out.join("authority.key").exists(),
                "{} holds an authority already; who replaces it must issue every certificate anew",
                out.display()
            );
            Authority::make(&provider)?.write(&out)?;
        }
        Certificate::Issue {
            authority,
            station,
            names,
            days,
            trusted,
            out,
        } => {
            let authority = Authority::read(&authority)?;
            let mut authorities = authority.certificate_pem().to_owned();
            for path in &trusted {
                authorities += &std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
            }
            let station = match station {
                StationName::Roadside => Station::Roadside,
                StationName::Vehicle => Station::Vehicle,
            };
            authority.issue(station, &names, days, &authorities, &TlsFiles::in_folder(&out))?;
        }
    }
    Ok(true)
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

fn show(ask: &Ask, path: &str) -> Outcome {
    let answer: Value = status::ask(&ask.api, path)?;
    if ask.json {
        println!("{answer}");
    } else {
        println!("{answer:#}");
    }
    Ok(true)
}

fn join(plan: &joining::Plan, json: bool) -> Outcome {
    // Zenoh needs the multi-thread scheduler.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let _entered = runtime.enter();
    let bar = ProgressBar::new(0);
    bar.set_style(
        ProgressStyle::with_template("{wide_bar} {msg} {pos} of {len}, {eta} left")
            .expect("the template is right"),
    );
    let joined = joining::join(plan, clock::wall(), &mut |progress| {
        use milepost_node::catch_up::Progress;
        let (what, done, all) = match progress {
            Progress::Headers(done, all) => ("header", done.0, all.0),
            Progress::Chunks(done, all) => ("chunk", done as u64, all as u64),
        };
        bar.set_message(what);
        bar.set_length(all);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let (key, home) = (joined.key, plan.home.display());
    let height = joined.caught.as_ref().map(|caught| caught.height);
    if json {
        println!(
            "{}",
            serde_json::json!({
                "chain": joined.genesis.chain,
                "genesis": joined.genesis.hash(),
                "address": key.address(),
                "key": key.public(),
                "height": height.unwrap_or_default(),
                "state_root": joined.caught.as_ref().map(|caught| caught.state_root),
                "bytes": joined.caught.as_ref().map_or(0, |caught| caught.bytes),
                "refused": joined.caught.as_ref().map_or(0, |caught| caught.refused),
            })
        );
    } else {
        println!(
            "chain       {} from genesis {}",
            joined.genesis.chain,
            joined.genesis.hash()
        );
        println!("address     {}", key.address());
        match height {
            Some(height) => println!("snapshot    of block {height}, certified from the genesis on"),
            None => println!("snapshot    none is offered: the blocks are fetched when it runs"),
        }
        println!("milepost-rsu run --home {home}");
    }
    Ok(true)
}

fn verify(home: &Home, json: bool) -> Outcome {
    let genesis = home.genesis()?;
    let folder = home.store();
    anyhow::ensure!(
        folder.join("CURRENT").exists(),
        "{} holds no ledger: this unit never ran",
        folder.display()
    );
    let store =
        Rocks::open_read_only(&folder).with_context(|| format!("cannot open {}", folder.display()))?;
    let snapshots = Snapshots::open(&home.snapshots())?;
    let bar = ProgressBar::new(0);
    bar.set_style(
        ProgressStyle::with_template("{wide_bar} {msg} {pos} of {len}, {eta} left")
            .expect("the template is right"),
    );
    let report = audit(&genesis, &store, Some(&snapshots), |progress| {
        let (what, height, last) = match progress {
            Progress::Headers(height, last) => ("header", height, last),
            Progress::Blocks(height, last) => ("block", height, last),
        };
        bar.set_message(what);
        bar.set_length(last.0);
        bar.set_position(height.0);
    });
    bar.finish_and_clear();
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("height      {}\nstate root  {}", report.height, report.state_root);
        println!("headers     all {} certified from the genesis on", report.headers);
        match report.from_height {
            Height::ZERO => println!("replayed    from the genesis"),
            from => println!("replayed    from the snapshot at block {from}: older blocks are pruned"),
        }
        println!("reports     {}", report.reports);
        println!(
            "tokens      {} minted, {} burned",
            report.supply.minted, report.supply.burned
        );
        for error in &report.errors {
            println!("wrong       {error}");
        }
        println!("{}", if report.ok { "all is right" } else { "NOT RIGHT" });
    }
    Ok(report.ok)
}
