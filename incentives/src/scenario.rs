//! Does honesty pay in a town with liars?
//!
//! A hundred roads of two sorts whose speeds wander and sometimes jam, and three hundred vehicles that cross one
//! road a slot and report it once, driven straight through [`State::apply`]. The same town is run with honest
//! vehicles only, and with a fifth that report something else.

use std::collections::BTreeMap;

use milepost_wire::{KeyId, Kind, Output};

use crate::testing::{Town, cell, seen, speed};
use crate::{Audit, State};

const ROADS: usize = 100;
const VEHICLES: usize = 300;
/// Fewer where signing is slow.
const EPOCHS: u64 = if cfg!(debug_assertions) { 6 } else { 20 };

/// What the others do while the honest report what they see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    /// Report 25 km/h too little.
    Bias,
    /// Report what was published last.
    Copy,
    /// Report the mean of the sort of road.
    Mean,
    /// Report 25 km/h too little one time in five.
    Sometimes,
}

impl Attack {
    /// What an attacker says who sees `seen` on `road`, in cm/s.
    fn say(self, state: &State, dice: &mut Dice, road: usize, seen: i64) -> i64 {
        let low = seen - 694;
        match self {
            Self::Bias => low,
            Self::Copy => state
                .road(cell(road), Kind::Speed)
                .map_or(mean(road), |road| road.value.into()),
            Self::Mean => mean(road),
            Self::Sometimes if dice.below(5) == 0 => low,
            Self::Sometimes => seen,
        }
    }
}

/// What roads of this one's sort are like, in cm/s: 60 or 35 km/h.
fn mean(road: usize) -> i64 {
    if road % 5 < 2 { 1_667 } else { 972 }
}

/// A small generator with a known future (xorshift64*), for the world only.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Roughly normal: a sum of twelve uniforms.
    fn normal(&mut self, deviation: i64) -> i64 {
        let sum: i64 = (0..12).map(|_| self.below(1000) as i64).sum();
        (sum - 6_000) * deviation / 1_000
    }
}

/// Roads whose speeds wander, in cm/s.
struct World {
    usual: Vec<i64>,
    off: Vec<i64>,
    jammed: Vec<u64>,
}

impl World {
    fn new(dice: &mut Dice) -> Self {
        let usual = (0..ROADS).map(|road| mean(road) + dice.normal(139));
        Self {
            usual: usual.collect(),
            off: vec![0; ROADS],
            jammed: vec![0; ROADS],
        }
    }

    fn step(&mut self, dice: &mut Dice) {
        for road in 0..ROADS {
            self.off[road] = self.off[road] * 85 / 100 + dice.normal(83);
            self.jammed[road] = match self.jammed[road] {
                0 if dice.below(100) == 0 => 4 + dice.below(11),
                slots => slots.saturating_sub(1),
            };
        }
    }

    fn speed(&self, road: usize) -> i64 {
        let free = self.usual[road] + self.off[road];
        let speed = if self.jammed[road] > 0 {
            free * 4 / 10
        } else {
            free
        };
        speed.max(83)
    }
}

/// What a run came to.
#[derive(Debug)]
struct Summary {
    honest_mean: u64,
    liar_mean: u64,
    /// Mean absolute error of the published speeds, in mm/s.
    error: i64,
    quarantined_liars: usize,
    quarantined_honest: usize,
}

fn run(liars: usize, attack: Attack) -> Summary {
    let town = Town::new(VEHICLES as u64);
    let params = town.genesis.params.clone();
    let mut state = State::genesis(&town.genesis);
    let mut audit = Audit::new(&params);
    let mut dice = Dice(7);
    let mut world = World::new(&mut dice);
    let mut truth = BTreeMap::new();
    let (mut error, mut estimates) = (0i64, 0i64);

    // Four slots more, so that the last epoch is closed.
    let slots = EPOCHS * params.slots_per_epoch();
    for slot in 0..slots + 4 {
        world.step(&mut dice);
        let now = town.at(slot * params.slot_ms + params.slot_ms - 1);
        let mut reports = Vec::new();
        for vehicle in 0..VEHICLES {
            let road = (dice.below(ROADS as u64).min(dice.below(ROADS as u64))) as usize;
            let honest = world.speed(road) + dice.normal(83);
            let said = if vehicle < liars {
                attack.say(&state, &mut dice, road, honest)
            } else {
                honest
            };
            if slot < slots && dice.below(10) < 6 {
                let place = seen(cell(road), 0, speed(said));
                reports.push(town.report(vehicle, slot, now, vec![place]));
            }
        }
        for road in 0..ROADS {
            truth.insert((slot as u32, cell(road)), world.speed(road));
        }
        let outputs = town.block(&mut state, now, &reports);
        assert_eq!(state.check(), Ok(()));
        assert_eq!(audit.read(&outputs), Ok(()));
        state.seal();
        for output in outputs {
            if let Output::Estimate(estimate) = output {
                let real = truth[&(estimate.item.slot.0, estimate.item.cell)];
                error += (i64::from(estimate.value) - real).abs() * 10;
                estimates += 1;
            }
        }
    }
    let liar_ids: Vec<KeyId> = town.keys[..liars].iter().map(|key| key.key_id()).collect();
    let pay = |liar: bool| {
        let group = state.vehicles().filter(|(id, _)| liar_ids.contains(id) == liar);
        let pay: Vec<u64> = group.map(|(_, vehicle)| vehicle.earned.micro()).collect();
        pay.iter().sum::<u64>() / (pay.len() as u64).max(1)
    };
    let quarantined = |liar: bool| {
        let group = state.vehicles().filter(|(id, _)| liar_ids.contains(id) == liar);
        group.filter(|(_, vehicle)| vehicle.quarantine.is_some()).count()
    };
    Summary {
        honest_mean: pay(false),
        liar_mean: pay(true),
        error: error / estimates.max(1),
        quarantined_liars: quarantined(true),
        quarantined_honest: quarantined(false),
    }
}

#[test]
fn honesty_pays_and_liars_do_not_spoil_the_picture() {
    let (clean, attacked) = (run(0, Attack::Bias), run(60, Attack::Bias));
    println!("clean {clean:?}\nattacked {attacked:?}");
    assert!(clean.honest_mean > EPOCHS * 1_000_000, "honest vehicles are paid");
    assert!(attacked.honest_mean >= 20 * attacked.liar_mean, "{attacked:?}");
    assert!(attacked.error * 2 <= clean.error * 3, "{clean:?} {attacked:?}");
    assert!(attacked.quarantined_liars >= 54, "{attacked:?}");
    assert!(attacked.quarantined_honest <= 6, "{attacked:?}");
}

#[test]
#[cfg_attr(debug_assertions, ignore = "signing is slow without optimisation")]
fn copying_guessing_and_lying_now_and_then_pay_less() {
    for (attack, times) in [(Attack::Copy, 3), (Attack::Mean, 3), (Attack::Sometimes, 5)] {
        let summary = run(60, attack);
        println!("{attack:?} {summary:?}");
        assert!(
            summary.honest_mean >= times * summary.liar_mean,
            "{attack:?} {summary:?}"
        );
    }
}
