//! How does a member run in the real world?
//!
//! The core runs on a thread of its own: it waits for an input or for its next wake-up, and hands its outputs to
//! a publisher. Zenoh's callbacks only decode and `try_send`: they share one runtime with everything else.
//! Batches are verified on all cores before the core sees them. Every queue is bounded; what does not fit is
//! dropped and counted, and comes again by rebroadcast or by fetching.
//!
//! Nothing that fans out may block: one frozen member must not stop the others. Source: docs/adr/0007-zenoh.md.

mod past;

pub use past::{AskPeers, ask_genesis};

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use k256::ecdsa::VerifyingKey;
use milepost_incentives::Genesis;
use milepost_wire::codec::{decode, encode};
use milepost_wire::signed::signing_digest;
use milepost_wire::topic::{self, Channel};
use milepost_wire::transaction::Transaction;
use milepost_wire::{
    Address, ChainId, Hash, Height, KeyId, Report, SecretKey, SignedBatch, Timestamp, Verified,
};
use tokio::sync::{broadcast, mpsc, watch};
use zenoh::Session;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::query::ConsolidationMode;
use zenoh::sample::SampleKind;

use crate::batch::{BatchError, VerifiedBatch};
use crate::keeper::{Keeper, Retention};
use crate::message::{BlockAnswer, PeerMessage};
use crate::node::{Fatal, Input, Node, Now, Output, Readings, Settings, Want};
use crate::snapshots::Snapshots;
use crate::store::Rocks;
use crate::view::View;

/// Inputs that wait for the core.
const INPUTS_MAX: usize = 4096;
/// Messages that wait to be published.
const SENDING_MAX: usize = 4096;
/// Batches that wait to be verified.
const VERIFYING_MAX: usize = 256;
/// Questions of other members that wait to be answered.
const ASKED_MAX: usize = 256;
/// Verified reports that are remembered, so that a batch which repeats them is cheap.
const KNOWN_MAX: usize = 65_536;
/// A process that stood still for so long was frozen, and zenoh's other ends have given it up: their lease is two seconds.
const FROZEN: Duration = Duration::from_millis(2_500);
/// How long an answer may take.
const FETCH_TIMEOUT: Duration = Duration::from_millis(1500);
/// So many answers to one question are looked at.
const ANSWERS_MAX: usize = 8;

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
    end: Arc<std::sync::atomic::AtomicBool>,
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
    let clock = Clock(Instant::now());
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
    let mut tasks = vec![tokio::spawn(publish(session.clone(), shared.clone(), sending))];
    listen(&session, &shared)
        .await
        .map_err(|error| StartError::Zenoh(error.to_string()))?;
    tasks.push(tokio::spawn(watch_presence(session.clone(), shared.clone())));
    let catch_up_blocks = retention.catch_up_blocks;
    tasks.push(tokio::spawn(past::watch_behind(
        session.clone(),
        shared.clone(),
        retention.snapshot_bytes_max(),
        catch_up_blocks,
    )));
    let keeping = spawn_keeper(Keeper::new(store, snapshots, retention), shared.clone())?;
    let end = Arc::new(std::sync::atomic::AtomicBool::new(false));
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

/// The two clocks.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn now(&self) -> Now {
        let unix = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            mono_ms: u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX),
            wall: Timestamp::from_unix_millis(u64::try_from(unix.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// The thread that the core runs on.
struct Core {
    node: Node<Rocks>,
    clock: Clock,
    waiting: Receiver<Input>,
    sender: mpsc::Sender<Output>,
    keeping: SyncSender<Arc<View>>,
    shared: Arc<Shared>,
    end: Arc<std::sync::atomic::AtomicBool>,
}

impl Core {
    fn run(mut self, first: Vec<Output>) {
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

/// Carries outputs to the network.
async fn publish(session: Session, shared: Arc<Shared>, mut sending: mpsc::Receiver<Output>) {
    let mut turn = 0usize;
    while let Some(output) = sending.recv().await {
        let (key, bytes, priority, express) = match output {
            Output::Send { channel, bytes } => {
                let key = topic::from_member(&shared.chain, channel, shared.me);
                match channel {
                    Channel::Bft => (key, bytes, Priority::RealTime, true),
                    Channel::Body => (key, bytes, Priority::DataHigh, true),
                    Channel::Batch => (key, bytes, Priority::DataHigh, false),
                    Channel::Member => (key, bytes, Priority::InteractiveHigh, true),
                }
            }
            Output::Committed(view) => match view.head() {
                Some(head) => (
                    topic::head(&shared.chain),
                    encode(head),
                    Priority::InteractiveHigh,
                    true,
                ),
                None => continue,
            },
            Output::Fetch { want, of } => {
                turn = turn.wrapping_add(1);
                if let Some(member) = of.or_else(|| next_other(&shared, turn)) {
                    tokio::spawn(fetch(session.clone(), shared.clone(), want, member));
                }
                continue;
            }
            Output::Equivocated(_) | Output::Complains(_) => continue,
        };
        let put = session
            .put(key, bytes)
            .congestion_control(CongestionControl::Drop)
            .priority(priority);
        if let Err(error) = put.express(express).await {
            tracing::debug!(%error, "not published");
        }
    }
}

/// Each time another member.
fn next_other(shared: &Shared, turn: usize) -> Option<Address> {
    let view = shared.view();
    // Whoever is far behind knows members of old, some of whom may be gone: those who are present answer as well.
    let present = shared
        .present
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let known = view.members().iter().map(|(address, _)| address);
    let others: BTreeSet<Address> = known.chain(present).filter(|other| *other != shared.me).collect();
    let others = Vec::from_iter(others);
    others.get(turn.checked_rem(others.len())?).copied()
}

/// Asks another member.
async fn fetch(session: Session, shared: Arc<Shared>, want: Want, member: Address) {
    let key = match want {
        Want::Block(height) => topic::ask_block(&shared.chain, height, member),
        Want::Body(hash) => topic::ask_body(&shared.chain, hash, member),
        Want::Batch(digest) => topic::ask_batch(&shared.chain, digest, member),
    };
    // Whoever else answers in the member's name must not hide its own answer.
    let asked = session.get(key).consolidation(ConsolidationMode::None);
    let Ok(replies) = asked.timeout(FETCH_TIMEOUT).await else {
        return;
    };
    for _ in 0..ANSWERS_MAX {
        let Ok(reply) = replies.recv_async().await else {
            return;
        };
        let sample = match reply.into_result() {
            Ok(sample) => sample,
            Err(error) => {
                if error.payload().to_bytes() == past::GONE {
                    shared.gone.fetch_add(1, Ordering::Relaxed);
                }
                continue;
            }
        };
        let bytes = sample.payload().to_bytes().into_owned();
        let shared = shared.clone();
        let taken = tokio::task::spawn_blocking(move || take_answer(&shared, want, member, &bytes)).await;
        match taken {
            Ok(true) => return,
            Ok(false) => {}
            Err(_) => tracing::error!("an answer could not be taken"),
        }
    }
}

/// Hands an answer in; says whether it is one.
fn take_answer(shared: &Shared, want: Want, member: Address, bytes: &[u8]) -> bool {
    let input = match want {
        Want::Block(_) => decode::<BlockAnswer>(bytes).ok().and_then(|answer| {
            // The cheap check first: without a good certificate its batches are not worth verifying.
            answer
                .certificate
                .verify(&shared.chain, shared.view().members())
                .ok()?;
            let batches = answer
                .batches
                .into_iter()
                .map(|signed| shared.verify(signed).ok())
                .collect::<Option<_>>()?;
            shared.counters.fetched_blocks.fetch_add(1, Ordering::Relaxed);
            Some(Input::Block {
                block: Box::new(answer.block),
                certificate: answer.certificate,
                batches,
            })
        }),
        Want::Body(_) => decode::<PeerMessage>(bytes)
            .ok()
            .filter(|message| matches!(message, PeerMessage::Body(_)))
            .map(Input::Peer),
        Want::Batch(batch) => decode::<SignedBatch>(bytes).ok().and_then(|signed| {
            let is_it = signing_digest(&shared.chain, &signed.message) == batch;
            let verified = shared.verify(signed);
            // A batch of long ago is handed out, whether its author still counts or not.
            let is_sound = match &verified {
                Ok(_) => true,
                Err(error) => error.may_have_been_right(),
            };
            if is_it && is_sound {
                let _ = shared.offer(Input::HandedOut { by: member, batch });
            }
            verified.ok().map(Input::Batch)
        }),
    };
    let is_one = input.is_some();
    match input {
        // A full queue drops it, counted; it is fetched again.
        Some(input) => drop(shared.offer(input)),
        None => {
            shared.counters.malformed.fetch_add(1, Ordering::Relaxed);
        }
    }
    is_one
}

/// Subscribes to the other members, and answers them.
async fn listen(session: &Session, shared: &Arc<Shared>) -> zenoh::Result<()> {
    let (to_verify, verifying) = sync_channel::<SignedBatch>(VERIFYING_MAX);
    for channel in [Channel::Bft, Channel::Body, Channel::Batch, Channel::Member] {
        let (shared, to_verify) = (shared.clone(), to_verify.clone());
        let own = topic::from_member(&shared.chain, channel, shared.me);
        let key = topic::all_members(&shared.chain, channel);
        let hear = move |sample: zenoh::sample::Sample| {
            if sample.key_expr().as_str() == own || sample.kind() != SampleKind::Put {
                return;
            }
            let fits = match decode::<PeerMessage>(&sample.payload().to_bytes()) {
                Ok(PeerMessage::Batch(signed)) => {
                    let fits = to_verify.try_send(signed).is_ok();
                    shared
                        .counters
                        .dropped
                        .fetch_add(u64::from(!fits), Ordering::Relaxed);
                    fits
                }
                Ok(PeerMessage::Status(status)) => {
                    shared.claimed.fetch_max(status.height.0, Ordering::Relaxed);
                    shared.offer(Input::Peer(PeerMessage::Status(status))).is_ok()
                }
                Ok(message) => shared.offer(Input::Peer(message)).is_ok(),
                Err(error) => {
                    shared.counters.malformed.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(%error, "a message of a member is refused");
                    true
                }
            };
            if !fits {
                tracing::debug!("a message of a member is dropped: this one is busy");
            }
        };
        session
            .declare_subscriber(key)
            .callback(hear)
            .background()
            .await?;
    }
    spawn_verifier(shared.clone(), verifying)?;

    let (to_answer, asked) = sync_channel::<zenoh::query::Query>(ASKED_MAX);
    let ask = move |query| drop(to_answer.try_send(query));
    session
        .declare_queryable(topic::asked_of(&shared.chain, shared.me))
        .callback(ask)
        .background()
        .await?;
    spawn_answerer(shared.clone(), asked)?;
    Ok(())
}

/// Verifies others' batches, one after the other, each on all cores.
fn spawn_verifier(shared: Arc<Shared>, verifying: Receiver<SignedBatch>) -> std::io::Result<()> {
    let verify = move || {
        for signed in verifying {
            if let Ok(batch) = shared.verify(signed) {
                shared.counters.batches_heard.fetch_add(1, Ordering::Relaxed);
                let _ = shared.heard.send(batch.clone());
                // A full queue drops it, counted; it comes again when a block names it.
                let _ = shared.offer(Input::Batch(batch));
            }
        }
    };
    std::thread::Builder::new()
        .name("milepost-verify".into())
        .spawn(verify)
        .map(drop)
}

/// Makes snapshots and forgets, beside the core: it waits for nobody and nobody waits for it.
fn spawn_keeper(keeper: Keeper, shared: Arc<Shared>) -> std::io::Result<SyncSender<Arc<View>>> {
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

/// Answers the other members' questions from the disk.
fn spawn_answerer(shared: Arc<Shared>, asked: Receiver<zenoh::query::Query>) -> std::io::Result<()> {
    let answer = move || {
        for query in asked {
            past::answer(&shared, &query);
        }
    };
    std::thread::Builder::new()
        .name("milepost-answer".into())
        .spawn(answer)
        .map(drop)
}

/// Declares this member present, and notes who else is.
async fn watch_presence(session: Session, shared: Arc<Shared>) {
    let own = topic::from_member(&shared.chain, Channel::Member, shared.me);
    let Ok(_token) = session.liveliness().declare_token(own).await else {
        return;
    };
    let all = topic::presence(&shared.chain);
    let Ok(changes) = session.liveliness().declare_subscriber(all).history(true).await else {
        return;
    };
    while let Ok(sample) = changes.recv_async().await {
        let Some((protocol, address)) = topic::present(sample.key_expr().as_str()) else {
            continue;
        };
        if address == shared.me && protocol == topic::PROTOCOL {
            continue;
        }
        let among = if protocol == topic::PROTOCOL {
            &shared.present
        } else {
            &shared.strangers
        };
        let mut among = among.lock().unwrap_or_else(PoisonError::into_inner);
        match sample.kind() {
            SampleKind::Put => {
                if among.insert(address) && protocol != topic::PROTOCOL {
                    tracing::error!(
                        unit = %address,
                        "a unit speaks protocol {protocol}, and this one {}: neither hears the other; install the same version of the software on both",
                        topic::PROTOCOL
                    );
                }
            }
            SampleKind::Delete => {
                among.remove(&address);
            }
        }
    }
}
