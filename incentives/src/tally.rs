//! How is a judged word written down?
//!
//! Once as a [`Score`], for everybody to read, and once into the tallies that the epoch's end turns into pay and
//! reputation: the vehicle's own, and what the roadside unit that brought it has served.

use milepost_wire::output::{Item, Output, Score};
use milepost_wire::time::Epoch;
use milepost_wire::{Address, KeyId};

use crate::fixed::{narrow, narrow_signed, times};
use crate::score::{self, Quality};
use crate::sighting::{ServedKey, TallyKey};
use crate::state::State;
use crate::truth::Opinion;

/// One vehicle's word, and how it fares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// The epoch that pays for it.
    pub(crate) epoch: Epoch,
    pub(crate) vehicle: KeyId,
    /// What it is on.
    pub(crate) item: Item,
    /// What it says, in the kind's unit.
    pub(crate) value: i64,
    /// What was known before, in the kind's unit.
    pub(crate) before: i64,
    /// What was published when it was heard: a difference from `before`, or a code.
    pub(crate) known: i64,
    /// What the others say; `None` where nobody could judge.
    pub(crate) others: Option<Opinion>,
    pub(crate) judged: Quality,
    /// How far the judgement goes into the record.
    pub(crate) certainty: u64,
    /// Fractions in [`milepost_wire::state::Q`].
    pub(crate) need: u64,
    pub(crate) share: u64,
    pub(crate) freshness: u64,
    /// The roadside unit that brought it.
    pub(crate) operator: Address,
}

/// Writes it down.
pub(crate) fn write(state: &mut State, line: &Line, outputs: &mut Vec<Output>) {
    let (epoch, vehicle) = (line.epoch, line.vehicle);
    let groups = line.others.map_or(0, |others| others.groups);
    let kappa = score::kappa(groups);
    let worth = score::worth(line.need, line.share, line.freshness, kappa);
    let points = score::points(worth, line.judged.quality);
    let least = state.params().reputation_base;
    let well_reputed = state
        .vehicle(&vehicle)
        .is_some_and(|vehicle| vehicle.standing.reputation() >= least);
    let presence = if well_reputed { worth } else { 0 };
    outputs.push(Output::Score(Score {
        epoch,
        vehicle,
        item: line.item,
        value: narrow_signed(line.value),
        before: narrow_signed(line.before),
        others: narrow_signed(line.others.map_or(0, |others| others.word)),
        known: narrow_signed(line.known),
        agreement: narrow_signed(line.judged.agreement),
        anywhere: narrow_signed(line.judged.anywhere),
        quality: narrow_signed(line.judged.quality),
        groups,
        kappa: narrow(kappa),
        need: narrow(line.need),
        share: narrow(line.share),
        freshness: narrow(line.freshness),
        worth: narrow(worth),
        points,
        presence: narrow(presence),
    }));

    let key = TallyKey { epoch, vehicle };
    let mut tally = state.open.tallies.get(&key).copied().unwrap_or_default();
    tally.points = tally.points.saturating_add(points);
    tally.base = tally.base.saturating_add(presence);
    tally.evaluated = tally.evaluated.saturating_add(u32::from(line.others.is_some()));
    let counts = |judged: bool| if judged { line.certainty } else { 0 };
    tally.good = tally.good.saturating_add(counts(line.judged.good));
    tally.bad = tally.bad.saturating_add(counts(line.judged.bad));
    state.open.tallies.insert(key, tally);

    if line.share > 0 {
        let operator = line.operator;
        let key = ServedKey { epoch, operator };
        let served = state.open.served.get(&key).copied().unwrap_or(0);
        let served = served.saturating_add(times(line.need, line.share));
        state.open.served.insert(key, served);
    }
}
