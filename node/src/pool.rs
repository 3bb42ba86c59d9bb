//! What waits to be in a block?
//!
//! Batches that members acknowledged, and transactions. Both are bounded and refuse the newest when full: what
//! is refused is offered again by whom it concerns. Nobody fills it: batches are bounded for each provider, its units
//! included, and transactions for each sender. A batch is ready when members with more than two thirds of
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
    batches: BTreeMap<Hash, Waiting>,
    /// How many of them are whose.
    of_providers: BTreeMap<Address, usize>,
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

/// A batch, and whose it counts as.
#[derive(Debug)]
struct Waiting {
    provider: Address,
    batch: Arc<VerifiedBatch>,
}

/// The pool is full, or the sender has as much waiting as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pool is full")]
pub struct Full;

impl Pool {
    /// The most batches that wait: two minutes of four units at ten a second.
    pub const BATCHES_MAX: usize = 4800;
    /// The most batches of one provider that wait: whoever sends more keeps nobody else's out.
    pub const BATCHES_OF_ONE_MAX: usize = Self::BATCHES_MAX / 4;
    /// The most transactions that wait.
    pub const TRANSACTIONS_MAX: usize = 8192;
    /// The most transactions of one sender that wait.
    pub const TRANSACTIONS_OF_ONE_MAX: usize = 16;
    /// A batch that no block named after so many blocks is given up: whoever wants it in the ledger sends it again.
    pub const WAITING_BLOCKS_MAX: u64 = 1_000;
    /// The most digests whose acknowledgements, or whose being done, are remembered.
    const REMEMBERED_MAX: usize = 16_384;

    /// Takes a batch that counts as `provider`'s; says whether it is new.
    ///
    /// # Errors
    ///
    /// [`Full`], for all or for this provider.
    pub fn add_batch(&mut self, provider: Address, batch: Arc<VerifiedBatch>) -> Result<bool, Full> {
        let digest = batch.digest();
        if self.batches.contains_key(&digest) || self.done.contains(&digest) {
            return Ok(false);
        }
        let of_one = self.of_providers.get(&provider).copied().unwrap_or(0);
        if self.batches.len() >= Self::BATCHES_MAX || of_one >= Self::BATCHES_OF_ONE_MAX {
            return Err(Full);
        }
        self.batches.insert(digest, Waiting { provider, batch });
        self.of_providers.insert(provider, of_one + 1);
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

    /// How many batches wait.
    pub fn batches_waiting(&self) -> usize {
        self.batches.len()
    }

    /// How many transactions wait.
    pub fn transactions_waiting(&self) -> usize {
        self.transactions.len()
    }

    /// A batch that waits.
    pub fn batch(&self, digest: &Hash) -> Option<&Arc<VerifiedBatch>> {
        self.batches.get(digest).map(|waiting| &waiting.batch)
    }

    fn remove_batch(&mut self, digest: &Hash) {
        let Some(Waiting { provider, .. }) = self.batches.remove(digest) else {
            return;
        };
        if let Some(left) = self.of_providers.get_mut(&provider) {
            *left -= 1;
            if *left == 0 {
                self.of_providers.remove(&provider);
            }
        }
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

    /// Forgets what a decided block holds, done or refused, batches that waited for too many, and those of authors that no
    /// longer `count`: a block must not name them. And transactions whose nonce has passed.
    pub fn committed(
        &mut self,
        body: &Body,
        next_nonce: impl Fn(&Address) -> u64,
        counts: impl Fn(&Address) -> bool,
    ) {
        for batch in &body.batches {
            self.remove_batch(&batch.digest);
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
        while let Some(&(digest, at)) = self.arrived.front()
            && self.blocks - at > Self::WAITING_BLOCKS_MAX
        {
            self.remove_batch(&digest);
            self.arrived.pop_front();
        }
        let strange = self.batches.iter();
        let strange = strange.filter(|(_, waiting)| !counts(&waiting.batch.author()));
        for digest in strange.map(|(digest, _)| *digest).collect::<Vec<_>>() {
            self.remove_batch(&digest);
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
            .filter_map(|(digest, _)| self.batch(digest))
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
        ready.filter_map(|(digest, _)| self.batch(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use milepost_wire::{Cell, ChainId, Heading, KeyId, Measure, Observation, Place, Report, Sequence};
    use milepost_wire::{SecretKey, Signed, Speed, Timestamp};

    fn batch(author: &SecretKey, sequence: u64) -> Arc<VerifiedBatch> {
        let (chain, key) = (
            ChainId::new("pool").expect("an id"),
            SecretKey::from_seed("vehicle", 0),
        );
        let place = Place::from_degrees(44.494, 11.343).expect("on the globe");
        let seen = Observation {
            cell: Cell::at(place, Heading::UNAVAILABLE),
            place,
            heading: Heading::UNAVAILABLE,
            age_ms: 0,
            measure: Measure::Speed(Speed::from_cm_per_s(1_000).expect("a speed")),
        };
        let at = Timestamp::from_millis(700_000_000_000);
        let report = Report {
            version: Report::VERSION,
            vehicle: KeyId::default(),
            sequence: Sequence(sequence),
            sent_at: at,
            observations: vec![seen],
        };
        let reports = vec![Signed::sign(report, &chain, &key)];
        Arc::new(VerifiedBatch::own(
            author,
            &chain,
            sequence,
            milepost_wire::Height::ZERO,
            at,
            reports,
        ))
    }

    #[test]
    fn one_provider_with_all_its_units_leaves_room_for_the_others() {
        let [loud, unit, other] = [0, 1, 2].map(|seed| SecretKey::from_seed("author", seed));
        let mut pool = Pool::default();
        let taken = (0..Pool::BATCHES_OF_ONE_MAX as u64 + 10)
            .filter(|&nth| {
                let author = if nth % 2 == 0 { &loud } else { &unit };
                pool.add_batch(loud.address(), batch(author, nth)).is_ok()
            })
            .count();
        assert_eq!(taken, Pool::BATCHES_OF_ONE_MAX);
        assert_eq!(pool.add_batch(other.address(), batch(&other, 0)), Ok(true));

        // What a block took makes room.
        let named = batch(&loud, 0);
        let body = Body {
            transactions: Vec::new(),
            batches: vec![milepost_wire::batch::BatchRef {
                digest: named.digest(),
                author: named.author(),
            }],
        };
        assert_eq!(pool.add_batch(loud.address(), batch(&loud, 100_000)), Err(Full));
        pool.committed(&body, |_| 0, |_| true);
        assert_eq!(pool.add_batch(loud.address(), batch(&loud, 100_000)), Ok(true));
        assert_eq!(
            pool.add_batch(loud.address(), named),
            Ok(false),
            "it was in a block"
        );
    }

    #[test]
    fn batches_of_whom_nobody_answers_for_any_more_leave() {
        let (key, gone) = (
            SecretKey::from_seed("author", 0),
            SecretKey::from_seed("author", 1),
        );
        let mut pool = Pool::default();
        for author in [&key, &gone] {
            assert_eq!(pool.add_batch(key.address(), batch(author, 1)), Ok(true));
        }
        pool.committed(&Body::default(), |_| 0, |author| *author != gone.address());
        assert!(pool.batch(&batch(&key, 1).digest()).is_some());
        assert!(pool.batch(&batch(&gone, 1).digest()).is_none());
    }
}
