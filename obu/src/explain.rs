//! Why was this vehicle paid so much for this epoch?
//!
//! In: verified outputs. Out: every score of the epoch, the bonds that were at stake, the payment with the epoch's sums,
//! and whether the scores add up to it, to the last micro-token ([`adds_up`]). Several
//! units may show parts of it, or the same twice: an output counts once, by its block and its place there.
//!
//! The ledger reckons in [`Q`]ths; tables show decimals, JSON the ledger's own integers.
//!
//! Source: docs/adr on incentives; the terms are those of [`milepost_wire::output::Score`].

use std::collections::BTreeMap;
use std::fmt;

use milepost_wire::output::{Bond, EpochClosed, Fate, Output, Payment, Score};
use milepost_wire::payout::adds_up;
use milepost_wire::state::Q;
use milepost_wire::time::Epoch;
use milepost_wire::{Height, KeyId};
use serde::Serialize;

/// One vehicle's epoch, line by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    vehicle: KeyId,
    epoch: Epoch,
    /// By block and place, so that each counts once.
    scores: BTreeMap<(Height, u32), Score>,
    payment: Option<(Height, Payment)>,
    closed: Option<EpochClosed>,
    /// Bonds and quarantines, by block and place.
    events: BTreeMap<(Height, u32), Output>,
}

impl Explanation {
    /// Nothing is known yet.
    pub fn new(vehicle: KeyId, epoch: Epoch) -> Self {
        Self {
            vehicle,
            epoch,
            scores: BTreeMap::new(),
            payment: None,
            closed: None,
            events: BTreeMap::new(),
        }
    }

    /// Adds the output at `index` of the block at `height`, which was verified; what concerns another vehicle or
    /// epoch is left out.
    pub fn add(&mut self, height: Height, index: u32, output: &Output) {
        match output {
            Output::Score(score) if (score.vehicle, score.epoch) == (self.vehicle, self.epoch) => {
                self.scores.insert((height, index), *score);
            }
            Output::Payment(payment) if (payment.vehicle, payment.epoch) == (self.vehicle, self.epoch) => {
                self.payment = Some((height, *payment));
            }
            Output::EpochClosed(closed) if closed.epoch == self.epoch => self.closed = Some(*closed),
            Output::Bond(Bond { epoch, .. }) | Output::Quarantined { epoch, .. }
                if output.vehicle() == Some(self.vehicle) && *epoch == self.epoch =>
            {
                self.events.insert((height, index), output.clone());
            }
            _ => {}
        }
    }

    /// The scores, in the order of their blocks.
    pub fn scores(&self) -> impl ExactSizeIterator<Item = &Score> {
        self.scores.values()
    }

    /// The payment, once the epoch is over.
    pub fn payment(&self) -> Option<&Payment> {
        self.payment.as_ref().map(|(_, payment)| payment)
    }

    /// Whether nothing was shown.
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty() && self.payment.is_none() && self.events.is_empty()
    }

    /// The sum of the scores' points, in [`Q`].
    pub fn points(&self) -> i128 {
        self.scores.values().map(|score| i128::from(score.points)).sum()
    }

    /// Whether the payment follows from the scores and the epoch's sums, to the last micro-token. If not, something is
    /// missing: an honest ledger pays for no other reason.
    pub fn adds_up(&self) -> bool {
        let paid = self.payment().zip(self.closed.as_ref());
        paid.is_some_and(|(payment, closed)| adds_up(self.scores(), payment, closed))
    }
}

impl Serialize for Explanation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            vehicle: KeyId,
            epoch: Epoch,
            verified: bool,
            adds_up: bool,
            q: u64,
            points: i128,
            height: Option<Height>,
            payment: Option<&'a Payment>,
            sums: Option<&'a EpochClosed>,
            events: Vec<&'a Output>,
            scores: Vec<&'a Score>,
        }
        Shown {
            vehicle: self.vehicle,
            epoch: self.epoch,
            // Nothing else gets in.
            verified: true,
            adds_up: self.adds_up(),
            q: Q,
            points: self.points(),
            height: self.payment.map(|(height, _)| height),
            payment: self.payment(),
            sums: self.closed.as_ref(),
            events: self.events.values().collect(),
            scores: self.scores().collect(),
        }
        .serialize(serializer)
    }
}

/// As a table.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "vehicle {}, epoch {}: {} scores",
            self.vehicle,
            self.epoch,
            self.scores.len()
        )?;
        writeln!(
            f,
            "{:>6} {:16} {:10} {:>7} {:>7} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>8}",
            "slot",
            "cell",
            "kind",
            "value",
            "others",
            "a",
            "b",
            "kappa",
            "need",
            "share",
            "fresh",
            "worth",
            "points"
        )?;
        for score in self.scores() {
            writeln!(
                f,
                "{:>6} {:16} {:10} {:>7} {:>7} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>8}",
                score.item.slot,
                score.item.cell.to_string(),
                score.item.kind.to_string(),
                score.value,
                i64::from(score.before) + i64::from(score.others),
                decimal(score.agreement),
                decimal(score.anywhere),
                decimal(score.kappa),
                decimal(score.need),
                decimal(score.share),
                decimal(score.freshness),
                decimal(score.worth),
                decimal(score.points),
            )?;
        }
        writeln!(f, "{:>105}", format!("sum {}", fixed(self.points())))?;
        match self.payment() {
            None => writeln!(f, "no payment yet: the epoch is open, or nothing was paid")?,
            Some(payment) => {
                writeln!(
                    f,
                    "points {} + debt {}, times reputation {} ({}): useful {}",
                    decimal(payment.points),
                    decimal(payment.debt),
                    decimal(payment.reputation),
                    decimal(payment.multiplier),
                    fixed(i128::from(payment.useful)),
                )?;
                writeln!(
                    f,
                    "presence {} times {}: base {}",
                    fixed(i128::from(payment.presence)),
                    decimal(payment.multiplier),
                    fixed(i128::from(payment.base)),
                )?;
                if let Some(closed) = &self.closed {
                    let purse = &closed.purse;
                    writeln!(
                        f,
                        "by use: {} of {} useful points share {} tokens, at most {} a point",
                        fixed(i128::from(payment.useful)),
                        fixed(i128::from(closed.useful_total)),
                        purse.by_use,
                        purse.point_max,
                    )?;
                    writeln!(
                        f,
                        "by presence: {} of {} base points share {} tokens; at most {} for one vehicle",
                        fixed(i128::from(payment.base)),
                        fixed(i128::from(closed.base_total)),
                        purse.by_base,
                        purse.vehicle_max,
                    )?;
                }
                writeln!(
                    f,
                    "paid {} tokens: {} by use, {} by presence",
                    payment.amount, payment.by_use, payment.by_base
                )?;
            }
        }
        for event in self.events.values() {
            match event {
                Output::Bond(bond) => writeln!(
                    f,
                    "bond on {} in slot {}: {} tokens {}",
                    bond.item.cell,
                    bond.item.slot,
                    bond.amount,
                    match bond.fate {
                        Fate::Locked => "locked",
                        Fate::Returned => "returned",
                        Fate::Burned => "burned",
                        Fate::Awarded { .. } => "awarded, for driving by in silence",
                    }
                )?,
                Output::Quarantined { ground, slashed, .. } => {
                    writeln!(f, "quarantined ({ground:?}), {slashed} tokens slashed")?;
                }
                _ => {}
            }
        }
        write!(f, "verified: true, adds up: {}", self.adds_up())
    }
}

fn decimal(value: impl Into<i128>) -> String {
    fixed(value.into())
}

/// A number of [`Q`]ths with three decimals, rounded towards zero.
fn fixed(value: i128) -> String {
    let thousandths = value * 1000 / i128::from(Q);
    let sign = if thousandths < 0 { "-" } else { "" };
    let thousandths = thousandths.unsigned_abs();
    format!("{sign}{}.{:03}", thousandths / 1000, thousandths % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::Heads;
    use crate::light::LightClient;
    use crate::testing::{NOW, Town};
    use milepost_wire::output::Item;
    use milepost_wire::payout::Purse;
    use milepost_wire::time::Slot;
    use milepost_wire::{Amount, Cell, Kind};

    const VEHICLE: KeyId = KeyId([5; 8]);

    fn score(slot: u32, points: i64) -> Output {
        Output::Score(Score {
            epoch: Epoch(2),
            vehicle: VEHICLE,
            item: Item {
                slot: Slot(slot),
                cell: Cell::segment("a"),
                kind: Kind::Speed,
            },
            value: 1390,
            before: 1200,
            others: 180,
            known: 0,
            agreement: 65_536,
            anywhere: 32_768,
            quality: 32_768,
            groups: 3,
            kappa: 65_536,
            need: 131_072,
            share: 65_536,
            freshness: 60_000,
            worth: 120_000,
            points,
            presence: 120_000,
        })
    }

    fn payment(points: i64) -> Output {
        Output::Payment(Payment {
            epoch: Epoch(2),
            vehicle: VEHICLE,
            points,
            debt: 0,
            reputation: 65_536,
            multiplier: 65_536,
            useful: points as u64,
            presence: 240_000,
            base: 240_000,
            by_use: Amount::from_micro(1_500_000),
            by_base: Amount::from_micro(20),
            amount: Amount::from_micro(1_500_020),
        })
    }

    fn closed() -> Output {
        Output::EpochClosed(EpochClosed {
            epoch: Epoch(2),
            minted: Amount::from_micro(10_000_000),
            to_vehicles: Amount::from_micro(1_500_020),
            to_operators: Amount::ZERO,
            to_treasury: Amount::ZERO,
            carry: Amount::ZERO,
            purse: Purse {
                by_use: Amount::from_micro(3_000_000),
                by_base: Amount::from_micro(40),
                point_max: Amount::from_micro(9_000_000),
                vehicle_max: Amount::from_micro(9_000_000),
            },
            useful_total: 100_000,
            base_total: 480_000,
            payout_root: milepost_wire::Hash::ZERO,
        })
    }

    #[test]
    fn scores_add_up_to_the_payment_however_often_they_are_shown() {
        let town = Town::new(4);
        let mut light = LightClient::new(Heads::new(town.light(), 5));
        let scores = town.outputs_proof(3, &[score(1, 60_000), score(2, -10_000)]);
        let paid = town.outputs_proof(5, &[payment(50_000), closed()]);
        let proofs = [scores.clone(), paid, scores];
        let explanation = light.explanation(NOW, VEHICLE, Epoch(2), &proofs).unwrap();
        assert_eq!(explanation.scores().len(), 2);
        assert!(explanation.adds_up());

        let table = explanation.to_string();
        assert!(table.ends_with("verified: true, adds up: true"), "{table}");
        assert!(table.contains("paid 1.500020 tokens"), "{table}");
        let json = serde_json::to_value(&explanation).unwrap();
        assert_eq!(
            (&json["verified"], &json["adds_up"]),
            (&true.into(), &true.into())
        );
        assert_eq!(json["payment"]["amount"], "1.500020");
    }

    #[test]
    fn a_score_that_is_kept_back_shows() {
        let town = Town::new(4);
        let mut light = LightClient::new(Heads::new(town.light(), 5));
        let outputs = [score(1, 60_000), score(2, -10_000), payment(50_000), closed()];
        let whole = town.outputs_proof(2, &outputs);
        assert!(
            light
                .explanation(NOW, VEHICLE, Epoch(2), &[whole])
                .unwrap()
                .adds_up()
        );
        let mut proof = town.outputs_proof(3, &outputs);
        proof.outputs.remove(1);
        let explanation = light.explanation(NOW, VEHICLE, Epoch(2), &[proof]).unwrap();
        assert!(!explanation.adds_up());
    }

    #[test]
    fn other_vehicles_and_epochs_do_not_count() {
        let town = Town::new(4);
        let mut light = LightClient::new(Heads::new(town.light(), 5));
        let proof = town.outputs_proof(3, &[score(1, 60_000)]);
        assert!(
            light
                .explanation(NOW, KeyId([6; 8]), Epoch(2), std::slice::from_ref(&proof))
                .unwrap()
                .is_empty()
        );
        assert!(
            light
                .explanation(NOW, VEHICLE, Epoch(3), &[proof])
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_forged_score_is_refused() {
        let town = Town::new(4);
        let mut light = LightClient::new(Heads::new(town.light(), 5));
        let mut proof = town.outputs_proof(3, &[score(1, 60_000)]);
        proof.outputs[0].0 = score(1, 600_000);
        assert!(light.explanation(NOW, VEHICLE, Epoch(2), &[proof]).is_err());
    }

    #[test]
    fn fractions_are_shown_with_three_decimals() {
        assert_eq!(
            [fixed(65_536), fixed(-32_768), fixed(0), fixed(98_304)],
            ["1.000", "-0.500", "0.000", "1.500"]
        );
    }
}
