//! Does a vehicle move as it says?
//!
//! In: two claims of one vehicle, one after the other, and what the steps before left over. Out: the checks that
//! the step fails.
//!
//! Between two claims a vehicle covers no less than its lower speed gives and no more than its higher one does:
//! only what lies outside counts. What is too little to tell in one step is summed up (CUSUM: Page, Biometrika
//! 41, 1954): a speed that is wrong by 1 m/s is wrong by a metre each second, while a sensor's noise does not add
//! up. A position that is off by a constant is nothing to this check.

use super::claim::{Claim, turn_degrees};
use super::{Bounds, Check, Checks};

/// After a longer pause a step says nothing of a vehicle's motion, in ms.
const STEP_MAX_MS: u64 = 2_600;
/// After a longer pause a change of speed says nothing of the acceleration at its end, in ms.
const ACCELERATION_STEP_MAX_MS: u64 = 750;
/// How far a step may be off at once: metres, and a share of what the higher speed gives.
const STEP_ERROR_M: f64 = 1.2;
const STEP_ERROR_SHARE: f64 = 0.15;
/// How far a place may jump beyond the reach, in metres: a satellite fix that is found again.
const JUMP_ERROR_M: f64 = 7.0;
/// How far distance and speeds may disagree for ever, in m/s, and in sum beyond that, in metres.
const DRIFT_M_PER_S: f64 = 0.5;
const DRIFT_MAX_M: f64 = 1.5;
/// A shorter step has no direction, in metres; up to the longer one, manoeuvring explains all but reversal.
const DIRECTION_MIN_M: f64 = 1.0;
const DIRECTION_SURE_M: f64 = 3.0;
const HEADING_MAX_DEGREES: f64 = 75.0;
const HEADING_MAX_SHORT_DEGREES: f64 = 110.0;
/// How far a change of speed and the acceleration may disagree: at once, for ever, and in sum, in m/s².
const ACCELERATION_ERROR: f64 = 2.0;
const ACCELERATION_DRIFT: f64 = 0.9;
const ACCELERATION_SUM_MAX: f64 = 2.0;
/// What a step leaves of the sum of those before, and what one that fits takes off at most.
const ACCELERATION_KEPT: f64 = 0.9;
const ACCELERATION_RELIEF: f64 = 0.1;
/// Two claims within a tenth of a second say little of a change of speed.
const CHANGE_MIN_S: f64 = 0.1;
/// Who is slower, in m/s, and within so many metres of where it stopped, stands there still.
const STANDS_M_PER_S: f64 = 0.5;
const STANDS_M: f64 = 4.0;

/// What the steps of one vehicle have left over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Motion {
    /// Metres covered beyond what the speeds give, in sum.
    further_m: f64,
    /// Metres that the speeds give and nobody covered, in sum.
    shorter_m: f64,
    /// Disagreement of speed and acceleration, in sum, in m/s².
    acceleration: f64,
    /// Where it came to stand and cannot have.
    stopped_at_m: Option<(f64, f64)>,
}

impl Motion {
    /// The checks that the step from one claim to a later one fails.
    pub(super) fn step(&mut self, from: &Claim, to: &Claim, bounds: &Bounds) -> Checks {
        let mut failed = Checks::NONE;
        let elapsed_ms = to.at_ms.saturating_sub(from.at_ms);
        if elapsed_ms == 0 {
            return failed;
        }
        let elapsed_s = elapsed_ms as f64 / 1000.0;
        let moved_m = from.distance_m(to);
        if moved_m > reach_m(from, to, elapsed_s, bounds) {
            failed.insert(Check::Jump);
        }
        if elapsed_ms > STEP_MAX_MS {
            return failed;
        }
        if from.content() == to.content() && to.speed_m_per_s > 2.0 * STANDS_M_PER_S {
            failed.insert(Check::Frozen);
        }
        self.distance(from, to, moved_m, elapsed_s, &mut failed);
        self.speed(from, to, elapsed_s, bounds, &mut failed);
        if turns_off(from, to, moved_m) {
            failed.insert(Check::Heading);
        }
        self.stop(from, to, &mut failed);
        failed
    }

    fn distance(&mut self, from: &Claim, to: &Claim, moved_m: f64, elapsed_s: f64, failed: &mut Checks) {
        let least_m = from.speed_m_per_s.min(to.speed_m_per_s) * elapsed_s;
        let most_m = from.speed_m_per_s.max(to.speed_m_per_s) * elapsed_s;
        let off_m = moved_m - moved_m.clamp(least_m, most_m);
        if off_m.abs() > STEP_ERROR_M + STEP_ERROR_SHARE * most_m {
            failed.insert(Check::SpeedDistance);
        }
        let free_m = DRIFT_M_PER_S * elapsed_s;
        // Capped, so that a vehicle that tells the truth again is soon believed again.
        let sum = |before: f64, off_m: f64| (before + off_m - free_m).clamp(0.0, 2.0 * DRIFT_MAX_M);
        self.further_m = sum(self.further_m, off_m);
        self.shorter_m = sum(self.shorter_m, -off_m);
        if off_m.abs() > free_m && self.further_m.max(self.shorter_m) > DRIFT_MAX_M {
            failed.insert(Check::SpeedDrift);
        }
    }

    fn speed(&mut self, from: &Claim, to: &Claim, elapsed_s: f64, bounds: &Bounds, failed: &mut Checks) {
        let change = (to.speed_m_per_s - from.speed_m_per_s) / elapsed_s.max(CHANGE_MIN_S);
        if change.abs() > bounds.acceleration_max_m_per_s2 {
            failed.insert(Check::SpeedChange);
        }
        let Some(claimed) = to.acceleration_m_per_s2 else {
            return;
        };
        if elapsed_s * 1000.0 > ACCELERATION_STEP_MAX_MS as f64 {
            return;
        }
        let off = (change - claimed).abs();
        let adds = (off - ACCELERATION_DRIFT).max(-ACCELERATION_RELIEF);
        self.acceleration =
            (self.acceleration * ACCELERATION_KEPT + adds).clamp(0.0, 2.0 * ACCELERATION_SUM_MAX);
        if off > ACCELERATION_ERROR || (adds > 0.0 && self.acceleration > ACCELERATION_SUM_MAX) {
            failed.insert(Check::Acceleration);
        }
    }

    fn stop(&mut self, from: &Claim, to: &Claim, failed: &mut Checks) {
        let stands = to.speed_m_per_s.abs() < STANDS_M_PER_S;
        if let Some((x_m, y_m)) = self.stopped_at_m {
            if stands && (to.x_m - x_m).hypot(to.y_m - y_m) < STANDS_M {
                failed.insert(Check::ImpossibleStop);
            } else {
                self.stopped_at_m = None;
            }
        } else if stands && to.speed_m_per_s < from.speed_m_per_s && failed.contains(Check::SpeedChange) {
            self.stopped_at_m = Some((to.x_m, to.y_m));
        }
    }
}

/// The furthest that anything gets, in metres.
fn reach_m(from: &Claim, to: &Claim, elapsed_s: f64, bounds: &Bounds) -> f64 {
    let fastest = bounds.speed_max_m_per_s;
    let high = from.speed_m_per_s.max(to.speed_m_per_s).clamp(0.0, fastest);
    // In between it may have been faster than at both ends.
    let mean = (high + bounds.acceleration_max_m_per_s2 * elapsed_s / 2.0).min(fastest);
    mean * elapsed_s * (1.0 + STEP_ERROR_SHARE) + JUMP_ERROR_M
}

/// Whether it moved elsewhere than it pointed, at either end.
fn turns_off(from: &Claim, to: &Claim, moved_m: f64) -> bool {
    if moved_m < DIRECTION_MIN_M {
        return false;
    }
    let moves_degrees = (to.x_m - from.x_m).atan2(to.y_m - from.y_m).to_degrees();
    let off = turn_degrees(moves_degrees, from.heading_degrees)
        .min(turn_degrees(moves_degrees, to.heading_degrees));
    off > if moved_m < DIRECTION_SURE_M {
        HEADING_MAX_SHORT_DEGREES
    } else {
        HEADING_MAX_DEGREES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plausibility::claim::tests::driving;

    /// The checks that any step of this drive fails, by name.
    fn failures(claims: &[Claim]) -> Vec<&'static str> {
        let mut motion = Motion::default();
        let mut all = Checks::NONE;
        for step in claims.windows(2) {
            all = all.and(motion.step(&step[0], &step[1], &Bounds::default()));
        }
        all.iter().map(Check::label).collect()
    }

    /// Twenty claims, one each half second, as the change makes them.
    fn drive(change: impl Fn(usize, Claim) -> Claim) -> Vec<Claim> {
        (0..20)
            .map(|at| change(at, driving(1, 500 * at as u64, 12.0, 60.0)))
            .collect()
    }

    #[test]
    fn an_ordinary_drive_passes() {
        assert!(failures(&drive(|_, claim| claim)).is_empty());
    }

    #[test]
    fn braking_hard_passes() {
        let mut claim = driving(1, 0, 14.0, 0.0);
        let mut claims = vec![claim];
        while claim.speed_m_per_s > 0.0 {
            let slower = (claim.speed_m_per_s - 4.5).max(0.0);
            claim.acceleration_m_per_s2 = Some((slower - claim.speed_m_per_s) / 0.5);
            claim.y_m += (claim.speed_m_per_s + slower) / 4.0;
            claim.speed_m_per_s = slower;
            claim.at_ms += 500;
            claims.push(claim);
        }
        assert!(failures(&claims).is_empty());
    }

    #[test]
    fn a_constant_offset_is_nothing_to_it() {
        let shifted = drive(|_, claim| Claim {
            x_m: claim.x_m + 60.0,
            ..claim
        });
        assert!(failures(&shifted).is_empty());
    }

    #[test]
    fn a_place_out_of_reach_is_a_jump() {
        let jumps = drive(|at, claim| Claim {
            x_m: claim.x_m + if at < 10 { 0.0 } else { 40.0 },
            ..claim
        });
        assert_eq!(failures(&jumps), ["jump", "speed_distance", "speed_drift"]);
    }

    #[test]
    fn a_speed_that_is_much_too_low_is_found_at_once_and_one_that_is_a_little_in_the_long_run() {
        let slower = |by: f64| {
            drive(move |_, claim| Claim {
                speed_m_per_s: claim.speed_m_per_s - by,
                ..claim
            })
        };
        assert_eq!(failures(&slower(7.0)), ["speed_distance", "speed_drift"]);
        assert_eq!(failures(&slower(1.2)), ["speed_drift"]);
        assert!(failures(&slower(1.2)[..4]).is_empty());
        assert!(failures(&slower(0.4)).is_empty());
    }

    #[test]
    fn who_moves_backwards_does_not_point_forwards() {
        let reversed = drive(|_, claim| Claim {
            heading_degrees: 240.0,
            ..claim
        });
        assert_eq!(failures(&reversed), ["heading"]);
        let sideways = drive(|_, claim| Claim {
            heading_degrees: 120.0,
            ..claim
        });
        assert!(failures(&sideways).is_empty(), "60 degrees are a tight turn");
    }

    #[test]
    fn a_feigned_acceleration_is_found_in_the_long_run() {
        let feigned = |by| {
            drive(move |_, claim| Claim {
                acceleration_m_per_s2: Some(by),
                ..claim
            })
        };
        assert_eq!(failures(&feigned(-4.0)), ["acceleration"]);
        assert_eq!(failures(&feigned(1.5)), ["acceleration"]);
        assert!(failures(&feigned(1.5)[..3]).is_empty());
        assert!(failures(&feigned(0.6)).is_empty());
    }

    #[test]
    fn who_cannot_have_stopped_is_not_believed_while_it_stands_there() {
        let place = driving(1, 4500, 12.0, 60.0);
        let stop = drive(|at, claim| match at {
            0..10 => claim,
            _ => Claim {
                speed_m_per_s: 0.0,
                x_m: place.x_m,
                y_m: place.y_m,
                ..claim
            },
        });
        let mut motion = Motion::default();
        let bounds = Bounds::default();
        let still: Vec<bool> = stop
            .windows(2)
            .map(|step| {
                motion
                    .step(&step[0], &step[1], &bounds)
                    .contains(Check::ImpossibleStop)
            })
            .collect();
        assert!(
            !still[..10].contains(&true) && !still[10..].contains(&false),
            "{still:?}"
        );
        // It goes on elsewhere: the stop is forgotten.
        assert!(
            !motion
                .step(&stop[19], &driving(1, 12_000, 12.0, 60.0), &bounds)
                .contains(Check::ImpossibleStop)
        );
    }

    #[test]
    fn who_drives_says_nothing_twice() {
        let frozen = drive(|at, claim| Claim {
            at_ms: claim.at_ms,
            ..driving(1, 1000 * (at as u64 / 2), 12.0, 60.0)
        });
        assert!(failures(&frozen).contains(&"frozen"));
        let standing = drive(|at, _| driving(1, 500 * at as u64, 0.0, 60.0));
        assert!(failures(&standing).is_empty());
    }

    #[test]
    fn a_pause_says_nothing_of_speeds() {
        let first = driving(1, 0, 12.0, 60.0);
        let later = Claim {
            x_m: 10.0,
            ..driving(1, 60_000, 3.0, 200.0)
        };
        assert!(failures(&[first, later]).is_empty());
    }
}
