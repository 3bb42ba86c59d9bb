//! What does lying pay, and what does it spoil?
//!
//! In: which attacks, which shares of attackers, how many seeds. Each is a town of 300 vehicles on 100 roads, honest for six
//! epochs and then under attack for 24, played by the ledger's rules ([`bench`]). Out: one table, the medians over the
//! seeds beside what they must be. docs/incentives.md is what this command prints.
//!
//! | question | module |
//! |---|---|
//! | which attacks, and what must come of them | [`plan`] |
//! | what happens in one run | [`bench`] |
//! | what are its figures | [`outcome`] |
//! | how they read | [`table`] |

pub mod bench;
pub mod outcome;
pub mod plan;
pub mod table;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::mpsc;

use anyhow::{Context as _, anyhow};
use rayon::prelude::*;
use serde::Serialize;

use self::outcome::{Figure, Figures, Outcome, median};
use self::plan::{ATTACKS, Attack, Bound, PERCENTS, Setting, Target, Town};
use crate::junit::{Case, Failure, Suite};
use crate::progress;
use crate::scenario::Scenario;

/// What the command is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How many seeds each attack is played with.
    #[arg(long, default_value_t = 5)]
    pub seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    pub first: u64,
    /// These attacks alone, by name or by the beginning of it.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// The shares of attackers, in percent.
    #[arg(long, value_delimiter = ',', default_values_t = PERCENTS)]
    pub percent: Vec<u32>,
    /// Epochs under attack.
    #[arg(long, default_value_t = 24)]
    pub epochs: u32,
    /// Honest epochs before.
    #[arg(long, default_value_t = 6)]
    pub warm: u32,
    /// Slots of a minute in an epoch.
    #[arg(long, default_value_t = 12)]
    pub slots: u32,
    /// Prints one JSON object.
    #[arg(long, conflicts_with = "markdown")]
    pub json: bool,
    /// Prints the table in Markdown.
    #[arg(long)]
    pub markdown: bool,
    /// Writes every target and what was found into this file, as JUnit XML.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Prints the scenario of each attack, and plays nothing.
    #[arg(long)]
    pub show: bool,
}

/// One attack with one share of attackers.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub attack: &'static str,
    /// What goes on.
    pub about: &'static str,
    /// How many of a hundred vehicles attack; absent where the attack has a size of its own.
    pub percent: Option<u32>,
    /// The medians over the seeds.
    pub figures: Figures,
    /// What is not as it must be.
    pub missed: Vec<String>,
    /// How many targets there were.
    pub targets: usize,
    /// Each of them.
    #[serde(skip)]
    pub checks: Vec<Check>,
}

/// A target, and what was found.
#[derive(Clone, Debug)]
pub struct Check {
    /// What must hold.
    pub target: Target,
    /// The median; absent where it was not measured.
    pub found: Option<f64>,
}

impl Check {
    /// What must hold, in words.
    pub fn wanted(&self) -> String {
        let name = self.target.figure.name();
        match self.target.bound {
            Bound::Min(least) => format!("{name} at least {least}"),
            Bound::Max(most) => format!("{name} at most {most}"),
        }
    }

    /// What was found instead; `None` where it holds.
    pub fn missed(&self) -> Option<String> {
        let Some(found) = self.found else {
            return Some(format!("{}: not measured", self.target.figure.name()));
        };
        let is_met = match self.target.bound {
            Bound::Min(least) => found >= least,
            Bound::Max(most) => found <= most,
        };
        (!is_met).then(|| format!("{}, is {}", self.wanted(), table::number(found)))
    }
}

/// The town without an attack.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Clean {
    /// The picture's mean absolute error, in km/h.
    pub error_kmh: f64,
    /// Of the vehicles' pay.
    pub gini: f64,
    /// The share of vehicles that were ever in quarantine.
    pub ever_quarantined: f64,
}

/// What is printed.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How many seeds the medians are over.
    pub seeds: u64,
    /// Epochs under attack.
    pub epochs: u32,
    /// Honest epochs before.
    pub warm: u32,
    /// Slots in an epoch.
    pub slots: u32,
    /// The same town without an attack.
    pub clean: Clean,
    /// Every attack.
    pub rows: Vec<Row>,
    /// How many targets are missed.
    pub missed: usize,
}

/// Runs the command. Returns whether every target is met.
///
/// # Errors
///
/// Where nothing is to be played.
pub fn command(options: &Options) -> anyhow::Result<bool> {
    let attacks = chosen(options)?;
    let setting = Setting {
        warm: options.warm,
        epochs: options.epochs,
        slots: options.slots,
    };
    if options.show {
        for attack in attacks {
            println!("{}", attack.scenario(&setting, options.percent[0]));
        }
        return Ok(true);
    }
    let bar = progress::bar("runs", std::io::stderr().is_terminal());
    let seeds = options.first..options.first.saturating_add(options.seeds);
    let report = measure(&attacks, &options.percent, seeds, setting, |done| bar.at(done));
    bar.finish();
    let report = report?;
    if let Some(file) = &options.junit {
        let written = suite(&report).write(file);
        written.with_context(|| format!("cannot write {}", file.display()))?;
    }
    println!(
        "{}",
        if options.json {
            serde_json::to_string(&report)?
        } else if options.markdown {
            table::markdown(&report)
        } else {
            table::text(&report)
        }
    );
    Ok(report.missed == 0)
}

fn chosen(options: &Options) -> anyhow::Result<Vec<&'static Attack>> {
    if options.seeds == 0 || options.epochs == 0 || options.slots == 0 {
        return Err(anyhow!("expected at least one seed, epoch and slot"));
    }
    if let Some(percent) = options
        .percent
        .iter()
        .find(|percent| !(1..=90).contains(*percent))
    {
        return Err(anyhow!("expected 1 to 90 percent of attackers, found {percent}"));
    }
    let is_chosen = |attack: &&Attack| {
        options.only.is_empty() || options.only.iter().any(|name| attack.name.starts_with(name))
    };
    let attacks: Vec<_> = ATTACKS.iter().filter(is_chosen).collect();
    if attacks.is_empty() {
        let names: Vec<_> = ATTACKS.iter().map(|attack| attack.name).collect();
        return Err(anyhow!("expected some of {}", names.join(", ")));
    }
    Ok(attacks)
}

/// One run to make.
struct Job<'a> {
    attack: &'a Attack,
    percent: u32,
    seed: u64,
}

/// Plays every attack with every share and seed, as many at once as there are processors. `told` hears the share of runs
/// that is done.
///
/// # Errors
///
/// Where a town cannot be played.
pub fn measure(
    attacks: &[&'static Attack],
    percents: &[u32],
    seeds: std::ops::Range<u64>,
    setting: Setting,
    mut told: impl FnMut(f64),
) -> anyhow::Result<Report> {
    let mut jobs = Vec::new();
    for (at, attack) in attacks.iter().enumerate() {
        let is_first = attacks[..at].iter().all(|other| other.town() != attack.town());
        let clean = is_first.then_some(0);
        for percent in clean.into_iter().chain(percents_of(attack, percents)) {
            jobs.extend(seeds.clone().map(|seed| Job {
                attack,
                percent,
                seed,
            }));
        }
    }
    let (sender, outcomes) = mpsc::channel();
    let outcomes: Vec<(usize, anyhow::Result<Outcome>)> = std::thread::scope(|scope| {
        let jobs = &jobs;
        scope.spawn(move || {
            jobs.par_iter()
                .enumerate()
                .for_each_with(sender, |sender, (at, job)| {
                    // Who does not listen any more has no use for it.
                    let _ = sender.send((at, play(job, &setting)));
                });
        });
        let mut all = Vec::new();
        for outcome in outcomes {
            all.push(outcome);
            told(all.len() as f64 / jobs.len() as f64);
        }
        all
    });
    let mut played: BTreeMap<(Town, &str, u32), BTreeMap<u64, Outcome>> = BTreeMap::new();
    for (at, outcome) in outcomes {
        let Job {
            attack,
            percent,
            seed,
        } = &jobs[at];
        let name = if *percent == 0 { "" } else { attack.name };
        let of_seeds = played.entry((attack.town(), name, *percent)).or_default();
        of_seeds.insert(*seed, outcome?);
    }
    let mut rows = Vec::new();
    for attack in attacks {
        let clean = &played[&(attack.town(), "", 0)];
        for percent in percents_of(attack, percents) {
            let outcomes = &played[&(attack.town(), attack.name, percent)];
            let of_seeds = outcomes
                .iter()
                .map(|(seed, outcome)| outcome.figures(&clean[seed], setting.epochs));
            rows.push(row(attack, percent, &of_seeds.collect::<Vec<_>>()));
        }
    }
    let first = &played[&(attacks[0].town(), "", 0)];
    Ok(Report {
        seeds: seeds.end - seeds.start,
        epochs: setting.epochs,
        warm: setting.warm,
        slots: setting.slots,
        clean: clean(first, setting.epochs),
        missed: rows.iter().map(|row| row.missed.len()).sum(),
        rows,
    })
}

/// The shares that make a difference.
fn percents_of(attack: &Attack, percents: &[u32]) -> Vec<u32> {
    let count = if attack.has_own_size() { 1 } else { percents.len() };
    percents[..count].to_vec()
}

fn play(job: &Job<'_>, setting: &Setting) -> anyhow::Result<Outcome> {
    let text = job.attack.scenario(setting, job.percent);
    let scenario = Scenario::parse(&text, job.attack.name)?;
    // Without an attack, too, what counts is what happens from its beginning on.
    let from_ms = crate::scenario::minutes_ms(f64::from(setting.from_minute()));
    Ok(bench::play(&scenario, from_ms, job.seed)?)
}

fn clean(outcomes: &BTreeMap<u64, Outcome>, epochs: u32) -> Clean {
    let of = |figure: fn(&Outcome, u32) -> f64| {
        median(
            &mut outcomes
                .values()
                .map(|outcome| figure(outcome, epochs))
                .collect::<Vec<_>>(),
        )
    };
    Clean {
        error_kmh: of(|outcome, _| outcome.error_all_kmh()),
        gini: of(|outcome, epochs| outcome.figures(outcome, epochs)[&Figure::Gini]),
        ever_quarantined: of(|outcome, epochs| {
            outcome.figures(outcome, epochs)[&Figure::HonestEverQuarantined]
        }),
    }
}

fn row(attack: &'static Attack, percent: u32, of_seeds: &[Figures]) -> Row {
    let medians: Figures = Figure::ALL
        .into_iter()
        .filter_map(|figure| {
            let mut values: Vec<f64> = of_seeds
                .iter()
                .filter_map(|figures| figures.get(&figure))
                .copied()
                .collect();
            (!values.is_empty()).then(|| (figure, median(&mut values)))
        })
        .collect();
    let checks = attack.targets_at(percent).map(|target| Check {
        target: *target,
        found: medians.get(&target.figure).copied(),
    });
    let checks: Vec<Check> = checks.collect();
    Row {
        attack: attack.name,
        about: attack.about,
        percent: (!attack.has_own_size()).then_some(percent),
        missed: checks.iter().filter_map(Check::missed).collect(),
        targets: checks.len(),
        checks,
        figures: medians,
    }
}

/// A test case for each target of each row.
fn suite(report: &Report) -> Suite {
    let case = |row: &Row, check: &Check| {
        let share = row
            .percent
            .map_or_else(String::new, |percent| format!(" {percent} %"));
        Case {
            name: format!("{}{share}: {}", row.attack, check.wanted()),
            measured: check.found.map_or_else(String::new, table::number),
            failure: check.missed().map(|message| Failure {
                detail: row.about.to_owned(),
                message,
            }),
        }
    };
    let rows = report.rows.iter();
    Suite {
        name: "attacks".into(),
        cases: rows
            .flat_map(|row| row.checks.iter().map(move |check| case(row, check)))
            .collect(),
    }
}
