//! When has something happened?
//!
//! A test that waits for another process looks again and again, and gives up with a sentence that says what it
//! waited for.

use std::time::{Duration, Instant};

/// How often one looks.
const EVERY: Duration = Duration::from_millis(100);

/// Looks until there is something to see, and returns it.
///
/// # Panics
///
/// After `within`, naming `what` was waited for.
pub fn eventually<T>(what: &str, within: Duration, look: impl FnMut() -> Option<T>) -> T {
    seen_within(within, look).unwrap_or_else(|| panic!("waited {} s in vain: {what}", within.as_secs()))
}

/// Looks until there is something to see, and returns it; `None` where there is nothing `within` that time.
pub fn seen_within<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if began.elapsed() >= within {
            return None;
        }
        std::thread::sleep(EVERY);
    }
}
