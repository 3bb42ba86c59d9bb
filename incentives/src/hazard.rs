//! Is there a danger, who said so first, and what does a false alarm cost?
//!
//! Who sees a danger claims it. Who drives by afterwards and claims nothing says so by silence: a vehicle that is
//! heard on a road with an open claim, or with a danger on the map, counts as a voice for *none* (code 0). A danger
//! comes onto the map, and leaves it, by the weighted plurality of claims and silence, and only on the word of two
//! groups; a roadside sensor counts as three, and is never silent.
//!
//! A claim locks a bond, from what has not vested first, then from the account. Who can pay neither claims without
//! one, and without the double pay. When the item is settled the claim is
//!
//! - *confirmed* where its cause is what two groups agree on: the bond goes back, and the first bonded group earns double;
//! - *contradicted* where it was news, the plurality says otherwise, and three other groups drove by in silence within a
//!   slot after it, which weigh more than all who claimed the same by then: half of the bond is burned, half goes to
//!   those who drove by;
//! - else *unseen*: the bond goes back, and the word waits for company ([`crate::waiting`]).
//!
//! So that silence can be told from absence, drivings-by are remembered from the claim until its item is settled. Dangers
//! are cleared away: who drives by later than a slot after the last claim says nothing of what was claimed.
//!
//! Not covered: vehicles that cannot see dangers. They are silent, too; where they are many, true claims need as many
//! witnesses (docs/adr/0011-rule-set.md).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use milepost_wire::output::{Bond, Fate, Item, Output};
use milepost_wire::state::Ground;
use milepost_wire::time::{Epoch, Slot};
use milepost_wire::{Amount, Cell, KeyId, Kind, Role, Timestamp};
use wincode::{SchemaRead, SchemaWrite};

use crate::quarantine::{self, Moment};
use crate::sighting::Spot;
use crate::state::{State, sum};
use crate::truth::{Opinion, Voice};
use crate::vesting;

/// Whose claim or driving-by, where and in which slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, SchemaWrite, SchemaRead)]
pub(crate) struct DangerKey {
    pub(crate) cell: Cell,
    pub(crate) slot: Slot,
    pub(crate) vehicle: KeyId,
}

/// A road on which somebody drove by, and in which slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, SchemaWrite, SchemaRead)]
pub(crate) struct WatchKey {
    pub(crate) slot: Slot,
    pub(crate) cell: Cell,
}

/// What a claim has at stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(crate) struct Claim {
    /// When the danger was first seen.
    at: Timestamp,
    from_unvested: Amount,
    from_balance: Amount,
}

impl Claim {
    /// What is locked.
    pub(crate) fn bond(&self) -> Amount {
        sum(self.from_unvested, self.from_balance)
    }
}

/// A vehicle's claims that were contradicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(crate) struct FalseClaims {
    count: u8,
    /// The epoch of the latest.
    latest: Epoch,
}

impl FalseClaims {
    /// With another one in `epoch`. Those before count where the latest of them is not as old as `kept` epochs.
    fn and_another(self, epoch: Epoch, kept: u32) -> Self {
        let is_kept = epoch.0.saturating_sub(self.latest.0) < kept.max(1);
        let before = if is_kept { self.count } else { 0 };
        Self {
            count: before.saturating_add(1),
            latest: self.latest.max(epoch),
        }
    }
}

/// What an observation that was taken in tells about dangers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) key: DangerKey,
    pub(crate) at: Timestamp,
    /// Whether it is a claim; else a driving-by.
    pub(crate) is_claim: bool,
}

/// A vehicle that drove by and claimed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Silent {
    voice: Voice,
    /// When; of each slot the latest time.
    passes: Vec<Timestamp>,
}

/// A claim on an item's road, in its slot or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    voice: Voice,
    /// When the danger was first seen in its slot.
    at: Timestamp,
}

/// Who came by a road on which a danger is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Company {
    silent: Vec<Silent>,
    said: Vec<Said>,
    /// How long after a claim silence speaks against it.
    slot_ms: u64,
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Confirmed(Opinion),
    Contradicted(Opinion),
    Unseen,
}

fn of_slots(cell: Cell, slots: RangeInclusive<Slot>) -> RangeInclusive<DangerKey> {
    let key = |slot, vehicle| DangerKey {
        cell,
        slot,
        vehicle: KeyId(vehicle),
    };
    key(*slots.start(), [0; 8])..=key(*slots.end(), [0xff; 8])
}

/// Takes in what a block's reports tell: claims first, whatever the order.
pub(crate) fn hear(state: &mut State, now: Timestamp, heard: &[Heard]) -> Vec<Output> {
    let (claims, passes): (Vec<_>, Vec<_>) = heard.iter().partition(|heard| heard.is_claim);
    let bonds = claims
        .into_iter()
        .filter_map(|heard| claim(state, heard))
        .collect();
    for heard in passes {
        pass(state, now, heard);
    }
    bonds
}

/// Remembers a claim, and locks its bond.
fn claim(state: &mut State, heard: &Heard) -> Option<Output> {
    if let Some(mut known) = state.open.claims.get(&heard.key).copied() {
        known.at = known.at.min(heard.at);
        state.open.claims.insert(heard.key, known);
        return None;
    }
    let (from_unvested, from_balance) = lock(state, &heard.key.vehicle);
    let claim = Claim {
        at: heard.at,
        from_unvested,
        from_balance,
    };
    state.open.claims.insert(heard.key, claim);
    (claim.bond() > Amount::ZERO).then(|| moved(state, &heard.key, Fate::Locked, claim.bond()))
}

/// Takes the bond from the vehicle: all of it, or nothing.
fn lock(state: &mut State, id: &KeyId) -> (Amount, Amount) {
    let (none, wanted, now) = (
        (Amount::ZERO, Amount::ZERO),
        Amount::from_micro(state.params().hazard_bond_micro),
        state.books().epoch,
    );
    let free = state
        .vehicle(id)
        .is_some_and(|vehicle| vehicle.quarantine.is_none() && vehicle.role == Role::Vehicle);
    let Some(address) = state.vehicle_address(id).filter(|_| free) else {
        return none;
    };
    vesting::settle(state, id, now);
    let unvested = state.vehicle(id).map_or(Amount::ZERO, |vehicle| vehicle.unvested);
    let from_unvested = wanted.min(unvested);
    let mut account = state.account(&address);
    let rest = wanted.checked_sub(from_unvested).unwrap_or(Amount::ZERO);
    let Some(balance) = account.balance.checked_sub(rest) else {
        return none;
    };
    if rest > Amount::ZERO {
        account.balance = balance;
        state.accounts.insert(address, account);
    }
    (vesting::take(state, id, from_unvested, now), rest)
}

/// Remembers who drove by an open danger.
fn pass(state: &mut State, now: Timestamp, heard: &Heard) {
    let DangerKey { cell, slot, vehicle } = heard.key;
    let everywhen = of_slots(cell, Slot(0)..=Slot(u32::MAX));
    let is_open = state.open.claims.range(everywhen).next().is_some()
        || state.road(cell, Kind::Hazard).is_some_and(|road| road.value != 0);
    let drives = state
        .vehicle(&vehicle)
        .is_some_and(|vehicle| vehicle.quarantine.is_none() && vehicle.role == Role::Vehicle);
    // What is told late of a slot whose dangers are settled changes nothing.
    if !is_open || !drives || state.slot_due(slot, Kind::Hazard) <= now {
        return;
    }
    let known = state.open.passes.get(&heard.key).copied();
    let latest = known.map_or(heard.at, |known| known.max(heard.at));
    state.open.passes.insert(heard.key, latest);
    state.open.watched.insert(WatchKey { slot, cell }, ());
}

/// The roads on which somebody drove by in `slot`.
pub(crate) fn watched(state: &State, slot: Slot) -> BTreeSet<Cell> {
    let key = |cell| WatchKey {
        slot,
        cell: Cell::from_bits(cell),
    };
    let watched = state.open.watched.range(key(0)..=key(u64::MAX));
    watched.map(|(key, ())| key.cell).collect()
}

/// Who came by. Where something is claimed of the item, those who drove by in silence after the first claim count, until a
/// slot after the last one or until now; else those of the slot.
pub(crate) fn company(state: &State, item: Item) -> Company {
    let own_slot = of_slots(item.cell, item.slot..=item.slot);
    let first_claim = state.open.claims.range(own_slot).map(|(_, claim)| claim.at).min();
    let until = match first_claim {
        Some(_) => state.slot_of(state.slot_due(item.slot, Kind::Hazard)),
        None => item.slot,
    };
    let slots = of_slots(item.cell, item.slot..=until);
    let slot_ms = state.params().slot_ms;
    let claims = state.open.claims.range(slots.clone());
    let said: Vec<Said> = claims
        .filter_map(|(key, claim)| said(state, key, claim))
        .collect();
    let claimants: BTreeSet<KeyId> = said.iter().map(|said| said.voice.vehicle).collect();
    let last_claim = said.iter().map(|said| said.at).max();
    let mut passes: BTreeMap<KeyId, Vec<Timestamp>> = BTreeMap::new();
    for (key, &at) in state.open.passes.range(slots) {
        let is_after = first_claim.is_none_or(|first| at > first);
        let is_soon = last_claim.is_none_or(|last| at <= last.plus(slot_ms));
        if is_after && is_soon && !claimants.contains(&key.vehicle) {
            passes.entry(key.vehicle).or_default().push(at);
        }
    }
    let silent = passes.into_iter().filter_map(|(id, passes)| {
        let voice = voice(state, id, 0)?;
        Some(Silent { voice, passes })
    });
    Company {
        silent: silent.filter(|silent| silent.voice.weight > 0).collect(),
        said,
        slot_ms,
    }
}

/// An open claim, with what it says.
fn said(state: &State, key: &DangerKey, claim: &Claim) -> Option<Said> {
    let spot = Spot {
        kind: Kind::Hazard,
        slot: key.slot,
        cell: key.cell,
        vehicle: key.vehicle,
    };
    let word = state.open.sightings.get(&spot)?.value();
    Some(Said {
        voice: voice(state, key.vehicle, word)?,
        at: claim.at,
    })
}

/// A vehicle's, unless it was revoked; a sensor weighs nothing here, for it is weighed against the vehicles.
fn voice(state: &State, id: KeyId, word: i64) -> Option<Voice> {
    let vehicle = state.vehicle(&id).filter(|vehicle| !vehicle.revoked)?;
    let weight = match vehicle.role {
        Role::Vehicle => crate::reputation::weight(&vehicle.standing, vehicle.quarantine.is_some()),
        _ => 0,
    };
    Some(Voice {
        vehicle: id,
        group: vehicle.group,
        word,
        weight,
        speaks: weight,
        anchor: false,
    })
}

impl Company {
    /// Those who were silent, as voices for *none*.
    pub(crate) fn silent(&self) -> impl Iterator<Item = Voice> {
        self.silent.iter().map(|silent| silent.voice)
    }

    /// One vehicle of each group that contradicts a vehicle's claim on the item: they drove by in silence until a slot after
    /// its last word of it, and weigh more than all who claimed the same by then. Nobody, where they don't.
    fn contradicting(&self, claimant: KeyId) -> BTreeMap<u64, KeyId> {
        let own = |said: &&Said| said.voice.vehicle == claimant;
        let (Some(first), Some(last)) = (self.said.iter().find(own), self.said.iter().rfind(own)) else {
            return BTreeMap::new();
        };
        let end = last.at.plus(self.slot_ms);
        let alike = self
            .said
            .iter()
            .filter(|said| said.voice.word == first.voice.word && said.at <= end);
        let in_favour: BTreeMap<KeyId, u64> = alike
            .map(|said| (said.voice.vehicle, said.voice.weight))
            .collect();
        let against = self.silent.iter().filter(|silent| {
            let speaks = |pass: &Timestamp| *pass > first.at && *pass <= end;
            silent.voice.group != first.voice.group && silent.passes.iter().any(speaks)
        });
        let mut weight = 0u64;
        let mut by_group = BTreeMap::new();
        for silent in against {
            weight = weight.saturating_add(silent.voice.weight);
            by_group.entry(silent.voice.group).or_insert(silent.voice.vehicle);
        }
        if weight > in_favour.into_values().fold(0, u64::saturating_add) {
            by_group
        } else {
            BTreeMap::new()
        }
    }
}

/// What may be published of the plurality: what two groups say, or what is on the map. That there is no danger is no
/// news where none was known of.
pub(crate) fn agreed(voices: &[Voice], plurality: Opinion, before: i64, is_known: bool) -> Option<Opinion> {
    let two = judges(voices, plurality.word, None) >= 2;
    let is_news = plurality.word != 0 || is_known;
    (is_news && (two || plurality.word == before)).then_some(plurality)
}

/// As how many the groups judge that say `word`, one group left out.
fn judges(voices: &[Voice], word: i64, left_out: Option<u64>) -> u32 {
    let mut groups: BTreeMap<u64, u32> = BTreeMap::new();
    for voice in voices {
        if voice.weight > 0 && voice.word == word && Some(voice.group) != left_out {
            let known = groups.entry(voice.group).or_default();
            *known = voice.judges().max(*known);
        }
    }
    groups.values().sum()
}

/// What becomes of the claim `own` where the plurality of all voices is `plurality`.
pub(crate) fn verdict(
    voices: &[Voice],
    own: &Voice,
    company: &Company,
    plurality: Option<Opinion>,
    before: i64,
) -> Verdict {
    let word = plurality.map(|plurality| plurality.word);
    let others = judges(voices, own.word, Some(own.group));
    if word == Some(own.word) {
        return match others {
            0 => Verdict::Unseen,
            groups => Verdict::Confirmed(Opinion {
                word: own.word,
                groups,
            }),
        };
    }
    let groups = company.contradicting(own.vehicle).len() as u32;
    if own.word != before && groups >= GROUPS_AGAINST {
        Verdict::Contradicted(Opinion { word: 0, groups })
    } else {
        Verdict::Unseen
    }
}

/// What others say of a claim that nobody confirmed in its own slot: something only where they agree with it.
pub(crate) fn confirmed_late(voices: &[Voice], own: &Voice, outcome: Option<Opinion>) -> Option<Opinion> {
    let outcome = outcome.filter(|outcome| outcome.word == own.word)?;
    let groups = judges(voices, own.word, Some(own.group));
    (groups > 0).then_some(Opinion { groups, ..outcome })
}

/// So many groups that drove by contradict a claim.
const GROUPS_AGAINST: u32 = 3;

/// Whether a vehicle has a claim open on an item.
pub(crate) fn is_claimed(state: &State, item: Item, vehicle: KeyId) -> bool {
    state.open.claims.get(&key(item, vehicle)).is_some()
}

/// The group that earns double: that of the earliest bonded claim that was confirmed.
pub(crate) fn first_group<'a>(
    state: &State,
    item: Item,
    confirmed: impl Iterator<Item = &'a Voice>,
) -> Option<u64> {
    let bonded = confirmed.filter_map(|voice| {
        let claim = state.open.claims.get(&key(item, voice.vehicle))?;
        (claim.bond() > Amount::ZERO).then_some((claim.at, voice.group))
    });
    bonded.min().map(|(_, group)| group)
}

fn key(item: Item, vehicle: KeyId) -> DangerKey {
    DangerKey {
        cell: item.cell,
        slot: item.slot,
        vehicle,
    }
}

fn moved(state: &State, key: &DangerKey, fate: Fate, amount: Amount) -> Output {
    Output::Bond(Bond {
        epoch: state.epoch_of_slot(key.slot),
        claimant: key.vehicle,
        item: Item {
            slot: key.slot,
            cell: key.cell,
            kind: Kind::Hazard,
        },
        fate,
        amount,
    })
}

/// Gives the bonds of an item back, or to whom they are due, and forgets its claims and drivings-by. Claims without
/// a verdict (of vehicles revoked meanwhile) are unseen.
pub(crate) fn close(
    state: &mut State,
    item: Item,
    verdicts: &BTreeMap<KeyId, Verdict>,
    company: &Company,
) -> Vec<Output> {
    let slots = of_slots(item.cell, item.slot..=item.slot);
    let claims: Vec<(DangerKey, Claim)> = state
        .open
        .claims
        .range(slots.clone())
        .map(|(key, claim)| (*key, *claim))
        .collect();
    let mut outputs = Vec::new();
    for (key, claim) in claims {
        state.open.claims.remove(&key);
        if claim.bond() == Amount::ZERO {
            continue;
        }
        if let Some(Verdict::Contradicted(_)) = verdicts.get(&key.vehicle) {
            forfeit(state, &key, claim.bond(), company, &mut outputs);
        } else {
            give_back(state, &key, &claim);
            outputs.push(moved(state, &key, Fate::Returned, claim.bond()));
        }
    }
    let passes: Vec<DangerKey> = state.open.passes.range(slots).map(|(key, _)| *key).collect();
    for key in passes {
        state.open.passes.remove(&key);
    }
    let (slot, cell) = (item.slot, item.cell);
    state.open.watched.remove(&WatchKey { slot, cell });
    outputs
}

fn give_back(state: &mut State, key: &DangerKey, claim: &Claim) {
    // Not the open epoch: which that is when a slot is settled depends on how often blocks are made.
    let now = state.epoch_of_slot(key.slot);
    vesting::put_back(state, &key.vehicle, claim.from_unvested, now);
    if let Some(address) = state
        .vehicle_address(&key.vehicle)
        .filter(|_| claim.from_balance > Amount::ZERO)
    {
        state.credit(address, claim.from_balance);
    }
}

/// Half of the bond is burned, half goes in equal parts to the groups that contradict; what does not divide is burned,
/// too. The second such claim is a ground for quarantine, unless the first is as long ago as pay takes to vest: whoever
/// drives for years imagines something twice.
fn forfeit(state: &mut State, key: &DangerKey, bond: Amount, company: &Company, outputs: &mut Vec<Output>) {
    let witnesses = company.contradicting(key.vehicle);
    let bond = bond.micro();
    let part = (bond / 2) / (witnesses.len() as u64).max(1);
    let mut burned = bond;
    for to in witnesses.into_values() {
        let Some(address) = state.vehicle_address(&to).filter(|_| part > 0) else {
            continue;
        };
        state.credit(address, Amount::from_micro(part));
        burned -= part;
        outputs.push(moved(state, key, Fate::Awarded { to }, Amount::from_micro(part)));
    }
    state.burn(Amount::from_micro(burned));
    outputs.push(moved(state, key, Fate::Burned, Amount::from_micro(burned)));

    let (epoch, ground) = (state.epoch_of_slot(key.slot), Ground::FalseHazard);
    let before = state.open.false_claims.get(&key.vehicle).copied();
    let claims = before
        .unwrap_or_default()
        .and_another(epoch, state.params().vest_epochs);
    state.open.false_claims.insert(key.vehicle, claims);
    if u32::from(claims.count) >= state.params().false_claims_max {
        let at = state.slot_due(key.slot, Kind::Hazard);
        let imposed = quarantine::impose(state, key.vehicle, ground, epoch, Moment { at, epoch });
        outputs.extend(imposed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{Params, PerKind};
    use crate::testing::{Town, cell, seen, speed};
    use crate::{Audit, replay};
    use milepost_wire::output::Score;
    use milepost_wire::state::{Ground, Q};
    use milepost_wire::time::Epoch;
    use milepost_wire::{Measure, Observation};

    const BOND: u64 = 100_000;
    /// A broken-down vehicle.
    const CAUSE: u8 = 94;
    /// Slots of 20 s; claims of slot 0 are settled at 40 s, of slot 1 at 60 s.
    const SETTLED: [u64; 2] = [40_000, 60_000];

    /// Eight trusted vehicles that own a bond each, and a ledger that is read along.
    struct Story {
        town: Town,
        state: State,
        audit: Audit,
        outputs: Vec<Output>,
    }

    impl Story {
        fn new(bonds: bool) -> Self {
            let town = Town::with(
                8,
                Params {
                    slot_ms: 20_000,
                    epoch_ms: 40_000,
                    freshness_ms: PerKind {
                        speed: 10_000,
                        congestion: 10_000,
                        humidity: 30_000,
                        hazard: 20_000,
                    },
                    ..Params::default()
                },
            );
            let mut state = State::genesis(&town.genesis);
            for key in &town.keys {
                let mut vehicle = state.vehicle(&key.key_id()).expect("enrolled").clone();
                (vehicle.standing.good, vehicle.standing.bad) = (9 * Q, Q);
                state.vehicles.insert(key.key_id(), vehicle);
                if bonds {
                    let bond = Amount::from_micro(BOND);
                    state.credit(key.address(), bond);
                    let mut books = state.books();
                    books.minted = sum(books.minted, bond);
                    state.books.insert((), books);
                }
            }
            Self {
                audit: Audit::new(&town.genesis.params),
                town,
                state,
                outputs: Vec::new(),
            }
        }

        /// At `ms`, vehicles are heard on road 0, some of which claim a danger.
        fn hear(&mut self, ms: u64, vehicles: &[usize], claims: bool) {
            let now = self.town.at(ms);
            let mut told: Vec<Observation> = vec![seen(cell(0), 0, speed(1_400))];
            if claims {
                told.push(seen(cell(0), 0, Measure::Hazard(CAUSE)));
            }
            let reports: Vec<_> = vehicles
                .iter()
                .map(|&vehicle| self.town.report(vehicle, ms, now, told.clone()))
                .collect();
            let outputs = self.town.block(&mut self.state, now, &reports);
            assert_eq!(self.state.check(), Ok(()), "at {ms} ms");
            let read = self.audit.read(&outputs);
            // The first tokens come from nowhere, and the audit sees the epochs alone.
            assert_eq!(read, Ok(()), "at {ms} ms");
            self.outputs.extend(outputs);
        }

        fn balance(&self, vehicle: usize) -> u64 {
            let address = self.town.keys[vehicle].address();
            self.state.account(&address).balance.micro()
        }

        /// The cause of danger on the map, if any was ever published.
        fn map(&self) -> Option<i32> {
            self.state.road(cell(0), Kind::Hazard).map(|road| road.value)
        }

        fn score(&self, vehicle: usize) -> Option<&Score> {
            let id = self.town.keys[vehicle].key_id();
            self.outputs.iter().find_map(|output| match output {
                Output::Score(score) if score.vehicle == id && score.item.kind == Kind::Hazard => Some(score),
                _ => None,
            })
        }

        fn is_quarantined(&self, vehicle: usize) -> bool {
            let id = self.town.keys[vehicle].key_id();
            self.state
                .vehicle(&id)
                .is_some_and(|vehicle| vehicle.quarantine.is_some())
        }

        fn nothing_is_left(&self) {
            let open = &self.state.open;
            assert_eq!(open.claims.iter().count(), 0);
            assert_eq!(open.passes.iter().count(), 0);
            assert_eq!(open.watched.iter().count(), 0);
        }
    }

    #[test]
    fn two_groups_put_a_danger_on_the_map_and_the_first_earns_double() {
        let mut story = Story::new(true);
        story.hear(1_000, &[0], true);
        assert_eq!(story.balance(0), 0, "locked");
        story.hear(2_000, &[1, 2], true);
        story.hear(3_000, &[3], false);
        story.hear(SETTLED[0], &[], false);
        assert_eq!(story.map(), Some(CAUSE.into()));
        assert_eq!([0, 1, 2, 3].map(|vehicle| story.balance(vehicle)), [BOND; 4]);
        let (first, second) = (story.score(0).expect("scored"), story.score(1).expect("scored"));
        assert_eq!(first.need, 2 * second.need);
        assert!(
            second.points > 0 && first.points > second.points,
            "{first:?} {second:?}"
        );
        assert_eq!(story.score(3), None, "silence earns nothing");
    }

    #[test]
    fn a_danger_that_three_groups_drove_by_costs_the_bond() {
        let mut story = Story::new(true);
        story.hear(1_000, &[0], true);
        // Two in its own slot, one in the next.
        story.hear(2_000, &[1, 2], false);
        story.hear(20_500, &[3], false);
        story.hear(SETTLED[0], &[], false);
        assert_eq!(story.map(), None, "nobody heard of it");
        assert_eq!(story.balance(0), 0);
        let part = BOND / 2 / 3;
        assert_eq!([1, 2, 3].map(|vehicle| story.balance(vehicle)), [BOND + part; 3]);
        let burned = story.state.books().burned.micro();
        assert_eq!(burned, BOND - 3 * part, "half, and what three cannot share");
        assert!(
            story.score(0).is_some_and(|score| score.points < 0),
            "{:?}",
            story.score(0)
        );
        assert!(!story.is_quarantined(0), "once may be a mistake");
    }

    /// A false alarm of vehicle 0 at the beginning, and one `later` ms later.
    fn two_false_alarms(later: u64) -> Story {
        let mut story = Story::new(true);
        // It can pay twice.
        story
            .state
            .credit(story.town.keys[0].address(), Amount::from_micro(BOND));
        let mut books = story.state.books();
        books.minted = sum(books.minted, Amount::from_micro(BOND));
        story.state.books.insert((), books);
        for begin in [0, later] {
            story.hear(begin + 1_000, &[0], true);
            story.hear(begin + 2_000, &[1, 2, 3], false);
        }
        story.hear(later + SETTLED[0], &[], false);
        assert_eq!(story.balance(0), 0, "both bonds are lost");
        story
    }

    #[test]
    fn the_second_false_alarm_is_a_ground_for_quarantine_within_the_time_that_pay_takes_to_vest() {
        let params = Params::default();
        let vested = u64::from(params.vest_epochs) * 40_000;
        assert!(two_false_alarms(vested - 20_000).is_quarantined(0));
        assert!(!two_false_alarms(vested).is_quarantined(0));
        let story = two_false_alarms(20_000);
        assert!(story.is_quarantined(0));
        let id = story.town.keys[0].key_id();
        let ground = |output: &Output| match output {
            Output::Quarantined { vehicle, ground, .. } if *vehicle == id => Some(*ground),
            _ => None,
        };
        assert_eq!(story.outputs.iter().find_map(ground), Some(Ground::FalseHazard));
        story.nothing_is_left();
    }

    #[test]
    fn two_witnesses_are_too_few_to_contradict() {
        let mut story = Story::new(true);
        story.hear(1_000, &[0], true);
        story.hear(2_000, &[1, 2], false);
        story.hear(SETTLED[0], &[], false);
        assert_eq!((story.balance(0), story.score(0)), (BOND, None), "unseen");
    }

    #[test]
    fn who_drives_by_once_it_may_have_been_cleared_does_not_contradict() {
        let mut story = Story::new(true);
        story.hear(1_000, &[0], true);
        story.hear(2_000, &[1, 2], false);
        // Before the claim is settled, and more than a slot after it.
        story.hear(21_500, &[3, 4, 5], false);
        story.hear(SETTLED[0], &[], false);
        assert_eq!((story.balance(0), story.score(0)), (BOND, None), "unseen");
    }

    #[test]
    fn a_danger_that_was_cleared_before_it_is_settled_was_there() {
        let mut story = Story::new(true);
        story.hear(1_000, &[0, 1], true);
        story.hear(21_500, &[2, 3, 4], false);
        story.hear(SETTLED[0], &[], false);
        assert_eq!(story.map(), Some(CAUSE.into()));
        assert_eq!([0, 1].map(|vehicle| story.balance(vehicle)), [BOND; 2]);
        story.hear(SETTLED[1], &[], false);
        assert_eq!(story.map(), Some(0), "by those who came later");
        story.nothing_is_left();
    }

    #[test]
    fn a_claim_that_others_repeat_in_the_next_slot_falls_to_more_than_those() {
        for (silent, left) in [(&[3, 4, 5][..], BOND), (&[3, 4, 5, 6], 0)] {
            let mut story = Story::new(true);
            story.hear(15_000, &[0], true);
            story.hear(21_000, &[1, 2], true);
            story.hear(22_000, silent, false);
            story.hear(SETTLED[0], &[], false);
            assert_eq!(story.balance(0), left, "against {silent:?}");
        }
    }

    #[test]
    fn who_drove_by_before_the_claim_does_not_contradict_it() {
        let mut story = Story::new(true);
        story.hear(1_000, &[1, 2, 3], false);
        story.hear(2_000, &[0], true);
        story.hear(SETTLED[0], &[], false);
        assert_eq!((story.balance(0), story.map()), (BOND, None));
    }

    #[test]
    fn a_danger_is_off_the_map_once_two_groups_drove_by() {
        let mut story = Story::new(true);
        story.hear(1_000, &[0, 1], true);
        story.hear(SETTLED[0], &[], false);
        assert_eq!(story.map(), Some(CAUSE.into()));
        story.hear(41_000, &[2], false);
        story.hear(80_000, &[], false);
        assert_eq!(story.map(), Some(CAUSE.into()), "one is not enough");
        story.hear(81_000, &[2, 3], false);
        story.hear(120_000, &[], false);
        assert_eq!(story.map(), Some(0));
        story.nothing_is_left();
    }

    #[test]
    fn who_cannot_pay_claims_without_a_bond_and_without_double_pay() {
        let mut story = Story::new(false);
        story.hear(1_000, &[0], true);
        story.hear(2_000, &[1, 2], true);
        story.hear(SETTLED[0], &[], false);
        assert_eq!(story.map(), Some(CAUSE.into()));
        assert_eq!(
            story.score(0).map(|score| score.need),
            story.score(1).map(|score| score.need)
        );
        assert!(
            !story
                .outputs
                .iter()
                .any(|output| matches!(output, Output::Bond(_)))
        );
    }

    #[test]
    fn a_bond_comes_out_of_what_has_not_vested_and_goes_back_there() {
        let mut story = Story::new(false);
        let id = story.town.keys[0].key_id();
        let mut books = story.state.books();
        books.minted = Amount::from_micro(BOND);
        story.state.books.insert((), books);
        vesting::pay(&mut story.state, &id, Amount::from_micro(BOND), Epoch(0));
        let unvested = |story: &Story| story.state.vehicle(&id).map(|vehicle| vehicle.unvested.micro());
        story.hear(1_000, &[0], true);
        assert_eq!((unvested(&story), story.balance(0)), (Some(0), 0));
        story.hear(SETTLED[0], &[], false);
        assert_eq!((unvested(&story), story.balance(0)), (Some(BOND), 0));
    }

    #[test]
    fn a_claim_that_nobody_could_judge_waits_for_company() {
        let mut story = Story::new(true);
        story.hear(1_000, &[0], true);
        story.hear(SETTLED[0], &[], false);
        assert_eq!(story.score(0), None);
        story.hear(41_000, &[1, 2], true);
        story.hear(80_000, &[], false);
        let score = story.score(0).expect("scored now");
        assert!(score.points > 0 && score.item.slot == Slot(0), "{score:?}");
        assert_eq!(story.state.open.waiting.iter().count(), 0);
    }

    #[test]
    fn a_claim_lapses_in_the_end() {
        let mut story = Story::new(true);
        story.hear(1_000, &[0], true);
        story.hear(400_000, &[1, 2], true);
        story.hear(500_000, &[], false);
        assert_eq!(story.score(0), None);
        assert!(story.score(1).is_some());
        assert_eq!(story.state.open.waiting.iter().count(), 0);
    }

    #[test]
    fn a_repeated_claim_locks_one_bond() {
        let mut story = Story::new(true);
        for ms in [1_000, 2_000, 3_000] {
            story.hear(ms, &[0], true);
        }
        let locked = story
            .outputs
            .iter()
            .filter(|output| matches!(output, Output::Bond(_)));
        assert_eq!(locked.count(), 1);
    }

    /// The negative control: a claim that is heard twice would be the bond's end, were it locked twice.
    #[test]
    fn a_report_that_comes_twice_locks_one_bond() {
        let mut story = Story::new(true);
        replay::broken::during(|| {
            let now = story.town.at(1_000);
            let told = vec![seen(cell(0), 0, Measure::Hazard(CAUSE))];
            let report = story.town.report(0, 1, now, told);
            for _ in 0..2 {
                story
                    .town
                    .block(&mut story.state, now, std::slice::from_ref(&report));
            }
        });
        assert_eq!(story.state.open.claims.iter().count(), 1);
        assert_eq!(story.state.check(), Ok(()));
    }
}
