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
//! Verdicts on signatures are remembered, since all members ask for the same ones ([`memo`]).
//!
//! Every unit hears every vehicle, as units linked by zenoh do, unless the scenario says otherwise. A batch is verified by
//! its author alone: the others share its verified form, since the signatures are the same ones.
//!
//! Members may lie, crash, be cut off, and change by their own vote: [`crate::fault`]; they may mean ill by vehicles:
//! [`crate::insider`]. After every event, what must hold is checked.
//!
//! Not covered: zenoh, RocksDB and real time, see [`crate::demo`].

mod beside;
mod consortium;
mod disk;
mod faults;
mod insiders;
mod lies;
mod lines;
mod member;
mod presence;
mod queue;
mod result;
mod roads;
mod votes;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use milepost_incentives::{Genesis, Outlook};
use milepost_node::message::PeerMessage;
use milepost_node::{Fatal, Input as NodeInput, Output as NodeOutput, VerifiedBatch, View, Want};
use milepost_obu::heads::Certified;
use milepost_obu::journal::MemoryJournal;
use milepost_obu::vehicle::{Input as VehicleInput, Vehicle, VehicleConfig};
use milepost_rsu::unit::Input as UnitInput;
use milepost_wire::proof::ReceiptNotice;
use milepost_wire::{Address, Hash, Height, KeyId, SecretKey, Sequence, Timestamp, memo};

use self::faults::Calm;
use self::lies::Lies;
use self::member::{Answer, Member};
use self::queue::Queue;
use self::watch::Watch;
use crate::crew::Company;
use crate::driver::Driver;
use crate::fault::{self, Fault, Trouble};
use crate::figures::kinds::Row;
use crate::figures::{Figures, Item, VehicleRow};
use crate::founding::{self, Founded, FoundingError};
use crate::known::{Said, Words};
use crate::rng::Rng;
use crate::scenario::Scenario;
use crate::world::World;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Played {
    /// The result.
    pub figures: Figures,
    /// Every road and slot with a truth or a figure, by slot and then by road.
    pub items: Vec<Item>,
    /// The same of other kinds than speed, by kind, slot and road.
    pub beside: Vec<Row>,
    /// Every vehicle that reported.
    pub vehicles: Vec<VehicleRow>,
    /// Which promises were broken, and how: the first few.
    pub broken: Vec<String>,
    /// The greatest round that an honest member voted in.
    pub worst_round: u32,
    /// How many changes of members were done.
    pub changes: u64,
    /// How many other decisions of the members were carried out: on numbers, on access and on listening units.
    pub decisions: u64,
    /// How many members lost their vote by a sentence.
    pub jailed: u64,
    /// How many complaints the ledger took, of members that do not hand out what they acknowledged.
    pub complaints: u64,
    /// The members of which enough others complained, by their numbers.
    pub withheld: Vec<usize>,
}

/// Why a scenario cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// It cannot begin.
    #[error(transparent)]
    Founding(#[from] FoundingError),
    /// A member did not start.
    #[error("member {member} did not start: {why}")]
    Start {
        /// Which one.
        member: usize,
        /// Why.
        why: Fatal,
    },
}

/// How long a run may go on after its end, until all is paid and everybody has caught up.
const DRAIN_MAX_MS: u64 = 600_000;
/// Verdicts on signatures that are remembered; what a member says is heard by all within a few hundred others.
const VERDICTS_REMEMBERED: usize = 8192;
/// Messages that replaying vehicles remember.
const OVERHEARD_MAX: usize = 256;

/// Plays a scenario. `progress` is told the share of it that is done, now and then.
///
/// # Errors
///
/// [`PlayError`].
#[expect(
    clippy::disallowed_methods,
    reason = "a simulation: all members are in one process, see docs/adr/0027-remembered-verdicts.md"
)]
pub fn play(scenario: &Scenario, seed: u64, progress: impl FnMut(f64)) -> Result<Played, PlayError> {
    memo::remembering(VERDICTS_REMEMBERED, || play_afresh(scenario, seed, progress))
}

/// Plays it where every member verifies every signature for itself.
fn play_afresh(scenario: &Scenario, seed: u64, mut progress: impl FnMut(f64)) -> Result<Played, PlayError> {
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
        // Whoever breaks a rule on purpose wants to know whether that is noticed.
        if scenario.control.is_some() && !town.watch.broken.is_empty() {
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
    /// A question reaches a member.
    Asked { to: usize, from: usize, want: Want },
    /// Its answer comes back.
    Answered {
        to: usize,
        from: usize,
        answer: Box<Answer>,
    },
    /// A member is told whether a unit is there.
    Presence { to: usize, unit: Address },
    /// A member asked to be woken.
    Wake { member: usize, life: u32 },
    /// A fault begins.
    Strike(usize),
    /// A fault ends.
    Mend(usize),
    /// The next message of a flood.
    Flood(usize),
    /// The next accusation of a slanderer.
    Slander(usize),
    /// Those who want a change look how far it is.
    Campaign(usize),
    /// An insider looks whether there is something to ask for.
    Insider(usize),
    /// A member is restarted with the key that a fault gives it.
    Renewal { member: usize, number: usize },
    /// A member has waited for its disk: what came meanwhile ...
    Told { member: usize, input: NodeInput },
    /// ... and what it had to say, in this life.
    Spoken {
        member: usize,
        start: u32,
        outputs: Vec<NodeOutput>,
    },
    /// Nothing but lies goes wrong any more.
    Calm,
    /// By now the chain must have gone on.
    Deadline,
}

/// A vehicle with its driver and its disk.
struct Onboard {
    vehicle: Vehicle,
    driver: Driver,
    journal: MemoryJournal,
    /// The road on which it looked up last.
    road: usize,
}

struct Town<'a> {
    scenario: &'a Scenario,
    seed: u64,
    world: World,
    companies: Vec<Company>,
    vehicles: Vec<Onboard>,
    /// What the ledger calls the vehicles, by number.
    ids: Vec<KeyId>,
    number_of: BTreeMap<KeyId, usize>,
    genesis: Genesis,
    /// The members of the genesis, the units that listen, and from `units` on the second machines of liars.
    members: Vec<Member>,
    units: usize,
    /// Everybody's keys, those of later too.
    secrets: BTreeMap<Address, SecretKey>,
    queue: Queue<Event>,
    /// Delays and losses.
    radio: Rng,
    /// When members are told who is there, and what.
    rumours: Rng,
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
    said: Said,
    /// What was said besides speed.
    words: Words,
    /// What the ledger had to say of roads that nobody spoke of, by slot and road.
    outlooks: BTreeMap<(u32, usize), Outlook>,
    /// The ledger after each of the newest blocks, where a liar builds on them.
    views: BTreeMap<Height, Arc<View>>,
    /// The faults that are on, by number.
    on: BTreeSet<usize>,
    /// The second machine of each member that has one, by fault.
    twins: BTreeMap<usize, usize>,
    /// The chance in faults.
    chance: Rng,
    lies: Lies,
    calm: Calm,
    /// Whether the control has struck that does so once.
    controlled: bool,
    struck: BTreeMap<&'static str, u64>,
}

impl<'a> Town<'a> {
    fn new(scenario: &'a Scenario, seed: u64) -> Result<Self, PlayError> {
        let Founded {
            world,
            companies,
            company_of,
            keys,
            ids,
            member_keys,
            genesis,
        } = founding::found(scenario, seed)?;
        let consortium = genesis.consortium();
        let vehicles = keys
            .into_iter()
            .enumerate()
            .map(|(index, key)| {
                let config = VehicleConfig::new(consortium.clone(), genesis.time, key);
                let mut vehicle = Vehicle::new(config, Sequence(0));
                vehicle.handle(genesis.time, VehicleInput::Link(true));
                let driver = Driver::new(&companies[company_of[index]], index, seed);
                Onboard {
                    vehicle,
                    driver,
                    journal: MemoryJournal::default(),
                    road: 0,
                }
            })
            .collect();
        let mut members = Vec::new();
        let mut first_outputs = Vec::new();
        let units = fault::units(member_keys.len(), &scenario.fault);
        let listeners = (member_keys.len()..units).map(founding::member_key);
        for (number, key) in member_keys.into_iter().chain(listeners).enumerate() {
            let (member, outputs) = Member::start(key, &genesis, scenario)
                .map_err(|why| PlayError::Start { member: number, why })?;
            members.push(member);
            first_outputs.push(outputs);
        }
        let newest = members[0].view().expect("it was just started");
        let liars: BTreeSet<usize> = scenario.fault.iter().filter_map(Fault::liar).collect();
        let mut liars_names: BTreeSet<_> = liars.iter().map(|liar| members[*liar].address()).collect();
        let keys = members.iter().map(|member| member.key().clone());
        let mut secrets: BTreeMap<_, _> = keys.map(|key| (key.address(), key)).collect();
        let mut twins = BTreeMap::new();
        for (number, fault) in scenario.fault.iter().enumerate() {
            match fault.trouble {
                Trouble::Twins { member, .. } => {
                    twins.insert(number, members.len());
                    members.push(Member::off(members[member].key().clone(), scenario.control));
                }
                Trouble::SetKey { member } => {
                    let key = votes::new_key(number);
                    if liars.contains(&member) {
                        liars_names.insert(key.address());
                    }
                    secrets.insert(key.address(), key);
                }
                _ => {}
            }
        }
        let mut town = Self {
            scenario,
            seed,
            overhears: companies.iter().any(Company::overhears),
            companies,
            vehicles,
            number_of: ids.iter().copied().zip(0..).collect(),
            ids,
            members,
            units,
            secrets,
            queue: Queue::new(),
            radio: Rng::fork(seed, "radio", 0),
            rumours: Rng::fork(seed, "rumours", 0),
            watch: Watch::new(&genesis, liars_names),
            genesis,
            newest,
            heads: BTreeMap::new(),
            batches: BTreeMap::new(),
            overheard: VecDeque::new(),
            said: Said::default(),
            words: Words::default(),
            outlooks: BTreeMap::new(),
            views: BTreeMap::new(),
            on: BTreeSet::new(),
            twins,
            chance: Rng::fork(seed, "faults", 0),
            lies: Lies::new(&scenario.fault),
            calm: Calm::NotYet,
            controlled: false,
            struck: BTreeMap::new(),
            world,
        };
        for (number, outputs) in first_outputs.into_iter().enumerate() {
            town.carry_out(number, outputs);
        }
        town.look_around();
        town.plan_faults();
        town.plan_insiders();
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
            Event::Peer { to, from, message } => self.deliver(from, to, &message),
            Event::Asked { to, from, want } => self.answer(to, from, want),
            Event::Answered { to, from, answer } => self.take_answer(to, from, *answer),
            Event::Presence { to, unit } => self.tell_presence(to, unit),
            Event::Wake { member, life } => self.wake(member, life),
            Event::Strike(number) => self.strike(number)?,
            Event::Mend(number) => self.mend(number)?,
            Event::Flood(number) => self.flood(number),
            Event::Slander(number) => self.slander(number),
            Event::Campaign(number) => self.campaign(number),
            Event::Insider(number) => self.look_after_own(number),
            Event::Renewal { member, number } => self.renew(member, number)?,
            Event::Told { member, input } => self.tell_node(member, input),
            Event::Spoken {
                member,
                start,
                outputs,
            } => self.speak_late(member, start, outputs),
            Event::Calm => self.begin_calm(),
            Event::Deadline => self.meet_deadline(),
        }
        Ok(())
    }

    /// Whether every epoch of the run is paid, every honest member has every block, and the chain went on after the
    /// faults; or the time for it is up.
    fn is_settled(&self) -> bool {
        if self.calm != Calm::Over {
            return false;
        }
        let now_ms = self.queue.now_us() / 1000;
        let state = self.newest.state();
        let last = state.epoch_of(self.genesis.time.plus(self.world.duration_ms.saturating_sub(1)));
        let mended_ms = self.calm_ms();
        let paid_ms = state.epoch_due(last).since(self.genesis.time);
        if now_ms > paid_ms.max(mended_ms) + DRAIN_MAX_MS {
            return true;
        }
        let paid = state.books().epoch > last;
        let height = self.newest.height();
        let has_all = |member: usize| {
            self.members[member]
                .view()
                .is_none_or(|view| view.height() == height)
        };
        paid && now_ms >= mended_ms && self.honest().all(has_all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::plan::Plan;

    #[test]
    fn a_run_is_the_same_where_no_verdict_is_remembered() {
        // Forged votes, forged certificates and other blocks among them.
        let floods = |plan: &Plan| {
            let is_lie = |name: &str| plan.faults.iter().any(|fault| fault.name() == name);
            is_lie("flood") && is_lie("forge")
        };
        let mut plans = (1..).map(|seed| Plan::draw(seed, None));
        let plan = plans.find(floods).expect("they are drawn often");
        let (scenario, seed) = (plan.scenario(), plan.seed);
        let remembered = play(&scenario, seed, |_| ()).expect("it begins");
        let afresh = play_afresh(&scenario, seed, |_| ()).expect("it begins");
        assert_eq!(format!("{remembered:?}"), format!("{afresh:?}"));
    }
}
