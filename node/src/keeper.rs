//! What is kept, for how long, and what may be forgotten?
//!
//! The keeper hears of every committed block, on a thread of its own: it never holds up the member. Every so many
//! blocks it writes a snapshot of that block's state, which it has from an immutable version of the ledger. Then it forgets what is
//! older than the retention says, a few blocks at a time.
//!
//! What remains can always be audited: bodies and batches are forgotten up to a height of which a snapshot is kept, so
//! replaying starts there. Headers and certificates are kept for ever, for light clients and for those who join.
//! Snapshots between that height and the newest are thinned out: enough of them stay that forgetting can go on in
//! steps of an eighth of the retention.
//!
//! Ages are counted in block time, so the same chain is kept the same way whatever the clock says.
//! Source: docs/adr/0017-snapshots.md.

use milepost_incentives::State;
use milepost_wire::certificate::Head;
use milepost_wire::{Height, Timestamp};
use serde::{Deserialize, Serialize};

use crate::snapshot::SnapshotError;
use crate::snapshots::Snapshots;
use crate::store::{Rocks, Store, StoreError};

/// What is kept, and for how long. In `rsu.toml` under `[retention]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// A snapshot of the state is made every so many blocks.
    pub snapshot_blocks: u64,
    /// Raw reports, batches and block bodies are kept for at most so many days; 0 for ever.
    pub reports_days: u64,
    /// They are kept for at most so many blocks, too, at least twice as many as `snapshot_blocks`; 0 for any number.
    pub reports_blocks: u64,
    /// What blocks put out (estimates, receipts, scores, payments) is kept for at most so many days; 0 for ever.
    pub outputs_days: u64,
    /// A batch that no block named after so many blocks is forgotten.
    pub undecided_blocks: u64,
    /// A unit that is so many blocks behind takes a snapshot rather than the blocks.
    pub catch_up_blocks: u64,
    /// The largest snapshot that this unit takes from others, in MiB.
    pub snapshot_mib_max: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            snapshot_blocks: 1_000,
            reports_days: 30,
            reports_blocks: 0,
            outputs_days: 400,
            undecided_blocks: 1_000,
            catch_up_blocks: 5_000,
            snapshot_mib_max: 4_096,
        }
    }
}

impl Retention {
    /// The largest snapshot that is taken from others, in bytes.
    pub fn snapshot_bytes_max(&self) -> u64 {
        self.snapshot_mib_max.saturating_mul(1 << 20)
    }

    fn reports_ms(&self) -> Option<u64> {
        days(self.reports_days)
    }
}

/// Days in milliseconds; `None` for ever.
fn days(days: u64) -> Option<u64> {
    (days > 0).then(|| days.saturating_mul(86_400_000))
}

/// Why nothing is kept or forgotten for the moment.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// A snapshot could not be written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Blocks that are forgotten in one go.
const BLOCKS_AT_ONCE: u64 = 64;
/// Batches that are looked at in one go.
const BATCHES_AT_ONCE: usize = 1_024;
/// The newest snapshots, which others may be fetching, are kept whatever their age.
const NEWEST_KEPT: usize = 2;
/// Snapshots that are older lie at least this part of the retention apart.
const STEPS: u64 = 8;

/// Makes snapshots and forgets.
pub struct Keeper {
    store: Rocks,
    snapshots: Snapshots,
    retention: Retention,
}

impl Keeper {
    /// A keeper of `store`.
    pub fn new(store: Rocks, snapshots: Snapshots, retention: Retention) -> Self {
        Self {
            store,
            snapshots,
            retention,
        }
    }

    /// Does what is due after the block of `head`, which left this state. Cost: a few reads; every so many blocks, a pass over the state.
    ///
    /// # Errors
    ///
    /// [`KeeperError`]; it may be tried again after the next block.
    pub fn committed(&self, head: &Head, state: &State) -> Result<(), KeeperError> {
        let (tip, time) = (head.header.height, head.header.time);
        let every = self.retention.snapshot_blocks.max(1);
        let newest = self.snapshots.heights()?.last().copied().unwrap_or_default();
        if tip.0 / every > newest.0 / every {
            self.snapshot(head, state)?;
        }
        // Until there is a snapshot to start from, it all stays.
        if let Some(due) = self.due(tip, time)?
            && let Some(last) = self.at_or_above(due)?
        {
            self.store.prune_bodies(last, BLOCKS_AT_ONCE)?;
            self.thin_out()?;
        }
        if let Some(kept_ms) = days(self.retention.outputs_days) {
            let next = self.store.outputs_pruned()?.next();
            let last = Height(next.0 + BLOCKS_AT_ONCE - 1).min(tip);
            if self.is_older(last, time, kept_ms)? {
                self.store.prune_outputs(last, BLOCKS_AT_ONCE)?;
            }
        }
        let last = Height(tip.0.saturating_sub(self.retention.undecided_blocks));
        self.store.prune_undecided(last, BATCHES_AT_ONCE)?;
        Ok(())
    }

    fn snapshot(&self, head: &Head, state: &State) -> Result<(), KeeperError> {
        let began = std::time::Instant::now();
        let offer = self.snapshots.make(head, state)?;
        tracing::info!(
            height = %offer.manifest.height,
            bytes = offer.manifest.bytes,
            took = ?began.elapsed(),
            "a snapshot is made"
        );
        self.thin_out()
    }

    /// The highest body that is too old, if any.
    fn due(&self, tip: Height, time: Timestamp) -> Result<Option<Height>, KeeperError> {
        let next = self.store.pruned()?.next();
        let mut due = None;
        if self.retention.reports_blocks > 0 && tip.0 >= next.0 + self.retention.reports_blocks {
            due = Some(Height(tip.0 - self.retention.reports_blocks));
        }
        if let Some(kept_ms) = self.retention.reports_ms()
            && next < tip
            && self.is_older(next, time, kept_ms)?
        {
            due = due.max(Some(next));
        }
        Ok(due)
    }

    fn is_older(&self, height: Height, now: Timestamp, kept_ms: u64) -> Result<bool, KeeperError> {
        let head = self.store.head(height)?;
        Ok(head.is_some_and(|head| now.since(head.header.time) > kept_ms))
    }

    fn at_or_above(&self, height: Height) -> Result<Option<Height>, KeeperError> {
        let heights = self.snapshots.heights()?;
        Ok(heights.into_iter().find(|found| *found >= height))
    }

    /// Removes the snapshots that nothing starts from any more, and of the others those that lie too close.
    fn thin_out(&self) -> Result<(), KeeperError> {
        let heights = self.snapshots.heights()?;
        let pruned = self.store.pruned()?;
        let forgets = self.retention.reports_blocks > 0 || self.retention.reports_days > 0;
        let old = heights.len().saturating_sub(NEWEST_KEPT);
        let mut previous: Option<Height> = None;
        for height in heights.into_iter().take(old) {
            let apart = match previous {
                Some(previous) => self.lie_apart(previous, height)?,
                None => height >= pruned && (forgets || pruned > Height::ZERO),
            };
            if apart {
                previous = Some(height);
            } else {
                self.snapshots.remove(height)?;
            }
        }
        Ok(())
    }

    /// Whether two snapshots are an eighth of the retention apart, by blocks or by time. Where all is kept for ever,
    /// nothing but the newest is needed.
    fn lie_apart(&self, one: Height, other: Height) -> Result<bool, KeeperError> {
        let blocks = self.retention.reports_blocks;
        if blocks > 0 && other.0 - one.0 >= blocks.div_ceil(STEPS) {
            return Ok(true);
        }
        let (Some(kept_ms), Some(one), Some(other)) = (
            self.retention.reports_ms(),
            self.store.head(one)?,
            self.store.head(other)?,
        ) else {
            return Ok(false);
        };
        Ok(other.header.time.since(one.header.time) >= kept_ms / STEPS)
    }
}
