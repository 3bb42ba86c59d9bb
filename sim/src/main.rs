//! Plays towns: with real processes, in virtual time, or against a running consortium.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use milepost_sim::junit::{Case, Failure, Suite};
use milepost_sim::scenario::Scenario;
use milepost_sim::{attacks, behaviour, demo, detect, figures, play, progress, sweep, town, truth};
use tracing_subscriber::EnvFilter;

/// A town from a seed: traffic, adversaries, faults, and the demo.
#[derive(Parser)]
#[command(name = "milepost-sim", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts a real consortium on this machine and drives a recorded town through it.
    Demo(demo::Options),
    /// Plays a scenario in virtual time: same scenario and seed, same bytes.
    Run {
        /// The scenario, in TOML.
        scenario: PathBuf,
        /// Where chance comes from, instead of the scenario's seed.
        #[arg(long)]
        seed: Option<u64>,
        /// Prints one JSON object instead of a table.
        #[arg(long)]
        json: bool,
        /// Writes items.csv and vehicles.csv into this folder.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Writes what [expect] asks for and what was found into this file, as JUnit XML: one testcase for each
        /// expectation, and one for the ledger's invariants.
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
    },
    /// Drives vehicles from a recording through a running consortium.
    Play(play::Options),
    /// Runs the roadside's plausibility checks over labelled logs and says how often they are right.
    Detect(detect::Options),
    /// Finds what is true among claims from elsewhere, and whom to trust, by the ledger's rules.
    Truth(truth::Options),
    /// Plays many small towns with every kind of fault, lying members included, and checks the ledger's promises after
    /// every event. Prints the seeds that fail, each with the shortest list of faults that makes it fail.
    Sweep(sweep::Options),
    /// Measures what every attack pays and spoils, beside what is allowed: one table.
    Attacks(attacks::Options),
    /// Lists the behaviours that a fleet may have, with their parameters.
    Behaviours {
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Wrong usage, or input that cannot be read.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("MILEPOST_LOG").unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match Args::parse().command {
        Command::Demo(options) => finish(demo::run(&options)),
        Command::Run {
            scenario,
            seed,
            json,
            out,
            junit,
        } => run(&scenario, seed, json, out.as_deref(), junit.as_deref()),
        Command::Play(options) => finish(play::run(&options)),
        Command::Detect(options) => match detect::run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(USAGE)
            }
        },
        Command::Truth(options) => match truth::run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(if error.is_usage() { USAGE } else { 1 })
            }
        },
        Command::Sweep(options) => finish(sweep::command(&options)),
        Command::Attacks(options) => finish(attacks::command(&options)),
        Command::Behaviours { json } => {
            println!(
                "{}",
                if json {
                    behaviour::json()
                } else {
                    behaviour::table()
                }
            );
            ExitCode::SUCCESS
        }
    }
}

fn finish(result: anyhow::Result<bool>) -> ExitCode {
    match result {
        Ok(fine) => ExitCode::from(u8::from(!fine)),
        Err(error) => {
            eprintln!("error: {error:#}");
            let usage = error.chain().any(|cause| cause.is::<demo::Usage>());
            ExitCode::from(if usage { USAGE } else { 1 })
        }
    }
}

fn run(path: &Path, seed: Option<u64>, json: bool, out: Option<&Path>, junit: Option<&Path>) -> ExitCode {
    let fail = |error: &dyn std::fmt::Display, code: u8| {
        eprintln!("error: {error}");
        ExitCode::from(code)
    };
    let scenario = match Scenario::read(path) {
        Ok(scenario) => scenario,
        Err(error) => return fail(&error, USAGE),
    };
    let bar = progress::bar("virtual time", std::io::stderr().is_terminal());
    let played = town::play(&scenario, seed.unwrap_or(scenario.seed), |done| bar.at(done));
    bar.finish();
    let played = match played {
        Ok(played) => played,
        Err(error @ town::PlayError::Start { .. }) => return fail(&error, 1),
        Err(error) => return fail(&format!("{}: {error}", path.display()), USAGE),
    };
    if let Some(folder) = out
        && let Err(error) = write(folder, &played)
    {
        return fail(&format!("{}: {error}", folder.display()), 1);
    }
    println!(
        "{}",
        if json {
            played.figures.json()
        } else {
            played.figures.table()
        }
    );
    for what in &played.broken {
        eprintln!("broken: {what}");
    }
    let suite = suite(path, &scenario, &played);
    let missed = played.figures.missed(&scenario.expect);
    for what in &missed {
        eprintln!("missed: {what}");
    }
    if let Some(file) = junit
        && let Err(error) = suite.write(file)
    {
        return fail(&format!("{}: {error}", file.display()), 1);
    }
    ExitCode::from(u8::from(suite.has_failed()))
}

/// What a run is expected to do, and what it did. Invariants hold, unless the scenario means one of them to break.
fn suite(path: &Path, scenario: &Scenario, played: &town::Played) -> Suite {
    let expectations = played.figures.checked(&scenario.expect);
    let invariants = Case {
        name: "invariants".into(),
        measured: String::new(),
        failure: (!played.broken.is_empty() && !expects_broken(scenario)).then(|| Failure {
            message: format!("{} broken", played.broken.len()),
            detail: played.broken.join("\n"),
        }),
    };
    let cases = expectations.into_iter().map(|checked| Case {
        failure: checked.missed().map(|message| Failure {
            detail: message.clone(),
            message,
        }),
        measured: checked.found.unwrap_or_default(),
        name: format!("{}: {}", checked.path, checked.expected),
    });
    Suite {
        // Servers tell a test from others by this name; where the file lies is no part of it.
        name: path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy()
            .into(),
        cases: cases.chain([invariants]).collect(),
    }
}

/// Whether the scenario means an invariant to break: a control.
fn expects_broken(scenario: &Scenario) -> bool {
    use milepost_sim::scenario::Expectation;
    scenario
        .expect
        .iter()
        .any(|(path, expected)| path.starts_with("invariants.") && *expected == Expectation::Bool(false))
}

fn write(folder: &Path, played: &town::Played) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(
        folder.join("items.csv"),
        figures::items_csv(&played.items, &played.beside),
    )?;
    std::fs::write(
        folder.join("vehicles.csv"),
        figures::vehicles_csv(&played.vehicles),
    )
}
