//! What does a vehicle see?
//!
//! One thing, at one place, at one time. Speed is the vehicle's own; congestion, humidity and hazards are what
//! its sensors tell of the road.

use wincode::{SchemaRead, SchemaWrite};

use crate::{Cell, Heading, Humidity, Place, Speed};

/// What an estimate can be of.
#[derive(
    Clone,
    Copy,
    Debug,
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
#[wincode(tag_encoding = "u8")]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Travel speed, in cm/s.
    Speed,
    /// Level of service, 0 (free) to 5 (standing): a category.
    Congestion,
    /// Wetness of the surface, in 0.1 %.
    Humidity,
    /// A cause of danger: a category.
    Hazard,
}

impl Kind {
    /// All kinds, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::Speed, Self::Congestion, Self::Humidity, Self::Hazard];

    /// Whether values are codes that agree or not, rather than numbers that lie near each other.
    pub const fn is_category(self) -> bool {
        matches!(self, Self::Congestion | Self::Hazard)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Speed => "speed",
            Self::Congestion => "congestion",
            Self::Humidity => "humidity",
            Self::Hazard => "hazard",
        })
    }
}

/// A measured value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
#[wincode(tag_encoding = "u8")]
pub enum Measure {
    /// The vehicle's speed over ground.
    Speed(Speed),
    /// The level of service that the vehicle experiences, 0 to 5.
    Congestion(u8),
    /// Wetness of the road's surface.
    Humidity(Humidity),
    /// A danger seen: `CauseCodeType` of ETSI TS 102 894-2, 1 to 99.
    Hazard(u8),
}

impl Measure {
    /// The worst level of service.
    pub const CONGESTION_MAX: u8 = 5;
    /// The greatest cause code.
    pub const HAZARD_MAX: u8 = 99;

    /// What it is a measure of.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Speed(_) => Kind::Speed,
            Self::Congestion(_) => Kind::Congestion,
            Self::Humidity(_) => Kind::Humidity,
            Self::Hazard(_) => Kind::Hazard,
        }
    }

    /// The number that the ledger reckons with, in the kind's unit.
    pub fn value(self) -> i32 {
        match self {
            Self::Speed(speed) => i32::from(speed.cm_per_s()),
            Self::Congestion(level) => i32::from(level),
            Self::Humidity(humidity) => i32::from(humidity.permille()),
            Self::Hazard(cause) => i32::from(cause),
        }
    }

    /// Whether the value is within its unit's range; decoding cannot check it.
    pub const fn is_valid(self) -> bool {
        match self {
            Self::Speed(speed) => speed.is_valid(),
            Self::Congestion(level) => level <= Self::CONGESTION_MAX,
            Self::Humidity(humidity) => humidity.is_valid(),
            Self::Hazard(cause) => cause >= 1 && cause <= Self::HAZARD_MAX,
        }
    }
}

/// One thing seen: 23 bytes on the wire (22 for a one-byte value).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
pub struct Observation {
    /// The piece of road, as the vehicle reckons it from place and heading, or from its map.
    pub cell: Cell,
    /// Where the vehicle was.
    pub place: Place,
    /// Where it was heading.
    pub heading: Heading,
    /// How long before the report was sent, in milliseconds.
    pub age_ms: u16,
    /// What it saw.
    pub measure: Measure,
}

impl Observation {
    /// Whether every number is within its unit's range.
    pub fn is_valid(&self) -> bool {
        self.cell.is_valid() && self.place.is_valid() && self.heading.is_valid() && self.measure.is_valid()
    }
}
