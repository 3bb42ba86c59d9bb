//! Who votes after a change?
//!
//! In: the members of one height, and changes in the order in which they were decided. Out: the members of the next.
//! What cannot be done any more is refused; what would be too much at once waits for a later height.
//!
//! Too much is what would leave a light client behind that knows the members before the step and skips to a block
//! after it: every quorum of the new members must hold more than a third of the old members' power. Where `T` is
//! the power before, `A` what the step adds and `R` what it takes away, a quorum of the new members holds more than
//! `2/3 (T − R + A) − A` of the old power, which is at least `T/3` as long as `A + 2 R ≤ T`. A member that goes on
//! under another key counts on both sides. So a consortium of four may add one, remove one or change one's key in one
//! step; of two that change a key, one must be added and the other removed.
//!
//! Source: docs/adr/0015-membership.md.

use milepost_wire::change::{Change, ProposalId};
use milepost_wire::member::MembersError;
use milepost_wire::{Address, Members};

/// Why the members cannot change so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The result would be no consortium.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// It concerns somebody without a vote.
    #[error("{0} is no member of the consortium")]
    NotAMember(Address),
    /// It changes nothing.
    #[error("this would change nothing")]
    Nothing,
    /// More power would move than light clients can follow.
    #[error(
        "adding power {added} and removing {removed} of {total} at once leaves light clients behind: what is added, and twice what is removed, may together be {total}"
    )]
    TooMuchAtOnce {
        /// Power that comes.
        added: u64,
        /// Power that goes.
        removed: u64,
        /// All power before.
        total: u64,
    },
}

/// The members after one change; as they are where it does not concern them.
///
/// # Errors
///
/// [`Unfit`], except for [`Unfit::TooMuchAtOnce`].
pub(crate) fn after(members: &Members, change: &Change) -> Result<Members, Unfit> {
    let mut list = members.to_vec();
    let place = |address: &Address| {
        let found = members.iter().position(|(member, _)| member == *address);
        found.ok_or(Unfit::NotAMember(*address))
    };
    match change {
        Change::AddMember(member) => list.push(member.clone()),
        Change::RemoveMember { member } => drop(list.remove(place(member)?)),
        Change::SetPower { member, power } => list[place(member)?].power = *power,
        Change::SetKey { member, key } => list[place(member)?].key = *key,
        Change::SetParams(_)
        | Change::SetAccess(_)
        | Change::Quarantine { .. }
        | Change::Release { .. }
        | Change::Revoke { .. } => return Ok(members.clone()),
    }
    let changed = Members::new(list)?;
    if changed == *members {
        return Err(Unfit::Nothing);
    }
    Ok(changed)
}

/// Whether a light client that knows `before` can skip to what `after` decide.
///
/// # Errors
///
/// [`Unfit::TooMuchAtOnce`].
pub(crate) fn is_gentle(before: &Members, after: &Members) -> Result<(), Unfit> {
    let gain = |of: &Members, over: &Members| -> u64 {
        let power = |address: &Address| over.get(address).map_or(0, |member| member.power);
        of.iter()
            .map(|(address, member)| member.power.saturating_sub(power(&address)))
            .sum()
    };
    let (added, removed, total) = (gain(after, before), gain(before, after), before.total_power());
    // No sum of powers exceeds 2^39: `Members::COUNT_MAX`, `Members::POWER_MAX`.
    if added + 2 * removed <= total {
        return Ok(());
    }
    Err(Unfit::TooMuchAtOnce {
        added,
        removed,
        total,
    })
}

/// What becomes of a change that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is done.
    Done,
    /// It has lost its sense.
    Void,
    /// Together with those before it, it is too much: the next height is soon enough.
    Later,
}

/// Takes the step from one height's members to the next one's.
pub(crate) fn step<'a>(
    before: &Members,
    due: impl Iterator<Item = (ProposalId, &'a Change)>,
) -> (Members, Vec<(ProposalId, Verdict)>) {
    let mut members = before.clone();
    let mut verdicts = Vec::new();
    for (proposal, change) in due {
        let verdict = match after(&members, change) {
            Err(_) => Verdict::Void,
            Ok(changed) if is_gentle(before, &changed).is_ok() => {
                members = changed;
                Verdict::Done
            }
            // By itself it is too much even where nothing came before it.
            Ok(_) if members == *before => Verdict::Void,
            Ok(_) => Verdict::Later,
        };
        verdicts.push((proposal, verdict));
    }
    (members, verdicts)
}

/// The member that goes on under another key.
pub(crate) fn renamed(change: &Change) -> Option<(Address, Address)> {
    match change {
        Change::SetKey { member, key } => Some((*member, key.address().ok()?)),
        _ => None,
    }
}

/// A member from a seed.
#[cfg(test)]
pub(crate) fn member(label: &str, seed: u64, power: u64) -> milepost_wire::Member {
    milepost_wire::Member {
        key: milepost_wire::SecretKey::from_seed(label, seed).public(),
        provider: format!("provider {seed}"),
        power,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use milepost_wire::SecretKey;
    use proptest::prelude::*;

    fn address(seed: u64) -> Address {
        SecretKey::from_seed("step", seed).address()
    }

    fn members(powers: &[u64]) -> Members {
        let list = powers
            .iter()
            .zip(0..)
            .map(|(&power, seed)| member("step", seed, power));
        Members::new(list.collect()).expect("members")
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            (0u64..8, 1u64..40).prop_map(|(seed, power)| Change::AddMember(member("step", seed, power))),
            (0u64..8).prop_map(|seed| Change::RemoveMember {
                member: address(seed)
            }),
            (0u64..8, 0u64..40).prop_map(|(seed, power)| Change::SetPower {
                member: address(seed),
                power
            }),
            (0u64..8, 0u64..8).prop_map(|(from, to)| Change::SetKey {
                member: address(from),
                key: SecretKey::from_seed("step", to).public()
            }),
        ]
    }

    #[test]
    fn nobody_is_added_twice_and_the_last_one_stays() {
        let one = members(&[5]);
        let again = Change::AddMember(member("step", 0, 3));
        assert!(matches!(
            after(&one, &again),
            Err(Unfit::Members(MembersError::Twice(_)))
        ));
        let remove = Change::RemoveMember { member: address(0) };
        assert_eq!(after(&one, &remove), Err(Unfit::Members(MembersError::Count(0))));
        let same = Change::SetPower {
            member: address(0),
            power: 5,
        };
        assert_eq!(after(&one, &same), Err(Unfit::Nothing));
    }

    #[test]
    fn four_may_replace_one_in_a_step_and_two_may_not() {
        let rotate = |count: usize| {
            let before = members(&vec![1; count]);
            let key = SecretKey::from_seed("step", 9).public();
            let rotated = after(
                &before,
                &Change::SetKey {
                    member: address(0),
                    key,
                },
            );
            is_gentle(&before, &rotated.expect("fits"))
        };
        assert_eq!(rotate(4), Ok(()));
        assert_eq!(rotate(3), Ok(()));
        assert_eq!(
            rotate(2),
            Err(Unfit::TooMuchAtOnce {
                added: 1,
                removed: 1,
                total: 2
            })
        );
    }

    proptest! {
        /// What the module's header claims: who trusted the members before can follow any quorum of those after.
        #[test]
        fn every_quorum_after_a_step_holds_more_than_a_third_of_the_power_before(
            powers in prop::collection::vec(1u64..40, 1..7),
            changes in prop::collection::vec(change(), 0..6),
        ) {
            let before = members(&powers);
            let due = changes.iter().zip(1..).map(|(change, id)| (ProposalId(id), change));
            let (after, verdicts) = step(&before, due);
            prop_assert_eq!(verdicts.len(), changes.len());
            let list: Vec<_> = after.iter().map(|(address, member)| (address, member.power)).collect();
            for subset in 0u32..1 << list.len() {
                let signers = list.iter().enumerate().filter(|(bit, _)| subset >> bit & 1 == 1);
                let (mut new, mut old) = (0, 0);
                for (_, (address, power)) in signers {
                    new += power;
                    old += before.get(address).map_or(0, |member| member.power);
                }
                prop_assert!(!after.is_quorum(new) || 3 * old > before.total_power());
            }
        }

        #[test]
        fn what_waits_is_done_or_void_in_the_end(
            powers in prop::collection::vec(1u64..40, 1..7),
            changes in prop::collection::vec(change(), 0..6),
        ) {
            let mut members = members(&powers);
            let mut due: Vec<_> = changes.into_iter().zip(1..).map(|(change, id)| (ProposalId(id), change)).collect();
            for _ in 0..=due.len() {
                let (next, verdicts) = step(&members, due.iter().map(|(id, change)| (*id, change)));
                let later = |id| verdicts.contains(&(id, Verdict::Later));
                due.retain(|(id, _)| later(*id));
                members = next;
            }
            prop_assert!(due.is_empty());
        }
    }
}
