//! How long did it take until reports were final?
//!
//! From sealing a report to the certified receipt for it, as the vehicle itself sees it: radio, batch, consensus and
//! the way back.

use milepost_wire::quantile;
use serde::Serialize;

/// Quantiles of such times, in ms; all 0 where there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Finality {
    /// Half took no longer.
    pub p50: u64,
    /// 99 of 100 took no longer.
    pub p99: u64,
    /// None took longer.
    pub max: u64,
}

impl Finality {
    /// Of these times. Cost: sorts them.
    pub fn of(mut times_ms: Vec<u64>) -> Self {
        times_ms.sort_unstable();
        let at = |permille| quantile::of_sorted(&times_ms, permille);
        Self {
            p50: at(500),
            p99: at(990),
            max: at(1000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_times_that_were_measured() {
        assert_eq!(Finality::of(Vec::new()), Finality::default());
        let times = (1..=101).rev().collect();
        assert_eq!(
            Finality::of(times),
            Finality {
                p50: 51,
                p99: 100,
                max: 101
            }
        );
    }
}
