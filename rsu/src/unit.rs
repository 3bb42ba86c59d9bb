//! What does a roadside unit do with what it hears?
//!
//! [`Unit`] is the unit as a pure state machine beside its ledger node: bytes from the air, other units' batches
//! and committed blocks go in; batches for the ledger, live figures and receipts come out. It reads no clock
//! and opens no socket; signatures of one call's reports are checked together, on all cores. [`crate::run`]
//! carries it over zenoh, the simulator in virtual time.
//!
//! ```text
//! bytes → ear → verify → ear ─┬→ live picture → live figures
//!                             └→ handoff → batcher → batches → (the ledger) → receipts
//! ```
//!
//! A receipt is told once by whoever batched the report. It may get lost, or its unit may be down by then; so a report
//! that comes again although the ledger has dealt with it is answered by every unit that hears it, within bounds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use milepost_node::store::{Store, StoreError};
use milepost_node::{Now, VerifiedBatch, View};
use milepost_wire::output::Estimate;
use milepost_wire::proof::ReceiptNotice;
use milepost_wire::recent::Recent;
use milepost_wire::{
    Address, ChainId, Hash, Height, KeyId, Output as BlockOutput, Report, SecretKey, Verified,
};
use serde::{Deserialize, Serialize};

use crate::batcher::{self, Batcher};
use crate::ear::{self, Ear, Evidence, Refusal};
use crate::finality::{Finality, Stopwatch};
use crate::handoff::{self, Handoff};
use crate::live::{self, Live};
use crate::rate::{Bucket, Rate};
use crate::receipts;

/// Vehicles that get receipts; the longest silent are forgotten first.
const SERVED_MAX: usize = 16_384;

/// How many blocks a unit looks at for receipts when it starts: an hour's, where nothing happens ...
const RECALLED_BLOCKS_MAX: usize = 4_096;
/// ... and how much that these put out.
const RECALLED_OUTPUTS_MAX: usize = 65_536;
/// How often receipts are told again, for all vehicles together.
const AGAIN: Rate = Rate {
    per_second: 50,
    burst: 100,
};
/// How often they are told again to one vehicle, in ms.
const AGAIN_EVERY_MS: u64 = 500;

/// How much a unit bears, and how long it waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// What the ear bears.
    pub ear: ear::Limits,
    /// How long to wait for the others.
    pub handoff: handoff::Limits,
    /// How reports are bundled.
    pub batch: batcher::Limits,
    /// How much of the present is kept and told.
    pub live: live::Limits,
}

/// What happens to a unit.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has come to [`Unit::wake_at`].
    Wake,
    /// Messages that came on the report topics.
    Heard(Vec<Vec<u8>>),
    /// Another unit's batch, verified.
    Batch(Arc<VerifiedBatch>),
    /// The ledger takes no more: here is the batch that it did not take.
    Refused(Arc<VerifiedBatch>),
    /// The ledger after a block.
    Committed(Arc<View>),
}

/// What a unit wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// These were verified: the ledger node need not do it again in others' batches.
    Accepted(Vec<Verified<Report>>),
    /// Offer this batch to the ledger.
    Batch(Arc<VerifiedBatch>),
    /// Tell whoever listens what the road is like.
    Live(Vec<Estimate>),
    /// Tell a vehicle what became of its reports.
    Receipts(KeyId, ReceiptNotice),
    /// Tell a vehicle again what became of its reports in this block: see [`receipts::again`].
    Again(KeyId, Height),
}

/// What a unit has heard, since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Messages on the report topics.
    pub heard: u64,
    /// Reports that passed every stage.
    pub accepted: u64,
    /// Messages that did not, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Numbers under which a vehicle was seen to sign two contents, here or in other units' batches.
    pub two_contents: u64,
    /// Observations that fail a plausibility check, by check: evidence, whether their report is refused or not.
    pub suspect: BTreeMap<&'static str, u64>,
    /// Reports that this unit passed on in batches of its own.
    pub batched: u64,
    /// Batches of its own.
    pub batches: u64,
    /// Live figures told.
    pub live: u64,
    /// Receipt notices sent.
    pub receipts: u64,
}

/// A roadside unit beside its ledger node.
#[derive(Clone)]
pub struct Unit {
    key: SecretKey,
    me: Address,
    chain: ChainId,
    limits: Limits,
    view: Arc<View>,
    ear: Ear,
    handoff: Handoff,
    batcher: Batcher,
    live: Live,
    /// Own batches on their way into a block, with the time at which they are given up.
    open: BTreeMap<Hash, u64>,
    /// The ledger took no more: until then, no further batch is closed.
    pause_until_ms: u64,
    /// The last own batch's number.
    sequence: u64,
    served: Recent<KeyId>,
    /// When a vehicle was last told again.
    told_again: Recent<KeyId, u64>,
    again: Bucket,
    stopwatch: Stopwatch,
    counts: Counts,
}

impl Unit {
    /// The unit with this key, beside a ledger that stands at `view`.
    pub fn new(key: SecretKey, chain: ChainId, limits: Limits, view: Arc<View>) -> Self {
        let me = key.address();
        let (mut ear, mut handoff) = (Ear::new(limits.ear), Handoff::new(me, limits.handoff));
        ear.stand(view.height());
        handoff.stand(view.height());
        Self {
            me,
            ear,
            handoff,
            batcher: Batcher::new(limits.batch),
            live: Live::new(limits.live),
            open: BTreeMap::new(),
            pause_until_ms: 0,
            sequence: 0,
            served: Recent::new(SERVED_MAX),
            told_again: Recent::new(SERVED_MAX),
            again: Bucket::full(0, AGAIN),
            stopwatch: Stopwatch::default(),
            counts: Counts::default(),
            key,
            chain,
            limits,
            view,
        }
    }

    /// Takes what happens and returns what is to be done.
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        match input {
            Input::Wake => {}
            Input::Heard(messages) => outputs = self.hear(now, &messages),
            Input::Batch(batch) => self.take_note(&batch),
            Input::Refused(batch) => {
                self.open.remove(&batch.digest());
                self.batcher.give_back(now.mono_ms, batch.reports());
                self.pause_until_ms = now.mono_ms.saturating_add(self.limits.batch.age_max_ms.max(10));
            }
            Input::Committed(view) => outputs.extend(self.commit(now, view)),
        }
        for report in self.handoff.due(now.mono_ms) {
            self.enqueue(now, report);
        }
        outputs.extend(self.close_batches(now));
        outputs.extend(self.tell(now));
        outputs
    }

    /// When to call [`Unit::handle`] with [`Input::Wake`], by the monotonic clock.
    pub fn wake_at(&self) -> Option<u64> {
        let batch = if self.open.len() < self.limits.batch.open_max {
            self.batcher.wake_at().map(|at_ms| at_ms.max(self.pause_until_ms))
        } else {
            self.open.values().min().copied()
        };
        [self.handoff.wake_at(), batch, self.live.wake_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What was heard so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Reports that wait for a batch.
    pub fn queued(&self) -> usize {
        self.batcher.len()
    }

    /// How long it takes until a report is final.
    pub fn finality(&self) -> Finality {
        self.stopwatch.read()
    }

    /// Signed reports that cannot be, are unlikely, or contradict another under one number, since this was last asked; the oldest leave first.
    pub fn take_evidence(&mut self) -> VecDeque<Evidence> {
        self.ear.take_evidence()
    }

    /// Learns what became of the newest reports from before the unit was started, so that it can tell their vehicles.
    ///
    /// # Errors
    ///
    /// Where the store cannot be read.
    pub fn recall(&mut self, store: &impl Store) -> Result<(), StoreError> {
        let newest = (1..=self.view.height().0).rev().map(Height);
        let mut left = RECALLED_OUTPUTS_MAX;
        for height in newest.take(RECALLED_BLOCKS_MAX) {
            let outputs = store.outputs(height)?.unwrap_or_default();
            self.settle(height, &outputs);
            left = left.saturating_sub(outputs.len());
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    fn settle(&mut self, height: Height, outputs: &[BlockOutput]) {
        for output in outputs {
            if let BlockOutput::Receipt(receipt) = output {
                self.ear.settle(receipt.vehicle, receipt.sequence, height);
            }
        }
    }

    fn hear(&mut self, now: Now, messages: &[Vec<u8>]) -> Vec<Output> {
        self.counts.heard += messages.len() as u64;
        let view = Arc::clone(&self.view);
        let members: Vec<Address> = view.members().iter().map(|(address, _)| address).collect();
        let mut admitted = Vec::with_capacity(messages.len());
        let mut again = BTreeSet::new();
        for message in messages {
            let roll = |id| Some((view.state().vehicle(&id)?, view.state().newest_report(&id)));
            match self.ear.admit(now, message, roll) {
                Ok(report) => admitted.push(report),
                Err(refusal) => {
                    if let Refusal::HeardBefore {
                        vehicle,
                        settled: Some(height),
                        ..
                    } = refusal
                    {
                        again.insert((vehicle, height));
                    }
                    self.refuse(&refusal);
                }
            }
        }
        let mut accepted = Vec::with_capacity(admitted.len());
        for verdict in ear::verify(&self.chain, admitted) {
            match verdict.and_then(|report| self.ear.accept(now, report)) {
                Ok(report) => {
                    accepted.push(report.clone());
                    self.accept(now, &view, &members, report);
                }
                Err(refusal) => self.refuse(&refusal),
            }
        }
        self.counts.suspect = self.ear.judge().counts();
        self.counts.two_contents = self.ear.two_contents();
        let mut outputs = self.tell_again(now, again);
        if !accepted.is_empty() {
            outputs.push(Output::Accepted(accepted));
        }
        outputs
    }

    /// Nobody has checked who asks: what is told is for the vehicle's ears, and seldom.
    fn tell_again(&mut self, now: Now, wanted: BTreeSet<(KeyId, Height)>) -> Vec<Output> {
        let mut outputs = Vec::new();
        let mut told = BTreeSet::new();
        for (vehicle, height) in wanted {
            let told_at = self.told_again.get(&vehicle);
            let lately = told_at.is_some_and(|at_ms| now.mono_ms < at_ms.saturating_add(AGAIN_EVERY_MS));
            if !lately && self.again.take(now.mono_ms, AGAIN) {
                told.insert(vehicle);
                outputs.push(Output::Again(vehicle, height));
            }
        }
        for vehicle in told {
            self.told_again.insert(vehicle, now.mono_ms);
        }
        outputs
    }

    fn accept(&mut self, now: Now, view: &View, members: &[Address], report: Verified<Report>) {
        self.counts.accepted += 1;
        let weight = view
            .state()
            .vehicle(&report.vehicle)
            .filter(|vehicle| vehicle.quarantine.is_none())
            .map_or(0, |vehicle| u64::from(vehicle.standing.reputation()));
        self.live.hear(now.wall, &report, weight);
        if view.state().provider(&self.me).is_none() {
            // Nobody would take its batches.
            return;
        }
        self.stopwatch.heard(now.mono_ms, report.vehicle, report.sequence);
        if let Some(report) = self.handoff.hear(now.mono_ms, report, members.iter().copied()) {
            self.enqueue(now, report);
        }
    }

    fn enqueue(&mut self, now: Now, report: Verified<Report>) {
        if self.batcher.push(now.mono_ms, report).is_err() {
            self.count("queue_full");
        }
    }

    fn refuse(&mut self, refusal: &Refusal) {
        tracing::trace!(%refusal, "refused a report");
        self.count(refusal.label());
    }

    fn count(&mut self, reason: &'static str) {
        *self.counts.rejected.entry(reason).or_default() += 1;
    }

    fn take_note(&mut self, batch: &VerifiedBatch) {
        for report in batch.reports() {
            self.handoff.taken(report.vehicle, report.sequence);
            self.ear.overhear(report);
        }
        self.counts.two_contents = self.ear.two_contents();
    }

    fn commit(&mut self, now: Now, view: Arc<View>) -> Vec<Output> {
        for batch in view.batches() {
            self.take_note(batch);
            if batch.author() == self.me {
                self.open.remove(&batch.digest());
                for report in batch.reports() {
                    self.stopwatch
                        .committed(now.mono_ms, report.vehicle, report.sequence);
                    self.served.insert(report.vehicle, ());
                }
            }
        }
        self.ear.stand(view.height());
        self.handoff.stand(view.height());
        self.settle(view.height(), view.outputs());
        let served = |vehicle| self.served.contains(&vehicle);
        let notices = receipts::notices(view.height(), view.outputs(), served);
        self.counts.receipts += notices.len() as u64;
        self.view = view;
        notices
            .into_iter()
            .map(|(vehicle, notice)| Output::Receipts(vehicle, notice))
            .collect()
    }

    fn close_batches(&mut self, now: Now) -> Vec<Output> {
        self.open.retain(|_, until_ms| *until_ms > now.mono_ms);
        let mut outputs = Vec::new();
        while now.mono_ms >= self.pause_until_ms
            && self.open.len() < self.limits.batch.open_max
            && let Some(reports) = self.batcher.close(now.mono_ms)
        {
            self.counts.batched += reports.len() as u64;
            self.counts.batches += 1;
            // By the clock, so that no number comes twice after a restart.
            self.sequence = (self.sequence + 1).max(now.wall.millis());
            let batch = VerifiedBatch::own(
                &self.key,
                &self.chain,
                self.sequence,
                self.view.height(),
                now.wall,
                reports,
            );
            let until_ms = now.mono_ms.saturating_add(self.limits.batch.open_for_ms);
            self.open.insert(batch.digest(), until_ms);
            outputs.push(Output::Batch(Arc::new(batch)));
        }
        outputs
    }

    fn tell(&mut self, now: Now) -> Option<Output> {
        let slot = self.view.state().slot_of(now.wall);
        let estimates = self.live.publish(now.mono_ms, now.wall, slot);
        self.counts.live += estimates.len() as u64;
        (!estimates.is_empty()).then_some(Output::Live(estimates))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, Ledger, NOW};
    use milepost_node::store::Memory;
    use milepost_wire::encode;
    use milepost_wire::output::Outcome;

    fn at(mono_ms: u64) -> Now {
        Now {
            mono_ms,
            wall: NOW.plus(mono_ms),
        }
    }

    fn unit(view: Arc<View>, limits: Limits) -> Unit {
        Unit::new(samples::member_key(0), samples::chain(), limits, view)
    }

    fn said(vehicle: u64, sequence: u64) -> Vec<u8> {
        encode(samples::report(vehicle, sequence).signed())
    }

    fn batches(outputs: &[Output]) -> Vec<Arc<VerifiedBatch>> {
        outputs
            .iter()
            .filter_map(|output| match output {
                Output::Batch(batch) => Some(Arc::clone(batch)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_report_becomes_a_batch_a_live_figure_and_a_receipt_with_proof() {
        let mut ledger = Ledger::open(Memory::default());
        let mut unit = unit(ledger.view(), Limits::default());

        let outputs = unit.handle(at(1000), Input::Heard(vec![said(1, 1), said(2, 1)]));
        assert!(
            matches!(&outputs[..], [Output::Accepted(reports), Output::Live(told)]
            if reports.len() == 2 && told.len() == 1 && told[0].vehicles == 2)
        );

        assert_eq!(unit.wake_at(), Some(1100));
        let batch = batches(&unit.handle(at(1100), Input::Wake)).remove(0);
        assert_eq!(batch.reports().len(), 2);

        let view = ledger.commit(Some(batch));
        let notices: Vec<_> = unit
            .handle(at(1600), Input::Committed(Arc::clone(&view)))
            .into_iter()
            .filter_map(|output| match output {
                Output::Receipts(vehicle, notice) => Some((vehicle, notice)),
                _ => None,
            })
            .collect();
        assert_eq!(notices.len(), 2);
        let header = &view.head().expect("a block").header;
        for (vehicle, notice) in notices {
            assert_eq!(notice.verify(header), Ok(()));
            assert!(notice.outputs.iter().all(|(output, _)| {
                matches!(output, BlockOutput::Receipt(receipt)
                    if receipt.vehicle == vehicle && receipt.outcome == Outcome::Counted)
            }));
        }
        assert_eq!((unit.finality().count, unit.finality().max), (2, 600));
    }

    /// What this unit tells again, where it hears this.
    fn told_again(unit: &mut Unit, now: Now, messages: Vec<Vec<u8>>) -> Vec<(KeyId, Height)> {
        let outputs = unit.handle(now, Input::Heard(messages));
        let again = |output| match output {
            Output::Again(vehicle, height) => Some((vehicle, height)),
            _ => None,
        };
        outputs.into_iter().filter_map(again).collect()
    }

    #[test]
    fn who_missed_a_receipt_is_told_again_by_every_unit_and_not_too_often() {
        let store = Memory::default();
        let mut ledger = Ledger::open(store.clone());
        let mut author = unit(ledger.view(), Limits::default());
        author.handle(at(1000), Input::Heard(vec![said(1, 1), said(2, 1)]));
        let batch = batches(&author.handle(at(1100), Input::Wake)).remove(0);
        let view = ledger.commit(Some(batch));
        let height = view.height();
        author.handle(at(1200), Input::Committed(Arc::clone(&view)));
        // One that was started since, and heard nothing of it.
        let mut started = unit(Arc::clone(&view), Limits::default());
        started.recall(&store).expect("a store in memory");

        let vehicle = samples::vehicle_key(1).key_id();
        for unit in [&mut author, &mut started] {
            let messages = vec![said(1, 1), said(1, 1)];
            assert_eq!(told_again(unit, at(2000), messages.clone()), [(vehicle, height)]);
            assert_eq!(told_again(unit, at(2100), messages.clone()), []);
            assert_eq!(told_again(unit, at(2500), messages), [(vehicle, height)]);
            assert!(batches(&unit.handle(at(9000), Input::Wake)).is_empty());
        }
        let notices = receipts::again(&store, height, vehicle).expect("a store in memory");
        assert_eq!(notices.len(), 1);
    }

    #[test]
    fn a_report_that_got_lost_on_its_way_to_the_ledger_is_heard_anew() {
        let mut ledger = Ledger::open(Memory::default());
        let mut unit = unit(ledger.view(), Limits::default());
        unit.handle(at(0), Input::Heard(vec![said(1, 1)]));
        assert_eq!(batches(&unit.handle(at(100), Input::Wake)).len(), 1);
        for nth in 1..=ear::LOST_AFTER {
            // The batch is on its way, or so it seems.
            unit.handle(at(1000 * nth), Input::Heard(vec![said(1, 1)]));
            assert!(batches(&unit.handle(at(1000 * nth + 500), Input::Wake)).is_empty());
            unit.handle(at(1000 * nth + 600), Input::Committed(ledger.commit(None)));
        }
        unit.handle(at(100_000), Input::Heard(vec![said(1, 1)]));
        assert_eq!(batches(&unit.handle(at(100_500), Input::Wake)).len(), 1);
    }

    #[test]
    fn everything_refused_is_counted_by_reason() {
        let mut unit = unit(Ledger::open(Memory::default()).view(), Limits::default());
        let garbage = vec![vec![1, 2, 3], vec![0; 4000], said(77, 1), said(1, 1), said(1, 1)];
        unit.handle(at(0), Input::Heard(garbage));
        let counts = unit.counts();
        assert_eq!((counts.heard, counts.accepted), (5, 1));
        let reasons = [
            ("heard_before", 1),
            ("malformed", 1),
            ("not_enrolled", 1),
            ("too_long", 1),
        ];
        assert_eq!(counts.rejected, BTreeMap::from(reasons));
    }

    #[test]
    fn what_the_ledger_does_not_take_comes_again_and_not_at_once() {
        let mut unit = unit(Ledger::open(Memory::default()).view(), Limits::default());
        unit.handle(at(0), Input::Heard(vec![said(1, 1)]));
        let refused = batches(&unit.handle(at(100), Input::Wake)).remove(0);
        assert!(batches(&unit.handle(at(100), Input::Refused(refused))).is_empty());
        let again_ms = unit.wake_at().expect("something waits");
        assert!(again_ms > 100);
        assert_eq!(batches(&unit.handle(at(again_ms), Input::Wake)).len(), 1);
    }

    #[test]
    fn while_too_many_batches_are_on_their_way_reports_wait_up_to_their_bound() {
        let mut limits = Limits::default();
        limits.batch.open_max = 1;
        limits.batch.queue_max = 2;
        let mut unit = unit(Ledger::open(Memory::default()).view(), limits);
        unit.handle(at(0), Input::Heard(vec![said(1, 1)]));
        assert_eq!(batches(&unit.handle(at(100), Input::Wake)).len(), 1);
        let more = (2..6).map(|sequence| said(1, sequence)).collect();
        unit.handle(at(200), Input::Heard(more));
        assert!(batches(&unit.handle(at(5000), Input::Wake)).is_empty());
        assert_eq!(unit.queued(), 2);
        assert_eq!(unit.counts().rejected["queue_full"], 2);
        let given_up_ms = unit.wake_at().expect("the open batch's end");
        assert_eq!(batches(&unit.handle(at(given_up_ms), Input::Wake)).len(), 1);
    }

    #[test]
    fn a_report_in_anothers_batch_is_not_batched_again() {
        // Of two members, this unit is not the first for some vehicle.
        let members = || (0..2).map(samples::member);
        let vehicle = (0..10)
            .find(|seed| {
                handoff::rank(
                    samples::vehicle_key(*seed).key_id(),
                    samples::member(0),
                    members(),
                ) == 1
            })
            .expect("one of ten");
        let node = milepost_node::Node::open(
            &samples::genesis(2),
            samples::member_key(0),
            milepost_node::Settings::default(),
            Memory::default(),
            at(0),
        );
        let view = node.expect("an empty store").0.view();
        let report = samples::report(vehicle, 1);
        let theirs = VerifiedBatch::own(
            &samples::member_key(1),
            &samples::chain(),
            1,
            Height::ZERO,
            NOW,
            vec![report.clone()],
        );
        for (heard_of, expected) in [(true, 0), (false, 1)] {
            let mut unit = unit(Arc::clone(&view), Limits::default());
            let mut count = 0;
            count += batches(&unit.handle(at(0), Input::Heard(vec![encode(report.signed())]))).len();
            if heard_of {
                count += batches(&unit.handle(at(300), Input::Batch(Arc::new(theirs.clone())))).len();
            }
            for mono_ms in [400, 500, 600] {
                count += batches(&unit.handle(at(mono_ms), Input::Wake)).len();
            }
            assert_eq!(count, expected);
        }
    }
}
