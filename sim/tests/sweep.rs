//! Many small towns with everything that may go wrong, and every rule's control.
//!
//! `milepost-sim sweep` plays more of them; docs/testing.md says what was found with a thousand.

use milepost_sim::control::Control;
use milepost_sim::fault::{Fault, Trouble};
use milepost_sim::sweep::plan::Plan;
use milepost_sim::sweep::run::{self, Ended, Outcome};
use milepost_sim::sweep::{CAUGHT_MIN_PERCENT, shrink};

fn failed(outcomes: &[Outcome]) -> Vec<&Outcome> {
    outcomes
        .iter()
        .filter(|outcome| outcome.ended != Ended::Well)
        .collect()
}

#[test]
fn whatever_goes_wrong_no_promise_is_broken_and_the_chain_goes_on() {
    let outcomes = run::sweep(1..301, None, None, |_, _| ());
    let failed = failed(&outcomes);
    assert!(
        failed.is_empty(),
        "milepost-sim sweep --first SEED --seeds 1: {failed:#?}"
    );
    assert!(outcomes.iter().all(|outcome| outcome.height > 10), "{outcomes:?}");
    // Members come, go, change and are jailed amid all that, and not just on paper.
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    assert!(sum(|outcome| outcome.changes) > 100, "{outcomes:?}");
    assert!(sum(|outcome| outcome.decisions) > 30, "{outcomes:?}");
    assert!(sum(|outcome| outcome.jailed) > 0, "{outcomes:?}");
    // Liars are listened to, too.
    assert!(sum(|outcome| outcome.complaints) > 0, "{outcomes:?}");
}

/// Without these, the test above could pass because nobody looks.
#[test]
fn every_broken_rule_is_noticed() {
    for control in Control::ALL {
        // Until no progress is noticed, two minutes of a flood are played: seconds of processor time each.
        let seeds = if control == Control::UnsignedBodies { 3 } else { 20 };
        let outcomes = run::sweep(1..seeds + 1, Some(control), None, |_, _| ());
        let caught = failed(&outcomes).len() as u64;
        assert!(
            caught * 100 >= CAUGHT_MIN_PERCENT * outcomes.len() as u64,
            "{control:?} was noticed in {caught} of {} seeds",
            outcomes.len()
        );
    }
}

/// The votes of all members but one are taken, and then one is given back: whose block nobody heard proposed, it is the
/// members who voted on that block that count, not those of the next.
#[test]
fn a_member_that_decides_alone_need_not_be_heard_and_the_next_ones_are_again() {
    let mut plan = Plan::draw(494, None);
    let vote = |at_ms, trouble| Fault {
        at_ms,
        for_ms: 12_000,
        trouble,
    };
    plan.members = 4;
    plan.faults = vec![
        vote(12_420, Trouble::RemoveMember { member: 2 }),
        vote(16_500, Trouble::RemoveMember { member: 3 }),
        vote(24_000, Trouble::RemoveMember { member: 0 }),
        vote(36_900, Trouble::AddMember { member: 3, power: 1 }),
    ];
    let outcome = run::play(&plan);
    assert_eq!(outcome.ended, Ended::Well, "{outcome:?}");
    assert_eq!(outcome.changes, 4, "{outcome:?}");
}

#[test]
fn a_seed_ends_the_same_way_every_time_and_on_any_number_of_threads() {
    let one = run::sweep(1..9, None, Some(1), |_, _| ());
    assert_eq!(one, run::sweep(1..9, None, Some(4), |_, _| ()));
}

#[test]
fn a_failing_seed_shrinks_to_the_faults_that_it_takes() {
    // A world of two twins too many, amid faults that matter to nobody.
    let mut plan = Plan::draw(3, Some(Control::TooManyTwins));
    let needed = plan.faults.clone();
    plan.faults
        .extend(Plan::draw(3, None).faults.into_iter().filter(|fault| {
            fault.liar().is_none() && matches!(fault.name(), "slow_disk" | "freeze" | "lossy" | "clock_skew")
        }));
    let ended = run::play(&plan).ended;
    assert_eq!(ended, Ended::Broken);
    let shrunk = shrink::shrink(&plan, ended, |_| ());
    assert_eq!(shrunk.faults, needed);
    assert_eq!(run::play(&shrunk).ended, ended);
}
