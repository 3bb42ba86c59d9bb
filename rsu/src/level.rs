//! How freely does traffic flow on a road?
//!
//! In: speeds that were published of it, one a slot. Out: the road's [`FreeFlow`], and how far a speed falls short of it, as
//! a [`Level`] of service from A to F. Integers; constant cost.
//!
//! Free flow is what the road's figures reach when nothing is in the way. No map tells it here, so it is learnt: it
//! rises to each faster figure at once, and sinks towards slower ones by 1/64 of the difference a slot, so that one wrong figure is
//! forgotten. A unit learns it anew when it starts, and says nothing before [`SLOTS_MIN`] slots.
//!
//! Source: Highway Capacity Manual 2010, exhibit 16-4 (urban streets: travel speed as a percentage of free-flow speed).

use serde::{Serialize, Serializer};

/// Of fewer slots no road's free flow is known.
pub const SLOTS_MIN: u32 = 12;

/// A road's speed when nothing is in the way, as far as it showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeFlow {
    /// In cm/s.
    speed: i32,
    /// Of how many slots.
    slots: u32,
}

impl FreeFlow {
    /// After the first figure.
    pub fn begin(speed: i32) -> Self {
        Self { speed, slots: 1 }
    }

    /// With another figure, of the same slot or a new one.
    #[must_use]
    pub fn with(self, speed: i32, new_slot: bool) -> Self {
        let sunk = if new_slot {
            let sunk = i64::from(self.speed) - ((i64::from(self.speed) - i64::from(speed)).max(0) >> 6);
            i32::try_from(sunk).unwrap_or(self.speed)
        } else {
            self.speed
        };
        Self {
            speed: sunk.max(speed),
            slots: self.slots.saturating_add(new_slot.into()),
        }
    }

    /// The level that `speed` (cm/s) is; `None` while free flow is not known.
    pub fn level(self, speed: i32) -> Option<Level> {
        let positive = |speed: i32| u64::try_from(speed).unwrap_or(0);
        (self.slots >= SLOTS_MIN).then(|| Level::of(positive(speed), positive(self.speed)))
    }
}

/// A level of service: A is free flow, F is a jam.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u8);

impl Level {
    /// More than so many percent of free flow are A, B, C, D and E; less is F.
    const LIMITS: [u128; 5] = [85, 67, 50, 40, 30];

    /// Of a speed, and the road's free flow, in the same unit. A road where one never moves is free.
    pub fn of(speed: u64, free_flow: u64) -> Self {
        let (speed, free) = (u128::from(speed) * 100, u128::from(free_flow));
        let missed = Self::LIMITS
            .iter()
            .filter(|&&limit| free > 0 && speed <= limit * free);
        Self(missed.count() as u8)
    }

    /// As vehicles report it: 0 (A, free) to 5 (F, a jam).
    pub fn code(self) -> u8 {
        self.0
    }

    /// `A` to `F`.
    pub fn letter(self) -> char {
        char::from(b'A' + self.0)
    }
}

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_char(self.letter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn letters_begin_where_the_manual_says() {
        let letters: String = [100, 86, 85, 68, 67, 51, 50, 41, 40, 31, 30, 0]
            .map(|percent| Level::of(percent, 100).letter())
            .iter()
            .collect();
        assert_eq!(letters, "AABBCCDDEEFF");
        assert_eq!(Level::of(0, 100).code(), milepost_wire::Measure::CONGESTION_MAX);
        assert_eq!(Level::of(0, 0).letter(), 'A');
    }

    #[test]
    fn free_flow_is_known_after_twelve_slots_and_forgets_a_wrong_figure() {
        let mut free = FreeFlow::begin(5_000);
        for _ in 1..SLOTS_MIN - 1 {
            free = free.with(1_400, true);
        }
        assert_eq!(free.level(1_400), None);
        free = free.with(1_400, false);
        assert_eq!(free.level(1_400), None, "no new slot");
        free = free.with(1_400, true);
        assert_eq!(free.level(1_400).map(Level::letter), Some('E'));
        for _ in 0..200 {
            free = free.with(1_400, true);
        }
        assert_eq!(free.level(1_400).map(Level::letter), Some('A'));
    }

    proptest! {
        #[test]
        fn nothing_overflows_and_free_flow_is_no_less_than_the_last_figure(
            speeds in prop::collection::vec((any::<i32>(), any::<bool>()), 1..40),
        ) {
            let mut free = FreeFlow::begin(speeds[0].0);
            for (speed, new_slot) in speeds {
                free = free.with(speed, new_slot);
                prop_assert!(free.speed >= speed);
                let _ = free.level(speed);
            }
        }

        #[test]
        fn who_drives_faster_is_on_no_worse_level(one in any::<u64>(), other in any::<u64>(), free in any::<u64>()) {
            let (slow, fast) = (one.min(other), one.max(other));
            prop_assert!(Level::of(fast, free) <= Level::of(slow, free));
        }
    }
}
