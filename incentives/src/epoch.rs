//! Who gets how much of an epoch's tokens?
//!
//! Vehicles by usefulness and, for a tenth, by presence; operators of roadside units by what they served; the
//! treasury its part, and what operators forfeit ([`crate::misconduct`]). What caps and rounding leave over, and what nobody earned, is carried to the next epoch's
//! vehicles. Debts of points carry over, gains don't.
//!
//! Then the epoch's reports move the vehicles' reputation, which may begin or end a quarantine, and the payout
//! tree is rebuilt.
//!
//! A run of epochs in which nothing was heard is closed as one, under the last one's number, whenever the next
//! block comes; it mints what its epochs would have minted.

use std::collections::BTreeMap;

use milepost_wire::output::{EpochClosed, Output, Payment};
use milepost_wire::payout::{self, Purse};
use milepost_wire::state::{Ground, Vehicle};
use milepost_wire::time::Epoch;
use milepost_wire::{Address, Amount, KeyId, Role};

use crate::fixed::{BPS, muldiv, narrow, portion, times};
use crate::misconduct;
use crate::params::Params;
use crate::payout_tree::PayoutTree;
use crate::quarantine::{self, Moment};
use crate::reputation::{self, Decision};
use crate::sighting::{ServedKey, Tally, TallyKey};
use crate::state::{State, sum};
use crate::supply;
use crate::{vesting, waiting};

/// What a vehicles' pool was split into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) paid: u64,
    pub(crate) purse: Purse,
    pub(crate) useful_total: u128,
    pub(crate) base_total: u128,
}

/// Splits `pool` (micro-tokens, of which `fresh` were made for this epoch and the rest was carried) among
/// vehicles: fills in what each payment comes to.
pub(crate) fn split(params: &Params, pool: u64, fresh: u64, payments: &mut [Payment]) -> Split {
    let total = |part: fn(&Payment) -> u64| payments.iter().map(|payment| u128::from(part(payment))).sum();
    let (useful_total, base_total) = (total(|payment| payment.useful), total(|payment| payment.base));
    let sharing = payments
        .iter()
        .filter(|payment| payment.useful > 0 || payment.base > 0);
    let by_base = muldiv(pool, params.base_bps.into(), BPS);
    let purse = Purse {
        by_use: Amount::from_micro(pool - by_base),
        by_base: Amount::from_micro(by_base),
        point_max: Amount::from_micro(params.point_price_max_micro),
        vehicle_max: Amount::from_micro(vehicle_cap(params, fresh, sharing.count() as u64)),
    };
    let mut paid = 0;
    for payment in payments {
        let own = purse.pay((payment.useful, useful_total), (payment.base, base_total));
        payment.by_use = own.by_use;
        payment.by_base = own.by_base;
        payment.amount = own.amount;
        paid += own.amount.micro();
    }
    Split {
        paid,
        purse,
        useful_total,
        base_total,
    }
}

/// The most that one of `sharing` vehicles gets, in micro-tokens.
pub(crate) fn vehicle_cap(params: &Params, fresh: u64, sharing: u64) -> u64 {
    let of_all = muldiv(fresh, params.vehicle_max_bps.into(), BPS);
    let of_average = muldiv(fresh, params.vehicle_max_averages.into(), sharing.max(1));
    of_all.max(of_average)
}

/// What a roadside unit did in an epoch, and how good its operator's name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) operator: Address,
    /// Items it helped to serve, weighted by need, in [`Q`].
    pub(crate) served: u64,
    /// In [`Q`].
    pub(crate) reputation: u32,
}

/// What each operator gets of `slice` micro-tokens: in proportion to what it served times its reputation, within
/// its cap.
pub(crate) fn split_operators(params: &Params, slice: u64, services: &[Service]) -> Vec<u64> {
    let merit = |service: &Service| times(service.served, service.reputation.into());
    let total = services.iter().map(|service| u128::from(merit(service))).sum();
    let cap = muldiv(slice, params.operator_max_bps.into(), BPS);
    services
        .iter()
        .map(|service| portion(slice, merit(service), total).min(cap))
        .collect()
}

/// Closes `epoch`, which has tallies, and the empty ones before it.
pub(crate) fn close(state: &mut State, epoch: Epoch) -> Vec<Output> {
    let mut outputs = skip_empty(state, epoch);
    let params = state.params().clone();
    let reward = supply::reward(&params, epoch);
    let tallies = tallies_of(state, epoch);
    let services = services_of(state, epoch);

    let mut payments: Vec<Payment> = tallies
        .iter()
        .filter_map(|(id, tally)| {
            let vehicle = state
                .vehicle(id)
                .filter(|vehicle| vehicle.role == Role::Vehicle)?;
            Some(claim(&params, epoch, *id, vehicle, tally))
        })
        .collect();
    let pool = sum(state.books().carry, Amount::from_micro(reward.vehicles)).micro();
    let split = split(&params, pool, reward.vehicles, &mut payments);
    let operators = split_operators(&params, reward.operators, &services);

    let next = Epoch(epoch.0.saturating_add(1));
    for payment in &payments {
        if payment.amount > Amount::ZERO {
            vesting::pay(state, &payment.vehicle, payment.amount, next);
        }
    }
    waiting::lapse(state, epoch);
    judge_operators(state, &params, &tallies);
    let mut decisions = Vec::new();
    for (id, tally) in &tallies {
        decisions.extend(judge(state, &params, epoch, *id, tally));
        state.open.tallies.remove(&TallyKey { epoch, vehicle: *id });
    }
    outputs.extend(payments.into_iter().map(Output::Payment));
    outputs.extend(decisions);
    let mut forfeited = 0;
    for (service, &amount) in services.iter().zip(&operators) {
        let operator = service.operator;
        let lost = misconduct::forfeited(state, &operator, epoch, Amount::from_micro(amount));
        let amount = Amount::from_micro(amount - lost.micro());
        forfeited += lost.micro();
        state.credit(operator, amount);
        state.open.served.remove(&ServedKey { epoch, operator });
        outputs.push(Output::OperatorPayment {
            epoch,
            operator,
            served: service.served,
            reputation: service.reputation,
            amount,
        });
        if lost > Amount::ZERO {
            outputs.push(Output::Forfeited {
                epoch,
                operator,
                amount: lost,
            });
        }
    }

    let to_operators: u64 = operators.iter().sum();
    let to_treasury = Amount::from_micro(reward.treasury + forfeited);
    let mut books = state.books();
    books.minted = sum(books.minted, Amount::from_micro(reward.minted));
    books.treasury = sum(books.treasury, to_treasury);
    books.carry = Amount::from_micro(pool - split.paid + (reward.operators - to_operators));
    books.epoch = next;
    state.books.insert((), books);
    books.payout_root = state.payout_tree().root();
    state.books.insert((), books);
    outputs.push(Output::EpochClosed(EpochClosed {
        epoch,
        minted: Amount::from_micro(reward.minted),
        to_vehicles: Amount::from_micro(split.paid),
        to_operators: Amount::from_micro(to_operators - forfeited),
        to_treasury,
        carry: books.carry,
        purse: split.purse,
        useful_total: u64::try_from(split.useful_total).unwrap_or(u64::MAX),
        base_total: u64::try_from(split.base_total).unwrap_or(u64::MAX),
        payout_root: books.payout_root,
    }));
    outputs
}

/// Closes the empty epochs before `epoch`.
pub(crate) fn skip_empty(state: &mut State, epoch: Epoch) -> Vec<Output> {
    let mut books = state.books();
    if books.epoch >= epoch {
        return Vec::new();
    }
    let reward = supply::rewards(state.params(), books.epoch, epoch);
    let carried = Amount::from_micro(reward.vehicles + reward.operators);
    books.minted = sum(books.minted, Amount::from_micro(reward.minted));
    books.treasury = sum(books.treasury, Amount::from_micro(reward.treasury));
    books.carry = sum(books.carry, carried);
    books.epoch = epoch;
    state.books.insert((), books);
    vec![Output::EpochClosed(EpochClosed {
        epoch: Epoch(epoch.0 - 1),
        minted: Amount::from_micro(reward.minted),
        to_vehicles: Amount::ZERO,
        to_operators: Amount::ZERO,
        to_treasury: Amount::from_micro(reward.treasury),
        carry: books.carry,
        purse: Purse::default(),
        useful_total: 0,
        base_total: 0,
        payout_root: books.payout_root,
    })]
}

fn tallies_of(state: &State, epoch: Epoch) -> Vec<(KeyId, Tally)> {
    let key = |vehicle| TallyKey {
        epoch,
        vehicle: KeyId(vehicle),
    };
    let tallies = state.open.tallies.range(key([0; 8])..=key([0xff; 8]));
    tallies.map(|(key, tally)| (key.vehicle, *tally)).collect()
}

fn services_of(state: &State, epoch: Epoch) -> Vec<Service> {
    let key = |operator| ServedKey {
        epoch,
        operator: Address(operator),
    };
    let served = state.open.served.range(key([0; 20])..=key([0xff; 20]));
    let service = |(key, &served): (&ServedKey, &u64)| Service {
        operator: key.operator,
        served,
        reputation: state.operator(&key.operator).standing.reputation(),
    };
    served.map(service).collect()
}

/// What a vehicle can claim; the amounts are for [`split`] to fill in.
fn claim(params: &Params, epoch: Epoch, id: KeyId, vehicle: &Vehicle, tally: &Tally) -> Payment {
    let excluded = vehicle.revoked || vehicle.quarantine.is_some();
    // What the epoch itself has shown counts already: nobody is paid for lies by the trust of yesterday.
    let standing = reputation::after_epoch(params, vehicle.standing, tally);
    let multiplier = reputation::multiplier(params, &standing, excluded);
    let debt = vehicle.standing.debt;
    let useful = payout::useful(debt, tally.points, narrow(multiplier));
    Payment {
        epoch,
        vehicle: id,
        points: tally.points,
        debt,
        reputation: standing.reputation(),
        multiplier: narrow(multiplier),
        useful,
        presence: tally.base,
        // Presence is paid to whom was of use.
        base: if useful > 0 {
            times(tally.base, multiplier)
        } else {
            0
        },
        by_use: Amount::ZERO,
        by_base: Amount::ZERO,
        amount: Amount::ZERO,
    }
}

/// Moves the operators' records by what their roadside sensors' readings showed.
fn judge_operators(state: &mut State, params: &Params, tallies: &[(KeyId, Tally)]) {
    let mut by_operator: BTreeMap<Address, Tally> = BTreeMap::new();
    for (id, tally) in tallies {
        let sensor = state.vehicle(id);
        if let Some(operator) = sensor.and_then(|sensor| sensor.role.operator()) {
            let sum = by_operator.entry(operator).or_default();
            sum.evaluated = sum.evaluated.saturating_add(tally.evaluated);
            sum.good = sum.good.saturating_add(tally.good);
            sum.bad = sum.bad.saturating_add(tally.bad);
        }
    }
    for (address, tally) in by_operator {
        let mut operator = state.operator(&address);
        operator.standing = reputation::after_epoch(params, operator.standing, &tally);
        state.operators.insert(address, operator);
    }
}

/// Moves the record, and decides about quarantine.
fn judge(state: &mut State, params: &Params, epoch: Epoch, id: KeyId, tally: &Tally) -> Option<Output> {
    let mut vehicle = state.vehicle(&id)?.clone();
    vehicle.standing = reputation::after_epoch(params, vehicle.standing, tally);
    let decision = reputation::decide(params, &vehicle.standing, tally, vehicle.quarantine.is_some());
    state.vehicles.insert(id, vehicle);
    let next = Epoch(epoch.0.saturating_add(1));
    match decision {
        Decision::Stay => None,
        Decision::Quarantine => {
            let at = state.epoch_due(epoch);
            quarantine::impose(state, id, Ground::Reputation, epoch, Moment { at, epoch: next })
        }
        Decision::Release => quarantine::lift(state, id, next),
    }
}

impl State {
    /// The payout tree as of now: all pay of every vehicle that has vested. Cost: a pass over vehicles, three Keccak
    /// each.
    pub fn payout_tree(&self) -> PayoutTree {
        let now = self.books().epoch;
        PayoutTree::new(self.vehicles().filter_map(|(id, vehicle)| {
            let own = sum(vehicle.vesting.released, vehicle.vested(now));
            Some((self.vehicle_address(id)?, own)).filter(|_| own > Amount::ZERO)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use milepost_wire::state::Q;
    use proptest::prelude::*;

    fn payment(useful: u64, base: u64) -> Payment {
        Payment {
            epoch: Epoch(0),
            vehicle: KeyId::default(),
            points: 0,
            debt: 0,
            reputation: 0,
            multiplier: 0,
            useful,
            presence: base,
            base,
            by_use: Amount::ZERO,
            by_base: Amount::ZERO,
            amount: Amount::ZERO,
        }
    }

    fn claims() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((0u64..1 << 40, 0u64..1 << 40), 1..60)
    }

    #[test]
    fn a_few_vehicles_are_told_apart() {
        let params = Params::default();
        let mut payments = [payment(100 * Q, 0), payment(200 * Q, 0), payment(300 * Q, 0)];
        split(&params, 700_000_000, 700_000_000, &mut payments);
        assert!(payments.windows(2).all(|pair| pair[0].amount < pair[1].amount));
    }

    #[test]
    fn one_point_is_not_worth_the_whole_pool() {
        let mut payments = [payment(Q, 0)];
        let split = split(&Params::default(), 700_000_000, 700_000_000, &mut payments);
        assert_eq!(split.paid, 10_000_000);
    }

    #[test]
    fn no_operator_gets_more_than_a_third() {
        let slice = |reputation| {
            let service = |name, served, reputation| Service {
                operator: Address([name; 20]),
                served,
                reputation,
            };
            let served = [
                service(1, 90 * Q, 49_152),
                service(2, 8 * Q, 49_152),
                service(3, 8 * Q, reputation),
            ];
            split_operators(&Params::default(), 10_000, &served)
        };
        assert_eq!(slice(49_152), [3_333, 754, 754]);
        assert_eq!(slice(24_576), [3_333, 784, 392], "half as good a name");
    }

    /// A small generator with a known future (splitmix64).
    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of random size: up to `bits` bits, small ones as likely as large ones.
    fn up_to(state: &mut u64, bits: u64) -> u64 {
        let shift = 64 - bits + next(state) % bits;
        next(state) >> shift
    }

    /// Conservation, the caps and monotony, in a million epochs of up to six vehicles and four operators. Too many for
    /// proptest, whose cases cost a hundred times as much; a failure prints its number, which repeats it.
    #[test]
    fn a_million_epochs_conserve_tokens() {
        // Unoptimised, a part of them.
        let cases: u64 = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
        for case in 0..cases {
            let mut seed = case;
            let seed = &mut seed;
            let params = Params {
                operators_bps: (next(seed) % 5_001) as u32,
                treasury_bps: (next(seed) % 5_001) as u32,
                operator_max_bps: (1 + next(seed) % 10_000) as u32,
                base_bps: (next(seed) % 10_001) as u32,
                vehicle_max_bps: (1 + next(seed) % 10_000) as u32,
                vehicle_max_averages: (1 + next(seed) % 9) as u32,
                point_price_max_micro: up_to(seed, 64),
                reward_per_hour_micro: up_to(seed, 42),
                halving_epochs: (1 + next(seed) % 100_000) as u32,
                ..Params::default()
            };
            let epoch = Epoch((next(seed) % 400_000) as u32);
            let reward = supply::reward(&params, epoch);
            assert_eq!(
                reward.operators + reward.treasury + reward.vehicles,
                reward.minted,
                "case {case}"
            );

            let pool = reward.vehicles + up_to(seed, 58);
            let mut payments: Vec<_> = (0..next(seed) % 7)
                .map(|_| payment(up_to(seed, 60), up_to(seed, 60)))
                .collect();
            let split = split(&params, pool, reward.vehicles, &mut payments);
            let paid: u64 = payments.iter().map(|payment| payment.amount.micro()).sum();
            assert!(paid == split.paid && paid <= pool, "case {case}");
            let max = split.purse.vehicle_max;
            assert!(
                payments.iter().all(|payment| payment.amount <= max),
                "case {case}"
            );
            payments.sort_by_key(|payment| (payment.useful, payment.base));
            for pair in payments.windows(2) {
                let more = pair[0].base <= pair[1].base;
                assert!(!more || pair[0].amount <= pair[1].amount, "case {case}");
            }

            let services: Vec<_> = (0..next(seed) % 5)
                .map(|name| Service {
                    operator: Address([name as u8; 20]),
                    served: up_to(seed, 60),
                    reputation: (next(seed) % (Q + 1)) as u32,
                })
                .collect();
            let shares = split_operators(&params, reward.operators, &services);
            let cap = muldiv(reward.operators, params.operator_max_bps.into(), BPS);
            assert!(shares.iter().sum::<u64>() <= reward.operators, "case {case}");
            assert!(shares.iter().all(|&share| share <= cap), "case {case}");
        }
    }

    proptest! {
        #[test]
        fn an_epoch_pays_no_more_than_its_pool(pool in 0u64..1 << 60, fresh in 0u64..1 << 60, claims in claims()) {
            let mut payments: Vec<_> = claims.into_iter().map(|(useful, base)| payment(useful, base)).collect();
            let split = split(&Params::default(), pool, fresh.min(pool), &mut payments);
            prop_assert!(split.paid <= pool);
            let sum: u64 = payments.iter().map(|payment| payment.amount.micro()).sum();
            prop_assert_eq!(sum, split.paid);
        }

        #[test]
        fn more_points_never_earn_less(pool in 0u64..1 << 50, claims in claims()) {
            let mut payments: Vec<_> = claims.into_iter().map(|(useful, _)| payment(useful, 7)).collect();
            split(&Params::default(), pool, pool, &mut payments);
            payments.sort_by_key(|payment| payment.useful);
            prop_assert!(payments.is_sorted_by_key(|payment| payment.amount));
        }

        #[test]
        fn a_vehicles_pay_rises_with_its_own_points(pool in 0u64..1 << 50, claims in claims(), more in 0u64..1 << 40) {
            let pay = |extra| {
                let mut payments: Vec<_> = claims.iter().map(|&(useful, base)| payment(useful, base)).collect();
                payments[0].useful += extra;
                split(&Params::default(), pool, pool, &mut payments);
                payments[0].amount
            };
            // One that had nothing becomes one more to share the cap of a small town, but has more than nothing.
            prop_assert!(pay(more) >= pay(0));
        }
    }
}
