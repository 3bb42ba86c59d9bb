//! What time is it?
//!
//! The cores read no clock; their shells read this one.

use std::time::{Duration, SystemTime};

use milepost_wire::Timestamp;
use tokio::time::Instant;

/// What the wall clock says.
pub fn wall() -> Timestamp {
    Timestamp::of_system(SystemTime::now())
}

/// The wall clock as it stood at the start, carried on by the steady one: a step of the wall clock, as at the first
/// fix of a receiver, moves no report into the past.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started_at: Timestamp,
    started: Instant,
}

impl Clock {
    /// Takes both clocks' time.
    pub fn start() -> Self {
        Self {
            started_at: wall(),
            started: Instant::now(),
        }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.started_at.plus(self.started.elapsed().as_millis() as u64)
    }

    /// When the steady clock comes to this time.
    pub fn instant(&self, time: Timestamp) -> Instant {
        self.started + Duration::from_millis(time.since(self.started_at))
    }
}
