//! Which reports still wait for their receipt?
//!
//! In: sealed reports, receipts, the time. Out: what to send again, and each [`Change`] for the
//! [`journal`](crate::journal). At most `len_max` reports wait; when one more comes, the oldest leaves.
//!
//! A report is sent again after `resend_ms`, then after twice that, and so on up to `resend_max_ms`; oldest first,
//! and never more than `burst_max` within `pace_ms`, so that a vehicle back in coverage does not drown its unit.
//! After `keep_ms` it is given up: by then none of its observations is worth anything.

use std::collections::BTreeMap;

use milepost_wire::{Cell, Sequence, Timestamp};
use wincode::{SchemaRead, SchemaWrite};

/// A report as it waits: what the journal keeps of it.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Kept {
    /// Which report.
    pub sequence: Sequence,
    /// When it was sealed.
    pub sealed_at: Timestamp,
    /// The cell of its first observation: it names the topic.
    pub cell: Cell,
    /// The encoded [`milepost_wire::SignedReport`].
    pub bytes: Vec<u8>,
}

/// What the journal must remember. Store it before what comes after it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A report was sealed, and waits.
    Keep(Kept),
    /// A report waits no longer.
    Forget(Sequence),
}

/// Bounds of an [`Outbox`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Reports that wait at most, at least 1.
    pub len_max: usize,
    /// A report is sent again after so many milliseconds without a receipt, ...
    pub resend_ms: u64,
    /// ... the next time after twice as many, and so on up to this.
    pub resend_max_ms: u64,
    /// At most so many leave again ...
    pub burst_max: usize,
    /// ... within so many milliseconds.
    pub pace_ms: u64,
    /// Milliseconds after which a report is given up.
    pub keep_ms: u64,
}

/// Reports without a receipt, by sequence.
#[derive(Clone, Debug)]
pub struct Outbox {
    limits: Limits,
    waiting: BTreeMap<Sequence, Waiting>,
    /// No report is sent again before.
    paced_until: Timestamp,
}

#[derive(Clone, Debug)]
struct Waiting {
    kept: Kept,
    /// Whether it was ever sent by this instance.
    sent: bool,
    due_at: Timestamp,
    /// How long to wait after the next time.
    backoff_ms: u64,
    /// How often it was said to have been heard before.
    doubts: u8,
}

/// A report that waits is believed to have been heard before once it was said so often.
///
/// Where two units batch a report, one block counts it and a later one says that it was heard before. Who missed the former
/// may get the latter first; sent again, the report is answered with the former.
const DOUBTS_MAX: u8 = 3;

impl Outbox {
    /// Nothing waits.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: BTreeMap::new(),
            paced_until: Timestamp::default(),
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Keeps a report that was `sent` just now, or is to be sent as soon as may be. Returns the one that has to
    /// leave for it.
    pub fn keep(&mut self, now: Timestamp, kept: Kept, sent: bool) -> Option<Sequence> {
        let backoff_ms = self.limits.resend_ms;
        let due_at = if sent { now.plus(backoff_ms) } else { now };
        self.waiting.insert(
            kept.sequence,
            Waiting {
                kept,
                sent,
                due_at,
                backoff_ms,
                doubts: 0,
            },
        );
        if self.waiting.len() <= self.limits.len_max.max(1) {
            return None;
        }
        self.waiting.pop_first().map(|(sequence, _)| sequence)
    }

    /// Takes a report out; `false` where it did not wait.
    pub fn forget(&mut self, sequence: Sequence) -> bool {
        self.waiting.remove(&sequence).is_some()
    }

    /// Notes that a report is said to have been heard before; takes it out once that was said often enough, and says so.
    pub fn doubt(&mut self, sequence: Sequence) -> bool {
        let Some(waiting) = self.waiting.get_mut(&sequence) else {
            return false;
        };
        waiting.doubts += 1;
        waiting.doubts >= DOUBTS_MAX && self.forget(sequence)
    }

    /// Makes every report due: a roadside unit is in reach again.
    pub fn hurry(&mut self, now: Timestamp) {
        for waiting in self.waiting.values_mut() {
            waiting.due_at = waiting.due_at.min(now);
            waiting.backoff_ms = self.limits.resend_ms;
        }
    }

    /// Takes out what has waited for `keep_ms`.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Sequence> {
        let mut expired = Vec::new();
        // Sealed in the order of their sequences: the first that is young enough ends it.
        while let Some(first) = self.waiting.first_entry()
            && now.since(first.get().kept.sealed_at) >= self.limits.keep_ms
        {
            expired.push(first.remove().kept.sequence);
        }
        expired
    }

    /// What to send now, oldest first, and whether it was sent before. Cost: one look at every report that waits,
    /// where anything may be sent at all.
    pub fn resend(&mut self, now: Timestamp) -> Vec<(Kept, bool)> {
        if now < self.paced_until {
            return Vec::new();
        }
        let due = self.waiting.values_mut().filter(|waiting| waiting.due_at <= now);
        let sent: Vec<_> = due
            .take(self.limits.burst_max)
            .map(|waiting| {
                waiting.due_at = now.plus(waiting.backoff_ms);
                waiting.backoff_ms = waiting
                    .backoff_ms
                    .saturating_mul(2)
                    .min(self.limits.resend_max_ms);
                (waiting.kept.clone(), std::mem::replace(&mut waiting.sent, true))
            })
            .collect();
        if !sent.is_empty() {
            self.paced_until = now.plus(self.limits.pace_ms);
        }
        sent
    }

    /// When there may be something to send again.
    pub fn resend_at(&self) -> Option<Timestamp> {
        let due_at = self.waiting.values().map(|waiting| waiting.due_at).min()?;
        Some(due_at.max(self.paced_until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        len_max: 4,
        resend_ms: 1000,
        resend_max_ms: 4000,
        burst_max: 2,
        pace_ms: 500,
        keep_ms: 60_000,
    };

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn kept(sequence: u64, sealed_at: Timestamp) -> Kept {
        Kept {
            sequence: Sequence(sequence),
            sealed_at,
            cell: Cell::segment("a"),
            bytes: vec![],
        }
    }

    fn sequences(sent: &[(Kept, bool)]) -> Vec<u64> {
        sent.iter().map(|(kept, _)| kept.sequence.0).collect()
    }

    #[test]
    fn the_oldest_leaves_a_full_outbox() {
        let mut outbox = Outbox::new(LIMITS);
        let left: Vec<_> = (0..6)
            .filter_map(|n| outbox.keep(at(n), kept(n, at(n)), false))
            .collect();
        assert_eq!(left, [Sequence(0), Sequence(1)]);
        assert_eq!(outbox.len(), 4);
    }

    #[test]
    fn the_oldest_is_sent_first_and_no_more_than_a_burst_at_once() {
        let mut outbox = Outbox::new(LIMITS);
        for n in 0..4 {
            outbox.keep(at(0), kept(n, at(0)), false);
        }
        assert_eq!(sequences(&outbox.resend(at(0))), [0, 1]);
        assert_eq!(sequences(&outbox.resend(at(499))), [0; 0]);
        assert_eq!(outbox.resend_at(), Some(at(500)));
        assert_eq!(sequences(&outbox.resend(at(500))), [2, 3]);
    }

    #[test]
    fn each_time_it_waits_twice_as_long_up_to_a_bound() {
        let mut outbox = Outbox::new(LIMITS);
        outbox.keep(at(0), kept(0, at(0)), true);
        let mut times = Vec::new();
        while let Some(next) = outbox.resend_at().filter(|next| *next <= at(16_000)) {
            assert_eq!(outbox.resend(next).len(), 1);
            times.push(next.millis());
        }
        assert_eq!(times, [1000, 2000, 4000, 8000, 12_000, 16_000]);
    }

    #[test]
    fn what_nobody_wants_any_more_is_given_up() {
        let mut outbox = Outbox::new(LIMITS);
        outbox.keep(at(0), kept(0, at(0)), false);
        outbox.keep(at(1), kept(1, at(1)), false);
        assert_eq!(outbox.expire(at(60_000)), [Sequence(0)]);
        assert_eq!(outbox.len(), 1);
    }

    proptest! {
        /// However often it is asked, and whatever happens in between.
        #[test]
        fn resending_is_bounded(steps in prop::collection::vec((0u64..300, any::<bool>()), 1..300)) {
            let mut outbox = Outbox::new(Limits { len_max: 50, ..LIMITS });
            for n in 0..50 {
                outbox.keep(at(0), kept(n, at(0)), false);
            }
            let (mut now, mut sent) = (0, 0);
            for (wait, hurry) in steps {
                now += wait;
                if hurry {
                    outbox.hurry(at(now));
                }
                sent += outbox.resend(at(now)).len() as u64;
                prop_assert!(sent <= (now / LIMITS.pace_ms + 1) * LIMITS.burst_max as u64);
            }
        }
    }
}
