//! How does the core meet the world?
//!
//! This is the shell: it feeds readings, heads, receipts and the time into [`Vehicle`], carries its outputs to the
//! journal and the air, and decides nothing. Callbacks only hand bytes into a bounded channel; what does not fit is
//! dropped, as on the air.
//!
//! It ends when it is stopped, or some time after the source has: receipts of the last reports are waited for.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::time::Duration;

use milepost_wire::certificate::Head;
use milepost_wire::light::LightBlock;
use milepost_wire::output::Outcome;
use milepost_wire::proof::ReceiptNotice;
use milepost_wire::{
    Address, Amount, ChainId, Consortium, Height, KeyId, Message, SecretKey, Sequence, Timestamp, decode,
    topic,
};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use zenoh::Session;

use crate::clock::Clock;
use crate::config::Config;
use crate::finality::Finality;
use crate::journal::{FileJournal, Journal, JournalError};
use crate::net::{self, NetError};
use crate::outbox::Change;
use crate::replay::{Reading, ReplayError, When};
use crate::trusted::{TrustFile, TrustedError};
use crate::vehicle::{Input, Output, Sensed, Vehicle};

/// Messages that were heard and not looked at yet.
const HEARD_MAX: usize = 256;
/// Times until reports were final that are kept, and reports whose time is still running.
const TIMES_MAX: usize = 4096;
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How often the link is looked at.
const LINK_EVERY: Duration = Duration::from_millis(250);

/// Why a vehicle stopped before its time.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Nothing can be stored.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It cannot be told, or kept, what is trusted.
    #[error(transparent)]
    Trusted(#[from] TrustedError),
    /// No session.
    #[error(transparent)]
    Net(#[from] NetError),
}

/// What a vehicle has done.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// How the ledger names it.
    pub vehicle: KeyId,
    /// Its account.
    pub address: Address,
    /// Observations that went into reports.
    pub observations: u64,
    /// Reports sent, each counted once.
    pub sent: u64,
    /// Times that a report was sent again.
    pub resent: u64,
    /// Reports that count on the ledger, by a verified receipt.
    #[serde(rename = "final")]
    pub counted: u64,
    /// Reports that the ledger refused, by a verified receipt.
    pub refused: u64,
    /// All verified receipts, by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// From sealing to the verified receipt, for the last reports of this run.
    pub finality_ms: Finality,
    /// Reports that still wait; they are on disk.
    pub waiting: usize,
    /// Reports that left a full outbox, or were given up.
    pub lost: u64,
    /// Tokens that payments told of.
    pub paid: Amount,
    /// Certified heads heard.
    pub heads: u64,
    /// Heads and receipts not believed, by reason.
    pub not_believed: BTreeMap<&'static str, u64>,
    /// What ended the source early.
    pub source_error: Option<String>,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "vehicle {} ({})", self.vehicle, self.address)?;
        writeln!(
            f,
            "sent {} reports with {} observations, and {} of them again",
            self.sent, self.observations, self.resent
        )?;
        writeln!(
            f,
            "final {}, refused {}, waiting {}, lost {}",
            self.counted, self.refused, self.waiting, self.lost
        )?;
        write!(f, "paid {} tokens", self.paid)
    }
}

/// Drives one vehicle until `stop`, or until its source ends and its receipts have come.
///
/// # Errors
///
/// [`RunError`]. A source that fails on the way is no error here, but stands in the summary.
pub async fn run(
    config: &Config,
    key: SecretKey,
    consortium: &Consortium,
    readings: mpsc::Receiver<Result<Reading, ReplayError>>,
    stop: impl Future<Output = ()>,
) -> Result<Summary, RunError> {
    let settings = net::settings(&config.connect, config.tls.as_ref())?;
    let (clock, address, vehicle) = (Clock::start(), key.address(), key.key_id());
    let fresh = Sequence(clock.now().millis());
    let (journal, resumed) = FileJournal::open(&config.outbox_path(), &consortium.chain, vehicle, fresh)?;
    tracing::info!(%vehicle, waiting = resumed.kept.len(), next = %resumed.next_sequence, "ready");

    let (trusted, light) = TrustFile::open(&config.trusted_path(), consortium, clock.now(), config.bounds())?;
    let core = config.vehicle(light, key);
    let mut core = Vehicle::new(core, resumed.next_sequence);
    let crowded_out = core.resume(clock.now(), resumed.kept);
    let (heard_sender, mut heard) = mpsc::channel(HEARD_MAX);
    let mut shell = Shell {
        clock,
        chain: consortium.chain.clone(),
        vehicle: core,
        journal,
        trusted,
        heard: heard_sender.clone(),
        session: None,
        linked: false,
        wake_at: None,
        sealed_at: BTreeMap::new(),
        finality_ms: VecDeque::new(),
    };
    for change in &crowded_out {
        shell.journal.record(change)?;
    }

    let mut sensed = spawn_pacing(readings, clock);
    let opening = net::open(settings);
    tokio::pin!(stop, opening);
    let mut link = tokio::time::interval(LINK_EVERY);
    link.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sync = tokio::time::interval(Duration::from_millis(config.sync_ms.max(1)));
    sync.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut subscribers = Vec::new();
    let mut source_error = None;
    // Set once the source has ended.
    let mut linger_until: Option<Instant> = None;

    loop {
        if linger_until.is_some() && shell.vehicle.waiting() == 0 {
            break;
        }
        tokio::select! {
            () = &mut stop => {
                tracing::info!("stopping");
                break;
            }
            () = sleep_until(linger_until) => break,
            opened = &mut opening, if shell.session.is_none() => {
                let session = opened?;
                subscribers = listen(&session, consortium, vehicle, &heard_sender).await?;
                shell.session = Some(session);
            }
            next = sensed.recv(), if linger_until.is_none() => match next {
                Some(Ok(reading)) => shell.handle(Input::Sensed(reading)).await?,
                Some(Err(error)) => {
                    tracing::error!("{error}");
                    source_error = Some(error.to_string());
                }
                None => {
                    tracing::info!("the source has ended");
                    shell.handle(Input::Flush).await?;
                    linger_until = Some(Instant::now() + Duration::from_secs(config.linger_s));
                }
            },
            Some(input) = heard.recv() => shell.handle(input).await?,
            () = sleep_until(shell.wake_at) => {
                shell.wake_at = None;
                shell.handle(Input::Tick).await?;
            }
            _ = link.tick() => shell.look_at_link().await?,
            _ = sync.tick() => shell.sync()?,
        }
    }

    shell.handle(Input::Flush).await?;
    drop(subscribers);
    let summary = shell.summary(address, source_error);
    shell.trusted.keep(shell.vehicle.trusted())?;
    shell.journal.close()?;
    if let Some(session) = shell.session {
        net::close(session).await;
    }
    Ok(summary)
}

/// What the loop holds.
struct Shell {
    clock: Clock,
    chain: ChainId,
    vehicle: Vehicle,
    journal: FileJournal,
    trusted: TrustFile,
    /// Where answers go.
    heard: mpsc::Sender<Input>,
    session: Option<Session>,
    /// What was last seen of the link, for the log.
    linked: bool,
    wake_at: Option<Instant>,
    /// When the last reports that are not final were sealed.
    sealed_at: BTreeMap<Sequence, Timestamp>,
    /// How long the last ones took until they were final.
    finality_ms: VecDeque<u64>,
}

impl Shell {
    async fn handle(&mut self, input: Input) -> Result<(), JournalError> {
        for output in self.vehicle.handle(self.clock.now(), input) {
            match output {
                Output::Store(change) => {
                    self.journal.record(&change)?;
                    if let Change::Keep(kept) = change {
                        if self.sealed_at.len() == TIMES_MAX {
                            self.sealed_at.pop_first();
                        }
                        self.sealed_at.insert(kept.sequence, self.clock.now());
                    }
                }
                Output::Put { topic, bytes } => {
                    if let Some(session) = &self.session
                        && let Err(error) = net::put(session, topic, bytes).await
                    {
                        tracing::warn!("{error}");
                    }
                }
                Output::AskLight(height) => {
                    if let Some(session) = &self.session
                        && let Err(error) = ask_light(session, &self.chain, height, self.heard.clone()).await
                    {
                        tracing::warn!("{error}");
                    }
                }
                Output::WakeAt(time) => self.wake_at = Some(self.clock.instant(time)),
                Output::Finalised { sequence, outcome } => {
                    tracing::debug!(%sequence, ?outcome, "final");
                    if let Some(sealed_at) = self.sealed_at.remove(&sequence) {
                        if self.finality_ms.len() == TIMES_MAX {
                            self.finality_ms.pop_front();
                        }
                        self.finality_ms.push_back(self.clock.now().since(sealed_at));
                    }
                }
                Output::Paid(payment) => {
                    tracing::info!(epoch = %payment.epoch, amount = %payment.amount, "paid");
                }
            }
        }
        Ok(())
    }

    /// Brings what must not be forgotten to the disk itself.
    fn sync(&mut self) -> Result<(), RunError> {
        self.journal.sync()?;
        Ok(self.trusted.keep(self.vehicle.trusted())?)
    }

    async fn look_at_link(&mut self) -> Result<(), JournalError> {
        let linked = match &self.session {
            Some(session) => net::is_linked(session).await,
            None => false,
        };
        if linked != self.linked {
            self.linked = linked;
            tracing::info!(
                "{}",
                if linked {
                    "a roadside unit is in reach"
                } else {
                    "no roadside unit is in reach"
                }
            );
        }
        self.handle(Input::Link(linked)).await
    }

    fn summary(&self, address: Address, source_error: Option<String>) -> Summary {
        let counts = self.vehicle.counts().clone();
        let counted = counts
            .finalised
            .get(&Outcome::Counted)
            .copied()
            .unwrap_or_default();
        Summary {
            vehicle: self.vehicle.id(),
            address,
            observations: counts.observations,
            sent: counts.sent,
            resent: counts.resent,
            counted,
            refused: counts.finalised.values().sum::<u64>() - counted,
            outcomes: counts.finalised,
            finality_ms: Finality::of(self.finality_ms.iter().copied().collect()),
            waiting: self.vehicle.waiting(),
            lost: counts.crowded_out + counts.expired,
            paid: Amount::from_micro(counts.paid_micro),
            heads: counts.heads,
            not_believed: counts.refused,
            source_error,
        }
    }
}

/// Never, where there is no time.
async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Hands readings on when their time has come.
fn spawn_pacing(
    mut readings: mpsc::Receiver<Result<Reading, ReplayError>>,
    clock: Clock,
) -> mpsc::Receiver<Result<Sensed, ReplayError>> {
    // Small: what waits here is no longer in time.
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut first_at = None;
        while let Some(reading) = readings.recv().await {
            let reading = match reading {
                Ok(reading) => reading,
                Err(error) => {
                    let _ = sender.send(Err(error)).await;
                    continue;
                }
            };
            let at = match reading.when {
                When::Now => clock.now(),
                When::At(time) => time,
                When::After(ms) => {
                    let at = first_at.get_or_insert_with(|| clock.now()).plus(ms);
                    tokio::time::sleep_until(clock.instant(at)).await;
                    at
                }
            };
            for sensed in reading.sensed(at) {
                if sender.send(Ok(sensed)).await.is_err() {
                    return;
                }
            }
        }
    });
    receiver
}

type Subscriber = zenoh::pubsub::Subscriber<()>;

/// Subscribes to heads and to this vehicle's receipts.
async fn listen(
    session: &Session,
    consortium: &Consortium,
    vehicle: KeyId,
    heard: &mpsc::Sender<Input>,
) -> Result<Vec<Subscriber>, NetError> {
    let heads = subscribe::<Head>(
        session,
        topic::head(&consortium.chain),
        heard.clone(),
        Input::Head,
    );
    let receipts = topic::receipt(&consortium.chain, vehicle);
    let receipts = subscribe::<ReceiptNotice>(session, receipts, heard.clone(), Input::Receipt);
    Ok(vec![heads.await?, receipts.await?])
}

/// Asks all units; their answers are heard as they come.
async fn ask_light(
    session: &Session,
    chain: &ChainId,
    height: Height,
    heard: mpsc::Sender<Input>,
) -> Result<(), NetError> {
    let callback = move |reply: zenoh::query::Reply| match reply.result() {
        Ok(sample) => hear::<LightBlock>(sample, &heard, Input::Light),
        Err(error) => tracing::debug!("no light block: {error:?}"),
    };
    net::ask_all(session, topic::ask_light(chain, height), ANSWER_MAX)
        .callback(callback)
        .await
        .map_err(NetError::zenoh("ask for a light block"))
}

async fn subscribe<T: Message + 'static>(
    session: &Session,
    topic: String,
    heard: mpsc::Sender<Input>,
    input: fn(T) -> Input,
) -> Result<Subscriber, NetError> {
    let callback = move |sample: zenoh::sample::Sample| hear(&sample, &heard, input);
    session
        .declare_subscriber(topic)
        .callback(callback)
        .await
        .map_err(NetError::zenoh("subscribe"))
}

/// Hands a message on. Where the loop is behind, the newest are dropped.
fn hear<T: Message>(sample: &zenoh::sample::Sample, heard: &mpsc::Sender<Input>, input: fn(T) -> Input) {
    let payload = sample.payload();
    if payload.len() > T::LEN_MAX {
        return tracing::debug!("a {} of {} bytes was dropped", T::NAME, payload.len());
    }
    match decode(&payload.to_bytes()) {
        Ok(message) => drop(heard.try_send(input(message))),
        Err(error) => tracing::debug!("{error}"),
    }
}
