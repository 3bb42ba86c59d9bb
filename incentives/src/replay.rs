//! Was this report heard before?
//!
//! A vehicle's highest sequence number and which of the 256 below it were ticked off, as in IPsec (RFC 4303,
//! section 3.4.3): reports may arrive out of order, and one that is too old to tell counts as heard before.

use milepost_wire::Sequence;
use wincode::{SchemaRead, SchemaWrite};

/// Which of a vehicle's reports were heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(crate) struct Replay {
    /// The greatest number ticked off; meaningless while `ticked` is empty.
    highest: u64,
    /// Bit `n % 64` of word `n / 64`: whether `highest − n` was ticked off.
    ticked: [u64; WORDS],
}

const WORDS: usize = 4;

impl Replay {
    /// How far below the highest number one can still tell.
    pub(crate) const LEN: u64 = 64 * WORDS as u64;

    /// The greatest number that was ticked off.
    pub(crate) fn highest(&self) -> Sequence {
        Sequence(self.highest)
    }

    /// Whether this number is new.
    pub(crate) fn admits(&self, sequence: Sequence) -> bool {
        #[cfg(test)]
        if broken::is() {
            return true;
        }
        if self.ticked == [0; WORDS] || sequence.0 > self.highest {
            return true;
        }
        let back = self.highest - sequence.0;
        back < Self::LEN && self.ticked[(back / 64) as usize] >> (back % 64) & 1 == 0
    }

    /// Remembers this number.
    pub(crate) fn tick_off(&mut self, sequence: Sequence) {
        if self.ticked == [0; WORDS] {
            self.highest = sequence.0;
        } else if sequence.0 > self.highest {
            self.slide(sequence.0 - self.highest);
            self.highest = sequence.0;
        }
        let back = self.highest - sequence.0;
        if back < Self::LEN {
            self.ticked[(back / 64) as usize] |= 1 << (back % 64);
        }
    }

    /// Moves every bit up by `by` places.
    fn slide(&mut self, by: u64) {
        let bit = |ticked: &[u64; WORDS], at: u64| ticked[(at / 64) as usize] >> (at % 64) & 1;
        let mut moved = [0; WORDS];
        for at in by..Self::LEN {
            moved[(at / 64) as usize] |= bit(&self.ticked, at - by) << (at % 64);
        }
        self.ticked = moved;
    }
}

/// A negative control: lets tests break the rule and see that their checks notice.
#[cfg(test)]
pub(crate) mod broken {
    use std::cell::Cell;

    thread_local!(static BROKEN: Cell<bool> = const { Cell::new(false) });

    pub(super) fn is() -> bool {
        BROKEN.get()
    }

    /// Runs `test` while every report is admitted, however often it comes.
    pub(crate) fn during<T>(test: impl FnOnce() -> T) -> T {
        BROKEN.set(true);
        let result = test();
        BROKEN.set(false);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_first_report_may_have_any_number() {
        let mut replay = Replay::default();
        assert!(replay.admits(Sequence(0)));
        replay.tick_off(Sequence(0));
        assert!(!replay.admits(Sequence(0)));
        replay.tick_off(Sequence(u64::MAX));
        assert!(!replay.admits(Sequence(1)), "too old to tell");
    }

    proptest! {
        #[test]
        fn no_number_is_admitted_twice(numbers in prop::collection::vec(0u64..600, 1..200)) {
            let (mut replay, mut heard) = (Replay::default(), BTreeSet::new());
            for number in numbers {
                let highest = heard.last().copied().unwrap_or(0);
                let expected = !heard.contains(&number) && (heard.is_empty() || number + Replay::LEN > highest);
                prop_assert_eq!(replay.admits(Sequence(number)), expected);
                if expected {
                    replay.tick_off(Sequence(number));
                    heard.insert(number);
                }
            }
        }
    }
}
