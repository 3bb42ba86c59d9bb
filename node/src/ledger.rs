//! What does a block do to the ledger?
//!
//! [`Ledger`] is the state after a block. [`Ledger::build`] makes the next block of given contents,
//! [`Ledger::judge`] says whether somebody else's block is the one that these contents give; both execute the
//! same code, read no clock and leave the ledger as it is. [`Ledger::advance`] takes the step.
//!
//! Whether a block comes too early by one's own clock is not judged here: that is a reason to wait, never a
//! reason to call a block invalid for ever.

use std::collections::BTreeSet;
use std::sync::Arc;

use k256::ecdsa::VerifyingKey;
use milepost_incentives::{BlockInput, Genesis, HeardBatch, LoadError, State, Violation};
use milepost_wire::batch::BatchRef;
use milepost_wire::output::{self, Output};
use milepost_wire::state::StateKey;
use milepost_wire::transaction::Transaction;
use milepost_wire::{
    Address, Block, Body, ChainId, Hash, Header, Height, Members, Timestamp, Verified, tree,
};

use crate::batch::VerifiedBatch;
use crate::store::Loaded;
use crate::tree::Tree;

/// The most reports that one block executes.
pub const REPORTS_MAX: usize = 8192;

/// The ledger after a block.
#[derive(Clone)]
pub struct Ledger {
    chain: ChainId,
    /// Who votes on the block after the next.
    following: Members,
    state: State,
    tree: Tree,
    height: Height,
    time: Timestamp,
    /// The newest block; before the first, the genesis.
    tip: Hash,
}

/// What goes into a block, all of it verified.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// In the order in which they are executed.
    pub transactions: Vec<Verified<Transaction>>,
    /// In the order in which they are executed.
    pub batches: Vec<Arc<VerifiedBatch>>,
}

/// What executing a block gave.
#[derive(Clone)]
pub struct Executed {
    state: State,
    tree: Tree,
    /// Estimates, receipts, scores, payments.
    pub outputs: Vec<Output>,
    /// What changed in the authenticated state.
    pub tree_changes: Vec<(StateKey, Option<Vec<u8>>)>,
    /// What changed in the short-lived state.
    pub open_changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    state_root: Hash,
    outputs_root: Hash,
}

/// Why a block is not the next one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A header field is not what it must be.
    #[error("the header's {field} is {found}, expected {expected}")]
    Header {
        /// Which field.
        field: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Its time is not after its parent's.
    #[error("its time {time:?} is not after its parent's {parent:?}")]
    Time {
        /// The block's.
        time: Timestamp,
        /// The parent's.
        parent: Timestamp,
    },
    /// More than a block may hold, or a batch twice.
    #[error("{0}")]
    Body(String),
    /// The rules were broken: our own bug, found before it did harm.
    #[error("executing it breaks an invariant: {0}")]
    Violation(#[from] Violation),
}

impl Ledger {
    /// The ledger before its first block.
    pub fn genesis(genesis: &Genesis) -> Self {
        let mut state = State::genesis(genesis);
        state.seal();
        Self {
            chain: genesis.chain.clone(),
            following: state.members_at(Height(2)),
            tree: tree_of(&state),
            state,
            height: Height::ZERO,
            time: genesis.time,
            tip: genesis.hash(),
        }
    }

    /// The ledger as the store has it. The state that is loaded must be the one that the newest block commits
    /// to.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub fn load(genesis: &Genesis, loaded: &Loaded) -> Result<Self, LedgerError> {
        match &loaded.tip {
            None => Ok(Self::genesis(genesis)),
            Some(head) => Self::restore(
                genesis,
                &head.header,
                loaded.tree.iter().cloned(),
                loaded.open.iter().cloned(),
            ),
        }
    }

    /// The ledger after the block of `header`, from all entries of its state, which must be the one that the header
    /// commits to.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub fn restore(
        genesis: &Genesis,
        header: &Header,
        tree: impl Iterator<Item = (StateKey, Vec<u8>)>,
        open: impl Iterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Result<Self, LedgerError> {
        let mut state = State::load(genesis, tree, open)?;
        state.seal();
        let ledger = Self {
            chain: genesis.chain.clone(),
            following: state.members_at(header.height.next().next()),
            tree: tree_of(&state),
            state,
            height: header.height,
            time: header.time,
            tip: header.hash(),
        };
        let (expected, found) = (header.state_root, ledger.state_root());
        if expected != found {
            return Err(LedgerError::StateRoot {
                height: ledger.height,
                expected,
                found,
            });
        }
        Ok(ledger)
    }

    /// How many blocks were executed.
    pub fn height(&self) -> Height {
        self.height
    }

    /// The newest block's time; before the first, the genesis'.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// The newest block; before the first, the genesis.
    pub fn tip(&self) -> Hash {
        self.tip
    }

    /// Which ledger this is.
    pub fn chain(&self) -> &ChainId {
        &self.chain
    }

    /// Who votes on the next block.
    pub fn members(&self) -> &Members {
        self.state.members()
    }

    /// The curve point of whoever may author batches: a member, or a listening unit of one. Cost for a unit: a square root.
    pub fn author(&self, author: &Address) -> Option<VerifyingKey> {
        if let Some(point) = self.members().point(author) {
            return Some(*point);
        }
        self.state.provider(author)?;
        self.state.unit(author)?.key.verifying_key().ok()
    }

    /// Who votes on the block after the next one. Already certain: what the next block decides takes force later.
    pub fn following(&self) -> &Members {
        &self.following
    }

    /// Whom the next block gives the vote to, where that changes.
    pub fn changed_members(&self) -> Option<&Members> {
        (self.following != *self.members()).then_some(&self.following)
    }

    /// What the rules have come to.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The authenticated tree over the state.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What the next certificate will have to commit to, were the block empty of changes.
    pub fn state_root(&self) -> Hash {
        tree::state_root(&self.tree.root(), &self.state.open_root())
    }

    /// Makes the next block.
    ///
    /// # Errors
    ///
    /// [`Invalid::Violation`] where executing the contents breaks an invariant.
    pub fn build(
        &self,
        proposer: Address,
        now: Timestamp,
        contents: &Contents,
    ) -> Result<(Block, Executed), Invalid> {
        let time = now.max(self.time.plus(1));
        let executed = self.execute(time, contents)?;
        let body = Body {
            transactions: contents
                .transactions
                .iter()
                .map(|transaction| transaction.signed().clone())
                .collect(),
            batches: contents.batches.iter().map(|batch| reference(batch)).collect(),
        };
        let header = Header {
            version: Header::VERSION,
            chain: self.chain.clone(),
            height: self.height.next(),
            time,
            proposer,
            parent: self.tip,
            transactions_root: body.transactions_root(),
            batches_root: body.batches_root(),
            outputs_root: executed.outputs_root,
            state_root: executed.state_root,
            members_hash: self.members().hash(),
            next_members_hash: self.following.hash(),
        };
        Ok((Block { header, body }, executed))
    }

    /// Checks what can be told of a block without its batches, cheaply.
    ///
    /// # Errors
    ///
    /// [`Invalid`].
    pub fn inspect(&self, block: &Block) -> Result<(), Invalid> {
        let header = &block.header;
        equal("version", &Header::VERSION, &header.version)?;
        equal("chain", &self.chain, &header.chain)?;
        equal("height", &self.height.next(), &header.height)?;
        equal("parent", &self.tip, &header.parent)?;
        equal("members", &self.members().hash(), &header.members_hash)?;
        equal("next members", &self.following.hash(), &header.next_members_hash)?;
        if self.members().get(&header.proposer).is_none() {
            return Err(Invalid::Body(format!(
                "its proposer {} is no member",
                header.proposer
            )));
        }
        if header.time <= self.time {
            return Err(Invalid::Time {
                time: header.time,
                parent: self.time,
            });
        }
        let Body {
            transactions,
            batches,
        } = &block.body;
        if transactions.len() > Body::TRANSACTIONS_MAX || batches.len() > Body::BATCHES_MAX {
            let (transactions, batches) = (transactions.len(), batches.len());
            return Err(Invalid::Body(format!(
                "it holds {transactions} transactions and {batches} batches"
            )));
        }
        let mut seen = BTreeSet::new();
        for batch in batches {
            if !seen.insert(batch.digest) {
                return Err(Invalid::Body(format!(
                    "it names the batch {} twice",
                    batch.digest
                )));
            }
            if self.state.provider(&batch.author).is_none() {
                return Err(Invalid::Body(format!(
                    "the author {} of a batch is neither a member nor a member's unit",
                    batch.author
                )));
            }
        }
        equal(
            "transactions root",
            &block.body.transactions_root(),
            &header.transactions_root,
        )?;
        equal("batches root", &block.body.batches_root(), &header.batches_root)
    }

    /// Checks a block whose batches are at hand, by executing it.
    ///
    /// # Errors
    ///
    /// [`Invalid`].
    pub fn judge(&self, block: &Block, batches: &[Arc<VerifiedBatch>]) -> Result<Executed, Invalid> {
        self.inspect(block)?;
        if !block
            .body
            .batches
            .iter()
            .copied()
            .eq(batches.iter().map(|batch| reference(batch)))
        {
            return Err(Invalid::Body(
                "the batches at hand are not the ones that it names".into(),
            ));
        }
        let reports: usize = batches.iter().map(|batch| batch.reports().len()).sum();
        if reports > REPORTS_MAX {
            return Err(Invalid::Body(format!(
                "it executes {reports} reports, more than {REPORTS_MAX}"
            )));
        }
        let mut transactions = Vec::with_capacity(block.body.transactions.len());
        for signed in &block.body.transactions {
            let verified = signed
                .message
                .from
                .verifying_key()
                .ok()
                .and_then(|key| signed.clone().verify(&self.chain, &key).ok())
                .ok_or_else(|| {
                    Invalid::Body(format!("a transaction of {} is not signed", signed.message.from))
                })?;
            transactions.push(verified);
        }
        let contents = Contents {
            transactions,
            batches: batches.to_vec(),
        };
        let executed = self.execute(block.header.time, &contents)?;
        equal("outputs root", &executed.outputs_root, &block.header.outputs_root)?;
        equal("state root", &executed.state_root, &block.header.state_root)?;
        Ok(executed)
    }

    /// The ledger after `block`, which executing gave `executed`.
    #[must_use]
    pub fn advance(&self, block: &Block, executed: Executed) -> Self {
        let mut state = executed.state;
        state.seal();
        Self {
            chain: self.chain.clone(),
            following: state.members_at(block.header.height.next().next()),
            state,
            tree: executed.tree,
            height: block.header.height,
            time: block.header.time,
            tip: block.hash(),
        }
    }

    fn execute(&self, time: Timestamp, contents: &Contents) -> Result<Executed, Violation> {
        let mut state = self.state.fork();
        let batches: Vec<_> = contents
            .batches
            .iter()
            .map(|batch| HeardBatch {
                author: batch.author(),
                reports: batch.reports(),
            })
            .collect();
        let outputs = state.apply(&BlockInput {
            height: self.height.next(),
            time,
            transactions: &contents.transactions,
            batches: &batches,
        });
        state.check()?;
        let tree_changes = state.tree_changes();
        let keyed: Vec<_> = tree_changes
            .iter()
            .map(|(key, value)| (key.bytes(), value.as_deref()))
            .collect();
        let tree = self
            .tree
            .update(keyed.iter().map(|(key, value)| (key.as_slice(), *value)));
        let state_root = tree::state_root(&tree.root(), &state.open_root());
        let outputs_root = output::root(&outputs);
        let open_changes = state.open_changes();
        // The genesis' own entries reach the store with the first block: until then there is nothing to lose.
        let (tree_changes, open_changes) = match self.height {
            Height::ZERO => (
                state
                    .tree_entries()
                    .map(|(key, value)| (key, Some(value)))
                    .collect(),
                state
                    .open_entries()
                    .map(|(key, value)| (key, Some(value)))
                    .collect(),
            ),
            _ => (tree_changes, open_changes),
        };
        Ok(Executed {
            state,
            tree,
            outputs,
            tree_changes,
            open_changes,
            state_root,
            outputs_root,
        })
    }
}

/// Why a stored ledger cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The stored state does not read.
    #[error("the stored state does not read: {0}")]
    State(#[from] LoadError),
    /// The stored state is not the one that was certified.
    #[error("the stored state has root {found}, block {height} commits to {expected}")]
    StateRoot {
        /// The newest block.
        height: Height,
        /// Its state root.
        expected: Hash,
        /// The root of what is stored.
        found: Hash,
    },
}

/// Whether a header's field is what it must be.
fn equal<T: PartialEq + std::fmt::Display>(
    field: &'static str,
    expected: &T,
    found: &T,
) -> Result<(), Invalid> {
    if expected == found {
        return Ok(());
    }
    Err(Invalid::Header {
        field,
        expected: expected.to_string(),
        found: found.to_string(),
    })
}

fn reference(batch: &VerifiedBatch) -> BatchRef {
    BatchRef {
        digest: batch.digest(),
        author: batch.author(),
    }
}

fn tree_of(state: &State) -> Tree {
    let entries: Vec<_> = state
        .tree_entries()
        .map(|(key, value)| (key.bytes(), value))
        .collect();
    Tree::of(
        entries
            .iter()
            .map(|(key, value)| (key.as_slice(), value.as_slice())),
    )
}
