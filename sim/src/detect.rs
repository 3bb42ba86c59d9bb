//! How well do the roadside's plausibility checks tell lies from truth?
//!
//! In: labelled logs in VeReMi NextGen's JSON, one file a receiver. They are merged by the time of reception, as
//! members' batches are: a message that several receivers heard is one message, judged and counted once. Each
//! goes through the [`Judge`] that also sits in a roadside unit, which sees no label and no name but the
//! pseudonym. Out: [`Figures`] per message, per vehicle and per check.
//!
//! A message counts as flagged if it fails a check when it is heard, or if its vehicle's places are accused within
//! [`Bounds::reach_back_ms`] after it; `at_once` counts the former alone. A vehicle counts as accused by how it
//! stands at its last message.
//!
//! Memory: a judge, a line of text and a record for each file, the messages of the last
//! [`Bounds::reach_back_ms`], and a few bytes for each vehicle.

mod figures;
mod log;

use std::collections::{BTreeMap, VecDeque};
use std::io::IsTerminal;
use std::path::PathBuf;

use milepost_rsu::plausibility::{Bounds, Checks, Judge};

pub use self::figures::{Confusion, Figures};
pub use self::log::{Heard, Log, LogError};
use milepost_wire::recent::Recent;

use crate::progress;

/// What is asked for.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Logs in VeReMi NextGen's JSON: an array, or one object a line. Several receivers' files are merged.
    #[arg(long = "in", value_name = "FILE", num_args = 1.., required = true)]
    pub inputs: Vec<PathBuf>,
    /// Prints one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,
}

/// A message that is on several receivers' logs is known again among so many newest ones.
const HEARD_MAX: usize = 65_536;

/// Reads the logs, judges them and prints the figures.
///
/// # Errors
///
/// [`LogError`]: a file cannot be read, or holds something else; it says where.
pub fn run(options: &Options) -> Result<(), LogError> {
    let log = Log::open(&options.inputs)?;
    let bar = progress::bar("messages", std::io::stderr().is_terminal());
    let figures = judge(log, Bounds::default(), |share| bar.at(share));
    bar.finish();
    let figures = figures?;
    println!(
        "{}",
        if options.json {
            figures.json().to_string()
        } else {
            figures.table()
        }
    );
    Ok(())
}

/// Judges a log; `progress` is told the share that is read.
///
/// # Errors
///
/// [`LogError`]: what follows in the log cannot be read.
pub fn judge(mut log: Log, bounds: Bounds, progress: impl Fn(f64)) -> Result<Figures, LogError> {
    let mut session = Session {
        judge: Judge::new(bounds),
        bounds,
        merged: Recent::new(HEARD_MAX),
        open: VecDeque::new(),
        vehicles: BTreeMap::new(),
        figures: Figures::default(),
    };
    while let Some(heard) = log.read()? {
        session.hear(&heard);
        progress(log.share_read());
    }
    Ok(session.close())
}

struct Session {
    judge: Judge,
    bounds: Bounds,
    merged: Recent<Identity>,
    /// Messages that an accusation may still reach back to.
    open: VecDeque<Open>,
    vehicles: BTreeMap<u64, Vehicle>,
    figures: Figures,
}

/// What makes two receptions one message: sender, number, time and all that it says.
type Identity = (u64, u64, u64, [u64; 5]);

struct Open {
    number: u64,
    at_ms: u64,
    lies: bool,
    failed: Checks,
    reached: bool,
}

#[derive(Default)]
struct Vehicle {
    lies: bool,
    accused: bool,
}

impl Session {
    fn hear(&mut self, heard: &Heard) {
        self.figures.received += 1;
        let claim = &heard.claim;
        let says = [
            claim.x_m,
            claim.y_m,
            claim.speed_m_per_s,
            claim.heading_degrees,
            claim.acceleration_m_per_s2.unwrap_or(f64::NAN),
        ];
        let identity = (claim.vehicle, heard.message, claim.at_ms, says.map(f64::to_bits));
        if self.merged.contains(&identity) {
            return;
        }
        self.merged.insert(identity, ());

        let verdict = self.judge.hear(claim);
        let vehicle = self.vehicles.entry(claim.vehicle).or_default();
        vehicle.lies |= heard.lies;
        vehicle.accused = verdict.accused;
        self.open.push_back(Open {
            number: verdict.number,
            at_ms: claim.at_ms,
            lies: heard.lies,
            failed: verdict.failed,
            reached: false,
        });
        for number in verdict.reaches_back {
            let first = self.open.front().map_or(0, |open| open.number);
            let at = number.checked_sub(first).and_then(|at| usize::try_from(at).ok());
            if let Some(open) = at.and_then(|at| self.open.get_mut(at)) {
                open.reached = true;
            }
        }
        while self
            .open
            .front()
            .is_some_and(|open| open.at_ms.saturating_add(self.bounds.reach_back_ms) < claim.at_ms)
        {
            self.settle();
        }
    }

    fn settle(&mut self) {
        if let Some(open) = self.open.pop_front() {
            self.figures.count(open.lies, open.failed, open.reached);
        }
    }

    fn close(mut self) -> Figures {
        while !self.open.is_empty() {
            self.settle();
        }
        for vehicle in self.vehicles.values() {
            self.figures.vehicles.count(vehicle.lies, vehicle.accused);
        }
        self.figures
    }
}
