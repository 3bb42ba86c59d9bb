//! What waits to be in a block?
//!
//! Batches that members acknowledged, and transactions. Both are bounded and refuse the newest when full: what
//! is refused is offered again by whom it concerns. A batch is ready when members with more than two thirds of
//! the power say that they hold it, so that a proposer never waits for one that only its author has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use milepost_wire::transaction::Transaction;
use milepost_wire::{Address, Body, Hash, Members, Verified, encode};

use crate::batch::VerifiedBatch;
use crate::ledger::{Contents, REPORTS_MAX};

/// Batches and transactions that are not in a block yet.
#[derive(Debug, Default)]
pub struct Pool {
    batches: BTreeMap<Hash, Arc<VerifiedBatch>>,
    /// In the order of arrival, each with how many blocks there had been.
    arrived: VecDeque<(Hash, u64)>,
    /// Blocks that were committed since the pool began.
    blocks: u64,
    /// Who holds what; also of batches that have not arrived here.
    acks: BTreeMap<Hash, BTreeSet<Address>>,
    acked: VecDeque<Hash>,
    /// Batches that blocks named lately: they do not come back.
    done: BTreeSet<Hash>,
    done_order: VecDeque<Hash>,
    transactions: BTreeMap<(Address, u64), Verified<Transaction>>,
}

/// The pool is full, or the sender has as much waiting as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pool is full")]
pub struct Full;

impl Pool {
    /// The most batches that wait: two minutes of four units at ten a second.
    pub const BATCHES_MAX: usize = 4800;
    /// The most transactions that wait.
    pub const TRANSACTIONS_MAX: usize = 8192;
    /// The most transactions of one sender that wait.
    pub const TRANSACTIONS_OF_ONE_MAX: usize = 16;
    /// A batch that no block named after so many blocks is given up: whoever wants it in the ledger sends it again.
    pub const WAITING_BLOCKS_MAX: u64 = 1_000;
    /// The most digests whose acknowledgements, or whose being done, are remembered.
    const REMEMBERED_MAX: usize = 16_384;

    /// Takes a batch; says whether it is new.
    ///
    /// # Errors
    ///
    /// [`Full`].
    pub fn add_batch(&mut self, batch: Arc<VerifiedBatch>) -> Result<bool, Full> {
        let digest = batch.digest();
        if self.batches.contains_key(&digest) || self.done.contains(&digest) {
            return Ok(false);
        }
        if self.batches.len() >= Self::BATCHES_MAX {
            return Err(Full);
        }
        self.batches.insert(digest, batch);
        self.arrived.push_back((digest, self.blocks));
        Ok(true)
    }

    /// Notes that `member` holds a batch.
    pub fn ack(&mut self, digest: Hash, member: Address) {
        if self.done.contains(&digest) {
            return;
        }
        if !self.acks.contains_key(&digest) {
            self.acked.push_back(digest);
            if self.acked.len() > Self::REMEMBERED_MAX
                && let Some(oldest) = self.acked.pop_front()
            {
                self.acks.remove(&oldest);
            }
        }
        self.acks.entry(digest).or_default().insert(member);
    }

    /// A batch that waits.
    pub fn batch(&self, digest: &Hash) -> Option<&Arc<VerifiedBatch>> {
        self.batches.get(digest)
    }

    /// Takes a transaction whose nonce is not used up, where `next_nonce` is the sender's next.
    ///
    /// # Errors
    ///
    /// [`Full`].
    pub fn add_transaction(
        &mut self,
        sender: Address,
        next_nonce: u64,
        transaction: Verified<Transaction>,
    ) -> Result<(), Full> {
        let waiting = self.transactions.range((sender, 0)..=(sender, u64::MAX)).count();
        let reach = next_nonce.saturating_add(Self::TRANSACTIONS_OF_ONE_MAX as u64);
        if waiting >= Self::TRANSACTIONS_OF_ONE_MAX
            || self.transactions.len() >= Self::TRANSACTIONS_MAX
            || !(next_nonce..reach).contains(&transaction.nonce)
        {
            return Err(Full);
        }
        self.transactions
            .entry((sender, transaction.nonce))
            .or_insert(transaction);
        Ok(())
    }

    /// Whether a block could hold something.
    pub fn has_content(&self, members: &Members) -> bool {
        !self.transactions.is_empty() || self.ready(members).next().is_some()
    }

    /// What the next block shall hold, oldest first, within a block's bounds. `next_nonce` gives a sender's next
    /// nonce.
    pub fn contents(&self, members: &Members, next_nonce: impl Fn(&Address) -> u64) -> Contents {
        let mut contents = Contents::default();
        let mut reports = 0;
        for batch in self.ready(members) {
            reports += batch.reports().len();
            if contents.batches.len() == Body::BATCHES_MAX || reports > REPORTS_MAX {
                break;
            }
            contents.batches.push(batch.clone());
        }
        let mut expected: Option<(Address, u64)> = None;
        let mut bytes = 0;
        for ((sender, nonce), transaction) in &self.transactions {
            let next = match expected {
                Some((of, next)) if of == *sender => next,
                _ => next_nonce(sender),
            };
            expected = Some((*sender, next));
            let len = encode(transaction.signed()).len();
            let fits = contents.transactions.len() < Body::TRANSACTIONS_MAX
                && bytes + len <= Body::TRANSACTIONS_LEN_MAX;
            if *nonce == next && fits {
                bytes += len;
                contents.transactions.push(transaction.clone());
                expected = Some((*sender, next + 1));
            }
        }
        contents
    }

    /// Forgets what a decided block holds, done or refused, batches that waited for too many, and transactions whose
    /// nonce has passed.
    pub fn committed(&mut self, body: &Body, next_nonce: impl Fn(&Address) -> u64) {
        for batch in &body.batches {
            self.batches.remove(&batch.digest);
            self.acks.remove(&batch.digest);
            if self.done.insert(batch.digest) {
                self.done_order.push_back(batch.digest);
            }
        }
        while self.done_order.len() > Self::REMEMBERED_MAX {
            if let Some(oldest) = self.done_order.pop_front() {
                self.done.remove(&oldest);
            }
        }
        self.blocks += 1;
        while let Some((digest, at)) = self.arrived.front()
            && self.blocks - at > Self::WAITING_BLOCKS_MAX
        {
            self.batches.remove(digest);
            self.arrived.pop_front();
        }
        self.arrived
            .retain(|(digest, _)| self.batches.contains_key(digest));
        self.acked.retain(|digest| self.acks.contains_key(digest));
        // What the ledger refused has had its turn too, though its nonce is free: it must not come block after block.
        let executed: BTreeSet<_> = body
            .transactions
            .iter()
            .map(|signed| (signed.message.from, signed.message.nonce))
            .collect();
        self.transactions.retain(|(sender, nonce), waiting| {
            *nonce >= next_nonce(sender) && !executed.contains(&(waiting.from, *nonce))
        });
    }

    /// The batches of `author` that too few hold yet, oldest first.
    pub fn unready_of(&self, author: &Address, members: &Members) -> Vec<Arc<VerifiedBatch>> {
        let own = self
            .arrived
            .iter()
            .filter_map(|(digest, _)| self.batches.get(digest))
            .filter(|batch| batch.author() == *author);
        own.filter(|batch| !self.is_ready(&batch.digest(), members))
            .cloned()
            .collect()
    }

    fn is_ready(&self, digest: &Hash, members: &Members) -> bool {
        let holders = self.acks.get(digest).into_iter().flatten();
        members.is_quorum(
            holders
                .filter_map(|member| Some(members.get(member)?.power))
                .sum(),
        )
    }

    /// Batches that a quorum holds, in the order of arrival.
    fn ready(&self, members: &Members) -> impl Iterator<Item = &Arc<VerifiedBatch>> {
        let ready = self
            .arrived
            .iter()
            .filter(move |(digest, _)| self.is_ready(digest, members));
        ready.filter_map(|(digest, _)| self.batches.get(digest))
    }
}
