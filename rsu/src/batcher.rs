//! When do reports leave for the ledger?
//!
//! In one bundle once the oldest has waited [`Limits::age_max_ms`], or as soon as a bundle is full. While the
//! ledger takes no more, up to [`Limits::queue_max`] reports wait; beyond, the newest are dropped, and counted
//! by the caller.

use std::collections::VecDeque;

use milepost_wire::{Batch, Report, Verified, encode};
use serde::{Deserialize, Serialize};

/// How reports are bundled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// A batch leaves once its oldest report has waited this long, in ms, ...
    pub age_max_ms: u64,
    /// ... or once it holds this many reports, at most 512, ...
    pub reports_max: usize,
    /// ... or this many bytes of them, at most 1 MiB less 1 kB, whichever comes first.
    pub bytes_max: usize,
    /// Reports that wait while the ledger takes no more; the newest are dropped.
    pub queue_max: usize,
    /// Own batches on their way into a block; further ones wait.
    pub open_max: usize,
    /// After this long, in ms, a batch that is in no block is no longer counted as on its way.
    pub open_for_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            age_max_ms: 100,
            reports_max: Batch::REPORTS_MAX,
            bytes_max: 256 << 10,
            queue_max: 8_192,
            open_max: 64,
            open_for_ms: 30_000,
        }
    }
}

/// Bundles reports.
#[derive(Clone, Debug)]
pub struct Batcher {
    limits: Limits,
    queue: VecDeque<Waiting>,
}

#[derive(Clone, Debug)]
struct Waiting {
    since_ms: u64,
    len: usize,
    report: Verified<Report>,
}

/// As many reports wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} reports wait for the ledger already")]
pub struct QueueFull(pub usize);

impl Batcher {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            queue: VecDeque::new(),
        }
    }

    /// Takes a report.
    ///
    /// # Errors
    ///
    /// [`QueueFull`]: the report is dropped.
    pub fn push(&mut self, now_ms: u64, report: Verified<Report>) -> Result<(), QueueFull> {
        if self.queue.len() >= self.limits.queue_max {
            return Err(QueueFull(self.queue.len()));
        }
        let len = encode(report.signed()).len();
        self.queue.push_back(Waiting {
            since_ms: now_ms,
            len,
            report,
        });
        Ok(())
    }

    /// Takes back, in front of all others, what the ledger did not want yet. It may stand above the bound until
    /// it leaves again.
    pub fn give_back(&mut self, now_ms: u64, reports: &[Verified<Report>]) {
        for report in reports.iter().rev() {
            self.queue.push_front(Waiting {
                since_ms: now_ms,
                len: encode(report.signed()).len(),
                report: report.clone(),
            });
        }
    }

    /// The next batch's reports, where it is full or its time has come.
    pub fn close(&mut self, now_ms: u64) -> Option<Vec<Verified<Report>>> {
        let (count, full) = self.next_batch();
        let oldest_ms = self.queue.front()?.since_ms;
        if !full && now_ms < oldest_ms.saturating_add(self.limits.age_max_ms) {
            return None;
        }
        Some(self.queue.drain(..count).map(|waiting| waiting.report).collect())
    }

    /// When to ask for the next batch.
    pub fn wake_at(&self) -> Option<u64> {
        let oldest_ms = self.queue.front()?.since_ms;
        let (_, full) = self.next_batch();
        Some(if full {
            oldest_ms
        } else {
            oldest_ms.saturating_add(self.limits.age_max_ms)
        })
    }

    /// How many reports wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many reports the next batch holds, and whether there is room for no more.
    fn next_batch(&self) -> (usize, bool) {
        let count_max = self.limits.reports_max.clamp(1, Batch::REPORTS_MAX);
        let bytes_max = self.limits.bytes_max.min(BYTES_MAX);
        let (mut count, mut bytes) = (0, 0);
        for waiting in self.queue.iter().take(count_max) {
            bytes += waiting.len;
            // A single report always fits.
            if count > 0 && bytes > bytes_max {
                return (count, true);
            }
            count += 1;
        }
        (count, count == count_max)
    }
}

/// What a batch has for its reports: its own fields and lengths take less than 1 kB.
const BYTES_MAX: usize = <Batch as milepost_wire::Message>::LEN_MAX - 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use proptest::prelude::*;

    fn limits(reports_max: usize, bytes_max: usize, queue_max: usize) -> Limits {
        Limits {
            reports_max,
            bytes_max,
            queue_max,
            ..Limits::default()
        }
    }

    #[test]
    fn a_lone_report_leaves_when_its_time_has_come() {
        let mut batcher = Batcher::new(Limits::default());
        assert_eq!(batcher.wake_at(), None);
        batcher.push(1000, samples::report(1, 1)).expect("room");
        assert_eq!(batcher.wake_at(), Some(1100));
        assert!(batcher.close(1099).is_none());
        assert_eq!(batcher.close(1100).map(|batch| batch.len()), Some(1));
        assert!(batcher.is_empty());
    }

    #[test]
    fn a_full_batch_does_not_wait() {
        let mut batcher = Batcher::new(limits(2, 1 << 20, 10));
        for sequence in 0..3 {
            batcher.push(1000, samples::report(1, sequence)).expect("room");
        }
        assert_eq!(batcher.close(1000).map(|batch| batch.len()), Some(2));
        assert!(batcher.close(1000).is_none());
    }

    #[test]
    fn the_newest_is_dropped_where_all_room_is_taken() {
        let mut batcher = Batcher::new(limits(512, 1 << 20, 2));
        for sequence in 0..2 {
            batcher.push(0, samples::report(1, sequence)).expect("room");
        }
        assert_eq!(batcher.push(0, samples::report(1, 2)), Err(QueueFull(2)));
        let kept = batcher.close(100).expect("due");
        assert_eq!(
            kept.iter().map(|report| report.sequence.0).collect::<Vec<_>>(),
            [0, 1]
        );
        batcher.give_back(100, &kept);
        assert_eq!(batcher.close(200), Some(kept));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// In the order of arrival, each once, none above a limit.
        #[test]
        fn every_report_leaves_once(
            count in 0u64..40, reports_max in 1usize..10, bytes_max in 1usize..1000,
        ) {
            let mut batcher = Batcher::new(limits(reports_max, bytes_max, 100));
            for sequence in 0..count {
                batcher.push(0, samples::report(1, sequence)).expect("room");
            }
            let mut left = Vec::new();
            while let Some(batch) = batcher.close(100) {
                let bytes: usize = batch.iter().map(|report| encode(report.signed()).len()).sum();
                prop_assert!(batch.len() == 1 || (batch.len() <= reports_max && bytes <= bytes_max));
                left.extend(batch.iter().map(|report| report.sequence.0));
            }
            prop_assert_eq!(left, (0..count).collect::<Vec<_>>());
        }
    }
}
