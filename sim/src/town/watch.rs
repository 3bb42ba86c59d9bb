//! Does what must hold hold, and what came of it?
//!
//! In: everything that members say to one another, and every block that any of them commits. Out: the
//! [`Invariants`], and what the figures are made of. The watch sees more than any participant, and touches
//! nothing.
//!
//! What it expects of members it expects of those that mean well: who lies may contradict itself.

use std::collections::{BTreeMap, BTreeSet};

use milepost_incentives::audit::Audit;
use milepost_incentives::{Genesis, State};
use milepost_node::View;
use milepost_node::message::PeerMessage;
use milepost_wire::output::{EpochClosed, Estimate, Outcome};
use milepost_wire::time::Epoch;
use milepost_wire::vote::Step;
use milepost_wire::{
    Action, Address, Block, ChainId, Change, Hash, Height, KeyId, Kind, Members, Output, Sequence, encode,
};

use crate::figures::Invariants;

/// What was seen so far.
pub(super) struct Watch {
    chain: ChainId,
    pub(super) invariants: Invariants,
    /// What went wrong first, for people.
    pub(super) broken: Vec<String>,
    /// Those of whom nothing is expected.
    liars: BTreeSet<Address>,
    /// The members that voted, or will, by the hash that headers name them with.
    voters: BTreeMap<Hash, Members>,
    /// Who votes at each height, as far as that is certain; old ones are forgotten.
    voters_at: BTreeMap<u64, Hash>,
    /// How many changes of members were done, ...
    pub(super) changes: u64,
    /// ... and how many others that members decided.
    pub(super) decisions: u64,
    /// How many members lost their vote by a sentence.
    pub(super) jailed: u64,
    /// Of whom members that mean well complained.
    complained_of: BTreeSet<Address>,
    /// Names of one member, each two before and after a change of its key.
    renamed: Vec<(Address, Address)>,
    /// Complaints that the ledger took.
    pub(super) complaints: u64,
    /// How often the ledger took complaints for true.
    pub(super) withheld: u64,
    /// Each height's block.
    pub(super) blocks: Vec<Hash>,
    /// Each height's contents.
    contents: Vec<Hash>,
    /// Block, certificate and batches of all heights, in bytes.
    pub(super) bytes: u64,
    /// What each member put its signature to, at heights that are not decided everywhere.
    said: BTreeMap<(u64, u32, Step, Address), Option<Hash>>,
    /// Blocks that a signed proposal named, by height.
    proposed: BTreeMap<(u64, Hash), u64>,
    /// The greatest round that an honest member voted in.
    pub(super) worst_round: u32,
    /// Reports that the ledger executed, whatever became of them.
    counted: BTreeSet<(KeyId, Sequence)>,
    /// Whether each counts once, and whether what is paid adds up.
    audit: Audit,
    /// What the ledger made of reports.
    pub(super) outcomes: BTreeMap<Outcome, u64>,
    /// The first sending of reports that are not decided.
    sent_us: BTreeMap<(KeyId, Sequence), u64>,
    /// How long the others took.
    pub(super) finality_ms: Vec<u64>,
    /// The published figures of speed.
    pub(super) estimates: Vec<Estimate>,
    /// Those of other kinds, and when the first member had each.
    pub(super) beside: Vec<(u64, Estimate)>,
    /// The closed epochs.
    pub(super) epochs: Vec<EpochClosed>,
    /// What operators were paid, in micro-tokens.
    pub(super) operators: BTreeMap<Address, u64>,
    /// Vehicles that ever were in quarantine.
    pub(super) quarantined: BTreeMap<KeyId, Record>,
}

/// A vehicle's record of quarantines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// The epoch of the first.
    pub(super) since: u32,
    /// The epoch of the last release.
    pub(super) released: Option<u32>,
    /// Whether it is in quarantine.
    pub(super) now: bool,
}

/// How many broken promises are told.
const BROKEN_MAX: usize = 10;

impl Watch {
    /// Nothing was seen yet on this chain; `liars` will not mean well.
    pub(super) fn new(genesis: &Genesis, liars: BTreeSet<Address>) -> Self {
        Self {
            chain: genesis.chain.clone(),
            invariants: Invariants::HOLD,
            broken: Vec::new(),
            liars,
            voters: BTreeMap::from([(genesis.members.hash(), genesis.members.clone())]),
            voters_at: BTreeMap::from([(1, genesis.members.hash())]),
            changes: 0,
            decisions: 0,
            jailed: 0,
            complained_of: BTreeSet::new(),
            renamed: Vec::new(),
            complaints: 0,
            withheld: 0,
            blocks: Vec::new(),
            contents: Vec::new(),
            bytes: 0,
            said: BTreeMap::new(),
            proposed: BTreeMap::new(),
            worst_round: 0,
            counted: BTreeSet::new(),
            audit: Audit::new(&genesis.params),
            outcomes: BTreeMap::new(),
            sent_us: BTreeMap::new(),
            finality_ms: Vec::new(),
            estimates: Vec::new(),
            beside: Vec::new(),
            epochs: Vec::new(),
            operators: BTreeMap::new(),
            quarantined: BTreeMap::new(),
        }
    }

    /// Notes a broken promise.
    pub(super) fn broken(&mut self, which: impl FnOnce(&mut Invariants) -> &mut bool, what: String) {
        *which(&mut self.invariants) = false;
        if self.broken.len() < BROKEN_MAX {
            self.broken.push(what);
        }
    }

    /// A vehicle put a report on the air for the first time.
    pub(super) fn sent(&mut self, now_us: u64, vehicle: KeyId, sequence: Sequence) {
        self.sent_us.entry((vehicle, sequence)).or_insert(now_us);
    }

    /// The member `speaker` spoke to the others.
    pub(super) fn spoke(&mut self, speaker: Address, message: &PeerMessage) {
        let (height, round, step, who, value) = match message {
            PeerMessage::Vote(vote) => {
                let step = if vote.precommit {
                    Step::Precommit
                } else {
                    Step::Prevote
                };
                (vote.height, vote.round, step, vote.voter, vote.value)
            }
            PeerMessage::Proposal(proposal) => (
                proposal.height,
                proposal.round,
                Step::Propose,
                proposal.proposer,
                Some(proposal.value),
            ),
            _ => return,
        };
        if who != speaker || self.liars.contains(&who) {
            return;
        }
        self.worst_round = self.worst_round.max(round);
        if self
            .voters_at(height)
            .is_some_and(|voters| voters.get(&who).is_none())
        {
            self.broken(
                |invariants| &mut invariants.no_equivocation,
                format!("{who:?} spoke at height {height}, where it has no vote"),
            );
        }
        let before = *self.said.entry((height.0, round, step, who)).or_insert(value);
        if before != value {
            self.broken(
                |invariants| &mut invariants.no_equivocation,
                format!("{who:?} said {before:?} and {value:?} at height {height}, round {round}, {step:?}"),
            );
        }
    }

    /// The member `speaker` says that another does not hand out what it promised.
    pub(super) fn complained(&mut self, speaker: Address, of: Address) {
        if !self.liars.contains(&speaker) {
            self.complained_of.insert(of);
        }
    }

    /// Under which names somebody went and goes.
    fn names(&self, name: Address) -> BTreeSet<Address> {
        let mut names = BTreeSet::from([name]);
        // As often as there are changes is enough to follow all of them.
        for _ in &self.renamed {
            for (before, after) in &self.renamed {
                if names.contains(before) || names.contains(after) {
                    names.extend([*before, *after]);
                }
            }
        }
        names
    }

    /// A proposal left for the others, a liar's as changed as it is.
    pub(super) fn heard_proposal(&mut self, message: &PeerMessage) {
        if let PeerMessage::Proposal(proposal) = message {
            let count = self.proposed.len() as u64;
            let at = (proposal.height.0, proposal.value);
            self.proposed.entry(at).or_insert(count);
        }
    }

    /// Those whom a header names by this hash.
    pub(super) fn voters_named(&self, hash: &Hash) -> Option<&Members> {
        self.voters.get(hash)
    }

    /// Who votes at a height, where that is certain and not long ago.
    pub(super) fn voters_at(&self, Height(height): Height) -> Option<&Members> {
        self.voters.get(self.voters_at.get(&height)?)
    }

    /// The greatest round at a height that somebody honest spoke in.
    pub(super) fn round_of(&self, Height(height): Height) -> u32 {
        let begin = (height, 0, Step::Propose, Address::default());
        let end = (height + 1, 0, Step::Propose, Address::default());
        let newest = self.said.range(begin..end).next_back();
        newest.map_or(0, |((_, round, ..), _)| *round)
    }

    /// The block that was proposed last at a height.
    pub(super) fn last_proposed(&self, height: Height) -> Option<Hash> {
        let at = self
            .proposed
            .range((height.0, Hash::ZERO)..(height.0 + 1, Hash::ZERO));
        at.max_by_key(|(_, count)| **count).map(|((_, hash), _)| *hash)
    }

    /// A member started anew from its disk, where its newest block must be the one that all have.
    pub(super) fn resumed(&mut self, member: usize, view: &View) {
        let Some(head) = view.head() else { return };
        let (height, found) = (view.height(), head.header.hash());
        let known = self.blocks.get(height.0 as usize - 1).copied();
        if let Some(expected) = known.filter(|known| *known != found) {
            self.broken(
                |invariants| &mut invariants.agreement,
                format!(
                    "member {member} starts with block {found:?} at height {height}, others have {expected:?}"
                ),
            );
        }
    }

    /// A member committed a block. Returns whether it is the first to.
    pub(super) fn committed(&mut self, now_us: u64, member: usize, view: &View) -> bool {
        let (Some(head), Some(block)) = (view.head(), view.block()) else {
            return false;
        };
        self.check_certificate(member, view);
        let next = view.members().hash();
        self.voters.insert(next, view.members().clone());
        self.voters_at.insert(view.height().next().0, next);
        if !self.check_agreement(member, view, block) {
            return false;
        }
        let height = view.height().0;
        let hash = block.hash();
        // Who decides alone says nothing that could be overheard.
        let decides_alone = self
            .voters_named(&head.header.members_hash)
            .is_some_and(|voters| voters.count() == 1);
        let is_proposed = decides_alone || self.proposed.contains_key(&(height, hash));
        if !is_proposed || !block.is_whole() {
            self.broken(
                |invariants| &mut invariants.agreement,
                format!("member {member} has block {hash:?} at height {height}, which nobody proposed so"),
            );
        }
        self.check_state(view.state());
        self.bytes += (encode(&**block).len() + encode(&head.certificate).len()) as u64;
        self.bytes += view
            .batches()
            .iter()
            .map(|batch| encode(batch.signed()).len() as u64)
            .sum::<u64>();
        self.read_outputs(now_us, view.outputs());
        self.complaints += complaints(block, view.outputs());
        if view
            .outputs()
            .iter()
            .any(|output| matches!(output, Output::EpochClosed(_)))
        {
            self.roll_call(view);
        }
        // A member that fell far behind and equivocates there would go unseen; nobody could be deceived by it.
        let old = self.blocks.len().saturating_sub(200) as u64;
        self.said = self.said.split_off(&(old, 0, Step::Propose, Address::default()));
        self.proposed = self.proposed.split_off(&(old, Hash::ZERO));
        self.voters_at = self.voters_at.split_off(&old);
        true
    }

    /// Whether a member's newest block and state are those of all; notes them where it is the first to have them,
    /// and says whether it is.
    fn check_agreement(&mut self, member: usize, view: &View, block: &Block) -> bool {
        let (height, hash) = (view.height().0, block.hash());
        let contents = Hash::of("contents", &[&encode(&block.body)]);
        let (expected, found) = (block.header.state_root, view.ledger().state_root());
        if expected != found {
            self.broken(
                |invariants| &mut invariants.agreement,
                format!("member {member} has state {found:?} at height {height}, agreed on is {expected:?}"),
            );
        }
        let index = height as usize - 1;
        match (self.blocks.get(index), self.contents.get(index)) {
            (Some(known), Some(known_contents)) => {
                if (*known, *known_contents) != (hash, contents) {
                    let known = *known;
                    self.broken(
                        |invariants| &mut invariants.agreement,
                        format!(
                            "member {member} has block {hash:?} at height {height}, others have {known:?}"
                        ),
                    );
                }
                false
            }
            _ => {
                self.blocks.push(hash);
                self.contents.push(contents);
                true
            }
        }
    }

    /// Whether the certificate that a member keeps is one.
    fn check_certificate(&mut self, member: usize, view: &View) {
        let Some(head) = view.head() else { return };
        let hash = head.header.hash();
        let verdict = match self.voters.get(&head.header.members_hash) {
            None => Err("nobody knows the members that it names".to_owned()),
            Some(_) if head.certificate.block != hash => {
                Err(format!("it is for {:?}", head.certificate.block))
            }
            Some(members) => head
                .certificate
                .verify(&self.chain, members)
                .map_err(|error| error.to_string()),
        };
        if let Err(why) = verdict {
            let height = view.height();
            self.broken(
                |invariants| &mut invariants.certified,
                format!("member {member} keeps a bad certificate for block {height}: {why}"),
            );
        }
    }

    /// Whether tokens were neither made nor lost.
    pub(super) fn check_state(&mut self, state: &State) {
        if let Err(violation) = state.check() {
            let height = self.blocks.len();
            self.broken(
                |invariants| &mut invariants.conservation,
                format!("at height {height}: {violation}"),
            );
        }
    }

    /// What came of a block.
    pub(super) fn read_outputs(&mut self, now_us: u64, outputs: &[Output]) {
        if let Err(unsound) = self.audit.read(outputs) {
            let height = self.blocks.len();
            self.broken(
                |invariants| &mut invariants.paid_once,
                format!("at height {height}: {unsound}"),
            );
        }
        for output in outputs {
            self.put_out(now_us, output);
        }
    }

    fn put_out(&mut self, now_us: u64, output: &Output) {
        match output {
            Output::Receipt(receipt) => {
                *self.outcomes.entry(receipt.outcome).or_default() += 1;
                let name = (receipt.vehicle, receipt.sequence);
                if receipt.outcome == Outcome::HeardBefore {
                    return;
                }
                if let Some(sent_us) = self.sent_us.remove(&name) {
                    self.finality_ms.push((now_us - sent_us) / 1000);
                }
                self.counted.insert(name);
            }
            Output::Enacted {
                change, done: true, ..
            } => {
                self.changes += u64::from(is_of_members(change));
                self.decisions += u64::from(!is_of_members(change));
                if let Change::SetKey { member, key } = change
                    && let Ok(name) = key.address()
                {
                    self.renamed.push((*member, name));
                }
            }
            Output::OperatorPayment { operator, amount, .. } => {
                *self.operators.entry(*operator).or_default() += amount.micro();
            }
            Output::Withheld { member, .. } => {
                self.withheld += 1;
                if self.names(*member).is_disjoint(&self.complained_of) {
                    self.broken(
                        |invariants| &mut invariants.no_equivocation,
                        format!("{member:?} was recorded for withholding at the word of liars alone"),
                    );
                }
            }
            Output::Sentenced {
                member, jailed_until, ..
            } => {
                self.jailed += u64::from(jailed_until.is_some());
                if !self.liars.contains(member) {
                    self.broken(
                        |invariants| &mut invariants.no_equivocation,
                        format!("{member:?} means well and was sentenced"),
                    );
                }
            }
            Output::Estimate(estimate) if estimate.item.kind == Kind::Speed => self.estimates.push(*estimate),
            Output::Estimate(estimate) => self.beside.push((now_us, *estimate)),
            Output::EpochClosed(epoch) => self.epochs.push(*epoch),
            _ => {}
        }
    }

    /// Who is in quarantine, and who no longer is, after an epoch.
    fn roll_call(&mut self, view: &View) {
        let Epoch(closed) = self.epochs.last().map_or(Epoch(0), |epoch| epoch.epoch);
        for (id, vehicle) in view.state().vehicles() {
            match (&vehicle.quarantine, self.quarantined.get_mut(id)) {
                (Some(quarantine), None) => {
                    let since = quarantine.since.0;
                    self.quarantined.insert(
                        *id,
                        Record {
                            since,
                            released: None,
                            now: true,
                        },
                    );
                }
                (Some(_), Some(record)) => record.now = true,
                (None, Some(record)) if record.now => {
                    record.released = Some(closed);
                    record.now = false;
                }
                (None, _) => {}
            }
        }
    }

    /// How many reports the ledger executed, each once.
    pub(super) fn executed(&self) -> u64 {
        self.counted.len() as u64
    }
}

/// How many complaints of a block the ledger took.
fn complaints(block: &Block, outputs: &[Output]) -> u64 {
    let done = outputs.iter().filter_map(|output| match output {
        Output::Transacted { done, .. } => Some(*done),
        _ => None,
    });
    // One for each transaction, in their order.
    let asked = block.body.transactions.iter().zip(done);
    let taken = asked.filter(|(signed, done)| *done && matches!(signed.message.action, Action::Complain(_)));
    taken.count() as u64
}

/// Whether a change concerns who votes.
fn is_of_members(change: &Change) -> bool {
    matches!(
        change,
        Change::AddMember(_) | Change::RemoveMember { .. } | Change::SetPower { .. } | Change::SetKey { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::founding;
    use crate::sweep::plan::Plan;
    use milepost_node::message::Vote;
    use milepost_wire::Signature;
    use milepost_wire::output::Offence;

    /// A watch over a small town whose first member lies.
    fn watch() -> Watch {
        let scenario = Plan::draw(1, None).scenario();
        let founded = founding::found(&scenario, 1).expect("it begins");
        Watch::new(&founded.genesis, BTreeSet::from([name(0)]))
    }

    fn name(number: usize) -> Address {
        founding::member_key(number).address()
    }

    fn vote(voter: Address, value: Option<Hash>) -> PeerMessage {
        PeerMessage::Vote(Vote {
            precommit: true,
            height: Height(1),
            round: 0,
            value,
            voter,
            signature: Signature([0; 64]),
        })
    }

    #[test]
    fn who_means_well_neither_contradicts_itself_nor_speaks_without_a_vote() {
        let listener = name(100);
        for (speaker, values, holds) in [
            (name(1), vec![None, None], true),
            (name(1), vec![None, Some(Hash::ZERO)], false),
            (name(0), vec![None, Some(Hash::ZERO)], true),
            (listener, vec![None], false),
        ] {
            let mut watch = watch();
            for value in values {
                watch.spoke(speaker, &vote(speaker, value));
            }
            assert_eq!(watch.invariants.no_equivocation, holds, "{:?}", watch.broken);
        }
    }

    #[test]
    fn it_takes_an_honest_complaint_under_whatever_name() {
        let liar = Output::Withheld {
            epoch: Epoch(0),
            member: name(1),
            complaints: 2,
        };
        let renamed = Output::Enacted {
            proposal: milepost_wire::ProposalId(1),
            change: Change::SetKey {
                member: name(7),
                key: founding::member_key(1).public(),
            },
            done: true,
        };
        for (speaker, of, holds) in [
            (name(0), name(1), false),
            (name(2), name(3), false),
            (name(2), name(1), true),
            (name(2), name(7), true),
        ] {
            let mut watch = watch();
            watch.complained(speaker, of);
            watch.read_outputs(0, &[renamed.clone(), liar.clone()]);
            assert_eq!(watch.withheld, 1);
            assert_eq!(watch.invariants.no_equivocation, holds, "{:?}", watch.broken);
        }
    }

    #[test]
    fn only_liars_may_be_sentenced() {
        for (number, holds) in [(0, true), (1, false)] {
            let mut watch = watch();
            watch.read_outputs(
                0,
                &[Output::Sentenced {
                    epoch: Epoch(0),
                    member: name(number),
                    offence: Offence::Equivocation {
                        step: Step::Precommit,
                        height: Height(1),
                        round: 0,
                    },
                    jailed_until: Some(Epoch(2)),
                }],
            );
            assert_eq!(watch.jailed, 1);
            assert_eq!(watch.invariants.no_equivocation, holds, "{:?}", watch.broken);
        }
    }
}
