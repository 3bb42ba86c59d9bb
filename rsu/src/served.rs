//! What does the unit tell whoever asks?
//!
//! Everything that the HTTP API and the zenoh queries answer from: the newest ledger, the store, the two
//! pictures, what was counted, and what speaks against vehicles. [`crate::run`] keeps it up to date; nothing here waits for anything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use milepost_incentives::Genesis;
use milepost_node::View;
use milepost_node::shell::Counters;
use milepost_node::store::{Rocks, Store, StoreError};
use milepost_node::view::light_block;
use milepost_wire::light::LightBlock;
use milepost_wire::output::Estimate;
use milepost_wire::transaction::Transaction;
use milepost_wire::{Access, Address, Height, KeyId, Output, SignedTransaction, Timestamp, Verified};
use tokio::sync::{mpsc, watch};

use crate::ear::Evidence;
use crate::finality::Finality;
use crate::picture::Picture;
use crate::slots::Slots;
use crate::unit::Counts;

/// Transactions that wait to be handed to the ledger.
pub const TRANSACTIONS_MAX: usize = 1024;

/// What is served.
pub struct Served {
    /// The chain's beginning.
    pub genesis: Genesis,
    /// This unit.
    pub me: Address,
    /// The ledger's blocks.
    pub store: Rocks,
    /// Whether strangers can link to this unit.
    open_links: bool,
    views: watch::Receiver<Arc<View>>,
    transactions: mpsc::Sender<Taken>,
    settled: Mutex<Picture>,
    live: Mutex<Picture>,
    readings: Mutex<Readings>,
    evidence: Mutex<VecDeque<Evidence>>,
    evidence_max: usize,
}

/// What the running unit shows of itself.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    /// The other members that are present.
    pub peers: Vec<Address>,
    /// What was heard.
    pub counts: Counts,
    /// Messages that were dropped because the unit was busy.
    pub overrun: u64,
    /// Reports that wait for a batch.
    pub queued: usize,
    /// How long it takes until a report is final.
    pub finality: Finality,
    /// How the ledger node stands.
    pub node: milepost_node::Readings,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// Units that are present and speak another protocol.
    pub strangers: usize,
    /// Answers of the API that the disk could not give.
    pub store_errors: u64,
}

/// A transaction on its way to the ledger.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Its signature was checked.
    pub transaction: Verified<Transaction>,
    /// How it came.
    pub origin: Origin,
}

/// How a transaction came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Over zenoh: every unit has it.
    Air,
    /// Over this unit's API: the others must be told, since any of them may make the next block.
    Api,
}

/// Why a transaction is not handed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Its sender's key is none.
    #[error(transparent)]
    Key(#[from] milepost_wire::identity::KeyError),
    /// Somebody else signed it, or nobody, or for another chain.
    #[error("the transaction is not signed by {sender} for the chain {chain}")]
    Signature {
        /// Whose it says it is.
        sender: Address,
        /// This chain.
        chain: milepost_wire::ChainId,
    },
    /// Too many wait already.
    #[error("{TRANSACTIONS_MAX} transactions wait already; try again in a moment")]
    Busy,
}

impl Served {
    /// What a unit serves, beginning with the picture that its store has.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn new(
        genesis: Genesis,
        me: Address,
        store: Rocks,
        views: watch::Receiver<Arc<View>>,
        transactions: mpsc::Sender<Taken>,
    ) -> Result<Self, StoreError> {
        let settled = stored_picture(&store)?;
        Ok(Self {
            genesis,
            me,
            store,
            open_links: false,
            views,
            transactions,
            settled: Mutex::new(settled),
            live: Mutex::default(),
            readings: Mutex::default(),
            evidence: Mutex::default(),
            evidence_max: crate::ear::Limits::default().evidence_max,
        })
    }

    /// The same, keeping so many implausible reports.
    #[must_use]
    pub fn with_evidence(self, evidence_max: usize) -> Self {
        Self { evidence_max, ..self }
    }

    /// The same over links that strangers can have.
    #[must_use]
    pub fn over_open_links(self, open_links: bool) -> Self {
        Self { open_links, ..self }
    }

    /// Whether what the road is like may leave over links: a private chain tells it over closed ones alone.
    pub fn may_publish(&self) -> bool {
        !self.open_links || self.view().state().charter().access != Access::Private
    }

    /// The newest ledger.
    pub fn view(&self) -> Arc<View> {
        self.views.borrow().clone()
    }

    /// A block with its members, for who follows the chain by certificates.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn light_block(&self, height: Height) -> Result<Option<LightBlock>, StoreError> {
        // What is above the tip is being fetched, and not decided here.
        if height > self.view().height() {
            return Ok(None);
        }
        light_block(&self.store, &self.genesis.members, height)
    }

    /// When the chain's slots begin.
    pub fn slots(&self) -> Slots {
        Slots {
            genesis: self.genesis.time,
            slot_ms: self.genesis.params.slot_ms,
        }
    }

    /// Takes the estimates of a committed block.
    pub fn settle(&self, view: &View) {
        let at = view.head().map_or(self.genesis.time, |head| head.header.time);
        put_estimates(&mut lock(&self.settled), view.outputs(), at);
    }

    /// Takes this unit's own word.
    pub fn tell(&self, estimates: &[Estimate], at: Timestamp) {
        let mut live = lock(&self.live);
        for estimate in estimates {
            live.put(*estimate, at);
        }
    }

    /// The final picture.
    pub fn settled(&self) -> MutexGuard<'_, Picture> {
        lock(&self.settled)
    }

    /// This unit's own.
    pub fn live(&self) -> MutexGuard<'_, Picture> {
        lock(&self.live)
    }

    /// What the running unit shows of itself.
    pub fn readings(&self) -> Readings {
        lock(&self.readings).clone()
    }

    /// Changes what the running unit shows of itself.
    pub fn update(&self, change: impl FnOnce(&mut Readings)) {
        change(&mut lock(&self.readings));
    }

    /// Keeps what speaks against vehicles; the oldest leave first.
    pub fn keep(&self, evidence: VecDeque<Evidence>) {
        if evidence.is_empty() {
            return;
        }
        let mut kept = lock(&self.evidence);
        kept.extend(evidence);
        let excess = kept.len().saturating_sub(self.evidence_max);
        kept.drain(..excess);
    }

    /// The newest of what speaks against vehicles, or against one, newest first.
    pub fn evidence(&self, vehicle: Option<KeyId>, limit: usize) -> Vec<Evidence> {
        let kept = lock(&self.evidence);
        let wanted = |evidence: &&Evidence| vehicle.is_none_or(|vehicle| evidence.report.vehicle == vehicle);
        kept.iter().rev().filter(wanted).take(limit).cloned().collect()
    }

    /// Checks a transaction's signature.
    ///
    /// # Errors
    ///
    /// [`NotTaken::Key`], [`NotTaken::Signature`].
    pub fn check_transaction(&self, signed: SignedTransaction) -> Result<Verified<Transaction>, NotTaken> {
        let key = signed.message.from.verifying_key()?;
        signed
            .verify(&self.genesis.chain, &key)
            .map_err(|_| NotTaken::Signature {
                sender: Address::of(&key),
                chain: self.genesis.chain.clone(),
            })
    }

    /// Hands a transaction on.
    ///
    /// # Errors
    ///
    /// [`NotTaken::Busy`].
    pub fn take_transaction(
        &self,
        transaction: Verified<Transaction>,
        origin: Origin,
    ) -> Result<(), NotTaken> {
        let taken = Taken { transaction, origin };
        self.transactions.try_send(taken).map_err(|_| NotTaken::Busy)
    }
}

/// A thread that died with the lock held left at worst a figure less.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn put_estimates<'a>(picture: &mut Picture, outputs: impl IntoIterator<Item = &'a Output>, at: Timestamp) {
    for output in outputs {
        if let Output::Estimate(estimate) = output {
            picture.put(*estimate, at);
        }
    }
}

fn stored_picture(store: &Rocks) -> Result<Picture, StoreError> {
    let mut places: Vec<_> = store.picture()?.into_iter().map(|(_, place)| place).collect();
    places.sort_unstable();
    let mut picture = Picture::default();
    for group in places.chunk_by(|one, other| one.0 == other.0) {
        let height = group[0].0;
        if let (Some((block, _)), Some(outputs)) = (store.block(height)?, store.outputs(height)?) {
            let chosen = group.iter().filter_map(|(_, index)| outputs.get(*index as usize));
            put_estimates(&mut picture, chosen, block.header.time);
        }
    }
    Ok(picture)
}
