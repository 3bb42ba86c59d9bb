//! How many tokens are made for an epoch?
//!
//! `I₀ >> (epoch / H)`, whether or not anything happens: what exists is a function of the epoch alone, which
//! anyone can check. Empty epochs' tokens are carried, less the treasury's share.

use milepost_wire::time::Epoch;

use crate::fixed::{BPS, muldiv};
use crate::params::Params;

/// An epoch's tokens, in micro-tokens, and who they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reward {
    /// All of them.
    pub(crate) minted: u64,
    /// For the roadside units' operators.
    pub(crate) operators: u64,
    /// For the treasury.
    pub(crate) treasury: u64,
    /// For vehicles: the rest.
    pub(crate) vehicles: u64,
}

/// What is made for `epoch`.
pub(crate) fn reward(params: &Params, epoch: Epoch) -> Reward {
    let halvings = epoch.0 / params.halving_epochs.max(1);
    let minted = params.reward_per_epoch_micro().checked_shr(halvings).unwrap_or(0);
    let operators = muldiv(minted, params.operators_bps.into(), BPS);
    let treasury = muldiv(minted, params.treasury_bps.into(), BPS);
    Reward {
        minted,
        operators,
        treasury,
        vehicles: minted.saturating_sub(operators).saturating_sub(treasury),
    }
}

/// What is made for all epochs from `from` to before `to`. Cost: a step per halving, 64 at most, however long
/// the stretch.
pub(crate) fn rewards(params: &Params, from: Epoch, to: Epoch) -> Reward {
    let halving = params.halving_epochs.max(1);
    let mut all = Reward::default();
    let mut epoch = from.0;
    while epoch < to.0 {
        let one = reward(params, Epoch(epoch));
        if one.minted == 0 {
            break;
        }
        let next_halving = (epoch / halving + 1).saturating_mul(halving);
        let end = next_halving.min(to.0);
        let count = u64::from(end - epoch);
        all.minted = all.minted.saturating_add(one.minted.saturating_mul(count));
        all.operators = all.operators.saturating_add(one.operators.saturating_mul(count));
        all.treasury = all.treasury.saturating_add(one.treasury.saturating_mul(count));
        all.vehicles = all.vehicles.saturating_add(one.vehicles.saturating_mul(count));
        epoch = end;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_reward_halves_and_ends() {
        let params = Params::default();
        assert_eq!(reward(&params, Epoch(17_519)).minted, 1_000_000_000);
        assert_eq!(reward(&params, Epoch(17_520)).minted, 500_000_000);
        assert_eq!(reward(&params, Epoch(u32::MAX)).minted, 0);
        assert!(rewards(&params, Epoch(0), Epoch(u32::MAX)).minted < 2 * 17_520 * 1_000_000_000);
    }

    proptest! {
        #[test]
        fn a_stretch_makes_what_its_epochs_make(from in 0u32..300, len in 0u32..300, halving in 1u32..50) {
            let params = Params { halving_epochs: halving, ..Params::default() };
            let whole = rewards(&params, Epoch(from), Epoch(from + len));
            let minted: u64 = (from..from + len).map(|epoch| reward(&params, Epoch(epoch)).minted).sum();
            prop_assert_eq!(whole.minted, minted);
            prop_assert_eq!(whole.operators + whole.treasury + whole.vehicles, minted);
        }
    }
}
