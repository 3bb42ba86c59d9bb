//! Does this sender ask for more than its share?
//!
//! A token bucket in integers: it fills at a steady rate up to a burst, and each message takes one token.

use serde::{Deserialize, Serialize};

/// How much one sender may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rate {
    /// Messages a second, in the long run.
    pub per_second: u32,
    /// Messages at once, after a pause: what a vehicle that stored its reports may send when it is back.
    pub burst: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            per_second: 20,
            burst: 200,
        }
    }
}

/// What one sender has left, in thousandths of a message.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    level: u64,
    filled_at_ms: u64,
}

impl Bucket {
    /// A full one.
    pub fn full(now_ms: u64, rate: Rate) -> Self {
        Self {
            level: u64::from(rate.burst) * 1000,
            filled_at_ms: now_ms,
        }
    }

    /// Takes one message's worth, if it is there. A clock that goes back gives nothing.
    pub fn take(&mut self, now_ms: u64, rate: Rate) -> bool {
        let elapsed_ms = now_ms.saturating_sub(self.filled_at_ms);
        // One message a second is one thousandth a millisecond.
        let gained = elapsed_ms.saturating_mul(u64::from(rate.per_second));
        self.level = self
            .level
            .saturating_add(gained)
            .min(u64::from(rate.burst) * 1000);
        self.filled_at_ms = self.filled_at_ms.max(now_ms);
        if self.level < 1000 {
            return false;
        }
        self.level -= 1000;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the pattern of arrivals, a sender gets its burst and its rate and no more.
        #[test]
        fn nobody_gets_more_than_burst_and_rate(
            per_second in 0u32..100, burst in 0u32..100, gaps_ms in proptest::collection::vec(0u64..3000, 1..300),
        ) {
            let rate = Rate { per_second, burst };
            let mut bucket = Bucket::full(0, rate);
            let (mut now_ms, mut taken) = (0, 0u64);
            for gap_ms in gaps_ms {
                now_ms += gap_ms;
                taken += u64::from(bucket.take(now_ms, rate));
                prop_assert!(taken * 1000 <= u64::from(burst) * 1000 + now_ms * u64::from(per_second));
            }
        }

        #[test]
        fn who_keeps_to_the_rate_is_never_refused(per_second in 1u32..100, count in 1u64..300) {
            let rate = Rate { per_second, burst: 1 };
            let mut bucket = Bucket::full(0, rate);
            let gap_ms = 1000u64.div_ceil(u64::from(per_second));
            for nth in 0..count {
                prop_assert!(bucket.take(nth * gap_ms, rate));
            }
        }
    }
}
