//! Which of the faults does it take?
//!
//! Delta debugging over a failing plan's list of faults: leave out a part of it, keep what still fails in the
//! same way, try smaller parts, until no single fault can be left out. A run with the same faults and seed is
//! the same run, so what is kept fails for whoever plays it.
//!
//! Source: Zeller, Hildebrandt: Simplifying and isolating failure-inducing input, IEEE TSE 28(2), 2002.

use super::plan::Plan;
use super::run::{Ended, play};

/// No more runs than this: the rest of the list is good enough then.
const RUNS_MAX: usize = 120;

/// The plan with as few of its faults as still end like this. `progress` hears the share of the work that is done.
pub fn shrink(plan: &Plan, ended: Ended, mut progress: impl FnMut(f64)) -> Plan {
    let mut runs = 0;
    let faults = minimal(&plan.faults, |faults| {
        let part = Plan {
            faults: faults.to_vec(),
            ..plan.clone()
        };
        // Not so where a unit has troubles that nobody votes in any more.
        if !part.is_sound() {
            return false;
        }
        runs += 1;
        progress(runs as f64 / RUNS_MAX as f64);
        runs <= RUNS_MAX && play(&part).ended == ended
    });
    Plan {
        faults,
        ..plan.clone()
    }
}

/// A part of `items` that still `fails`, and no longer does without any one of its items (ddmin).
fn minimal<T: Clone>(items: &[T], mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut kept = items.to_vec();
    let mut parts = 2;
    while !kept.is_empty() {
        let length = kept.len().div_ceil(parts);
        let without = |begin: usize| -> Vec<T> {
            let end = (begin + length).min(kept.len());
            kept[..begin].iter().chain(&kept[end..]).cloned().collect()
        };
        let shorter = (0..kept.len())
            .step_by(length)
            .map(without)
            .find(|shorter| fails(shorter));
        match shorter {
            Some(shorter) => {
                kept = shorter;
                parts = (parts - 1).max(2);
            }
            None if length == 1 => break,
            None => parts = (parts * 2).min(kept.len()),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_fails_and_needs_every_one_of_its_items() {
        let items: Vec<u32> = (0..40).collect();
        for needed in [vec![], vec![7], vec![3, 4], vec![0, 19, 39], (10..20).collect()] {
            let mut runs = 0;
            let fails = |part: &[u32]| {
                runs += 1;
                needed.iter().all(|item| part.contains(item))
            };
            assert_eq!(minimal(&items, fails), needed);
            assert!(runs < 400, "{runs} runs");
        }
    }
}
