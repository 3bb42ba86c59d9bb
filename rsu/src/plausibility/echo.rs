//! Did another vehicle say the same before?
//!
//! Two sensors never agree to the centimetre, cm/s and tenth of a degree at once: who repeats all of them has
//! copied them. The first to say it is believed.

use milepost_wire::recent::Recent;

use super::claim::{Claim, Content};

/// How long a claim may be repeated, in ms. Later, only a vehicle that stands can be in the same place.
const ECHO_MS: u64 = 10_000;

/// What was said lately, by whom and when.
#[derive(Clone, Debug)]
pub(super) struct Echoes {
    said: Recent<Content, (u64, u64)>,
}

impl Echoes {
    pub(super) fn new(claims_max: usize) -> Self {
        Self {
            said: Recent::new(claims_max),
        }
    }

    /// Whether another said so within [`ECHO_MS`]; remembers it otherwise.
    pub(super) fn is_echo(&mut self, claim: &Claim) -> bool {
        let content = claim.content();
        match self.said.get(&content) {
            Some((vehicle, at_ms))
                if *vehicle != claim.vehicle && claim.at_ms.abs_diff(*at_ms) <= ECHO_MS =>
            {
                true
            }
            _ => {
                self.said.insert(content, (claim.vehicle, claim.at_ms));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plausibility::claim::tests::driving;

    #[test]
    fn who_repeats_another_is_an_echo_and_the_first_is_not() {
        let mut echoes = Echoes::new(10);
        let first = driving(1, 1000, 10.0, 90.0);
        let copy = |at_ms| Claim {
            vehicle: 2,
            at_ms,
            ..first
        };
        assert!(!echoes.is_echo(&first));
        assert!(!echoes.is_echo(&first), "nobody echoes himself");
        assert!(echoes.is_echo(&copy(3000)));
        assert!(!echoes.is_echo(&Claim {
            x_m: first.x_m + 0.02,
            ..copy(3000)
        }));
        assert!(!echoes.is_echo(&copy(1001 + ECHO_MS)));
    }
}
