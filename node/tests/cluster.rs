//! Four members in virtual time: do they agree, and does one that falls come back?
//!
//! A small deterministic network of real cores over memory stores. The whole town, with its vehicles and
//! adversaries, is in `sim`; here is what concerns the core alone.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use milepost_incentives::{Genesis, Params};
use milepost_node::message::{BlockAnswer, PeerMessage, Vote};
use milepost_node::node::{Input, Node, Now, Output, Settings, Want};
use milepost_node::store::{Memory, Store};
use milepost_node::{Fatal, VerifiedBatch};
use milepost_wire::batch::BatchRef;
use milepost_wire::transaction::{Enrolment, Role};
use milepost_wire::vote::{self, Step};
use milepost_wire::{
    Action, Address, Block, Cell, ChainId, Change, Hash, Heading, Height, Measure, Member, Members,
    Observation, Place, ProposalId, Report, SecretKey, Sequence, Signature, Signed, Speed, Timestamp,
    Transaction, decode, encode,
};

const START: u64 = 700_000_000_000;

/// A message on its way: to whom, and what.
type Event = (usize, Input);

/// splitmix64: enough to shuffle a network.
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

struct Cluster {
    genesis: Genesis,
    keys: Vec<SecretKey>,
    vehicles: Vec<SecretKey>,
    stores: Vec<Memory>,
    nodes: Vec<Option<Node<Memory>>>,
    now_ms: u64,
    queue: BinaryHeap<std::cmp::Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    count: u64,
    rng: Rng,
    loss_permille: u64,
    delay_ms: (u64, u64),
    /// What each member ever signed: (member, height, round, precommit) to value.
    votes: BTreeMap<(Address, Height, u32, bool), Option<Hash>>,
    equivocations: usize,
    blocks: BTreeMap<Height, Hash>,
    batches: u64,
    /// Somebody changes the contents of every block that is proposed, or fetched, and is faster than the proposer.
    changes_bodies: bool,
    /// How long a member that starts from now on lets others join what a quiet ledger has to decide.
    gather_ms: u64,
    /// Each proposal is lost the first time that it is said, to everybody; here is what was.
    lost_at_first: Option<BTreeSet<(Height, u32)>>,
    /// This member prevotes twice in every round, and tells everybody both.
    liar: Option<usize>,
    /// When each block was committed first.
    committed_ms: BTreeMap<Height, u64>,
    /// Questions for blocks, by member.
    asked: BTreeMap<usize, usize>,
    /// Who votes at which height.
    sets: BTreeMap<Height, Members>,
}

impl Cluster {
    fn new(seed: u64, members: u64) -> Self {
        Self::with_others(seed, members, 0)
    }

    /// Besides the members, `others` follow without a vote.
    fn with_others(seed: u64, members: u64, others: u64) -> Self {
        Self::with_params(seed, members, others, Params::default())
    }

    fn with_params(seed: u64, members: u64, others: u64, params: Params) -> Self {
        let keys: Vec<_> = (0..members + others)
            .map(|index| SecretKey::from_seed("cluster member", index))
            .collect();
        let vehicles: Vec<_> = (0..8)
            .map(|index| SecretKey::from_seed("cluster vehicle", index))
            .collect();
        let member = |key: &SecretKey| Member {
            key: key.public(),
            provider: "test".into(),
            power: 1,
        };
        let genesis = Genesis {
            chain: ChainId::new("cluster").expect("an id"),
            time: Timestamp::from_millis(START),
            members: Members::new(keys.iter().take(members as usize).map(member).collect()).expect("members"),
            access: milepost_wire::Access::default(),
            params: Params {
                slot_ms: 2_000,
                epoch_ms: 10_000,
                ..params
            },
            vehicles: vehicles
                .iter()
                .zip(0..)
                .map(|(key, group)| Enrolment {
                    key: key.public(),
                    group,
                    role: Role::Vehicle,
                })
                .collect(),
        };
        let mut cluster = Self {
            sets: BTreeMap::from([(Height(1), genesis.members.clone())]),
            genesis,
            stores: keys.iter().map(|_| Memory::default()).collect(),
            nodes: keys.iter().map(|_| None).collect(),
            keys,
            vehicles,
            now_ms: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            count: 0,
            rng: Rng(seed),
            loss_permille: 0,
            delay_ms: (2, 20),
            votes: BTreeMap::new(),
            equivocations: 0,
            blocks: BTreeMap::new(),
            batches: 0,
            changes_bodies: false,
            gather_ms: Settings::default().gather_ms,
            lost_at_first: None,
            liar: None,
            committed_ms: BTreeMap::new(),
            asked: BTreeMap::new(),
        };
        for index in 0..cluster.nodes.len() {
            cluster.boot(index);
        }
        cluster
    }

    fn now(&self) -> Now {
        Now {
            mono_ms: self.now_ms,
            wall: Timestamp::from_millis(START + 1 + self.now_ms),
        }
    }

    fn boot(&mut self, index: usize) {
        let settings = Settings {
            heartbeat_ms: 3_000,
            gather_ms: self.gather_ms,
            ..Settings::default()
        };
        let (key, store) = (self.keys[index].clone(), self.stores[index].clone());
        let (node, outputs) = Node::open(&self.genesis, key, settings, store, self.now()).expect("opens");
        self.nodes[index] = Some(node);
        self.carry(index, outputs);
    }

    fn crash(&mut self, index: usize) {
        self.nodes[index] = None;
        self.stores[index].crash();
    }

    /// Everybody who is up is told whether a unit is there.
    fn tell(&mut self, of: usize, is_present: bool) {
        let unit = self.keys[of].address();
        for to in 0..self.nodes.len() {
            self.step(to, Input::Presence { unit, is_present })
                .expect("goes on");
        }
    }

    fn post(&mut self, to: usize, input: Input) {
        if self.rng.below(1000) < self.loss_permille {
            return;
        }
        let (least, most) = self.delay_ms;
        let after = least + self.rng.below(most - least + 1);
        self.post_after(after, to, input);
    }

    fn post_after(&mut self, after_ms: u64, to: usize, input: Input) {
        let at = self.now_ms + after_ms;
        self.count += 1;
        self.events.insert(self.count, (to, input));
        self.queue.push(std::cmp::Reverse((at, self.count)));
    }

    fn verified(&self, signed: milepost_wire::SignedBatch) -> Arc<VerifiedBatch> {
        let (author, here) = (signed.message.author, signed.message.height);
        let key = self
            .keys
            .iter()
            .find(|key| key.address() == author)
            .expect("a unit");
        let author = key.public().verifying_key().expect("a point");
        let key = |vehicle| {
            let known = self.vehicles.iter().find(|key| key.key_id() == vehicle)?;
            known.public().verifying_key().ok()
        };
        Arc::new(
            VerifiedBatch::verify(signed, here, &self.genesis.chain, &author, key, |_| None)
                .expect("verifies"),
        )
    }

    fn carry(&mut self, from: usize, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { bytes, .. } => {
                    let message: PeerMessage = decode(&bytes).expect("own messages decode");
                    if let PeerMessage::Vote(vote) = &message
                        && vote.voter == self.keys[from].address()
                    {
                        let key = (vote.voter, vote.height, vote.round, vote.precommit);
                        let before = self.votes.insert(key, vote.value);
                        self.equivocations += usize::from(before.is_some_and(|before| before != vote.value));
                    }
                    if let PeerMessage::Proposal(proposal) = &message
                        && let Some(lost) = &mut self.lost_at_first
                        && lost.insert((proposal.height, proposal.round))
                    {
                        continue;
                    }
                    let lie = match &message {
                        PeerMessage::Vote(vote) if self.liar == Some(from) && !vote.precommit => {
                            Some(PeerMessage::Vote(self.contrary(from, vote)))
                        }
                        _ => None,
                    };
                    for to in (0..self.nodes.len()).filter(|to| *to != from) {
                        if let Some(lie) = &lie {
                            self.post(to, Input::Peer(lie.clone()));
                        }
                        let input = match &message {
                            PeerMessage::Batch(signed) => Input::Batch(self.verified(signed.clone())),
                            other => Input::Peer(other.clone()),
                        };
                        if let PeerMessage::Body(body) = &message
                            && self.changes_bodies
                        {
                            let mut body = body.clone();
                            body.block = changed(body.block);
                            self.post_after(0, to, Input::Peer(PeerMessage::Body(body)));
                        }
                        self.post(to, input);
                    }
                }
                Output::Fetch { want, of } => {
                    *self.asked.entry(from).or_default() += usize::from(matches!(want, Want::Block(_)));
                    let any =
                        (from + 1 + self.rng.below(self.nodes.len() as u64 - 1) as usize) % self.nodes.len();
                    let named = of.and_then(|of| self.keys.iter().position(|key| key.address() == of));
                    let peer = named.unwrap_or(any);
                    if self.nodes[peer].is_some()
                        && let Some(input) = self.answer(peer, want)
                    {
                        if let Input::Block {
                            block,
                            certificate,
                            batches,
                        } = &input
                            && self.changes_bodies
                        {
                            let block = Box::new(changed((**block).clone()));
                            let (certificate, batches) = (certificate.clone(), batches.clone());
                            let input = Input::Block {
                                block,
                                certificate,
                                batches,
                            };
                            self.post_after(0, from, input);
                        }
                        self.post(from, input);
                    }
                }
                Output::Committed(view) => {
                    let head = view.head().expect("committed");
                    let hash = head.header.hash();
                    let voters = &self.sets[&view.height()];
                    assert_eq!(
                        head.verify(&self.genesis.chain, voters),
                        Ok(()),
                        "at {}",
                        view.height()
                    );
                    assert_eq!(head.header.next_members_hash, view.members().hash());
                    self.sets.insert(view.height().next(), view.members().clone());
                    self.committed_ms.entry(view.height()).or_insert(self.now_ms);
                    let before = self.blocks.insert(view.height(), hash);
                    assert!(
                        before.is_none_or(|before| before == hash),
                        "two blocks at height {}",
                        view.height()
                    );
                }
                Output::Equivocated(_) | Output::Complains(_) => {}
            }
        }
    }

    /// The same vote for a block that there is not.
    fn contrary(&self, voter: usize, vote: &Vote) -> Vote {
        let value = Some(Hash::of("a block that there is not", &[]));
        let digest = vote::digest(
            &self.genesis.chain,
            Step::Prevote,
            vote.height,
            vote.round,
            value,
            vote.voter,
        );
        Vote {
            value,
            signature: Signature::sign(&self.keys[voter], &digest),
            ..vote.clone()
        }
    }

    fn answer(&self, peer: usize, want: Want) -> Option<Input> {
        let store = &self.stores[peer];
        Some(match want {
            Want::Block(height) => {
                let (block, certificate) = store.block(height).expect("reads")?;
                let batches: Option<Vec<_>> = block
                    .body
                    .batches
                    .iter()
                    .map(|named| store.batch(&named.digest).expect("reads"))
                    .collect();
                let answer = BlockAnswer {
                    block,
                    certificate,
                    batches: batches?,
                };
                let answer: BlockAnswer = decode(&encode(&answer)).expect("decodes");
                let batches = answer
                    .batches
                    .into_iter()
                    .map(|signed| self.verified(signed))
                    .collect();
                Input::Block {
                    block: Box::new(answer.block),
                    certificate: answer.certificate,
                    batches,
                }
            }
            Want::Body(hash) => {
                let block = store.body(&hash).expect("reads")?;
                Input::Peer(PeerMessage::Body(milepost_node::message::ProposedBody {
                    round: 0,
                    block,
                }))
            }
            Want::Batch(digest) => Input::Batch(self.verified(store.batch(&digest).expect("reads")?)),
        })
    }

    /// A transaction reaches everyone who is up.
    fn submit(&mut self, sender: usize, action: Action) {
        let transaction = Transaction {
            from: self.keys[sender].public(),
            nonce: self.nonce(sender),
            action,
        };
        let signed = Signed::sign(transaction, &self.genesis.chain, &self.keys[sender]);
        for index in 0..self.nodes.len() {
            self.step(index, Input::Transaction(signed.clone()))
                .expect("goes on");
        }
    }

    /// The number of a key's next transaction, by whoever has come furthest.
    fn nonce(&self, sender: usize) -> u64 {
        let account = self.keys[sender].address();
        let nonces = self
            .nodes
            .iter()
            .flatten()
            .map(|node| node.view().state().account(&account).nonce);
        nonces.max().unwrap_or(0)
    }

    /// The first of `voters` proposes, and all approve.
    fn decide(&mut self, voters: &[usize], change: Change) {
        let up = self
            .nodes
            .iter()
            .flatten()
            .max_by_key(|node| node.view().height());
        let proposal = ProposalId(up.expect("one is up").view().state().charter().newest.0 + 1);
        let from = Height::ZERO;
        self.submit(voters[0], Action::Propose { change, from });
        self.run_until(self.now_ms + 3_000);
        for voter in &voters[1..] {
            self.submit(*voter, Action::Approve { proposal });
        }
        self.run_until(self.now_ms + 6_000);
    }

    fn members_of(&self, index: usize) -> Members {
        self.nodes[index].as_ref().expect("up").view().members().clone()
    }

    /// The heights at which a unit voted.
    fn voted(&self, index: usize) -> Vec<Height> {
        let voter = self.keys[index].address();
        let voted = self.votes.keys().filter(|(found, ..)| *found == voter);
        voted.map(|(_, height, ..)| *height).collect()
    }

    /// One vehicle reports a speed to one member, which batches it alone.
    fn report(&mut self, vehicle: usize, member: usize) {
        let place = Place::from_degrees(44.3, 8.8).expect("on the globe");
        let heading = Heading::from_degrees(0.0);
        let observation = Observation {
            cell: Cell::at(place, heading),
            place,
            heading,
            age_ms: 0,
            measure: Measure::Speed(Speed::from_cm_per_s(1_000).expect("slow enough")),
        };
        self.batches += 1;
        let now = self.now().wall;
        let key = self.vehicles[vehicle].clone();
        let report = Report {
            version: Report::VERSION,
            vehicle: key.key_id(),
            sequence: Sequence(self.batches),
            sent_at: now,
            observations: vec![observation],
        };
        let chain = self.genesis.chain.clone();
        let report = Signed::sign(report, &chain, &key);
        let height = self.nodes[member]
            .as_ref()
            .map_or(Height::ZERO, |node| node.view().height());
        let batch = VerifiedBatch::own(
            &self.keys[member],
            &chain,
            self.batches,
            height,
            now,
            vec![report],
        );
        self.step(member, Input::Batch(Arc::new(batch))).expect("goes on");
    }

    fn step(&mut self, index: usize, input: Input) -> Result<(), Fatal> {
        let now = self.now();
        let Some(node) = self.nodes[index].as_mut() else {
            return Ok(());
        };
        let outputs = node.handle(now, input)?;
        self.carry(index, outputs);
        Ok(())
    }

    fn run_until(&mut self, end_ms: u64) {
        while self.now_ms < end_ms {
            let wake = self
                .nodes
                .iter()
                .flatten()
                .map(Node::wake_at)
                .min()
                .unwrap_or(end_ms);
            let message = self
                .queue
                .peek()
                .map_or(u64::MAX, |std::cmp::Reverse((at, _))| *at);
            let next = wake.min(message).max(self.now_ms);
            if next > end_ms {
                self.now_ms = end_ms;
                return;
            }
            self.now_ms = next;
            if message <= next {
                let std::cmp::Reverse((_, number)) = self.queue.pop().expect("peeked");
                let (to, input) = self.events.remove(&number).expect("posted");
                self.step(to, input).expect("goes on");
                continue;
            }
            for index in 0..self.nodes.len() {
                if self.nodes[index]
                    .as_ref()
                    .is_some_and(|node| node.wake_at() <= next)
                {
                    self.step(index, Input::Wake).expect("goes on");
                }
            }
        }
    }

    /// How many members were ever sentenced, by whoever has come furthest.
    fn sentenced(&self) -> usize {
        let up = self.nodes.iter().flatten();
        let view = up
            .map(Node::view)
            .max_by_key(|view| view.height())
            .expect("one is up");
        let sentence = |key: &&SecretKey| view.state().sentence(&key.address()).is_some();
        self.keys.iter().filter(sentence).count()
    }

    fn heights(&self) -> Vec<u64> {
        self.nodes
            .iter()
            .map(|node| node.as_ref().map_or(0, |node| node.view().height().0))
            .collect()
    }
}

/// What the others decided on as the next block of a member, with the member's quorum of signatures over `header`'s changes.
fn decided(cluster: &Cluster, height: Height, change: impl Fn(&mut milepost_wire::Header)) -> Input {
    let Some(Input::Block {
        mut block, batches, ..
    }) = cluster.answer(0, Want::Block(height))
    else {
        panic!("member 0 has it");
    };
    change(&mut block.header);
    let hash = block.hash();
    let chain = &cluster.genesis.chain;
    let signed = |key: &SecretKey| {
        let voter = key.address();
        let digest = vote::digest(chain, Step::Precommit, height, 0, Some(hash), voter);
        (voter, Signature::sign(key, &digest))
    };
    let mut signatures: Vec<_> = cluster.keys.iter().map(signed).collect();
    signatures.sort();
    let certificate = milepost_wire::Certificate {
        height,
        round: 0,
        block: hash,
        signatures,
    };
    Input::Block {
        block,
        certificate,
        batches,
    }
}

/// The others run other rules: their state after a block is not what this member reckons.
#[test]
fn a_member_whose_rules_are_not_the_quorums_stops_and_keeps_nothing_of_their_block() {
    let mut cluster = Cluster::new(3, 4);
    cluster.report(0, 0);
    cluster.run_until(5_000);
    cluster.crash(3);
    cluster.report(1, 1);
    cluster.run_until(10_000);
    cluster.queue.clear();
    cluster.events.clear();
    cluster.boot(3);
    let next = Height(cluster.heights()[3] + 1);
    assert!(next.0 <= cluster.heights()[0]);

    let theirs = decided(&cluster, next, |header| header.state_root = Hash([7; 32]));
    let stopped = cluster.step(3, theirs).expect_err("it cannot go on");
    assert!(
        matches!(&stopped, Fatal::Diverged { height, .. } if *height == next),
        "{stopped}"
    );
    assert!(stopped.to_string().contains("same version of the software"));
    // With the right version installed it goes on from where it was.
    cluster.crash(3);
    cluster.boot(3);
    assert_eq!(Height(cluster.heights()[3] + 1), next, "nothing of it was kept");
    let true_one = decided(&cluster, next, |_| {});
    cluster.step(3, true_one).expect("its own rules say the same");
    assert_eq!(Height(cluster.heights()[3]), next);
}

/// The same header over other contents: a block of the same name.
fn changed(mut block: Block) -> Block {
    let author = block.header.proposer;
    let digest = Hash::of("nobody has this", &[]);
    block.body.batches.push(BatchRef { digest, author });
    block
}

#[test]
fn contents_that_are_not_the_headers_neither_stop_a_block_nor_a_member() {
    let mut cluster = Cluster::new(7, 4);
    cluster.changes_bodies = true;
    for tick in 1..=20 {
        cluster.report((tick % 8) as usize, (tick % 3) as usize);
        cluster.run_until(tick * 500);
        match tick {
            4 => cluster.crash(3),
            12 => cluster.boot(3),
            _ => {}
        }
    }
    cluster.run_until(14_000);
    let heights = cluster.heights();
    assert!(heights.iter().all(|height| *height >= 15), "{heights:?}");
}

/// An unsigned word of a height that there is not.
fn boast() -> Input {
    Input::Peer(PeerMessage::Status(milepost_node::message::Status {
        height: Height(u64::MAX),
    }))
}

#[test]
fn a_boast_costs_a_few_questions() {
    let mut cluster = Cluster::new(8, 4);
    cluster.run_until(5_000);
    cluster.step(0, boast()).expect("goes on");
    let before = cluster.asked[&0];
    cluster.run_until(65_000);
    let questions = cluster.asked[&0] - before;
    assert!((1..=10).contains(&questions), "{questions} questions in a minute");
}

#[test]
fn nobody_alone_can_hurry_the_chain() {
    let mut cluster = Cluster::new(9, 4);
    // One that has caught up and hears of more blocks than there are ...
    cluster.run_until(3_000);
    cluster.crash(2);
    for tick in 1..=6 {
        cluster.report((tick % 8) as usize, 0);
        cluster.run_until(3_000 + tick * 500);
    }
    cluster.boot(2);
    let height = |cluster: &Cluster| cluster.heights()[0];
    let (before, begin_ms) = (height(&cluster), cluster.now_ms);
    for tick in 1..=400 {
        if tick % 20 == 0 {
            cluster.step(2, boast()).expect("goes on");
        }
        cluster.report((tick % 8) as usize, 0);
        // ... and one that votes on the next block as soon as there is a last one.
        let (key, next) = (cluster.keys[3].clone(), Height(height(&cluster) + 1));
        let vote = Vote {
            precommit: false,
            height: next,
            round: 0,
            value: None,
            voter: key.address(),
            signature: Signature::sign(
                &key,
                &vote::digest(
                    &cluster.genesis.chain,
                    Step::Prevote,
                    next,
                    0,
                    None,
                    key.address(),
                ),
            ),
        };
        for to in 0..3 {
            cluster.post_after(1, to, Input::Peer(PeerMessage::Vote(vote.clone())));
        }
        cluster.run_until(begin_ms + tick * 50);
    }
    let blocks = height(&cluster) - before;
    let most = 400 * 50 / Settings::default().block_interval_ms + 2;
    assert!(
        (20..=most).contains(&blocks),
        "{blocks} blocks, at most {most} are due"
    );
}

#[test]
fn reports_are_committed_by_all_and_quiet_roads_make_few_blocks() {
    let mut cluster = Cluster::new(1, 4);
    for second in 1..=20 {
        cluster.report((second % 8) as usize, (second % 4) as usize);
        cluster.run_until(second * 500);
    }
    cluster.run_until(12_000);
    let busy = cluster.heights();
    assert!(busy.iter().all(|height| *height >= 10), "{busy:?}");
    cluster.run_until(200_000);
    let before = cluster.heights()[0];
    cluster.run_until(230_000);
    let quiet = cluster.heights()[0] - before;
    assert!(
        (8..=14).contains(&quiet),
        "a heartbeat each 3 s makes about ten blocks in 30 s, found {quiet}"
    );
    let (first, rest) = cluster.nodes.split_first().expect("four");
    let root = first.as_ref().expect("up").view().state_root();
    assert!(rest.iter().flatten().all(|node| node.view().state_root() == root));
}

/// What three members hear within one moment of a quiet night: in how many blocks it is, and how many batches the last has.
fn blocks_for_one_moment(gather_ms: u64) -> (u64, usize) {
    let mut cluster = Cluster::new(4, 4);
    cluster.gather_ms = gather_ms;
    cluster.delay_ms = (1, 3);
    for index in 0..4 {
        cluster.crash(index);
        cluster.boot(index);
    }
    cluster.run_until(10_000);
    let before = cluster.heights()[0];
    for member in 0..3 {
        cluster.report(member, member);
        cluster.run_until(cluster.now_ms + 15);
    }
    cluster.run_until(cluster.now_ms + 700);
    let view = cluster.nodes[0].as_ref().expect("up").view();
    let last = view.block().expect("there are some");
    (view.height().0 - before, last.body.batches.len())
}

#[test]
fn what_comes_a_moment_after_the_first_batch_shares_its_block() {
    assert_eq!(blocks_for_one_moment(50), (1, 3));
    assert_eq!(
        blocks_for_one_moment(0),
        (2, 2),
        "the others wait for an interval"
    );
}

/// Under load, one of four dies for good, and the others are told so or not. The longest time without a block afterwards.
fn longest_pause_ms(seed: u64, told: bool) -> u64 {
    let mut cluster = Cluster::new(seed, 4);
    (0..4).for_each(|of| cluster.tell(of, true));
    for tick in 1..=60 {
        cluster.report((tick % 8) as usize, (tick % 3) as usize);
        cluster.run_until(tick * 500);
        if tick == 4 {
            cluster.crash(3);
            if told {
                cluster.tell(3, false);
            }
        }
    }
    let times: Vec<u64> = cluster.committed_ms.values().copied().collect();
    assert!(times.len() >= 12, "{} blocks", times.len());
    let pauses = times.windows(2).map(|pair| pair[1] - pair[0]);
    pauses.max().expect("several blocks")
}

#[test]
fn a_proposer_that_is_not_there_is_not_waited_for() {
    let Settings {
        block_interval_ms,
        absent_ms,
        propose_ms,
        ..
    } = Settings::default();
    for seed in 0..8 {
        let (told, untold) = (longest_pause_ms(seed, true), longest_pause_ms(seed, false));
        // Three steps of votes at up to 20 ms, twice; and who gathers.
        assert!(
            told < block_interval_ms + absent_ms + 200,
            "seed {seed}: {told} ms"
        );
        assert!(
            untold > block_interval_ms + propose_ms,
            "seed {seed}: {untold} ms"
        );
    }
}

/// What the members are told of one another is wrong throughout, or changes all the time.
fn misled(seed: u64, rumour: impl Fn(&mut Rng) -> bool) -> Vec<u64> {
    let mut cluster = Cluster::new(seed, 4);
    cluster.loss_permille = 50;
    let mut rng = Rng(seed);
    for tick in 1..=60 {
        for (to, of) in (0..16).map(|pair| (pair / 4, pair % 4)) {
            let (unit, is_present) = (cluster.keys[of].address(), rumour(&mut rng));
            cluster
                .step(to, Input::Presence { unit, is_present })
                .expect("goes on");
        }
        cluster.report((tick % 8) as usize, (tick % 4) as usize);
        cluster.run_until(tick * 500);
        match tick {
            20 => cluster.crash(1),
            40 => cluster.boot(1),
            _ => {}
        }
    }
    cluster.run_until(40_000);
    assert_eq!(cluster.equivocations, 0, "seed {seed}");
    cluster.heights()
}

#[test]
fn whatever_is_told_of_who_is_there_blocks_are_made() {
    for seed in 0..3 {
        for heights in [
            misled(seed, |_| false),
            misled(seed, |_| true),
            misled(seed, |rng| rng.below(2) == 0),
        ] {
            assert!(
                heights.iter().all(|height| *height >= 12),
                "seed {seed}: {heights:?}"
            );
        }
    }
}

#[test]
fn a_lossy_network_still_commits() {
    for seed in 1..=10 {
        let mut cluster = Cluster::new(seed, 4);
        cluster.loss_permille = 150;
        for second in 1..=20 {
            cluster.report((second % 8) as usize, (second % 4) as usize);
            cluster.run_until(second * 500);
        }
        cluster.run_until(60_000);
        let heights = cluster.heights();
        assert!(
            heights.iter().all(|height| *height >= 20),
            "seed {seed}: {heights:?}"
        );
        assert_eq!(cluster.equivocations, 0, "seed {seed}");
    }
}

#[test]
fn a_proposal_that_was_lost_is_said_again_before_its_round_is_given_up() {
    let mut cluster = Cluster::new(4, 4);
    cluster.lost_at_first = Some(BTreeSet::new());
    cluster.run_until(30_000);
    let tip = cluster.heights()[0];
    assert!(tip >= 6, "{:?}", cluster.heights());
    for height in (1..=tip).map(Height) {
        let (_, certificate) = cluster.stores[0].block(height).expect("reads").expect("is there");
        assert_eq!(certificate.round, 0, "at height {height}");
    }
    assert_eq!(cluster.equivocations, 0);
}

/// Crashes members in turn at random moments; says how often a member contradicted itself.
fn crashes(seed: u64, forget_log: bool) -> Cluster {
    let mut cluster = Cluster::new(seed, 4);
    cluster.loss_permille = 50;
    if forget_log {
        cluster.stores.iter().for_each(Memory::forget_log_at_crash);
    }
    let mut down: Option<(usize, u64)> = None;
    for tick in 1..=600u64 {
        if tick % 5 == 0 {
            cluster.report((tick % 8) as usize, (tick % 4) as usize);
        }
        cluster.run_until(tick * 50);
        match down {
            Some((index, until)) if until <= tick => {
                cluster.boot(index);
                down = None;
            }
            None if cluster.rng.below(4) == 0 => {
                let index = cluster.rng.below(4) as usize;
                cluster.crash(index);
                down = Some((index, tick + 1 + cluster.rng.below(6)));
            }
            _ => {}
        }
    }
    if let Some((index, _)) = down {
        cluster.boot(index);
    }
    cluster.run_until(45_000);
    cluster
}

#[test]
fn a_member_that_crashes_says_again_what_it_said_and_catches_up() {
    for seed in 1..=12 {
        let cluster = crashes(seed, false);
        assert_eq!(cluster.equivocations, 0, "seed {seed}");
        assert_eq!(cluster.sentenced(), 0, "nobody honest is, seed {seed}");
        let heights = cluster.heights();
        let (least, most) = (
            heights.iter().min().expect("four"),
            heights.iter().max().expect("four"),
        );
        assert!(*least >= 16 && most - least <= 1, "seed {seed}: {heights:?}");
    }
}

/// The negative control: with a disk that forgets the log, the check above must fail.
#[test]
fn a_forgotten_log_is_noticed() {
    let caught = (1..=12)
        .filter(|seed| crashes(*seed, true).equivocations > 0)
        .count();
    assert!(caught >= 9, "only {caught} of 12 runs without a log were caught");
}

#[test]
fn all_members_lose_power_and_resume() {
    let mut cluster = Cluster::new(3, 4);
    for second in 1..=10 {
        cluster.report((second % 8) as usize, (second % 4) as usize);
        cluster.run_until(second * 500 + 130);
    }
    let before = cluster.heights();
    (0..4).for_each(|index| cluster.crash(index));
    cluster.queue.clear();
    cluster.events.clear();
    cluster.now_ms += 1_000;
    (0..4).for_each(|index| cluster.boot(index));
    assert_eq!(cluster.heights(), before, "what was committed is there");
    cluster.report(1, 1);
    cluster.run_until(20_000);
    assert!(
        cluster
            .heights()
            .iter()
            .zip(&before)
            .all(|(after, before)| after > before)
    );
    assert_eq!(cluster.equivocations, 0);
}

#[test]
fn a_failing_disk_stops_the_member_before_it_speaks() {
    let mut cluster = Cluster::new(4, 4);
    cluster.run_until(3_500);
    cluster.stores[2].fail_next_sync();
    cluster.report(0, 0);
    let mut stopped = None;
    for at in 1..400 {
        cluster.now_ms = 3_500 + at * 5;
        let now = cluster.now();
        let node = cluster.nodes[2].as_mut().expect("up");
        if node.wake_at() <= now.mono_ms
            && let Err(fatal) = node.handle(now, Input::Wake)
        {
            stopped = Some(fatal);
            break;
        }
        while let Some(std::cmp::Reverse((due, number))) = cluster.queue.peek().copied() {
            if due > cluster.now_ms {
                break;
            }
            cluster.queue.pop();
            let (to, input) = cluster.events.remove(&number).expect("posted");
            if let Err(fatal) = cluster.step(to, input) {
                assert_eq!(to, 2);
                stopped = Some(fatal);
            }
        }
        if stopped.is_some() {
            break;
        }
    }
    let stopped = stopped.expect("the member stops");
    assert!(matches!(stopped, Fatal::Store(_)), "{stopped}");
}

fn addition(key: &SecretKey) -> Change {
    Change::AddMember(Member {
        key: key.public(),
        provider: "newcomer".into(),
        power: 1,
    })
}

#[test]
fn a_fifth_member_votes_once_admitted_and_a_removed_one_follows() {
    let mut cluster = Cluster::with_others(5, 4, 1);
    cluster.report(0, 0);
    cluster.run_until(5_000);
    assert!(cluster.heights()[4] >= 2, "it follows without a vote");
    assert_eq!(cluster.voted(4), []);

    cluster.decide(&[0, 1, 2], addition(&cluster.keys[4].clone()));
    let admitted = cluster
        .sets
        .iter()
        .find(|(_, set)| set.count() == 5)
        .expect("five vote");
    let admitted = *admitted.0;
    cluster.run_until(cluster.now_ms + 10_000);
    let voted = cluster.voted(4);
    assert!(
        voted.iter().all(|height| *height >= admitted),
        "{voted:?}, admitted at {admitted}"
    );
    assert!(voted.len() > 2, "{voted:?}");

    let member = cluster.keys[0].address();
    cluster.decide(&[1, 2, 3, 4], Change::RemoveMember { member });
    let gone = cluster
        .sets
        .iter()
        .rev()
        .find(|(_, set)| set.get(&member).is_some())
        .expect("it voted")
        .0
        .next();
    let before = cluster.heights();
    cluster.report(1, 1);
    cluster.run_until(cluster.now_ms + 10_000);
    assert!(cluster.voted(0).iter().all(|height| *height < gone));
    assert!(cluster.heights()[0] > before[0], "it goes on following");
    assert_eq!(cluster.members_of(0), cluster.members_of(4));

    // The negative control: whoever goes by the members of old believes nothing of what the new ones decide.
    let view = cluster.nodes[1].as_ref().expect("up").view();
    let head = view.head().expect("a block");
    assert!(
        head.verify(&cluster.genesis.chain, &cluster.genesis.members)
            .is_err()
    );
    // Where only members of old happened to sign, the certificate alone does not tell.
    let newcomer = cluster.keys[4].address();
    let signed = (admitted.0..=view.height().0).find_map(|height| {
        let Some(Input::Block { certificate, .. }) = cluster.answer(1, Want::Block(Height(height))) else {
            return None;
        };
        let signers = certificate.signatures.iter().map(|(signer, _)| *signer);
        signers
            .into_iter()
            .any(|signer| signer == newcomer)
            .then_some(certificate)
    });
    let certificate = signed.expect("it voted");
    assert!(
        certificate
            .verify(&cluster.genesis.chain, &cluster.genesis.members)
            .is_err()
    );
}

/// Under load, loss and crashes: one more power, one more member, another key, one member fewer.
fn changes_amid_crashes(seed: u64) -> Cluster {
    let mut cluster = Cluster::with_others(seed, 4, 2);
    cluster.loss_permille = 50;
    cluster.run_until(1_000);
    let member = |cluster: &Cluster, index: usize| cluster.keys[index].address();
    let changes = [
        Change::SetPower {
            member: member(&cluster, 1),
            power: 2,
        },
        addition(&cluster.keys[4]),
        Change::SetKey {
            member: member(&cluster, 2),
            key: cluster.keys[5].public(),
        },
        Change::RemoveMember {
            member: member(&cluster, 0),
        },
    ];
    for (turn, change) in changes.into_iter().enumerate() {
        cluster.report(turn, 1);
        // In the end the third member goes by its new key.
        let voters: &[usize] = if turn == 3 {
            &[0, 1, 3, 4, 5]
        } else {
            &[0, 1, 2, 3]
        };
        cluster.decide(voters, change);
        // One falls while the change takes force, and misses some of it.
        let falls = (turn + seed as usize) % 4;
        cluster.crash(falls);
        cluster.run_until(cluster.now_ms + 1_500);
        cluster.boot(falls);
        cluster.run_until(cluster.now_ms + 4_000);
    }
    cluster.run_until(cluster.now_ms + 20_000);
    cluster
}

#[test]
fn members_change_under_load_loss_and_crashes_and_all_agree() {
    for seed in 1..=6 {
        let cluster = changes_amid_crashes(seed);
        assert_eq!(cluster.equivocations, 0, "seed {seed}");
        let heights = cluster.heights();
        let (least, most) = (
            heights.iter().min().expect("six"),
            heights.iter().max().expect("six"),
        );
        assert!(*least >= 20 && most - least <= 1, "seed {seed}: {heights:?}");
        assert!(cluster.sets.len() > 4);
    }
}

#[test]
fn every_change_of_members_takes_force() {
    let cluster = changes_amid_crashes(2);
    let members = cluster.members_of(4);
    let powers: Vec<_> = [0, 1, 2, 3, 4, 5]
        .map(|index: usize| {
            members
                .get(&cluster.keys[index].address())
                .map(|member| member.power)
        })
        .to_vec();
    assert_eq!(powers, [None, Some(2), None, Some(1), Some(1), Some(1)]);
    assert!(!cluster.voted(5).is_empty(), "the new key votes");
}

#[test]
fn who_prevotes_twice_is_jailed_by_what_the_others_saw_and_the_chain_goes_on() {
    let mut cluster = Cluster::new(11, 4);
    cluster.liar = Some(3);
    cluster.report(0, 0);
    cluster.run_until(20_000);
    let liar = cluster.keys[3].address();
    let view = cluster.nodes[0].as_ref().expect("up").view();
    let sentence = view.state().sentence(&liar).cloned().expect("sentenced");
    assert_eq!(sentence.times, 1, "each offence once, whoever saw it");
    let jailed = cluster.sets.values().find(|set| set.count() == 3);
    assert!(jailed.is_some_and(|set| set.get(&liar).is_none()));
    assert_eq!(cluster.sentenced(), 1, "and nobody else");
    // It votes no more, and the others do without it.
    let (voted, before) = (cluster.voted(3).len(), cluster.heights());
    cluster.report(1, 1);
    cluster.run_until(40_000);
    assert_eq!(cluster.voted(3).len(), voted);
    let heights = cluster.heights();
    assert!(
        heights.iter().zip(before).all(|(now, before)| *now > before),
        "{heights:?}"
    );
}

#[test]
fn what_members_saw_is_on_the_ledger_though_all_are_killed_before_they_bring_it() {
    let mut cluster = Cluster::new(11, 4);
    cluster.liar = Some(3);
    cluster.report(0, 0);
    let genesis = cluster.genesis.hash();
    let is_kept = |cluster: &Cluster| {
        (0..3).any(|index| {
            let loaded = cluster.stores[index].clone().load(genesis).expect("its own");
            !loaded.evidence.is_empty()
        })
    };
    while !is_kept(&cluster) {
        assert!(cluster.now_ms < 20_000, "nobody saw anything");
        cluster.run_until(cluster.now_ms + 1);
    }
    assert_eq!(cluster.sentenced(), 0, "nobody brought it yet");
    // From now on it is honest, and nothing of what was said is under way.
    cluster.liar = None;
    (0..4).for_each(|index| cluster.crash(index));
    cluster.queue.clear();
    cluster.events.clear();
    (0..4).for_each(|index| cluster.boot(index));
    cluster.run_until(cluster.now_ms + 20_000);
    assert_eq!(cluster.sentenced(), 1);
}

#[test]
fn who_batches_a_report_that_its_vehicle_did_not_sign_is_convicted_by_whoever_got_it() {
    let mut cluster = Cluster::new(12, 4);
    cluster.report(0, 0);
    cluster.run_until(5_000);
    let (chain, liar) = (cluster.genesis.chain.clone(), cluster.keys[3].clone());
    let view = cluster.nodes[0].as_ref().expect("up").view();
    let said = view
        .batches()
        .first()
        .map(|batch| batch.reports()[0].signed().clone());
    let said = said.unwrap_or_else(|| {
        let report = Report {
            version: Report::VERSION,
            vehicle: cluster.vehicles[0].key_id(),
            sequence: Sequence(77),
            sent_at: cluster.now().wall,
            observations: Vec::new(),
        };
        Signed::sign(report, &chain, &cluster.vehicles[0]).into_signed()
    });
    let forged = Signed::sign(said.message, &chain, &liar).into_signed();
    let batch = milepost_wire::Batch {
        author: liar.address(),
        sequence: 1,
        height: view.height(),
        created_at: cluster.now().wall,
        reports: vec![forged],
    };
    let signed = Signed::sign(batch, &chain, &liar).into_signed();
    let point = liar.public().verifying_key().expect("a point");
    let key = |vehicle| view.state().vehicle(&vehicle)?.key.verifying_key().ok();
    let refused = VerifiedBatch::verify(signed, view.height(), &chain, &point, key, |_| None);
    let evidence = refused
        .expect_err("forged")
        .evidence()
        .cloned()
        .expect("it convicts");
    // One member alone got it.
    cluster
        .step(1, Input::BadBatch(Box::new(evidence)))
        .expect("goes on");
    cluster.run_until(30_000);
    assert_eq!(cluster.sentenced(), 1);
    assert!(
        cluster.members_of(0).get(&liar.address()).is_none(),
        "its vote is gone"
    );
    assert_eq!(cluster.equivocations, 0);
}

#[test]
fn without_jail_who_prevotes_twice_is_sentenced_and_keeps_its_vote() {
    let params = Params {
        jail_epochs: 0,
        ..Params::default()
    };
    let mut cluster = Cluster::with_params(11, 4, 0, params);
    cluster.liar = Some(3);
    cluster.report(0, 0);
    cluster.run_until(20_000);
    let liar = cluster.keys[3].address();
    let view = cluster.nodes[0].as_ref().expect("up").view();
    assert!(
        view.state()
            .sentence(&liar)
            .is_some_and(|sentence| sentence.jailed.is_none())
    );
    assert!(cluster.members_of(0).get(&liar).is_some());
}
