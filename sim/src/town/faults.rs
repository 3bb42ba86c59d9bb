//! What goes wrong, and how does it end?
//!
//! A fault strikes at its time and is mended at its end; `on` has those in between. What a line does about it is
//! in `lines`, what a liar says is in `lies`.
//!
//! Once everything but lies is mended, it is calm: from then on the chain must go on, see [`Calm`].

use milepost_node::Fatal;
use milepost_node::store::StoreError;

use super::disk::NextSync;
use super::{Event, PlayError, Town, votes};
use crate::fault::{Fault, Trouble};

/// How long after the last fault the chain may take until it goes on. The consensus engine may need ten rounds to
/// get out of a hidden lock, which take one minute; lies go on meanwhile.
const CALM_MAX_MS: u64 = 120_000;
/// How many blocks more than there were count as going on.
const CALM_BLOCKS: u64 = 3;
/// How often it is looked whether a frozen member can be restarted.
const THAW_US: u64 = 500_000;

/// Whether the chain goes on after the faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Calm {
    /// Something is still to go wrong.
    NotYet,
    /// Every honest member must get to this height.
    Until(u64),
    /// They did, or it is too late.
    Over,
}

impl Town<'_> {
    pub(super) fn plan_faults(&mut self) {
        for (number, fault) in self.scenario.fault.iter().enumerate() {
            self.queue.at(fault.at_ms * 1000, Event::Strike(number));
            self.queue.at(fault.end_ms() * 1000, Event::Mend(number));
        }
        let calm_us = self.calm_ms() * 1000;
        self.queue.at(calm_us, Event::Calm);
        self.queue.at(calm_us + CALM_MAX_MS * 1000, Event::Deadline);
    }

    /// When everything but lies is mended.
    pub(super) fn calm_ms(&self) -> u64 {
        let mended = self.scenario.fault.iter().filter(|fault| fault.liar().is_none());
        mended.map(Fault::end_ms).max().unwrap_or(0)
    }

    /// The faults that are on.
    pub(super) fn troubles(&self) -> impl Iterator<Item = &Trouble> {
        self.on.iter().map(|number| &self.scenario.fault[*number].trouble)
    }

    pub(super) fn strike(&mut self, number: usize) -> Result<(), PlayError> {
        let scenario = self.scenario;
        let fault = &scenario.fault[number];
        *self.struck.entry(fault.name()).or_default() += 1;
        self.on.insert(number);
        match fault.trouble {
            Trouble::Crash {
                member,
                at_sync: true,
                ..
            } => self.members[member].at_next_sync(NextSync::IsTheLast),
            Trouble::Crash { member, torn, .. } => self.crash(member, torn),
            Trouble::Freeze { member } => self.members[member].freeze(true),
            Trouble::ClockSkew { member, skew_ms } => self.members[member].set_skew_ms(skew_ms),
            Trouble::DiskError { member } => self.members[member].at_next_sync(NextSync::Fails),
            Trouble::SlowDisk { member, sync_ms } => self.members[member].set_sync_ms(sync_ms),
            Trouble::Twins { .. } => self.start(self.twins[&number])?,
            Trouble::Flood { .. } => self.flood(number),
            Trouble::Slander { .. } => self.slander(number),
            Trouble::AddMember { .. }
            | Trouble::RemoveMember { .. }
            | Trouble::SetPower { .. }
            | Trouble::SetKey { .. }
            | Trouble::SetParam { .. }
            | Trouble::SetAccess { .. }
            | Trouble::EnrolUnit { .. }
            | Trouble::RevokeUnit { .. } => self.campaign(number),
            Trouble::Partition { .. }
            | Trouble::Lossy { .. }
            | Trouble::Equivocate { .. }
            | Trouble::Silent { .. }
            | Trouble::Withhold { .. }
            | Trouble::Junk { .. }
            | Trouble::Forge { .. } => {}
        }
        self.look_around();
        Ok(())
    }

    pub(super) fn mend(&mut self, number: usize) -> Result<(), PlayError> {
        self.on.remove(&number);
        match self.scenario.fault[number].trouble {
            Trouble::Crash { member, .. } | Trouble::DiskError { member } => {
                // It may not have written anything meanwhile.
                self.members[member].at_next_sync(NextSync::Works);
                self.start(member)?;
            }
            Trouble::Freeze { member } => {
                self.members[member].freeze(false);
                self.plan_wake(member);
            }
            Trouble::ClockSkew { member, .. } => self.members[member].set_skew_ms(0),
            Trouble::SlowDisk { member, .. } => self.members[member].set_sync_ms(0),
            Trouble::Twins { .. } => self.crash(self.twins[&number], false),
            Trouble::Partition { .. }
            | Trouble::Lossy { .. }
            | Trouble::AddMember { .. }
            | Trouble::RemoveMember { .. }
            | Trouble::SetPower { .. }
            | Trouble::SetKey { .. }
            | Trouble::SetParam { .. }
            | Trouble::SetAccess { .. }
            | Trouble::EnrolUnit { .. }
            | Trouble::RevokeUnit { .. }
            | Trouble::Equivocate { .. }
            | Trouble::Silent { .. }
            | Trouble::Withhold { .. }
            | Trouble::Flood { .. }
            | Trouble::Slander { .. }
            | Trouble::Junk { .. }
            | Trouble::Forge { .. } => {}
        }
        self.look_around();
        Ok(())
    }

    fn crash(&mut self, member: usize, torn: bool) {
        self.members[member].crash(torn.then_some(&mut self.chance));
        self.look_for(self.members[member].address());
    }

    /// A member is stopped and started with another key, as its operator would; one that is down starts with it later.
    pub(super) fn renew(&mut self, member: usize, number: usize) -> Result<(), PlayError> {
        let key = votes::new_key(number);
        if self.members[member].address() == key.address() {
            return Ok(());
        }
        if self.members[member].is_frozen() {
            let at_us = self.queue.now_us() + THAW_US;
            self.queue.at(at_us, Event::Renewal { member, number });
            return Ok(());
        }
        let runs = self.members[member].is_on();
        if runs {
            self.crash(member, false);
        }
        let old = self.members[member].address();
        self.members[member].set_key(key);
        self.look_for(old);
        if runs { self.start(member) } else { Ok(()) }
    }

    fn start(&mut self, member: usize) -> Result<(), PlayError> {
        let now_us = self.queue.now_us();
        let started = self.members[member].restart(now_us, &self.genesis, self.scenario);
        let outputs = match started {
            Ok(outputs) => outputs,
            // Its own log may hold what was said elsewhere with its key: it rightly refuses to go on.
            Err(why) if self.lies_ever(member) => {
                tracing::warn!(member, %why, "a liar does not start");
                return Ok(());
            }
            Err(why) => return Err(PlayError::Start { member, why }),
        };
        if let Some(view) = self.members[member].view() {
            self.watch.resumed(member, &view);
            self.look_for_new_key(member, view.state());
        }
        self.carry_out(member, outputs);
        self.look_around();
        Ok(())
    }

    /// A member that is in doubt stops: the store is all that is left of it.
    pub(super) fn stop(&mut self, member: usize, fatal: &Fatal) {
        tracing::warn!(member, %fatal, "a member stopped");
        *self.struck.entry("stopped").or_default() += 1;
        let what = format!("member {member} stopped: {fatal}");
        match fatal {
            // What the disk was told to do.
            Fatal::Store(StoreError::Database(_)) => {}
            Fatal::Diverged { .. } => self.watch.broken(|held| &mut held.agreement, what),
            Fatal::Broken { .. } => self.watch.broken(|held| &mut held.conservation, what),
            Fatal::Engine(_) if self.lies_ever(member) => {}
            Fatal::Store(_) | Fatal::Ledger(_) | Fatal::Engine(_) => {
                self.watch.broken(|held| &mut held.progress, what);
            }
        }
        self.crash(member, false);
    }

    // Calm.

    pub(super) fn begin_calm(&mut self) {
        self.calm = Calm::Until(self.newest.height().0 + CALM_BLOCKS);
        self.look_for_progress();
    }

    pub(super) fn look_for_progress(&mut self) {
        if let Calm::Until(height) = self.calm
            && self.honest().all(|member| {
                self.members[member]
                    .view()
                    .is_some_and(|view| view.height().0 >= height)
            })
        {
            self.calm = Calm::Over;
        }
    }

    pub(super) fn meet_deadline(&mut self) {
        let Calm::Until(height) = self.calm else { return };
        let heights: Vec<_> = (0..self.units)
            .map(|member| self.members[member].view().map(|view| view.height().0))
            .collect();
        self.watch.broken(
            |held| &mut held.progress,
            format!(
                "{CALM_MAX_MS} ms after the last fault all should be at height {height} or above, are at {heights:?}"
            ),
        );
        self.calm = Calm::Over;
    }

    /// The units that mean well, whether they have a vote or not.
    pub(super) fn honest(&self) -> impl Iterator<Item = usize> {
        (0..self.units).filter(|member| !self.lies_ever(*member))
    }

    /// Whether this is a member that lies at some time, or the second machine of one.
    fn lies_ever(&self, member: usize) -> bool {
        let second = self.twins.values().any(|twin| *twin == member);
        second
            || self
                .scenario
                .fault
                .iter()
                .any(|fault| fault.liar() == Some(member))
    }
}
