//! What does a vehicle put on the air?
//!
//! A signed bundle of its own observations. `(vehicle, sequence)` names it for ever: sending it again is
//! harmless. Ten observations cost 33 bytes each, everything included.

use wincode::{SchemaRead, SchemaWrite};

use crate::codec::Message;
use crate::signed::Signed;
use crate::{KeyId, Observation, Timestamp};

/// A vehicle's own count of its reports; it never goes back, nor repeats.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    SchemaWrite,
    SchemaRead,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl std::fmt::Display for Sequence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One vehicle's observations.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Report {
    /// [`Report::VERSION`].
    pub version: u8,
    /// Who reports; the ledger knows the whole key.
    pub vehicle: KeyId,
    /// Which of its reports this is.
    pub sequence: Sequence,
    /// When it was signed.
    pub sent_at: Timestamp,
    /// 1 to [`Report::OBSERVATIONS_MAX`] things seen.
    pub observations: Vec<Observation>,
}

/// A report as it travels.
pub type SignedReport = Signed<Report>;

impl Report {
    /// The version that this code speaks.
    pub const VERSION: u8 = 1;
    /// The most observations in one report.
    pub const OBSERVATIONS_MAX: usize = 64;

    /// Whether version, number of observations and every value are what the protocol allows.
    pub fn is_valid(&self) -> bool {
        self.version == Self::VERSION
            && (1..=Self::OBSERVATIONS_MAX).contains(&self.observations.len())
            && self.observations.iter().all(Observation::is_valid)
    }

    /// When `observation`, one of this report's, was made.
    pub fn seen_at(&self, observation: &Observation) -> Timestamp {
        self.sent_at.minus(u64::from(observation.age_ms))
    }
}

/// 97 bytes around the observations.
const REPORT_LEN_MAX: usize = 97 + 23 * Report::OBSERVATIONS_MAX;

impl Message for Report {
    const NAME: &'static str = "report";
    const LEN_MAX: usize = REPORT_LEN_MAX - 64;
}

impl Message for SignedReport {
    const NAME: &'static str = "signed report";
    const LEN_MAX: usize = REPORT_LEN_MAX;
}
