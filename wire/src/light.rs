//! Which block can be believed, by someone who was away?
//!
//! In: [`LightBlock`]s from anyone, and the time. Out: which of them are certified by members that descend from those
//! trusted before, or which block is needed next in order to tell, or why not. No IO: who asks for blocks is the
//! shell's matter.
//!
//! Skipping verification (Braithwaite et al., *Formal specification and model checking of the Tendermint
//! blockchain synchronization protocol*, 2020; CometBFT's light client): a block far ahead is believed where more than
//! two thirds of its own members signed it, and among the signers are more than a third of the power that was to vote
//! after the trusted block: at least one of them is honest, and would sign on no other chain. Otherwise the block half
//! way is needed first. Of two neighbours, the lower one names the upper one's members, and there is nothing to
//! skip.
//!
//! Downwards the same: figures and payments stand under old heads, and an old block that more than a third of the power
//! trusted today signed is one that an honest member signed. Nothing is skipped downwards in several steps.
//!
//! That holds only as long as the members of the trusted block can be held to account. So a trusted block older than
//! [`Bounds::trust_period_ms`] is believed no more, and a fresh one must come from the vehicle's owner. Byte by
//! byte: `docs/light-client.md`. Why so: docs/adr/0014-light-client.md.
//!
//! Several may tell different things of one height: all that agree with themselves wait together, and what proves to be
//! forged is dropped. So whoever lies about a block on the way costs a few questions, and nothing else.
//!
//! Bounded: at most [`CHECKPOINTS_MAX`] trusted blocks, and [`ALTERNATIVES_MAX`] blocks that wait for each halving of
//! the way.

use std::collections::BTreeMap;

use wincode::{SchemaRead, SchemaWrite};

use crate::certificate::{CertificateError, Head};
use crate::codec::Message;
use crate::member::MembersError;
use crate::{Consortium, Hash, Height, Member, Members, Timestamp};

/// Trusted blocks that are kept, for the proofs of heights between them.
pub const CHECKPOINTS_MAX: usize = 16;
/// Blocks that are told of one height and wait.
pub const ALTERNATIVES_MAX: usize = 8;
/// Heads move trust on once they are newer than what is trusted by this part of the trust period: often enough that
/// trust does not run out, and seldom enough that the disk on which it is kept does not wear out.
pub const ADVANCE_PART: u64 = 1024;

/// A head, and everything that is needed to go on from it.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct LightBlock {
    /// The header and its certificate.
    pub head: Head,
    /// Who votes on this block, in the order of addresses.
    pub members: Vec<Member>,
    /// Who votes on the next one; empty where it is the same.
    pub next_members: Vec<Member>,
}

impl Message for LightBlock {
    const NAME: &'static str = "light block";
    // A member: key, name of up to 64 characters of 4 bytes, power and a length.
    const LEN_MAX: usize = Head::LEN_MAX + 2 * (8 + Members::COUNT_MAX * (33 + 8 + 256 + 8));
}

/// What time allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// For how long after its block a trusted head is enough to go on from, in ms.
    pub trust_period_ms: u64,
    /// How far a block may lie in the future of the reader's clock, in ms.
    pub drift_max_ms: u64,
}

impl Default for Bounds {
    /// Two weeks, and ten seconds.
    fn default() -> Self {
        Self {
            trust_period_ms: 14 * 24 * 3_600_000,
            drift_max_ms: 10_000,
        }
    }
}

/// Why a block is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LightError {
    /// The certificate vouches for nothing.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The members given can be none.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// Trust has run out.
    #[error(
        "block {trusted} of {at_ms} ms is trusted for {period_ms} ms, and it is {now_ms} ms: a newer trusted block is needed from a source that you trust"
    )]
    Expired {
        /// What was trusted last.
        trusted: Height,
        /// Since when.
        at_ms: u64,
        /// For how long.
        period_ms: u64,
        /// What time it is.
        now_ms: u64,
    },
    /// A block from the future.
    #[error("block {height} of {time_ms} ms lies more than {drift_max_ms} ms ahead of {now_ms} ms")]
    Future {
        /// The block.
        height: Height,
        /// Its time.
        time_ms: u64,
        /// The reader's time.
        now_ms: u64,
        /// How far it may lie ahead.
        drift_max_ms: u64,
    },
    /// Time runs backwards.
    #[error("block {height} of {time_ms} ms is not later than block {below} of {below_ms} ms")]
    NotLater {
        /// The block.
        height: Height,
        /// Its time.
        time_ms: u64,
        /// The block below; one of the two is trusted.
        below: Height,
        /// Its time.
        below_ms: u64,
    },
    /// The block below names other members, or another child.
    #[error(
        "block {height} does not follow from trusted block {trusted}: {what} should be {expected}, and is {found}"
    )]
    NotNext {
        /// The block.
        height: Height,
        /// The trusted block just below.
        trusted: Height,
        /// Which field.
        what: &'static str,
        /// What the trusted block says.
        expected: Hash,
        /// What this one says.
        found: Hash,
    },
    /// Two certified blocks at one height: more than a third of the members lie.
    #[error("two blocks were certified at height {0}: {1} and {2}")]
    Fork(Height, Hash, Hash),
    /// Below everything that is trusted, and signed by others.
    #[error(
        "block {found} lies below {lowest}, the lowest that is trusted, and no more than a third of the power trusted there signed it"
    )]
    Below {
        /// The block.
        found: Height,
        /// The lowest trusted one.
        lowest: Height,
    },
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The block is believed.
    Believed,
    /// The light block at this height is needed first.
    Needs(Height),
}

/// A trusted block: what is needed to go on from it.
#[derive(Clone, Debug)]
struct Checkpoint {
    block: Hash,
    /// The block's time; 0 of genesis, which has none.
    time: Timestamp,
    /// When trust began: the block's time, or when genesis was vouched for.
    since: Timestamp,
    next_members: Members,
    next_members_hash: Hash,
    /// The block itself, for keeping; `None` of genesis.
    whole: Option<Box<LightBlock>>,
}

/// A light block that agrees with itself: its own members certified it.
#[derive(Clone, Debug)]
struct Candidate {
    block: LightBlock,
    next_members: Members,
}

impl Candidate {
    fn height(&self) -> Height {
        self.block.head.header.height
    }
}

/// Follows one chain by certificates alone.
#[derive(Clone, Debug)]
pub struct LightClient {
    consortium: Consortium,
    bounds: Bounds,
    /// Never empty.
    trusted: BTreeMap<Height, Checkpoint>,
    /// Blocks that wait for one below them, highest first; those of one height together, and never none.
    waiting: Vec<Vec<Candidate>>,
}

impl LightClient {
    /// Trusts the first members, for whom somebody vouches `at` this time.
    pub fn new(consortium: Consortium, at: Timestamp, bounds: Bounds) -> Self {
        let genesis = Checkpoint {
            block: consortium.genesis,
            time: Timestamp::from_millis(0),
            since: at,
            next_members: consortium.members.clone(),
            next_members_hash: consortium.members.hash(),
            whole: None,
        };
        Self {
            consortium,
            bounds,
            trusted: BTreeMap::from([(Height::ZERO, genesis)]),
            waiting: Vec::new(),
        }
    }

    /// Trusts a block that was believed before, as kept by the caller, or that somebody vouches for; how old it is counts
    /// from its time.
    ///
    /// # Errors
    ///
    /// [`LightError`], where it does not agree with itself.
    pub fn resume(consortium: Consortium, kept: LightBlock, bounds: Bounds) -> Result<Self, LightError> {
        let mut client = Self::new(consortium, Timestamp::from_millis(0), bounds);
        let candidate = client.candidate(kept)?;
        client.trusted.clear();
        client.trust(candidate);
        Ok(client)
    }

    /// Trusts the first members too, for whom somebody vouched `at` this time: figures stand under blocks that only they
    /// signed. They run out as anything trusted does.
    #[must_use]
    pub fn with_genesis(mut self, at: Timestamp) -> Self {
        let genesis = Self::new(self.consortium.clone(), at, self.bounds);
        self.trusted.extend(genesis.trusted);
        self
    }

    /// What it started from.
    pub fn consortium(&self) -> &Consortium {
        &self.consortium
    }

    /// What time allows.
    pub const fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The highest trusted block.
    pub fn newest(&self) -> (Height, Hash) {
        let (height, checkpoint) = self.newest_checkpoint();
        (height, checkpoint.block)
    }

    /// The highest trusted block with all that is needed to go on from it, for [`LightClient::resume`]; `None` where
    /// that is the genesis.
    pub fn newest_block(&self) -> Option<&LightBlock> {
        self.newest_checkpoint().1.whole.as_deref()
    }

    /// The light block that is needed next for what waits, if anything waits.
    pub fn needed(&self) -> Option<Height> {
        let above = self.waiting.last()?.first()?.height();
        let (below, _) = self.trusted.range(..above).next_back()?;
        Some(Height(below.0 + (above.0 - below.0) / 2))
    }

    /// Forgets what waits.
    pub fn give_up(&mut self) {
        self.waiting.clear();
    }

    /// Who votes after it.
    pub fn members(&self) -> &Members {
        &self.newest_checkpoint().1.next_members
    }

    /// Takes in a block: one that is wanted, or the one that was last said to be needed, or another of the same height.
    ///
    /// # Errors
    ///
    /// [`LightError`], of this block or of those that waited for it: they are dropped. What waits above goes on waiting,
    /// and [`LightClient::needed`] says for which block. What was trusted stays.
    pub fn offer(&mut self, now: Timestamp, block: LightBlock) -> Result<Progress, LightError> {
        let height = block.head.header.height;
        if let Some(known) = self.trusted.get(&height) {
            self.check_same(known, &block.head)?;
            return self.settle(now);
        }
        // What costs nothing comes before signatures.
        self.check_time(now, &block.head)?;
        self.trusted_near(now, height)?;
        let candidate = self.candidate(block)?;
        match self.waiting.last_mut() {
            Some(told) if told.iter().all(|other| other.height() == height) => {
                if told.len() < ALTERNATIVES_MAX && !told.iter().any(|other| other.block == candidate.block) {
                    told.push(candidate);
                }
            }
            _ => {
                if self.needed() != Some(height) {
                    self.waiting.clear();
                }
                self.waiting.push(vec![candidate]);
            }
        }
        self.settle(now)
    }

    /// Takes in a head alone: believed as [`LightClient::judge`] says, and from time to time trust moves on to it.
    ///
    /// # Errors
    ///
    /// [`LightError`].
    pub fn hear(&mut self, now: Timestamp, head: &Head) -> Result<Progress, LightError> {
        let progress = self.judge(now, head)?;
        let (height, newest) = self.newest_checkpoint();
        let header = &head.header;
        let unchanged = [header.members_hash, header.next_members_hash] == [newest.next_members_hash; 2];
        let due = header.time.since(newest.since) >= self.bounds.trust_period_ms / ADVANCE_PART;
        if progress == Progress::Believed && header.height > height && unchanged && due {
            let next_members = newest.next_members.clone();
            let members = next_members.to_vec();
            // Of the heights between the two, the members are the same: the later one will do.
            self.trusted.remove(&height);
            self.trust(Candidate {
                block: LightBlock {
                    head: head.clone(),
                    members,
                    next_members: Vec::new(),
                },
                next_members,
            });
        }
        Ok(progress)
    }

    /// Whether a head alone can be believed: its members are those that voted after a trusted block near it.
    /// Otherwise its light block is needed.
    ///
    /// # Errors
    ///
    /// [`LightError`].
    pub fn judge(&self, now: Timestamp, head: &Head) -> Result<Progress, LightError> {
        let height = head.header.height;
        if let Some(known) = self.trusted.get(&height) {
            self.check_same(known, head)?;
            return Ok(Progress::Believed);
        }
        self.check_time(now, head)?;
        let (at, trusted) = self.trusted_near(now, height)?;
        self.check_follows(at, trusted, head)?;
        if head.header.members_hash != trusted.next_members_hash {
            return Ok(Progress::Needs(height));
        }
        head.verify(&self.consortium.chain, &trusted.next_members)?;
        Ok(Progress::Believed)
    }

    /// Believes what waits, from the lowest up, as far as that goes.
    fn settle(&mut self, now: Timestamp) -> Result<Progress, LightError> {
        while let Some(told) = self.waiting.pop() {
            let (mut open, mut why) = (Vec::new(), None);
            for candidate in told {
                match self.step(now, &candidate) {
                    Ok(true) => self.trust(candidate),
                    Ok(false) => open.push(candidate),
                    Err(error @ LightError::Fork(..)) => return Err(error),
                    Err(error) => why = Some((candidate.height(), error)),
                }
            }
            match (open.first(), why) {
                (Some(candidate), _) if !self.trusted.contains_key(&candidate.height()) => {
                    self.waiting.push(open);
                    return Ok(self.needed().map_or(Progress::Believed, Progress::Needs));
                }
                (None, Some((height, error))) if !self.trusted.contains_key(&height) => return Err(error),
                _ => {}
            }
        }
        Ok(Progress::Believed)
    }

    /// Whether a block that agrees with itself can be believed now, or has to wait for one below.
    fn step(&self, now: Timestamp, candidate: &Candidate) -> Result<bool, LightError> {
        let (height, head) = (candidate.height(), &candidate.block.head);
        if let Some(known) = self.trusted.get(&height) {
            return self.check_same(known, head).map(|()| true);
        }
        let (at, trusted) = self.trusted_near(now, height)?;
        self.check_follows(at, trusted, head)?;
        if at.next() == height || signed_by_a_third(&trusted.next_members, head) {
            Ok(true)
        } else if at < height {
            Ok(false)
        } else {
            Err(LightError::Below {
                found: height,
                lowest: at,
            })
        }
    }

    /// Checks a block against itself: its members hash to what its header says, and certified it.
    fn candidate(&self, block: LightBlock) -> Result<Candidate, LightError> {
        let header = &block.head.header;
        let members = Members::new(block.members.clone())?;
        block.head.verify(&self.consortium.chain, &members)?;
        let next_members = if block.next_members.is_empty() {
            members
        } else {
            Members::new(block.next_members.clone())?
        };
        if next_members.hash() != header.next_members_hash {
            return Err(CertificateError::OtherMembers.into());
        }
        Ok(Candidate { block, next_members })
    }

    fn trust(&mut self, candidate: Candidate) {
        let header = &candidate.block.head.header;
        let height = header.height;
        let checkpoint = Checkpoint {
            block: header.hash(),
            time: header.time,
            since: header.time,
            next_members_hash: header.next_members_hash,
            next_members: candidate.next_members,
            whole: Some(Box::new(candidate.block)),
        };
        self.trusted.insert(height, checkpoint);
        if self.trusted.len() > CHECKPOINTS_MAX {
            let oldest = self.trusted.keys().copied().find(|oldest| *oldest != height);
            oldest.map(|oldest| self.trusted.remove(&oldest));
        }
    }

    fn newest_checkpoint(&self) -> (Height, &Checkpoint) {
        let (height, checkpoint) = self.trusted.last_key_value().expect("one is always kept");
        (*height, checkpoint)
    }

    /// The highest trusted block below that is not too old; where there is none, the lowest one above.
    fn trusted_near(&self, now: Timestamp, height: Height) -> Result<(Height, &Checkpoint), LightError> {
        let fresh =
            |(_, trusted): &(&Height, &Checkpoint)| now.since(trusted.since) <= self.bounds.trust_period_ms;
        let below = self.trusted.range(..height).next_back().filter(fresh);
        // A block that is neither below nor above is this one.
        if let Some((at, trusted)) = below.or_else(|| self.trusted.range(height.next()..).find(fresh)) {
            return Ok((*at, trusted));
        }
        let (trusted, newest) = self.newest_checkpoint();
        Err(LightError::Expired {
            trusted,
            at_ms: newest.since.millis(),
            period_ms: self.bounds.trust_period_ms,
            now_ms: now.millis(),
        })
    }

    fn check_time(&self, now: Timestamp, head: &Head) -> Result<(), LightError> {
        if head.header.time > now.plus(self.bounds.drift_max_ms) {
            return Err(LightError::Future {
                height: head.header.height,
                time_ms: head.header.time.millis(),
                now_ms: now.millis(),
                drift_max_ms: self.bounds.drift_max_ms,
            });
        }
        Ok(())
    }

    /// Whether a block is the trusted one of its height. Another one that the same members certified is a fork; one that
    /// they did not is no news.
    fn check_same(&self, known: &Checkpoint, head: &Head) -> Result<(), LightError> {
        let (height, found) = (head.header.height, head.header.hash());
        if known.block == found {
            return Ok(());
        }
        let Some(whole) = &known.whole else {
            return Err(LightError::NotNext {
                height,
                trusted: height,
                what: "the genesis",
                expected: known.block,
                found,
            });
        };
        let members = Members::new(whole.members.clone())?;
        head.verify(&self.consortium.chain, &members)?;
        Err(LightError::Fork(height, known.block, found))
    }

    /// What a block must have in common with the trusted one at `at`.
    fn check_follows(&self, at: Height, trusted: &Checkpoint, head: &Head) -> Result<(), LightError> {
        let header = &head.header;
        let mut places = [(at, trusted.time), (header.height, header.time)];
        places.sort_unstable();
        let [(below, below_time), (above, above_time)] = places;
        if above_time <= below_time && below > Height::ZERO {
            return Err(LightError::NotLater {
                height: above,
                time_ms: above_time.millis(),
                below,
                below_ms: below_time.millis(),
            });
        }
        let not_next = |what, expected, found| LightError::NotNext {
            height: header.height,
            trusted: at,
            what,
            expected,
            found,
        };
        let first = header.height == Height::ZERO.next();
        if first && header.parent != self.consortium.genesis {
            return Err(not_next("the genesis", self.consortium.genesis, header.parent));
        }
        if at.next() != header.height {
            return Ok(());
        }
        if header.parent != trusted.block {
            return Err(not_next("the parent", trusted.block, header.parent));
        }
        let (expected, found) = (trusted.next_members_hash, header.members_hash);
        if expected != found {
            return Err(not_next("the members' hash", expected, found));
        }
        Ok(())
    }
}

/// Whether more than a third of `members`' power is among the signers, whose signatures were checked before. An
/// address is the hash of its key: who has the address has the key.
fn signed_by_a_third(members: &Members, head: &Head) -> bool {
    let signers = head.certificate.signatures.iter();
    let signed: u64 = signers
        .filter_map(|(address, _)| members.get(address))
        .map(|member| member.power)
        .sum();
    u128::from(signed) * 3 > u128::from(members.total_power())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vote::{self, Step};
    use crate::{Certificate, ChainId, Header, SecretKey, Signature, encode};

    const BOUNDS: Bounds = Bounds {
        trust_period_ms: 1_000_000,
        drift_max_ms: 1_000,
    };
    const BLOCK_MS: u64 = 1_000;

    fn chain() -> ChainId {
        ChainId::new("town").expect("a name")
    }

    fn key(seed: u64) -> SecretKey {
        SecretKey::from_seed("light", seed)
    }

    fn set(seeds: &[u64]) -> Members {
        let member = |&seed: &u64| Member {
            key: key(seed).public(),
            provider: "test".into(),
            power: 1,
        };
        Members::new(seeds.iter().map(member).collect()).expect("members")
    }

    /// A block after `parent`, signed by `signers`.
    fn block(
        height: u64,
        parent: Hash,
        members: &[u64],
        next: &[u64],
        signers: &[u64],
        mark: u8,
    ) -> LightBlock {
        let (voting, following) = (set(members), set(next));
        let header = Header {
            version: Header::VERSION,
            chain: chain(),
            height: Height(height),
            time: Timestamp::from_millis(height * BLOCK_MS),
            proposer: key(members[0]).address(),
            parent,
            transactions_root: Hash::ZERO,
            batches_root: Hash::ZERO,
            outputs_root: Hash::ZERO,
            state_root: Hash([mark; 32]),
            members_hash: voting.hash(),
            next_members_hash: following.hash(),
        };
        let name = header.hash();
        let mut signatures: Vec<_> = signers
            .iter()
            .map(|&seed| {
                let address = key(seed).address();
                let digest = vote::digest(&chain(), Step::Precommit, header.height, 0, Some(name), address);
                (address, Signature::sign(&key(seed), &digest))
            })
            .collect();
        signatures.sort_by_key(|(address, _)| *address);
        let certificate = Certificate {
            height: header.height,
            round: 0,
            block: name,
            signatures,
        };
        LightBlock {
            head: Head { header, certificate },
            members: voting.to_vec(),
            next_members: if members == next {
                vec![]
            } else {
                following.to_vec()
            },
        }
    }

    /// A chain whose members are `sets[h - 1]` at height h; everybody signs.
    fn history(sets: &[Vec<u64>]) -> Vec<LightBlock> {
        let mut parent = Hash::ZERO;
        (1..=sets.len())
            .map(|height| {
                let members = &sets[height - 1];
                let next = sets.get(height).unwrap_or(members);
                let block = block(height as u64, parent, members, next, members, 0);
                parent = block.head.header.hash();
                block
            })
            .collect()
    }

    fn client(first: &[u64]) -> LightClient {
        let consortium = Consortium {
            chain: chain(),
            genesis: Hash::ZERO,
            members: set(first),
        };
        LightClient::new(consortium, Timestamp::from_millis(0), BOUNDS)
    }

    /// Offers a block and whatever it needs from `blocks`; counts the blocks offered.
    fn follow(
        client: &mut LightClient,
        now: u64,
        blocks: &[LightBlock],
        wanted: LightBlock,
    ) -> Result<usize, LightError> {
        let now = Timestamp::from_millis(now);
        let (mut asked, mut offered) = (wanted.clone(), 0);
        loop {
            offered += 1;
            match client.offer(now, asked) {
                Ok(Progress::Believed) => return Ok(offered),
                Ok(Progress::Needs(height)) => asked = blocks[height.0 as usize - 1].clone(),
                Err(error) => {
                    client.give_up();
                    return Err(error);
                }
            }
            assert!(offered <= 200, "it comes to an end");
        }
    }

    /// Three complete changes, one member at a time: 0 to 3, 10 to 13, 20 to 23, 30 to 33.
    fn three_changes() -> Vec<Vec<u64>> {
        let mut members: Vec<u64> = (0..4).collect();
        let mut sets = vec![members.clone(); 8];
        for generation in 1..=3 {
            for place in 0..4 {
                members[place] = generation * 10 + place as u64;
                sets.extend(vec![members.clone(); 8]);
            }
        }
        sets
    }

    #[test]
    fn who_slept_through_three_complete_changes_of_members_finds_the_way() {
        let blocks = history(&three_changes());
        let mut client = client(&[0, 1, 2, 3]);
        let wanted = blocks.last().expect("blocks").clone();
        let (tip, name) = (wanted.head.header.height, wanted.head.header.hash());
        let offered = follow(&mut client, tip.0 * BLOCK_MS, &blocks, wanted).expect("verified");
        assert_eq!(client.newest(), (tip, name));
        assert!(offered < blocks.len() / 2, "{offered} of {} blocks", blocks.len());
        assert!(client.trusted.len() <= CHECKPOINTS_MAX && client.waiting.is_empty());
    }

    #[test]
    fn unchanged_members_are_believed_at_any_distance_with_one_block() {
        let blocks = history(&vec![vec![0, 1, 2, 3]; 60]);
        let mut client = client(&[0, 1, 2, 3]);
        assert_eq!(follow(&mut client, 60_000, &blocks, blocks[59].clone()), Ok(1));
        assert_eq!(
            client.judge(Timestamp::from_millis(60_000), &blocks[9].head),
            Ok(Progress::Believed),
            "a proof's"
        );
    }

    #[test]
    fn who_slept_longer_than_the_trust_period_refuses_and_says_so() {
        let blocks = history(&three_changes());
        let mut client = client(&[0, 1, 2, 3]);
        let late = Timestamp::from_millis(BOUNDS.trust_period_ms + 1);
        assert!(matches!(
            client.offer(late, blocks[0].clone()),
            Err(LightError::Expired { .. })
        ));
        assert!(matches!(
            client.judge(late, &blocks[0].head),
            Err(LightError::Expired { .. })
        ));
        assert_eq!(client.newest().0, Height::ZERO);
    }

    #[test]
    fn a_kept_block_is_gone_on_from_for_as_long_as_it_is_fresh() {
        let blocks = history(&three_changes());
        let consortium = client(&[0, 1, 2, 3]).consortium;
        let mut resumed =
            LightClient::resume(consortium, blocks[40].clone(), BOUNDS).expect("agrees with itself");
        let tip = blocks.last().expect("blocks").clone();
        follow(&mut resumed, 200_000, &blocks, tip).expect("verified");
        assert!(matches!(
            resumed.offer(Timestamp::from_millis(200_000), blocks[3].clone()),
            Err(LightError::Below { .. })
        ));
    }

    #[test]
    fn a_block_from_the_future_or_with_a_stopped_clock_is_refused() {
        let blocks = history(&vec![vec![0, 1, 2, 3]; 9]);
        let mut client = client(&[0, 1, 2, 3]);
        assert!(matches!(
            client.offer(Timestamp::from_millis(7_999), blocks[8].clone()),
            Err(LightError::Future { .. })
        ));
        client
            .offer(Timestamp::from_millis(8_000), blocks[8].clone())
            .expect("within the drift");
        let mut stopped = block(11, Hash::ZERO, &[0, 1, 2, 3], &[0, 1, 2, 3], &[], 0).head;
        stopped.header.time = Timestamp::from_millis(9_000);
        assert!(matches!(
            client.judge(Timestamp::from_millis(9_000), &stopped),
            Err(LightError::NotLater { .. })
        ));
    }

    #[test]
    fn a_second_block_at_a_trusted_height_is_told_as_a_fork() {
        let blocks = history(&vec![vec![0, 1, 2, 3]; 3]);
        let mut client = client(&[0, 1, 2, 3]);
        let now = Timestamp::from_millis(3_000);
        client.offer(now, blocks[2].clone()).expect("verified");
        let other = block(
            3,
            blocks[1].head.header.hash(),
            &[0, 1, 2, 3],
            &[0, 1, 2, 3],
            &[0, 1, 2, 3],
            9,
        );
        assert!(matches!(
            client.offer(now, other.clone()),
            Err(LightError::Fork(..))
        ));
        let mut alone = other;
        alone.head.certificate.signatures.truncate(1);
        let told = client.judge(now, &alone.head);
        assert!(matches!(
            told,
            Err(LightError::Certificate(CertificateError::NoQuorum { .. }))
        ));
    }

    #[test]
    fn who_lies_about_a_block_on_the_way_costs_a_few_questions_and_nothing_else() {
        let sets = three_changes();
        let blocks = history(&sets);
        let mut client = client(&[0, 1, 2, 3]);
        let (tip, now) = (
            blocks.len() as u64,
            Timestamp::from_millis(blocks.len() as u64 * BLOCK_MS),
        );
        let (mut needed, mut asked) = (Height(tip), 0);
        let mut told = client.offer(now, blocks[tip as usize - 1].clone());
        while let Some(next) = client.needed() {
            assert!(next != needed, "the honest answer brings it on");
            (needed, asked) = (next, asked + 1);
            // The liar is quicker than the honest unit, and knows no real member's key.
            let strangers = [900, 901, 902, 903];
            let lie = block(needed.0, Hash([9; 32]), &strangers, &strangers, &strangers, 7);
            for answer in [lie, blocks[needed.0 as usize - 1].clone()] {
                told = client.offer(now, answer);
            }
        }
        assert_eq!(told, Ok(Progress::Believed));
        assert_eq!(client.newest().0, Height(tip));
        assert!(asked <= 30, "{asked} questions for {tip} blocks");
    }

    #[test]
    fn heads_alone_move_trust_on_for_as_long_as_the_members_stay() {
        let mut sets = vec![vec![0, 1, 2, 3]; 30];
        sets.extend(vec![vec![0, 1, 2, 9]; 4]);
        let blocks = history(&sets);
        let mut client = client(&[0, 1, 2, 3]);
        let hear = |client: &mut LightClient, height: u64| {
            let now = Timestamp::from_millis(height * BLOCK_MS);
            client.hear(now, &blocks[height as usize - 1].head)
        };
        for height in 1..=30 {
            assert_eq!(hear(&mut client, height), Ok(Progress::Believed));
        }
        assert_eq!(
            client.newest().0,
            Height(29),
            "the next one's members are not known from 30 alone"
        );
        assert_eq!(client.trusted.len(), 1);
        assert_eq!(hear(&mut client, 31), Ok(Progress::Needs(Height(31))));
        let kept = client.newest_block().expect("no longer the genesis").clone();
        let mut resumed =
            LightClient::resume(client.consortium.clone(), kept, BOUNDS).expect("it was trusted");
        let now = Timestamp::from_millis(34 * BLOCK_MS);
        assert_eq!(resumed.offer(now, blocks[30].clone()), Ok(Progress::Believed));
        assert_eq!(resumed.hear(now, &blocks[33].head), Ok(Progress::Believed));
    }

    #[test]
    fn an_old_head_is_believed_by_those_who_are_trusted_now() {
        let mut sets = vec![vec![0, 1, 2, 3]; 10];
        sets.extend(vec![vec![0, 1, 4, 5]; 10]);
        sets.extend(vec![vec![6, 7, 4, 5]; 10]);
        let blocks = history(&sets);
        let consortium = client(&[0, 1, 2, 3]).consortium;
        let mut client =
            LightClient::resume(consortium, blocks[29].clone(), BOUNDS).expect("it agrees with itself");
        let now = Timestamp::from_millis(30 * BLOCK_MS);
        assert_eq!(client.judge(now, &blocks[24].head), Ok(Progress::Believed));
        // Two of four are more than a third.
        assert_eq!(
            client.judge(now, &blocks[14].head),
            Ok(Progress::Needs(Height(15)))
        );
        assert_eq!(client.offer(now, blocks[14].clone()), Ok(Progress::Believed));
        // Of these, nobody is trusted now. What is known of the middle must not let them in by a back door.
        assert!(matches!(
            LightClient::resume(client.consortium.clone(), blocks[29].clone(), BOUNDS)
                .expect("it agrees with itself")
                .offer(now, blocks[4].clone()),
            Err(LightError::Below { .. })
        ));
        let mut forged = blocks[14].clone();
        forged.head.header.outputs_root = Hash([8; 32]);
        forged.head.certificate.block = forged.head.header.hash();
        let mut fresh =
            LightClient::resume(client.consortium.clone(), blocks[29].clone(), BOUNDS).expect("likewise");
        assert!(matches!(
            fresh.offer(now, forged),
            Err(LightError::Certificate(_))
        ));
    }

    #[test]
    fn a_first_block_on_another_genesis_is_refused() {
        let blocks = history(&vec![vec![0, 1, 2, 3]; 3]);
        let elsewhere = Consortium {
            genesis: Hash([1; 32]),
            ..client(&[0, 1, 2, 3]).consortium
        };
        let client = LightClient::new(elsewhere, Timestamp::from_millis(0), BOUNDS);
        let told = client.judge(Timestamp::from_millis(3_000), &blocks[0].head);
        assert!(matches!(
            told,
            Err(LightError::NotNext {
                what: "the genesis",
                ..
            })
        ));
    }

    /// The control for the rule of a third: with fewer of the trusted members among the signers there is no skipping,
    /// with one more there is.
    #[test]
    fn a_third_of_the_trusted_power_is_not_enough_and_more_is() {
        let mut client = client(&[0, 1, 2]);
        let now = Timestamp::from_millis(9_000);
        let strangers = block(9, Hash::ZERO, &[0, 50, 51], &[0, 50, 51], &[0, 50, 51], 0);
        assert_eq!(client.offer(now, strangers), Ok(Progress::Needs(Height(4))));
        let more = block(9, Hash::ZERO, &[0, 1, 51], &[0, 1, 51], &[0, 1, 51], 0);
        assert_eq!(client.offer(now, more), Ok(Progress::Believed));
    }

    #[test]
    fn a_light_block_reads_back() {
        let block = history(&three_changes())[7].clone();
        assert!(!block.next_members.is_empty());
        let bytes = encode(&block);
        assert!(bytes.len() <= LightBlock::LEN_MAX);
        assert_eq!(crate::decode::<LightBlock>(&bytes), Ok(block));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Members come and go; the attackers are one of every four at most, and forge whole branches from any height
        /// on, with any members they like. Nothing forged is ever trusted, and the honest tip always is.
        #[test]
        fn no_forged_branch_is_ever_trusted(
            changes in prop::collection::vec((0usize..4, 0u64..3), 4..24),
            tries in prop::collection::vec((1usize..24, 0usize..4, any::<bool>()), 1..6),
        ) {
            // Place 0 is the attackers' in every set: a quarter of the power.
            let mut members: Vec<u64> = vec![900, 1, 2, 3];
            let mut sets = Vec::new();
            for (at, (place, how)) in changes.iter().enumerate() {
                sets.push(members.clone());
                if *place > 0 && *how > 0 {
                    members[*place] = 100 + at as u64;
                }
            }
            let honest = history(&sets);
            let names: Vec<Hash> = honest.iter().map(|block| block.head.header.hash()).collect();
            let mut client = client(&sets[0]);
            let now = honest.len() as u64 * BLOCK_MS;
            for (from, kind, honest_helps) in tries {
                let from = from.min(honest.len());
                let parent = if from == 1 { Hash::ZERO } else { names[from - 2] };
                let real = &sets[from - 1];
                let forged_first = match kind {
                    // The real members, signed by the attacker alone.
                    0 => block(from as u64, parent, real, real, &[900], 7),
                    // A set of strangers, all of whom sign.
                    1 => block(from as u64, parent, &[900, 901, 902, 903], &[900, 901, 902, 903], &[900, 901, 902, 903], 7),
                    // Real members outnumbered by strangers.
                    2 => block(from as u64, parent, &[real[1], 900, 901, 902, 903], &[900, 901, 902, 903], &[900, 901, 902, 903], 7),
                    // The real certificate under another header.
                    _ => {
                        let mut block = honest[from - 1].clone();
                        block.head.header.state_root = Hash([7; 32]);
                        block.head.certificate.block = block.head.header.hash();
                        block
                    }
                };
                let mut branch = honest[..from - 1].to_vec();
                branch.push(forged_first);
                while branch.len() < honest.len() {
                    let parent = branch[branch.len() - 1].head.header.hash();
                    let height = branch.len() as u64 + 1;
                    branch.push(block(height, parent, &[900, 901, 902, 903], &[900, 901, 902, 903], &[900, 901, 902, 903], 7));
                }
                // Whom the client asks on the way tells the truth, or goes on lying.
                let wanted = branch[branch.len() - 1].clone();
                let source = if honest_helps { &honest } else { &branch };
                let told = follow(&mut client, now, source, wanted);
                prop_assert!(told.is_err(), "{told:?}");
                for (height, checkpoint) in &client.trusted {
                    prop_assert!(height.0 == 0 || checkpoint.block == names[height.0 as usize - 1]);
                }
                prop_assert!(client.waiting.is_empty());
            }
            let tip = honest[honest.len() - 1].clone();
            prop_assert!(follow(&mut client, now, &honest, tip).is_ok());
            prop_assert_eq!(client.newest().1, names[names.len() - 1]);
        }
    }
}
