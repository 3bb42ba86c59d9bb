//! What time is it?
//!
//! The one place of this crate that reads a clock.

use std::time::{Instant, SystemTime};

use milepost_node::Now;
use milepost_wire::Timestamp;

/// What the wall clock says.
pub fn wall() -> Timestamp {
    Timestamp::of_system(SystemTime::now())
}

/// A monotonic clock, counted from when it was made, beside the wall's.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts at 0.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Both times.
    pub fn now(self) -> Now {
        let mono_ms = u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now {
            mono_ms,
            wall: wall(),
        }
    }
}
