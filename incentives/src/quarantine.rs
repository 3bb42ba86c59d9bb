//! Whose reports stop counting, on what grounds, and when do they count again?
//!
//! Every ground can be checked by every member from what vehicles signed: one sequence number with two contents and
//! motion that no car can make are shown by two signed reports; a ruined reputation and dangers that nobody else
//! saw follow from the ledger itself; on anything else the members vote. Quarantine stops pay and what was still
//! to vest; the second one burns half of that. What a vehicle said before is settled with it: old evidence
//! does not bring it back.
//!
//! Not covered: how reputation falls below the limit ([`crate::reputation`]), how members vote.

use milepost_wire::output::Output;
use milepost_wire::report::SignedReport;
use milepost_wire::state::{Ground, Quarantine};
use milepost_wire::time::Epoch;
use milepost_wire::{Amount, KeyId, Report, Timestamp, Verified};

use crate::motion;
use crate::params::Params;
use crate::reputation;
use crate::state::State;
use crate::transact::Rejected;
use crate::vesting;

/// When a decision falls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Exactly.
    pub(crate) at: Timestamp,
    /// The epoch by which pay has vested.
    pub(crate) epoch: Epoch,
}

impl Moment {
    /// In the block that is being executed.
    pub(crate) fn of_block(state: &State) -> Self {
        Self {
            at: state.time(),
            epoch: state.books().epoch,
        }
    }
}

/// Puts a vehicle into quarantine; `since` is the epoch that is to blame. Nothing happens to one that is there already,
/// or is enrolled no more.
pub(crate) fn impose(
    state: &mut State,
    id: KeyId,
    ground: Ground,
    since: Epoch,
    now: Moment,
) -> Option<Output> {
    let is_free = |state: &State| {
        state.vehicle(&id).is_some_and(|vehicle| {
            !vehicle.revoked && !vehicle.role.is_unit() && vehicle.quarantine.is_none()
        })
    };
    if !is_free(state) {
        return None;
    }
    let before = state.open.quarantined_before.get(&id).copied().unwrap_or(0);
    vesting::settle(state, &id, now.epoch);
    let slashed = if before > 0 {
        vesting::slash_half(state, &id, now.epoch)
    } else {
        Amount::ZERO
    };
    let mut vehicle = state.vehicle(&id)?.clone();
    let times = before.saturating_add(1);
    vehicle.standing = reputation::counted_anew(vehicle.standing);
    vehicle.quarantine = Some(Quarantine { since, times, ground });
    state.vehicles.insert(id, vehicle);
    state.forfeit_bond(id);
    state.open.quarantined_before.insert(id, times);
    state.open.false_claims.remove(&id);
    state.open.absolved.insert(id, now.at);
    Some(Output::Quarantined {
        epoch: since,
        vehicle: id,
        ground,
        slashed,
    })
}

/// Ends a quarantine at the beginning of epoch `now`. What had not vested goes on to vest.
pub(crate) fn lift(state: &mut State, id: KeyId, now: Epoch) -> Option<Output> {
    let mut vehicle = state.vehicle(&id)?.clone();
    vehicle.quarantine.take()?;
    vehicle.standing = reputation::released();
    vehicle.vesting.since = now;
    state.vehicles.insert(id, vehicle);
    Some(Output::Released {
        epoch: now,
        vehicle: id,
    })
}

/// Whether a vehicle in quarantine has shown in the shadow that it could be heard again.
pub fn is_reformed(state: &State, id: &KeyId) -> bool {
    state.vehicle(id).is_some_and(|vehicle| {
        vehicle.quarantine.is_some() && reputation::is_reformed(state.params(), &vehicle.standing)
    })
}

/// What two reports prove of the vehicle that signed both.
///
/// # Errors
///
/// [`Rejected`]: of two vehicles or of none, not signed by it, from before its last quarantine, or no proof.
pub(crate) fn prove(
    state: &State,
    one: &SignedReport,
    other: &SignedReport,
) -> Result<(KeyId, Ground), Rejected> {
    let id = one.message.vehicle;
    let vehicle = state
        .vehicle(&id)
        .filter(|vehicle| !vehicle.revoked && other.message.vehicle == id);
    let key = vehicle.ok_or(Rejected::NotEnrolled(id))?.key.verifying_key()?;
    let verify = |report: &SignedReport| -> Result<Verified<Report>, Rejected> {
        let verified = report.clone().verify(&state.genesis.chain, &key);
        let verified = verified.map_err(|_| Rejected::NoProof(id))?;
        let since = state.open.absolved.get(&id);
        if !verified.is_valid() || since.is_some_and(|&since| verified.sent_at <= since) {
            return Err(Rejected::NoProof(id));
        }
        Ok(verified)
    };
    let (one, other) = (verify(one)?, verify(other)?);
    if one.sequence == other.sequence && one.digest() != other.digest() {
        return Ok((id, Ground::TwoContents));
    }
    if is_impossible(state.params(), &one, &other) {
        return Ok((id, Ground::ImpossibleMotion));
    }
    Err(Rejected::NoProof(id))
}

/// Whether no car can have been wherever both reports say, by a wide margin: [`Params::motion_proof_cm`] allows for
/// a receiver that was lost among high buildings.
fn is_impossible(params: &Params, one: &Report, other: &Report) -> bool {
    one.observations.iter().any(|here| {
        other.observations.iter().any(|there| {
            let (here, there) = (
                (here.place, one.seen_at(here)),
                (there.place, other.seen_at(there)),
            );
            !motion::is_possible(params, params.motion_proof_cm, here, there)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Town, cell, seen, speed};
    use milepost_wire::{Observation, Place};

    fn accuse(state: &State, one: &Verified<Report>, other: &Verified<Report>) -> Result<Ground, Rejected> {
        prove(state, one.signed(), other.signed()).map(|(_, ground)| ground)
    }

    fn at(latitude: f64, value: i64) -> Vec<Observation> {
        let place = Place::from_degrees(latitude, 11.343).expect("on the globe");
        vec![Observation {
            place,
            ..seen(cell(0), 0, speed(value))
        }]
    }

    #[test]
    fn one_sequence_number_with_two_contents_is_proof() {
        let town = Town::new(2);
        let state = State::genesis(&town.genesis);
        let report =
            |vehicle, sequence, value| town.report(vehicle, sequence, town.at(1_000), at(44.494, value));
        assert_eq!(
            accuse(&state, &report(0, 1, 500), &report(0, 1, 600)),
            Ok(Ground::TwoContents)
        );
        let refused = |one, other| assert!(matches!(accuse(&state, &one, &other), Err(Rejected::NoProof(_))));
        refused(report(0, 1, 500), report(0, 1, 500));
        refused(report(0, 1, 500), report(0, 2, 600));
        assert!(
            accuse(&state, &report(0, 1, 500), &report(1, 1, 600)).is_err(),
            "two vehicles"
        );
    }

    #[test]
    fn a_report_that_the_vehicle_did_not_sign_proves_nothing() {
        let town = Town::new(1);
        let state = State::genesis(&town.genesis);
        let one = town.report(0, 1, town.at(1_000), at(44.494, 500));
        let mut forged = one.signed().clone();
        forged.message.sent_at = town.at(2_000);
        assert!(matches!(
            prove(&state, one.signed(), &forged),
            Err(Rejected::NoProof(_))
        ));
    }

    #[test]
    fn flying_is_proof_and_a_jumping_receiver_is_not() {
        let town = Town::new(1);
        let state = State::genesis(&town.genesis);
        let report = |sequence, ms, latitude| town.report(0, sequence, town.at(ms), at(latitude, 500));
        let here = report(1, 1_000, 44.494);
        // 111 km and 800 m away, a second later.
        assert_eq!(
            accuse(&state, &here, &report(2, 2_000, 45.494)),
            Ok(Ground::ImpossibleMotion)
        );
        assert!(accuse(&state, &here, &report(2, 2_000, 44.5012)).is_err());
        assert!(
            accuse(&state, &here, &report(2, 3_601_000, 45.494)).is_err(),
            "an hour later"
        );
    }

    #[test]
    fn old_evidence_does_not_bring_a_released_vehicle_back() {
        let town = Town::new(1);
        let mut state = State::genesis(&town.genesis);
        let report = |value| town.report(0, 1, town.at(1_000), at(44.494, value));
        let (one, other) = (report(500), report(600));
        let (id, ground) = prove(&state, one.signed(), other.signed()).expect("a proof");
        town.block(&mut state, town.at(5_000), &[]);
        let now = Moment::of_block(&state);
        assert!(impose(&mut state, id, ground, Epoch(0), now).is_some());
        assert_eq!(impose(&mut state, id, ground, Epoch(0), now), None, "once");
        assert!(lift(&mut state, id, Epoch(1)).is_some());
        assert_eq!(lift(&mut state, id, Epoch(1)), None, "once");
        assert!(matches!(accuse(&state, &one, &other), Err(Rejected::NoProof(_))));
    }

    #[test]
    fn the_second_quarantine_burns_half_of_what_is_unvested_and_the_first_nothing() {
        let town = Town::new(1);
        let mut state = State::genesis(&town.genesis);
        let id = town.keys[0].key_id();
        // Not minted by an epoch here; the books are made to know of it.
        let mut books = state.books();
        books.minted = Amount::from_micro(1_000);
        state.books.insert((), books);
        vesting::pay(&mut state, &id, Amount::from_micro(1_000), Epoch(0));
        for (epoch, slashed) in [(0, 0), (84, 250)] {
            let imposed = impose(
                &mut state,
                id,
                Ground::Vote,
                Epoch(epoch),
                Moment {
                    at: town.at(0),
                    epoch: Epoch(epoch),
                },
            );
            let burned = Amount::from_micro(slashed);
            assert!(
                matches!(imposed, Some(Output::Quarantined { slashed, .. }) if slashed == burned),
                "{imposed:?}"
            );
            assert_eq!(state.check(), Ok(()));
            // Nothing vests meanwhile.
            lift(&mut state, id, Epoch(epoch));
        }
        let vehicle = state.vehicle(&id).expect("enrolled");
        assert_eq!(vehicle.unvested, Amount::from_micro(250));
        assert_eq!(vehicle.vesting.released, Amount::from_micro(500));
    }
}
