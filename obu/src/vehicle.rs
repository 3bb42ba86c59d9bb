//! What does a vehicle do next?
//!
//! In: what it senses, the heads and receipts it hears, whether a roadside unit is in reach, and the time. Out:
//! what to put on the air, what to store first, when to wake it, and which reports are final. It opens no socket,
//! reads no clock and draws no random number, so that the simulator drives thousands of the very same.
//!
//! An observation is bundled for up to a second, sealed into a signed report, stored, sent, and sent again until a
//! receipt comes that a certified header vouches for. Out of reach it is stored alone. Receipts may outrun the head
//! of their block; a few are held back until it comes.
//!
//! Not covered: what a report is worth ([`crate::explain`]), and how anything is stored ([`crate::journal`]).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use milepost_wire::certificate::Head;
use milepost_wire::light::{LightBlock, LightClient};
use milepost_wire::output::{Outcome, Payment, Receipt};
use milepost_wire::proof::ReceiptNotice;
use milepost_wire::time::Epoch;
use milepost_wire::{
    Cell, Consortium, Heading, Height, KeyId, Measure, Observation, Output as LedgerOutput, Place, Report,
    SecretKey, Sequence, Signed, Timestamp, encode, topic,
};
use serde::Serialize;

use crate::bundle::Bundle;
use crate::heads::{Anchor, Certified, HeadError, Heads, Heard};
use crate::outbox::{Change, Kept, Limits, Outbox};

/// A light block that nobody gave is asked for again after so many milliseconds.
const ASK_AGAIN_MS: u64 = 1000;
/// Receipts that are held back for want of their block's head.
const EARLY_MAX: usize = 8;

/// What one vehicle is made of.
#[derive(Clone, Debug)]
pub struct VehicleConfig {
    /// Which ledger, and what of it is trusted.
    pub light: LightClient,
    /// What the owner vouches for beside that.
    pub anchor: Option<Anchor>,
    /// The vehicle's own key.
    pub key: SecretKey,
    /// An observation waits for company for so many milliseconds, ...
    pub bundle_ms: u64,
    /// ... or until so many are together: 1 to [`Report::OBSERVATIONS_MAX`].
    pub observations_max: usize,
    /// What waits for a receipt, and how patiently.
    pub outbox: Limits,
    /// Over how many heights, from the highest down, certified headers are kept.
    pub heads_max: u64,
}

impl VehicleConfig {
    /// The defaults of [`crate::config::Config`], trusting a consortium's first members since a moment.
    pub fn new(consortium: Consortium, at: Timestamp, key: SecretKey) -> Self {
        let config = crate::config::Config::default();
        config.vehicle(LightClient::new(consortium, at, config.bounds()), key)
    }
}

/// One reading of a sensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensed {
    /// When it was made.
    pub at: Timestamp,
    /// Where the vehicle was.
    pub place: Place,
    /// Where it was heading.
    pub heading: Heading,
    /// What it saw.
    pub measure: Measure,
    /// The road segment by the vehicle's map; without one, the cell is reckoned from place and heading.
    pub segment: Option<Arc<str>>,
}

/// What happens to a vehicle.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "few are held at once, and a box a head buys nothing"
)]
pub enum Input {
    /// A sensor was read.
    Sensed(Sensed),
    /// A head was heard; nobody has checked it.
    Head(Head),
    /// A head that this process has checked already: with many vehicles, once for all.
    Certified(Certified),
    /// An answer to [`Output::AskLight`]; nobody has checked it.
    Light(LightBlock),
    /// Receipts were heard; nobody has checked them.
    Receipt(ReceiptNotice),
    /// Whether any roadside unit is in reach.
    Link(bool),
    /// Time has come, as asked for by [`Output::WakeAt`]. Harmless at any other time.
    Tick,
    /// The engine is turned off: what waits for company leaves now.
    Flush,
}

/// What a vehicle wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Remember this before anything that follows is sent.
    Store(Change),
    /// Send these bytes.
    Put {
        /// Where to.
        topic: String,
        /// An encoded [`milepost_wire::SignedReport`].
        bytes: Vec<u8>,
    },
    /// Ask all units for the light block at this height, and give their answers as [`Input::Light`]. Where none comes,
    /// it is asked for again.
    AskLight(Height),
    /// Give a [`Input::Tick`] at this time. The latest such wish counts.
    WakeAt(Timestamp),
    /// The ledger has dealt with a report; a certified header vouches for it.
    Finalised {
        /// Which report.
        sequence: Sequence,
        /// What became of it.
        outcome: Outcome,
    },
    /// The ledger has paid the vehicle for an epoch; a certified header vouches for it. Told once an epoch, in the
    /// epochs' order.
    Paid(Payment),
}

/// What a vehicle has done since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Observations that went into reports.
    pub observations: u64,
    /// Observations that were too old to be said.
    pub too_old: u64,
    /// Reports sealed.
    pub sealed: u64,
    /// Reports sent for the first time.
    pub sent: u64,
    /// Reports sent again.
    pub resent: u64,
    /// Reports with a verified receipt, by outcome.
    pub finalised: BTreeMap<Outcome, u64>,
    /// What payments told of since add up to, in millionths of a token.
    pub paid_micro: u64,
    /// Reports that left a full outbox without a receipt.
    pub crowded_out: u64,
    /// Reports that were given up without a receipt.
    pub expired: u64,
    /// Certified heads heard.
    pub heads: u64,
    /// Heads and receipts refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

/// The pure core of a vehicle.
#[derive(Clone, Debug)]
pub struct Vehicle {
    id: KeyId,
    key: SecretKey,
    next_sequence: Sequence,
    linked: bool,
    bundle: Bundle,
    outbox: Outbox,
    heads: Heads,
    early: VecDeque<ReceiptNotice>,
    /// Which light block was last asked for, and when.
    asked: Option<(Height, Timestamp)>,
    /// The last epoch that it was told to be paid for.
    paid_for: Option<Epoch>,
    /// What was last asked for with [`Output::WakeAt`] and has not come.
    wake_at: Option<Timestamp>,
    counts: Counts,
}

impl Vehicle {
    /// A vehicle whose next report carries `next_sequence`, which must be above all it ever used: ask a
    /// [`Journal`](crate::journal::Journal). No roadside unit is in reach until [`Input::Link`] says so.
    pub fn new(config: VehicleConfig, next_sequence: Sequence) -> Self {
        Self {
            id: config.key.key_id(),
            key: config.key,
            next_sequence,
            linked: false,
            bundle: Bundle::new(config.bundle_ms, config.observations_max),
            outbox: Outbox::new(config.outbox),
            heads: Heads::new(config.light, config.heads_max).anchored(config.anchor),
            early: VecDeque::new(),
            asked: None,
            paid_for: None,
            wake_at: None,
            counts: Counts::default(),
        }
    }

    /// Puts back what waited when the vehicle was last turned off. Returns what no longer fits, to be stored.
    pub fn resume(&mut self, now: Timestamp, kept: Vec<Kept>) -> Vec<Change> {
        let keep = |kept| self.outbox.keep(now, kept, false);
        let crowded_out: Vec<_> = kept.into_iter().filter_map(keep).collect();
        self.counts.crowded_out += crowded_out.len() as u64;
        crowded_out.into_iter().map(Change::Forget).collect()
    }

    /// How the ledger names it.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What it has done so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Reports without a receipt.
    pub fn waiting(&self) -> usize {
        self.outbox.len()
    }

    /// What it trusts, to be kept for the next start.
    pub fn trusted(&self) -> &LightClient {
        self.heads.trusted()
    }

    /// The highest certified head.
    pub fn newest_head(&self) -> Option<&Certified> {
        self.heads.newest()
    }

    /// Takes one input in. Cost: a signature (about 40 µs) where a report is sealed, a verification (about 85 µs)
    /// per signer of an unknown head, hashes otherwise.
    pub fn handle(&mut self, now: Timestamp, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        match input {
            Input::Sensed(sensed) => self.sense(now, sensed),
            Input::Head(head) => {
                let heard = self.heads.hear(now, head);
                self.head_heard(now, heard, &mut outputs);
            }
            Input::Certified(header) => {
                let heard = self.heads.admit(header);
                self.head_heard(now, heard, &mut outputs);
            }
            Input::Light(block) => {
                let heard = self.heads.offer(now, block);
                self.head_heard(now, heard, &mut outputs);
            }
            Input::Receipt(notice) => self.receipts_heard(notice, &mut outputs),
            Input::Link(linked) => {
                if linked && !self.linked {
                    self.outbox.hurry(now);
                }
                self.linked = linked;
            }
            Input::Tick => {}
            Input::Flush => self.seal(now, &mut outputs),
        }
        if self.bundle.is_due(now) {
            self.seal(now, &mut outputs);
        }
        self.tidy_outbox(now, &mut outputs);
        self.ask_to_wake(now, &mut outputs);
        outputs
    }

    fn sense(&mut self, now: Timestamp, sensed: Sensed) {
        let Sensed {
            at,
            place,
            heading,
            measure,
            segment,
        } = sensed;
        let cell = segment.map_or_else(|| Cell::at(place, heading), |name| Cell::segment(&name));
        self.bundle.add(
            now,
            at,
            Observation {
                cell,
                place,
                heading,
                age_ms: 0,
                measure,
            },
        );
    }

    fn seal(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        let (observations, too_old) = self.bundle.seal(now);
        self.counts.too_old += too_old as u64;
        let Some(first) = observations.first() else { return };
        let (cell, sequence) = (first.cell, self.next_sequence);
        self.next_sequence = Sequence(sequence.0 + 1);
        self.counts.observations += observations.len() as u64;
        self.counts.sealed += 1;

        let version = Report::VERSION;
        let report = Report {
            version,
            vehicle: self.id,
            sequence,
            sent_at: now,
            observations,
        };
        let signed = Signed::sign(report, self.heads.chain(), &self.key);
        let kept = Kept {
            sequence,
            sealed_at: now,
            cell,
            bytes: encode(signed.signed()),
        };

        // Stored before it is sent: a sequence that anyone heard is never given again.
        outputs.push(Output::Store(Change::Keep(kept.clone())));
        if self.linked {
            self.counts.sent += 1;
            outputs.push(self.put(&kept));
        }
        if let Some(crowded_out) = self.outbox.keep(now, kept, self.linked) {
            self.counts.crowded_out += 1;
            outputs.push(Output::Store(Change::Forget(crowded_out)));
        }
    }

    fn put(&self, kept: &Kept) -> Output {
        Output::Put {
            topic: topic::report(self.heads.chain(), kept.cell),
            bytes: kept.bytes.clone(),
        }
    }

    fn head_heard(&mut self, now: Timestamp, heard: Result<Heard, HeadError>, outputs: &mut Vec<Output>) {
        match heard {
            Ok(Heard::Known) => {}
            Ok(Heard::New(_)) => {
                self.counts.heads += 1;
                // Those for heights above are held back once more.
                for notice in std::mem::take(&mut self.early) {
                    self.receipts_heard(notice, outputs);
                }
            }
            Ok(Heard::Needs(height)) => self.ask_light(now, height, outputs),
            Err(error) => self.refuse(error.reason()),
        }
    }

    /// Asks for a light block: at once where it is the next on the way to one that waits, else once in a while. A way
    /// on which nobody answers is given up, so that a forged block whose way leads nowhere holds up nothing.
    fn ask_light(&mut self, now: Timestamp, height: Height, outputs: &mut Vec<Output>) {
        let on_the_way = self.heads.needed();
        let wanted = match self.asked {
            Some((asked, at)) if now.since(at) < ASK_AGAIN_MS => {
                match on_the_way.filter(|next| *next != asked) {
                    Some(next) => next,
                    None => return,
                }
            }
            Some((asked, _)) if on_the_way == Some(asked) => {
                self.heads.give_up();
                self.heads.needed().unwrap_or(height)
            }
            _ => on_the_way.unwrap_or(height),
        };
        self.asked = Some((wanted, now));
        outputs.push(Output::AskLight(wanted));
    }

    fn receipts_heard(&mut self, notice: ReceiptNotice, outputs: &mut Vec<Output>) {
        let newest = self.heads.newest().map(|header| header.height);
        let Some(header) = self.heads.at(notice.height) else {
            match newest {
                Some(newest) if notice.height < newest => self.refuse("receipt_of_unknown_head"),
                _ => self.hold_back(notice),
            }
            return;
        };
        if notice.verify(header).is_err() {
            return self.refuse("receipt_forged");
        }
        for (output, _) in notice.outputs {
            match output {
                LedgerOutput::Receipt(receipt) => self.tick_off(receipt, outputs),
                LedgerOutput::Payment(payment) => self.take_payment(payment, outputs),
                _ => {}
            }
        }
    }

    /// Keeps a receipt until the head of its block comes; the oldest of too many leaves.
    fn hold_back(&mut self, notice: ReceiptNotice) {
        if self.early.len() == EARLY_MAX {
            self.early.pop_front();
            self.refuse("receipt_without_head");
        }
        self.early.push_back(notice);
    }

    fn tick_off(&mut self, receipt: Receipt, outputs: &mut Vec<Output>) {
        let Receipt {
            vehicle,
            sequence,
            outcome,
        } = receipt;
        if vehicle != self.id {
            return;
        }
        let is_settled = match outcome {
            // Another block may have counted it.
            Outcome::HeardBefore => self.outbox.doubt(sequence),
            _ => self.outbox.forget(sequence),
        };
        if is_settled {
            *self.counts.finalised.entry(outcome).or_default() += 1;
            outputs.push(Output::Store(Change::Forget(sequence)));
            outputs.push(Output::Finalised { sequence, outcome });
        }
    }

    fn take_payment(&mut self, payment: Payment, outputs: &mut Vec<Output>) {
        if payment.vehicle == self.id && self.paid_for.is_none_or(|epoch| epoch < payment.epoch) {
            self.paid_for = Some(payment.epoch);
            self.counts.paid_micro = self.counts.paid_micro.saturating_add(payment.amount.micro());
            outputs.push(Output::Paid(payment));
        }
    }

    fn tidy_outbox(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        for sequence in self.outbox.expire(now) {
            self.counts.expired += 1;
            outputs.push(Output::Store(Change::Forget(sequence)));
        }
        if !self.linked {
            return;
        }
        for (kept, sent_before) in self.outbox.resend(now) {
            match sent_before {
                false => self.counts.sent += 1,
                true => self.counts.resent += 1,
            }
            outputs.push(self.put(&kept));
        }
    }

    fn ask_to_wake(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        if self.wake_at.is_some_and(|wake_at| wake_at <= now) {
            self.wake_at = None;
        }
        let resend_at = if self.linked {
            self.outbox.resend_at()
        } else {
            None
        };
        let next = self.bundle.due_at().into_iter().chain(resend_at).min();
        if let Some(next) = next
            && self.wake_at != Some(next)
        {
            self.wake_at = Some(next);
            outputs.push(Output::WakeAt(next));
        }
    }

    fn refuse(&mut self, reason: &'static str) {
        *self.counts.refused.entry(reason).or_default() += 1;
    }
}

#[cfg(test)]
mod tests;
