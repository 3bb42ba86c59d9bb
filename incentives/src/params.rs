//! With which numbers do the rules run?
//!
//! Every number of the reward rules has its home here, with its unit and its default. They are part of genesis, and
//! members can change them by vote ([`crate::proposal`]). Fractions are in units of 1/65 536 ([`Q`]), shares in basis points
//! (1/10 000).
//!
//! [`Params::validate`] keeps them where no sum of the ledger can overflow.

use milepost_wire::state::Q;
use milepost_wire::{Amount, Kind, Setting};
use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use crate::fixed::{BPS, muldiv};

/// The numbers of the rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Length of a slot, in ms: 5 minutes.
    pub slot_ms: u64,
    /// Length of an epoch, in ms: 1 hour. A whole number of slots.
    pub epoch_ms: u64,

    /// How long a proposal waits for the members' approval, in ms of block time: 7 days.
    pub proposal_life_ms: u64,
    /// How old, in blocks, a member's two words may be that convict it: about a day at a block every second.
    pub evidence_blocks: u64,
    /// For how many epochs a member that signed two different things is without a vote: a week. With 0 it keeps it.
    pub jail_epochs: u32,
    /// What it forfeits of its operator's share, in basis points: all.
    pub forfeit_bps: u32,
    /// For how many blocks a complaint counts that a member does not hand out what it acknowledged, and how old an
    /// acknowledgement may be that is complained of: about an hour at a block every second.
    pub withheld_blocks: u64,
    /// What a member of which members with more than a third of the power complain so forfeits of its operator's share, in
    /// basis points: nothing.
    pub withheld_forfeit_bps: u32,
    /// What a key puts at stake that enrols itself, in micro-tokens: 10 tokens.
    pub enrol_bond: u64,

    /// How old an observation may be when its block is made, in ms. Its worth falls linearly to 0 there.
    pub freshness_ms: PerKind,
    /// How far an observation may lie in the future of its block, in ms: 5 seconds.
    pub future_ms: u64,
    /// What no vehicle exceeds, in cm/s: 70 m/s.
    pub motion_max_cm_s: u32,
    /// By how much two claimed places may be wrong together, in cm: 50 m.
    pub place_error_cm: u32,
    /// How many items of one vehicle are scored in an epoch.
    pub items_max: u32,

    /// When two speeds agree, in cm/s: within 5 km/h; not at all from 15 km/h on.
    pub speed: Tolerance,
    /// When two humidities agree, in 0.1 %: within 5 %; not at all from 15 % on.
    pub humidity: Tolerance,
    /// Speed of a road before anything is known, in cm/s: 50 km/h.
    pub speed_default_cm_s: u16,
    /// Roads are of one class when their usual speeds lie between the same two of these, in cm/s: 30, 50, 70
    /// and 100 km/h.
    pub class_bounds_cm_s: [u16; 4],
    /// Weight of what was published before, against the reporters' squared reputations, in [`Q`]: 0.15.
    pub prior_weight: u32,
    /// The most that a road's past speaks for in the published estimate, in average stays of a vehicle ([`Q`]): one.
    pub memory_max: u32,
    /// A road's past fades by 1/2ⁿ a slot: 1/8.
    pub memory_shift: u32,
    /// How far the words of one vehicle may lean to one side, in cm/s, until the published estimate trusts it less: from
    /// 8 km/h on; not at all from 16 km/h on.
    pub lean: Tolerance,
    /// How many words a vehicle's lean goes back.
    pub lean_words: u32,
    /// How far from the median a word can draw the published estimate, in `near` tolerances: five.
    pub reach_nears: u32,

    /// What a word's quality falls short of its news, in [`Q`], so that luck does not pay: 0.04.
    pub news_margin: u32,
    /// How many independent reporters an item needs.
    pub reporters_needed: u32,
    /// The most by which scarcity multiplies an item's worth.
    pub need_max: u32,
    /// A road's moving average of reporters moves by 1/2ⁿ a slot.
    pub heard_shift: u32,
    /// A road's usual value moves by 1/2ⁿ a slot.
    pub usual_shift: u32,

    /// Weight of good reports that a new vehicle starts with, in [`Q`].
    pub start_good: u64,
    /// Weight of bad reports that a new vehicle starts with, in [`Q`]: reputation ¼.
    pub start_bad: u64,
    /// Weight of good readings that a new owner of roadside sensors starts with, in [`Q`].
    pub operator_start_good: u64,
    /// Weight of bad readings that a new owner of roadside sensors starts with, in [`Q`]: reputation ¾.
    pub operator_start_bad: u64,
    /// A vehicle's record, and its debt of points with it, fades by 1/2ⁿ an epoch: 1/8.
    pub record_shift: u32,
    /// What an epoch of good reports adds to the record, in [`Q`].
    pub evidence_per_epoch: u64,
    /// From how many evaluated reports on an epoch counts in full; fewer count in proportion.
    pub evidence_full: u32,
    /// How many times as much as a good report a bad one weighs.
    pub bad_weight: u32,
    /// Reputation below which nothing is earned, and quarantine threatens, in [`Q`]: 0.08.
    pub reputation_min: u32,
    /// Reputation from which on presence is paid, and an owner's roadside sensors count, in [`Q`]: ½.
    pub reputation_base: u32,
    /// Reputation in the shadow above which quarantine ends, in [`Q`]: 0.6.
    pub reputation_release: u32,
    /// Nobody is quarantined, or released, on fewer evaluated reports; and until then the published estimate takes a
    /// record for as much less.
    pub evaluated_min: u32,
    /// Whether quarantine ends by a vote of more than two thirds alone, or also by itself, once the reputation in the
    /// shadow allows it.
    pub release_needs_vote: bool,
    /// By how much two claimed places may be wrong together before they prove that no car can have been at both, in
    /// cm: 1 km.
    pub motion_proof_cm: u32,

    /// What a claim of danger puts at stake, in micro-tokens: 0.1 tokens.
    pub hazard_bond_micro: u64,
    /// How many bonded claims of danger that three groups contradict lead into quarantine.
    pub false_claims_max: u32,
    /// For how many epochs a word on humidity or danger waits for somebody who can judge it.
    pub wait_epochs: u32,

    /// The most points that are owed from epoch to epoch, in [`Q`]: 40.
    pub debt_max: u64,

    /// Tokens made in an hour to begin with, in micro-tokens: 1000 tokens.
    pub reward_per_hour_micro: u64,
    /// After this many epochs the reward halves: two years of hours.
    pub halving_epochs: u32,
    /// Share of an epoch's reward for the roadside units' operators: 20 %.
    pub operators_bps: u32,
    /// Share of an epoch's reward for the treasury: 10 %. Vehicles get the rest.
    pub treasury_bps: u32,
    /// The most of the operators' share that goes to one of them: a third.
    pub operator_max_bps: u32,
    /// Part of the vehicles' pool that pays presence rather than usefulness: 10 %.
    pub base_bps: u32,
    /// The most of an epoch's vehicles' share that goes to one vehicle: 1 % ...
    pub vehicle_max_bps: u32,
    /// ... or this many times the average, where that is more. Without it, every vehicle of a fleet of fewer
    /// than a hundred would get the same, whatever it did.
    pub vehicle_max_averages: u32,
    /// The most that one useful point ([`Q`]) pays, in micro-tokens: 10 tokens.
    pub point_price_max_micro: u64,
    /// Over how many epochs pay vests: a week of hours. With 0, pay goes straight to the account.
    pub vest_epochs: u32,
}

/// One number for each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(deny_unknown_fields)]
pub struct PerKind {
    /// For speed.
    pub speed: u64,
    /// For congestion.
    pub congestion: u64,
    /// For humidity.
    pub humidity: u64,
    /// For hazards.
    pub hazard: u64,
}

impl PerKind {
    /// The number for `kind`.
    pub const fn get(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Speed => self.speed,
            Kind::Congestion => self.congestion,
            Kind::Humidity => self.humidity,
            Kind::Hazard => self.hazard,
        }
    }

    /// The greatest of the four.
    pub fn max(&self) -> u64 {
        Kind::ALL.iter().map(|&kind| self.get(kind)).max().unwrap_or(0)
    }
}

/// How far two numbers may lie apart and still agree, in the kind's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
#[serde(deny_unknown_fields)]
pub struct Tolerance {
    /// Up to here they agree: `d0`.
    pub near: u32,
    /// From here on they don't: `d1`.
    pub far: u32,
}

impl Tolerance {
    /// Where honest words spread by `spread` (a median distance), they agree within half that much more, and are far
    /// off only beyond that much more: in stop-and-go traffic no two vehicles see the same speed.
    #[must_use]
    pub(crate) fn widened(self, spread: i64) -> Self {
        let spread = spread.clamp(0, 1 << 20) as u32;
        Self {
            near: self.near.saturating_add(spread / 2),
            far: self.far.saturating_add(spread),
        }
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            slot_ms: 300_000,
            epoch_ms: 3_600_000,
            proposal_life_ms: 7 * 24 * 3_600_000,
            evidence_blocks: 100_000,
            jail_epochs: 168,
            forfeit_bps: 10_000,
            withheld_blocks: 4_096,
            withheld_forfeit_bps: 0,
            enrol_bond: 10_000_000,
            freshness_ms: PerKind {
                speed: 60_000,
                congestion: 120_000,
                humidity: 900_000,
                hazard: 300_000,
            },
            future_ms: 5_000,
            motion_max_cm_s: 7_000,
            place_error_cm: 5_000,
            items_max: 120,
            speed: Tolerance { near: 139, far: 417 },
            humidity: Tolerance { near: 50, far: 150 },
            speed_default_cm_s: 1_389,
            class_bounds_cm_s: [833, 1_389, 1_944, 2_778],
            prior_weight: 9_830,
            memory_max: Q as u32,
            memory_shift: 3,
            lean: Tolerance { near: 222, far: 444 },
            lean_words: 3,
            reach_nears: 5,
            news_margin: 2_621,
            reporters_needed: 3,
            need_max: 4,
            heard_shift: 4,
            usual_shift: 4,
            start_good: Q,
            start_bad: 3 * Q,
            operator_start_good: 3 * Q,
            operator_start_bad: Q,
            record_shift: 3,
            evidence_per_epoch: 4 * Q,
            evidence_full: 12,
            bad_weight: 12,
            reputation_min: 5_243,
            reputation_base: 32_768,
            reputation_release: 39_321,
            evaluated_min: 24,
            release_needs_vote: true,
            motion_proof_cm: 100_000,
            hazard_bond_micro: 100_000,
            false_claims_max: 2,
            wait_epochs: 3,
            debt_max: 40 * Q,
            reward_per_hour_micro: 1_000_000_000,
            halving_epochs: 17_520,
            operators_bps: 2_000,
            treasury_bps: 1_000,
            operator_max_bps: 3_333,
            base_bps: 1_000,
            vehicle_max_bps: 100,
            vehicle_max_averages: 3,
            point_price_max_micro: 10_000_000,
            vest_epochs: 168,
        }
    }
}

/// Why numbers make no rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// A number outside its bounds.
    #[error("{name} is {found}, allowed are {min} to {max}")]
    OutOfRange {
        /// The parameter.
        name: &'static str,
        /// What it is.
        found: u64,
        /// The least it may be.
        min: u64,
        /// The most it may be.
        max: u64,
    },
    /// Epochs that do not end with a slot.
    #[error("an epoch of {epoch_ms} ms is not a whole number of slots of {slot_ms} ms")]
    EpochOfBrokenSlots {
        /// The epoch's length.
        epoch_ms: u64,
        /// The slot's length.
        slot_ms: u64,
    },
    /// Numbers that must rise.
    #[error("{name} must rise: {below} stands before {above}")]
    NotRising {
        /// The parameter.
        name: &'static str,
        /// The first of two.
        below: u64,
        /// The second of two.
        above: u64,
    },
    /// Tokens that would not fit 64 bits, with room for sums.
    #[error("{per_epoch} micro-tokens an epoch, halved every {halving_epochs} epochs, exceed {max} in all")]
    TooManyTokens {
        /// The first epochs' reward.
        per_epoch: u64,
        /// How long it stays.
        halving_epochs: u32,
        /// The most that may ever be made.
        max: u64,
    },
    /// No number has this name.
    #[error("no number of the rules is called {0:?}")]
    Unknown(String),
    /// A number that is the chain's for good.
    #[error("{0} is part of the genesis: slots and epochs are counted by it")]
    Fixed(String),
    /// A number that does not fit its place.
    #[error("{name} cannot be {value}")]
    NotItsRange {
        /// The parameter.
        name: String,
        /// What it was to be.
        value: u64,
    },
}

impl Params {
    /// The most micro-tokens that a chain may ever make: sums of all balances keep two bits to spare.
    pub const SUPPLY_MAX_MICRO: u64 = u64::MAX / 4;
    /// The longest stretch of time a parameter may name, in ms: 30 days.
    pub const DURATION_MAX_MS: u64 = 30 * 24 * 3_600_000;

    /// Whether the rules can run with these numbers.
    ///
    /// # Errors
    ///
    /// [`ParamsError`], naming the first number that cannot stand.
    pub fn validate(&self) -> Result<(), ParamsError> {
        let within = |name, found, min, max| {
            if (min..=max).contains(&found) {
                Ok(())
            } else {
                Err(ParamsError::OutOfRange {
                    name,
                    found,
                    min,
                    max,
                })
            }
        };
        let rising = |name, below: u64, above: u64| {
            if below < above {
                Ok(())
            } else {
                Err(ParamsError::NotRising { name, below, above })
            }
        };
        let day = Self::DURATION_MAX_MS;
        // Slots are counted in 32 bits: at 100 ms, for thirteen years.
        within("slot_ms", self.slot_ms, 100, day)?;
        within("epoch_ms", self.epoch_ms, 1, day)?;
        if !self.epoch_ms.is_multiple_of(self.slot_ms) {
            let (epoch_ms, slot_ms) = (self.epoch_ms, self.slot_ms);
            return Err(ParamsError::EpochOfBrokenSlots { epoch_ms, slot_ms });
        }
        within("proposal_life_ms", self.proposal_life_ms, 1, day)?;
        within("evidence_blocks", self.evidence_blocks, 1, 1 << 32)?;
        within("jail_epochs", self.jail_epochs.into(), 0, 1 << 20)?;
        within("forfeit_bps", self.forfeit_bps.into(), 0, BPS)?;
        // Who is so far behind as half the least is no longer believed to hold anything.
        within("withheld_blocks", self.withheld_blocks, 1_024, 1 << 20)?;
        within("withheld_forfeit_bps", self.withheld_forfeit_bps.into(), 0, BPS)?;
        within("enrol_bond", self.enrol_bond, 0, Self::SUPPLY_MAX_MICRO)?;
        for kind in Kind::ALL {
            within("freshness_ms", self.freshness_ms.get(kind), 1, day)?;
        }
        within("future_ms", self.future_ms, 0, day)?;
        within("motion_max_cm_s", self.motion_max_cm_s.into(), 1, 1 << 20)?;
        within("place_error_cm", self.place_error_cm.into(), 0, 1 << 30)?;
        within("items_max", self.items_max.into(), 1, 1 << 20)?;
        for (name, tolerance) in [
            ("speed", self.speed),
            ("humidity", self.humidity),
            ("lean", self.lean),
        ] {
            rising(name, tolerance.near.into(), tolerance.far.into())?;
            within(name, tolerance.far.into(), 1, 1 << 20)?;
        }
        for pair in self.class_bounds_cm_s.windows(2) {
            rising("class_bounds_cm_s", pair[0].into(), pair[1].into())?;
        }
        within("prior_weight", self.prior_weight.into(), 0, Q)?;
        within("memory_max", self.memory_max.into(), 0, 16 * Q)?;
        within("memory_shift", self.memory_shift.into(), 0, 16)?;
        within("lean_words", self.lean_words.into(), 0, 1 << 10)?;
        within("reach_nears", self.reach_nears.into(), 1, 1 << 10)?;
        within("news_margin", self.news_margin.into(), 0, Q)?;
        within("reporters_needed", self.reporters_needed.into(), 1, 1 << 10)?;
        within("need_max", self.need_max.into(), 1, 1 << 8)?;
        within("heard_shift", self.heard_shift.into(), 0, 16)?;
        within("usual_shift", self.usual_shift.into(), 0, 16)?;
        for (name, start) in [
            ("start_good", self.start_good),
            ("start_bad", self.start_bad),
            ("operator_start_good", self.operator_start_good),
            ("operator_start_bad", self.operator_start_bad),
        ] {
            within(name, start, 0, 1 << 32)?;
        }
        let (vehicle, operator) = (
            self.start_good + self.start_bad,
            self.operator_start_good + self.operator_start_bad,
        );
        within("start_good + start_bad", vehicle, 1, 1 << 33)?;
        within("operator_start_good + operator_start_bad", operator, 1, 1 << 33)?;
        within("record_shift", self.record_shift.into(), 1, 16)?;
        within("evidence_per_epoch", self.evidence_per_epoch, 1, 1 << 32)?;
        within("evidence_full", self.evidence_full.into(), 1, 1 << 20)?;
        within("bad_weight", self.bad_weight.into(), 1, 1 << 10)?;
        for (name, reputation) in [
            ("reputation_min", self.reputation_min),
            ("reputation_base", self.reputation_base),
            ("reputation_release", self.reputation_release),
        ] {
            within(name, reputation.into(), 0, Q)?;
        }
        within("debt_max", self.debt_max, 0, 1 << 40)?;
        within("halving_epochs", self.halving_epochs.into(), 1, u32::MAX.into())?;
        let taken = u64::from(self.operators_bps) + u64::from(self.treasury_bps);
        within("operators_bps + treasury_bps", taken, 0, BPS)?;
        within("operator_max_bps", self.operator_max_bps.into(), 1, BPS)?;
        within("base_bps", self.base_bps.into(), 0, BPS)?;
        within("vehicle_max_bps", self.vehicle_max_bps.into(), 1, BPS)?;
        within(
            "vehicle_max_averages",
            self.vehicle_max_averages.into(),
            1,
            1 << 20,
        )?;
        within("vest_epochs", self.vest_epochs.into(), 0, 65_535)?;
        within(
            "motion_proof_cm",
            self.motion_proof_cm.into(),
            self.place_error_cm.into(),
            1 << 30,
        )?;
        within(
            "hazard_bond_micro",
            self.hazard_bond_micro,
            0,
            Self::SUPPLY_MAX_MICRO,
        )?;
        within("false_claims_max", self.false_claims_max.into(), 1, 255)?;
        within("wait_epochs", self.wait_epochs.into(), 0, 1 << 16)?;

        // A halving sequence sums to less than twice its first term's total.
        self.can_follow(Amount::ZERO)
    }

    /// These numbers, with some of them set anew.
    ///
    /// # Errors
    ///
    /// [`ParamsError`]: a name that is none, a number by which slots and epochs are counted, or what
    /// [`Params::validate`] refuses.
    pub fn with(&self, settings: &[Setting]) -> Result<Self, ParamsError> {
        for Setting { name, .. } in settings {
            if ["slot_ms", "epoch_ms", "freshness_ms"].contains(&name.split('.').next().unwrap_or(name)) {
                return Err(ParamsError::Fixed(name.clone()));
            }
        }
        self.set(settings)
    }

    /// The default numbers, but for these. Before a chain begins, slots and epochs can be set, too.
    ///
    /// # Errors
    ///
    /// [`ParamsError`]: a name that is none, or what [`Params::validate`] refuses.
    pub fn begin_with(settings: &[Setting]) -> Result<Self, ParamsError> {
        Self::default().set(settings)
    }

    fn set(&self, settings: &[Setting]) -> Result<Self, ParamsError> {
        // By name, as in the genesis file: no second list of the numbers to keep.
        let mut tree = serde_json::to_value(self).expect("numbers");
        let mut params = self.clone();
        for Setting { name, value } in settings {
            let pointer = format!("/{}", name.replace('.', "/"));
            let found = tree.pointer_mut(&pointer);
            let found = found.filter(|found| found.is_number() || found.is_boolean());
            let found = found.ok_or_else(|| ParamsError::Unknown(name.clone()))?;
            *found = match (found.is_boolean(), value) {
                (true, 0 | 1) => (*value == 1).into(),
                _ => (*value).into(),
            };
            params = serde_json::from_value(tree.clone()).map_err(|_| ParamsError::NotItsRange {
                name: name.clone(),
                value: *value,
            })?;
        }
        params.validate()?;
        Ok(params)
    }

    /// Whether a chain that has made so many tokens can go on with these numbers.
    ///
    /// # Errors
    ///
    /// [`ParamsError::TooManyTokens`].
    pub fn can_follow(&self, minted: Amount) -> Result<(), ParamsError> {
        let (per_epoch, halving_epochs) = (self.reward_per_epoch_micro(), self.halving_epochs);
        let more = u128::from(per_epoch) * u128::from(halving_epochs) * 2;
        if u128::from(minted.micro()) + more > u128::from(Self::SUPPLY_MAX_MICRO) {
            return Err(ParamsError::TooManyTokens {
                per_epoch,
                halving_epochs,
                max: Self::SUPPLY_MAX_MICRO,
            });
        }
        Ok(())
    }

    /// The first epochs' reward, in micro-tokens.
    pub fn reward_per_epoch_micro(&self) -> u64 {
        muldiv(self.reward_per_hour_micro, self.epoch_ms, 3_600_000)
    }

    /// How many slots an epoch has.
    pub fn slots_per_epoch(&self) -> u64 {
        (self.epoch_ms / self.slot_ms.max(1)).max(1)
    }

    /// When two values of `kind` agree; `None` where they are codes that agree or not.
    pub const fn tolerance(&self, kind: Kind) -> Option<Tolerance> {
        match kind {
            Kind::Speed => Some(self.speed),
            Kind::Humidity => Some(self.humidity),
            Kind::Congestion | Kind::Hazard => None,
        }
    }

    /// What a road is taken for before anything is known, in the kind's unit: dry, free and safe.
    pub fn default_value(&self, kind: Kind) -> i32 {
        match kind {
            Kind::Speed => self.speed_default_cm_s.into(),
            Kind::Congestion | Kind::Humidity | Kind::Hazard => 0,
        }
    }

    /// The class of a road whose usual value is `usual`: roads of one class are compared. Speeds are classed by
    /// [`Params::class_bounds_cm_s`]; for the other kinds all roads are alike.
    pub fn class(&self, kind: Kind, usual: i32) -> usize {
        match kind {
            Kind::Speed => self
                .class_bounds_cm_s
                .iter()
                .filter(|&&bound| usual >= i32::from(bound))
                .count(),
            Kind::Congestion | Kind::Humidity | Kind::Hazard => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_read_back() {
        let params = Params::default();
        assert_eq!(params.validate(), Ok(()));
        let text = serde_json::to_string(&params).expect("plain data");
        assert_eq!(serde_json::from_str::<Params>(&text).expect("the same"), params);
        assert_eq!(serde_json::from_str::<Params>("{}").expect("defaults"), params);
        assert!(serde_json::from_str::<Params>(r#"{"slots_ms": 1}"#).is_err());
    }

    #[test]
    fn yes_and_no_are_set_as_one_and_zero() {
        let set = |value| {
            let name = "release_needs_vote".to_owned();
            Params::default().with(&[Setting { name, value }])
        };
        assert_eq!(set(0).map(|params| params.release_needs_vote), Ok(false));
        assert_eq!(set(1), Ok(Params::default()));
        assert!(matches!(set(2), Err(ParamsError::NotItsRange { .. })));
    }

    #[test]
    fn an_epoch_is_a_whole_number_of_slots() {
        let params = Params {
            slot_ms: 7_000,
            ..Params::default()
        };
        assert!(matches!(
            params.validate(),
            Err(ParamsError::EpochOfBrokenSlots { .. })
        ));
    }

    #[test]
    fn no_chain_makes_more_tokens_than_fit() {
        let params = Params {
            reward_per_hour_micro: u64::MAX / 100_000,
            ..Params::default()
        };
        assert!(matches!(
            params.validate(),
            Err(ParamsError::TooManyTokens { .. })
        ));
    }

    #[test]
    fn shorter_epochs_make_fewer_tokens() {
        let params = Params {
            epoch_ms: 300_000,
            ..Params::default()
        };
        assert_eq!(
            params.reward_per_epoch_micro(),
            Params::default().reward_per_epoch_micro() / 12
        );
    }
}
