//! What becomes of a town in virtual time?
//!
//! In: a scenario and a seed. Out: a [`Played`]: the figures, every item, every vehicle. Vehicles, units and nodes
//! are the cores that the real binaries run; signatures are real; stores are memory that forgets, at a crash, what
//! was not made durable. What is simulated is the world, the radio, the lines between members, the clocks and the
//! faults. One thread takes one event after another, so a scenario and a seed give the same bytes every time.
//!
//! ```text
//! sightings → driver → Vehicle ──radio──▶ Unit ×N ─batches─▶ Node ×N ──lines──▶ Node ×N
//!                        ▲                  │                  │
//!                        └──── receipts ────┘          watch: invariants, figures
//! ```
//!
//! Every unit hears every vehicle, as units linked by zenoh do. A batch is verified by its author alone: the others
//! share its verified form, since the signatures are the same ones.
//!
//! Not covered: zenoh, RocksDB and real time, see [`crate::demo`]; forged messages, which unit tests cover.

mod member;
mod queue;
mod result;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use milepost_incentives::{Genesis, Outlook};
use milepost_node::message::PeerMessage;
use milepost_node::store::Store as _;
use milepost_node::{Fatal, Input as NodeInput, Output as NodeOutput, VerifiedBatch, View, Want};
use milepost_obu::heads::Certified;
use milepost_obu::journal::{Journal as _, MemoryJournal};
use milepost_obu::outbox::Change;
use milepost_obu::vehicle::{Input as VehicleInput, Output as VehicleOutput, Vehicle, VehicleConfig};
use milepost_rsu::unit::{Input as UnitInput, Output as UnitOutput};
use milepost_wire::output::Estimate;
use milepost_wire::proof::ReceiptNotice;
use milepost_wire::signed::signing_digest;
use milepost_wire::time::Slot;
use milepost_wire::transaction::{Enrolment, Role};
use milepost_wire::{
    Cell, ChainId, Hash, Height, KeyId, Kind, Member as Vote, Members, Output as LedgerOutput, SecretKey,
    Sequence, SignedBatch, Timestamp, decode,
};

use self::member::{Answer, Member};
use self::queue::Queue;
use self::watch::Watch;
use crate::driver::{self, Company, Deed, Driver, Sensor};
use crate::figures::{Figures, Item, VehicleRow};
use crate::rng::Rng;
use crate::scenario::{self, Fault, Scenario, Size};
use crate::world::{World, WorldError, fcd, grid};

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Played {
    /// The result.
    pub figures: Figures,
    /// Every road and slot with a truth or a figure, by slot and then by road.
    pub items: Vec<Item>,
    /// Every vehicle that reported.
    pub vehicles: Vec<VehicleRow>,
    /// Which promises were broken, and how: the first few.
    pub broken: Vec<String>,
}

/// Why a scenario cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The recording cannot be read.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The scenario asks for what cannot be.
    #[error("{0}")]
    Nonsense(String),
    /// A member did not start.
    #[error("member {member} did not start: {why}")]
    Start {
        /// Which one.
        member: usize,
        /// Why.
        why: Fatal,
    },
}

/// When virtual time begins: 2026-01-01 00:00:00 UTC.
const BEGIN_UNIX_MS: u64 = 1_767_225_600_000;
/// How long a run may go on after its end, until all is paid and everybody has caught up.
const DRAIN_MAX_MS: u64 = 600_000;
/// Messages that replaying vehicles remember.
const OVERHEARD_MAX: usize = 256;

/// Builds a scenario's world.
///
/// # Errors
///
/// [`PlayError::World`].
pub fn world(scenario: &Scenario, seed: u64) -> Result<World, PlayError> {
    let slot_ms = scenario.slot_ms();
    match &scenario.world {
        scenario::World::Grid {
            cells,
            vehicles,
            look_share,
        } => {
            let counted = scenario.fleet.iter().map(|fleet| match fleet.size {
                Size::Count(count) => Some(count),
                Size::Share(_) => None,
            });
            let counted = counted.sum::<Option<usize>>().filter(|count| *count > 0);
            let grid = grid::Grid {
                cells: *cells,
                vehicles: vehicles.or(counted).unwrap_or(grid::Grid::default().vehicles),
                look_share: *look_share,
                ..grid::Grid::default()
            };
            let duration_ms = scenario::minutes_ms(scenario.minutes.unwrap_or(60.0));
            let slots = u32::try_from(duration_ms.div_ceil(slot_ms)).unwrap_or(u32::MAX);
            Ok(grid::draw(&grid, slots, slot_ms, seed))
        }
        scenario::World::Fcd {
            file,
            origin,
            segments,
            penetration,
            look_every_seconds,
        } => {
            let reading = fcd::Reading {
                segments: *segments,
                penetration: *penetration,
                look_every_ms: (look_every_seconds * 1000.0) as u64,
                slot_ms,
                slot_offset_ms: None,
                duration_max_ms: scenario.minutes.map(scenario::minutes_ms),
            };
            let records = milepost_obu::source::FcdReader::open(file, *origin).map_err(WorldError::from)?;
            Ok(fcd::read(records, &file.display().to_string(), &reading, seed)?)
        }
    }
}

/// Plays a scenario. `progress` is told the share of it that is done, now and then.
///
/// # Errors
///
/// [`PlayError`].
pub fn play(scenario: &Scenario, seed: u64, mut progress: impl FnMut(f64)) -> Result<Played, PlayError> {
    let mut town = Town::new(scenario, seed)?;
    let over_us = town.world.duration_ms * 1000;
    let (mut told_us, mut events) = (0, 0u64);
    while let Some(event) = town.queue.next() {
        town.take(event)?;
        let now_us = town.queue.now_us();
        events += 1;
        if now_us >= told_us {
            progress((now_us as f64 / over_us as f64).min(1.0));
            told_us = now_us + 10_000_000;
        }
        if now_us >= over_us && town.is_settled() {
            break;
        }
    }
    tracing::debug!(events, "the run is over");
    Ok(town.result())
}

/// What happens.
enum Event {
    /// The sighting of this number.
    Sighting(usize),
    /// A vehicle asked to be woken.
    Tick(usize),
    /// A message from a vehicle reaches a unit.
    Report { to: usize, bytes: Arc<Vec<u8>> },
    /// Receipts reach a vehicle.
    Receipts {
        vehicle: usize,
        head: Certified,
        notice: ReceiptNotice,
    },
    /// A member's message reaches another.
    Peer {
        to: usize,
        from: usize,
        message: Arc<PeerMessage>,
    },
    /// A batch reaches another member.
    Batch {
        to: usize,
        from: usize,
        batch: Arc<VerifiedBatch>,
    },
    /// A question reaches a member.
    Asked { to: usize, from: usize, want: Want },
    /// Its answer comes back.
    Answered {
        to: usize,
        from: usize,
        answer: Box<Answer>,
    },
    /// A member asked to be woken.
    Wake { member: usize, life: u32 },
    /// A fault begins.
    Strike(usize),
    /// A fault ends.
    Mend(usize),
}

/// A vehicle with its driver and its disk.
struct Onboard {
    vehicle: Vehicle,
    driver: Driver,
    journal: MemoryJournal,
}

struct Town<'a> {
    scenario: &'a Scenario,
    seed: u64,
    world: World,
    companies: Vec<Company>,
    vehicles: Vec<Onboard>,
    number_of: BTreeMap<KeyId, usize>,
    genesis: Genesis,
    members: Vec<Member>,
    queue: Queue<Event>,
    /// Delays and losses.
    radio: Rng,
    watch: Watch,
    /// The newest block's view, whoever committed it first.
    newest: Arc<View>,
    /// The newest certified heads.
    heads: BTreeMap<Height, Certified>,
    /// Every batch there ever was.
    batches: BTreeMap<Hash, Arc<VerifiedBatch>>,
    /// What replaying vehicles could overhear; empty where none is about.
    overheard: VecDeque<Arc<Vec<u8>>>,
    overhears: bool,
    /// What was said of each road in each slot, and how often: sums for the plain mean.
    said: BTreeMap<(usize, u32), (f64, u32)>,
    /// What the ledger had to say of roads that nobody spoke of, by slot and road.
    outlooks: BTreeMap<(u32, usize), Outlook>,
    /// The sides of partitions that are on, by fault.
    cuts: BTreeMap<usize, Vec<usize>>,
    struck: BTreeMap<&'static str, u64>,
}

impl<'a> Town<'a> {
    fn new(scenario: &'a Scenario, seed: u64) -> Result<Self, PlayError> {
        let world = world(scenario, seed)?;
        let sensor = match scenario.world {
            scenario::World::Grid { .. } => Sensor::GRID,
            scenario::World::Fcd { .. } => Sensor::RECORDED,
        };
        let count = world.vehicles.len();
        let companies = driver::muster(&scenario.fleet, count, sensor, seed).map_err(PlayError::Nonsense)?;
        let company_of = driver::company_of(&companies, count);
        let keys: Vec<SecretKey> = (0..count)
            .map(|index| SecretKey::from_seed("sim vehicle", index as u64))
            .collect();
        let member_keys: Vec<SecretKey> = (0..scenario.ledger.members)
            .map(|index| SecretKey::from_seed("sim member", index as u64))
            .collect();
        let vote = |(index, key): (usize, &SecretKey)| Vote {
            key: key.public(),
            provider: format!("provider-{index}"),
            power: 1,
        };
        let group = |vehicle: usize| {
            let company = company_of[vehicle];
            (if companies[company].one_owner {
                count + company
            } else {
                vehicle
            }) as u64
        };
        let genesis = Genesis {
            chain: ChainId::new("sim").expect("three letters"),
            time: Timestamp::from_unix_millis(BEGIN_UNIX_MS),
            members: Members::new(member_keys.iter().enumerate().map(vote).collect())
                .map_err(|error| PlayError::Nonsense(error.to_string()))?,
            params: scenario.params().map_err(PlayError::Nonsense)?,
            vehicles: keys
                .iter()
                .enumerate()
                .map(|(vehicle, key)| Enrolment {
                    key: key.public(),
                    group: group(vehicle),
                    role: Role::Vehicle,
                })
                .collect(),
        };
        let number_of = keys
            .iter()
            .enumerate()
            .map(|(vehicle, key)| (key.key_id(), vehicle))
            .collect();
        let vehicles = keys
            .into_iter()
            .enumerate()
            .map(|(index, key)| {
                let config = VehicleConfig::new(genesis.chain.clone(), genesis.members.clone(), key);
                let mut vehicle = Vehicle::new(config, Sequence(0));
                vehicle.handle(genesis.time, VehicleInput::Link(true));
                let driver = Driver::new(&companies[company_of[index]], index, seed);
                Onboard {
                    vehicle,
                    driver,
                    journal: MemoryJournal::default(),
                }
            })
            .collect();
        let mut members = Vec::new();
        let mut first_outputs = Vec::new();
        for (number, key) in member_keys.into_iter().enumerate() {
            let (member, outputs) = Member::start(key, &genesis, scenario)
                .map_err(|why| PlayError::Start { member: number, why })?;
            members.push(member);
            first_outputs.push(outputs);
        }
        let newest = members[0].view().expect("it was just started");
        let mut town = Self {
            scenario,
            seed,
            overhears: companies.iter().any(Company::overhears),
            companies,
            vehicles,
            number_of,
            genesis,
            members,
            queue: Queue::new(),
            radio: Rng::fork(seed, "radio", 0),
            watch: Watch::new(),
            newest,
            heads: BTreeMap::new(),
            batches: BTreeMap::new(),
            overheard: VecDeque::new(),
            said: BTreeMap::new(),
            outlooks: BTreeMap::new(),
            cuts: BTreeMap::new(),
            struck: BTreeMap::new(),
            world,
        };
        for (number, outputs) in first_outputs.into_iter().enumerate() {
            town.carry_out(number, outputs);
        }
        for (number, fault) in scenario.fault.iter().enumerate() {
            let (begin_ms, end_ms) = fault.span_ms();
            town.queue.at(begin_ms * 1000, Event::Strike(number));
            town.queue.at(end_ms * 1000, Event::Mend(number));
        }
        town.plan_sighting(0);
        Ok(town)
    }

    fn now(&self) -> Timestamp {
        self.genesis.time.plus(self.queue.now_us() / 1000)
    }

    fn take(&mut self, event: Event) -> Result<(), PlayError> {
        match event {
            Event::Sighting(number) => self.see(number),
            Event::Tick(vehicle) => self.drive(vehicle, VehicleInput::Tick),
            Event::Report { to, bytes } => self.tell_unit(to, UnitInput::Heard(vec![(*bytes).clone()])),
            Event::Receipts {
                vehicle,
                head,
                notice,
            } => {
                self.drive(vehicle, VehicleInput::Certified(head));
                self.drive(vehicle, VehicleInput::Receipt(notice));
            }
            Event::Peer { to, from, message } => {
                if self.connected(from, to) {
                    self.tell_node(to, NodeInput::Peer((*message).clone()));
                }
            }
            Event::Batch { to, from, batch } => {
                if self.connected(from, to) {
                    self.tell_unit(to, UnitInput::Batch(batch.clone()));
                    self.tell_node(to, NodeInput::Batch(batch));
                }
            }
            Event::Asked { to, from, want } => self.answer(to, from, want),
            Event::Answered { to, from, answer } => {
                if self.connected(from, to) {
                    self.tell_node(to, answer.into_input());
                }
            }
            Event::Wake { member, life } => self.wake(member, life),
            Event::Strike(number) => self.strike(number),
            Event::Mend(number) => self.mend(number)?,
        }
        Ok(())
    }

    // The roads.

    fn plan_sighting(&mut self, number: usize) {
        if let Some(sighting) = self.world.sightings.get(number) {
            self.queue.at(sighting.at_ms * 1000, Event::Sighting(number));
        }
    }

    fn see(&mut self, number: usize) {
        let sighting = self.world.sightings[number];
        let (now, newest) = (self.now(), self.newest.clone());
        let published = |cell| {
            newest
                .state()
                .road(cell, Kind::Speed)
                .map(|road| f64::from(road.value) * 0.036)
        };
        let deed = self.vehicles[sighting.vehicle]
            .driver
            .look(&self.world, &sighting, now, published);
        match deed {
            Deed::Nothing => {}
            Deed::Again => {
                let count = self.overheard.len() as u64;
                if let Some(bytes) = self.overheard.get(self.radio.below(count) as usize).cloned() {
                    self.broadcast(bytes);
                }
            }
            Deed::Tell {
                road,
                speed_kmh,
                sensed,
            } => {
                let slot = (sighting.at_ms / self.scenario.slot_ms()) as u32;
                let said = self.said.entry((road, slot)).or_default();
                *said = (said.0 + speed_kmh, said.1 + 1);
                self.drive(sighting.vehicle, VehicleInput::Sensed(sensed));
            }
        }
        self.plan_sighting(number + 1);
    }

    fn drive(&mut self, vehicle: usize, input: VehicleInput) {
        let (now, now_us) = (self.now(), self.queue.now_us());
        let onboard = &mut self.vehicles[vehicle];
        for output in onboard.vehicle.handle(now, input) {
            match output {
                VehicleOutput::Store(change) => {
                    let Ok(()) = self.vehicles[vehicle].journal.record(&change);
                    if let Change::Keep(kept) = change {
                        self.watch
                            .sent(now_us, self.vehicles[vehicle].vehicle.id(), kept.sequence);
                    }
                }
                VehicleOutput::Put { bytes, .. } => {
                    let bytes = Arc::new(bytes);
                    if self.overhears {
                        if self.overheard.len() == OVERHEARD_MAX {
                            self.overheard.pop_front();
                        }
                        self.overheard.push_back(bytes.clone());
                    }
                    self.broadcast(bytes);
                }
                VehicleOutput::WakeAt(at) => {
                    self.queue
                        .at(at.since(self.genesis.time) * 1000, Event::Tick(vehicle));
                }
                VehicleOutput::Finalised { .. } | VehicleOutput::Paid(_) => {}
            }
        }
    }

    /// Puts a vehicle's message on the air. Each unit hears it for itself, or does not.
    fn broadcast(&mut self, bytes: Arc<Vec<u8>>) {
        for to in 0..self.members.len() {
            if let Some(at_us) = self.arrival() {
                self.queue.at(
                    at_us,
                    Event::Report {
                        to,
                        bytes: bytes.clone(),
                    },
                );
            }
        }
    }

    /// When something that is sent now arrives; `None` where it is lost.
    fn arrival(&mut self) -> Option<u64> {
        let (shortest, longest) = self.scenario.link.delay_ms;
        let delay_us = shortest * 1000 + self.radio.below((longest - shortest) * 1000 + 1);
        let lost = self.scenario.link.loss > 0.0 && self.radio.chance(self.scenario.link.loss);
        (!lost).then(|| self.queue.now_us() + delay_us)
    }

    // The members.

    fn connected(&self, from: usize, to: usize) -> bool {
        self.cuts
            .values()
            .all(|side| side.contains(&from) == side.contains(&to))
    }

    fn tell_unit(&mut self, member: usize, input: UnitInput) {
        let now_us = self.queue.now_us();
        let outputs = self.members[member].tell_unit(now_us, &self.genesis, input);
        for output in outputs {
            match output {
                UnitOutput::Batch(batch) => {
                    self.batches.insert(batch.digest(), batch.clone());
                    self.tell_node(member, NodeInput::Batch(batch));
                }
                UnitOutput::Receipts(vehicle, notice) => self.hand_over(vehicle, notice),
                UnitOutput::Live(_) | UnitOutput::Accepted(_) => {}
            }
        }
        self.plan_wake(member);
    }

    fn hand_over(&mut self, vehicle: KeyId, notice: ReceiptNotice) {
        let (Some(vehicle), Some(head)) = (self.number_of.get(&vehicle), self.heads.get(&notice.height))
        else {
            return;
        };
        let (vehicle, head) = (*vehicle, head.clone());
        if let Some(at_us) = self.arrival() {
            self.queue.at(
                at_us,
                Event::Receipts {
                    vehicle,
                    head,
                    notice,
                },
            );
        }
    }

    fn tell_node(&mut self, member: usize, input: NodeInput) {
        let now_us = self.queue.now_us();
        match self.members[member].tell_node(now_us, &self.genesis, input) {
            Ok(outputs) => self.carry_out(member, outputs),
            Err(fatal) => self.stop(member, &fatal),
        }
    }

    /// A member that is in doubt stops: the store is all that is left of it.
    fn stop(&mut self, member: usize, fatal: &Fatal) {
        tracing::warn!(member, %fatal, "a member stopped");
        *self.struck.entry("stopped").or_default() += 1;
        match fatal {
            Fatal::Diverged { .. } => {
                self.watch
                    .broken(|held| &mut held.agreement, format!("member {member}: {fatal}"));
            }
            Fatal::Broken { .. } => {
                self.watch
                    .broken(|held| &mut held.conservation, format!("member {member}: {fatal}"));
            }
            _ => {}
        }
        self.members[member].crash();
    }

    fn carry_out(&mut self, member: usize, outputs: Vec<NodeOutput>) {
        for output in outputs {
            match output {
                NodeOutput::Send { bytes, .. } => {
                    let message: PeerMessage = decode(&bytes).expect("a member writes what a member reads");
                    self.watch.spoke(&message);
                    self.send(member, message);
                }
                NodeOutput::Fetch(want) => self.ask(member, want),
                NodeOutput::Committed(view) => self.commit(member, view),
                NodeOutput::Equivocated(_) => *self.struck.entry("equivocation_seen").or_default() += 1,
            }
        }
        self.plan_wake(member);
    }

    fn send(&mut self, from: usize, message: PeerMessage) {
        let batch = match &message {
            PeerMessage::Batch(signed) => Some(self.verified(signed)),
            _ => None,
        };
        let message = Arc::new(message);
        for to in (0..self.members.len()).filter(|to| *to != from) {
            let Some(at_us) = self.arrival() else { continue };
            let event = match &batch {
                Some(batch) => Event::Batch {
                    to,
                    from,
                    batch: batch.clone(),
                },
                None => Event::Peer {
                    to,
                    from,
                    message: message.clone(),
                },
            };
            self.queue.at(at_us, event);
        }
    }

    /// The verified form of a batch, which its author made.
    fn verified(&self, signed: &SignedBatch) -> Arc<VerifiedBatch> {
        let digest = signing_digest(&self.genesis.chain, &signed.message);
        self.batches
            .get(&digest)
            .cloned()
            .expect("every batch was made by a unit of this town")
    }

    fn ask(&mut self, from: usize, want: Want) {
        let others: Vec<usize> = (0..self.members.len())
            .filter(|to| *to != from && self.connected(from, *to))
            .collect();
        if others.is_empty() {
            return;
        }
        let to = others[self.radio.below(others.len() as u64) as usize];
        if let Some(at_us) = self.arrival() {
            self.queue.at(at_us, Event::Asked { to, from, want });
        }
    }

    fn answer(&mut self, to: usize, from: usize, want: Want) {
        let Some(store) = self.members[to].disk_in_use() else {
            return;
        };
        let found = match want {
            Want::Block(height) => store
                .block(height)
                .ok()
                .flatten()
                .and_then(|(block, certificate)| {
                    let batches = block
                        .body
                        .batches
                        .iter()
                        .map(|named| self.batches.get(&named.digest).cloned());
                    Some(Answer::Block {
                        batches: batches.collect::<Option<_>>()?,
                        block: Box::new(block),
                        certificate,
                    })
                }),
            Want::Body(hash) => store
                .body(&hash)
                .ok()
                .flatten()
                .map(|block| Answer::Body(Box::new(block))),
            Want::Batch(digest) => store
                .batch(&digest)
                .ok()
                .flatten()
                .map(|signed| Answer::Batch(self.verified(&signed))),
        };
        if let Some(answer) = found
            && let Some(at_us) = self.arrival()
        {
            self.queue.at(
                at_us,
                Event::Answered {
                    to: from,
                    from: to,
                    answer: Box::new(answer),
                },
            );
        }
    }

    fn commit(&mut self, member: usize, view: Arc<View>) {
        let now_us = self.queue.now_us();
        if self.watch.committed(now_us, member, &view) {
            let head = view.head().expect("a committed block has a head").clone();
            match Certified::check(head, &self.genesis.chain, &self.genesis.members) {
                Ok(head) => drop(self.heads.insert(view.height(), head)),
                Err(error) => self.watch.broken(
                    |held| &mut held.agreement,
                    format!("the certificate of block {}: {error}", view.height()),
                ),
            }
            self.look_everywhere(&view);
            if self.heads.len() > 512 {
                self.heads.pop_first();
            }
            self.newest = view.clone();
        }
        self.tell_unit(member, UnitInput::Committed(view));
    }

    /// Asks the ledger, where it has just settled a slot, about the roads that nobody spoke of.
    fn look_everywhere(&mut self, view: &View) {
        let settled: BTreeMap<Slot, BTreeSet<Cell>> =
            view.outputs()
                .iter()
                .fold(BTreeMap::new(), |mut settled, output| {
                    if let LedgerOutput::Estimate(Estimate { item, .. }) = output
                        && item.kind == Kind::Speed
                    {
                        settled
                            .entry(item.slot)
                            .or_insert_with(BTreeSet::new)
                            .insert(item.cell);
                    }
                    settled
                });
        let elsewhere = (!settled.is_empty())
            .then(|| view.state().elsewhere(Kind::Speed))
            .flatten();
        for (slot, heard) in settled {
            for (number, road) in self.world.roads.iter().enumerate() {
                let outlook = view.state().outlook(road.cell, Kind::Speed, slot).or(elsewhere);
                if let Some(outlook) = outlook.filter(|_| !heard.contains(&road.cell)) {
                    self.outlooks.insert((slot.0, number), outlook);
                }
            }
        }
    }

    fn plan_wake(&mut self, member: usize) {
        let now_us = self.queue.now_us();
        if let Some((at_us, life)) = self.members[member].wake_to_plan(now_us) {
            self.queue.at(at_us, Event::Wake { member, life });
        }
    }

    fn wake(&mut self, member: usize, life: u32) {
        let now_us = self.queue.now_us();
        let Some(due) = self.members[member].woken(now_us, life) else {
            return;
        };
        if due.unit {
            self.tell_unit(member, UnitInput::Wake);
        }
        if due.node {
            self.tell_node(member, NodeInput::Wake);
        }
        self.plan_wake(member);
    }

    // The faults.

    fn strike(&mut self, number: usize) {
        let fault = &self.scenario.fault[number];
        *self.struck.entry(fault.name()).or_default() += 1;
        match fault {
            Fault::Crash { member, forgets, .. } => {
                if *forgets {
                    self.members[*member].forget_at_crash();
                }
                self.members[*member].crash();
            }
            Fault::Freeze { member, .. } => self.members[*member].freeze(true),
            Fault::Partition { members, .. } => drop(self.cuts.insert(number, members.clone())),
            Fault::ClockSkew { member, skew_ms, .. } => self.members[*member].set_skew_ms(*skew_ms),
            Fault::DiskError { member, .. } => self.members[*member].break_disk(),
        }
    }

    fn mend(&mut self, number: usize) -> Result<(), PlayError> {
        match &self.scenario.fault[number] {
            Fault::Crash { member, .. } | Fault::DiskError { member, .. } => {
                let member = *member;
                let now_us = self.queue.now_us();
                let outputs = self.members[member]
                    .restart(now_us, &self.genesis, self.scenario)
                    .map_err(|why| PlayError::Start { member, why })?;
                self.carry_out(member, outputs);
            }
            Fault::Freeze { member, .. } => {
                self.members[*member].freeze(false);
                self.plan_wake(*member);
            }
            Fault::Partition { .. } => drop(self.cuts.remove(&number)),
            Fault::ClockSkew { member, .. } => self.members[*member].set_skew_ms(0),
        }
        Ok(())
    }

    /// Whether every epoch of the run is paid and every living member has every block, or the time for it is up.
    fn is_settled(&self) -> bool {
        let now_ms = self.queue.now_us() / 1000;
        let state = self.newest.state();
        let last = state.epoch_of(self.genesis.time.plus(self.world.duration_ms.saturating_sub(1)));
        let mended_ms = self
            .scenario
            .fault
            .iter()
            .map(|fault| fault.span_ms().1)
            .max()
            .unwrap_or(0);
        let paid_ms = state.epoch_due(last).since(self.genesis.time);
        if now_ms > paid_ms.max(mended_ms) + DRAIN_MAX_MS {
            return true;
        }
        let paid = state.books().epoch > last;
        let height = self.newest.height();
        paid && now_ms >= mended_ms
            && self
                .members
                .iter()
                .all(|member| member.view().is_none_or(|view| view.height() == height))
    }
}
