//! What came of a run, and what are its figures?
//!
//! In: pay, errors and quarantines, as [`super::bench`] notes them. Out: [`Figures`], in comparison with the same town
//! and seed without an attack.

use std::collections::{BTreeMap, BTreeSet};

use milepost_wire::Address;
use serde::Serialize;

use super::bench::lied_about;
use crate::crew::{self, Company};
use crate::figures;

/// A figure of an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// What an honest vehicle is paid, over what an attacking one is. From the attack on, like all pay.
    PayRatio,
    /// Tokens that an attacking vehicle is paid an epoch.
    AttackerPay,
    /// What an attacking vehicle is paid over what it is paid where it has one key.
    PayAgainstOneKey,
    /// Tokens that an attacking vehicle gains by all its keys but the first, less what is frozen in quarantine.
    Net,
    /// The picture's mean absolute error, over the same without an attack.
    Error,
    /// The same on the roads that are lied about.
    ErrorThere,
    /// Epochs until half of the attackers were ever in quarantine.
    QuarantinedAfter,
    /// The share of attacking vehicles that are in quarantine at the end.
    AttackersQuarantined,
    /// The share of honest vehicles that are in quarantine at the end.
    HonestQuarantined,
    /// The share of honest vehicles that ever were.
    HonestEverQuarantined,
    /// The Gini coefficient of honest vehicles' pay.
    Gini,
    /// How often an invented danger is on the map while it is claimed.
    Believed,
    /// What the first insider is paid as an operator, over the same without an attack.
    OperatorPay,
    /// What a rival's vehicle is paid, over the same without an attack.
    RivalPay,
}

impl Figure {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::PayRatio,
        Self::AttackerPay,
        Self::PayAgainstOneKey,
        Self::Net,
        Self::Error,
        Self::ErrorThere,
        Self::QuarantinedAfter,
        Self::AttackersQuarantined,
        Self::HonestQuarantined,
        Self::HonestEverQuarantined,
        Self::Gini,
        Self::Believed,
        Self::OperatorPay,
        Self::RivalPay,
    ];

    /// As targets name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PayRatio => "honest : attacker",
            Self::AttackerPay => "pay",
            Self::PayAgainstOneKey => "against one key",
            Self::Net => "net",
            Self::Error => "error",
            Self::ErrorThere => "error there",
            Self::QuarantinedAfter => "quarantined after",
            Self::AttackersQuarantined => "attackers in quarantine",
            Self::HonestQuarantined => "honest in quarantine",
            Self::HonestEverQuarantined => "honest ever in quarantine",
            Self::Gini => "Gini",
            Self::Believed => "believed",
            Self::OperatorPay => "its operator's pay",
            Self::RivalPay => "rivals' pay",
        }
    }
}

/// What a run came to, where there is something to say.
pub type Figures = BTreeMap<Figure, f64>;

/// A ratio over nothing, or an epoch that never came: more than any target.
pub const NEVER: f64 = f64::INFINITY;

/// What is noted of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    honest: Vec<usize>,
    /// The attackers' first keys.
    attackers: Vec<usize>,
    is_attack: bool,
    has_several_keys: bool,
    lied_about: Option<Vec<usize>>,
    /// By vehicle, in micro-tokens, since the attack began.
    paid: BTreeMap<usize, u64>,
    /// By further keys, in micro-tokens.
    paid_further: u64,
    /// What attackers' quarantines froze, in micro-tokens.
    frozen: u64,
    /// Who ever was in quarantine, since which epoch under attack.
    ever: BTreeMap<usize, u32>,
    /// Who is.
    held: BTreeSet<usize>,
    errors: Vec<(f64, u32)>,
    /// Invented dangers, and how many of them were on the map.
    invented: (u32, u32),
    /// Members that do not mean well ...
    insiders: Vec<Address>,
    /// ... and the vehicles that they mean.
    rivals: Vec<usize>,
    /// By operator, in micro-tokens, since the attack began.
    operators: BTreeMap<Address, u64>,
}

impl Outcome {
    pub(super) fn new(companies: &[Company], company_of: &[usize], roads: usize) -> Self {
        let sensors = crew::sensors(companies);
        let first_keys = |is_honest: bool| -> Vec<usize> {
            (0..company_of.len())
                .filter(|key| !sensors.contains(key))
                .filter(|&key| {
                    let company = &companies[company_of[key]];
                    (company.name == "honest") == is_honest && company.vehicle_of(key) == key
                })
                .collect()
        };
        let attackers = companies
            .iter()
            .find(|company| !matches!(company.name.as_str(), "honest" | "anchor"));
        Self {
            honest: first_keys(true),
            attackers: first_keys(false),
            is_attack: attackers.is_some(),
            has_several_keys: attackers.is_some_and(|company| company.behaviour.keys() > 1),
            lied_about: attackers.and_then(|company| lied_about(&company.behaviour, roads)),
            paid: BTreeMap::new(),
            paid_further: 0,
            frozen: 0,
            ever: BTreeMap::new(),
            held: BTreeSet::new(),
            errors: vec![(0.0, 0); roads],
            invented: (0, 0),
            insiders: Vec::new(),
            rivals: Vec::new(),
            operators: BTreeMap::new(),
        }
    }

    /// Has these members looked at, and the vehicles that they mean.
    pub(super) fn watch_insiders(&mut self, insiders: Vec<Address>, rivals: Vec<usize>) {
        (self.insiders, self.rivals) = (insiders, rivals);
    }

    pub(super) fn pay_operator(&mut self, operator: Address, micro: u64) {
        *self.operators.entry(operator).or_default() += micro;
    }

    pub(super) fn pay(&mut self, key: usize, vehicle: usize, micro: u64, is_under_attack: bool) {
        if !is_under_attack {
            return;
        }
        *self.paid.entry(vehicle).or_default() += micro;
        if key != vehicle {
            self.paid_further += micro;
        }
    }

    pub(super) fn quarantine(&mut self, key: usize, after: Option<u32>, frozen: u64) {
        self.ever.entry(key).or_insert(after.unwrap_or(0));
        self.held.insert(key);
        if !self.honest.contains(&key) {
            self.frozen += frozen;
        }
    }

    pub(super) fn release(&mut self, key: usize) {
        self.held.remove(&key);
    }

    pub(super) fn err(&mut self, road: usize, error_kmh: f64) {
        let (sum, count) = &mut self.errors[road];
        (*sum, *count) = (*sum + error_kmh, *count + 1);
    }

    pub(super) fn invent(&mut self, is_believed: bool) {
        self.invented.0 += 1;
        self.invented.1 += u32::from(is_believed);
    }

    /// The mean absolute error over these roads, in km/h.
    fn error_kmh(&self, roads: impl Iterator<Item = usize>) -> f64 {
        let (sum, count) = roads
            .map(|road| self.errors[road])
            .fold((0.0, 0), |(sum, all), (more, count)| (sum + more, all + count));
        sum / f64::from(count.max(1))
    }

    /// The picture's mean absolute error, in km/h.
    pub fn error_all_kmh(&self) -> f64 {
        self.error_kmh(0..self.errors.len())
    }

    /// Tokens, on average over these vehicles.
    fn mean_pay(&self, vehicles: &[usize]) -> f64 {
        let paid = vehicles.iter().filter_map(|vehicle| self.paid.get(vehicle));
        figures::tokens(paid.sum()) / vehicles.len().max(1) as f64
    }

    /// In comparison with the same town without an attack, over so many epochs.
    pub fn figures(&self, clean: &Self, epochs: u32) -> Figures {
        let share = |keys: &[usize], of: &dyn Fn(&usize) -> bool| {
            keys.iter().filter(|key| of(key)).count() as f64 / keys.len().max(1) as f64
        };
        let is_held = |key: &usize| self.held.contains(key);
        let honest = self.honest.iter().map(|vehicle| {
            let paid = self.paid.get(vehicle).copied().unwrap_or(0);
            figures::tokens(paid)
        });
        let mut all = Figures::from([
            (Figure::Error, self.error_all_kmh() / clean.error_all_kmh()),
            (Figure::HonestQuarantined, share(&self.honest, &is_held)),
            (
                Figure::HonestEverQuarantined,
                share(&self.honest, &|key| self.ever.contains_key(key)),
            ),
            (Figure::Gini, figures::gini(honest)),
        ]);
        if let Some(first) = self.insiders.first() {
            let paid = |outcome: &Self| outcome.operators.get(first).map_or(0.0, |micro| *micro as f64);
            all.insert(Figure::OperatorPay, paid(self) / paid(clean));
            let rivals = |outcome: &Self| outcome.mean_pay(&self.rivals);
            all.insert(Figure::RivalPay, rivals(self) / rivals(clean));
        }
        if !self.is_attack {
            return all;
        }
        let (honest, attacker) = (self.mean_pay(&self.honest), self.mean_pay(&self.attackers));
        all.insert(
            Figure::PayRatio,
            if attacker > 0.0 { honest / attacker } else { NEVER },
        );
        all.insert(Figure::AttackerPay, attacker / f64::from(epochs));
        all.insert(Figure::AttackersQuarantined, share(&self.attackers, &is_held));
        let mut after: Vec<f64> = self
            .attackers
            .iter()
            .map(|key| self.ever.get(key).map_or(NEVER, |epoch| f64::from(*epoch)))
            .collect();
        all.insert(Figure::QuarantinedAfter, median(&mut after));
        if let Some(roads) = &self.lied_about {
            let there = |outcome: &Self| outcome.error_kmh(roads.iter().copied());
            all.insert(Figure::ErrorThere, there(self) / there(clean));
        }
        if self.has_several_keys {
            all.insert(
                Figure::PayAgainstOneKey,
                attacker / clean.mean_pay(&self.attackers),
            );
            let net = figures::tokens(self.paid_further) - figures::tokens(self.frozen);
            all.insert(Figure::Net, net / self.attackers.len().max(1) as f64);
        }
        if self.invented.0 > 0 {
            let (all_of_them, believed) = self.invented;
            all.insert(Figure::Believed, f64::from(believed) / f64::from(all_of_them));
        }
        all
    }
}

/// The middle one; of two, the lower.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len().saturating_sub(1) / 2;
    values.get(middle).copied().unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crew::{Sensor, company_of, muster};
    use crate::scenario::Scenario;

    /// Ten vehicles in a town of four roads, of which so many behave so.
    fn outcome(fleet: &str) -> Outcome {
        let fleet = match fleet {
            "" => String::new(),
            fleet => format!("[[fleet]]\ncount = 4\nbehaviour = \"{fleet}\"\n"),
        };
        let text = format!("[world]\nkind = \"grid\"\n{fleet}");
        let scenario = Scenario::parse(&text, "test").expect("a scenario");
        let companies = muster(&scenario.fleet, 10, Sensor::GRID, 1).expect("enough");
        Outcome::new(&companies, &company_of(&companies, 10), 4)
    }

    #[test]
    fn pay_counts_from_the_attack_on_and_by_vehicle() {
        let mut outcome = outcome("bias");
        for (key, micro) in outcome.honest.clone().into_iter().zip([6_000_000; 6]) {
            outcome.pay(key, key, micro, true);
            outcome.pay(key, key, 1_000_000, false);
        }
        outcome.pay(outcome.attackers[0], outcome.attackers[0], 2_000_000, true);
        let figures = outcome.figures(&outcome, 5);
        assert_eq!(
            figures[&Figure::PayRatio],
            12.0,
            "6 tokens against 2 over 4 vehicles"
        );
        assert_eq!(figures[&Figure::AttackerPay], 0.1, "of an epoch");
        assert_eq!(figures[&Figure::Gini], 0.0, "of the honest alone");
    }

    #[test]
    fn who_is_paid_nothing_is_beyond_every_ratio() {
        let mut outcome = outcome("bias");
        let honest = outcome.honest[0];
        outcome.pay(honest, honest, 1, true);
        assert_eq!(outcome.figures(&outcome, 1)[&Figure::PayRatio], NEVER);
    }

    #[test]
    fn errors_are_compared_with_the_town_without_the_attack_on_the_roads_lied_about() {
        let (mut attacked, mut clean) = (outcome("collude_cell"), outcome(""));
        let there = attacked.lied_about.clone().expect("one road")[0];
        for road in 0..4 {
            clean.err(road, 2.0);
            attacked.err(road, if road == there { 10.0 } else { 2.0 });
        }
        let figures = attacked.figures(&clean, 1);
        assert_eq!(
            (figures[&Figure::Error], figures[&Figure::ErrorThere]),
            (2.0, 5.0)
        );
    }

    #[test]
    fn held_is_who_was_not_released_and_half_of_the_attackers_say_when() {
        let mut outcome = outcome("bias");
        let (honest, attackers) = (outcome.honest.clone(), outcome.attackers.clone());
        outcome.quarantine(honest[0], Some(1), 0);
        outcome.release(honest[0]);
        outcome.quarantine(attackers[0], Some(2), 0);
        let figures = outcome.figures(&outcome, 9);
        assert_eq!(figures[&Figure::HonestQuarantined], 0.0);
        assert_eq!(figures[&Figure::HonestEverQuarantined], 1.0 / 6.0);
        assert_eq!(figures[&Figure::AttackersQuarantined], 0.25);
        assert_eq!(
            figures[&Figure::QuarantinedAfter],
            NEVER,
            "one of four is no half"
        );
        outcome.quarantine(attackers[1], Some(7), 0);
        assert_eq!(outcome.figures(&outcome, 9)[&Figure::QuarantinedAfter], 7.0);
    }

    #[test]
    fn further_keys_are_worth_what_they_earn_less_what_is_frozen() {
        let (mut outcome, mut clean) = (outcome("sybil"), outcome(""));
        let first = outcome.attackers[0];
        clean.pay(first, first, 4_000_000, true);
        outcome.pay(first, first, 3_000_000, true);
        outcome.pay(100, first, 2_000_000, true);
        outcome.quarantine(100, Some(1), 6_000_000);
        let figures = outcome.figures(&clean, 1);
        assert_eq!(figures[&Figure::PayAgainstOneKey], 1.25);
        assert_eq!(figures[&Figure::Net], -1.0, "2 less 6, over 4 vehicles");
    }

    #[test]
    fn an_insider_is_measured_against_itself_and_its_rivals_against_themselves() {
        let (mut outcome, mut clean) = (outcome(""), outcome(""));
        let member = Address([1; 20]);
        outcome.watch_insiders(vec![member], vec![0, 1]);
        outcome.pay_operator(member, 30);
        clean.pay_operator(member, 20);
        clean.pay(0, 0, 8, true);
        outcome.pay(0, 0, 2, true);
        let figures = outcome.figures(&clean, 1);
        assert_eq!(
            (figures[&Figure::OperatorPay], figures[&Figure::RivalPay]),
            (1.5, 0.25)
        );
        assert!(
            !figures.contains_key(&Figure::PayRatio),
            "nobody on the road attacks"
        );
    }

    #[test]
    fn the_median_of_an_even_number_is_the_lower_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0, NEVER]), 2.0);
        assert_eq!(median(&mut []), NEVER);
    }
}
