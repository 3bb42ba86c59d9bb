//! How do points become pay?
//!
//! The last step of a reward, which anyone can redo from what a block put out: from a vehicle's points, the epoch's
//! sums and its [`Purse`] follow the micro-tokens. What the ledger reckons here, a vehicle's agent reckons again
//! ([`adds_up`]).

use serde::Serialize;
use wincode::{SchemaRead, SchemaWrite};

use crate::Amount;
use crate::output::{EpochClosed, Payment, Score};
use crate::state::Q;

/// What an epoch's vehicles share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize)]
pub struct Purse {
    /// For usefulness.
    pub by_use: Amount,
    /// For presence.
    pub by_base: Amount,
    /// The most that one useful point ([`Q`]) gets.
    pub point_max: Amount,
    /// The most that one vehicle gets.
    pub vehicle_max: Amount,
}

/// What one vehicle gets out of a purse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paid {
    /// For its useful points.
    pub by_use: Amount,
    /// For its presence.
    pub by_base: Amount,
    /// The two together, within the cap.
    pub amount: Amount,
}

impl Purse {
    /// What a vehicle gets that has `useful` of all useful points, and `base` of all base points. What all get is at most
    /// the purse, where the totals are sums.
    pub fn pay(&self, (useful, useful_total): (u64, u128), (base, base_total): (u64, u128)) -> Paid {
        let by_use = portion(self.by_use, useful, useful_total);
        let by_use = by_use.min(portion(self.point_max, useful, Q.into()));
        let by_base = portion(self.by_base, base, base_total);
        Paid {
            by_use: Amount::from_micro(by_use),
            by_base: Amount::from_micro(by_base),
            amount: Amount::from_micro(by_use.saturating_add(by_base)).min(self.vehicle_max),
        }
    }
}

/// `pool · part / whole`, rounded down; 0 where `whole` is 0.
fn portion(pool: Amount, part: u64, whole: u128) -> u64 {
    let product = u128::from(pool.micro()) * u128::from(part);
    product
        .checked_div(whole)
        .map_or(0, |share| u64::try_from(share).unwrap_or(u64::MAX))
}

/// What a vehicle has to share by: its points, less what it owed, times what they count for.
pub fn useful(debt: i64, points: i64, multiplier: u32) -> u64 {
    let credit = debt.saturating_add(points).max(0) as u64;
    portion(Amount::from_micro(credit), u64::from(multiplier), Q.into())
}

/// Whether a payment is what its lines come to, to the last micro-token: the scores' points are its points, their
/// worth is its presence, and the epoch's purse and sums give its amounts.
pub fn adds_up<'a>(
    scores: impl IntoIterator<Item = &'a Score>,
    payment: &Payment,
    closed: &EpochClosed,
) -> bool {
    let (mut points, mut presence) = (0i128, 0u128);
    for score in scores {
        points += i128::from(score.points);
        presence += u128::from(score.presence);
    }
    let useful = useful(payment.debt, payment.points, payment.multiplier);
    let base = portion(
        Amount::from_micro(payment.presence),
        payment.multiplier.into(),
        Q.into(),
    );
    let paid = closed.purse.pay(
        (useful, closed.useful_total.into()),
        (payment.base, closed.base_total.into()),
    );
    points == i128::from(payment.points)
        && presence == u128::from(payment.presence)
        && useful == payment.useful
        // Presence is paid to those of use alone.
        && payment.base == if useful > 0 { base } else { 0 }
        && (paid.by_use, paid.by_base, paid.amount) == (payment.by_use, payment.by_base, payment.amount)
}
