//! Is a vehicle where it says, or beside it?
//!
//! In: the steps of one vehicle. Out: how far to the left or the right of it the places lie that it claims.
//!
//! A place that is off to the east by a constant moves as its vehicle does. One that is off to the vehicle's left by a
//! constant does not: in a bend the outer one of two goes further than the inner, by the angle times the distance between
//! them. So how far a vehicle moves beyond what its speeds give, held against how far it turns, tells that distance, as the
//! slope of a line through both (least squares). Between two claims it moves no less than its lower speed gives and no more
//! than its higher one: only what lies outside counts. A bend is summed up and forgotten within seconds, because
//! what heading and place tell of it does not fall into the same step.
//!
//! Not covered: who drives straight on, and a place that is off along the way.

use super::claim::{Claim, turn_degrees};

/// After a longer pause it is not known how a vehicle drove, in ms ...
const STEP_MAX_MS: u64 = 1_600;
/// ... nor when it turned further, in degrees.
const STEP_TURN_MAX_DEGREES: f64 = 100.0;
/// A vehicle that stands at both ends turns nowhere, in m/s.
const STANDS_M_PER_S: f64 = 1.0;
/// How long a bend is remembered, in s: its sums fall to a third.
const BEND_S: f64 = 1.4;
/// So many steps, and so much turning (in rad², as the slope weighs it), tell something: a bend of 60 degrees.
const STEPS_MIN: f64 = 5.0;
const TURNING_MIN: f64 = 0.7;
/// How far beside itself no honest vehicle was seen, in metres, and by how many standard errors it must be more than none.
const BESIDE_MAX_M: f64 = 2.3;
const ERRORS_MIN: f64 = 3.0;
/// What a sum errs by at least, in m²: else a drive without any noise would be sure of anything.
const VARIANCE_MIN_M2: f64 = 0.05;

/// What the bends of one vehicle say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lever {
    /// The bend that is under way: metres beyond what the speeds give, and radians to the right.
    beyond_m: f64,
    turned: f64,
    /// Of all steps so far: their number, and the sums of both, of their squares and products.
    steps: f64,
    beyond_sum: f64,
    turned_sum: f64,
    beyond_squares: f64,
    turned_squares: f64,
    products: f64,
}

impl Lever {
    /// Takes the step from one claim to a later one.
    pub(super) fn step(&mut self, from: &Claim, to: &Claim) {
        let elapsed_ms = to.at_ms.saturating_sub(from.at_ms);
        let turn_degrees = turn_degrees(from.heading_degrees, to.heading_degrees);
        if elapsed_ms == 0 {
            return;
        }
        if elapsed_ms > STEP_MAX_MS || turn_degrees > STEP_TURN_MAX_DEGREES {
            (self.beyond_m, self.turned) = (0.0, 0.0);
            return;
        }
        let (low, high) = (
            from.speed_m_per_s.min(to.speed_m_per_s),
            from.speed_m_per_s.max(to.speed_m_per_s),
        );
        if high < STANDS_M_PER_S {
            return;
        }
        let elapsed_s = elapsed_ms as f64 / 1000.0;
        let angle = turn_degrees.to_radians();
        // Along the arc, not along its chord.
        let moved_m = from.distance_m(to) / sinc(angle / 2.0);
        let beyond_m = moved_m - moved_m.clamp(low * elapsed_s, high * elapsed_s);
        let to_the_right = (to.heading_degrees - from.heading_degrees).rem_euclid(360.0) <= 180.0;
        let kept = (-elapsed_s / BEND_S).exp();
        self.beyond_m = self.beyond_m * kept + beyond_m;
        self.turned = self.turned * kept + if to_the_right { angle } else { -angle };
        self.steps += 1.0;
        self.beyond_sum += self.beyond_m;
        self.turned_sum += self.turned;
        self.beyond_squares += self.beyond_m * self.beyond_m;
        self.turned_squares += self.turned * self.turned;
        self.products += self.beyond_m * self.turned;
    }

    /// Whether it is beside the places that it claims, on either side.
    pub(super) fn is_beside(&self) -> bool {
        if self.steps < STEPS_MIN {
            return false;
        }
        // Without what is the same in every step: a speed that is wrong by a constant is no lever.
        let turning = self.turned_squares - self.turned_sum * self.turned_sum / self.steps;
        if turning < TURNING_MIN {
            return false;
        }
        let together = self.products - self.beyond_sum * self.turned_sum / self.steps;
        let beyond = self.beyond_squares - self.beyond_sum * self.beyond_sum / self.steps;
        let beside_m = together / turning;
        let left_over = (beyond - beside_m * together).max(0.0) / (self.steps - 2.0);
        let error_m = ((left_over + VARIANCE_MIN_M2) / turning).sqrt();
        beside_m.abs() > BESIDE_MAX_M && beside_m.abs() > ERRORS_MIN * error_m
    }
}

/// `sin x / x`.
fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-3 { 1.0 } else { x.sin() / x }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::plausibility::claim::tests::driving;

    /// A drive at 8 m/s, straight on for three seconds, then around a corner of 90 degrees within three, and straight on
    /// again; `told` is what becomes of each claim.
    pub(in crate::plausibility) fn corner(told: impl Fn(Claim) -> Claim) -> Vec<Claim> {
        let (mut heading, mut x_m, mut y_m) = (30.0f64, 0.0, 0.0);
        let mut claims = Vec::new();
        for at in 0..180u64 {
            if at.is_multiple_of(10) {
                let claim = driving(1, 50 * at, 8.0, heading);
                claims.push(told(Claim { x_m, y_m, ..claim }));
            }
            heading += if (60..120).contains(&at) { 1.5 } else { 0.0 };
            x_m += 8.0 * 0.05 * heading.to_radians().sin();
            y_m += 8.0 * 0.05 * heading.to_radians().cos();
        }
        claims
    }

    /// So far to the right of where it points.
    pub(in crate::plausibility) fn to_the_right(by_m: f64) -> impl Fn(Claim) -> Claim {
        move |claim| {
            let right = (claim.heading_degrees + 90.0).to_radians();
            Claim {
                x_m: claim.x_m + by_m * right.sin(),
                y_m: claim.y_m + by_m * right.cos(),
                ..claim
            }
        }
    }

    fn is_beside(claims: &[Claim]) -> bool {
        let mut lever = Lever::default();
        for step in claims.windows(2) {
            lever.step(&step[0], &step[1]);
        }
        lever.is_beside()
    }

    #[test]
    fn who_turns_where_it_says_is_not_beside_it() {
        assert!(!is_beside(&corner(|claim| claim)));
    }

    #[test]
    fn a_place_on_the_other_side_of_the_road_is_told_by_a_corner() {
        for by_m in [-6.0, -3.2, 3.2, 6.0] {
            assert!(is_beside(&corner(to_the_right(by_m))), "{by_m}");
        }
        assert!(!is_beside(&corner(to_the_right(1.5))), "receivers err, too");
    }

    #[test]
    fn an_error_that_stays_the_same_is_no_lever() {
        let east = |claim: Claim| Claim {
            x_m: claim.x_m + 8.0,
            ..claim
        };
        assert!(!is_beside(&corner(east)));
        let slower = |claim: Claim| Claim {
            speed_m_per_s: claim.speed_m_per_s - 1.5,
            ..claim
        };
        assert!(!is_beside(&corner(slower)));
    }

    #[test]
    fn who_drives_straight_on_tells_nothing() {
        let at = |second: u64| to_the_right(6.0)(driving(1, 1000 * second, 12.0, 80.0));
        assert!(!is_beside(&(0..60).map(at).collect::<Vec<_>>()));
    }
}
