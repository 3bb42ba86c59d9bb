//! How does a roadside unit run in the real world?
//!
//! Its core runs on a thread of its own: it takes what zenoh and the ledger node bring, as much as there is at
//! a time, and hands what follows to the node, to a publisher and to whoever is served. Zenoh's callbacks only
//! `try_send`. Every queue is bounded; what does not fit is dropped and counted. Nothing is decided here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use milepost_node::shell::{self, Handle};
use milepost_node::snapshot::SnapshotError;
use milepost_node::snapshots::Snapshots;
use milepost_node::store::{Rocks, StoreError, install};
use milepost_wire::{
    Access, ChainId, Message, SecretKey, Signed, SignedReport, SignedTransaction, decode, encode, topic,
};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc, watch};
use zenoh::Session;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::sample::Locality;

use crate::clock::{self, Clock};
use crate::config::Config;
#[cfg(unix)]
use crate::control;
use crate::home::{Home, HomeError};
use crate::live::LiveFigure;
use crate::served::{Origin, Served, TRANSACTIONS_MAX, Taken};
use crate::unit::{Input, Output, Unit};
use crate::{api, link, queries, receipts};

/// Messages that wait to be published.
const SENDING_MAX: usize = 4_096;
/// How often the unit's readings are brought up to date.
const READINGS_EVERY: Duration = Duration::from_millis(500);
/// How often the links are looked at.
const LINKS_EVERY: Duration = Duration::from_secs(1);
/// How long links may seem deaf, beyond the time in which a block is made in any case.
const DEAF_MAX: Duration = Duration::from_secs(8);
/// The longest that the core sleeps, so that it notices when it is to end.
const SLEEP_MAX_MS: u64 = 500;

/// Why a unit stops.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its home cannot be read.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Its store cannot be relied on.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A store that was fetched or restored could not take the old one's place.
    #[error("the store could not be put into its place: {0}")]
    Settle(std::io::Error),
    /// The snapshots' folder cannot be used.
    #[error(transparent)]
    Snapshots(#[from] SnapshotError),
    /// Zenoh cannot be used as configured.
    #[error("zenoh: {0}")]
    Zenoh(String),
    /// The ledger node does not start.
    #[error(transparent)]
    Start(#[from] shell::StartError),
    /// The API's address cannot be had.
    #[error("cannot listen on {address}, the API's address: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// No thread could be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// Anybody could read a private chain over its links.
    #[error(
        "this chain is private, and strangers can link to this unit: name certificates ([tls] in rsu.toml), or listen on loopback alone"
    )]
    OpenLinks,
    /// The ledger node stopped by itself.
    #[error("the ledger node stopped: {0}")]
    Fatal(String),
}

/// Why a unit's run ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Asked,
    /// The process had stood still, and must be started anew in order to be heard.
    Frozen,
    /// Its links are up, and those at their other ends are not heard: it must be started anew, too.
    Deaf,
    /// It is so far behind that it must take a snapshot, and be started anew.
    Behind,
}

/// Runs the unit in `home` until `stop` is done. `ready` is told once everything listens.
///
/// # Errors
///
/// [`RunError`].
pub async fn run(
    home: &Home,
    config: &Config,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(SocketAddr),
) -> Result<Ended, RunError> {
    let (genesis, key) = (home.genesis()?, home.key()?);
    let me = key.address();
    if genesis.members.get(&me).is_none() {
        tracing::info!(key = %me, chain = %genesis.chain, "no member since the beginning: following without a vote until admitted");
    }
    install::settle(&home.store()).map_err(RunError::Settle)?;
    let store = Rocks::open(&home.store())?;
    let snapshots = Snapshots::open(&home.snapshots())?;
    snapshots.clear()?;
    // Before anything else is started: a taken port is the commonest mistake.
    let listener = TcpListener::bind(config.api)
        .await
        .map_err(|source| RunError::Listen {
            address: config.api,
            source,
        })?;
    let zenoh_error = |error: zenoh::Error| RunError::Zenoh(error.to_string());
    let settings = link::settings(config, home.folder(), &genesis.chain).map_err(zenoh_error)?;
    tokio::time::sleep(link::APART).await;
    let session = zenoh::open(settings).await.map_err(zenoh_error)?;
    let handle = shell::start(
        session.clone(),
        &genesis,
        key.clone(),
        config.node.clone(),
        shell::Disk {
            store: store.clone(),
            snapshots,
            retention: config.retention.clone(),
        },
    )
    .await?;
    let open_links = link::is_open(config);
    if open_links && handle.view().state().charter().access == Access::Private {
        handle.shutdown().await;
        return Err(RunError::OpenLinks);
    }
    let handle = Arc::new(handle);
    #[cfg(unix)]
    let control = match control::clear(home).and_then(|()| control::serve(home, store.clone())) {
        Ok(control) => Some(control),
        Err(error) => {
            tracing::warn!(path = %home.control().display(), %error, "no control socket: no backup while this unit runs");
            None
        }
    };

    let (transactions, taken) = mpsc::channel(TRANSACTIONS_MAX);
    let served = Served::new(genesis, me, store, handle.views(), transactions)?;
    let served = served
        .over_open_links(open_links)
        .with_evidence(config.ear.evidence_max);
    let served = Arc::new(served);
    let (inbox, waiting) = sync_channel(config.inbox_max);
    let (sender, sending) = mpsc::channel(SENDING_MAX);
    let (end, ended) = watch::channel(false);
    // Before the unit begins, so that it misses no block.
    let committed = handle.committed();
    let heard = handle.heard();
    let mut unit = Unit::new(
        key.clone(),
        served.genesis.chain.clone(),
        config.limits(),
        handle.view(),
    );
    unit.recall(&served.store)?;
    let core = Core {
        unit,
        clock: Clock::start(),
        bundle_max: config.bundle_max,
        key,
        waiting,
        sender,
        handle: Arc::clone(&handle),
        served: Arc::clone(&served),
        ended: ended.clone(),
    };
    let core = std::thread::Builder::new()
        .name("milepost-unit".into())
        .spawn(move || core.run())
        .map_err(RunError::Thread)?;

    let overrun = Arc::new(AtomicU64::new(0));
    listen(&session, &served, inbox.clone(), Arc::clone(&overrun))
        .await
        .map_err(zenoh_error)?;
    queries::answer(&session, Arc::clone(&served))
        .await
        .map_err(zenoh_error)?;
    let tasks = [
        tokio::spawn(publish(session.clone(), sending)),
        tokio::spawn(pass_on(committed, inbox.clone(), Event::Committed)),
        tokio::spawn(pass_on(heard, inbox.clone(), Event::Batch)),
        tokio::spawn(hand_in(
            session.clone(),
            Arc::clone(&handle),
            taken,
            served.genesis.chain.clone(),
        )),
        tokio::spawn(keep_readings(Arc::clone(&handle), Arc::clone(&served), overrun)),
    ];
    let address = listener.local_addr().unwrap_or(config.api);
    let mut until = ended.clone();
    let server = api::serve(listener, Arc::clone(&served), async move {
        let _ = until.wait_for(|ended| *ended).await;
    });
    let server = tokio::spawn(server);
    ready(address);

    let patience = Duration::from_millis(config.node.heartbeat_ms) + DEAF_MAX;
    let outcome = tokio::select! {
        () = stop => Ok(Ended::Asked),
        _ = handle.frozen() => Ok(Ended::Frozen),
        () = deaf(&session, &handle, patience) => Ok(Ended::Deaf),
        _ = handle.behind() => Ok(Ended::Behind),
        reason = handle.stopped() => Err(RunError::Fatal(reason)),
    };
    tracing::info!("stopping");
    end.send_replace(true);
    #[cfg(unix)]
    let tasks = tasks.into_iter().chain(control);
    for task in tasks {
        task.abort();
        let _ = task.await;
    }
    // A client that keeps its connection open does not hold up the end.
    let _ = tokio::time::timeout(Duration::from_secs(2), server).await;
    if tokio::task::spawn_blocking(move || core.join()).await.is_err() {
        tracing::error!("the unit's thread ended badly");
    }
    match Arc::try_unwrap(handle) {
        Ok(handle) => handle.shutdown().await,
        Err(_) => tracing::error!("the ledger node is still in use: it ends with the process"),
    }
    outcome
}

/// Done once links are up and deaf: for so long no block was made, while more machines were linked than units heard of.
///
/// Zenoh 1.10's routers do not always find together again after one of them was given up or started anew; links that
/// are down are another matter, which starting anew would not mend.
async fn deaf(session: &Session, handle: &Handle, patience: Duration) {
    let mut ticks = tokio::time::interval(LINKS_EVERY);
    let mut well = (handle.view().height(), tokio::time::Instant::now());
    loop {
        ticks.tick().await;
        let height = handle.view().height();
        let linked = session.info().routers_zid().await.count();
        // Units of another version are not deaf: nothing is said to them.
        let heard = handle.peers().len() + handle.strangers();
        if height != well.0 || linked <= heard {
            well = (height, tokio::time::Instant::now());
        } else if well.1.elapsed() >= patience {
            tracing::warn!(linked, heard, "links are up and deaf");
            return;
        }
    }
}

/// What comes to the core.
enum Event {
    Report(Vec<u8>),
    Batch(Arc<milepost_node::VerifiedBatch>),
    Committed(Arc<milepost_node::View>),
}

/// What goes out.
struct Put {
    key: String,
    bytes: Vec<u8>,
    priority: Priority,
}

/// The thread that the core runs on.
struct Core {
    unit: Unit,
    clock: Clock,
    bundle_max: usize,
    key: SecretKey,
    waiting: Receiver<Event>,
    sender: mpsc::Sender<Put>,
    handle: Arc<Handle>,
    served: Arc<Served>,
    ended: watch::Receiver<bool>,
}

impl Core {
    fn run(mut self) {
        while !*self.ended.borrow() {
            let now_ms = self.clock.now().mono_ms;
            let wait_ms = self.unit.wake_at().map_or(SLEEP_MAX_MS, |at_ms| {
                at_ms.saturating_sub(now_ms).min(SLEEP_MAX_MS)
            });
            match self.waiting.recv_timeout(Duration::from_millis(wait_ms)) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => self.step(Input::Wake),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Takes an event, and with a report all that wait behind it up to a bundle.
    fn take(&mut self, first: Event) {
        let mut reports = Vec::new();
        let mut event = Some(first);
        while let Some(Event::Report(bytes)) = event {
            reports.push(bytes);
            if reports.len() >= self.bundle_max {
                event = None;
                break;
            }
            event = self.waiting.try_recv().ok();
        }
        if !reports.is_empty() {
            self.step(Input::Heard(reports));
        }
        match event {
            Some(Event::Batch(batch)) => self.step(Input::Batch(batch)),
            Some(Event::Committed(view)) => {
                self.served.settle(&view);
                self.step(Input::Committed(view));
                let finality = self.unit.finality();
                self.served.update(|readings| readings.finality = finality);
            }
            Some(Event::Report(_)) | None => {}
        }
    }

    fn step(&mut self, input: Input) {
        let outputs = self.unit.handle(self.clock.now(), input);
        for output in outputs {
            self.carry(output);
        }
        self.served.keep(self.unit.take_evidence());
        let (counts, queued) = (self.unit.counts().clone(), self.unit.queued());
        self.served.update(|readings| {
            readings.counts = counts;
            readings.queued = queued;
        });
    }

    fn carry(&mut self, output: Output) {
        let chain = &self.served.genesis.chain;
        match output {
            Output::Accepted(reports) => self.handle.remember(&reports),
            Output::Batch(batch) => {
                if self.handle.offer_batch(Arc::clone(&batch)).is_err() {
                    // It leaves again later; nothing else can come of this call.
                    self.unit.handle(self.clock.now(), Input::Refused(batch));
                }
            }
            Output::Live(estimates) => {
                let at = clock::wall();
                self.served.tell(&estimates, at);
                if !self.served.may_publish() {
                    return;
                }
                for estimate in estimates {
                    let figure = LiveFigure {
                        author: self.served.me,
                        at,
                        estimate,
                    };
                    let signed = Signed::sign(figure, chain, &self.key).into_signed();
                    self.put(
                        topic::live(chain, estimate.item.cell),
                        encode(&signed),
                        Priority::Data,
                    );
                }
            }
            Output::Receipts(vehicle, notice) => {
                self.put(topic::receipt(chain, vehicle), encode(&notice), Priority::Data);
            }
            Output::Again(vehicle, height) => match receipts::again(&self.served.store, height, vehicle) {
                Ok(notices) => {
                    for notice in notices {
                        self.put(topic::receipt(chain, vehicle), encode(&notice), Priority::Data);
                    }
                }
                Err(error) => tracing::warn!(%height, %error, "what a block put out cannot be read"),
            },
        }
    }

    fn put(&self, key: String, bytes: Vec<u8>, priority: Priority) {
        let put = Put { key, bytes, priority };
        if self.sender.try_send(put).is_err() {
            tracing::debug!("a message was not published: too many wait");
        }
    }
}

/// Subscribes to reports and transactions.
async fn listen(
    session: &Session,
    served: &Arc<Served>,
    inbox: SyncSender<Event>,
    overrun: Arc<AtomicU64>,
) -> zenoh::Result<()> {
    let chain = &served.genesis.chain;
    session
        .declare_subscriber(topic::reports(chain))
        .callback(move |sample| {
            // What is too long is refused by its first bytes, and not kept whole.
            let len_max = <SignedReport as Message>::LEN_MAX + 1;
            let payload = sample.payload().to_bytes();
            let bytes = payload[..payload.len().min(len_max)].to_vec();
            if inbox.try_send(Event::Report(bytes)).is_err() {
                overrun.fetch_add(1, Ordering::Relaxed);
            }
        })
        .background()
        .await?;
    // A signature costs more than a callback may take.
    let (to_check, mut checking) = mpsc::channel::<Vec<u8>>(TRANSACTIONS_MAX);
    let len_max = <SignedTransaction as Message>::LEN_MAX;
    session
        .declare_subscriber(topic::transactions(chain))
        .callback(move |sample| {
            if sample.payload().len() <= len_max {
                let _ = to_check.try_send(sample.payload().to_bytes().into_owned());
            }
        })
        .background()
        .await?;
    let served = Arc::clone(served);
    tokio::spawn(async move {
        while let Some(bytes) = checking.recv().await {
            let refused = match decode::<SignedTransaction>(&bytes) {
                Ok(signed) => served
                    .check_transaction(signed)
                    .and_then(|checked| served.take_transaction(checked, Origin::Air))
                    .err()
                    .map(|error| error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(reason) = refused {
                tracing::debug!(reason, "a transaction is refused");
            }
        }
    });
    Ok(())
}

/// Carries what goes out. Nothing that fans out may block.
async fn publish(session: Session, mut sending: mpsc::Receiver<Put>) {
    while let Some(Put { key, bytes, priority }) = sending.recv().await {
        let put = session
            .put(key, bytes)
            .congestion_control(CongestionControl::Drop)
            .priority(priority);
        if let Err(error) = put.await {
            tracing::debug!(%error, "not published");
        }
    }
}

/// Carries what the node tells to the core, which may be busy for a moment.
async fn pass_on<T: Clone>(
    mut told: broadcast::Receiver<T>,
    inbox: SyncSender<Event>,
    event: fn(T) -> Event,
) {
    loop {
        let mut next = match told.recv().await {
            Ok(next) => event(next),
            Err(broadcast::error::RecvError::Lagged(count)) => {
                tracing::warn!(count, "the unit missed what the ledger node told it");
                continue;
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
        loop {
            match inbox.try_send(next) {
                Ok(()) => break,
                Err(TrySendError::Full(again)) => next = again,
                Err(TrySendError::Disconnected(_)) => return,
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Hands transactions to the node, which may be busy for a moment, and those of the API to the other units.
async fn hand_in(session: Session, handle: Arc<Handle>, mut taken: mpsc::Receiver<Taken>, chain: ChainId) {
    while let Some(Taken { transaction, origin }) = taken.recv().await {
        if origin == Origin::Api
            && let Ok(sender) = transaction.from.address()
        {
            let put = session
                .put(
                    topic::transaction(&chain, sender.key_id()),
                    encode(transaction.signed()),
                )
                .allowed_destination(Locality::Remote)
                .congestion_control(CongestionControl::Drop);
            if let Err(error) = put.await {
                tracing::debug!(%error, "a transaction was not passed on");
            }
        }
        while handle.offer_transaction(transaction.clone()).is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn keep_readings(handle: Arc<Handle>, served: Arc<Served>, overrun: Arc<AtomicU64>) {
    let mut ticks = tokio::time::interval(READINGS_EVERY);
    served.update(|readings| readings.counters = handle.counters());
    loop {
        ticks.tick().await;
        let (peers, overrun) = (handle.peers(), overrun.load(Ordering::Relaxed));
        let (node, strangers) = (handle.readings(), handle.strangers());
        served.update(|readings| {
            readings.peers = peers;
            readings.overrun = overrun;
            readings.node = node;
            readings.strangers = strangers;
        });
    }
}
