//! Which of the bytes on the air are a report that counts?
//!
//! In: bytes, whoever sent them. Out: verified, plausible reports that were not heard before, or the reason
//! why not. The stages, cheapest first: size, decoding, the protocol's bounds, enrolment, heard before, the
//! sender's rate ([`Ear::admit`]); the signature ([`verify`], on all cores); plausibility ([`Ear::accept`]).
//!
//! A report that cannot be true is refused. One that is only unlikely, given what its sender and others said
//! before, is evidence: it is counted ([`Ear::judge`]) and kept ([`Ear::take_evidence`]), and passed on to the
//! ledger, whose scores see more than one unit does; [`Limits::refuse_suspects`] refuses it, too.
//!
//! A vehicle that signs two contents under one number is a fraud, whichever of them it meant, and the two prove it
//! (`milepost-rsu quarantine prove`). The second is refused, and kept as evidence with the first; so is one that came in
//! another unit's batch ([`Ear::overhear`]). Anybody can make up a second content: until its signature is checked it goes by
//! the small share, and once there is proof for a number, no more is looked at. Not noticed: a content from before the unit
//! was started, or the last [`Limits::contents_max`] reports.
//!
//! The rate limit stands behind the cheap stages and before the costly one: it bounds what is spent on
//! signatures in one vehicle's name. A resent report costs a look-up and none of the sender's share, whether it is on
//! the ledger already or on its way; one that is in none of the next [`LOST_AFTER`] blocks was lost on its way, and is
//! heard anew. Somebody who signs nothing must not use up a vehicle's share: once the vehicle was heard, numbers far from its last
//! verified one go by a small share of their own. Who forges must guess the number, for vehicles do not hear one
//! another's reports on secured links. Before a vehicle's very first report a forger can still delay it.
//!
//! Memory: two entries of about 200 bytes and a report for each of [`Limits::vehicles_max`], two of 40 bytes for each of
//! [`Limits::recent_max`], two reports for each of [`Limits::contents_max`], and the judge's.

use std::collections::VecDeque;
use std::sync::Arc;

use k256::ecdsa::VerifyingKey;
use milepost_node::Now;
use milepost_wire::many::{SUM_LEN_MAX, verify_many};
use milepost_wire::recent::Recent;
use milepost_wire::state::Vehicle;
use milepost_wire::{
    ChainId, DecodeError, Height, KeyId, PublicKey, Report, Sequence, SignedReport, Verified, decode,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::plausibility::{self, Bounds, Check, Checks, Implausible, Judge, Plane, Trace};
use crate::rate::{Bucket, Rate};

/// What the ear bears.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Vehicles whose rate and whereabouts are remembered; the longest silent are forgotten first.
    pub vehicles_max: usize,
    /// Reports that are remembered as heard; the oldest are forgotten first.
    pub recent_max: usize,
    /// Reports whose content is remembered, so that another one under the same number is noticed; the oldest are forgotten
    /// first.
    pub contents_max: usize,
    /// What one vehicle may send.
    pub rate: Rate,
    /// What may be said in its name with numbers that are not near its last verified one.
    pub odd_rate: Rate,
    /// Signed reports that are kept as evidence; the oldest leave first.
    pub evidence_max: usize,
    /// Whether a report is refused that what was said before makes unlikely. It is counted either way.
    pub refuse_suspects: bool,
    /// What is possible on a road.
    pub plausible: plausibility::Limits,
    /// What the judge of unlikely reports goes by.
    pub judge: Bounds,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            vehicles_max: 16_384,
            recent_max: 131_072,
            contents_max: 32_768,
            rate: Rate::default(),
            odd_rate: Rate {
                per_second: 2,
                burst: 20,
            },
            evidence_max: 1_024,
            refuse_suspects: false,
            plausible: plausibility::Limits::default(),
            judge: Bounds::default(),
        }
    }
}

/// A report that is in none of so many blocks since it was heard is lost.
pub const LOST_AFTER: u64 = 12;

/// Whether a report that was on its way at block `since`, and is in none up to `newest`, is lost.
pub(crate) const fn is_lost(since: Height, newest: Height) -> bool {
    newest.0.saturating_sub(since.0) >= LOST_AFTER
}

/// How far apart the numbers of reports may be that a vehicle sends or sends again within a while.
const NEAR: u64 = 4_096;

/// Why a report is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Too long, malformed, or not its only encoding.
    #[error(transparent)]
    Bytes(#[from] DecodeError),
    /// Another version, no observation or too many, or a value outside its unit's range.
    #[error("report {sequence} of {vehicle} is outside the protocol's bounds")]
    OutOfBounds {
        /// Whose it says it is.
        vehicle: KeyId,
        /// Which of its reports.
        sequence: Sequence,
    },
    /// The ledger does not know the vehicle, or no longer.
    #[error("{0} is not enrolled")]
    NotEnrolled(KeyId),
    /// It came before.
    #[error("report {sequence} of {vehicle} was heard before")]
    HeardBefore {
        /// Whose.
        vehicle: KeyId,
        /// Which of its reports.
        sequence: Sequence,
        /// The block that has its receipt, where it is on the ledger.
        settled: Option<Height>,
    },
    /// More than the sender's share.
    #[error("{vehicle} sends more than {} reports a second", rate.per_second)]
    TooOften {
        /// Who.
        vehicle: KeyId,
        /// What is allowed.
        rate: Rate,
    },
    /// Somebody else signed it, or nobody.
    #[error("report {sequence} is not signed by {vehicle}")]
    BadSignature {
        /// Whose it says it is.
        vehicle: KeyId,
        /// Which of its reports.
        sequence: Sequence,
    },
    /// It signed another one under the same number.
    #[error("{vehicle} signed two contents as its report {sequence}")]
    TwoContents {
        /// Who.
        vehicle: KeyId,
        /// Which of its reports.
        sequence: Sequence,
    },
    /// It says what cannot be.
    #[error("report {sequence} of {vehicle}: {what}")]
    Implausible {
        /// Whose.
        vehicle: KeyId,
        /// Which of its reports.
        sequence: Sequence,
        /// What cannot be.
        what: Implausible,
    },
    /// What was said before speaks against it.
    #[error("report {sequence} of {vehicle} fails {}", labels(*failed))]
    Suspect {
        /// Whose.
        vehicle: KeyId,
        /// Which of its reports.
        sequence: Sequence,
        /// What it fails.
        failed: Checks,
    },
}

fn labels(failed: Checks) -> String {
    let labels: Vec<&str> = failed.iter().map(Check::label).collect();
    labels.join(", ")
}

impl Refusal {
    /// The reason, as a metrics label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Bytes(DecodeError::TooLong { .. }) => "too_long",
            Self::Bytes(DecodeError::Malformed { .. }) => "malformed",
            Self::Bytes(DecodeError::NotCanonical { .. }) => "not_canonical",
            Self::OutOfBounds { .. } => "out_of_bounds",
            Self::NotEnrolled(_) => "not_enrolled",
            Self::HeardBefore { .. } => "heard_before",
            Self::TooOften { .. } => "too_often",
            Self::BadSignature { .. } => "bad_signature",
            Self::TwoContents { .. } => "two_contents",
            Self::Implausible { what, .. } => what.label(),
            Self::Suspect { .. } => "suspect",
        }
    }
}

/// A report of an enrolled vehicle whose signature nobody has checked yet.
#[derive(Clone, Debug)]
pub struct Admitted {
    report: SignedReport,
    key: VerifyingKey,
}

/// A signed report that is implausible, or not the first under its number: its vehicle cannot deny it.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// What was signed.
    pub report: Verified<Report>,
    /// The other one under its number, or the last report of the same vehicle that was passed on, where there was one: the two
    /// may prove something together.
    pub before: Option<Verified<Report>>,
    /// What is wrong with it.
    pub why: Refusal,
}

/// Hears reports.
#[derive(Clone, Debug)]
pub struct Ear {
    limits: Limits,
    heard: Recent<(KeyId, Sequence), Heard>,
    /// What was signed under which number, here or in others' batches.
    contents: Recent<(KeyId, Sequence), Content>,
    /// Under how many numbers there was a second one.
    two_contents: u64,
    /// The ledger's newest block.
    height: Height,
    senders: Recent<KeyId, Sender>,
    judge: Judge,
    /// Around the first place that was heard of.
    plane: Option<Plane>,
    evidence: VecDeque<Evidence>,
}

/// What is remembered of one report.
#[derive(Clone, Copy, Debug)]
struct Heard {
    /// The newest block when it was heard.
    since: Height,
    /// The block that has its receipt.
    settled: Option<Height>,
}

/// What a vehicle signed under a number.
#[derive(Clone, Debug)]
struct Content {
    first: Arc<Verified<Report>>,
    /// Another one was kept as evidence.
    is_contradicted: bool,
}

/// What is remembered of one vehicle.
#[derive(Clone, Debug)]
struct Sender {
    /// As enrolled, and the point that it stands for: reckoning that anew costs 10 µs.
    key: (PublicKey, VerifyingKey),
    bucket: Bucket,
    odd_bucket: Bucket,
    /// The greatest number with its signature.
    newest: Option<Sequence>,
    last: Option<(Trace, Arc<Verified<Report>>)>,
}

impl Sender {
    /// Takes from the share that a report of this number goes by; `second` in its place is never the vehicle's own.
    fn take(&mut self, now: Now, sequence: Sequence, second: bool, limits: &Limits) -> bool {
        let near = |newest: Sequence| newest.0.abs_diff(sequence.0) <= NEAR;
        if !second && self.newest.is_none_or(near) {
            self.bucket.take(now.mono_ms, limits.rate)
        } else {
            self.odd_bucket.take(now.mono_ms, limits.odd_rate)
        }
    }
}

impl Ear {
    /// An ear that has heard nothing.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            heard: Recent::new(limits.recent_max),
            contents: Recent::new(limits.contents_max),
            two_contents: 0,
            height: Height::ZERO,
            senders: Recent::new(limits.vehicles_max),
            judge: Judge::new(limits.judge),
            plane: None,
            evidence: VecDeque::new(),
        }
    }

    /// What speaks against whom.
    pub const fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Under how many numbers a vehicle was seen to sign two contents.
    pub const fn two_contents(&self) -> u64 {
        self.two_contents
    }

    /// Says how far the ledger is.
    pub const fn stand(&mut self, height: Height) {
        self.height = height;
    }

    /// Notes that the ledger has dealt with a report, whoever heard it. The first block that did counts.
    pub fn settle(&mut self, vehicle: KeyId, sequence: Sequence, height: Height) {
        let name = (vehicle, sequence);
        if let Some(heard) = self.heard.touch(&name) {
            heard.settled = Some(heard.settled.map_or(height, |at| at.min(height)));
            return;
        }
        let (since, settled) = (height, Some(height));
        self.heard.insert(name, Heard { since, settled });
    }

    /// # Errors
    ///
    /// [`Refusal::HeardBefore`] where a report was, and was not lost since.
    fn is_new(&self, report: &Report) -> Result<(), Refusal> {
        match self.heard.get(&(report.vehicle, report.sequence)) {
            Some(Heard { settled, since }) if settled.is_some() || !is_lost(*since, self.height) => {
                Err(self.before(report))
            }
            _ => Ok(()),
        }
    }

    /// That a report of this name was heard, and what became of it.
    fn before(&self, report: &Report) -> Refusal {
        let (vehicle, sequence) = (report.vehicle, report.sequence);
        let heard = self.heard.get(&(vehicle, sequence));
        Refusal::HeardBefore {
            vehicle,
            sequence,
            settled: heard.and_then(|heard| heard.settled),
        }
    }

    /// The stages before the signature; `roll` finds an enrolled vehicle, and its newest report on the ledger.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    pub fn admit<'a>(
        &mut self,
        now: Now,
        bytes: &[u8],
        roll: impl Fn(KeyId) -> Option<(&'a Vehicle, Option<Sequence>)>,
    ) -> Result<Admitted, Refusal> {
        let report: SignedReport = decode(bytes)?;
        let Report {
            vehicle, sequence, ..
        } = report.message;
        if !report.message.is_valid() {
            return Err(Refusal::OutOfBounds { vehicle, sequence });
        }
        let (enrolled, newest) = roll(vehicle)
            .filter(|(enrolled, _)| !enrolled.revoked)
            .ok_or(Refusal::NotEnrolled(vehicle))?;
        let second = self.is_second(&report.message)?;
        if !second {
            self.is_new(&report.message)?;
        }
        let limits = self.limits;
        let rate = limits.rate;
        let sender = self.sender(now, vehicle, enrolled.key)?;
        sender.newest = sender.newest.max(newest);
        if !sender.take(now, sequence, second, &limits) {
            return Err(Refusal::TooOften { vehicle, rate });
        }
        Ok(Admitted {
            key: sender.key.1,
            report,
        })
    }

    /// The stages behind the signature. What is returned counts as heard.
    ///
    /// # Errors
    ///
    /// [`Refusal::HeardBefore`] where the same report was verified twice in one bundle, [`Refusal::TwoContents`],
    /// [`Refusal::Implausible`], or [`Refusal::Suspect`] where those are refused.
    pub fn accept(&mut self, now: Now, report: Verified<Report>) -> Result<Verified<Report>, Refusal> {
        let (vehicle, sequence) = (report.vehicle, report.sequence);
        let content = self.compare(&report)?;
        self.is_new(&report)?;
        let before = self.senders.get(&vehicle).and_then(|sender| sender.last.as_ref());
        let trace_before = before.map(|(trace, _)| *trace);
        let trace = match plausibility::check(&report, trace_before, now.wall, &self.limits.plausible) {
            Ok(trace) => trace,
            Err(what) => {
                let why = Refusal::Implausible {
                    vehicle,
                    sequence,
                    what,
                };
                let before = before.map(|(_, report)| Arc::clone(report));
                self.keep(report, before, why.clone());
                return Err(why);
            }
        };
        let heard = Heard {
            since: self.height,
            settled: None,
        };
        self.heard.insert((vehicle, sequence), heard);
        let before = self.senders.touch(&vehicle).and_then(|sender| {
            sender.newest = sender.newest.max(Some(sequence));
            sender.last.replace((trace, content))
        });
        let failed = self.weigh(&report, trace);
        if failed.is_empty() {
            return Ok(report);
        }
        let why = Refusal::Suspect {
            vehicle,
            sequence,
            failed,
        };
        self.keep(report.clone(), before.map(|(_, report)| report), why.clone());
        if self.limits.refuse_suspects {
            return Err(why);
        }
        Ok(report)
    }

    /// The newest implausible reports since this was last asked, oldest first.
    pub fn take_evidence(&mut self) -> VecDeque<Evidence> {
        std::mem::take(&mut self.evidence)
    }

    /// Takes note of a report that another unit passed on.
    pub fn overhear(&mut self, report: &Verified<Report>) {
        // Where it is refused, that is counted and kept: it is too late to do more.
        let _ = self.compare(report);
    }

    /// Whether a report, which anybody may have made up, says something else than what was signed under its number.
    ///
    /// # Errors
    ///
    /// [`Refusal::HeardBefore`] where there is proof of that already.
    fn is_second(&self, report: &Report) -> Result<bool, Refusal> {
        match self.contents.get(&(report.vehicle, report.sequence)) {
            None => Ok(false),
            Some(content) if **content.first == *report => Ok(false),
            Some(content) if content.is_contradicted => Err(self.before(report)),
            Some(_) => Ok(true),
        }
    }

    /// Compares what was signed with what was signed before under the same number, and remembers the first.
    ///
    /// # Errors
    ///
    /// [`Refusal::TwoContents`] for the second one, which is kept as evidence, and [`Refusal::HeardBefore`] for any further:
    /// one proof is enough.
    fn compare(&mut self, report: &Verified<Report>) -> Result<Arc<Verified<Report>>, Refusal> {
        let (vehicle, sequence) = (report.vehicle, report.sequence);
        match self.contents.touch(&(vehicle, sequence)) {
            None => {
                let first = Arc::new(report.clone());
                let content = Content {
                    first: Arc::clone(&first),
                    is_contradicted: false,
                };
                self.contents.insert((vehicle, sequence), content);
                Ok(first)
            }
            Some(content) if **content.first == **report => Ok(Arc::clone(&content.first)),
            Some(content) if content.is_contradicted => Err(self.before(report)),
            Some(content) => {
                tracing::warn!(%vehicle, %sequence, "a vehicle signed two contents under one number");
                content.is_contradicted = true;
                self.two_contents += 1;
                let (first, why) = (
                    Arc::clone(&content.first),
                    Refusal::TwoContents { vehicle, sequence },
                );
                self.keep(report.clone(), Some(first), why.clone());
                Err(why)
            }
        }
    }

    fn keep(&mut self, report: Verified<Report>, before: Option<Arc<Verified<Report>>>, why: Refusal) {
        let before = before.map(Arc::unwrap_or_clone);
        while self.evidence.len() >= self.limits.evidence_max.max(1) {
            self.evidence.pop_front();
        }
        self.evidence.push_back(Evidence { report, before, why });
    }

    /// The checks that a possible report fails, given what was said before.
    fn weigh(&mut self, report: &Report, trace: Trace) -> Checks {
        let plane = *self.plane.get_or_insert_with(|| Plane::around(trace.place));
        plane
            .claims(report)
            .iter()
            .map(|claim| self.judge.hear(claim).failed)
            .fold(Checks::NONE, Checks::and)
    }

    fn sender(&mut self, now: Now, vehicle: KeyId, key: PublicKey) -> Result<&mut Sender, Refusal> {
        if self
            .senders
            .get(&vehicle)
            .is_none_or(|sender| sender.key.0 != key)
        {
            // The ledger enrols no key that is not a point.
            let point = key.verifying_key().map_err(|_| Refusal::NotEnrolled(vehicle))?;
            let sender = Sender {
                key: (key, point),
                bucket: Bucket::full(now.mono_ms, self.limits.rate),
                odd_bucket: Bucket::full(now.mono_ms, self.limits.odd_rate),
                newest: None,
                last: None,
            };
            self.senders.insert(vehicle, sender);
        }
        Ok(self
            .senders
            .touch(&vehicle)
            .expect("it was there, or was just put there"))
    }
}

/// Checks signatures, on all cores, many in one sum. The answers come in the order of the questions.
pub fn verify(chain: &ChainId, bundle: Vec<Admitted>) -> Vec<Result<Verified<Report>, Refusal>> {
    bundle
        .par_chunks(SUM_LEN_MAX)
        .flat_map_iter(|admitted| {
            let claims = admitted.iter().map(|one| (one.report.clone(), one.key));
            let names = admitted
                .iter()
                .map(|one| (one.report.message.vehicle, one.report.message.sequence));
            verify_many(chain, claims.collect()).into_iter().zip(names).map(
                |(verdict, (vehicle, sequence))| {
                    verdict.map_err(|_| Refusal::BadSignature { vehicle, sequence })
                },
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, NOW};
    use milepost_wire::encode;
    use proptest::prelude::*;

    const AT: Now = Now {
        mono_ms: 1_000_000,
        wall: NOW,
    };

    /// Hears one message with vehicles 0 to 9 enrolled, of which 9 is revoked.
    fn hear(ear: &mut Ear, now: Now, bytes: &[u8]) -> Result<Verified<Report>, &'static str> {
        let roll: Vec<Vehicle> = (0..10)
            .map(|seed| Vehicle {
                revoked: seed == 9,
                ..samples::vehicle(seed)
            })
            .collect();
        let find = |id: KeyId| {
            (0..10)
                .position(|seed| samples::vehicle_key(seed).key_id() == id)
                .map(|at| (&roll[at], None))
        };
        let admitted = ear.admit(now, bytes, find).map_err(|refusal| refusal.label())?;
        let verified = verify(&samples::chain(), vec![admitted]).remove(0);
        verified
            .and_then(|report| ear.accept(now, report))
            .map_err(|refusal| refusal.label())
    }

    #[test]
    fn a_report_is_heard_once() {
        let mut ear = Ear::new(Limits::default());
        let bytes = encode(samples::report(1, 7).signed());
        assert!(hear(&mut ear, AT, &bytes).is_ok());
        assert_eq!(hear(&mut ear, AT, &bytes).err(), Some("heard_before"));
    }

    /// Vehicle 1's report 7, seen at so many cm/s.
    fn said(cm_per_s: u16) -> Verified<Report> {
        samples::report_of(1, 7, NOW, vec![samples::observation(cm_per_s, 0)])
    }

    #[test]
    fn a_second_content_under_one_number_is_refused_and_kept_with_the_first_once() {
        let mut ear = Ear::new(Limits::default());
        let [first, second, third] = [1400, 1500, 1600].map(said);
        let mut heard = |report: &Verified<Report>| hear(&mut ear, AT, &encode(report.signed())).err();
        assert_eq!(heard(&first), None);
        assert_eq!(heard(&first), Some("heard_before"), "the same again is no other");
        assert_eq!(heard(&second), Some("two_contents"));
        for again in [&first, &second, &third] {
            assert_eq!(heard(again), Some("heard_before"), "one proof is enough");
        }
        assert_eq!(ear.two_contents(), 1);
        let evidence = Vec::from(ear.take_evidence());
        let [piece] = &evidence[..] else {
            panic!("one piece: {evidence:?}");
        };
        assert_eq!((&piece.report, piece.before.as_ref()), (&second, Some(&first)));
    }

    #[test]
    fn a_second_content_is_noticed_where_the_two_are_verified_together_too() {
        let mut ear = Ear::new(Limits::default());
        let vehicle = samples::vehicle(1);
        let admitted = [1400, 1500, 1500, 1400].map(|cm_per_s| {
            let bytes = encode(said(cm_per_s).signed());
            ear.admit(AT, &bytes, |_| Some((&vehicle, None))).expect("new")
        });
        let heard: Vec<_> = verify(&samples::chain(), admitted.to_vec())
            .into_iter()
            .map(|verdict| verdict.and_then(|report| ear.accept(AT, report)))
            .map(|heard| heard.err().map(|refusal| refusal.label()))
            .collect();
        let expected = ["two_contents", "heard_before", "heard_before"].map(Some);
        assert_eq!((heard[0], &heard[1..]), (None, &expected[..]));
        assert_eq!(kept(&mut ear), ["two_contents"]);
    }

    #[test]
    fn a_second_content_is_noticed_where_one_came_through_another_unit() {
        for overheard_first in [false, true] {
            let mut ear = Ear::new(Limits::default());
            let [one, other] = [1400, 1500].map(said);
            let bytes = encode(one.signed());
            if overheard_first {
                ear.overhear(&other);
                assert_eq!(hear(&mut ear, AT, &bytes).err(), Some("two_contents"));
                assert_eq!(hear(&mut ear, AT, &bytes).err(), Some("heard_before"));
            } else {
                assert_eq!(hear(&mut ear, AT, &bytes).err(), None);
                ear.overhear(&other);
                ear.overhear(&one);
            }
            ear.overhear(&other);
            assert_eq!((ear.two_contents(), kept(&mut ear)), (1, vec!["two_contents"]));
        }
        // What only another unit passed on is new to this one's picture.
        let mut ear = Ear::new(Limits::default());
        ear.overhear(&said(1400));
        assert_eq!(hear(&mut ear, AT, &encode(said(1400).signed())).err(), None);
    }

    #[test]
    fn a_made_up_second_content_accuses_nobody_and_costs_the_vehicle_nothing() {
        let limits = Limits {
            rate: Rate {
                per_second: 0,
                burst: 2,
            },
            odd_rate: Rate {
                per_second: 0,
                burst: 3,
            },
            ..Limits::default()
        };
        let mut ear = Ear::new(limits);
        assert!(hear(&mut ear, AT, &encode(said(1400).signed())).is_ok());
        for nth in 0..5 {
            let mut forged = said(1500 + nth).into_signed();
            forged.signature = said(1400).signed().signature;
            let expected = if nth < 3 { "bad_signature" } else { "too_often" };
            assert_eq!(hear(&mut ear, AT, &encode(&forged)).err(), Some(expected));
        }
        assert_eq!((ear.two_contents(), kept(&mut ear).len()), (0, 0));
        let next = encode(samples::report(1, 8).signed());
        assert_eq!(
            hear(&mut ear, AT, &next).err(),
            None,
            "its own share is untouched"
        );
    }

    #[test]
    fn strangers_and_the_revoked_are_refused() {
        let mut ear = Ear::new(Limits::default());
        let mut refused = |vehicle| hear(&mut ear, AT, &encode(samples::report(vehicle, 1).signed())).err();
        assert_eq!(refused(77), Some("not_enrolled"));
        assert_eq!(refused(9), Some("not_enrolled"));
        assert_eq!(refused(8), None);
    }

    #[test]
    fn a_forged_report_does_not_stand_in_the_true_ones_way() {
        let mut ear = Ear::new(Limits::default());
        let report = samples::report(1, 7).into_signed();
        let mut forged = report.clone();
        forged.message.sent_at = NOW.minus(1);
        assert_eq!(hear(&mut ear, AT, &encode(&forged)).err(), Some("bad_signature"));
        assert!(hear(&mut ear, AT, &encode(&report)).is_ok());
    }

    #[test]
    fn a_vehicle_gets_its_share_and_leaves_the_others_theirs() {
        let limits = Limits {
            rate: Rate {
                per_second: 1,
                burst: 2,
            },
            ..Limits::default()
        };
        let mut ear = Ear::new(limits);
        let mut heard = |vehicle, sequence, mono_ms| {
            let now = Now { mono_ms, ..AT };
            hear(
                &mut ear,
                now,
                &encode(samples::report(vehicle, sequence).signed()),
            )
            .err()
        };
        assert_eq!([heard(1, 1, 0), heard(1, 2, 0)], [None, None]);
        assert_eq!(heard(1, 3, 0), Some("too_often"));
        assert_eq!(heard(2, 1, 0), None);
        assert_eq!(heard(1, 3, 1000), None);
    }

    /// What speaks against the reports that an ear keeps, by name.
    fn kept(ear: &mut Ear) -> Vec<&'static str> {
        let evidence = ear.take_evidence();
        evidence.iter().map(|evidence| evidence.why.label()).collect()
    }

    #[test]
    fn what_is_unlikely_is_kept_and_passed_on_unless_it_is_to_be_refused() {
        for refuse_suspects in [false, true] {
            let mut ear = Ear::new(Limits {
                refuse_suspects,
                ..Limits::default()
            });
            // The same place and time, and another speed: one of the two is no truth.
            let heard: Vec<_> = [1400, 1600]
                .into_iter()
                .zip(1..)
                .map(|(cm_per_s, sequence)| {
                    let seen = vec![samples::observation(cm_per_s, 0)];
                    let report = samples::report_of(1, sequence, NOW, seen);
                    hear(&mut ear, AT, &encode(report.signed())).err()
                })
                .collect();
            assert_eq!(heard, [None, refuse_suspects.then_some("suspect")]);
            assert_eq!(kept(&mut ear), ["suspect"]);
            assert_eq!(ear.judge().count(Check::Contradiction), 1);
        }
    }

    #[test]
    fn forgeries_in_a_vehicles_name_do_not_use_up_its_share() {
        let limits = Limits {
            rate: Rate {
                per_second: 1,
                burst: 3,
            },
            odd_rate: Rate {
                per_second: 0,
                burst: 2,
            },
            ..Limits::default()
        };
        let mut ear = Ear::new(limits);
        let mut heard = |mut report: SignedReport, forged: bool| {
            report.signature.0[5] ^= u8::from(forged);
            hear(&mut ear, AT, &encode(&report)).err()
        };
        let numbered = |sequence| samples::report(1, sequence).into_signed();
        assert_eq!(heard(numbered(10_000), false), None);
        for forged in 0..2 {
            assert_eq!(heard(numbered(1_000_000 + forged), true), Some("bad_signature"));
        }
        assert_eq!(heard(numbered(1_000_002), true), Some("too_often"));
        assert_eq!(heard(numbered(10_001), false), None, "its own share is untouched");
        // An old one that is sent again goes by it, too.
        assert_eq!(heard(numbered(9_999), false), None);
    }

    #[test]
    fn what_it_remembers_is_bounded() {
        let limits = Limits {
            vehicles_max: 2,
            recent_max: 3,
            contents_max: 2,
            evidence_max: 4,
            ..Limits::default()
        };
        let mut ear = Ear::new(limits);
        for nth in 0..50 {
            let _ = hear(&mut ear, AT, &encode(samples::report(nth % 9, nth).signed()));
        }
        assert!(ear.senders.len() <= 4 && ear.heard.len() <= 6 && ear.contents.len() <= 4);
        assert_eq!(kept(&mut ear).len(), 4, "nine vehicles say the same");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert!(hear(&mut Ear::new(Limits::default()), AT, &bytes).is_err());
        }

        #[test]
        fn no_damage_to_a_report_passes(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut bytes = encode(samples::report(1, 1).signed());
            let at = at.index(bytes.len());
            // The top bit of `s`, at the signature's 33rd byte, is a hint that nothing depends on.
            prop_assume!(at != bytes.len() - 32 || flip != 0x80);
            bytes[at] ^= flip;
            prop_assert!(hear(&mut Ear::new(Limits::default()), AT, &bytes).is_err());
        }
    }
}
