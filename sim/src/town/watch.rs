//! Does what must hold hold, and what came of it?
//!
//! In: everything that members say to one another, and every block that one of them commits. Out: the
//! [`Invariants`], and what the figures are made of. The watch sees more than any participant, and touches
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use milepost_node::View;
use milepost_node::message::PeerMessage;
use milepost_wire::output::{EpochClosed, Estimate, Outcome};
use milepost_wire::time::Epoch;
use milepost_wire::vote::Step;
use milepost_wire::{Address, Hash, KeyId, Kind, Output, Sequence, encode};

use crate::figures::Invariants;

/// What was seen so far.
pub(super) struct Watch {
    pub(super) invariants: Invariants,
    /// What went wrong first, for people.
    pub(super) broken: Vec<String>,
    /// Each height's block.
    pub(super) blocks: Vec<Hash>,
    /// Block, certificate and batches of all heights, in bytes.
    pub(super) bytes: u64,
    /// What each member put its signature to, at heights that are not decided everywhere.
    said: BTreeMap<(u64, u32, Step, Address), Option<Hash>>,
    counted: BTreeSet<(KeyId, Sequence)>,
    /// What the ledger made of reports.
    pub(super) outcomes: BTreeMap<Outcome, u64>,
    /// The first sending of reports that are not decided.
    sent_us: BTreeMap<(KeyId, Sequence), u64>,
    /// How long the others took.
    pub(super) finality_ms: Vec<u64>,
    /// The published figures of speed.
    pub(super) estimates: Vec<Estimate>,
    /// The closed epochs.
    pub(super) epochs: Vec<EpochClosed>,
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
    pub(super) fn new() -> Self {
        Self {
            invariants: Invariants::HOLD,
            broken: Vec::new(),
            blocks: Vec::new(),
            bytes: 0,
            said: BTreeMap::new(),
            counted: BTreeSet::new(),
            outcomes: BTreeMap::new(),
            sent_us: BTreeMap::new(),
            finality_ms: Vec::new(),
            estimates: Vec::new(),
            epochs: Vec::new(),
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

    /// A member spoke to the others.
    pub(super) fn spoke(&mut self, message: &PeerMessage) {
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
        let before = *self.said.entry((height.0, round, step, who)).or_insert(value);
        if before != value {
            self.broken(
                |invariants| &mut invariants.no_equivocation,
                format!("{who:?} said {before:?} and {value:?} at height {height}, round {round}, {step:?}"),
            );
        }
    }

    /// A member committed a block. Returns whether it is the first to.
    pub(super) fn committed(&mut self, now_us: u64, member: usize, view: &View) -> bool {
        let Some(head) = view.head() else { return false };
        let (height, hash) = (view.height().0, head.header.hash());
        match self.blocks.get(height as usize - 1) {
            Some(known) if *known != hash => {
                let known = *known;
                self.broken(
                    |invariants| &mut invariants.agreement,
                    format!("member {member} has block {hash:?} at height {height}, others have {known:?}"),
                );
                return false;
            }
            Some(_) => return false,
            None => self.blocks.push(hash),
        }
        if let Err(violation) = view.state().check() {
            self.broken(
                |invariants| &mut invariants.conservation,
                format!("at height {height}: {violation}"),
            );
        }
        self.bytes +=
            (view.block().map_or(0, |block| encode(&**block).len()) + encode(&head.certificate).len()) as u64;
        self.bytes += view
            .batches()
            .iter()
            .map(|batch| encode(batch.signed()).len() as u64)
            .sum::<u64>();
        for output in view.outputs() {
            self.put_out(now_us, output);
        }
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
        true
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
                if !self.counted.insert(name) {
                    let (vehicle, sequence) = name;
                    self.broken(
                        |invariants| &mut invariants.paid_once,
                        format!("report {sequence} of {vehicle} was executed twice"),
                    );
                }
            }
            Output::Estimate(estimate) if estimate.item.kind == Kind::Speed => self.estimates.push(*estimate),
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
