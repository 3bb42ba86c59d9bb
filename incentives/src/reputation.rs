//! Who is trusted, how much, and who is heard at all?
//!
//! A vehicle's record is two fading sums, good and bad, in [`milepost_wire::state::Standing`]. An epoch adds to
//! them what its evaluated reports showed, scaled so that a vehicle that drives all day gains no more trust in
//! an hour than one that drives for a little: trust takes time. Bad weighs twelve times as much as good. A judgement
//! counts as far as the judges outweigh the judged ([`crate::score::certainty`]).
//!
//! A reputation below 0.08 after 24 evaluated reports leads into quarantine by rule. Reports in quarantine are scored
//! in the shadow; above 0.6 after 24 further evaluated ones the members may vote for its end, or, where
//! [`Params::release_needs_vote`] is off, it ends by itself.

use milepost_wire::state::{Q, Standing};

use crate::fixed::{muldiv, times};
use crate::params::Params;
use crate::sighting::Tally;

/// What a vehicle's word weighs: its reputation squared, at least 1 so that newcomers with a ruined record
/// still break ties among themselves; 0 in quarantine.
pub(crate) fn weight(standing: &Standing, quarantined: bool) -> u64 {
    if quarantined {
        return 0;
    }
    let reputation = u64::from(standing.reputation());
    times(reputation, reputation).max(1)
}

/// What a vehicle's word weighs in the published estimate: its reputation, as far as it is known; at least 1, and 0 in
/// quarantine.
///
/// Most vehicles pass through a picture once, and one red light costs a short record more than it says about the
/// vehicle. So until [`Params::evaluated_min`] reports are evaluated, the record counts in proportion, against that which
/// everybody starts with. Once it is known it is not squared as in [`weight`]: liars lose their say by [`crate::lean`].
pub(crate) fn speaks(params: &Params, standing: &Standing, quarantined: bool) -> u64 {
    if quarantined {
        return 0;
    }
    let start = Standing {
        good: params.start_good,
        bad: params.start_bad,
        debt: 0,
        evaluated: 0,
    };
    let full = u64::from(params.evaluated_min.max(1));
    let known = u64::from(standing.evaluated).min(full);
    let sum = u64::from(standing.reputation()) * known + u64::from(start.reputation()) * (full - known);
    (sum / full).max(1)
}

/// What a vehicle's points count for: its reputation; 0 below [`Params::reputation_min`] and in quarantine.
pub(crate) fn multiplier(params: &Params, standing: &Standing, quarantined: bool) -> u64 {
    let reputation = standing.reputation();
    if quarantined || reputation < params.reputation_min {
        return 0;
    }
    reputation.into()
}

/// The record after an epoch. Without evaluated reports it stays as it is.
///
/// Points below 0 stay as a debt, which fades like the rest of the record: a majority that once called a vehicle a liar, and is
/// gone, must not cost it the pay of a day. Points above 0 are paid at once ([`crate::epoch`]).
pub(crate) fn after_epoch(params: &Params, standing: Standing, tally: &Tally) -> Standing {
    if tally.evaluated == 0 {
        return standing;
    }
    let full = u64::from(tally.evaluated.max(params.evidence_full)) * Q;
    let evidence = |sum: u64| muldiv(params.evidence_per_epoch, sum, full);
    let fade = |sum: u64| sum - (sum >> params.record_shift.min(63));
    let bad = evidence(tally.bad).saturating_mul(params.bad_weight.into());
    let owed = standing.debt.saturating_add(tally.points).min(0).unsigned_abs();
    let debt = fade(owed.min(params.debt_max));
    Standing {
        good: fade(standing.good).saturating_add(evidence(tally.good)),
        bad: fade(standing.bad).saturating_add(bad),
        debt: i64::try_from(debt).map_or(i64::MIN, |debt| -debt),
        evaluated: standing.evaluated.saturating_add(tally.evaluated),
    }
}

/// What an epoch's end decides about a vehicle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing changes.
    Stay,
    /// Its reports stop counting.
    Quarantine,
    /// Its reports count again.
    Release,
}

/// Whether the record after an epoch leads into quarantine, or out of it. The epoch itself has to bear it out: a
/// vehicle that others have spoken ill of, and no longer do, is not quarantined.
pub(crate) fn decide(params: &Params, standing: &Standing, tally: &Tally, quarantined: bool) -> Decision {
    let reputation = standing.reputation();
    if standing.evaluated < params.evaluated_min {
        Decision::Stay
    } else if !quarantined && reputation < params.reputation_min && tally.bad > tally.good {
        Decision::Quarantine
    } else if quarantined && !params.release_needs_vote && is_reformed(params, standing) {
        Decision::Release
    } else {
        Decision::Stay
    }
}

/// Whether a record gained in the shadow is good enough for quarantine to end.
pub(crate) fn is_reformed(params: &Params, standing: &Standing) -> bool {
    standing.evaluated >= params.evaluated_min && standing.reputation() > params.reputation_release
}

/// The record with which quarantine begins: reports are counted anew, debts are dropped.
pub(crate) fn counted_anew(standing: Standing) -> Standing {
    Standing {
        debt: 0,
        evaluated: 0,
        ..standing
    }
}

/// The record after quarantine: reputation ½, and reports are counted anew.
pub(crate) fn released() -> Standing {
    Standing {
        good: Q,
        bad: Q,
        debt: 0,
        evaluated: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_short_record_hardly_moves_what_a_word_weighs_and_a_long_one_all_of_it() {
        let params = Params::default();
        let after = |evaluated| Standing {
            good: 0,
            bad: Q,
            debt: 0,
            evaluated,
        };
        let speaks = |evaluated| speaks(&params, &after(evaluated), false);
        let start = Q * params.start_good / (params.start_good + params.start_bad);
        assert_eq!(speaks(0), start);
        assert_eq!(speaks(params.evaluated_min / 2), start / 2);
        assert_eq!(speaks(params.evaluated_min), 1);
    }

    fn start(params: &Params) -> Standing {
        Standing {
            good: params.start_good,
            bad: params.start_bad,
            debt: 0,
            evaluated: 0,
        }
    }

    fn epochs(params: &Params, mut standing: Standing, tally: Tally, count: usize) -> Standing {
        for _ in 0..count {
            standing = after_epoch(params, standing, &tally);
        }
        standing
    }

    fn tally(good: u32, bad: u32) -> Tally {
        Tally {
            evaluated: good + bad,
            good: u64::from(good) * Q,
            bad: u64::from(bad) * Q,
            ..Tally::default()
        }
    }

    #[test]
    fn a_newcomer_is_trusted_a_quarter() {
        let params = Params::default();
        assert_eq!(u64::from(start(&params).reputation()), Q / 4);
        let later = epochs(&params, start(&params), tally(12, 0), 5);
        assert!(
            u64::from(later.reputation()) > Q * 4 / 5,
            "good reports earn trust within hours"
        );
    }

    #[test]
    fn a_liar_is_quarantined_on_24_reports_and_not_before() {
        let params = Params::default();
        let once = epochs(&params, start(&params), tally(0, 12), 1);
        assert_eq!(decide(&params, &once, &tally(0, 12), false), Decision::Stay);
        let twice = epochs(&params, start(&params), tally(0, 12), 2);
        assert_eq!(
            decide(&params, &twice, &tally(0, 12), false),
            Decision::Quarantine
        );
        let standing = counted_anew(twice);
        let reformed = epochs(&params, standing, tally(12, 0), 100);
        assert_eq!(
            decide(&params, &reformed, &tally(12, 0), true),
            Decision::Stay,
            "that is for a vote"
        );
        let by_rule = Params {
            release_needs_vote: false,
            ..params
        };
        assert_eq!(
            decide(&by_rule, &standing, &tally(0, 0), true),
            Decision::Stay,
            "counted anew"
        );
        assert_eq!(
            decide(&by_rule, &reformed, &tally(12, 0), true),
            Decision::Release
        );
    }

    #[test]
    fn a_debt_is_worked_off_or_fades_and_is_kept_by_whom_nobody_judges() {
        let params = Params::default();
        let after = |debt: i64, tally: &Tally| {
            let standing = Standing {
                debt,
                ..start(&params)
            };
            after_epoch(&params, standing, tally).debt
        };
        let points = |points| Tally {
            points,
            ..tally(12, 0)
        };
        assert_eq!(after(-1_600, &points(0)), -1_400, "an eighth fades");
        assert_eq!(after(-1_600, &points(-800)), -2_100);
        assert_eq!(after(-1_600, &points(800)), -700);
        assert_eq!(
            after(-1_600, &points(2_000)),
            0,
            "what is left is paid, not saved"
        );
        assert_eq!(after(-1_600, &Tally::default()), -1_600);
        let most = params.debt_max as i64;
        assert_eq!(after(-most, &points(i64::MIN)), -(most - most / 8));
    }

    proptest! {
        #[test]
        fn a_good_report_never_lowers_reputation_nor_a_bad_one_raises_it(good in 0u32..200, bad in 0u32..200) {
            let params = Params::default();
            let after = |good, bad| after_epoch(&params, start(&params), &tally(good, bad)).reputation();
            prop_assert!(after(good + 1, bad) >= after(good, bad));
            prop_assert!(after(good, bad + 1) <= after(good, bad));
        }

        #[test]
        fn no_record_overflows(
            good in any::<u64>(), bad in any::<u64>(), count in any::<u32>(), debt in i64::MIN..=0, points in any::<i64>(),
        ) {
            let standing = Standing { good, bad, debt, evaluated: u32::MAX };
            let tally = Tally { evaluated: count, points, good: count.into(), bad: count.into(), ..Tally::default() };
            let after = after_epoch(&Params::default(), standing, &tally);
            after.reputation();
            prop_assert!(after.debt <= 0);
        }
    }
}
