//! Do vehicles appear out of nowhere?
//!
//! A vehicle that was never heard before enters from somewhere: out of a side street, from behind a lorry. One
//! by one that happens all the time; several at one place within seconds are made up (a Sybil attack). Until
//! the judge itself has listened for a while, everybody is new and nobody is suspected.

use std::collections::VecDeque;

use super::claim::Claim;

/// How long a newcomer is new, in ms.
const NEW_MS: u64 = 10_000;
/// How near newcomers form a crowd, in metres.
const CROWD_M: f64 = 50.0;
/// So many newcomers before one are no coincidence.
const CROWD_MIN: usize = 3;
/// Newcomers that are remembered; the oldest leave first.
const NEWCOMERS_MAX: usize = 1_024;

/// Who came lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd {
    newcomers: VecDeque<(u64, f64, f64)>,
    since_ms: Option<u64>,
}

impl Crowd {
    /// Whether this newcomer is one of a crowd; remembers it.
    pub(super) fn joins(&mut self, claim: &Claim) -> bool {
        let since_ms = *self.since_ms.get_or_insert(claim.at_ms);
        if claim.at_ms < since_ms.saturating_add(NEW_MS) {
            return false;
        }
        while self.newcomers.len() >= NEWCOMERS_MAX
            || self
                .newcomers
                .front()
                .is_some_and(|(at_ms, ..)| at_ms.saturating_add(NEW_MS) < claim.at_ms)
        {
            self.newcomers.pop_front();
        }
        let near = |(_, x_m, y_m): &&(u64, f64, f64)| (x_m - claim.x_m).hypot(y_m - claim.y_m) < CROWD_M;
        let before = self.newcomers.iter().filter(near).count();
        self.newcomers.push_back((claim.at_ms, claim.x_m, claim.y_m));
        before >= CROWD_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plausibility::claim::tests::driving;

    /// Which of the newcomers at these times, all in one place, are a crowd.
    fn joins(times_ms: &[u64]) -> Vec<bool> {
        let mut crowd = Crowd::default();
        let newcomer = |(vehicle, at_ms): (usize, &u64)| Claim {
            at_ms: *at_ms,
            ..driving(vehicle as u64, 0, 10.0, 0.0)
        };
        times_ms
            .iter()
            .enumerate()
            .map(|claim| crowd.joins(&newcomer(claim)))
            .collect()
    }

    #[test]
    fn the_fourth_newcomer_in_one_place_within_seconds_is_one_too_many() {
        assert_eq!(
            joins(&[0, 20_000, 21_000, 22_000, 23_000]),
            [false, false, false, false, true]
        );
    }

    #[test]
    fn newcomers_one_by_one_are_welcome() {
        assert!(
            joins(&[0, 20_000, 24_000, 28_000, 32_000, 36_000])
                .iter()
                .all(|joins| !joins)
        );
    }

    #[test]
    fn while_the_judge_is_new_itself_everybody_may_be() {
        assert!(joins(&[0, 0, 1, 2, 3, 4, 9_999]).iter().all(|joins| !joins));
    }
}
