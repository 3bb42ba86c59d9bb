//! What is true, where sources from elsewhere contradict each other?
//!
//! `milepost-sim truth`: the truth and trust rules alone, over any [`table`] of claims. Sources that speak with one
//! voice are put into [`groups`], trust is [`learn`]t within the file and nowhere else, and every item gets an
//! estimate. See `docs/adr/0013-claims.md`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use milepost_incentives::claims::Judgement;
use milepost_incentives::params::Tolerance;
use milepost_wire::state::Q;

use crate::progress;

pub mod groups;
pub mod learn;
pub mod table;

use learn::{Learnt, Said};
use table::{Claims, Decimal, Subject, decimal};

/// What is asked for.
#[derive(clap::Args)]
pub struct Options {
    /// Claims: CSV with the columns source,item,kind,value and, if there is one, time (of a source's several claims
    /// on an item the latest counts); plain or gzipped.
    #[arg(long = "in", value_name = "CLAIMS.csv")]
    input: PathBuf,
    /// Where the estimates go: item,kind,value,low,high,sources,groups,weight,spread.
    #[arg(long, value_name = "EST.csv")]
    out: PathBuf,
    /// Values no further apart agree, in the values' unit. Default: 15 steps of the finest decimal place used
    /// (15 minutes, where values are whole minutes), or four times the first quartile of the distances between two
    /// claims on an item, where that is more.
    #[arg(long)]
    d0: Option<Decimal>,
    /// Values at least so far apart contradict each other, in the values' unit. Default: three times d0.
    #[arg(long)]
    d1: Option<Decimal>,
    /// Values go round: after this one comes 0 again, as for minutes of the day with 1440.
    #[arg(long)]
    cycle: Option<Decimal>,
    /// Also writes what is thought of each source: source,group,claims,evaluated,good,bad,reputation,quarantined.
    #[arg(long, value_name = "SOURCES.csv")]
    sources: Option<PathBuf>,
    /// Prints one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum TruthError {
    /// The claims cannot be read.
    #[error(transparent)]
    Read(#[from] table::ReadError),
    /// The numbers given make no sense.
    #[error("{0}")]
    Usage(String),
    /// What came of it cannot be written.
    #[error("{path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: csv::Error,
    },
}

impl TruthError {
    /// Whether the caller's input is at fault, rather than the disk.
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Write { .. })
    }
}

/// What came of it.
#[derive(Debug, serde::Serialize)]
pub struct Summary {
    /// How many claims counted.
    pub claims: usize,
    /// How many items got an estimate.
    pub items: usize,
    /// How many of these rest on sources in quarantine alone, with weight 0.
    pub items_untrusted: usize,
    /// How many sources there are, ...
    pub sources: usize,
    /// ... in how many groups ...
    pub groups: usize,
    /// ... and how many of them are not believed in the end.
    pub quarantined: usize,
    /// Near, in the values' unit.
    pub d0: String,
    /// Far, in the values' unit.
    pub d1: String,
    /// How many epochs it took until trust stood still.
    pub epochs: u32,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "claims       {}", self.claims)?;
        writeln!(
            f,
            "items        {}, {} of them from untrusted sources alone",
            self.items, self.items_untrusted
        )?;
        writeln!(
            f,
            "sources      {} in {} groups, {} not believed",
            self.sources, self.groups, self.quarantined
        )?;
        writeln!(
            f,
            "tolerance    agree within {}, contradict from {} on",
            self.d0, self.d1
        )?;
        write!(f, "epochs       {}", self.epochs)
    }
}

/// Reads, learns, writes; prints the summary.
///
/// # Errors
///
/// [`TruthError`].
pub fn run(options: &Options) -> Result<(), TruthError> {
    let claims = table::read(&options.input)?;
    let cycle = options
        .cycle
        .map(|cycle| cycle_steps(cycle, claims.places))
        .transpose()?;
    let items = unrolled(&claims, cycle);
    let said: Vec<&Said> = items.iter().map(Vec::as_slice).collect();
    let groups = groups::Likeness::of(claims.sources.len(), said.iter().copied()).groups();
    let tolerance = tolerance(options, claims.places, &said)?;
    let bar = progress::bar("epochs", std::io::stderr().is_terminal());
    let learnt = learn::learn(&said, &groups, tolerance, |done| bar.at(done));
    bar.finish();

    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TruthError::Write { path, source }
    };
    write_estimates(&options.out, &claims, &said, &learnt, cycle).map_err(failed(&options.out))?;
    if let Some(path) = &options.sources {
        write_sources(path, &claims, &learnt).map_err(failed(path))?;
    }
    let founders: std::collections::BTreeSet<u64> = groups.iter().copied().collect();
    let summary = Summary {
        claims: claims.len(),
        items: claims.subjects.len(),
        items_untrusted: learnt
            .judgements
            .iter()
            .filter(|judgement| judgement.is_none())
            .count(),
        sources: claims.sources.len(),
        groups: founders.len(),
        quarantined: learnt
            .sources
            .iter()
            .filter(|source| source.trust.is_quarantined())
            .count(),
        d0: decimal(tolerance.near.into(), claims.places),
        d1: decimal(tolerance.far.into(), claims.places),
        epochs: learnt.epochs,
    };
    if options.json {
        println!("{}", serde_json::to_string(&summary).expect("plain data"));
    } else {
        println!("{summary}");
    }
    Ok(())
}

fn cycle_steps(cycle: Decimal, places: u32) -> Result<i64, TruthError> {
    if cycle.places() > places {
        return Err(TruthError::Usage(format!(
            "--cycle has more decimal places than the values: {places}"
        )));
    }
    let steps = cycle.steps(places);
    if steps < 2 {
        return Err(TruthError::Usage("--cycle must be positive".to_owned()));
    }
    Ok(steps)
}

/// The claims on each item; on a cycle, each as the nearest turn to the claim that is nearest to all, so that
/// midnight is no gap.
fn unrolled(claims: &Claims, cycle: Option<i64>) -> Vec<Vec<(u32, i64)>> {
    let item = |(_, said): &(Subject, Vec<(u32, i64)>)| {
        let Some(cycle) = cycle else { return said.clone() };
        let offset = |value: i64, from: i64| (value - from + cycle / 2).rem_euclid(cycle) - cycle / 2;
        let total = |pivot: i64| {
            said.iter()
                .map(|&(_, value)| i128::from(offset(value, pivot).abs()))
                .sum::<i128>()
        };
        let pivot = said
            .iter()
            .map(|&(_, value)| value)
            .take(PIVOTS_MAX)
            .min_by_key(|&pivot| total(pivot));
        let pivot = pivot.unwrap_or(0);
        said.iter()
            .map(|&(source, value)| (source, pivot + offset(value, pivot)))
            .collect()
    };
    claims.subjects.iter().map(item).collect()
}

/// How many claims on an item are tried as its centre.
const PIVOTS_MAX: usize = 256;

/// From the options, or from the claims.
fn tolerance(options: &Options, places: u32, items: &[&Said]) -> Result<Tolerance, TruthError> {
    let steps = |name: &str, given: Option<Decimal>| {
        let Some(given) = given else { return Ok(None) };
        // Finer than the values are, a tolerance rounds down to where they can be.
        let finest = given.places().max(places);
        let steps = given.steps(finest) / 10i64.pow(finest - places);
        u32::try_from(steps).map(Some).map_err(|_| {
            let most = decimal(u32::MAX.into(), places);
            TruthError::Usage(format!(
                "{name} must lie between 0 and {most}, the values having {places} decimal places"
            ))
        })
    };
    let (near, far) = (steps("--d0", options.d0)?, steps("--d1", options.d1)?);
    let near = near
        .or(far.map(|far| far / 3))
        .unwrap_or_else(|| near_by_default(items));
    let far = far.unwrap_or(near.saturating_mul(3).max(1));
    if near >= far {
        let (near, far) = (decimal(near.into(), places), decimal(far.into(), places));
        return Err(TruthError::Usage(format!(
            "--d0 must be less than --d1: {near} stands against {far}"
        )));
    }
    Ok(Tolerance { near, far })
}

/// Fifteen steps, or what the claims' scatter suggests.
///
/// The first quartile of pairwise distances is a scale that half of the claims cannot break (Croux and Rousseeuw
/// 1993); of normal errors it is 0.45 standard deviations, so four times that is 1.8 of them. Speeds agree within
/// 1.7 standard deviations of a sensor.
fn near_by_default(items: &[&Said]) -> u32 {
    const STEPS: u32 = 15;
    const PAIRS_MAX: usize = 1 << 22;
    let mut distances: Vec<u64> = items
        .iter()
        .flat_map(|said| {
            let others = said
                .iter()
                .skip(1)
                .chain(said.iter().take(1))
                .take(said.len() - 1);
            said.iter()
                .zip(others)
                .map(|(one, other)| one.1.abs_diff(other.1))
        })
        .take(PAIRS_MAX)
        .collect();
    let at = distances.len() / 4;
    if at == 0 {
        return STEPS;
    }
    let (_, quartile, _) = distances.select_nth_unstable(at);
    // A third of the range is kept for the far tolerance.
    u32::try_from(quartile.saturating_mul(4))
        .unwrap_or(u32::MAX)
        .clamp(STEPS, u32::MAX / 3)
}

fn write_estimates(
    path: &Path,
    claims: &Claims,
    items: &[&Said],
    learnt: &Learnt,
    cycle: Option<i64>,
) -> Result<(), csv::Error> {
    let shown = |steps: i64| {
        decimal(
            cycle.map_or(steps, |cycle| steps.rem_euclid(cycle)),
            claims.places,
        )
    };
    let mut writer = csv::Writer::from_path(path)?;
    writer.write_record([
        "item", "kind", "value", "low", "high", "sources", "groups", "weight", "spread",
    ])?;
    for (((subject, _), said), judgement) in claims.subjects.iter().zip(items).zip(&learnt.judgements) {
        let judgement = judgement.clone().unwrap_or_else(|| untrusted(said));
        let counting = said
            .iter()
            .filter(|&&(source, _)| !learnt.sources[source as usize].trust.is_quarantined())
            .count();
        writer.write_record([
            &subject.item,
            &subject.kind,
            &shown(judgement.value),
            &shown(judgement.low),
            &shown(judgement.high),
            &counting.to_string(),
            &judgement.groups.to_string(),
            &format!("{:.3}", judgement.weight as f64 / Q as f64),
            &decimal(judgement.spread, claims.places),
        ])?;
    }
    writer.flush()?;
    Ok(())
}

/// Where nobody trusted speaks, the plain median, which weighs nothing: better than silence for a comparison.
fn untrusted(said: &Said) -> Judgement {
    let mut values: Vec<i64> = said.iter().map(|&(_, value)| value).collect();
    values.sort_unstable();
    let (low, high) = (values[0], values[values.len() - 1]);
    Judgement {
        value: values[(values.len() - 1) / 2],
        low,
        high,
        spread: high - low,
        groups: 0,
        weight: 0,
        verdicts: Vec::new(),
    }
}

fn write_sources(path: &Path, claims: &Claims, learnt: &Learnt) -> Result<(), csv::Error> {
    let mut said = vec![0u64; claims.sources.len()];
    for (source, _) in claims.subjects.iter().flat_map(|(_, said)| said) {
        said[*source as usize] += 1;
    }
    let mut writer = csv::Writer::from_path(path)?;
    writer.write_record([
        "source",
        "group",
        "claims",
        "evaluated",
        "good",
        "bad",
        "reputation",
        "quarantined",
    ])?;
    for ((name, source), said) in claims.sources.iter().zip(&learnt.sources).zip(said) {
        writer.write_record([
            name,
            &claims.sources[source.group as usize],
            &said.to_string(),
            &source.tested.evaluated.to_string(),
            &source.tested.good.to_string(),
            &source.tested.bad.to_string(),
            &format!("{:.3}", f64::from(source.trust.reputation()) / Q as f64),
            &source.trust.is_quarantined().to_string(),
        ])?;
    }
    writer.flush()?;
    Ok(())
}
