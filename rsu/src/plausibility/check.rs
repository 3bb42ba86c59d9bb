//! What can be wrong with a claim?
//!
//! One name for each check, its metrics label, and the observation class of ETSI TS 103 759 that it answers:
//! class 1 is one message alone, class 2 several of one sender, class 3 several senders, class 4 what the
//! receiver itself knows. A [`Checks`] is the set of those that a claim failed.

/// A check that a claim may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Check {
    /// Class 1: a speed, heading or acceleration outside what a road vehicle can have.
    ValueRange,
    /// Class 1: said in the future, or long ago.
    Clock,
    /// Class 4: further from the receiver than radio reaches.
    Coverage,
    /// Class 2: two different claims of one vehicle for one moment.
    Contradiction,
    /// Class 2: further from the place before than any vehicle gets in the time.
    Jump,
    /// Class 2: the distance moved does not fit the speeds at both ends.
    SpeedDistance,
    /// Class 2: distance and speed differ by little, the same way for seconds.
    SpeedDrift,
    /// Class 2: it moves elsewhere than it points.
    Heading,
    /// Class 2: its speed changes faster than tyres allow.
    SpeedChange,
    /// Class 2: its speed changes otherwise than its acceleration says.
    Acceleration,
    /// Class 2: it still stands where it cannot have come to stand.
    ImpossibleStop,
    /// Class 2: the same place, speed and heading again, although it moves.
    Frozen,
    /// Class 2: in bends it moves as somebody beside it would.
    Beside,
    /// Class 2: more messages than the protocol has.
    TooOften,
    /// Class 3: what another vehicle said shortly before.
    Echo,
    /// Class 3: one of several vehicles that appear out of nowhere in one place.
    SuddenAppearance,
    /// Class 3: two bodies in one place.
    Overlap,
    /// Class 3: a road that nobody else uses, beside the ones that they do.
    OffRoad,
    /// Class 2: what it said before was false too often for its word to count.
    History,
}

impl Check {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 19] = [
        Self::ValueRange,
        Self::Clock,
        Self::Coverage,
        Self::Contradiction,
        Self::Jump,
        Self::SpeedDistance,
        Self::SpeedDrift,
        Self::Heading,
        Self::SpeedChange,
        Self::Acceleration,
        Self::ImpossibleStop,
        Self::Frozen,
        Self::Beside,
        Self::TooOften,
        Self::Echo,
        Self::SuddenAppearance,
        Self::Overlap,
        Self::OffRoad,
        Self::History,
    ];

    /// The name in figures and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ValueRange => "value_range",
            Self::Clock => "clock",
            Self::Coverage => "coverage",
            Self::Contradiction => "contradiction",
            Self::Jump => "jump",
            Self::SpeedDistance => "speed_distance",
            Self::SpeedDrift => "speed_drift",
            Self::Heading => "heading",
            Self::SpeedChange => "speed_change",
            Self::Acceleration => "acceleration",
            Self::ImpossibleStop => "impossible_stop",
            Self::Frozen => "frozen",
            Self::Beside => "beside",
            Self::TooOften => "too_often",
            Self::Echo => "replay",
            Self::SuddenAppearance => "sudden_appearance",
            Self::Overlap => "overlap",
            Self::OffRoad => "off_road",
            Self::History => "history",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// A set of checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks(u32);

impl Checks {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// Those of either.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Adds one.
    pub const fn insert(&mut self, check: Check) {
        self.0 |= check.bit();
    }

    /// Whether it is one of them.
    pub const fn contains(self, check: Check) -> bool {
        self.0 & check.bit() != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in the set, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Check> {
        Check::ALL.into_iter().filter(move |check| self.contains(*check))
    }
}
