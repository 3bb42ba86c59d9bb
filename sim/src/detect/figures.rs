//! How often were the checks right?
//!
//! A [`Confusion`] matrix for messages and one for vehicles, and for each check how many messages it caught and
//! how many of those were lies. Ratios without a case are 0.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use milepost_rsu::plausibility::{Check, Checks};
use serde_json::{Value, json};

/// How often something was flagged, and should have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Lies that were flagged.
    pub true_positives: u64,
    /// Truths that were flagged.
    pub false_positives: u64,
    /// Truths that were not.
    pub true_negatives: u64,
    /// Lies that were not.
    pub false_negatives: u64,
}

/// What came of judging a log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Receptions, of which several may be of one message.
    pub received: u64,
    /// Messages, by what is known once an accusation can reach back to them no more.
    pub messages: Confusion,
    /// Messages, by what is known when they are heard.
    pub at_once: Confusion,
    /// Vehicles, by how they stand at their last message. One that lies at all counts as a liar.
    pub vehicles: Confusion,
    /// For each check, the messages that fail it, and those of them that are lies.
    pub checks: BTreeMap<Check, (u64, u64)>,
}

impl Figures {
    pub(super) fn count(&mut self, lies: bool, mut failed: Checks, reached: bool) {
        self.at_once.count(lies, !failed.is_empty());
        if reached {
            failed.insert(Check::History);
        }
        self.messages.count(lies, !failed.is_empty());
        for check in failed.iter() {
            let (hits, true_hits) = self.checks.entry(check).or_default();
            *hits += 1;
            *true_hits += u64::from(lies);
        }
    }

    /// One JSON object.
    pub fn json(&self) -> Value {
        let checks: serde_json::Map<String, Value> = Check::ALL
            .iter()
            .map(|check| {
                let (hits, true_hits) = self.checks.get(check).copied().unwrap_or_default();
                (
                    check.label().to_owned(),
                    json!({ "hits": hits, "true_hits": true_hits }),
                )
            })
            .collect();
        json!({
            "received": self.received,
            "messages": self.messages.json(),
            "at_once": self.at_once.json(),
            "vehicles": self.vehicles.json(),
            "checks": checks,
        })
    }

    /// Two tables: the matrices, and the checks that caught something.
    pub fn table(&self) -> String {
        let mut table = format!(
            "{:<18}{:>8}{:>8}{:>8}{:>8}{:>11}{:>8}{:>7}{:>16}\n",
            "", "tp", "fp", "tn", "fn", "precision", "recall", "F1", "honest flagged"
        );
        for (name, matrix) in [
            ("messages", &self.messages),
            ("messages, at once", &self.at_once),
            ("vehicles", &self.vehicles),
        ] {
            writeln!(
                table,
                "{name:<18}{:>8}{:>8}{:>8}{:>8}{:>11.3}{:>8.3}{:>7.3}{:>14.2} %",
                matrix.true_positives,
                matrix.false_positives,
                matrix.true_negatives,
                matrix.false_negatives,
                matrix.precision(),
                matrix.recall(),
                matrix.f1(),
                100.0 * matrix.honest_flagged(),
            )
            .expect("a string takes everything");
        }
        write!(table, "\n{:<18}{:>8}{:>8}", "check", "hits", "lies").expect("a string takes everything");
        for (check, (hits, true_hits)) in &self.checks {
            write!(table, "\n{:<18}{hits:>8}{true_hits:>8}", check.label())
                .expect("a string takes everything");
        }
        table
    }
}

impl Confusion {
    pub(super) const fn count(&mut self, lies: bool, flagged: bool) {
        match (lies, flagged) {
            (true, true) => self.true_positives += 1,
            (false, true) => self.false_positives += 1,
            (false, false) => self.true_negatives += 1,
            (true, false) => self.false_negatives += 1,
        }
    }

    /// Of what is flagged, the share that are lies.
    pub fn precision(&self) -> f64 {
        ratio(self.true_positives, self.true_positives + self.false_positives)
    }

    /// Of the lies, the share that is flagged.
    pub fn recall(&self) -> f64 {
        ratio(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// The harmonic mean of precision and recall.
    pub fn f1(&self) -> f64 {
        let right = 2 * self.true_positives;
        ratio(right, right + self.false_positives + self.false_negatives)
    }

    /// Of the truths, the share that is flagged.
    pub fn honest_flagged(&self) -> f64 {
        ratio(self.false_positives, self.false_positives + self.true_negatives)
    }

    fn json(&self) -> Value {
        json!({
            "tp": self.true_positives,
            "fp": self.false_positives,
            "tn": self.true_negatives,
            "fn": self.false_negatives,
            "precision": self.precision(),
            "recall": self.recall(),
            "f1": self.f1(),
            "honest_flagged": self.honest_flagged(),
        })
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_matrix() {
        let matrix = Confusion {
            true_positives: 30,
            false_positives: 10,
            true_negatives: 90,
            false_negatives: 20,
        };
        assert_eq!(matrix.precision(), 0.75);
        assert_eq!(matrix.recall(), 0.6);
        assert!((matrix.f1() - 2.0 * 0.75 * 0.6 / 1.35).abs() < 1e-12);
        assert_eq!(matrix.honest_flagged(), 0.1);
        assert_eq!(Confusion::default().f1(), 0.0);
    }

    #[test]
    fn what_an_accusation_reaches_counts_in_the_end_and_not_at_once() {
        let mut figures = Figures::default();
        figures.count(true, Checks::NONE, true);
        figures.count(false, Checks::NONE, false);
        assert_eq!(
            (figures.messages.true_positives, figures.at_once.false_negatives),
            (1, 1)
        );
        assert_eq!(figures.checks[&Check::History], (1, 1));
        assert_eq!(figures.json()["checks"]["jump"]["hits"], 0);
        assert!(figures.table().contains("history"));
    }
}
