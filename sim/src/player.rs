//! How do a world's vehicles meet a real consortium?
//!
//! In: a world, its drivers, a key for each vehicle, and where roadside units listen. The vehicles are spread over
//! a zenoh client session for each unit; each is the `milepost_obu::Vehicle` core that a real one runs, and so
//! sends, keeps, sends again and believes only what is certified. Out: a [`Tally`].
//!
//! One task owns all vehicles. Zenoh's callbacks only `try_send`; what does not fit is dropped, and sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use milepost_obu::clock::wall;
use milepost_obu::heads::Certified;
use milepost_obu::net;
use milepost_obu::outbox::Change;
use milepost_obu::vehicle::{Input, Output, Vehicle, VehicleConfig};
use milepost_wire::certificate::Head;
use milepost_wire::link::TlsFiles;
use milepost_wire::output::Outcome;
use milepost_wire::proof::ReceiptNotice;
use milepost_wire::{Cell, Consortium, Height, SecretKey, Sequence, Timestamp, decode, topic};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::crew::{Company, company_of};
use crate::driver::{Deed, Driver, Public};
use crate::world::World;

/// Messages that wait for the vehicles.
const INBOX_MAX: usize = 8_192;
/// How long the last reports may wait for their receipts.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Messages that replaying vehicles remember.
const OVERHEARD_MAX: usize = 256;

/// The final picture as vehicles know it, in km/h.
pub type Picture = Arc<Mutex<BTreeMap<Cell, f64>>>;

/// What is played, and against whom.
pub struct Player {
    /// The town.
    pub world: World,
    /// Who drives.
    pub companies: Vec<Company>,
    /// A key for each vehicle, enrolled.
    pub keys: Vec<SecretKey>,
    /// Whom the vehicles believe.
    pub consortium: Consortium,
    /// Where each unit listens.
    pub endpoints: Vec<String>,
    /// Certificates, where those endpoints want some.
    pub tls: Option<TlsFiles>,
    /// Where chance comes from.
    pub seed: u64,
    /// What copycats copy.
    pub picture: Picture,
}

/// What the vehicles did, and what became of it.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// When the world's time 0 was.
    pub began: Timestamp,
    /// Reports sealed.
    pub sent: u64,
    /// Reports sent again.
    pub resent: u64,
    /// Reports with a receipt that a certified block vouches for.
    pub finalised: BTreeMap<Outcome, u64>,
    /// From sealing to that receipt.
    pub finality_ms: Vec<u64>,
    /// What was said: road, milliseconds since the world began, km/h.
    pub said: Vec<(usize, u64, f64)>,
    /// Reports that never had one.
    pub unanswered: u64,
}

enum Event {
    Head(Vec<u8>),
    Receipt(usize, Vec<u8>),
}

impl Player {
    /// Connects every session, so that playing can begin at once.
    ///
    /// # Errors
    ///
    /// Where zenoh cannot be used.
    pub async fn connect(self) -> anyhow::Result<Connected> {
        let (inbox, events) = mpsc::channel(INBOX_MAX);
        let chain = &self.consortium.chain;
        let mut sessions = Vec::new();
        for endpoint in &self.endpoints {
            let settings = net::settings(std::slice::from_ref(endpoint), self.tls.as_ref())?;
            let session = tokio::time::timeout(Duration::from_secs(15), net::open(settings))
                .await
                .with_context(|| format!("no roadside unit answers at {endpoint}"))??;
            let inbox = inbox.clone();
            let heads = session
                .declare_subscriber(topic::head(chain))
                .callback(move |sample| {
                    let _ = inbox.try_send(Event::Head(sample.payload().to_bytes().into_owned()));
                });
            heads
                .background()
                .await
                .map_err(|error| anyhow!("cannot subscribe to heads: {error}"))?;
            sessions.push(session);
        }
        if sessions.is_empty() {
            return Err(anyhow!("expected at least one endpoint of a roadside unit"));
        }
        for (vehicle, key) in self.keys.iter().enumerate() {
            let inbox = inbox.clone();
            let session = &sessions[vehicle % sessions.len()];
            let receipts = session
                .declare_subscriber(topic::receipt(chain, key.key_id()))
                .callback(move |sample| {
                    let _ = inbox.try_send(Event::Receipt(vehicle, sample.payload().to_bytes().into_owned()));
                });
            receipts
                .background()
                .await
                .map_err(|error| anyhow!("cannot subscribe to receipts: {error}"))?;
        }
        Ok(Connected {
            player: self,
            sessions,
            events,
        })
    }
}

/// A player whose sessions are open.
pub struct Connected {
    /// What is played.
    pub player: Player,
    sessions: Vec<zenoh::Session>,
    events: mpsc::Receiver<Event>,
}

/// The picture, as the API tells it.
struct Read<'a>(&'a BTreeMap<Cell, f64>);

impl Public for Read<'_> {
    fn published_kmh(&self, cell: Cell) -> Option<f64> {
        self.0.get(&cell).copied()
    }
}

/// The vehicles while they drive.
struct Driving<'a> {
    player: &'a Player,
    sessions: &'a [zenoh::Session],
    vehicles: Vec<Vehicle>,
    ticks: BTreeSet<(Timestamp, usize)>,
    sealed_at: BTreeMap<(usize, Sequence), Timestamp>,
    heads: BTreeMap<Height, Certified>,
    overheard: Vec<(String, Vec<u8>)>,
    tally: Tally,
}

impl Connected {
    /// Plays the world in real time, from `start` on, and waits for the last receipts. `progress` is told the share
    /// that is done.
    ///
    /// # Errors
    ///
    /// Where zenoh fails.
    pub async fn play(mut self, start: Timestamp, progress: impl Fn(f64)) -> anyhow::Result<Tally> {
        tokio::time::sleep(Duration::from_millis(start.since(wall()))).await;
        let player = &self.player;
        let world = &player.world;
        let company_of = company_of(&player.companies, world.vehicles.len());
        let mut drivers: Vec<Driver> = company_of
            .iter()
            .enumerate()
            .map(|(vehicle, company)| Driver::new(&player.companies[*company], vehicle, player.seed))
            .collect();
        let make = |key: &SecretKey| {
            Vehicle::new(
                VehicleConfig::new(player.consortium.clone(), wall(), key.clone()),
                first_sequence(),
            )
        };
        let mut driving = Driving {
            player,
            sessions: &self.sessions,
            vehicles: player.keys.iter().map(make).collect(),
            ticks: BTreeSet::new(),
            sealed_at: BTreeMap::new(),
            heads: BTreeMap::new(),
            overheard: Vec::new(),
            tally: Tally {
                began: wall(),
                ..Tally::default()
            },
        };
        let began = Instant::now();
        for vehicle in 0..driving.vehicles.len() {
            driving.drive(vehicle, Input::Link(true)).await?;
        }
        let mut next = 0;
        let end = began + Duration::from_millis(world.duration_ms);
        let mut flushed = false;
        loop {
            let now = Instant::now();
            while let Some(sighting) = world.sightings.get(next)
                && began + Duration::from_millis(sighting.at_ms) <= now
            {
                next += 1;
                let told = {
                    let known = player.picture.lock().unwrap_or_else(PoisonError::into_inner);
                    drivers[sighting.vehicle].tell(world, sighting, wall(), &Read(&known))
                };
                driving.act(sighting.vehicle, sighting.at_ms, told.deed).await?;
                for word in told.beside {
                    driving
                        .drive(sighting.vehicle, Input::Sensed(word.sensed))
                        .await?;
                }
            }
            while let Some((_, vehicle)) = driving.ticks.first().copied().filter(|(at, _)| *at <= wall()) {
                driving.ticks.pop_first();
                driving.drive(vehicle, Input::Tick).await?;
            }
            progress(now.duration_since(began).as_secs_f64() / (world.duration_ms as f64 / 1000.0));
            if now >= end && !flushed {
                flushed = true;
                for vehicle in 0..driving.vehicles.len() {
                    driving.drive(vehicle, Input::Flush).await?;
                }
            }
            let waiting = driving.vehicles.iter().any(|vehicle| vehicle.waiting() > 0);
            if flushed && (!waiting || now >= end + DRAIN_MAX) {
                break;
            }
            let sighting_at = world
                .sightings
                .get(next)
                .map_or(end, |sighting| began + Duration::from_millis(sighting.at_ms));
            let pause = Duration::from_millis(100).min(sighting_at.saturating_duration_since(Instant::now()));
            // Ticks are due at whole milliseconds of the wall's clock: looked for at least every 20 ms.
            match tokio::time::timeout(pause.min(Duration::from_millis(20)), self.events.recv()).await {
                Ok(Some(Event::Head(bytes))) => driving.head(&bytes).await?,
                Ok(Some(Event::Receipt(vehicle, bytes))) => {
                    if let Ok(notice) = decode::<ReceiptNotice>(&bytes) {
                        driving.drive(vehicle, Input::Receipt(notice)).await?;
                    }
                }
                Ok(None) | Err(_) => {}
            }
        }
        let mut tally = driving.tally;
        for vehicle in &driving.vehicles {
            tally.sent += vehicle.counts().sealed;
            tally.resent += vehicle.counts().resent;
            tally.unanswered += vehicle.waiting() as u64;
        }
        for session in self.sessions {
            net::close(session).await;
        }
        Ok(tally)
    }
}

/// Above all that an earlier run with the same keys used: they count from the time of their start.
fn first_sequence() -> Sequence {
    Sequence(wall().millis())
}

impl Driving<'_> {
    async fn act(&mut self, vehicle: usize, at_ms: u64, deed: Deed) -> anyhow::Result<()> {
        match deed {
            Deed::Nothing => Ok(()),
            Deed::Warn { sensed, .. } => self.drive(vehicle, Input::Sensed(sensed)).await,
            Deed::Again => match self
                .overheard
                .get(at_ms as usize % self.overheard.len().max(1))
                .cloned()
            {
                Some((topic, bytes)) => self.put(vehicle, topic, bytes).await,
                None => Ok(()),
            },
            Deed::Tell {
                road,
                speed_kmh,
                sensed,
            } => {
                self.tally.said.push((road, at_ms, speed_kmh));
                self.drive(vehicle, Input::Sensed(sensed)).await
            }
        }
    }

    async fn head(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let Ok(head) = decode::<Head>(bytes) else {
            return Ok(());
        };
        let height = head.header.height;
        if self.heads.contains_key(&height) {
            return Ok(());
        }
        let Consortium { chain, members, .. } = &self.player.consortium;
        let Ok(head) = Certified::check(head, chain, members) else {
            return Ok(());
        };
        self.heads.insert(height, head.clone());
        if self.heads.len() > 256 {
            self.heads.pop_first();
        }
        for vehicle in 0..self.vehicles.len() {
            self.drive(vehicle, Input::Certified(head.clone())).await?;
        }
        Ok(())
    }

    async fn drive(&mut self, vehicle: usize, input: Input) -> anyhow::Result<()> {
        let now = wall();
        for output in self.vehicles[vehicle].handle(now, input) {
            match output {
                Output::Store(Change::Keep(kept)) => {
                    self.sealed_at.insert((vehicle, kept.sequence), now);
                }
                Output::Put { topic, bytes } => self.put(vehicle, topic, bytes).await?,
                Output::WakeAt(at) => drop(self.ticks.insert((at, vehicle))),
                Output::Finalised { sequence, outcome } => {
                    *self.tally.finalised.entry(outcome).or_default() += 1;
                    if let Some(sealed_at) = self.sealed_at.remove(&(vehicle, sequence)) {
                        self.tally.finality_ms.push(now.since(sealed_at));
                    }
                }
                // Heads come checked, so nobody needs light blocks.
                Output::Store(Change::Forget(_)) | Output::Paid(_) | Output::AskLight(_) => {}
            }
        }
        Ok(())
    }

    async fn put(&mut self, vehicle: usize, topic: String, bytes: Vec<u8>) -> anyhow::Result<()> {
        if self.player.companies.iter().any(Company::overhears) {
            if self.overheard.len() == OVERHEARD_MAX {
                self.overheard.remove(0);
            }
            self.overheard.push((topic.clone(), bytes.clone()));
        }
        let session = &self.sessions[vehicle % self.sessions.len()];
        Ok(net::put(session, topic, bytes).await?)
    }
}
