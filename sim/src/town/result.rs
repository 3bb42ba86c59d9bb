//! What is the sum of it all?
//!
//! In: a town at the end of its run. Out: [`Played`].

use std::collections::{BTreeMap, BTreeSet};

use milepost_node::ledger::Ledger;
use milepost_node::store::Store as _;
use milepost_obu::finality::Finality;
use milepost_wire::output::Outcome;
use milepost_wire::state::Q;
use milepost_wire::{Cell, Hash, Height};

use super::disk::Disk;
use super::member::Member;
use super::{Played, Town};
use crate::figures::{
    self, Figures, Item, LedgerFigures, MemberFigures, Published, ReportFigures, RewardFigures, VehicleRow,
};

/// cm/s in km/h.
const KMH: f64 = 0.036;

impl Town<'_> {
    pub(super) fn result(mut self) -> Played {
        self.replay();
        let items = self.items();
        let beside = self.rows_beside();
        let mut picture = figures::picture(&items, self.world.truth_min_vehicle_s);
        self.judge_beside(&beside, &mut picture);
        let vehicles = self.rows();
        let companies: Vec<_> = self
            .companies
            .iter()
            .map(|company| (company.name.clone(), company.vehicles.clone()))
            .collect();
        let minutes = self.world.duration_ms as f64 / 60_000.0;
        let figures = Figures {
            seed: self.seed,
            minutes: figures::round(minutes),
            vehicles: vehicles.len(),
            members: self.units().iter().map(member_figures).collect(),
            reports: self.reports(),
            picture,
            fleets: figures::fleets(&vehicles, &companies),
            insiders: self.insiders(&vehicles.iter().map(|vehicle| vehicle.paid).collect::<Vec<_>>()),
            rewards: self.rewards(&vehicles),
            ledger: self.ledger(),
            faults: self.struck.clone(),
            invariants: self.watch.invariants,
            state_root: self.newest.state_root(),
        };
        Played {
            figures,
            items,
            beside,
            vehicles,
            worst_round: self.watch.worst_round,
            changes: self.watch.changes,
            decisions: self.watch.decisions,
            jailed: self.watch.jailed,
            complaints: self.watch.complaints,
            withheld: self.withheld(),
            broken: self.watch.broken,
        }
    }

    /// The machines that the ledger has recorded for withholding, under any of their names.
    fn withheld(&self) -> Vec<usize> {
        let state = self.newest.state();
        let is_recorded = |unit: &usize| self.names(*unit).any(|name| state.withheld(&name).is_some());
        (0..self.units).filter(is_recorded).collect()
    }

    /// The members and who may become one, without their twins.
    fn units(&self) -> &[Member] {
        &self.members[..self.units]
    }

    /// Executes the whole chain once more, on a ledger that has seen nothing.
    fn replay(&mut self) {
        if let Err(what) = self.replayed() {
            self.watch
                .broken(|held| &mut held.replay_equal, format!("replay: {what}"));
        }
    }

    fn replayed(&self) -> Result<(), String> {
        let height = self.newest.height();
        let full = |disk: &Disk| disk.block(height).ok().flatten().is_some();
        let disk = self
            .members
            .iter()
            .map(|member| member.disk())
            .find(|disk| full(disk));
        let Some(disk) = disk.filter(|_| height > Height::ZERO) else {
            return Ok(());
        };
        let mut ledger = Ledger::genesis(&self.genesis);
        for height in (1..=height.0).map(Height) {
            let read = disk.block(height).map_err(|error| error.to_string())?;
            let (block, _) = read.ok_or_else(|| format!("block {height} is missing"))?;
            let batches = block
                .body
                .batches
                .iter()
                .map(|named| self.batches.get(&named.digest).cloned());
            let batches = batches
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| format!("a batch of block {height} is missing"))?;
            let executed = ledger
                .judge(&block, &batches)
                .map_err(|error| format!("block {height}: {error}"))?;
            ledger = ledger.advance(&block, executed);
        }
        let (expected, found) = (self.newest.state_root(), ledger.state_root());
        if expected == found {
            Ok(())
        } else {
            Err(format!("the state is {found:?}, it was {expected:?}"))
        }
    }

    fn items(&self) -> Vec<Item> {
        let road_of: BTreeMap<Cell, usize> = self
            .world
            .roads
            .iter()
            .enumerate()
            .map(|(road, on)| (on.cell, road))
            .collect();
        let kmh = |value: i32| f64::from(value) * KMH;
        let known_before = self.outlooks.iter().map(|(&item, outlook)| {
            let published = Published {
                kmh: kmh(outlook.value),
                low_kmh: kmh(outlook.low),
                high_kmh: kmh(outlook.high),
                vehicles: 0,
                heard: false,
            };
            (item, published)
        });
        let mut published: BTreeMap<(u32, usize), Published> = known_before
            .filter(|((slot, road), _)| self.world.truth.contains_key(&(*road, *slot)))
            .collect();
        let heard = self.watch.estimates.iter().filter_map(|estimate| {
            let road = *road_of.get(&estimate.item.cell)?;
            let (low_kmh, high_kmh) = (kmh(estimate.low), kmh(estimate.high));
            let published = Published {
                kmh: kmh(estimate.value),
                low_kmh,
                high_kmh,
                vehicles: estimate.vehicles,
                heard: true,
            };
            Some(((estimate.item.slot.0, road), published))
        });
        published.extend(heard);
        let slot_ms = self.scenario.slot_ms();
        let true_items = self.world.truth.keys().map(|(road, slot)| (*slot, *road));
        let all: BTreeSet<(u32, usize)> = published.keys().copied().chain(true_items).collect();
        let seconds = |slot: u32| self.world.clock_zero_s + u64::from(slot) * slot_ms / 1000;
        all.into_iter()
            .map(|(slot, road)| Item {
                place: self.world.roads[road].name.clone(),
                slot_begin_s: seconds(slot),
                slot_end_s: seconds(slot + 1),
                published: published.get(&(slot, road)).copied(),
                truth: self.world.truth.get(&(road, slot)).copied(),
                free_flow_kmh: self.world.roads[road].free_flow_kmh,
                plain_mean_kmh: self.said.mean_kmh(road, slot),
            })
            .collect()
    }

    fn rows(&self) -> Vec<VehicleRow> {
        let mut rows: Vec<Option<VehicleRow>> = vec![None; self.vehicles.len()];
        for company in &self.companies {
            for number in &company.vehicles {
                let id = self.vehicles[*number].vehicle.id();
                let known = self.newest.state().vehicle(&id).expect("enrolled at genesis");
                let record = self.watch.quarantined.get(&id);
                rows[*number] = Some(VehicleRow {
                    vehicle: self.world.vehicles[*number].clone(),
                    behaviour: company.name.clone(),
                    paid: figures::tokens(known.earned.micro()),
                    reputation: f64::from(known.standing.reputation()) / Q as f64,
                    quarantined: known.quarantine.is_some(),
                    epoch_quarantined: record.map(|record| record.since),
                    epoch_released: record.and_then(|record| record.released),
                });
            }
        }
        rows.into_iter()
            .map(|row| row.expect("every vehicle is in a company"))
            .collect()
    }

    fn reports(&self) -> ReportFigures {
        let mut rejected: BTreeMap<String, u64> = BTreeMap::new();
        for counts in self.units().iter().filter_map(|member| member.heard()) {
            for (reason, count) in &counts.rejected {
                *rejected.entry((*reason).to_owned()).or_default() += count;
            }
        }
        for (outcome, count) in &self.watch.outcomes {
            let reason = match outcome {
                Outcome::Counted => continue,
                Outcome::HeardBefore => "ledger_heard_before",
                Outcome::NotEnrolled => "ledger_not_enrolled",
                Outcome::Quarantined => "ledger_quarantined",
                Outcome::NothingNew => "ledger_nothing_new",
            };
            rejected.insert(reason.to_owned(), *count);
        }
        let sent = self
            .vehicles
            .iter()
            .map(|onboard| onboard.vehicle.counts().sealed)
            .sum();
        ReportFigures {
            sent,
            heard: self.watch.executed(),
            rejected,
        }
    }

    fn rewards(&self, vehicles: &[VehicleRow]) -> RewardFigures {
        let books = self.newest.state().books();
        let sum = |of: fn(&milepost_wire::output::EpochClosed) -> u64| {
            figures::round6(figures::tokens(self.watch.epochs.iter().map(of).sum()))
        };
        RewardFigures {
            minted: figures::tokens(books.minted.micro()),
            vehicles: sum(|epoch| epoch.to_vehicles.micro()),
            operators: sum(|epoch| epoch.to_operators.micro()),
            treasury: figures::tokens(books.treasury.micro()),
            carry: figures::tokens(books.carry.micro()),
            burned: figures::tokens(books.burned.micro()),
            gini_honest: figures::gini(
                vehicles
                    .iter()
                    .filter(|row| row.behaviour == "honest")
                    .map(|row| row.paid),
            ),
        }
    }

    fn ledger(&self) -> LedgerFigures {
        let height = self.newest.height().0;
        let minutes = self.queue.now_us() as f64 / 60e6;
        LedgerFigures {
            height,
            blocks_per_minute: figures::round(height as f64 / minutes),
            finality_ms: Finality::of(self.watch.finality_ms.clone()),
            bytes: self.watch.bytes,
            reports_per_block: figures::round(self.watch.executed() as f64 / height.max(1) as f64),
        }
    }
}

/// A member as it stands; one that is down, as its disk has it.
fn member_figures(member: &Member) -> MemberFigures {
    let (height, state_root) = match member.view() {
        Some(view) => (view.height().0, view.state_root()),
        None => tip(member.disk()).unwrap_or((0, Hash::ZERO)),
    };
    MemberFigures {
        id: member.address(),
        height,
        state_root,
    }
}

fn tip(disk: &Disk) -> Option<(u64, Hash)> {
    let has = |height: u64| disk.block(Height(height)).ok().flatten();
    // Blocks are numbered without gaps: the newest is where doubling and halving find the border.
    let mut above = 1;
    while has(above).is_some() {
        above *= 2;
    }
    let (mut low, mut high) = (above / 2, above);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if has(middle).is_some() {
            low = middle
        } else {
            high = middle
        }
    }
    has(low).map(|(block, _)| (low, block.header.state_root))
}
