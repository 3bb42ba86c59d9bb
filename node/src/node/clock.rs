//! Does this member's clock agree with the others'?
//!
//! A block carries its proposer's time, and a quorum votes for none that lies ahead of its own clocks. So a decided
//! block that lies ahead of ours says that ours is behind, whoever made it. A block that came live and lies behind ours
//! says that either its proposer's clock is behind or ours is ahead: once the newest blocks of proposers with more than a
//! third of the power say so, one of whom is honest, it is ours.
//!
//! Nothing is decided by it: a wrong clock makes this member's blocks late or its votes missing, which the others bear.
//! It tells the operator, once and then each [`TOLD_EVERY_MS`], as long as it lasts.

use std::collections::BTreeMap;

use milepost_wire::{Address, Members, Timestamp};

/// How often a wrong clock is told of.
const TOLD_EVERY_MS: u64 = 60_000;

/// How far off this machine's clock is, by the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockError {
    /// By so many milliseconds at least, behind.
    Behind(u64),
    /// By so many milliseconds, ahead.
    Ahead(u64),
}

/// What the newest blocks say of this member's clock.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Proposers whose newest live block lay behind this clock by more than may be, and by how many milliseconds.
    behind_us: BTreeMap<Address, u64>,
    error: Option<ClockError>,
    tell_at: u64,
}

impl Clock {
    /// How far off this clock is; `None` while nothing speaks against it.
    pub(super) fn error(&self) -> Option<ClockError> {
        self.error
    }

    /// Takes a decided block with its proposer and its time: `now` is this clock's, `arrived` what it was when the block
    /// came from its proposer, where it did and was not fetched.
    pub(super) fn decided(
        &mut self,
        proposer: Address,
        time: Timestamp,
        now: Timestamp,
        arrived: Option<Timestamp>,
        drift_ms: u64,
        members: &Members,
    ) {
        let behind = time.since(now);
        if behind > drift_ms {
            self.behind_us.clear();
            self.error = Some(ClockError::Behind(behind));
            return;
        }
        if let Some(arrived) = arrived {
            let ahead = arrived.since(time);
            if ahead > drift_ms {
                self.behind_us.insert(proposer, ahead);
            } else {
                self.behind_us.remove(&proposer);
            }
        }
        self.behind_us
            .retain(|proposer, _| members.get(proposer).is_some());
        let power = |address| members.get(address).map_or(0, |member| member.power);
        let against: u64 = self.behind_us.keys().map(power).sum();
        let ahead = self.behind_us.values().min().copied();
        self.error = ahead
            .filter(|_| against > members.total_power() / 3)
            .map(ClockError::Ahead);
    }

    /// Tells the operator what there is to tell at `mono_ms`.
    pub(super) fn tell(&mut self, mono_ms: u64) {
        let Some(error) = self.error else {
            if std::mem::take(&mut self.tell_at) > 0 {
                tracing::info!("this machine's clock agrees with the other members' again");
            }
            return;
        };
        if mono_ms < self.tell_at {
            return;
        }
        self.tell_at = mono_ms + TOLD_EVERY_MS;
        match error {
            ClockError::Behind(ms) => tracing::warn!(
                ms,
                "this machine's clock is behind the other members': it cannot vote in time, and refuses reports; set it, by NTP"
            ),
            ClockError::Ahead(ms) => tracing::warn!(
                ms,
                "this machine's clock is ahead of the other members': they do not vote for its blocks; set it, by NTP"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use milepost_wire::{Member, SecretKey};

    use super::*;

    const DRIFT_MS: u64 = 2_000;
    const NOW_MS: u64 = 700_000_000_000;

    struct Town {
        clock: Clock,
        members: Members,
        addresses: Vec<Address>,
    }

    impl Town {
        fn of(powers: &[u64]) -> Self {
            let keys: Vec<_> = (0..)
                .take(powers.len())
                .map(|nth| SecretKey::from_seed("clock", nth))
                .collect();
            let member = |(key, power): (&SecretKey, &u64)| Member {
                key: key.public(),
                provider: "test".into(),
                power: *power,
            };
            Self {
                clock: Clock::default(),
                members: Members::new(keys.iter().zip(powers).map(member).collect()).expect("members"),
                addresses: keys.iter().map(SecretKey::address).collect(),
            }
        }

        /// A block of this proposer whose time lies so far from this clock's.
        fn block(&mut self, proposer: usize, offset_ms: i64, live: bool) -> Option<ClockError> {
            let now = Timestamp::from_millis(NOW_MS);
            let time = Timestamp::from_millis(NOW_MS.saturating_add_signed(offset_ms));
            let (proposer, arrived) = (self.addresses[proposer], live.then_some(now));
            self.clock
                .decided(proposer, time, now, arrived, DRIFT_MS, &self.members);
            self.clock.error()
        }
    }

    #[test]
    fn a_decided_block_from_the_future_says_that_the_clock_is_behind() {
        let mut town = Town::of(&[1; 4]);
        assert_eq!(town.block(1, 2_000, true), None, "so far ahead a block may be");
        assert_eq!(town.block(1, 300_000, false), Some(ClockError::Behind(300_000)));
        assert_eq!(town.block(2, -100, true), None, "the clock was set");
    }

    #[test]
    fn one_proposer_whose_clock_is_behind_proves_nothing() {
        let mut town = Town::of(&[1; 4]);
        for _ in 0..9 {
            assert_eq!(town.block(1, -300_000, true), None);
            assert_eq!(town.block(2, -100, true), None);
        }
    }

    #[test]
    fn proposers_of_more_than_a_third_say_that_the_clock_is_ahead() {
        let mut town = Town::of(&[1; 4]);
        assert_eq!(town.block(1, -300_000, true), None);
        assert_eq!(town.block(2, -299_000, true), Some(ClockError::Ahead(299_000)));
        assert_eq!(town.block(2, -100, true), None, "one of the two agrees again");
    }

    #[test]
    fn it_is_power_that_counts() {
        let mut town = Town::of(&[1, 1, 1, 6]);
        assert_eq!(town.block(1, -300_000, true), None);
        assert_eq!(town.block(2, -300_000, true), None);
        assert_eq!(
            town.block(0, -300_000, true),
            None,
            "three of nine are no more than a third"
        );
        assert_eq!(town.block(3, -300_000, true), Some(ClockError::Ahead(300_000)));
    }

    #[test]
    fn what_was_fetched_is_old_and_says_nothing() {
        let mut town = Town::of(&[1; 4]);
        for nth in 0..4 {
            assert_eq!(town.block(nth, -300_000, false), None);
        }
    }
}
