//! How is a moment written for people and other programs?
//!
//! As RFC 3339 in UTC with milliseconds: `2026-11-23T08:03:56.000Z`.
//!
//! Source: the calendar is reckoned as in Howard Hinnant, "chrono-compatible low-level date algorithms",
//! `civil_from_days`.

use milepost_wire::Timestamp;

/// The text. Years beyond 9999 keep their digits.
pub fn format(at: Timestamp) -> String {
    let unix_ms = at.unix_millis();
    let (days, day_ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    // Days since 0000-03-01: a year that begins in March has its leap day at its end.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_since_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_since_march + 2) / 5 + 1;
    let month = if months_since_march < 10 {
        months_since_march + 3
    } else {
        months_since_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (seconds, millis) = (day_ms / 1000, day_ms % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_written_as_known() {
        // Unix times as `date -u -d @N` gives them.
        for (unix_ms, text) in [
            (1_072_915_200_000, "2004-01-01T00:00:00.000Z"),
            (1_078_012_799_999, "2004-02-28T23:59:59.999Z"),
            (1_078_012_800_000, "2004-02-29T00:00:00.000Z"),
            (1_795_421_036_123, "2026-11-23T08:03:56.123Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(format(Timestamp::from_unix_millis(unix_ms)), text);
        }
    }

    #[test]
    fn the_end_of_time_does_not_panic() {
        assert!(format(Timestamp::from_millis(u64::MAX)).ends_with('Z'));
    }
}
