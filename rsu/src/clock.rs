//! What time is it?
//!
//! The one place of this crate that reads a clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use milepost_node::Now;
use milepost_wire::Timestamp;

/// Wall time. A clock that stands before 1970 stands at 1970.
pub fn wall() -> Timestamp {
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    Timestamp::from_unix_millis(u64::try_from(unix.as_millis()).unwrap_or(u64::MAX))
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
