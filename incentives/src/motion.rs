//! Could one vehicle have been at both places?
//!
//! In integers: an equirectangular distance, with Bhaskara I's cosine, `(32 400 − 4x²) / (32 400 + x²)` for `x`
//! degrees, which is within 0.002 of the true one. It is taken at the higher of the two latitudes, where a
//! degree of longitude is shortest, so that a distance is under- rather than overstated: nobody is refused for
//! our arithmetic. Places beyond 89° are not told apart by longitude.
//!
//! Not covered: a vehicle that lies consistently, and roads; that is the roadside units' to see.

use milepost_wire::{Place, Timestamp};

use crate::params::Params;

/// 0.1 µdeg of latitude in units of 0.1 µm: 111 320 m a degree.
const TENTH_MICRODEGREE: u128 = 111_320;
/// Units of 0.1 µm in a centimetre.
const CENTIMETRE: u128 = 100_000;
/// Half-way round the Earth, in 0.1 µdeg.
const HALF_TURN: u64 = 1_800_000_000;
/// One, as the cosine counts it.
const ONE: u64 = 1_000_000;

/// Whether the claimed places can be one vehicle's, whichever of the two came first, where both together may be wrong
/// by `error_cm`.
pub(crate) fn is_possible(
    params: &Params,
    error_cm: u32,
    one: (Place, Timestamp),
    other: (Place, Timestamp),
) -> bool {
    let elapsed_ms = one.1.since(other.1).max(other.1.since(one.1));
    let reach_cm = u128::from(params.motion_max_cm_s) * u128::from(elapsed_ms) / 1000 + u128::from(error_cm);
    distance_squared_cm(one.0, other.0) <= reach_cm.saturating_mul(reach_cm)
}

/// The square of the distance, in cm².
fn distance_squared_cm(one: Place, other: Place) -> u128 {
    let ((lat, lon), (other_lat, other_lon)) = (one.tenth_microdegrees(), other.tenth_microdegrees());
    let north = u128::from(lat.abs_diff(other_lat));
    let turn = u64::from(lon.abs_diff(other_lon));
    let turn = turn.min((2 * HALF_TURN).saturating_sub(turn));
    let cosine = cosine(lat.unsigned_abs().max(other_lat.unsigned_abs()));
    let east = u128::from(turn) * u128::from(cosine) / u128::from(ONE);
    let centimetres = |units: u128| units * TENTH_MICRODEGREE / CENTIMETRE;
    centimetres(north).pow(2) + centimetres(east).pow(2)
}

/// The cosine of a latitude in 0.1 µdeg, in units of 1/1 000 000: never above the true one, and less than 0.005
/// below it, except beyond 89°, where it is 0.
fn cosine(latitude: u32) -> u64 {
    // In 0.001°, rounded up.
    let x = u64::from(latitude.div_ceil(10_000));
    if x >= 89_000 {
        return 0;
    }
    let quarter = 32_400 * 1_000_000;
    ((quarter - 4 * x * x) * ONE / (quarter + x * x)).saturating_sub(2_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(latitude: f64, longitude: f64) -> Place {
        Place::from_degrees(latitude, longitude).expect("on the globe")
    }

    fn metres(one: Place, other: Place) -> u128 {
        distance_squared_cm(one, other).isqrt() / 100
    }

    #[test]
    fn distances_are_those_of_the_map() {
        // Bologna, Piazza Maggiore to Piazza di Porta Ravegnana: about 300 m.
        let length = metres(place(44.4938, 11.3431), place(44.4943, 11.3467));
        assert!((280..300).contains(&length), "{length} m");
        assert_eq!(metres(place(0.0, 179.9999), place(0.0, -179.9999)), 22);
        assert_eq!(metres(place(90.0, 0.0), place(90.0, 180.0)), 0);
    }

    #[test]
    fn a_car_may_drive_and_not_fly() {
        let params = Params::default();
        let here = (place(44.4938, 11.3431), Timestamp::from_millis(1_000_000));
        let then = Timestamp::from_millis(1_010_000);
        let near = place(44.4938 + 0.006, 11.3431); // 668 m in 10 s
        let far = place(44.4938 + 0.008, 11.3431); // 890 m in 10 s
        let is_possible = |one, other| is_possible(&params, params.place_error_cm, one, other);
        assert!(is_possible(here, (near, then)));
        assert!(!is_possible(here, (far, then)));
        assert!(!is_possible((far, then), here), "nor back in time");
    }

    proptest! {
        #[test]
        fn the_cosine_is_never_overstated(latitude in 0u32..=900_000_000) {
            let exact = (f64::from(latitude) / 1e7).to_radians().cos();
            let ours = cosine(latitude) as f64 / ONE as f64;
            prop_assert!(ours <= exact && ours > exact - 0.0175, "{} for {}", ours, exact);
        }

        #[test]
        fn no_place_overflows(a in any::<(i32, i32)>(), b in any::<(i32, i32)>(), t in any::<u64>()) {
            let clamp = |(lat, lon): (i32, i32)| {
                Place::from_tenth_microdegrees(lat.clamp(-900_000_000, 900_000_000), lon.clamp(-1_800_000_000, 1_800_000_000))
                    .expect("on the globe")
            };
            is_possible(&Params::default(), u32::MAX, (clamp(a), Timestamp::from_millis(t)), (clamp(b), Timestamp::default()));
        }
    }
}
