//! What does a member say that does not mean well?
//!
//! It runs the same software as the others. Between it and the lines stands this file, with the member's key: it
//! changes, adds and leaves out, and signs. It signs for nobody else, except where a [`Control`] breaks the rule
//! that would notice.
//!
//! [`Control`]: crate::control::Control

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use milepost_node::Want;
use milepost_node::ledger::{Contents, Ledger};
use milepost_node::message::{Acks, PeerMessage, Proposal, ProposedBody, Status, Vote};
use milepost_wire::bad_batch::BadBatch;
use milepost_wire::batch::BatchRef;
use milepost_wire::equivocation::Word;
use milepost_wire::vote::{self, Step};
use milepost_wire::{
    Action, Address, Block, Certificate, Complaint, Equivocation, Evidence, Hash, Header, Height, SecretKey,
    Signature, Signed, SignedAcks,
};

use super::member::Answer;
use super::{Event, Town};
use crate::fault::{Fault, Trouble};

/// What even-numbered members hear, and what odd-numbered ones do.
pub(super) type Said = [Option<Arc<PeerMessage>>; 2];

/// What liars remember.
#[derive(Debug, Default)]
pub(super) struct Lies {
    /// Which block a liar shows instead of its own, by its own's hash.
    instead: BTreeMap<(usize, Hash), Block>,
    /// What was said lately, oldest first, for those who say it again; nothing where nobody does.
    overheard: VecDeque<Arc<PeerMessage>>,
    overhears: bool,
    /// What members acknowledged last.
    promises: BTreeMap<Address, SignedAcks>,
}

/// How much of it.
const OVERHEARD_MAX: usize = 64;
/// How often a slanderer accuses somebody.
const SLANDER_US: u64 = 1_000_000;

impl Lies {
    /// The lies of a run with these faults.
    pub(super) fn new(faults: &[Fault]) -> Self {
        let repeats =
            |fault: &Fault| matches!(fault.trouble, Trouble::Flood { .. } | Trouble::Slander { .. });
        Self {
            overhears: faults.iter().any(repeats),
            ..Self::default()
        }
    }
}

impl Town<'_> {
    /// What the others hear when a member says this.
    pub(super) fn twist(&mut self, from: usize, message: PeerMessage) -> Said {
        let lies: Vec<Trouble> = self.lies_of(from).cloned().collect();
        if self.lies.overhears {
            self.overhear(&message);
        }
        let own = self.members[from].address();
        let shows = |message: &PeerMessage| match message {
            PeerMessage::Body(body) => body.block.header.proposer == own,
            PeerMessage::Proposal(proposal) => proposal.proposer == own,
            _ => false,
        };
        let message = Arc::new(message);
        let mut said = [Some(message.clone()), Some(message)];
        for lie in lies {
            match lie {
                Trouble::Silent { .. } => {
                    said = said.map(|message| message.filter(|message| !shows(message)));
                }
                Trouble::Withhold { .. } => {
                    said = said
                        .map(|message| message.filter(|message| !matches!(**message, PeerMessage::Body(_))));
                    said[1] = said[1]
                        .take()
                        .filter(|message| !matches!(**message, PeerMessage::Batch(_)));
                }
                Trouble::Equivocate { .. } => {
                    if let Some(message) = said[1].take() {
                        said[1] = Some(self.other(from, message, false));
                    }
                }
                Trouble::Junk { .. } => {
                    if let Some(message) = said[0].take().filter(|message| shows(message)) {
                        let junk = self.other(from, message, true);
                        said = [Some(junk.clone()), Some(junk)];
                    } else {
                        said[0] = said[1].clone();
                    }
                }
                _ => {}
            }
        }
        for message in said.iter().flatten() {
            self.watch.heard_proposal(message);
        }
        said
    }

    fn lies_of(&self, member: usize) -> impl Iterator<Item = &Trouble> {
        self.on
            .iter()
            .map(|number| &self.scenario.fault[*number])
            .filter(move |fault| fault.liar() == Some(member))
            .map(|fault| &fault.trouble)
    }

    fn overhear(&mut self, message: &PeerMessage) {
        if let PeerMessage::Acks(acks) = message {
            self.lies.promises.insert(acks.message.member, acks.clone());
        }
        let overheard = &mut self.lies.overheard;
        if overheard.len() == OVERHEARD_MAX {
            overheard.pop_front();
        }
        overheard.push_back(Arc::new(message.clone()));
    }

    /// The same word on another block, signed: a valid one, or junk.
    fn other(&mut self, from: usize, message: Arc<PeerMessage>, junk: bool) -> Arc<PeerMessage> {
        let key = self.members[from].key().clone();
        Arc::new(match &*message {
            PeerMessage::Body(body) if body.block.header.proposer == key.address() => {
                match self.instead(from, &body.block, junk) {
                    Some(block) => PeerMessage::Body(ProposedBody {
                        round: body.round,
                        block,
                    }),
                    None => return message,
                }
            }
            PeerMessage::Proposal(proposal) if proposal.proposer == key.address() => {
                match self.lies.instead.get(&(from, proposal.value)) {
                    Some(block) => {
                        let value = block.hash();
                        self.signed_proposal(
                            &key,
                            Proposal {
                                value,
                                ..proposal.clone()
                            },
                        )
                    }
                    None => return message,
                }
            }
            PeerMessage::Vote(vote) if !junk && vote.voter == key.address() => {
                let value = match vote.value {
                    Some(value) => self.lies.instead.get(&(from, value)).map(Block::hash),
                    None => self.watch.last_proposed(vote.height),
                };
                self.signed_vote(
                    &key,
                    Vote {
                        value,
                        ..vote.clone()
                    },
                )
            }
            _ => return message,
        })
    }

    /// The block that a liar shows instead of one that it built.
    fn instead(&mut self, from: usize, block: &Block, junk: bool) -> Option<Block> {
        let at = (from, block.hash());
        if let Some(known) = self.lies.instead.get(&at) {
            return Some(known.clone());
        }
        let other = if junk {
            self.spoil(block)
        } else {
            let view = self.members[from].view()?;
            let header = &block.header;
            let built = view
                .ledger()
                .build(header.proposer, header.time.plus(1), &Contents::default());
            built.ok()?.0
        };
        if self.lies.instead.len() == OVERHEARD_MAX {
            self.lies.instead.pop_first();
        }
        self.lies.instead.insert(at, other.clone());
        Some(other)
    }

    /// The same block with one thing wrong.
    fn spoil(&mut self, block: &Block) -> Block {
        let Block { mut header, mut body } = block.clone();
        let noise = Hash::of("noise", &[&self.chance.draw().to_le_bytes()]);
        let mut names = |batch: BatchRef| body.batches.push(batch);
        match self.chance.below(9) {
            0 => header.state_root = noise,
            1 => header.outputs_root = noise,
            2 => header.parent = noise,
            3 => header.next_members_hash = noise,
            4 => header.time = self.genesis.time,
            5 => header.time = header.time.plus(3_600_000),
            6 => header.proposer = SecretKey::from_seed("sim stranger", 0).address(),
            7 => names(BatchRef {
                digest: noise,
                author: header.proposer,
            }),
            _ => {
                let twice = block.body.batches.first().copied().unwrap_or(BatchRef {
                    digest: noise,
                    author: header.proposer,
                });
                names(twice);
                names(twice);
            }
        }
        header.batches_root = body.batches_root();
        Block { header, body }
    }

    // Floods.

    /// One message of a flood, to everybody, and the next one later.
    pub(super) fn flood(&mut self, number: usize) {
        let scenario = self.scenario;
        let Trouble::Flood { member, per_second } = scenario.fault[number].trouble else {
            return;
        };
        if !self.on.contains(&number) {
            return;
        }
        let message = Arc::new(self.noise(member));
        for to in (0..self.members.len()).filter(|to| *to != member) {
            self.pass(member, to, &message);
        }
        self.queue
            .at(self.queue.now_us() + 1_000_000 / per_second, Event::Flood(number));
    }

    fn noise(&mut self, from: usize) -> PeerMessage {
        let key = self.members[from].key().clone();
        let height = self.newest.height().next();
        // What goes on, or what comes next.
        let round = self.watch.round_of(height) + self.chance.below(2) as u32;
        let draw = self.chance.draw();
        let noise = Hash::of("noise", &[&draw.to_le_bytes()]);
        let units = self.units as u64;
        let other = self.members[self.chance.below(units) as usize].address();
        let again = self.chance.below(OVERHEARD_MAX as u64) as usize;
        let vote = |voter: Address| Vote {
            precommit: draw & 1 == 0,
            height,
            round,
            value: (draw & 2 == 0).then_some(noise),
            voter,
            signature: Signature::sign(&key, &noise),
        };
        match self.chance.below(8) {
            // A block that nobody proposed.
            0 | 1 => match self.newest.block() {
                Some(newest) => {
                    let header = Header {
                        height,
                        parent: newest.hash(),
                        proposer: other,
                        time: newest.header.time.plus(1),
                        state_root: noise,
                        ..newest.header.clone()
                    };
                    let block = Block {
                        header,
                        body: Default::default(),
                    };
                    PeerMessage::Body(ProposedBody { round, block })
                }
                None => PeerMessage::Vote(vote(other)),
            },
            // A block that was proposed, with other contents.
            2 | 3 => match self.changed_body(noise) {
                Some(body) => PeerMessage::Body(body),
                None => PeerMessage::Vote(vote(other)),
            },
            // A vote in another's name.
            4 => PeerMessage::Vote(vote(other)),
            // A vote of its own for anything.
            5 => self.signed_vote(&key, vote(key.address())),
            // A boast.
            6 => PeerMessage::Status(Status {
                height: Height(u64::MAX),
            }),
            // What was said before, or batches that nobody has.
            _ => match self.lies.overheard.get(again) {
                Some(message) if draw & 4 == 0 => (**message).clone(),
                _ => {
                    let acks = Acks {
                        member: key.address(),
                        height,
                        batches: vec![noise],
                    };
                    PeerMessage::Acks(Signed::sign(acks, &self.genesis.chain, &key).into_signed())
                }
            },
        }
    }

    /// The last proposed block under its own header, with a batch more in it.
    fn changed_body(&self, noise: Hash) -> Option<ProposedBody> {
        let mut overheard = self.lies.overheard.iter().rev();
        let body = overheard.find_map(|message| match &**message {
            PeerMessage::Body(body) => Some(body),
            _ => None,
        });
        let mut body = body?.clone();
        change(&mut body.block, noise);
        Some(body)
    }

    // Slander.

    /// One accusation of a slanderer, handed to anybody, and the next one later.
    pub(super) fn slander(&mut self, number: usize) {
        let Trouble::Slander { member } = self.scenario.fault[number].trouble else {
            return;
        };
        if !self.on.contains(&number) {
            return;
        }
        if let Some(action) = self.accusation(member) {
            let to = self.chance.below(self.units as u64) as usize;
            self.hand_in(member, to, action);
        }
        let at_us = self.queue.now_us() + SLANDER_US;
        self.queue.at(at_us, Event::Slander(number));
    }

    fn accusation(&mut self, from: usize) -> Option<Action> {
        let key = self.members[from].key().clone();
        let noise = Hash::of("noise", &[&self.chance.draw().to_le_bytes()]);
        let draw = self.chance.below(8);
        let others: Vec<&SignedAcks> = self.lies.promises.values().collect();
        let others: Vec<_> = others
            .into_iter()
            .filter(|acks| acks.message.member != key.address())
            .collect();
        let pick = |chance: &mut crate::rng::Rng, count: usize| chance.below(count.max(1) as u64) as usize;
        let promise = others.get(pick(&mut self.chance, others.len())).copied()?.clone();
        let promised = &promise.message.batches;
        let batch = promised[pick(&mut self.chance, promised.len())];
        let member = promise.message.member;
        Some(match draw {
            // Of what was promised, and handed out to whoever asked.
            0..=2 => Action::Complain(Complaint { promise, batch }),
            // Of what was not.
            3 => Action::Complain(Complaint {
                promise,
                batch: noise,
            }),
            // A promise in another's name.
            4 => {
                let mut acks = promise.message;
                acks.batches = vec![noise];
                let promise = Signed::sign(acks, &self.genesis.chain, &key).into_signed();
                Action::Complain(Complaint {
                    promise,
                    batch: noise,
                })
            }
            // Two words of other times, as if they were of one.
            5 => Action::Blame(Evidence::Equivocation(self.two_words(member, noise)?)),
            // A batch that nothing is wrong with.
            6 => {
                let batch = self.batches.get(&batch)?.signed().clone();
                Action::Blame(Evidence::BadBatch(BadBatch::of(&batch, 0)?))
            }
            // What somebody brought before.
            _ => {
                let blocks = self.views.values().filter_map(|view| view.block());
                let all = blocks.flat_map(|block| &block.body.transactions);
                let accuses = |action: &&Action| matches!(action, Action::Blame(_) | Action::Complain(_));
                let all = all.map(|signed| &signed.message.action).filter(accuses);
                let all: Vec<Action> = all.cloned().collect();
                all.get(pick(&mut self.chance, all.len()))?.clone()
            }
        })
    }

    fn two_words(&self, member: Address, noise: Hash) -> Option<Equivocation> {
        let mut votes = self.lies.overheard.iter().filter_map(|message| match &**message {
            PeerMessage::Vote(vote) if vote.voter == member => Some(vote),
            _ => None,
        });
        let (one, other) = (votes.next()?, votes.next_back()?);
        let word = |vote: &Vote, value| Word {
            value,
            valid_round: None,
            signature: vote.signature,
        };
        Some(Equivocation {
            member,
            step: if one.precommit {
                Step::Precommit
            } else {
                Step::Prevote
            },
            height: one.height,
            round: one.round,
            one: word(one, one.value),
            other: word(
                other,
                if one.value == other.value {
                    Some(noise)
                } else {
                    other.value
                },
            ),
        })
    }

    // Answers.

    /// What a member answers where this is what it found.
    pub(super) fn twist_answer(
        &mut self,
        member: usize,
        want: Want,
        found: Option<Answer>,
    ) -> Option<Answer> {
        let (mut withholds, mut forges) = (false, false);
        for lie in self.lies_of(member) {
            withholds |= matches!(lie, Trouble::Withhold { .. });
            forges |= matches!(lie, Trouble::Forge { .. });
        }
        match (withholds, forges) {
            (true, _) => None,
            (false, true) => self.forge(member, want, found),
            (false, false) => found,
        }
    }

    fn forge(&mut self, member: usize, want: Want, found: Option<Answer>) -> Option<Answer> {
        let draw = self.chance.below(8);
        let noise = Hash::of("noise", &[&self.chance.draw().to_le_bytes()]);
        match (want, found) {
            (Want::Block(height), found) if draw < 5 => {
                let certified = match &found {
                    Some(Answer::Block { certificate, .. }) => Some(certificate.clone()),
                    _ => None,
                };
                let block = self.block_instead(member, height)?;
                let certificate = match (draw, certified) {
                    // Of this block, in everybody's name.
                    (0, _) => self.certified_by(&block, |_| Some(self.members[member].key().clone())),
                    // By strangers under their own names.
                    (1, _) => self.certificate_of_strangers(&block),
                    // By itself alone.
                    (2, _) => {
                        let mut certificate = self.certificate_for(&block);
                        let own = self.members[member].address();
                        certificate.signatures.retain(|(address, _)| *address == own);
                        certificate
                    }
                    // By itself, often.
                    (3, _) => {
                        let mut certificate = self.certificate_for(&block);
                        let own = self.members[member].address();
                        certificate.signatures.retain(|(address, _)| *address == own);
                        let one = certificate.signatures.first().copied()?;
                        certificate.signatures = vec![one; self.scenario.ledger.members];
                        certificate
                    }
                    // Of the true block.
                    (_, certified) => certified?,
                };
                Some(Answer::Block {
                    block: Box::new(block),
                    certificate,
                    batches: Vec::new(),
                })
            }
            (
                _,
                Some(Answer::Block {
                    mut block,
                    mut certificate,
                    mut batches,
                }),
            ) => {
                match draw {
                    // The true header with other contents.
                    5 => change(&mut block, noise),
                    // Without its batches.
                    6 => batches.clear(),
                    // With too few signatures.
                    _ => certificate.signatures.truncate(1),
                }
                Some(Answer::Block {
                    block,
                    certificate,
                    batches,
                })
            }
            (_, Some(Answer::Body(mut block))) => {
                change(&mut block, noise);
                Some(Answer::Body(block))
            }
            (_, Some(Answer::Batch(_))) => self.batches.values().next().cloned().map(Answer::Batch),
            (_, None) => None,
        }
    }

    /// A block that could stand at this height, had it been agreed on.
    fn block_instead(&self, member: usize, height: Height) -> Option<Block> {
        let genesis;
        let below = match height.0.checked_sub(1)? {
            0 => {
                genesis = Ledger::genesis(&self.genesis);
                &genesis
            }
            below => self.views.get(&Height(below))?.ledger(),
        };
        let time = below.time().plus(1);
        let built = below.build(self.members[member].address(), time, &Contents::default());
        Some(built.ok()?.0)
    }

    fn certificate_of_strangers(&self, block: &Block) -> Certificate {
        let strangers: BTreeMap<Address, SecretKey> = (0..self.scenario.ledger.members as u64)
            .map(|index| SecretKey::from_seed("sim stranger", index))
            .map(|key| (key.address(), key))
            .collect();
        self.certificate(block, strangers)
    }

    /// A certificate that all of its members signed: what no liar has, and a control believes to have seen.
    pub(super) fn certificate_for(&self, block: &Block) -> Certificate {
        self.certified_by(block, |member| self.secrets.get(member).cloned())
    }

    /// A certificate in the names of all who vote on the block, signed with whatever key.
    fn certified_by(&self, block: &Block, key: impl Fn(&Address) -> Option<SecretKey>) -> Certificate {
        let voters = self.watch.voters_named(&block.header.members_hash);
        let keys = voters
            .unwrap_or(&self.genesis.members)
            .iter()
            .filter_map(|(member, _)| Some((member, key(&member)?)));
        self.certificate(block, keys.collect())
    }

    fn certificate(&self, block: &Block, keys: BTreeMap<Address, SecretKey>) -> Certificate {
        let (height, hash) = (block.header.height, block.hash());
        let signature = |(address, key): (Address, SecretKey)| {
            let digest = vote::digest(
                &self.genesis.chain,
                Step::Precommit,
                height,
                0,
                Some(hash),
                address,
            );
            (address, Signature::sign(&key, &digest))
        };
        Certificate {
            height,
            round: 0,
            block: hash,
            signatures: keys.into_iter().map(signature).collect(),
        }
    }

    // Signatures.

    fn signed_vote(&self, key: &SecretKey, vote: Vote) -> PeerMessage {
        let step = if vote.precommit {
            Step::Precommit
        } else {
            Step::Prevote
        };
        let chain = &self.genesis.chain;
        let digest = vote::digest(chain, step, vote.height, vote.round, vote.value, vote.voter);
        let signature = Signature::sign(key, &digest);
        PeerMessage::Vote(Vote { signature, ..vote })
    }

    fn signed_proposal(&self, key: &SecretKey, proposal: Proposal) -> PeerMessage {
        let Proposal {
            height,
            round,
            valid_round,
            value,
            proposer,
            ..
        } = proposal;
        let valid_round = valid_round.map_or(-1, i64::from);
        let digest = vote::proposal_digest(&self.genesis.chain, height, round, valid_round, value, proposer);
        let signature = Signature::sign(key, &digest);
        PeerMessage::Proposal(Proposal {
            signature,
            ..proposal
        })
    }

    /// The proposal that this body would need, signed by whose turn it is: what a control believes to have seen.
    pub(super) fn proposal_for(&self, body: &ProposedBody) -> PeerMessage {
        let height = body.block.header.height;
        // Members of equal power take turns in the order of their addresses.
        let voters = self.watch.voters_at(height).unwrap_or(&self.genesis.members);
        let turn = (height.0 + u64::from(body.round)) % voters.count() as u64;
        let (address, _) = voters.iter().nth(turn as usize).expect("one of them");
        let key = &self.secrets[&address];
        let proposal = Proposal {
            height,
            round: body.round,
            valid_round: None,
            value: body.block.hash(),
            proposer: key.address(),
            signature: Signature::sign(key, &Hash::ZERO),
        };
        self.signed_proposal(key, proposal)
    }
}

/// Puts a batch into a block that its header does not know of.
fn change(block: &mut Block, noise: Hash) {
    block.body.batches.push(BatchRef {
        digest: noise,
        author: block.header.proposer,
    });
}
