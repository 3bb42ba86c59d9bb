//! How does a member run in the real world?
//!
//! The core runs on a thread of its own: it waits for an input or for its next wake-up, and hands its outputs to
//! a publisher. Zenoh's callbacks only decode and `try_send`: they share one runtime with everything else.
//! Batches are verified on all cores before the core sees them. Every queue is bounded; what does not fit is
//! dropped and counted, and comes again by rebroadcast or by fetching.
//!
//! Nothing that fans out may block: one frozen member must not stop the others. Source: docs/adr/0007-zenoh.md.

mod hear;
mod past;
mod presence;
mod speak;
mod thread;

pub use past::{AskPeers, ask_genesis};

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use k256::ecdsa::VerifyingKey;
use milepost_incentives::Genesis;
use milepost_wire::transaction::Transaction;
use milepost_wire::{Address, ChainId, Hash, Height, KeyId, Report, SecretKey, SignedBatch, Verified};
use tokio::sync::{broadcast, mpsc, watch};
use zenoh::Session;

use self::thread::{Clock, Core};
use crate::batch::{BatchError, VerifiedBatch};
use crate::keeper::{Keeper, Retention};
use crate::node::{Fatal, Input, Node, Readings, Settings};
use crate::snapshots::Snapshots;
use crate::store::Rocks;
use crate::view::View;

/// Inputs that wait for the core.
const INPUTS_MAX: usize = 4096;
/// Messages that wait to be published.
const SENDING_MAX: usize = 4096;
/// Verified reports that are remembered, so that a batch which repeats them is cheap.
const KNOWN_MAX: usize = 65_536;

/// Why a member cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The core refused: see there.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// Zenoh refused a subscription or a queryable.
    #[error("zenoh: {0}")]
    Zenoh(String),
    /// No thread could be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// The queue to the core is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the member is busy: its queue is full")]
pub struct Full;

/// What the shell counted since it started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages of other members that did not decode.
    pub malformed: AtomicU64,
    /// Inputs, outputs and others' messages dropped because a queue was full.
    pub dropped: AtomicU64,
    /// Batches of other members that were verified.
    pub batches_heard: AtomicU64,
    /// Batches refused because a signature in them is wrong.
    pub bad_batches: AtomicU64,
    /// Questions to other members for what was missing here.
    pub fetches: AtomicU64,
    /// Blocks that were fetched from other members.
    pub fetched_blocks: AtomicU64,
    /// Blocks that were committed.
    pub committed_blocks: AtomicU64,
    /// Rounds that decided nothing, of the heights of those blocks.
    pub given_up_rounds: AtomicU64,
    /// Members that were seen to sign two different things.
    pub equivocations: AtomicU64,
    /// Times that this unit complained of a member that did not hand out what it acknowledged.
    pub complaints: AtomicU64,
    /// Questions of others that the disk could not answer.
    pub store_errors: AtomicU64,
    /// Snapshots that could not be made, and times that something could not be forgotten.
    pub keeping_failed: AtomicU64,
}

/// What a member keeps, and where.
#[derive(Clone)]
pub struct Disk {
    /// The ledger.
    pub store: Rocks,
    /// States at some heights, for others.
    pub snapshots: Snapshots,
    /// For how long.
    pub retention: Retention,
}

/// Reports that this unit verified itself, by digest, oldest leaving first.
#[derive(Default)]
struct Known {
    reports: HashMap<Hash, Verified<Report>>,
    order: VecDeque<Hash>,
}

/// What the shell's parts share.
struct Shared {
    chain: ChainId,
    me: Address,
    genesis: Genesis,
    store: Rocks,
    snapshots: Snapshots,
    inputs: SyncSender<Input>,
    view: watch::Sender<Arc<View>>,
    committed: broadcast::Sender<Arc<View>>,
    heard: broadcast::Sender<Arc<VerifiedBatch>>,
    stopped: watch::Sender<Option<String>>,
    frozen: watch::Sender<Option<Duration>>,
    behind: watch::Sender<Option<Height>>,
    /// The greatest height that anybody claimed: nobody vouches for it.
    claimed: AtomicU64,
    /// How often a peer said that it has our next block no more.
    gone: AtomicU64,
    known: Mutex<Known>,
    /// Keys never change once enrolled, so their curve points are kept.
    points: RwLock<HashMap<KeyId, VerifyingKey>>,
    present: Mutex<HashSet<Address>>,
    /// Units that are present and speak another protocol.
    strangers: Mutex<HashSet<Address>>,
    readings: Mutex<Readings>,
    counters: Arc<Counters>,
}

/// A running member.
pub struct Handle {
    shared: Arc<Shared>,
    core: Option<std::thread::JoinHandle<()>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    session: Session,
    ending: SyncSender<Input>,
    end: Arc<AtomicBool>,
}

impl Shared {
    fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Offers an input to the core; never waits.
    fn offer(&self, input: Input) -> Result<(), Full> {
        self.inputs.try_send(input).map_err(|_| {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
            Full
        })
    }

    fn point(&self, view: &View, vehicle: KeyId) -> Option<VerifyingKey> {
        if let Some(point) = self
            .points
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&vehicle)
        {
            return Some(*point);
        }
        let point = view.state().vehicle(&vehicle)?.key.verifying_key().ok()?;
        self.points
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(vehicle, point);
        Some(point)
    }

    /// The point of whoever may author batches.
    fn author(&self, view: &View, author: Address) -> Option<VerifyingKey> {
        if let Some(point) = view.members().point(&author) {
            return Some(*point);
        }
        view.state().provider(&author)?;
        self.point(view, author.key_id())
    }

    fn known(&self, digest: &Hash) -> Option<Verified<Report>> {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .reports
            .get(digest)
            .cloned()
    }

    fn verify(&self, signed: SignedBatch) -> Result<Arc<VerifiedBatch>, BatchError> {
        let view = self.view();
        let author = signed.message.author;
        let point = self.author(&view, author).ok_or(BatchError::Stranger(author))?;
        let verified = VerifiedBatch::verify(
            signed,
            view.height(),
            &self.chain,
            &point,
            |vehicle| self.point(&view, vehicle),
            |digest| self.known(digest),
        );
        if let Err(error) = &verified
            && !error.may_have_been_right()
        {
            self.counters.bad_batches.fetch_add(1, Ordering::Relaxed);
            if let Some(evidence) = error.evidence() {
                // A full queue drops it, counted; whoever made one such batch makes more.
                let _ = self.offer(Input::BadBatch(Box::new(evidence.clone())));
            }
            tracing::debug!(%error, "a batch is refused");
        }
        verified.map(Arc::new)
    }
}

impl Handle {
    /// The newest committed ledger.
    pub fn view(&self) -> Arc<View> {
        self.shared.view()
    }

    /// The newest committed ledger, and each one after it; a slow reader skips some.
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.shared.view.subscribe()
    }

    /// Each committed block from now on.
    pub fn committed(&self) -> broadcast::Receiver<Arc<View>> {
        self.shared.committed.subscribe()
    }

    /// Each batch of another unit from now on, verified.
    pub fn heard(&self) -> broadcast::Receiver<Arc<VerifiedBatch>> {
        self.shared.heard.subscribe()
    }

    /// Hands in a batch of this unit's own.
    ///
    /// # Errors
    ///
    /// [`Full`]: try again later.
    pub fn offer_batch(&self, batch: Arc<VerifiedBatch>) -> Result<(), Full> {
        self.shared.offer(Input::Batch(batch))
    }

    /// Hands in a transaction.
    ///
    /// # Errors
    ///
    /// [`Full`]: try again later.
    pub fn offer_transaction(&self, transaction: Verified<Transaction>) -> Result<(), Full> {
        self.shared.offer(Input::Transaction(transaction))
    }

    /// Remembers reports that this unit verified, so that others' batches of them are cheap.
    pub fn remember(&self, reports: &[Verified<Report>]) {
        let mut known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        for report in reports {
            if known.reports.insert(report.digest(), report.clone()).is_none() {
                known.order.push_back(report.digest());
            }
            if known.order.len() > KNOWN_MAX
                && let Some(oldest) = known.order.pop_front()
            {
                known.reports.remove(&oldest);
            }
        }
    }

    /// A vehicle's curve point, where it is enrolled.
    pub fn point(&self, vehicle: KeyId) -> Option<VerifyingKey> {
        self.shared.point(&self.shared.view(), vehicle)
    }

    /// The other members that are present, as far as zenoh's liveliness tells.
    pub fn peers(&self) -> Vec<Address> {
        let mut present: Vec<_> = self
            .shared
            .present
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .copied()
            .collect();
        present.sort();
        present
    }

    /// How many units are present that speak another protocol: neither side hears the other.
    pub fn strangers(&self) -> usize {
        let strangers = self.shared.strangers.lock();
        strangers.unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How the node stands.
    pub fn readings(&self) -> Readings {
        let readings = self.shared.readings.lock();
        *readings.unwrap_or_else(PoisonError::into_inner)
    }

    /// What is counted.
    pub fn counters(&self) -> Arc<Counters> {
        self.shared.counters.clone()
    }

    /// The store, for reading.
    pub fn store(&self) -> &Rocks {
        &self.shared.store
    }

    /// Waits until the member stops by itself, and says why.
    pub async fn stopped(&self) -> String {
        let mut stopped = self.shared.stopped.subscribe();
        match stopped.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the member's thread is gone".into(),
        }
    }

    /// Waits until the process is found to have stood still (SIGSTOP, a suspended machine), and says for how long.
    ///
    /// Zenoh 1.10's routers do not always find together again when one of them was given up and did not notice:
    /// the member should be shut down and started anew.
    pub async fn frozen(&self) -> Duration {
        let mut frozen = self.shared.frozen.subscribe();
        match frozen.wait_for(Option::is_some).await {
            Ok(stood) => stood.unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits until this unit is so far behind that a snapshot is the way on, and says how high one is that was offered.
    ///
    /// The member should be shut down, and started again after [`crate::catch_up`].
    pub async fn behind(&self) -> Height {
        let mut behind = self.shared.behind.subscribe();
        match behind.wait_for(Option::is_some).await {
            Ok(height) => height.unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops the member and hands everything to the disk.
    pub async fn shutdown(mut self) {
        self.end.store(true, Ordering::Release);
        // Any input will do to wake the core; a full queue wakes it by itself.
        let _ = self.ending.try_send(Input::Wake);
        if let Some(core) = self.core.take() {
            let joined = tokio::task::spawn_blocking(move || core.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the member's thread ended badly");
            }
        }
        for task in &self.tasks {
            task.abort();
        }
        if let Err(error) = self.shared.store.flush() {
            tracing::error!(%error, "the store could not be flushed");
        }
        if let Err(error) = self.session.close().await {
            tracing::warn!(%error, "zenoh did not close cleanly");
        }
    }
}

/// Starts a member on `session`. The session is the member's: [`Handle::shutdown`] closes it.
///
/// # Errors
///
/// [`StartError`].
pub async fn start(
    session: Session,
    genesis: &Genesis,
    key: SecretKey,
    settings: Settings,
    disk: Disk,
) -> Result<Handle, StartError> {
    let Disk {
        store,
        snapshots,
        retention,
    } = disk;
    let clock = Clock::start();
    let me = key.address();
    let (node, first) = Node::open(genesis, key, settings, store.clone(), clock.now())?;
    let (inputs, waiting) = sync_channel(INPUTS_MAX);
    let (sender, sending) = mpsc::channel(SENDING_MAX);
    let shared = Arc::new(Shared {
        chain: genesis.chain.clone(),
        me,
        genesis: genesis.clone(),
        store: store.clone(),
        snapshots: snapshots.clone(),
        inputs: inputs.clone(),
        view: watch::channel(node.view()).0,
        committed: broadcast::channel(256).0,
        heard: broadcast::channel(1024).0,
        stopped: watch::channel(None).0,
        frozen: watch::channel(None).0,
        behind: watch::channel(None).0,
        claimed: AtomicU64::new(0),
        gone: AtomicU64::new(0),
        known: Mutex::default(),
        points: RwLock::default(),
        present: Mutex::default(),
        strangers: Mutex::default(),
        readings: Mutex::new(node.readings()),
        counters: Arc::default(),
    });
    let mut tasks = vec![tokio::spawn(speak::publish(
        session.clone(),
        shared.clone(),
        sending,
    ))];
    hear::listen(&session, &shared)
        .await
        .map_err(|error| StartError::Zenoh(error.to_string()))?;
    tasks.push(tokio::spawn(presence::watch(session.clone(), shared.clone())));
    let catch_up_blocks = retention.catch_up_blocks;
    tasks.push(tokio::spawn(past::watch_behind(
        session.clone(),
        shared.clone(),
        retention.snapshot_bytes_max(),
        catch_up_blocks,
    )));
    let keeping = thread::spawn_keeper(Keeper::new(store, snapshots, retention), shared.clone())?;
    let end = Arc::new(AtomicBool::new(false));
    let core = Core {
        node,
        clock,
        waiting,
        sender,
        keeping,
        shared: shared.clone(),
        end: end.clone(),
    };
    let core = std::thread::Builder::new()
        .name("milepost-core".into())
        .spawn(move || core.run(first))?;
    Ok(Handle {
        shared,
        core: Some(core),
        tasks,
        session,
        ending: inputs,
        end,
    })
}
