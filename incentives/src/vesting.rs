//! When is pay a vehicle's own?
//!
//! Pay vests evenly over [`Params::vest_epochs`]; what has not vested can be slashed, and is what makes a new name
//! worth less than an old one. A vehicle has one timetable, not one for each payment: `unvested` tokens are let go
//! evenly over the `left` epochs, and a payment over `V` epochs moves `left` to the mean of the two, weighed by
//! their tokens. One payment vests linearly, to the micro-token; under even pay half a `V` stays unvested, as
//! it would with a timetable for each payment. In quarantine the timetable stands still.
//!
//! It is brought up to date when the vehicle is paid, spends, stakes or is judged: an epoch costs nothing for the
//! vehicles that were not heard in it ([`milepost_wire::state::Vehicle::vested`]).

use milepost_wire::state::{Q, Vehicle};
use milepost_wire::time::Epoch;
use milepost_wire::{Address, Amount, KeyId};

use crate::params::Params;
use crate::state::{State, sum};

/// What an account could spend at the beginning of epoch `now` that is not in it yet.
pub(crate) fn vested(state: &State, account: &Address, now: Epoch) -> Amount {
    let id = account.key_id();
    let own = state.vehicle_address(&id) == Some(*account);
    let vehicle = state.vehicle(&id).filter(|_| own);
    vehicle.map_or(Amount::ZERO, |vehicle| vehicle.vested(now))
}

/// Lets go what has vested by the beginning of epoch `now`.
pub(crate) fn settle(state: &mut State, id: &KeyId, now: Epoch) {
    let (Some(address), Some(mut vehicle)) = (state.vehicle_address(id), state.vehicle(id).cloned()) else {
        return;
    };
    let elapsed = now.0.saturating_sub(vehicle.vesting.since.0);
    if vehicle.quarantine.is_some() || vehicle.unvested == Amount::ZERO || elapsed == 0 {
        return;
    }
    let vested = vehicle.vested(now);
    let left = u64::from(vehicle.vesting.left).saturating_sub(u64::from(elapsed) * Q);
    vehicle.unvested = less(vehicle.unvested, vested);
    vehicle.vesting.left = u32::try_from(left).unwrap_or(u32::MAX);
    vehicle.vesting.since = now;
    vehicle.vesting.released = sum(vehicle.vesting.released, vested);
    state.vehicles.insert(*id, vehicle);
    if vested > Amount::ZERO {
        state.credit(address, vested);
    }
}

/// Pays a vehicle what it has earned, at the beginning of epoch `now`.
pub(crate) fn pay(state: &mut State, id: &KeyId, amount: Amount, now: Epoch) {
    settle(state, id, now);
    let (Some(address), Some(mut vehicle)) = (state.vehicle_address(id), state.vehicle(id).cloned()) else {
        return;
    };
    vehicle.earned = sum(vehicle.earned, amount);
    if state.params().vest_epochs == 0 {
        vehicle.vesting.released = sum(vehicle.vesting.released, amount);
        state.credit(address, amount);
    } else {
        add(state.params(), &mut vehicle, amount, now);
    }
    state.vehicles.insert(*id, vehicle);
}

/// Adds to the timetable, which is up to date.
fn add(params: &Params, vehicle: &mut Vehicle, amount: Amount, now: Epoch) {
    let (old, new) = (u128::from(vehicle.unvested.micro()), u128::from(amount.micro()));
    let (left, full) = (
        u128::from(vehicle.vesting.left),
        u128::from(params.vest_epochs) * u128::from(Q),
    );
    let mean = (old * left + new * full).checked_div(old + new).unwrap_or(0);
    vehicle.unvested = sum(vehicle.unvested, amount);
    vehicle.vesting.left = u32::try_from(mean.max(1)).unwrap_or(u32::MAX);
    vehicle.vesting.since = now.max(vehicle.vesting.since);
}

/// Takes up to `wanted` out of what has not vested; returns how much. The rest vests as fast as before.
pub(crate) fn take(state: &mut State, id: &KeyId, wanted: Amount, now: Epoch) -> Amount {
    settle(state, id, now);
    let Some(mut vehicle) = state.vehicle(id).cloned() else {
        return Amount::ZERO;
    };
    let taken = wanted.min(vehicle.unvested);
    if taken > Amount::ZERO {
        vehicle.unvested = less(vehicle.unvested, taken);
        state.vehicles.insert(*id, vehicle);
    }
    taken
}

/// Puts back what [`take`] took.
pub(crate) fn put_back(state: &mut State, id: &KeyId, amount: Amount, now: Epoch) {
    settle(state, id, now);
    let Some(mut vehicle) = state.vehicle(id).cloned().filter(|_| amount > Amount::ZERO) else {
        return;
    };
    if vehicle.unvested == Amount::ZERO {
        // The rest has vested meanwhile: this does at the next epoch.
        vehicle.vesting.left = u32::try_from(Q).unwrap_or(u32::MAX);
        vehicle.vesting.since = now.max(vehicle.vesting.since);
    }
    vehicle.unvested = sum(vehicle.unvested, amount);
    state.vehicles.insert(*id, vehicle);
}

/// Destroys half of what has not vested; returns how much.
pub(crate) fn slash_half(state: &mut State, id: &KeyId, now: Epoch) -> Amount {
    let unvested = |state: &State| state.vehicle(id).map_or(Amount::ZERO, |vehicle| vehicle.unvested);
    settle(state, id, now);
    let half = Amount::from_micro(unvested(state).micro() / 2);
    let slashed = take(state, id, half, now);
    if let Some(mut vehicle) = state.vehicle(id).cloned().filter(|_| slashed > Amount::ZERO) {
        vehicle.vesting.slashed = sum(vehicle.vesting.slashed, slashed);
        state.vehicles.insert(*id, vehicle);
        state.burn(slashed);
    }
    slashed
}

fn less(amount: Amount, part: Amount) -> Amount {
    amount.checked_sub(part).expect("a part of it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Town;
    use proptest::prelude::*;

    fn state(vest_epochs: u32) -> (State, KeyId) {
        let params = Params {
            vest_epochs,
            ..Params::default()
        };
        let town = Town::with(1, params);
        (State::genesis(&town.genesis), town.keys[0].key_id())
    }

    fn balance(state: &State, id: &KeyId) -> u64 {
        let address = state.vehicle_address(id).expect("enrolled");
        state.account(&address).balance.micro()
    }

    fn unvested(state: &State, id: &KeyId) -> u64 {
        state.vehicle(id).expect("enrolled").unvested.micro()
    }

    #[test]
    fn one_payment_vests_evenly_and_to_the_last_token() {
        let (mut paid, id) = state(168);
        pay(&mut paid, &id, Amount::from_micro(1_000), Epoch(5));
        for (epoch, own) in [(5, 0), (6, 5), (5 + 84, 500), (5 + 167, 994), (5 + 168, 1_000)] {
            let mut state = paid.fork();
            settle(&mut state, &id, Epoch(epoch));
            assert_eq!(balance(&state, &id), own, "in epoch {epoch}");
            assert_eq!(unvested(&state, &id), 1_000 - own);
        }
    }

    #[test]
    fn under_even_pay_half_of_the_time_stays_unvested() {
        let (mut state, id) = state(168);
        for epoch in 0..2_000 {
            pay(&mut state, &id, Amount::from_micro(1_000_000), Epoch(epoch));
        }
        let epochs = unvested(&state, &id) / 1_000_000;
        assert!((83..=86).contains(&epochs), "{epochs} epochs' pay");
    }

    #[test]
    fn without_vesting_pay_is_ones_own_at_once() {
        let (mut state, id) = state(0);
        pay(&mut state, &id, Amount::from_micro(7), Epoch(1));
        assert_eq!((balance(&state, &id), unvested(&state, &id)), (7, 0));
    }

    #[test]
    fn what_is_put_back_is_lost_to_nobody() {
        let (mut state, id) = state(10);
        pay(&mut state, &id, Amount::from_micro(100), Epoch(0));
        let taken = take(&mut state, &id, Amount::from_micro(100), Epoch(0));
        put_back(&mut state, &id, taken, Epoch(4));
        assert_eq!(unvested(&state, &id), 100);
        settle(&mut state, &id, Epoch(5));
        assert_eq!((balance(&state, &id), unvested(&state, &id)), (100, 0));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Pay(u64),
        Wait(u32),
        TakeAndPutBack(u64, u32),
        Slash,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u64..1 << 40).prop_map(Step::Pay),
            (0u32..40).prop_map(Step::Wait),
            (0u64..1 << 40, 0u32..9).prop_map(|(amount, wait)| Step::TakeAndPutBack(amount, wait)),
            Just(Step::Slash),
        ]
    }

    proptest! {
        /// All that was ever paid is in the account, unvested or burned, whatever happens in between.
        #[test]
        fn nothing_is_lost_on_the_way(steps in prop::collection::vec(step(), 0..40), vest in 0u32..200) {
            let (mut state, id) = state(vest);
            let (mut now, mut paid) = (Epoch(0), 0u64);
            for step in steps {
                match step {
                    Step::Pay(micro) => {
                        pay(&mut state, &id, Amount::from_micro(micro), now);
                        paid += micro;
                    }
                    Step::Wait(epochs) => now = Epoch(now.0 + epochs),
                    Step::TakeAndPutBack(micro, wait) => {
                        let taken = take(&mut state, &id, Amount::from_micro(micro), now);
                        now = Epoch(now.0 + wait);
                        put_back(&mut state, &id, taken, now);
                    }
                    Step::Slash => drop(slash_half(&mut state, &id, now)),
                }
                let vehicle = state.vehicle(&id).expect("enrolled").clone();
                let slashed = vehicle.vesting.slashed.micro();
                prop_assert_eq!(vehicle.earned.micro(), paid);
                prop_assert_eq!(balance(&state, &id), vehicle.vesting.released.micro());
                prop_assert_eq!(balance(&state, &id) + vehicle.unvested.micro() + slashed, paid);
                prop_assert_eq!(state.books().burned.micro(), slashed);
            }
            settle(&mut state, &id, Epoch(now.0 + 200));
            prop_assert_eq!(unvested(&state, &id), 0, "in the end all has vested");
        }
    }
}
