//! For how long does each voice speak?
//!
//! In: the words on all items of one kind and slot. Out: for each voice what its word weighs ([`Voice::speaks`]) times the
//! time that its vehicle spent on the road, in units of the slot's average stay ([`Q`]). So the numbers of
//! [`crate::estimate`] do not depend on how long slots are, how often vehicles look, or how well reputed they are on the
//! whole.

use milepost_wire::state::Q;

use crate::estimate::Said;
use crate::fixed::muldiv;
use crate::params::Params;
use crate::truth::Voice;

/// Nobody speaks for longer than sixteen average stays.
pub(crate) const STAY_MAX: u64 = 16 * Q;

/// One list for each item, one number for each voice.
pub(crate) fn stays(params: &Params, said: &[Said<'_>]) -> Vec<Vec<u64>> {
    let (mut all, mut count) = (0u128, 0u128);
    for said in said {
        for (voice, product) in products(params, said).filter(|(voice, _)| speaks(voice)) {
            debug_assert!(voice.weight > 0);
            all += u128::from(product);
            count += 1;
        }
    }
    let average = u64::try_from(all / count.max(1)).unwrap_or(u64::MAX).max(1);
    said.iter().map(|said| of_item(params, said, average)).collect()
}

fn of_item(params: &Params, said: &Said<'_>, average: u64) -> Vec<u64> {
    let stay = |product: u64| muldiv(product, Q, average).min(STAY_MAX);
    let (mut weights, mut together) = (0u64, 0u64);
    for (voice, product) in products(params, said).filter(|(voice, _)| speaks(voice)) {
        weights = weights.saturating_add(voice.weight);
        together = together.saturating_add(stay(product));
    }
    products(params, said)
        .map(|(voice, product)| {
            if voice.anchor {
                // A sensor never leaves. Its weight is against the vehicles' there, and against one where there is none.
                muldiv(together, voice.weight, weights)
                    .max(voice.weight)
                    .min(STAY_MAX)
            } else {
                stay(product)
            }
        })
        .collect()
}

fn speaks(voice: &Voice) -> bool {
    voice.weight > 0 && !voice.anchor
}

/// Each voice, and what its word weighs times the seconds of its stay. Who looks more often than once a second stays no longer
/// for it.
fn products<'a>(params: &Params, said: &'a Said<'_>) -> impl Iterator<Item = (&'a Voice, u64)> {
    let slot_s = params.slot_ms.div_ceil(1000);
    said.voices
        .iter()
        .zip(said.sightings)
        .map(move |(voice, sighting)| {
            let stayed = u64::from(sighting.count()).min(slot_s);
            (voice, voice.speaks.saturating_mul(stayed))
        })
}
