//! Was it as expected?

use std::collections::BTreeMap;

use serde_json::Value;

use super::Figures;
use crate::scenario::{Expectation, Range};

impl Figures {
    /// What was found of each expected figure.
    pub fn checked(&self, expect: &BTreeMap<String, Expectation>) -> Vec<Checked> {
        let all = serde_json::to_value(self).expect("plain data");
        let check = |(path, expected): (&String, &Expectation)| {
            let found = find(&all, path);
            Checked {
                path: path.clone(),
                found: found.map(Value::to_string),
                expected: describe(expected),
                is_met: found.is_some_and(|found| meets(found, expected)),
            }
        };
        expect.iter().map(check).collect()
    }

    /// The expectations that are not met, each with what was found.
    pub fn missed(&self, expect: &BTreeMap<String, Expectation>) -> Vec<String> {
        let checked = self.checked(expect);
        checked.iter().filter_map(Checked::missed).collect()
    }
}

/// An expected figure, and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Where it stands in what `--json` prints.
    pub path: String,
    /// As `--json` prints it; `None` where there is no such figure.
    pub found: Option<String>,
    /// In words.
    pub expected: String,
    /// Whether it is as expected.
    pub is_met: bool,
}

impl Checked {
    /// What is wrong, in one line; `None` where nothing is.
    pub fn missed(&self) -> Option<String> {
        let Self { path, expected, .. } = self;
        (!self.is_met).then(|| match &self.found {
            None => format!("{path}: there is no such figure"),
            Some(found) => format!("{path} is {found}, expected {expected}"),
        })
    }
}

/// A figure by its dotted path. A step into a list is an index, or the `behaviour` or `id` of an entry.
fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, step| match value {
        Value::Array(entries) => match step.parse::<usize>() {
            Ok(index) => entries.get(index),
            Err(_) => entries.iter().find(|entry| {
                ["behaviour", "id"]
                    .iter()
                    .any(|name| entry.get(name).is_some_and(|text| text == step))
            }),
        },
        _ => value.get(step),
    })
}

fn meets(found: &Value, expected: &Expectation) -> bool {
    match expected {
        Expectation::Bool(expected) => found.as_bool() == Some(*expected),
        Expectation::Text(expected) => found.as_str() == Some(expected),
        Expectation::Number(expected) => found
            .as_f64()
            .is_some_and(|found| (found - expected).abs() < 1e-9),
        Expectation::Range(Range { min, max }) => found
            .as_f64()
            .is_some_and(|found| min.is_none_or(|min| found >= min) && max.is_none_or(|max| found <= max)),
    }
}

fn describe(expected: &Expectation) -> String {
    match expected {
        Expectation::Bool(expected) => expected.to_string(),
        Expectation::Number(expected) => expected.to_string(),
        Expectation::Text(expected) => format!("{expected:?}"),
        Expectation::Range(Range {
            min: Some(min),
            max: Some(max),
        }) => format!("{min} to {max}"),
        Expectation::Range(Range {
            min: Some(min),
            max: None,
        }) => format!("at least {min}"),
        Expectation::Range(Range {
            min: None,
            max: Some(max),
        }) => format!("at most {max}"),
        Expectation::Range(Range { min: None, max: None }) => "a number".into(),
    }
}

#[cfg(test)]
mod tests {
    use milepost_wire::Hash;

    use super::super::*;
    use super::*;

    fn figures() -> Figures {
        Figures {
            seed: 1,
            minutes: 1.0,
            vehicles: 2,
            members: vec![],
            reports: ReportFigures::default(),
            picture: PictureFigures {
                speed_mae_kmh: 2.5,
                ..PictureFigures::default()
            },
            fleets: fleets(&[], &[("honest".into(), vec![]), ("bias".into(), vec![])]),
            insiders: Vec::new(),
            rewards: RewardFigures::default(),
            ledger: LedgerFigures::default(),
            faults: BTreeMap::new(),
            invariants: Invariants::HOLD,
            state_root: Hash::ZERO,
        }
    }

    #[test]
    fn a_missed_expectation_says_which_and_what_was_found() {
        let range = |min, max| Expectation::Range(Range { min, max });
        let expect = BTreeMap::from([
            ("picture.speed_mae_kmh".to_owned(), range(None, Some(2.0))),
            ("picture.items".to_owned(), Expectation::Number(0.0)),
            ("invariants.agreement".to_owned(), Expectation::Bool(true)),
            ("fleets.bias.count".to_owned(), range(Some(1.0), None)),
            ("fleets.0.count".to_owned(), Expectation::Number(0.0)),
            ("picture.colour".to_owned(), Expectation::Bool(true)),
        ]);
        assert_eq!(
            figures().missed(&expect),
            [
                "fleets.bias.count is 0, expected at least 1",
                "picture.colour: there is no such figure",
                "picture.speed_mae_kmh is 2.5, expected at most 2",
            ]
        );
    }
}
