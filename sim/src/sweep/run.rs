//! What came of a seed, and of many?
//!
//! Each seed is played on one thread, many at once on as many as there are; the outcomes come in the order of
//! seeds whatever the order in which they were played. A panic is a failure of its seed, not of the sweep.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use super::plan::Plan;
use crate::control::Control;
use crate::town;

/// What came of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which seed.
    pub seed: u64,
    /// How it ended.
    pub ended: Ended,
    /// What went wrong first; empty where nothing did.
    pub what: String,
    /// The greatest round that an honest member voted in.
    pub worst_round: u32,
    /// How many blocks there were.
    pub height: u64,
    /// How many faults there were.
    pub faults: u64,
    /// How many changes of members were done.
    pub changes: u64,
    /// How many other decisions of the members were carried out.
    pub decisions: u64,
    /// How many members lost their vote by a sentence.
    pub jailed: u64,
    /// How many complaints the ledger took, of members that do not hand out what they acknowledged.
    pub complaints: u64,
    /// Of how many members it took them for true.
    pub withheld: u64,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything held.
    Well,
    /// Nothing was broken, but the chain did not go on.
    Stuck,
    /// A promise was broken, or a member did not start again.
    Broken,
}

/// Plays a plan.
pub fn play(plan: &Plan) -> Outcome {
    let scenario = plan.scenario();
    let played = catch_unwind(AssertUnwindSafe(|| town::play(&scenario, plan.seed, |_| ())));
    let faults = plan.faults.len() as u64;
    let failed = |what: String| Outcome {
        seed: plan.seed,
        ended: Ended::Broken,
        what,
        worst_round: 0,
        height: 0,
        faults,
        changes: 0,
        decisions: 0,
        jailed: 0,
        complaints: 0,
        withheld: 0,
    };
    let played = match played {
        Ok(Ok(played)) => played,
        Ok(Err(error)) => return failed(error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            return failed(format!("panicked: {}", text.unwrap_or_default()));
        }
    };
    let invariants = played.figures.invariants;
    Outcome {
        seed: plan.seed,
        ended: match (invariants.is_safe(), invariants.progress) {
            (false, _) => Ended::Broken,
            (true, false) => Ended::Stuck,
            (true, true) => Ended::Well,
        },
        what: played.broken.first().cloned().unwrap_or_default(),
        worst_round: played.worst_round,
        height: played.figures.ledger.height,
        faults,
        changes: played.changes,
        decisions: played.decisions,
        jailed: played.jailed,
        complaints: played.complaints,
        withheld: played.withheld.len() as u64,
    }
}

/// Plays many seeds, `threads` at once, by default as many as there are processors. `told` hears of each outcome as
/// it comes, with how many there are by then; all of them are returned in the order of seeds.
///
/// # Panics
///
/// Where a thread cannot be started.
pub fn sweep(
    seeds: Range<u64>,
    control: Option<Control>,
    threads: Option<usize>,
    mut told: impl FnMut(u64, &Outcome),
) -> Vec<Outcome> {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.unwrap_or_else(processors).max(1);
    let (next, end) = (AtomicU64::new(seeds.start), seeds.end);
    let (sender, outcomes) = mpsc::channel();
    let mut all = std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                // A pool of its own, of one thread: checking a batch's signatures wakes no other seed's thread.
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(1)
                    .build()
                    .expect("a thread");
                pool.install(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= end || sender.send(play(&Plan::draw(seed, control))).is_err() {
                            break;
                        }
                    }
                });
            });
        }
        drop(sender);
        let mut all = Vec::new();
        for outcome in outcomes {
            all.push(outcome);
            told(all.len() as u64, all.last().expect("just pushed"));
        }
        all
    });
    all.sort_by_key(|outcome| outcome.seed);
    all
}
