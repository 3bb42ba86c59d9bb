//! Which block is next, and what must this member do about it?
//!
//! [`Node`] is the member as a pure state machine over a [`Store`]: `handle(now, input)` returns what shall be
//! sent, fetched or told. It reads no clock and opens no socket. Everything that an output depends on is durable
//! in the store before `handle` returns it. An error is final: whoever gets a [`Fatal`] stops the process, for a
//! member in doubt must not speak.
//!
//! A height goes like this. Between heights the node rests, until there is something to decide and others had a moment to
//! join it, a heartbeat is due, or another member has begun. Then it starts the engine. When it is its turn it builds a block from its
//! pool; otherwise it waits for a signed proposal, for the body that the proposal names, and for the batches
//! that the body names, fetching what does not come; then it executes the block and tells the engine whether it
//! is valid. A body that no signed proposal named is held, a few at a time, and never reaches the engine. When
//! the engine decides, the block and all that it changed are committed with one durable write.

mod blame;
mod clock;
mod decide;
mod hear;
mod judge;
mod missing;
mod patience;
mod readings;
mod settings;
mod withheld;

pub use clock::ClockError;
pub(crate) use patience::PRESENT_MAX;
pub use readings::Readings;
pub use settings::Settings;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use malachite_types::Timeout;
use milepost_incentives::Genesis;
use milepost_wire::bad_batch::BadBatch;
use milepost_wire::codec::encode;
use milepost_wire::topic::Channel;
use milepost_wire::transaction::Transaction;
use milepost_wire::{
    Address, Block, Certificate, Complaint, Evidence, Hash, Height, Members, SecretKey, Timestamp, Verified,
};

use crate::batch::VerifiedBatch;
use crate::engine::{Engine, EngineError};
use crate::ledger::{Executed, Invalid, Ledger, LedgerError};
use crate::message::{PeerMessage, Proposal, Status};
use crate::pool::Pool;
use crate::promises::Promises;
use crate::store::{Store, StoreError};
use crate::view::View;
use crate::wal::Entry;
use clock::Clock;
use withheld::Demand;

/// When something happens: by a clock that never goes back, and by the wall's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since some moment before the node was opened. Timeouts go by it.
    pub mono_ms: u64,
    /// What the blocks' times go by.
    pub wall: Timestamp,
}

/// What happens to a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has come to [`Node::wake_at`].
    Wake,
    /// Another member spoke. A batch does not come this way.
    Peer(PeerMessage),
    /// A batch, one's own or another's, whose every signature was checked.
    Batch(Arc<VerifiedBatch>),
    /// What convicts the author of a batch that was refused.
    BadBatch(Box<BadBatch>),
    /// A member that was asked for a batch ([`Output::Fetch`]) handed one out.
    HandedOut {
        /// Who.
        by: Address,
        /// Which one.
        batch: Hash,
    },
    /// A transaction whose signature was checked.
    Transaction(Verified<Transaction>),
    /// Another unit came or went, as far as the network tells.
    Presence {
        /// Which.
        unit: Address,
        /// Whether it is there.
        is_present: bool,
    },
    /// The answer to [`Want::Block`], its batches checked.
    Block {
        /// The block.
        block: Box<Block>,
        /// Why to believe it.
        certificate: Certificate,
        /// The batches that it names, in its order.
        batches: Vec<Arc<VerifiedBatch>>,
    },
}

/// What a node wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send an encoded [`PeerMessage`] to all other members.
    Send {
        /// On which channel.
        channel: Channel,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Get something from another member.
    Fetch {
        /// What.
        want: Want,
        /// From whom, and nobody else; where `None`, from any.
        of: Option<Address>,
    },
    /// A block was committed; this is the ledger after it.
    Committed(Arc<View>),
    /// A member was seen to sign two different things.
    Equivocated(Address),
    /// A member did not hand out what it acknowledged, however often it was asked: this one complains of it.
    Complains(Address),
}

/// What a node lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Want {
    /// A decided block: a [`crate::message::BlockAnswer`], to be handed in as [`Input::Block`].
    Block(Height),
    /// A proposed block: a [`PeerMessage::Body`].
    Body(Hash),
    /// A batch: a [`SignedBatch`], to be verified and handed in as [`Input::HandedOut`] and [`Input::Batch`].
    Batch(Hash),
}

/// Why a node must stop.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The disk cannot be relied on.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored ledger cannot be gone on with.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The consensus engine cannot be trusted to go on.
    #[error("{0}")]
    Engine(String),
    /// The others agreed on a block that this member holds to be wrong: one of us runs other rules.
    #[error(
        "block {height} was decided, but here: {why}. Is this the same version of the software as the others'?"
    )]
    Diverged {
        /// Which block.
        height: Height,
        /// What is wrong with it.
        why: Invalid,
    },
    /// Executing our own block breaks an invariant.
    #[error("building block {height}: {why}")]
    Broken {
        /// Which block.
        height: Height,
        /// What broke.
        why: Invalid,
    },
}

impl From<EngineError> for Fatal {
    fn from(error: EngineError) -> Self {
        Self::Engine(error.to_string())
    }
}

/// A proposal that names a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    round: u32,
    valid_round: Option<u32>,
    proposer: Address,
}

/// What is known about the height that is being decided.
#[derive(Default)]
struct Deciding {
    /// Which hashes signed proposals named, and in which rounds.
    named: BTreeMap<Hash, BTreeSet<Named>>,
    /// Bodies that were named, or fetched with a certificate.
    bodies: BTreeMap<Hash, Arc<Block>>,
    /// What this member's clock said when a body came from its proposer.
    arrived: BTreeMap<Hash, Timestamp>,
    /// Bodies that were not named yet, oldest first.
    held: VecDeque<(Hash, Block)>,
    /// Batches that bodies of this height name and that the pool did not have.
    batches: BTreeMap<Hash, Arc<VerifiedBatch>>,
    /// What executing a body gave.
    judged: BTreeMap<Hash, Result<Executed, Invalid>>,
    /// Which proposals the engine was told about.
    told: BTreeSet<(Hash, Named)>,
    /// What this member proposed last, and when it is said again.
    proposed: Option<(Proposal, u64)>,
    /// When missing things are asked for again.
    refetch_at: Option<u64>,
    /// Who was asked for which batch, and whether it did not hand it out.
    asked: BTreeMap<(Hash, Address), bool>,
}

/// Between two heights.
#[derive(Clone, Copy, Debug)]
struct Resting {
    earliest: u64,
    heartbeat: u64,
    /// Since when there is something to decide.
    filled: Option<u64>,
}

/// One member.
pub struct Node<S> {
    key: SecretKey,
    me: Address,
    settings: Settings,
    store: S,
    engine: Engine,
    view: Arc<View>,
    /// No vote until a block of a later time is committed: what this key signed before is not on this disk.
    silent_until: Option<Timestamp>,
    pool: Pool,
    deciding: Deciding,
    resting: Option<Resting>,
    timers: Vec<(Timeout, u64)>,
    log_index: u32,
    /// Something was written that is not durable yet.
    unsynced: bool,
    /// Batches to acknowledge once they are durable.
    acks: BTreeSet<Hash>,
    /// When something was last synced for the sake of acknowledgements alone.
    acks_synced_ms: u64,
    status_at: u64,
    /// The greatest height that another member claimed.
    claimed: Height,
    /// The block that was asked for, and when it is asked for again.
    fetching: Option<(Height, u64)>,
    /// How many questions for blocks nobody has answered lately.
    unanswered: u32,
    /// This height's block came by fetching, or the last one's did and this one is not begun.
    catching_up: bool,
    /// Verified messages of the height after the one that is being decided; between heights, of the next.
    early: Vec<PeerMessage>,
    /// What convicts other members, and is not on the ledger yet.
    evidence: Vec<Evidence>,
    /// What others acknowledged.
    promises: Promises,
    /// What others were asked for in vain, and are asked for again: one thing of each.
    demands: BTreeMap<Address, Demand>,
    /// What this member has to say of others that do not hand out what they acknowledged, and is not on the ledger yet.
    complaints: Vec<Complaint>,
    /// Whose turn it is to be asked for a batch.
    turn: usize,
    /// When this height was begun.
    started_ms: u64,
    /// The units that are there, as far as the network tells.
    present: BTreeSet<Address>,
    clock: Clock,
    now: Now,
    outputs: Vec<Output>,
}

impl<S: Store> Node<S> {
    /// Opens a member on its own disk and takes up where it left off, in the middle of a height if need be.
    ///
    /// # Errors
    ///
    /// [`Fatal`]: the store is damaged, is another chain's, or cannot be written.
    pub fn open(
        genesis: &Genesis,
        key: SecretKey,
        settings: Settings,
        mut store: S,
        now: Now,
    ) -> Result<(Self, Vec<Output>), Fatal> {
        let loaded = store.load(genesis.hash())?;
        let ledger = Ledger::load(genesis, &loaded)?;
        let silent_until = loaded.silent_until;
        let engine = engine(&ledger, &key, &settings, silent_until.is_some());
        let mut node = Self {
            me: key.address(),
            key,
            settings,
            store,
            engine,
            view: Arc::new(View::at_start(ledger, genesis.hash(), loaded.tip)),
            silent_until,
            pool: Pool::default(),
            deciding: Deciding::default(),
            resting: None,
            timers: Vec::new(),
            log_index: 0,
            unsynced: false,
            acks: BTreeSet::new(),
            acks_synced_ms: 0,
            status_at: now.mono_ms,
            claimed: Height::ZERO,
            fetching: None,
            unanswered: 0,
            catching_up: false,
            early: Vec::new(),
            evidence: loaded.evidence,
            promises: Promises::default(),
            demands: BTreeMap::new(),
            complaints: Vec::new(),
            turn: 0,
            started_ms: now.mono_ms,
            present: BTreeSet::new(),
            clock: Clock::default(),
            now,
            outputs: Vec::new(),
        };
        if loaded.log.is_empty() {
            node.rest(0);
        } else {
            let entries = loaded
                .log
                .iter()
                .map(|bytes| Entry::decode(bytes))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| StoreError::Damaged {
                    what: "consensus log".into(),
                    why: error.to_string(),
                })?;
            node.recover(entries)?;
        }
        node.broadcast_status();
        node.finish_step()?;
        let outputs = std::mem::take(&mut node.outputs);
        Ok((node, outputs))
    }

    /// Takes one input. Cost: at most executing a block and one durable write for each thing said.
    ///
    /// # Errors
    ///
    /// [`Fatal`]; the node must not be used again.
    pub fn handle(&mut self, now: Now, input: Input) -> Result<Vec<Output>, Fatal> {
        self.now = now;
        match input {
            Input::Wake => self.wake()?,
            Input::Peer(message) => self.hear(message)?,
            Input::Batch(batch) => self.take_batch(batch)?,
            Input::BadBatch(evidence) => self.keep_evidence(Evidence::BadBatch(*evidence))?,
            Input::HandedOut { by, batch } => self.handed_out(by, batch),
            Input::Transaction(transaction) => self.take_transaction(transaction),
            Input::Presence { unit, is_present } => self.note_presence(unit, is_present),
            Input::Block {
                block,
                certificate,
                batches,
            } => self.take_block(*block, certificate, batches)?,
        }
        self.finish_step()?;
        Ok(std::mem::take(&mut self.outputs))
    }

    /// When [`Input::Wake`] is due, in [`Now::mono_ms`].
    pub fn wake_at(&self) -> u64 {
        let timers = self.timers.iter().map(|(_, at)| *at);
        let resting = self.resting.map(|resting| self.start_at(resting));
        let fetching = self.fetching.map(|(_, at)| at);
        let untimely = self.untimely_until();
        let acks = (!self.acks.is_empty()).then(|| self.ack_sync_at());
        timers
            .chain(resting)
            .chain(fetching)
            .chain(untimely)
            .chain(acks)
            .chain(self.demand_at())
            .chain(self.deciding.refetch_at)
            .chain(self.deciding.proposed.as_ref().map(|(_, again_at)| *again_at))
            .chain([self.status_at])
            .min()
            .expect("the status is always due some time")
    }

    /// The newest committed ledger.
    pub fn view(&self) -> Arc<View> {
        self.view.clone()
    }

    /// Whether this member follows without a vote, since it was restored and may have voted on what comes.
    pub fn is_silent(&self) -> bool {
        self.silent_until.is_some()
    }

    /// The height that is being decided, and the round.
    pub fn deciding(&self) -> (Height, u32) {
        (
            self.next(),
            if self.resting.is_some() {
                0
            } else {
                self.engine.round()
            },
        )
    }

    fn ledger(&self) -> &Ledger {
        self.view.ledger()
    }

    fn members(&self) -> &Members {
        self.ledger().members()
    }

    fn next(&self) -> Height {
        self.ledger().height().next()
    }

    fn send(&mut self, channel: Channel, message: &PeerMessage) {
        self.outputs.push(Output::Send {
            channel,
            bytes: encode(message),
        });
    }

    fn broadcast_status(&mut self) {
        let status = Status {
            height: self.ledger().height(),
        };
        self.send(Channel::Member, &PeerMessage::Status(status));
    }

    // Time.

    fn wake(&mut self) -> Result<(), Fatal> {
        let due: Vec<Timeout> = self
            .timers
            .iter()
            .filter(|(_, at)| *at <= self.now.mono_ms)
            .map(|(timeout, _)| *timeout)
            .collect();
        for timeout in due {
            // An earlier one of these may have cancelled this one.
            let Some(index) = self.timers.iter().position(|(found, _)| *found == timeout) else {
                continue;
            };
            self.timers.swap_remove(index);
            let stepped = self.engine.elapsed(timeout)?;
            self.run(stepped)?;
        }
        if self.now.mono_ms >= self.status_at {
            self.status_at = self.now.mono_ms + self.settings.status_ms;
            self.broadcast_status();
            self.resend_batches();
        }
        self.repeat_proposal();
        self.consider_all()
    }

    /// Batches of one's own that a quorum does not hold yet may have been lost on the way.
    fn resend_batches(&mut self) {
        let mut own = self.pool.unready_of(&self.me, self.members());
        own.truncate(4);
        for batch in own {
            self.send(Channel::Batch, &PeerMessage::Batch(batch.signed().clone()));
        }
    }

    /// Votes are said again by the engine, proposals are not: whoever did not hear one, since it was lost or its member
    /// was down, could vote for nothing until the round is given up.
    fn repeat_proposal(&mut self) {
        let round = self.engine.round();
        self.deciding
            .proposed
            .take_if(|(proposal, _)| proposal.round != round);
        if let Some((proposal, again_at)) = &mut self.deciding.proposed
            && *again_at <= self.now.mono_ms
        {
            *again_at = self.now.mono_ms + self.settings.rebroadcast_ms;
            let proposal = PeerMessage::Proposal(proposal.clone());
            self.send(Channel::Bft, &proposal);
        }
    }

    /// What follows at the end of every step, whatever the input was.
    fn finish_step(&mut self) -> Result<(), Fatal> {
        let is_filled = self.resting.is_some() && self.pool.has_content(self.members());
        if let Some(resting) = &mut self.resting {
            resting.filled = is_filled.then(|| resting.filled.unwrap_or(self.now.mono_ms));
            let resting = *resting;
            if self.now.mono_ms >= self.start_at(resting) {
                self.start()?;
            }
        }
        self.hurry();
        self.send_acks()?;
        self.demand();
        self.fetch_missing();
        self.fetch_block();
        Ok(())
    }

    // Between heights.

    fn rest(&mut self, earliest: u64) {
        self.resting = Some(Resting {
            earliest,
            heartbeat: self.now.mono_ms + self.settings.heartbeat_ms,
            filled: None,
        });
    }

    /// When the next height starts, as things stand.
    fn start_at(&self, resting: Resting) -> u64 {
        if !self.early.is_empty() || self.has_evidence() {
            return resting.earliest;
        }
        if let Some(since) = resting.filled {
            return resting
                .earliest
                .max(since.saturating_add(self.settings.gather_ms));
        }
        let due = self
            .ledger()
            .state()
            .next_due()
            .map(|due| self.now.mono_ms + due.since(self.now.wall));
        due.map_or(resting.heartbeat, |due| due.min(resting.heartbeat))
            .max(resting.earliest)
    }

    fn start(&mut self) -> Result<(), Fatal> {
        self.resting = None;
        self.catching_up = false;
        self.started_ms = self.now.mono_ms;
        let (height, members) = (self.next(), self.members().clone());
        let stepped = self.engine.start(height, &members, Vec::new())?;
        self.run(stepped)?;
        for message in std::mem::take(&mut self.early) {
            self.hear(message)?;
        }
        Ok(())
    }

    fn recover(&mut self, entries: Vec<Entry>) -> Result<(), Fatal> {
        let (height, members) = (self.next(), self.members().clone());
        self.log_index = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        for entry in &entries {
            if let Entry::Proposal(proposal) = entry
                && proposal.height == height
            {
                self.name(proposal);
                if proposal.proposer == self.me {
                    self.deciding.proposed = Some((proposal.clone(), self.now.mono_ms));
                }
            }
        }
        for (hash, block) in self.named_bodies()? {
            self.deciding.bodies.insert(hash, Arc::new(block));
        }
        let stepped = self.engine.start(height, &members, entries)?;
        self.run(stepped)?;
        self.repeat_proposal();
        self.consider_all()
    }

    fn named_bodies(&self) -> Result<Vec<(Hash, Block)>, StoreError> {
        let named = self.deciding.named.keys();
        named
            .filter_map(|hash| {
                self.store
                    .body(hash)
                    .map(|body| body.map(|body| (*hash, body)))
                    .transpose()
            })
            .collect()
    }
}

fn engine(ledger: &Ledger, key: &SecretKey, settings: &Settings, silent: bool) -> Engine {
    let keys = Engine::keys(ledger.chain().clone(), key.clone());
    let (members, next) = (ledger.members(), ledger.height().next());
    Engine::new(keys, members, next, settings.timeouts(), silent)
}
