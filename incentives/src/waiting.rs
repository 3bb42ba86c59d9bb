//! What becomes of a word that nobody else could judge?
//!
//! Humidity and dangers last, and few can see them. A vehicle that was alone with such a word keeps it waiting: the
//! next time that others speak of the same road, it is compared with what they say, and scored in that epoch. After
//! [`Params::wait_epochs`] it lapses: it earns nothing and costs nothing. One word of a vehicle waits for each road
//! and kind, the latest.
//!
//! [`Params::wait_epochs`]: crate::params::Params::wait_epochs

use milepost_wire::output::Item;
use milepost_wire::time::{Epoch, Slot};
use milepost_wire::{Cell, KeyId, Kind};
use wincode::{SchemaRead, SchemaWrite};

use crate::sighting::Sighting;
use crate::state::State;

/// Whose word waits, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, SchemaWrite, SchemaRead)]
pub(crate) struct WaitKey {
    pub(crate) kind: Kind,
    pub(crate) cell: Cell,
    pub(crate) vehicle: KeyId,
}

/// A word that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(crate) struct Waiting {
    /// In which slot it was said.
    pub(crate) slot: Slot,
    /// What, how fresh, and by whom it was brought.
    pub(crate) sighting: Sighting,
    /// Its part of what one report is worth, in [`milepost_wire::state::Q`].
    pub(crate) share: u64,
}

/// Whether words on `kind` wait for company.
pub(crate) fn is_slow(kind: Kind) -> bool {
    matches!(kind, Kind::Humidity | Kind::Hazard)
}

/// Keeps a word until somebody can judge it.
pub(crate) fn keep(state: &mut State, item: Item, vehicle: KeyId, waiting: Waiting) {
    let (kind, cell) = (item.kind, item.cell);
    state
        .open
        .waiting
        .insert(WaitKey { kind, cell, vehicle }, waiting);
}

/// Those that wait for words on an item, and have not lapsed by then.
pub(crate) fn on(state: &State, item: Item) -> Vec<(KeyId, Waiting)> {
    let key = |vehicle| WaitKey {
        kind: item.kind,
        cell: item.cell,
        vehicle: KeyId(vehicle),
    };
    let waiting = state.open.waiting.range(key([0; 8])..=key([0xff; 8]));
    let waiting =
        waiting.filter(|(_, waiting)| waiting.slot < item.slot && !has_lapsed(state, waiting, item.slot));
    waiting.map(|(key, waiting)| (key.vehicle, *waiting)).collect()
}

/// Forgets a word that was judged.
pub(crate) fn forget(state: &mut State, item: Item, vehicle: KeyId) {
    let (kind, cell) = (item.kind, item.cell);
    state.open.waiting.remove(&WaitKey { kind, cell, vehicle });
}

fn has_lapsed(state: &State, waiting: &Waiting, slot: Slot) -> bool {
    let said = state.epoch_of_slot(waiting.slot).0;
    state.epoch_of_slot(slot).0 > said.saturating_add(state.params().wait_epochs)
}

/// Forgets what has lapsed when `epoch` is closed.
pub(crate) fn lapse(state: &mut State, epoch: Epoch) {
    let limit = state.params().wait_epochs;
    let lapsed: Vec<WaitKey> = state
        .open
        .waiting
        .iter()
        .filter(|(_, waiting)| epoch.0 >= state.epoch_of_slot(waiting.slot).0.saturating_add(limit))
        .map(|(key, _)| *key)
        .collect();
    for key in lapsed {
        state.open.waiting.remove(&key);
    }
}
