//! What came of a run, and what are its figures?
//!
//! In: pay, errors and quarantines, as [`super::bench`] notes them. Out: [`Figures`], in comparison with the same town
//! and seed without an attack.

use std::collections::{BTreeMap, BTreeSet};

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
}

impl Figure {
    /// All of them.
    pub const ALL: [Self; 12] = [
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
        }
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
