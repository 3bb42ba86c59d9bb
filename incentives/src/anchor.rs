//! What does a roadside sensor's reading weigh?
//!
//! A sensor stands still and is calibrated; its operator, who has a name to lose, answers for it. So on one item all
//! sensors of a provider weigh together half of what all vehicles do, and where another provider's sensor says the
//! same, as much as all vehicles: one provider cannot say what is true, two that agree can. An item without
//! vehicles counts as one with a single vehicle that is fully trusted.
//!
//! In: the voices on an item, the vehicles' weights capped ([`crate::truth::cap_weights`]), the sensors' 0. Who owns
//! a sensor that is in quarantine, or has itself lost its good name, is heard and does not count.

use std::collections::BTreeMap;

use milepost_wire::Address;
use milepost_wire::state::Q;

use crate::score::Scale;
use crate::state::State;
use crate::truth::Voice;

/// As how many bad words one counts that is far from what the sensors of two providers agree on. Crowds can be wrong about
/// who is wrong; against such sensors nobody is in the majority.
pub(crate) const CONTRADICTED_TIMES: u64 = 5;

/// A sensor among the voices on an item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'a> {
    /// Which of the voices.
    pub(crate) voice: usize,
    /// Whose sensor.
    pub(crate) provider: &'a str,
}

/// Whether readings of `operator`'s sensors count.
pub(crate) fn is_trusted(state: &State, operator: &Address) -> bool {
    state.members().get(operator).is_some()
        && state.operator(operator).standing.reputation() >= state.params().reputation_base
}

/// Gives the readings their weights, and says what the sensors of two providers agree on, if they do (of several such
/// readings, the first). `scale` says when two of them agree.
pub(crate) fn weigh(voices: &mut [Voice], readings: &[Reading<'_>], scale: Scale) -> Option<i64> {
    let mut agreed = None;
    let vehicles = voices
        .iter()
        .fold(0, |sum, voice| u64::saturating_add(sum, voice.weight));
    let whole = vehicles.max(Q);
    let mut of_provider: BTreeMap<&str, u64> = BTreeMap::new();
    for reading in readings {
        *of_provider.entry(reading.provider).or_default() += 1;
    }
    for reading in readings {
        let word = voices[reading.voice].word;
        let is_confirmed = readings
            .iter()
            .any(|other| other.provider != reading.provider && scale.is_near(word, voices[other.voice].word));
        let all = if is_confirmed { whole } else { whole / 2 };
        voices[reading.voice].weight = (all / of_provider[reading.provider]).max(1);
        agreed = agreed.or(is_confirmed.then_some(word));
    }
    agreed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Tolerance;
    use milepost_wire::KeyId;

    const SPEED: Scale = Scale::Numbers(Tolerance { near: 139, far: 417 });

    fn voice(word: i64, weight: u64) -> Voice {
        Voice {
            vehicle: KeyId::default(),
            group: 0,
            word,
            weight,
            speaks: weight,
            anchor: weight == 0,
        }
    }

    /// Weights of sensors of these providers that read these words, among vehicles that weigh 10 Q.
    fn weights(sensors: &[(&str, i64)]) -> Vec<u64> {
        let mut voices = vec![voice(1_400, 6 * Q), voice(1_400, 4 * Q)];
        voices.extend(sensors.iter().map(|&(_, word)| voice(word, 0)));
        let readings: Vec<_> = sensors
            .iter()
            .zip(2..)
            .map(|(&(provider, _), voice)| Reading { voice, provider })
            .collect();
        weigh(&mut voices, &readings, SPEED);
        voices[2..].iter().map(|voice| voice.weight).collect()
    }

    #[test]
    fn one_providers_sensors_weigh_half_of_the_vehicles_however_many() {
        assert_eq!(weights(&[("a", 500)]), [5 * Q]);
        assert_eq!(weights(&[("a", 500), ("a", 510)]), [5 * Q / 2; 2]);
    }

    #[test]
    fn two_providers_that_agree_weigh_as_much_as_the_vehicles_each() {
        assert_eq!(weights(&[("a", 500), ("b", 639)]), [10 * Q; 2]);
        assert_eq!(weights(&[("a", 500), ("b", 640)]), [5 * Q; 2], "not near");
        assert_eq!(
            weights(&[("a", 500), ("b", 900), ("c", 520)]),
            [10 * Q, 5 * Q, 10 * Q]
        );
    }

    #[test]
    fn sensors_of_two_providers_that_agree_are_what_others_are_held_against() {
        let agreed = |sensors: &[(&str, i64)]| {
            let mut voices: Vec<_> = sensors.iter().map(|&(_, word)| voice(word, 0)).collect();
            let readings = sensors.iter().enumerate();
            let readings: Vec<_> = readings
                .map(|(voice, &(provider, _))| Reading { voice, provider })
                .collect();
            weigh(&mut voices, &readings, SPEED)
        };
        assert_eq!(agreed(&[("a", 500), ("b", 639)]), Some(500));
        assert_eq!(agreed(&[("c", 900), ("a", 500), ("b", 510)]), Some(500));
        assert_eq!(agreed(&[("a", 500), ("a", 500)]), None, "one provider");
        assert_eq!(agreed(&[("a", 500), ("b", 640)]), None, "not near");
    }

    #[test]
    fn without_vehicles_a_sensor_outweighs_what_was_published_before() {
        let mut voices = [voice(500, 0)];
        let reading = Reading {
            voice: 0,
            provider: "a",
        };
        weigh(&mut voices, &[reading], SPEED);
        assert_eq!(voices[0].weight, Q / 2);
    }
}
