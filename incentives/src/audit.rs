//! Do the ledger's outputs add up?
//!
//! Reads outputs block by block as anyone outside can, and checks them against the rules' promises without the
//! state: a report counts once, a word is scored once, points are worth times quality, a payment's points are
//! the sum of its scores', and an epoch's payments are its sums. What a payment rests on is so explained line
//! by line.
//!
//! For tests, simulations and doubters: it remembers the names of all reports that ever counted.

use std::collections::{BTreeMap, BTreeSet};

use milepost_wire::output::{Bond, EpochClosed, Fate, Item, Outcome, Output, Payment, Score};
use milepost_wire::payout;
use milepost_wire::time::Epoch;
use milepost_wire::{Address, Amount, Change, KeyId, Sequence};

use crate::epoch::{Service, split, split_operators};
use crate::fixed::{narrow, times};
use crate::membership;
use crate::params::Params;
use crate::{score, supply};

/// What has been seen so far.
#[derive(Clone, Debug)]
pub struct Audit {
    params: Params,
    counted: BTreeSet<(KeyId, Sequence)>,
    scored: BTreeSet<(Epoch, KeyId, Item)>,
    points: BTreeMap<(Epoch, KeyId), i64>,
    presence: BTreeMap<(Epoch, KeyId), u64>,
    payments: Vec<Payment>,
    services: Vec<Service>,
    to_operators: Vec<u64>,
    /// Members that were ever sentenced.
    sentenced: BTreeSet<Address>,
    /// Members that enough others complained of, and of which epoch that may cost them a share.
    withheld: BTreeMap<Address, Epoch>,
    /// What operators forfeited of the epoch that is being closed, in micro-tokens.
    forfeited: u64,
    bonds: BTreeMap<(KeyId, Item), u64>,
    carry: u64,
    next_epoch: Epoch,
}

/// What does not add up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsound {
    /// A report that counted twice.
    #[error("report {sequence} of {vehicle} counted twice")]
    CountedTwice {
        /// Whose.
        vehicle: KeyId,
        /// Which.
        sequence: Sequence,
    },
    /// A word that was scored twice.
    #[error("the word of {vehicle} on {item:?} was scored twice")]
    ScoredTwice {
        /// Whose.
        vehicle: KeyId,
        /// On what.
        item: Item,
    },
    /// A score whose lines do not lead to its points.
    #[error("a score gives {found} points, its lines {expected}: {score:?}")]
    Score {
        /// What its lines give.
        expected: i64,
        /// What it says.
        found: i64,
        /// The score.
        score: Box<Score>,
    },
    /// A payment for other points than were scored.
    #[error("{vehicle} was scored {scored} points and paid for {paid}")]
    Points {
        /// Whose.
        vehicle: KeyId,
        /// The sum of its scores.
        scored: i64,
        /// The payment's points.
        paid: i64,
    },
    /// A payment that the rules would not have made.
    #[error("the rules pay {expected:?}, the ledger {found:?}")]
    Payment {
        /// By the rules.
        expected: Box<Payment>,
        /// By the ledger.
        found: Box<Payment>,
    },
    /// An operator's share that the rules would not have given.
    #[error("operator {operator} is owed {expected} micro-tokens and was paid {found}")]
    Operator {
        /// Who.
        operator: Address,
        /// By the rules.
        expected: u64,
        /// By the ledger.
        found: u64,
    },
    /// A share that is forfeited without a sentence or complaints.
    #[error("operator {operator} forfeits {amount} micro-tokens and was not sentenced")]
    Forfeit {
        /// Who.
        operator: Address,
        /// How much.
        amount: u64,
    },
    /// More out of a bond than was in it.
    #[error("{locked} micro-tokens are bonded, found {bond:?}")]
    Bond {
        /// What is said to have moved.
        bond: Box<Bond>,
        /// What was there.
        locked: u64,
    },
    /// Sums that are not what they are sums of.
    #[error("epoch {epoch}: {what} is {found}, expected {expected}")]
    Sum {
        /// Which epoch.
        epoch: Epoch,
        /// Which sum.
        what: &'static str,
        /// What it should be.
        expected: u64,
        /// What it is.
        found: u64,
    },
}

impl Audit {
    /// From genesis on.
    pub fn new(params: &Params) -> Self {
        Self {
            params: params.clone(),
            counted: BTreeSet::new(),
            scored: BTreeSet::new(),
            points: BTreeMap::new(),
            presence: BTreeMap::new(),
            payments: Vec::new(),
            services: Vec::new(),
            to_operators: Vec::new(),
            sentenced: BTreeSet::new(),
            withheld: BTreeMap::new(),
            forfeited: 0,
            bonds: BTreeMap::new(),
            carry: 0,
            next_epoch: Epoch(0),
        }
    }

    /// Reads the outputs of the next block.
    ///
    /// # Errors
    ///
    /// The first thing that does not add up.
    pub fn read(&mut self, outputs: &[Output]) -> Result<(), Unsound> {
        for output in outputs {
            match output {
                Output::Receipt(receipt) => {
                    let (vehicle, sequence) = (receipt.vehicle, receipt.sequence);
                    let counts = matches!(receipt.outcome, Outcome::Counted);
                    if counts && !self.counted.insert((vehicle, sequence)) {
                        return Err(Unsound::CountedTwice { vehicle, sequence });
                    }
                }
                Output::Score(score) => self.read_score(score)?,
                Output::Payment(payment) => self.payments.push(*payment),
                &Output::OperatorPayment {
                    operator,
                    served,
                    reputation,
                    amount,
                    ..
                } => {
                    self.services.push(Service {
                        operator,
                        served,
                        reputation,
                    });
                    self.to_operators.push(amount.micro());
                }
                Output::EpochClosed(closed) => self.read_epoch(closed)?,
                Output::Sentenced { member, .. } => drop(self.sentenced.insert(*member)),
                Output::Withheld { epoch, member, .. } => drop(self.withheld.insert(*member, *epoch)),
                &Output::Forfeited {
                    epoch,
                    operator,
                    amount,
                } => self.read_forfeit(epoch, operator, amount)?,
                Output::Transacted { .. }
                | Output::Estimate(_)
                | Output::Quarantined { .. }
                | Output::Released { .. } => {}
                Output::Bond(bond) => self.read_bond(bond)?,
                Output::Enacted {
                    change, done: true, ..
                } => self.follow(change),
                Output::Enacted { done: false, .. } => {}
            }
        }
        Ok(())
    }

    /// Nobody forfeits anything but what was its own, and after a sentence or complaints.
    fn read_forfeit(&mut self, epoch: Epoch, operator: Address, amount: Amount) -> Result<(), Unsound> {
        let withholds = self.params.withheld_forfeit_bps > 0 && self.withheld.get(&operator) == Some(&epoch);
        let is_guilty = withholds || self.sentenced.contains(&operator);
        let last = self.services.last().map(|service| service.operator);
        match self.to_operators.last_mut() {
            Some(paid) if last == Some(operator) && is_guilty => {
                *paid = paid.saturating_add(amount.micro());
                self.forfeited = self.forfeited.saturating_add(amount.micro());
                Ok(())
            }
            _ => Err(Unsound::Forfeit {
                operator,
                amount: amount.micro(),
            }),
        }
    }

    /// What is locked comes out again, all of it and no more.
    fn read_bond(&mut self, bond: &Bond) -> Result<(), Unsound> {
        let key = (bond.claimant, bond.item);
        let locked = self.bonds.get(&key).copied().unwrap_or(0);
        let amount = bond.amount.micro();
        let left = match bond.fate {
            Fate::Locked => locked.checked_add(amount).filter(|_| locked == 0),
            Fate::Returned | Fate::Burned | Fate::Awarded { .. } => locked.checked_sub(amount),
        };
        match left {
            None => {
                return Err(Unsound::Bond {
                    bond: Box::new(*bond),
                    locked,
                });
            }
            Some(0) => self.bonds.remove(&key),
            Some(left) => self.bonds.insert(key, left),
        };
        Ok(())
    }

    /// From the next block on the rules run with other numbers.
    fn follow(&mut self, change: &Change) {
        // A sentence goes along with its member.
        if let Some((from, to)) = membership::renamed(change) {
            if self.sentenced.remove(&from) {
                self.sentenced.insert(to);
            }
            if let Some(epoch) = self.withheld.remove(&from) {
                self.withheld.insert(to, epoch);
            }
        }
        if let Change::SetParams(settings) = change
            && let Ok(params) = self.params.with(settings)
        {
            self.params = params;
        }
    }

    fn read_score(&mut self, score: &Score) -> Result<(), Unsound> {
        let (epoch, vehicle, item) = (score.epoch, score.vehicle, score.item);
        if !self.scored.insert((epoch, vehicle, item)) {
            return Err(Unsound::ScoredTwice { vehicle, item });
        }
        let worth = score::worth(
            score.need.into(),
            score.share.into(),
            score.freshness.into(),
            score.kappa.into(),
        );
        let expected = score::points(worth, score.quality.into());
        if expected != score.points || narrow(worth) != score.worth {
            return Err(Unsound::Score {
                expected,
                found: score.points,
                score: Box::new(*score),
            });
        }
        let points = self.points.entry((epoch, vehicle)).or_default();
        *points = points.saturating_add(expected);
        let presence = self.presence.entry((epoch, vehicle)).or_default();
        *presence = presence.saturating_add(score.presence.into());
        Ok(())
    }

    fn read_epoch(&mut self, closed: &EpochClosed) -> Result<(), Unsound> {
        let epoch = closed.epoch;
        let payments = std::mem::take(&mut self.payments);
        let services = std::mem::take(&mut self.services);
        let to_operators = std::mem::take(&mut self.to_operators);
        let forfeited = std::mem::take(&mut self.forfeited);
        let reward = supply::rewards(&self.params, self.next_epoch, Epoch(epoch.0.saturating_add(1)));
        // With payments there is one epoch, and what was carried was carried to it.
        let pool = self.carry + reward.vehicles;

        let mut expected = payments.clone();
        for payment in &mut expected {
            let vehicle = payment.vehicle;
            let scored = self.points.remove(&(epoch, vehicle)).unwrap_or(0);
            if scored != payment.points {
                let paid = payment.points;
                return Err(Unsound::Points {
                    vehicle,
                    scored,
                    paid,
                });
            }
            payment.useful = payout::useful(payment.debt, payment.points, payment.multiplier);
            payment.presence = self.presence.remove(&(epoch, vehicle)).unwrap_or(0);
            payment.base = if payment.useful > 0 {
                times(payment.presence, payment.multiplier.into())
            } else {
                0
            };
            if payment.multiplier != 0 {
                payment.multiplier = payment.reputation;
            }
        }
        let split = split(&self.params, pool, reward.vehicles, &mut expected);
        for (expected, found) in expected.into_iter().zip(payments) {
            if expected != found {
                let (expected, found) = (Box::new(expected), Box::new(found));
                return Err(Unsound::Payment { expected, found });
            }
        }
        let owed = split_operators(&self.params, reward.operators, &services);
        for ((service, expected), found) in services.iter().zip(owed).zip(&to_operators) {
            if expected != *found {
                return Err(Unsound::Operator {
                    operator: service.operator,
                    expected,
                    found: *found,
                });
            }
        }
        let to_operators: u64 = to_operators.iter().sum();
        let carry = pool - split.paid + reward.operators - to_operators.min(reward.operators);
        let same = |what, expected: u64, found: Amount| {
            let found = found.micro();
            if expected == found {
                Ok(())
            } else {
                Err(Unsound::Sum {
                    epoch,
                    what,
                    expected,
                    found,
                })
            }
        };
        same("minted", reward.minted, closed.minted)?;
        same("to_treasury", reward.treasury + forfeited, closed.to_treasury)?;
        same("to_operators", to_operators - forfeited, closed.to_operators)?;
        same("to_vehicles", split.paid, closed.to_vehicles)?;
        same("carry", carry, closed.carry)?;
        self.carry = carry;
        self.next_epoch = Epoch(epoch.0.saturating_add(1));
        self.scored.retain(|&(scored_in, _, _)| scored_in > epoch);
        Ok(())
    }
}
