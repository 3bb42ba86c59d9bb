//! How much speaks against a vehicle?
//!
//! A sequential test (Wald, 1945) for each thing that a vehicle may lie about for good. Evidence is the logarithm
//! of the odds that it lies, in decibans: ten times the decimal logarithm. It starts at one in six, each claim
//! adds or takes off, and what was said under suspicion is not forgotten, but bounded: a vehicle is soon accused
//! and can clear itself.
//!
//! - **Place.** Whose places are accused is believed nothing: a position that is off by a constant is in itself as
//!   good as any other. It takes a drive to tell, so an accusation reaches back over some of it.
//! - **Conduct.** Who lies about speed or direction is accused, too, but each claim is judged by itself: the ones
//!   that fit its motion may be true.
//! - **Entry.** Who came with a crowd is doubted until it has driven on for a while.

use std::collections::VecDeque;

use super::{Bounds, Check, Checks};

/// One in six lies, before anything is known.
const PRIOR: f64 = -7.0;
/// What is held for or against a vehicle at most.
const PLACE_MIN: f64 = -20.0;
const PLACE_MAX: f64 = 30.0;
const CONDUCT_MIN: f64 = -10.0;
const CONDUCT_MAX: f64 = 30.0;
/// A place that no honest vehicle says.
const PLACE_FAILED: f64 = 8.0;
const ECHOED: f64 = 12.0;
/// A motion that few honest claims have, and one that fits.
const CONDUCT_FAILED: f64 = 3.0;
const CONDUCT_FITS: f64 = -0.5;
/// The evidence at which a motion is not taken for that of a body any more: odds of four to one.
const UNSTEADY: f64 = 6.0;
/// What a crowd's newcomers begin with above the accusation, and what each further claim takes off.
const CROWDED: f64 = 4.0;
const DRIVES_ON: f64 = -3.0;
/// Claims of one vehicle that an accusation reaches back to.
const RECENT_MAX: usize = 1_024;

/// What speaks against one vehicle.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    place: f64,
    beside: bool,
    conduct: f64,
    entry: f64,
    /// Its latest claims, by number and time.
    latest: VecDeque<(u64, u64)>,
}

impl Standing {
    pub(super) fn new(crowded: bool, bounds: &Bounds) -> Self {
        Self {
            place: PRIOR,
            beside: false,
            conduct: PRIOR,
            entry: if crowded {
                bounds.accused_decibans + CROWDED
            } else {
                PRIOR
            },
            latest: VecDeque::new(),
        }
    }

    /// Takes the checks that a claim fails, and what its place alone says.
    pub(super) fn weigh(&mut self, failed: Checks, place_decibans: f64) {
        let mut conduct = CONDUCT_FITS;
        self.beside = failed.contains(Check::Beside);
        self.place += place_decibans;
        for check in failed.iter() {
            match check {
                Check::Jump | Check::Frozen | Check::Contradiction => self.place += PLACE_FAILED,
                Check::Echo => self.place += ECHOED,
                Check::SuddenAppearance | Check::OffRoad | Check::History | Check::Beside => {}
                _ => conduct = CONDUCT_FAILED,
            }
        }
        self.place = self.place.clamp(PLACE_MIN, PLACE_MAX);
        self.conduct = (self.conduct + conduct).clamp(CONDUCT_MIN, CONDUCT_MAX);
        self.entry = (self.entry + DRIVES_ON).max(PRIOR);
    }

    /// Whether its places are not believed any more. That it drives beside them is one sum over all its bends, which weighs
    /// for itself.
    pub(super) fn is_misplaced(&self, bounds: &Bounds) -> bool {
        self.beside || self.place >= bounds.accused_decibans
    }

    /// Whether its conduct is rather that of a liar, accused or not.
    pub(super) fn is_unsteady(&self) -> bool {
        self.conduct > UNSTEADY
    }

    /// Whether anything is.
    pub(super) fn is_accused(&self, bounds: &Bounds) -> bool {
        self.is_misplaced(bounds) || self.conduct.max(self.entry) >= bounds.accused_decibans
    }

    /// Remembers a claim by its number, or, once the places are accused, returns those that are suspect with it.
    pub(super) fn reach_back(&mut self, number: u64, at_ms: u64, bounds: &Bounds) -> Vec<u64> {
        while self.latest.len() >= RECENT_MAX
            || self
                .latest
                .front()
                .is_some_and(|(_, then_ms)| then_ms.saturating_add(bounds.reach_back_ms) < at_ms)
        {
            self.latest.pop_front();
        }
        if self.is_misplaced(bounds) {
            return self.latest.drain(..).map(|(number, _)| number).collect();
        }
        self.latest.push_back((number, at_ms));
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn failing(check: Check) -> Checks {
        let mut failed = Checks::NONE;
        failed.insert(check);
        failed
    }

    #[test]
    fn it_reaches_back_no_further_than_allowed() {
        let bounds = Bounds {
            reach_back_ms: 1000,
            ..Bounds::default()
        };
        let mut standing = Standing::new(false, &bounds);
        standing.weigh(Checks::NONE, 1.0);
        for (number, at_ms) in [0, 500, 1000, 1500].into_iter().enumerate() {
            assert!(standing.reach_back(number as u64, at_ms, &bounds).is_empty());
        }
        standing.weigh(Checks::NONE, 40.0);
        assert_eq!(standing.reach_back(4, 1600, &bounds), [2, 3]);
    }

    #[test]
    fn who_lies_about_its_speed_is_accused_and_its_places_are_not() {
        let bounds = Bounds::default();
        let mut standing = Standing::new(false, &bounds);
        for _ in 0..10 {
            standing.weigh(failing(Check::SpeedDrift), 0.0);
        }
        assert!(standing.is_accused(&bounds) && !standing.is_misplaced(&bounds));
    }

    #[test]
    fn who_came_with_a_crowd_clears_itself_by_driving_on() {
        let bounds = Bounds::default();
        let mut standing = Standing::new(true, &bounds);
        standing.weigh(failing(Check::SuddenAppearance), 0.0);
        assert!(standing.is_accused(&bounds));
        standing.weigh(Checks::NONE, 0.0);
        assert!(!standing.is_accused(&bounds));
    }

    proptest! {
        /// One failed motion in eight is noise, whatever came before.
        #[test]
        fn rare_noise_never_accuses(at in proptest::collection::vec(0usize..8, 0..50)) {
            let bounds = Bounds::default();
            let mut standing = Standing::new(false, &bounds);
            for at in at {
                for claim in 0..8 {
                    let noisy = failing(Check::SpeedDistance);
                    standing.weigh(if claim == at { noisy } else { Checks::NONE }, 0.0);
                    prop_assert!(!standing.is_accused(&bounds));
                }
            }
        }
    }
}
