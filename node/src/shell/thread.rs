//! On which thread does the member decide, and who keeps house beside it?
//!
//! The core waits for an input or for its next wake-up, and hands what follows to the publisher and to whoever watches.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use milepost_wire::Timestamp;
use tokio::sync::mpsc;

use super::Shared;
use crate::keeper::Keeper;
use crate::node::{Input, Node, Now, Output};
use crate::store::Rocks;
use crate::view::View;

/// A process that stood still for so long was frozen, and zenoh's other ends have given it up: their lease is two seconds.
const FROZEN: Duration = Duration::from_millis(2_500);

/// The two clocks.
#[derive(Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(&self) -> Now {
        Now {
            mono_ms: u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX),
            wall: Timestamp::of_system(SystemTime::now()),
        }
    }
}

/// The thread that the core runs on.
pub(super) struct Core {
    pub(super) node: Node<Rocks>,
    pub(super) clock: Clock,
    pub(super) waiting: Receiver<Input>,
    pub(super) sender: mpsc::Sender<Output>,
    pub(super) keeping: SyncSender<Arc<View>>,
    pub(super) shared: Arc<Shared>,
    pub(super) end: Arc<AtomicBool>,
}

impl Core {
    pub(super) fn run(mut self, first: Vec<Output>) {
        self.carry(first);
        while !self.end.load(Ordering::Acquire) {
            let now = self.clock.now();
            let wait = self.node.wake_at().saturating_sub(now.mono_ms);
            let input = if wait == 0 {
                // A due timer goes first, so that a flood of messages cannot hold it off.
                Input::Wake
            } else {
                let began = Instant::now();
                let wait = Duration::from_millis(wait);
                let heard = self.waiting.recv_timeout(wait);
                let late = began.elapsed().saturating_sub(wait);
                if late >= FROZEN {
                    tracing::warn!(?late, "this process stood still");
                    self.shared.frozen.send_replace(Some(late));
                }
                match heard {
                    Ok(input) => input,
                    Err(RecvTimeoutError::Timeout) => Input::Wake,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            };
            match self.node.handle(self.clock.now(), input) {
                Ok(outputs) => {
                    let readings = self.shared.readings.lock();
                    *readings.unwrap_or_else(PoisonError::into_inner) = self.node.readings();
                    self.carry(outputs);
                }
                Err(fatal) => {
                    tracing::error!(%fatal, "this member stops: it must not go on in doubt");
                    self.shared.stopped.send_replace(Some(fatal.to_string()));
                    return;
                }
            }
        }
    }

    fn carry(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match &output {
                Output::Committed(view) => {
                    let rounds = view.head().map_or(0, |head| head.certificate.round);
                    let counters = &self.shared.counters;
                    counters.committed_blocks.fetch_add(1, Ordering::Relaxed);
                    counters
                        .given_up_rounds
                        .fetch_add(rounds.into(), Ordering::Relaxed);
                    self.shared.view.send_replace(view.clone());
                    // Nobody listening is fine.
                    let _ = self.shared.committed.send(view.clone());
                    // While the keeper is busy it misses some, and makes up for it later.
                    let _ = self.keeping.try_send(view.clone());
                }
                Output::Equivocated(_) => {
                    self.shared.counters.equivocations.fetch_add(1, Ordering::Relaxed);
                }
                Output::Complains(_) => {
                    self.shared.counters.complaints.fetch_add(1, Ordering::Relaxed);
                }
                Output::Fetch { .. } => {
                    self.shared.counters.fetches.fetch_add(1, Ordering::Relaxed);
                }
                Output::Send { .. } => {}
            }
            if self.sender.try_send(output).is_err() {
                self.shared.counters.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Makes snapshots and forgets, beside the core: it waits for nobody and nobody waits for it.
pub(super) fn spawn_keeper(keeper: Keeper, shared: Arc<Shared>) -> std::io::Result<SyncSender<Arc<View>>> {
    let (sender, views) = sync_channel::<Arc<View>>(1);
    let keep = move || {
        for view in views {
            let Some(head) = view.head() else { continue };
            if let Err(error) = keeper.committed(head, view.state()) {
                shared.counters.keeping_failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "no snapshot could be made, or nothing forgotten");
            }
        }
    };
    std::thread::Builder::new()
        .name("milepost-keeper".into())
        .spawn(keep)?;
    Ok(sender)
}
