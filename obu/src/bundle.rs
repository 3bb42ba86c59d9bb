//! What goes into the next report?
//!
//! In: observations as they are made. Out: the observations of one report, once it is full or its first has
//! waited long enough. Ages are reckoned when the report is sealed; what has become older than an age can say
//! (65 s) is left out and counted.

use milepost_wire::{Observation, Report, Timestamp};

/// Observations that wait for company.
#[derive(Clone, Debug)]
pub struct Bundle {
    wait_ms: u64,
    len_max: usize,
    /// When each was made, and what was seen; its age is not known yet.
    seen: Vec<(Timestamp, Observation)>,
    /// When the report is to be sealed; `None` while nothing waits.
    due_at: Option<Timestamp>,
}

impl Bundle {
    /// Sealed after `wait_ms` or with `len_max` observations, which is brought within 1 and
    /// [`Report::OBSERVATIONS_MAX`].
    pub fn new(wait_ms: u64, len_max: usize) -> Self {
        let len_max = len_max.clamp(1, Report::OBSERVATIONS_MAX);
        Self {
            wait_ms,
            len_max,
            seen: Vec::new(),
            due_at: None,
        }
    }

    /// Adds what was seen at `seen_at`. The caller seals when [`Bundle::is_due`].
    pub fn add(&mut self, now: Timestamp, seen_at: Timestamp, observation: Observation) {
        self.seen.push((seen_at, observation));
        self.due_at.get_or_insert(now.plus(self.wait_ms));
    }

    /// When it is to be sealed, where anything waits.
    pub fn due_at(&self) -> Option<Timestamp> {
        self.due_at
    }

    /// Whether it is to be sealed now.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.seen.len() >= self.len_max || self.due_at.is_some_and(|due_at| due_at <= now)
    }

    /// Takes everything out for a report sent now, and says how many were too old for it.
    pub fn seal(&mut self, now: Timestamp) -> (Vec<Observation>, usize) {
        let seen = std::mem::take(&mut self.seen);
        self.due_at = None;
        let count = seen.len();
        let with_age = |(seen_at, observation): (Timestamp, Observation)| {
            let age_ms = u16::try_from(now.since(seen_at)).ok()?;
            Some(Observation {
                age_ms,
                ..observation
            })
        };
        let observations: Vec<_> = seen.into_iter().filter_map(with_age).collect();
        let too_old = count - observations.len();
        (observations, too_old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use milepost_wire::{Cell, Heading, Measure, Place};

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn seen() -> Observation {
        Observation {
            cell: Cell::segment("a"),
            place: Place::from_degrees(44.5, 11.3).unwrap(),
            heading: Heading::UNAVAILABLE,
            age_ms: 0,
            measure: Measure::Congestion(1),
        }
    }

    #[test]
    fn a_bundle_is_due_when_its_first_has_waited_or_it_is_full() {
        let mut bundle = Bundle::new(1000, 2);
        assert!(!bundle.is_due(at(9999)));
        bundle.add(at(100), at(100), seen());
        assert!(!bundle.is_due(at(1099)));
        assert!(bundle.is_due(at(1100)));
        bundle.add(at(200), at(200), seen());
        assert!(bundle.is_due(at(200)));
    }

    #[test]
    fn an_age_is_reckoned_from_when_it_is_sent() {
        let mut bundle = Bundle::new(1000, 8);
        bundle.add(at(100_000), at(99_000), seen());
        bundle.add(at(100_000), at(100_500), seen());
        bundle.add(at(100_000), at(34_000), seen());
        let (observations, too_old) = bundle.seal(at(100_400));
        assert_eq!(
            observations.iter().map(|seen| seen.age_ms).collect::<Vec<_>>(),
            [1400, 0]
        );
        assert_eq!(too_old, 1);
        assert_eq!(bundle.due_at(), None);
    }
}
