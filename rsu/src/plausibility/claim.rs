//! What does a vehicle say of itself at one moment?
//!
//! The kinematic part of a CAM or of a report, in a local plane, so that one core judges both what is heard
//! live and what was recorded.

/// A place, a time and a motion, as the sender claims them.
///
/// `x_m` points to the east, `y_m` to the north; the origin is the caller's, the same for all claims.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// Who says so: a pseudonym, a key's identity.
    pub vehicle: u64,
    /// When it was so, in ms, by the sender's clock.
    pub at_ms: u64,
    /// When it was heard, in ms, by ours; nothing where the sender's clock is judged elsewhere.
    pub heard_ms: Option<u64>,
    /// Metres to the east.
    pub x_m: f64,
    /// Metres to the north.
    pub y_m: f64,
    /// Speed over ground, in m/s.
    pub speed_m_per_s: f64,
    /// Where it points, in degrees clockwise from north.
    pub heading_degrees: f64,
    /// Longitudinal acceleration, in m/s², where it is told.
    pub acceleration_m_per_s2: Option<f64>,
    /// Where the receiver was that heard it, if it knows.
    pub receiver_m: Option<(f64, f64)>,
}

/// What a claim says, whoever says it and whenever: to the centimetre, cm/s and tenth of a degree.
pub(super) type Content = [i64; 4];

impl Claim {
    /// The straight line to another claim's place, in metres.
    pub fn distance_m(&self, other: &Self) -> f64 {
        (self.x_m - other.x_m).hypot(self.y_m - other.y_m)
    }

    /// The square of this side that it lies in, counted from the origin to the east and to the north.
    pub(super) fn tile(&self, side_m: f64) -> (i64, i64) {
        // A float beyond the range becomes the outermost integer, and the tiles beside it must exist.
        let tile = |metres: f64| ((metres / side_m).floor() as i64).clamp(-1 << 40, 1 << 40);
        (tile(self.x_m), tile(self.y_m))
    }

    /// Whether every number is one.
    pub(super) fn is_finite(&self) -> bool {
        [
            self.x_m,
            self.y_m,
            self.speed_m_per_s,
            self.heading_degrees,
            self.acceleration_m_per_s2.unwrap_or(0.0),
        ]
        .iter()
        .all(|value| value.is_finite())
    }

    pub(super) fn content(&self) -> Content {
        // A float beyond the range becomes the outermost integer: `as` saturates.
        [
            (self.x_m * 100.0).round() as i64,
            (self.y_m * 100.0).round() as i64,
            (self.speed_m_per_s * 100.0).round() as i64,
            (self.heading_degrees * 10.0).round() as i64,
        ]
    }
}

/// The smaller angle between two directions, 0 to 180 degrees.
pub(super) fn turn_degrees(from: f64, to: f64) -> f64 {
    let turn = (to - from).rem_euclid(360.0);
    turn.min(360.0 - turn)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A vehicle that drives from the origin to where `heading` points at `speed`, after `at_ms`.
    pub(in crate::plausibility) fn driving(vehicle: u64, at_ms: u64, speed: f64, heading: f64) -> Claim {
        let metres = speed * at_ms as f64 / 1000.0;
        let direction = heading.to_radians();
        Claim {
            vehicle,
            at_ms,
            heard_ms: Some(at_ms),
            x_m: metres * direction.sin(),
            y_m: metres * direction.cos(),
            speed_m_per_s: speed,
            heading_degrees: heading,
            acceleration_m_per_s2: Some(0.0),
            receiver_m: None,
        }
    }

    #[test]
    fn a_turn_is_the_smaller_angle() {
        for (from, to, turn) in [
            (350.0, 10.0, 20.0),
            (10.0, 350.0, 20.0),
            (0.0, 180.0, 180.0),
            (-90.0, 270.0, 0.0),
        ] {
            assert_eq!(turn_degrees(from, to), turn);
        }
    }
}
