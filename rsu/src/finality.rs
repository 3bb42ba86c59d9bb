//! How long does it take until a report is final?
//!
//! From the moment this unit heard it to the commit of the block that holds it, for the reports that this unit
//! batched itself. Bounded: the last [`TIMES_MAX`] durations, the last [`WAITING_MAX`] reports on their way.

use std::collections::VecDeque;

use milepost_wire::recent::Recent;
use milepost_wire::{KeyId, Sequence, quantile};
use serde::Serialize;

/// Durations that are kept.
pub const TIMES_MAX: usize = 4096;
/// Reports on their way whose beginning is kept.
pub const WAITING_MAX: usize = 65_536;

/// Measures the way from hearing to commit.
#[derive(Clone, Debug)]
pub struct Stopwatch {
    heard_at: Recent<(KeyId, Sequence), u64>,
    times_ms: VecDeque<u64>,
}

/// Quantiles of the last durations, in ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Finality {
    /// How many durations these are quantiles of.
    pub count: usize,
    /// Half took no longer.
    pub p50: u64,
    /// 99 of 100 took no longer.
    pub p99: u64,
    /// None took longer.
    pub max: u64,
}

impl Default for Stopwatch {
    fn default() -> Self {
        Self {
            heard_at: Recent::new(WAITING_MAX),
            times_ms: VecDeque::new(),
        }
    }
}

impl Stopwatch {
    /// A report was heard.
    pub fn heard(&mut self, now_ms: u64, vehicle: KeyId, sequence: Sequence) {
        self.heard_at.insert((vehicle, sequence), now_ms);
    }

    /// A block holds it.
    pub fn committed(&mut self, now_ms: u64, vehicle: KeyId, sequence: Sequence) {
        if let Some(heard_ms) = self.heard_at.remove(&(vehicle, sequence)) {
            if self.times_ms.len() == TIMES_MAX {
                self.times_ms.pop_front();
            }
            self.times_ms.push_back(now_ms.saturating_sub(heard_ms));
        }
    }

    /// The quantiles; all 0 before the first report is final. Cost: sorts the durations.
    pub fn read(&self) -> Finality {
        let mut times: Vec<u64> = self.times_ms.iter().copied().collect();
        times.sort_unstable();
        let at = |permille| quantile::of_sorted(&times, permille);
        Finality {
            count: times.len(),
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
    fn quantiles_are_of_the_last_durations() {
        let mut stopwatch = Stopwatch::default();
        assert_eq!(stopwatch.read(), Finality::default());
        let vehicle = KeyId([1; 8]);
        for nth in 1..=100 {
            stopwatch.heard(1000, vehicle, Sequence(nth));
            stopwatch.committed(1000 + nth, vehicle, Sequence(nth));
            stopwatch.committed(9999, vehicle, Sequence(nth));
        }
        let expected = Finality {
            count: 100,
            p50: 50,
            p99: 99,
            max: 100,
        };
        assert_eq!(stopwatch.read(), expected);
    }
}
