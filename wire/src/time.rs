//! When?
//!
//! Milliseconds of International Atomic Time since 2004-01-01T00:00:00 UTC, without leap seconds: ETSI TS 102
//! 894-2, `TimestampIts`. It runs five seconds ahead of a naive difference of Unix times since 2017.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

/// A moment, in milliseconds TAI since 2004-01-01 UTC.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    SchemaWrite,
    SchemaRead,
    Serialize,
    Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

/// 2004-01-01T00:00:00Z in Unix milliseconds.
const EPOCH_UNIX_MS: u64 = 1_072_915_200_000;

/// Unix seconds from which on one more leap second had been inserted since 2004 (IERS Bulletin C). None has
/// been announced after 2017.
const LEAP_SECONDS_UNIX: [u64; 5] = [
    1_136_073_600,
    1_230_768_000,
    1_341_100_800,
    1_435_708_800,
    1_483_228_800,
];

impl Timestamp {
    /// From milliseconds since 2004-01-01 (TAI).
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From Unix time in milliseconds. Moments before 2004 become 2004.
    pub fn from_unix_millis(unix_ms: u64) -> Self {
        let leaps = LEAP_SECONDS_UNIX
            .iter()
            .filter(|&&from| unix_ms >= from * 1000)
            .count() as u64;
        Self(unix_ms.saturating_sub(EPOCH_UNIX_MS) + leaps * 1000)
    }

    /// What a machine's clock says. One that stands before 2004 stands at 2004.
    pub fn of_system(time: SystemTime) -> Self {
        let unix = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self::from_unix_millis(u64::try_from(unix.as_millis()).unwrap_or(u64::MAX))
    }

    /// To Unix time in milliseconds; the inverse of [`Timestamp::from_unix_millis`] except within a leap
    /// second, and near the end of time, which the air may bring.
    pub fn unix_millis(self) -> u64 {
        let naive = self.0.saturating_add(EPOCH_UNIX_MS);
        let mut unix_ms = naive;
        for (count, from) in LEAP_SECONDS_UNIX.iter().enumerate().rev() {
            let candidate = naive.saturating_sub((count as u64 + 1) * 1000);
            if candidate >= from * 1000 {
                unix_ms = candidate;
                break;
            }
        }
        unix_ms
    }

    /// Milliseconds since 2004-01-01 (TAI).
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Milliseconds from `earlier` to here; 0 where `earlier` is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// `millis` later; stops at the end of time.
    #[must_use]
    pub const fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// `millis` earlier; stops at 2004.
    #[must_use]
    pub const fn minus(self, millis: u64) -> Self {
        Self(self.0.saturating_sub(millis))
    }
}

/// A stretch of time over which a cell's observations are settled to one estimate, counted from genesis.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    SchemaWrite,
    SchemaRead,
    Serialize,
    Deserialize,
)]
#[serde(transparent)]
pub struct Slot(pub u32);

/// A stretch of time after which rewards are paid, counted from genesis.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    SchemaWrite,
    SchemaRead,
    Serialize,
    Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etsi_examples_hold() {
        // ETSI TS 102 894-2, TimestampIts: 2007-01-01T00:00:00.000Z is 94 694 401 000.
        assert_eq!(
            Timestamp::from_unix_millis(1_167_609_600_000).millis(),
            94_694_401_000
        );
    }

    #[test]
    fn unix_time_survives_the_round_trip() {
        for unix_ms in [
            1_072_915_200_000,
            1_136_073_599_000,
            1_136_073_600_000,
            1_500_000_000_123,
            1_795_000_000_000,
        ] {
            assert_eq!(Timestamp::from_unix_millis(unix_ms).unix_millis(), unix_ms);
        }
    }
}
