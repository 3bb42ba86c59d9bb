//! Which block is next, and what must this member do about it?
//!
//! [`Node`] is the member as a pure state machine over a [`Store`]: `handle(now, input)` returns what shall be
//! sent, fetched or told. It reads no clock and opens no socket. Everything that an output depends on is durable
//! in the store before `handle` returns it. An error is final: whoever gets a [`Fatal`] stops the process, for a
//! member in doubt must not speak.
//!
//! A height goes like this. Between heights the node rests, until there is something to decide, a heartbeat is
//! due, or another member has begun. Then it starts the engine. When it is its turn it builds a block from its
//! pool; otherwise it waits for a signed proposal, for the body that the proposal names, and for the batches
//! that the body names, fetching what does not come; then it executes the block and tells the engine whether it
//! is valid. A body that no signed proposal named is held, a few at a time, and never reaches the engine. When
//! the engine decides, the block and all that it changed are committed with one durable write.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use malachite_types::{LinearTimeouts, Timeout};
use milepost_incentives::Genesis;
use milepost_wire::codec::encode;
use milepost_wire::topic::Channel;
use milepost_wire::transaction::Transaction;
use milepost_wire::vote::{self, Step};
use milepost_wire::{
    Address, Block, Certificate, Hash, Height, Members, SecretKey, Signed, SignedBatch, Timestamp, Verified,
};
use serde::{Deserialize, Serialize};

use crate::batch::VerifiedBatch;
use crate::context::{Voters, proposer};
use crate::engine::{Effected, Engine, EngineError, Stepped, Verdict};
use crate::ledger::{Executed, Invalid, Ledger, LedgerError};
use crate::message::{Acks, PeerMessage, Proposal, ProposedBody, Status};
use crate::pool::Pool;
use crate::store::{Commit, Store, StoreError, Write};
use crate::view::View;
use crate::wal::Entry;

/// When something happens: by a clock that never goes back, and by the wall's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since some moment before the node was opened. Timeouts go by it.
    pub mono_ms: u64,
    /// What the blocks' times go by.
    pub wall: Timestamp,
}

/// How long a member waits for what. In `rsu.toml` under `[node]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The least time between two blocks, in milliseconds.
    pub block_interval_ms: u64,
    /// Without anything to decide, a block is made after so many milliseconds: quiet roads wear out no flash.
    pub heartbeat_ms: u64,
    /// A block whose time is further ahead of one's own clock than so many milliseconds waits.
    pub drift_ms: u64,
    /// How long a proposal may take in the first round, in milliseconds.
    pub propose_ms: u64,
    /// How long prevotes, and then precommits, may take in the first round, in milliseconds.
    pub vote_ms: u64,
    /// By how much each of these grows in each further round, in milliseconds.
    pub round_delta_ms: u64,
    /// The longest that any of them grows, in milliseconds.
    pub timeout_max_ms: u64,
    /// After so many milliseconds without progress, votes are sent again.
    pub rebroadcast_ms: u64,
    /// How often a member tells how far it has come, in milliseconds.
    pub status_ms: u64,
    /// After so many milliseconds, what was fetched and did not come is fetched again.
    pub refetch_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            block_interval_ms: 500,
            heartbeat_ms: 10_000,
            drift_ms: 2_000,
            propose_ms: 1_000,
            vote_ms: 500,
            round_delta_ms: 250,
            timeout_max_ms: 5_000,
            rebroadcast_ms: 700,
            status_ms: 1_000,
            refetch_ms: 400,
        }
    }
}

impl Settings {
    fn timeouts(&self) -> LinearTimeouts {
        let (vote, delta) = (
            Duration::from_millis(self.vote_ms),
            Duration::from_millis(self.round_delta_ms),
        );
        LinearTimeouts {
            propose: Duration::from_millis(self.propose_ms),
            propose_delta: delta,
            prevote: vote,
            prevote_delta: delta,
            precommit: vote,
            precommit_delta: delta,
            rebroadcast: Duration::from_millis(self.rebroadcast_ms),
            max_timeout: Duration::from_millis(self.timeout_max_ms),
        }
    }
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
    /// A transaction whose signature was checked.
    Transaction(Verified<Transaction>),
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
    /// Get something from any other member.
    Fetch(Want),
    /// A block was committed; this is the ledger after it.
    Committed(Arc<View>),
    /// A member was seen to sign two different things.
    Equivocated(Address),
}

/// What a node lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Want {
    /// A decided block: a [`crate::message::BlockAnswer`], to be handed in as [`Input::Block`].
    Block(Height),
    /// A proposed block: a [`PeerMessage::Body`].
    Body(Hash),
    /// A batch: a [`SignedBatch`], to be verified and handed in as [`Input::Batch`].
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

/// Proposals of bodies that no signed proposal named yet: no more are held.
const HELD_MAX: usize = 8;
/// Consensus messages are kept from heights up to so far ahead, ...
const AHEAD_MAX: u64 = 1;
/// ... and no more than so many of them.
const EARLY_MAX: usize = 512;
/// A body or a batch that is named and not here is asked for after so many milliseconds.
const FETCH_AFTER_MS: u64 = 80;
/// No more than so many things are asked for at once.
const FETCH_AT_ONCE_MAX: usize = 16;
/// A member that is one block behind for so many milliseconds fetches it.
const BEHIND_MS: u64 = 300;

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
    /// Bodies that were not named yet, oldest first.
    held: VecDeque<(Hash, Block)>,
    /// Batches that bodies of this height name and that the pool did not have.
    batches: BTreeMap<Hash, Arc<VerifiedBatch>>,
    /// What executing a body gave.
    judged: BTreeMap<Hash, Result<Executed, Invalid>>,
    /// Which proposals the engine was told about.
    told: BTreeSet<(Hash, Named)>,
    /// When missing things are asked for again.
    refetch_at: Option<u64>,
}

/// Between two heights.
#[derive(Clone, Copy, Debug)]
struct Resting {
    earliest: u64,
    heartbeat: u64,
}

/// One member.
pub struct Node<S> {
    key: SecretKey,
    me: Address,
    settings: Settings,
    store: S,
    engine: Engine,
    view: Arc<View>,
    pool: Pool,
    deciding: Deciding,
    resting: Option<Resting>,
    timers: Vec<(Timeout, u64)>,
    log_index: u32,
    /// Something was logged that is not durable yet.
    unsynced: bool,
    /// Digests to acknowledge at the end of this step.
    acks: Vec<Hash>,
    status_at: u64,
    /// The greatest height that another member claimed.
    claimed: Height,
    /// The block that was asked for, and when it is asked for again.
    fetching: Option<(Height, u64)>,
    /// The last block came by fetching, and there are more.
    catching_up: bool,
    /// Verified messages of the height after the one that is being decided.
    early: Vec<PeerMessage>,
    /// When this height was begun.
    started_ms: u64,
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
        let keys = Engine::keys(genesis.chain.clone(), key.clone());
        let engine = Engine::new(
            keys,
            ledger.members(),
            ledger.height().next(),
            settings.timeouts(),
        );
        let mut node = Self {
            me: key.address(),
            key,
            settings,
            store,
            engine,
            view: Arc::new(View::at_start(ledger, genesis.hash(), loaded.tip)),
            pool: Pool::default(),
            deciding: Deciding::default(),
            resting: None,
            timers: Vec::new(),
            log_index: 0,
            unsynced: false,
            acks: Vec::new(),
            status_at: now.mono_ms,
            claimed: Height::ZERO,
            fetching: None,
            catching_up: false,
            early: Vec::new(),
            started_ms: now.mono_ms,
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
            Input::Transaction(transaction) => self.take_transaction(transaction),
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
        timers
            .chain(resting)
            .chain(fetching)
            .chain(untimely)
            .chain(self.deciding.refetch_at)
            .chain([self.status_at])
            .min()
            .expect("the status is always due some time")
    }

    /// The newest committed ledger.
    pub fn view(&self) -> Arc<View> {
        self.view.clone()
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

    /// What follows at the end of every step, whatever the input was.
    fn finish_step(&mut self) -> Result<(), Fatal> {
        if let Some(resting) = self.resting
            && self.now.mono_ms >= self.start_at(resting)
        {
            self.start()?;
        }
        self.send_acks();
        self.fetch_missing();
        self.fetch_block();
        Ok(())
    }

    // Between heights.

    fn rest(&mut self, earliest: u64) {
        self.resting = Some(Resting {
            earliest,
            heartbeat: self.now.mono_ms + self.settings.heartbeat_ms,
        });
    }

    /// When the next height starts, as things stand.
    fn start_at(&self, resting: Resting) -> u64 {
        if self.pool.has_content(self.members()) {
            return resting.earliest;
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
            }
        }
        for (hash, block) in self.named_bodies()? {
            self.deciding.bodies.insert(hash, Arc::new(block));
        }
        let stepped = self.engine.start(height, &members, entries)?;
        self.run(stepped)?;
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

    // What others say.

    fn hear(&mut self, message: PeerMessage) -> Result<(), Fatal> {
        match message {
            PeerMessage::Vote(_)
            | PeerMessage::Proposal(_)
            | PeerMessage::Polka(_)
            | PeerMessage::Round(_) => self.hear_consensus(message),
            PeerMessage::Body(body) => self.hear_body(body),
            PeerMessage::Acks(acks) => {
                self.hear_acks(acks);
                Ok(())
            }
            PeerMessage::Status(status) => {
                self.claimed = self.claimed.max(status.height);
                Ok(())
            }
            // The shell verifies batches and hands them in as such.
            PeerMessage::Batch(_) => Ok(()),
        }
    }

    fn hear_consensus(&mut self, message: PeerMessage) -> Result<(), Fatal> {
        let height = match &message {
            PeerMessage::Vote(vote) => vote.height,
            PeerMessage::Proposal(proposal) => proposal.height,
            PeerMessage::Polka(polka) => polka.height,
            PeerMessage::Round(certificate) => certificate.height,
            _ => return Ok(()),
        };
        let next = self.next();
        if height < next {
            return Ok(());
        }
        // Whoever votes on a height claims to have the one below. That may be a lie: it costs a question.
        self.claimed = self.claimed.max(Height(height.0 - 1));
        if height > Height(next.0 + AHEAD_MAX) {
            return Ok(());
        }
        let signed = self.is_signed(&message);
        if height > next {
            if signed && self.early.len() < EARLY_MAX && !self.early.contains(&message) {
                self.early.push(message);
            }
            return Ok(());
        }
        if self.resting.is_some() {
            // Another member has begun this height; a forgery shall not make us begin it.
            if !signed {
                return Ok(());
            }
            self.start()?;
        }
        if let PeerMessage::Proposal(proposal) = &message
            && signed
        {
            self.name(proposal);
        }
        let hash = if let PeerMessage::Proposal(proposal) = &message {
            Some(proposal.value)
        } else {
            None
        };
        let stepped = self.engine.hear(message)?;
        self.run(stepped)?;
        match hash {
            Some(hash) => self.consider(hash),
            None => Ok(()),
        }
    }

    /// Whether a vote, or a proposal of the right proposer, is signed by the member it names. Certificates are
    /// checked by the engine.
    fn is_signed(&self, message: &PeerMessage) -> bool {
        let (chain, members) = (self.ledger().chain(), self.members());
        match message {
            PeerMessage::Vote(vote) => {
                let step = if vote.precommit {
                    Step::Precommit
                } else {
                    Step::Prevote
                };
                let digest = vote::digest(chain, step, vote.height, vote.round, vote.value, vote.voter);
                members
                    .point(&vote.voter)
                    .is_some_and(|point| vote.signature.verify(point, &digest).is_ok())
            }
            PeerMessage::Proposal(proposal) => {
                let turn = proposer(&Voters::of(members), proposal.height, proposal.round);
                let valid_round = proposal.valid_round.map_or(-1, i64::from);
                let (height, round) = (proposal.height, proposal.round);
                let digest = vote::proposal_digest(
                    chain,
                    height,
                    round,
                    valid_round,
                    proposal.value,
                    proposal.proposer,
                );
                turn == proposal.proposer
                    && members
                        .point(&proposal.proposer)
                        .is_some_and(|point| proposal.signature.verify(point, &digest).is_ok())
            }
            _ => false,
        }
    }

    /// Notes that the right proposer named a body, and takes it up if it came before.
    fn name(&mut self, proposal: &Proposal) {
        let Proposal {
            round,
            valid_round,
            value,
            proposer,
            ..
        } = *proposal;
        self.deciding.named.entry(value).or_default().insert(Named {
            round,
            valid_round,
            proposer,
        });
        if let Some(index) = self.deciding.held.iter().position(|(hash, _)| *hash == value)
            && let Some((hash, block)) = self.deciding.held.remove(index)
        {
            self.deciding.bodies.insert(hash, Arc::new(block));
        }
    }

    fn hear_body(&mut self, body: ProposedBody) -> Result<(), Fatal> {
        let (hash, height) = (body.block.hash(), body.block.header.height);
        if height != self.next() && height != self.next().next() || self.deciding.bodies.contains_key(&hash) {
            return Ok(());
        }
        if height == self.next() && self.deciding.named.contains_key(&hash) {
            self.deciding.bodies.insert(hash, Arc::new(body.block));
            return self.consider(hash);
        }
        if self.deciding.held.iter().all(|(held, _)| *held != hash) {
            if self.deciding.held.len() == HELD_MAX {
                self.deciding.held.pop_front();
            }
            self.deciding.held.push_back((hash, body.block));
        }
        Ok(())
    }

    fn hear_acks(&mut self, acks: Signed<Acks>) {
        let member = acks.message.member;
        let Some(point) = self.members().point(&member) else {
            return;
        };
        let Ok(acks) = acks.verify(self.ledger().chain(), point) else {
            return;
        };
        for digest in acks.batches.iter().take(Acks::COUNT_MAX) {
            self.pool.ack(*digest, member);
        }
    }

    fn take_batch(&mut self, batch: Arc<VerifiedBatch>) -> Result<(), Fatal> {
        if self.members().get(&batch.author()).is_none() {
            return Ok(());
        }
        let digest = batch.digest();
        let needed = self
            .deciding
            .bodies
            .values()
            .any(|block| block.body.batches.iter().any(|named| named.digest == digest));
        if needed {
            self.deciding.batches.insert(digest, batch.clone());
        }
        match self.pool.add_batch(batch.clone()) {
            // Whoever sends it again has not heard that it is here.
            Ok(new) => {
                if new {
                    self.store
                        .write(&[Write::Batch(digest, batch.signed().clone())], false)?;
                }
                self.pool.ack(digest, self.me);
                self.acks.push(digest);
                if new && batch.author() == self.me {
                    self.send(Channel::Batch, &PeerMessage::Batch(batch.signed().clone()));
                }
            }
            Err(full) => tracing::debug!(%digest, %full, "batch refused"),
        }
        if needed { self.consider_all() } else { Ok(()) }
    }

    fn send_acks(&mut self) {
        let digests = std::mem::take(&mut self.acks);
        for batches in digests.chunks(Acks::COUNT_MAX) {
            let acks = Acks {
                member: self.me,
                batches: batches.to_vec(),
            };
            let signed = Signed::sign(acks, self.ledger().chain(), &self.key).into_signed();
            self.send(Channel::Batch, &PeerMessage::Acks(signed));
        }
    }

    fn take_transaction(&mut self, transaction: Verified<Transaction>) {
        let Ok(sender) = transaction.from.address() else {
            return;
        };
        let next_nonce = self.next_nonce(&sender);
        if let Err(full) = self.pool.add_transaction(sender, next_nonce, transaction) {
            tracing::debug!(%sender, %full, "transaction refused");
        }
    }

    fn next_nonce(&self, sender: &Address) -> u64 {
        self.ledger().state().account(sender).nonce
    }

    fn take_block(
        &mut self,
        block: Block,
        certificate: Certificate,
        batches: Vec<Arc<VerifiedBatch>>,
    ) -> Result<(), Fatal> {
        let hash = block.hash();
        if block.header.height != self.next()
            || certificate.height != self.next()
            || certificate.block != hash
        {
            return Ok(());
        }
        if let Err(error) = certificate.verify(self.ledger().chain(), self.members()) {
            tracing::warn!(height = %block.header.height, %error, "a fetched block is refused");
            return Ok(());
        }
        self.fetching = None;
        self.catching_up = true;
        if self.resting.is_some() {
            self.start()?;
        }
        if self.next() != block.header.height {
            // Starting the height was enough to decide it.
            return Ok(());
        }
        self.deciding
            .batches
            .extend(batches.into_iter().map(|batch| (batch.digest(), batch)));
        self.deciding.bodies.insert(hash, Arc::new(block));
        let stepped = self.engine.certified(&certificate)?;
        self.run(stepped)
    }

    // What is missing.

    fn fetch_missing(&mut self) {
        let missing = self.missing();
        if missing.is_empty() {
            self.deciding.refetch_at = None;
            return;
        }
        match self.deciding.refetch_at {
            // What is on its way gets a moment to arrive.
            None => self.deciding.refetch_at = Some(self.now.mono_ms + FETCH_AFTER_MS),
            Some(at) if at <= self.now.mono_ms => {
                self.deciding.refetch_at = Some(self.now.mono_ms + self.settings.refetch_ms);
                self.outputs
                    .extend(missing.into_iter().take(FETCH_AT_ONCE_MAX).map(Output::Fetch));
            }
            Some(_) => {}
        }
    }

    fn missing(&self) -> Vec<Want> {
        if self.resting.is_some() {
            return Vec::new();
        }
        let bodies = self
            .deciding
            .named
            .keys()
            .filter(|hash| !self.deciding.bodies.contains_key(*hash));
        let batches = self
            .deciding
            .bodies
            .iter()
            .filter(|(hash, _)| !self.deciding.judged.contains_key(*hash))
            .flat_map(|(_, block)| &block.body.batches)
            .filter(|named| !self.holds(&named.digest));
        let wanted: BTreeSet<Want> = bodies
            .map(|hash| Want::Body(*hash))
            .chain(batches.map(|named| Want::Batch(named.digest)))
            .collect();
        wanted.into_iter().collect()
    }

    fn holds(&self, digest: &Hash) -> bool {
        self.pool.batch(digest).is_some() || self.deciding.batches.contains_key(digest)
    }

    /// Asks for the next block where others have it.
    fn fetch_block(&mut self) {
        let next = self.next();
        if self.claimed < next {
            self.fetching = None;
            self.catching_up = false;
            return;
        }
        let at = match self.fetching {
            Some((height, at)) if height == next => at,
            // One block behind is what everyone is for a moment, whose votes are still on their way.
            _ if self.claimed == next && !self.catching_up => self.now.mono_ms + BEHIND_MS,
            _ => self.now.mono_ms,
        };
        if at <= self.now.mono_ms {
            self.outputs.push(Output::Fetch(Want::Block(next)));
            self.fetching = Some((next, self.now.mono_ms + self.settings.refetch_ms));
        } else {
            self.fetching = Some((next, at));
        }
    }

    // Judging.

    fn consider_all(&mut self) -> Result<(), Fatal> {
        let named: Vec<Hash> = self.deciding.named.keys().copied().collect();
        for hash in named {
            self.consider(hash)?;
        }
        Ok(())
    }

    /// Tells the engine about a body that was named, as soon as it can be judged.
    fn consider(&mut self, hash: Hash) -> Result<(), Fatal> {
        if self.resting.is_some() {
            return Ok(());
        }
        let Some(block) = self.deciding.bodies.get(&hash).cloned() else {
            return Ok(());
        };
        if block.header.time > self.now.wall.plus(self.settings.drift_ms) {
            return Ok(());
        }
        let Some(valid) = self.judge(hash, &block)? else {
            return Ok(());
        };
        let named = self.deciding.named.get(&hash).cloned().unwrap_or_default();
        for named in named {
            if self.next() != block.header.height || !self.deciding.told.insert((hash, named)) {
                continue;
            }
            // The body is on disk with, or before, the log entry that follows from it.
            self.store.write(&[Write::Body(hash, (*block).clone())], false)?;
            let Named {
                round,
                valid_round,
                proposer,
            } = named;
            let stepped = self.engine.judged(Verdict {
                height: block.header.height,
                round,
                valid_round,
                proposer,
                value: hash,
                valid,
                fetched: false,
            })?;
            self.run(stepped)?;
        }
        Ok(())
    }

    /// When the first body that came too early by our clock can be judged.
    fn untimely_until(&self) -> Option<u64> {
        let untold = self.deciding.bodies.iter().filter(|(hash, _)| {
            let named = self.deciding.named.get(*hash);
            named.is_some_and(|named| {
                named
                    .iter()
                    .any(|named| !self.deciding.told.contains(&(**hash, *named)))
            })
        });
        let horizon = self.now.wall.plus(self.settings.drift_ms);
        let waits = untold
            .map(|(_, block)| block.header.time)
            .filter(|time| *time > horizon);
        waits.map(|time| self.now.mono_ms + time.since(horizon)).min()
    }

    /// Executes a body unless that was done; `None` while batches are missing.
    fn judge(&mut self, hash: Hash, block: &Block) -> Result<Option<bool>, Fatal> {
        if let Some(judged) = self.deciding.judged.get(&hash) {
            return Ok(Some(judged.is_ok()));
        }
        let judged = match self.ledger().inspect(block) {
            Err(invalid) => Err(invalid),
            Ok(()) => {
                let Some(batches) = self.batches_of(block)? else {
                    return Ok(None);
                };
                self.ledger().judge(block, &batches)
            }
        };
        if let Err(invalid) = &judged {
            tracing::warn!(height = %block.header.height, proposer = %block.header.proposer, %invalid, "a block is invalid");
        }
        let valid = judged.is_ok();
        self.deciding.judged.insert(hash, judged);
        Ok(Some(valid))
    }

    /// The batches that a block names, from the pool, from what was fetched, or from the disk.
    fn batches_of(&mut self, block: &Block) -> Result<Option<Vec<Arc<VerifiedBatch>>>, Fatal> {
        let mut batches = Vec::with_capacity(block.body.batches.len());
        for named in &block.body.batches {
            let held = self
                .pool
                .batch(&named.digest)
                .or_else(|| self.deciding.batches.get(&named.digest))
                .cloned();
            let batch = match held {
                Some(batch) => batch,
                None => match self
                    .store
                    .batch(&named.digest)?
                    .and_then(|signed| self.verify(signed))
                {
                    Some(batch) => {
                        self.deciding.batches.insert(named.digest, batch.clone());
                        batch
                    }
                    None => return Ok(None),
                },
            };
            batches.push(batch);
        }
        Ok(Some(batches))
    }

    fn verify(&self, signed: SignedBatch) -> Option<Arc<VerifiedBatch>> {
        let author = self.members().point(&signed.message.author)?;
        let state = self.ledger().state();
        let key = |vehicle| {
            state
                .vehicle(&vehicle)
                .and_then(|vehicle| vehicle.key.verifying_key().ok())
        };
        VerifiedBatch::verify(signed, self.ledger().chain(), author, key, |_| None)
            .ok()
            .map(Arc::new)
    }

    // What the engine wants.

    fn run(&mut self, stepped: Stepped) -> Result<(), Fatal> {
        let mut queue = VecDeque::new();
        self.log(stepped, &mut queue)?;
        let mut finished = false;
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effected::Publish(message) => self.send(Channel::Bft, &message),
                Effected::Schedule(timeout, after) => {
                    let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                    self.timers.retain(|(found, _)| *found != timeout);
                    self.timers
                        .push((timeout, self.now.mono_ms.saturating_add(after)));
                }
                Effected::Cancel(timeout) => self.timers.retain(|(found, _)| *found != timeout),
                Effected::CancelAll => self.timers.clear(),
                Effected::Propose { round } => {
                    let hash = self.propose(round)?;
                    let stepped = self.engine.propose(self.next(), round, hash)?;
                    self.log(stepped, &mut queue)?;
                }
                Effected::ProposeAgain { round, value } => {
                    if let Some(block) = self.deciding.bodies.get(&value).cloned() {
                        let body = ProposedBody {
                            round,
                            block: (*block).clone(),
                        };
                        self.send(Channel::Body, &PeerMessage::Body(body));
                    }
                }
                Effected::CertificateGood {
                    round,
                    proposer,
                    value,
                } => {
                    let Some(block) = self.deciding.bodies.get(&value).cloned() else {
                        continue;
                    };
                    match self.judge(value, &block)? {
                        None => continue,
                        Some(true) => {}
                        Some(false) => return Err(self.diverged(value)),
                    }
                    self.store.write(&[Write::Body(value, (*block).clone())], false)?;
                    let stepped = self.engine.judged(Verdict {
                        height: self.next(),
                        round,
                        valid_round: None,
                        proposer,
                        value,
                        valid: true,
                        fetched: true,
                    })?;
                    self.log(stepped, &mut queue)?;
                }
                Effected::CertificateBad => {
                    tracing::warn!(height = %self.next(), "a fetched certificate is refused")
                }
                Effected::Decided(certificate) => self.commit(certificate)?,
                Effected::Equivocated(address) => {
                    tracing::warn!(member = %address, "a member signed two different things");
                    self.outputs.push(Output::Equivocated(address));
                }
                Effected::Finished => finished = true,
            }
        }
        if finished {
            // Only now: what stood behind in the list belonged to the finished height.
            self.timers.clear();
            let earliest = self.started_ms.saturating_add(self.settings.block_interval_ms);
            self.rest(if self.catching_up {
                self.now.mono_ms
            } else {
                earliest
            });
        }
        Ok(())
    }

    /// Makes what a step logged durable before anything that follows from it can leave.
    fn log(&mut self, stepped: Stepped, queue: &mut VecDeque<Effected>) -> Result<(), Fatal> {
        let leaves = stepped.effects.iter().any(|effect| {
            matches!(
                effect,
                Effected::Publish(_) | Effected::Decided(_) | Effected::ProposeAgain { .. }
            )
        });
        self.unsynced |= !stepped.log.is_empty();
        if self.unsynced {
            let height = self.next();
            let first = self.log_index;
            let writes: Vec<Write> = (first..)
                .zip(&stepped.log)
                .map(|(index, entry)| Write::Log(height, index, encode(entry)))
                .collect();
            self.log_index = first.saturating_add(u32::try_from(writes.len()).unwrap_or(u32::MAX));
            self.store.write(&writes, leaves)?;
            self.unsynced = !leaves;
        }
        queue.extend(stepped.effects);
        Ok(())
    }

    /// The block that this member proposes in a round: once built, always the same.
    fn propose(&mut self, round: u32) -> Result<Hash, Fatal> {
        let height = self.next();
        let known = match self.store.own(height, round)? {
            Some(hash) => self.store.body(&hash)?.map(|block| (hash, block)),
            None => None,
        };
        let (hash, block) = match known {
            Some(known) => known,
            None => {
                let contents = self
                    .pool
                    .contents(self.members(), |sender| self.next_nonce(sender));
                let (block, executed) = self
                    .ledger()
                    .build(self.me, self.now.wall, &contents)
                    .map_err(|why| Fatal::Broken { height, why })?;
                let hash = block.hash();
                self.store.write(
                    &[Write::Body(hash, block.clone()), Write::Own(height, round, hash)],
                    false,
                )?;
                self.unsynced = true;
                self.deciding.judged.insert(hash, Ok(executed));
                (hash, block)
            }
        };
        self.deciding.bodies.insert(hash, Arc::new(block.clone()));
        self.send(Channel::Body, &PeerMessage::Body(ProposedBody { round, block }));
        Ok(hash)
    }

    fn diverged(&mut self, hash: Hash) -> Fatal {
        let why = match self.deciding.judged.remove(&hash) {
            Some(Err(why)) => why,
            _ => Invalid::Body("its body or its batches are not at hand".into()),
        };
        Fatal::Diverged {
            height: self.next(),
            why,
        }
    }

    fn commit(&mut self, certificate: Certificate) -> Result<(), Fatal> {
        let hash = certificate.block;
        let block = match self.deciding.bodies.get(&hash) {
            Some(block) => block.clone(),
            None => match self.store.body(&hash)? {
                Some(block) => Arc::new(block),
                None => return Err(self.diverged(hash)),
            },
        };
        if self.judge(hash, &block)? != Some(true) {
            return Err(self.diverged(hash));
        }
        let (Some(Ok(executed)), Some(batches)) =
            (self.deciding.judged.remove(&hash), self.batches_of(&block)?)
        else {
            return Err(self.diverged(hash));
        };
        let signed: Vec<&SignedBatch> = batches.iter().map(|batch| batch.signed()).collect();
        self.store.commit(&Commit {
            block: &block,
            certificate: &certificate,
            batches: &signed,
            outputs: &executed.outputs,
            tree: &executed.tree_changes,
            open: &executed.open_changes,
        })?;

        // Executions of this height's other bodies share the old state, and so must go before the step.
        let held = std::mem::take(&mut self.deciding.held);
        self.deciding = Deciding::default();
        self.deciding.held = held
            .into_iter()
            .filter(|(_, held)| held.header.height > block.header.height)
            .collect();
        let outputs = executed.outputs.clone();
        let ledger = self.ledger().advance(&block, executed);
        let view = View::after(
            ledger,
            self.view.genesis_hash(),
            block.clone(),
            certificate,
            outputs,
            batches,
        );
        self.view = Arc::new(view);
        self.log_index = 0;
        self.unsynced = false;
        self.fetching = None;
        let view = self.view.clone();
        let next_nonce = |sender: &Address| view.state().account(sender).nonce;
        self.pool.committed(&block.body, next_nonce);
        self.broadcast_status();
        self.outputs.push(Output::Committed(view.clone()));
        Ok(())
    }
}
