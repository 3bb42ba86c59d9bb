//! What does a member say after the power failed at any of its syncs?
//!
//! Four members in virtual time, one of them on RocksDB. The power fails at every sync of its first ten blocks: before
//! the sync, after it and before anything left, or after what it allowed has left; the write-ahead log ends where it was
//! synced, or somewhere behind. What then is on the disk is all that the member starts from, a moment later, while the
//! height goes on. It must catch up, its store must pass the audit, and in all that its peers ever heard of it nothing may
//! contradict. The control forgets the promise: votes that were said are not on the disk, as without the log's sync, or after a
//! restoration without silence. Then there must be a contradiction.
//!
//! Meanwhile it gets batches, and acknowledges them. What its peers heard it acknowledge must be on its disk after the
//! failure. The control leaves out the syncs that are for acknowledgements alone. Then something must be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use milepost_incentives::{Genesis, Params};
use milepost_node::VerifiedBatch;
use milepost_node::audit::audit;
use milepost_node::message::{PeerMessage, ProposedBody};
use milepost_node::node::{Input, Node, Now, Output, Settings, Want};
use milepost_node::store::{Commit, Loaded, Memory, Place, Placed, Rocks, Store, StoreError, Write};
use milepost_wire::certificate::Head;
use milepost_wire::time::Epoch;
use milepost_wire::{
    Address, Block, Certificate, ChainId, Hash, Height, KeyId, Member, Members, Report, SecretKey, Sequence,
    Signed, SignedBatch, Timestamp, decode,
};
use tempfile::TempDir;

const START: u64 = 700_000_000_000;
/// The member on RocksDB.
const VICTIM: usize = 0;
/// The power fails while these are made.
const BLOCKS: Height = Height(10);
/// The member whose batches the victim acknowledges, ...
const AUTHOR: usize = 1;
/// ... which come to it so many milliseconds after each block.
const BATCHES_AFTER_MS: [u64; 2] = [12, 120];
/// From one member to another.
const DELAY_MS: u64 = 10;
/// From the failure to the next start: the others have not decided meanwhile.
const DARK_MS: u64 = 1;

/// When the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Nothing of this sync is on the disk.
    Before,
    /// As before, but some of what was not synced is there, and ends in the middle of a record.
    Torn,
    /// All of it is, and nothing has left.
    After,
    /// What the sync allowed to be said was said.
    Said,
}

/// What the disk has once the power is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    /// What was synced.
    Honest,
    /// What was synced with the newest block, and no vote since: the log was never synced, or a backup that was made
    /// then was restored.
    NewestBlock,
    /// What was synced, but for syncs that nothing but acknowledgements wait for: they are left out.
    NoSyncForAcks,
}

/// The power of the victim's machine.
struct Power {
    folder: PathBuf,
    syncs: u64,
    fails_at: u64,
    when: When,
    disk: Disk,
    is_off: bool,
}

impl Power {
    fn live(&self) -> PathBuf {
        self.folder.join("live")
    }

    /// What will be there after a failure.
    fn kept(&self) -> PathBuf {
        self.folder.join("kept")
    }

    fn keep(&self) {
        let _ = std::fs::remove_dir_all(self.kept());
        copy(&self.live(), &self.kept());
    }

    /// A sync of something begins; an error where the power fails at this moment.
    fn begin(&mut self) -> Result<(), StoreError> {
        self.syncs += 1;
        if self.syncs == self.fails_at && matches!(self.when, When::Before | When::Torn) {
            if self.when == When::Torn {
                self.tear();
            }
            return self.fail();
        }
        Ok(())
    }

    /// It is done.
    fn end(&mut self, of_block: bool) -> Result<(), StoreError> {
        // Copies are needed from the one before the failure on.
        let keeps = match self.disk {
            Disk::NewestBlock => of_block,
            Disk::Honest | Disk::NoSyncForAcks => self.syncs + 1 >= self.fails_at,
        };
        if keeps {
            self.keep();
        }
        if self.syncs == self.fails_at && self.when == When::After {
            return self.fail();
        }
        Ok(())
    }

    fn fail(&mut self) -> Result<(), StoreError> {
        self.is_off = true;
        Err(StoreError::Database("the power failed (simulated)".into()))
    }

    /// Leaves half of what the newest log has beyond what was synced.
    fn tear(&self) {
        // Before the first sync there is nothing that was kept.
        let Ok(kept) = std::fs::read_dir(self.kept()) else {
            return;
        };
        let newest = kept
            .map(|file| file.expect("it can be listed").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .max();
        let Some(kept) = newest else { return };
        let bytes = std::fs::read(self.live().join(kept.file_name().expect("a name"))).unwrap_or_default();
        let synced = usize::try_from(kept.metadata().expect("it is there").len()).expect("it fits");
        let left = synced + bytes.len().saturating_sub(synced) / 2;
        std::fs::write(kept, &bytes[..left.min(bytes.len())]).expect("it can be written");
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("it can be made");
    for file in std::fs::read_dir(from).expect("a folder") {
        let path = file.expect("it can be listed").path();
        std::fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("it can be copied");
    }
}

/// A store whose machine may lose its power.
struct Machine {
    store: Box<dyn Store>,
    power: Option<Arc<Mutex<Power>>>,
}

impl Machine {
    fn power(&self) -> Option<MutexGuard<'_, Power>> {
        self.power
            .as_ref()
            .map(|power| power.lock().expect("nobody panics with it"))
    }

    fn synced<T>(
        &mut self,
        of_block: bool,
        sync: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some(mut power) = self.power() {
            power.begin()?;
        }
        let done = sync(&mut *self.store)?;
        if let Some(mut power) = self.power() {
            power.end(of_block)?;
        }
        Ok(done)
    }
}

impl Store for Machine {
    fn load(&mut self, genesis: Hash) -> Result<Loaded, StoreError> {
        self.synced(true, |store| store.load(genesis))
    }

    fn write(&mut self, writes: &[Write], durable: bool) -> Result<(), StoreError> {
        let left_out = |power: MutexGuard<'_, Power>| power.disk == Disk::NoSyncForAcks;
        if writes.is_empty() && self.power().is_some_and(left_out) {
            return Ok(());
        }
        if durable {
            self.synced(false, |store| store.write(writes, true))
        } else {
            self.store.write(writes, false)
        }
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StoreError> {
        self.synced(true, |store| store.commit(commit))
    }

    fn head(&self, height: Height) -> Result<Option<Head>, StoreError> {
        self.store.head(height)
    }

    fn block(&self, height: Height) -> Result<Option<(Block, Certificate)>, StoreError> {
        self.store.block(height)
    }

    fn batch(&self, digest: &Hash) -> Result<Option<SignedBatch>, StoreError> {
        self.store.batch(digest)
    }

    fn body(&self, hash: &Hash) -> Result<Option<Block>, StoreError> {
        self.store.body(hash)
    }

    fn own(&self, height: Height, round: u32) -> Result<Option<Hash>, StoreError> {
        self.store.own(height, round)
    }

    fn outputs(&self, height: Height) -> Result<Option<Vec<milepost_wire::Output>>, StoreError> {
        self.store.outputs(height)
    }

    fn explanation(&self, vehicle: KeyId, epoch: Epoch) -> Result<Vec<Place>, StoreError> {
        self.store.explanation(vehicle, epoch)
    }

    fn picture(&self) -> Result<Vec<Placed>, StoreError> {
        self.store.picture()
    }

    fn size_bytes(&self) -> u64 {
        self.store.size_bytes()
    }
}

/// What a member may say once: a height, a round, and a proposal, a prevote or a precommit.
type Word = (Address, Height, u32, &'static str);

/// The consortium.
struct Town {
    genesis: Genesis,
    keys: Vec<SecretKey>,
    nodes: Vec<Option<Node<Machine>>>,
    memories: Vec<Memory>,
    power: Arc<Mutex<Power>>,
    silence: bool,
    now_ms: u64,
    queue: BTreeMap<(u64, u64), (usize, Input)>,
    posted: u64,
    /// All that the members ever heard of one another.
    said: BTreeMap<Word, Option<Hash>>,
    contradictions: BTreeSet<Word>,
    blocks: BTreeMap<Height, Hash>,
    /// The batches that the others heard the victim acknowledge.
    promised: BTreeSet<Hash>,
    /// Those of them that were not on its disk after a failure.
    broken: BTreeSet<Hash>,
    _folder: TempDir,
}

impl Town {
    fn new(power: (u64, When), disk: Disk, silence: bool) -> Self {
        // A failure of power is simulated: where there is a file system in memory, syncs cost nothing.
        let shared = Path::new("/dev/shm");
        let folder = if shared.is_dir() {
            tempfile::tempdir_in(shared)
        } else {
            tempfile::tempdir()
        };
        let folder = folder.expect("a folder");
        let keys: Vec<_> = (0..4)
            .map(|nth| SecretKey::from_seed("dark member", nth))
            .collect();
        let member = |key: &SecretKey| Member {
            key: key.public(),
            provider: "test".into(),
            power: 1,
        };
        let genesis = Genesis {
            chain: ChainId::new("dark").expect("an id"),
            time: Timestamp::from_millis(START),
            members: Members::new(keys.iter().map(member).collect()).expect("members"),
            access: milepost_wire::Access::default(),
            params: Params::default(),
            vehicles: Vec::new(),
        };
        let power = Power {
            folder: folder.path().to_owned(),
            syncs: 0,
            fails_at: power.0,
            when: power.1,
            disk,
            is_off: false,
        };
        let mut town = Self {
            genesis,
            nodes: keys.iter().map(|_| None).collect(),
            memories: keys.iter().map(|_| Memory::default()).collect(),
            keys,
            power: Arc::new(Mutex::new(power)),
            silence,
            now_ms: 0,
            queue: BTreeMap::new(),
            posted: 0,
            said: BTreeMap::new(),
            contradictions: BTreeSet::new(),
            blocks: BTreeMap::new(),
            promised: BTreeSet::new(),
            broken: BTreeSet::new(),
            _folder: folder,
        };
        for nth in 0..4 {
            town.start(nth);
        }
        town
    }

    fn now(&self) -> Now {
        Now {
            mono_ms: self.now_ms,
            wall: Timestamp::from_millis(START + 1 + self.now_ms),
        }
    }

    fn power(&self) -> MutexGuard<'_, Power> {
        self.power.lock().expect("nobody panics with it")
    }

    fn start(&mut self, nth: usize) {
        let machine = if nth == VICTIM {
            let store = Rocks::open(&self.power().live()).expect("what a power failure leaves, opens");
            Machine {
                store: Box::new(store),
                power: Some(Arc::clone(&self.power)),
            }
        } else {
            Machine {
                store: Box::new(self.memories[nth].clone()),
                power: None,
            }
        };
        let settings = Settings {
            heartbeat_ms: 400,
            ..Settings::default()
        };
        let opened = Node::open(
            &self.genesis,
            self.keys[nth].clone(),
            settings,
            machine,
            self.now(),
        );
        match opened {
            Ok((node, outputs)) => {
                self.nodes[nth] = Some(node);
                self.carry(nth, outputs);
            }
            Err(error) => assert!(self.power().is_off, "member {nth} does not start: {error}"),
        }
        self.feel(nth);
    }

    /// Whether the power has just failed.
    fn feel(&mut self, nth: usize) {
        let fails = nth == VICTIM && {
            let power = self.power();
            power.is_off || (power.when == When::Said && power.syncs >= power.fails_at)
        };
        if fails {
            self.restart();
        }
    }

    /// The power is back: what the disk kept is all there is.
    fn restart(&mut self) {
        self.nodes[VICTIM] = None;
        {
            let mut power = self.power();
            let live = power.live();
            std::fs::remove_dir_all(&live).expect("it was there");
            if power.kept().exists() {
                copy(&power.kept(), &live);
            }
            power.is_off = false;
            power.fails_at = u64::MAX;
        }
        self.now_ms += DARK_MS;
        let (live, now) = (self.power().live(), self.now().wall);
        let store = Rocks::open(&live).expect("what a power failure leaves, opens");
        if self.silence {
            store.silence(now).expect("writes");
        }
        let is_lost = |batch: &&Hash| store.batch(batch).expect("reads").is_none();
        self.broken.extend(self.promised.iter().filter(is_lost));
        drop(store);
        self.start(VICTIM);
    }

    fn post(&mut self, to: usize, input: Input) {
        self.posted += 1;
        self.queue
            .insert((self.now_ms + DELAY_MS, self.posted), (to, input));
    }

    fn carry(&mut self, from: usize, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { bytes, .. } => {
                    let message: PeerMessage = decode(&bytes).expect("own messages decode");
                    self.hear(&message);
                    for to in (0..4).filter(|to| *to != from) {
                        self.post(to, Input::Peer(message.clone()));
                    }
                }
                Output::Fetch { want, .. } => {
                    let peer = (from + 1) % 4;
                    if let Some(input) = self.answer(peer, want) {
                        self.post(from, input);
                    }
                }
                Output::Committed(view) => {
                    let hash = view.head().expect("committed").header.hash();
                    let before = self.blocks.insert(view.height(), hash);
                    assert!(
                        before.is_none_or(|before| before == hash),
                        "two blocks at {}",
                        view.height()
                    );
                    if from == AUTHOR {
                        self.post_batches(view.height());
                    }
                }
                _ => {}
            }
        }
    }

    fn hear(&mut self, message: &PeerMessage) {
        let (word, value) = match message {
            PeerMessage::Vote(vote) => {
                let step = if vote.precommit { "precommit" } else { "prevote" };
                ((vote.voter, vote.height, vote.round, step), vote.value)
            }
            PeerMessage::Acks(acks) if acks.message.member == self.keys[VICTIM].address() => {
                return self.promised.extend(&acks.message.batches);
            }
            PeerMessage::Proposal(proposal) => {
                let word = (proposal.proposer, proposal.height, proposal.round, "proposal");
                (word, Some(proposal.value))
            }
            _ => return,
        };
        if self
            .said
            .insert(word, value)
            .is_some_and(|before| before != value)
        {
            self.contradictions.insert(word);
        }
    }

    /// Two batches for the victim alone, so that no block ever names them: one amid the votes, one while the height rests.
    fn post_batches(&mut self, height: Height) {
        let (chain, author) = (&self.genesis.chain, &self.keys[AUTHOR]);
        let batches = BATCHES_AFTER_MS.map(|after_ms| {
            let sequence = height.0 * 1_000 + after_ms;
            let report = Report {
                version: Report::VERSION,
                vehicle: KeyId::default(),
                sequence: Sequence(sequence),
                sent_at: self.now().wall,
                observations: Vec::new(),
            };
            let reports = vec![Signed::sign(report, chain, author)];
            let batch = VerifiedBatch::own(author, chain, sequence, height, self.now().wall, reports);
            (after_ms, Input::Batch(Arc::new(batch)))
        });
        for (after_ms, batch) in batches {
            self.posted += 1;
            self.queue
                .insert((self.now_ms + after_ms, self.posted), (VICTIM, batch));
        }
    }

    /// Blocks hold no batches here.
    fn answer(&self, peer: usize, want: Want) -> Option<Input> {
        let store = &self.memories[if peer == VICTIM { VICTIM + 1 } else { peer }];
        match want {
            Want::Block(height) => {
                let (block, certificate) = store.block(height).expect("reads")?;
                Some(Input::Block {
                    block: Box::new(block),
                    certificate,
                    batches: Vec::new(),
                })
            }
            Want::Body(hash) => {
                let block = store.body(&hash).expect("reads")?;
                Some(Input::Peer(PeerMessage::Body(ProposedBody { round: 0, block })))
            }
            Want::Batch(_) => None,
        }
    }

    fn step(&mut self, nth: usize, input: Input) {
        let now = self.now();
        let Some(node) = self.nodes[nth].as_mut() else {
            return;
        };
        match node.handle(now, input) {
            Ok(outputs) => self.carry(nth, outputs),
            Err(error) => assert!(self.power().is_off, "member {nth} stopped: {error}"),
        }
        self.feel(nth);
    }

    /// Until everybody has this block.
    fn reach(&mut self, height: Height) {
        let behind =
            |node: &Option<Node<Machine>>| node.as_ref().is_none_or(|node| node.view().height() < height);
        while self.nodes.iter().any(behind) {
            assert!(
                self.now_ms < 120_000,
                "block {height} is not reached: {:?}",
                self.blocks.keys().max()
            );
            let wakes = self.nodes.iter().enumerate();
            let wake = wakes
                .filter_map(|(nth, node)| Some((node.as_ref()?.wake_at(), nth)))
                .min()
                .expect("somebody is up");
            match self.queue.first_key_value() {
                Some((&(at, _), _)) if at <= wake.0 => {
                    let ((at, _), (to, input)) = self.queue.pop_first().expect("it was seen");
                    self.now_ms = self.now_ms.max(at);
                    self.step(to, input);
                }
                _ => {
                    self.now_ms = self.now_ms.max(wake.0);
                    self.step(wake.1, Input::Wake);
                }
            }
        }
    }

    /// The power fails once; what came of it.
    fn play(fails_at: u64, when: When, disk: Disk, silence: bool) -> Self {
        let mut town = Self::new((fails_at, when), disk, silence);
        town.reach(BLOCKS.next());
        assert_eq!(town.power().fails_at, u64::MAX, "sync {fails_at} never came");
        let end = *town.blocks.keys().max().expect("blocks");
        town.reach(Height(end.0 + 3));
        // Who contradicts itself may not get so far.
        let promised = town.promised.len();
        let is_enough = promised > BLOCKS.0 as usize || disk == Disk::NewestBlock;
        assert!(is_enough, "{promised} batches are acknowledged");
        town
    }

    /// How many syncs ten blocks take.
    fn syncs(disk: Disk) -> u64 {
        let mut town = Self::new((u64::MAX, When::Said), disk, false);
        town.reach(BLOCKS);
        let syncs = town.power().syncs;
        assert!(
            syncs > 3 * BLOCKS.0,
            "a sync for the block and each vote: {syncs}"
        );
        syncs
    }

    fn audit(mut self) {
        self.nodes[VICTIM] = None;
        let store = Rocks::open_read_only(&self.power().live()).expect("opens");
        let report = audit(&self.genesis, &store, None, |_| {});
        assert!(report.ok, "{:?}", report.errors);
    }
}

/// The contradictions that failures at all syncs lead to.
fn contradictions(when: When, disk: Disk, silence: bool) -> usize {
    let mut count = 0;
    for fails_at in 1..=Town::syncs(disk) {
        let town = Town::play(fails_at, when, disk, silence);
        count += town.contradictions.len();
        if disk == Disk::Honest {
            let broken = &town.broken;
            assert!(broken.is_empty(), "{when:?} sync {fails_at}: {broken:?}");
        }
        if disk == Disk::Honest || silence {
            let found = &town.contradictions;
            assert!(found.is_empty(), "{when:?} sync {fails_at}: {found:?}");
            town.audit();
        }
    }
    count
}

/// The acknowledged batches that failures at all syncs lose.
fn broken_promises(when: When, disk: Disk) -> usize {
    let mut count = 0;
    for fails_at in 1..=Town::syncs(disk) {
        let town = Town::play(fails_at, when, disk, false);
        count += town.broken.len();
    }
    count
}

#[test]
fn a_failure_before_any_sync_leads_to_no_double_vote() {
    assert_eq!(contradictions(When::Before, Disk::Honest, false), 0);
}

#[test]
fn a_log_that_ends_in_the_middle_of_a_record_leads_to_no_double_vote() {
    assert_eq!(contradictions(When::Torn, Disk::Honest, false), 0);
}

#[test]
fn a_failure_after_any_sync_leads_to_no_double_vote() {
    assert_eq!(contradictions(When::After, Disk::Honest, false), 0);
}

#[test]
fn a_failure_after_what_a_sync_allowed_was_said_leads_to_no_double_vote() {
    assert_eq!(contradictions(When::Said, Disk::Honest, false), 0);
}

#[test]
fn a_member_that_is_restored_and_silent_says_nothing_twice() {
    assert_eq!(contradictions(When::Said, Disk::NewestBlock, true), 0);
}

/// The control for both: no sync of the log, and no silence after a restoration.
#[test]
fn a_member_that_forgot_its_votes_and_is_not_silent_contradicts_itself() {
    assert!(contradictions(When::Said, Disk::NewestBlock, false) > 0);
}

/// The control for what is acknowledged.
#[test]
fn a_member_that_does_not_sync_before_it_acknowledges_loses_what_it_promised() {
    assert!(broken_promises(When::Before, Disk::NoSyncForAcks) > 0);
}
