//! What happens next?
//!
//! Events by virtual time, in microseconds; of those at one time, the one that was planned first. So the order
//! is the same in every run.

use std::collections::BTreeMap;

/// What is going to happen.
#[derive(Clone, Debug)]
pub(super) struct Queue<E> {
    now_us: u64,
    planned: u64,
    events: BTreeMap<(u64, u64), E>,
}

impl<E> Queue<E> {
    /// Nothing, at time 0.
    pub(super) fn new() -> Self {
        Self {
            now_us: 0,
            planned: 0,
            events: BTreeMap::new(),
        }
    }

    /// The time of the last event taken.
    pub(super) fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Plans an event; what lies in the past happens now.
    pub(super) fn at(&mut self, at_us: u64, event: E) {
        self.planned += 1;
        self.events.insert((at_us.max(self.now_us), self.planned), event);
    }

    /// Takes the next event, and time goes on to it.
    pub(super) fn next(&mut self) -> Option<E> {
        let ((at_us, _), event) = self.events.pop_first()?;
        self.now_us = at_us;
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_of_planning() {
        let mut queue = Queue::new();
        for (at_us, event) in [(30, 'd'), (10, 'a'), (10, 'b'), (20, 'c')] {
            queue.at(at_us, event);
        }
        assert_eq!(std::iter::from_fn(|| queue.next()).collect::<String>(), "abcd");
        assert_eq!(queue.now_us(), 30);
        queue.at(5, 'e');
        assert_eq!((queue.next(), queue.now_us()), (Some('e'), 30));
    }
}
