//! Does the ledger hold, whatever goes wrong?
//!
//! In: how many seeds. For each, a small town is drawn with faults of every kind, lies of as many members as may
//! lie included, and played with its invariants checked after every event. Out: which seeds failed, with the
//! shortest list of faults that still makes them fail, as a scenario that `milepost-sim run` plays again.
//!
//! With a control, a rule is broken on purpose and the question turns round: in how many seeds is it noticed?
//!
//! | question | module |
//! |---|---|
//! | what goes wrong in a seed | [`plan`] |
//! | what came of it, and of many | [`run`] |
//! | which of the faults does it take | [`shrink`] |

pub mod plan;
pub mod run;
pub mod shrink;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;

use self::plan::Plan;
use self::run::{Ended, Outcome};
use crate::control::Control;
use crate::junit::{Case, Failure, Suite};
use crate::{fault, progress};

/// The share of seeds in which a control must be noticed, in percent.
pub const CAUGHT_MIN_PERCENT: u64 = 95;
/// So many failing seeds are shrunk; the others are named.
const SHRUNK_MAX: usize = 3;

/// What a sweep is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How many seeds are played. The suite plays a few hundred; a nightly run 1000.
    #[arg(long, default_value_t = 100)]
    pub seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    pub first: u64,
    /// Breaks a rule on purpose; at least 95 of 100 seeds must notice.
    #[arg(long, value_enum)]
    pub control: Option<Control>,
    /// How many seeds are played at once; by default one for each processor.
    #[arg(long)]
    pub threads: Option<usize>,
    /// Prints one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Writes the shrunk scenario of each failing seed into this folder, as seed-N.toml.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Writes which seeds failed, and why, into this file, as JUnit XML: one testcase for each seed, or for the control.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Prints the scenario of the first seed, and plays nothing.
    #[arg(long)]
    pub show: bool,
    /// Lists the kinds of faults that a scenario may have, and plays nothing.
    #[arg(long)]
    pub list: bool,
}

/// What is printed.
#[derive(Clone, Debug, Serialize)]
struct Report {
    seeds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    control: Option<Control>,
    violations: usize,
    stuck: usize,
    worst_round: u32,
    blocks: u64,
    faults: u64,
    /// Changes of members that were done.
    changes: u64,
    /// Other decisions of members that were carried out.
    decisions: u64,
    /// Members that lost their vote by a sentence.
    jailed: u64,
    /// Complaints that the ledger took.
    complaints: u64,
    /// Members of which it took them for true.
    withheld: u64,
    failing: Vec<Failing>,
}

#[derive(Clone, Debug, Serialize)]
struct Failing {
    seed: u64,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    scenario: Option<String>,
}

/// Runs the command. Returns whether all is well: nothing failed, or a control was noticed.
///
/// # Errors
///
/// A folder that cannot be written.
pub fn command(options: &Options) -> anyhow::Result<bool> {
    if options.list {
        println!(
            "{}",
            if options.json {
                fault::json()
            } else {
                fault::table()
            }
        );
        return Ok(true);
    }
    if options.show {
        print!("{}", Plan::draw(options.first, options.control).toml());
        return Ok(true);
    }
    let terminal = std::io::stderr().is_terminal();
    let bar = progress::bar("seeds", terminal);
    let mut failed = 0;
    let seeds = options.first..options.first.saturating_add(options.seeds);
    let outcomes = run::sweep(seeds, options.control, options.threads, |done, outcome| {
        failed += usize::from(outcome.ended != Ended::Well);
        bar.tell(done as f64 / options.seeds as f64, || {
            format!("{done} of {}, {failed} failed", options.seeds)
        });
    });
    bar.finish();
    let report = report(options, &outcomes, terminal)?;
    if options.json {
        println!("{}", serde_json::to_string(&report).expect("plain data"));
    } else {
        print(&report);
    }
    let suite = suite(options, &report);
    if let Some(file) = &options.junit {
        suite.write(file).with_context(|| file.display().to_string())?;
    }
    Ok(!suite.has_failed())
}

/// What was to be shown: that no seed fails, or that enough of them notice the control.
fn suite(options: &Options, report: &Report) -> Suite {
    let caught = report.violations + report.stuck;
    let cases = match options.control {
        Some(control) => {
            let noticed = format!("noticed in {caught} of {} seeds", options.seeds);
            let is_noticed = caught as u64 * 100 >= CAUGHT_MIN_PERCENT * options.seeds;
            vec![Case {
                name: format!("control {}", control.name()),
                failure: (!is_noticed).then(|| Failure {
                    message: format!("{noticed}, expected {CAUGHT_MIN_PERCENT} %"),
                    detail: String::new(),
                }),
                measured: noticed,
            }]
        }
        None => {
            let mut cases: BTreeMap<u64, Case> = (options.first..options.first.saturating_add(options.seeds))
                .map(|seed| (seed, Case::passed(format!("seed {seed}"))))
                .collect();
            for failing in &report.failing {
                let failure = Failure {
                    message: failing.what.clone(),
                    detail: failing.scenario.clone().unwrap_or_default(),
                };
                cases
                    .entry(failing.seed)
                    .and_modify(|case| case.failure = Some(failure));
            }
            cases.into_values().collect()
        }
    };
    Suite {
        name: "sweep".into(),
        cases,
    }
}

fn report(options: &Options, outcomes: &[Outcome], terminal: bool) -> anyhow::Result<Report> {
    let count = |ended: Ended| outcomes.iter().filter(|outcome| outcome.ended == ended).count();
    let mut failing = Vec::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.ended != Ended::Well) {
        let mut scenario = None;
        if options.control.is_none() && failing.len() < SHRUNK_MAX {
            let bar = progress::bar("shrinking", terminal);
            let plan = Plan::draw(outcome.seed, options.control);
            let shrunk = shrink::shrink(&plan, outcome.ended, |done| bar.at(done));
            bar.finish();
            scenario = Some(shrunk.toml());
        }
        if let (Some(folder), Some(text)) = (&options.out, &scenario) {
            let file = folder.join(format!("seed-{}.toml", outcome.seed));
            std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::write(&file, text))
                .with_context(|| file.display().to_string())?;
        }
        failing.push(Failing {
            seed: outcome.seed,
            what: outcome.what.clone(),
            scenario,
        });
    }
    Ok(Report {
        seeds: options.seeds,
        control: options.control,
        violations: count(Ended::Broken),
        stuck: count(Ended::Stuck),
        worst_round: outcomes
            .iter()
            .map(|outcome| outcome.worst_round)
            .max()
            .unwrap_or(0),
        blocks: outcomes.iter().map(|outcome| outcome.height).sum(),
        faults: outcomes.iter().map(|outcome| outcome.faults).sum(),
        changes: outcomes.iter().map(|outcome| outcome.changes).sum(),
        decisions: outcomes.iter().map(|outcome| outcome.decisions).sum(),
        jailed: outcomes.iter().map(|outcome| outcome.jailed).sum(),
        complaints: outcomes.iter().map(|outcome| outcome.complaints).sum(),
        withheld: outcomes.iter().map(|outcome| outcome.withheld).sum(),
        failing,
    })
}

fn print(report: &Report) {
    if let Some(control) = report.control {
        let caught = report.violations + report.stuck;
        println!(
            "control     {}, noticed in {caught} of {} seeds",
            control.name(),
            report.seeds
        );
    }
    println!("seeds       {}", report.seeds);
    println!("violations  {}", report.violations);
    println!("stuck       {}", report.stuck);
    println!("worst round {}", report.worst_round);
    println!("blocks      {}", report.blocks);
    println!("faults      {}", report.faults);
    println!("changes     {}", report.changes);
    println!("decisions   {}", report.decisions);
    println!("jailed      {}", report.jailed);
    println!("complaints  {}", report.complaints);
    println!("withheld    {}", report.withheld);
    if report.control.is_some() {
        return;
    }
    for failing in &report.failing {
        println!("\nseed {} failed: {}", failing.seed, failing.what);
        if let Some(scenario) = &failing.scenario {
            println!("\n{scenario}");
        }
    }
}
