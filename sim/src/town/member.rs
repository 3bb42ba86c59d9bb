//! One member of the town: a node, its unit, a disk, a clock.
//!
//! While the process is down there is the disk alone. `life` counts its starts, so that a wake-up planned for an
//! earlier life wakes nobody.

use std::sync::Arc;

use milepost_incentives::Genesis;
use milepost_node::message::{PeerMessage, ProposedBody};
use milepost_node::{
    Fatal, Input as NodeInput, Node, Now, Output as NodeOutput, Settings, VerifiedBatch, View,
};
use milepost_rsu::unit::{self, Input as UnitInput, Output as UnitOutput, Unit};
use milepost_wire::{Address, Block, Certificate, SecretKey};

use super::disk::{Disk, NextSync};
use crate::control::Control;
use crate::rng::Rng;
use crate::scenario::Scenario;

/// A member of the consortium.
pub(super) struct Member {
    key: SecretKey,
    disk: Disk,
    process: Option<Process>,
    life: u32,
    /// How often the process was started.
    starts: u32,
    frozen: bool,
    skew_ms: i64,
    /// How long a sync takes.
    sync_ms: u64,
    /// Until then it waits for its disk.
    waits_until_us: u64,
    /// The wake-up that is planned.
    planned_us: Option<u64>,
}

struct Process {
    node: Node<Disk>,
    unit: Unit,
}

/// Who asked to be woken now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) node: bool,
    pub(super) unit: bool,
}

/// What another member found on its disk.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Block {
        block: Box<Block>,
        certificate: Certificate,
        batches: Vec<Arc<VerifiedBatch>>,
    },
    Body(Box<Block>),
    Batch(Arc<VerifiedBatch>),
}

impl Answer {
    pub(super) fn into_input(self) -> NodeInput {
        match self {
            Self::Block {
                block,
                certificate,
                batches,
            } => NodeInput::Block {
                block,
                certificate,
                batches,
            },
            Self::Body(block) => NodeInput::Peer(PeerMessage::Body(ProposedBody {
                round: 0,
                block: *block,
            })),
            Self::Batch(batch) => NodeInput::Batch(batch),
        }
    }
}

impl Member {
    /// Starts a member on an empty disk, at time 0.
    pub(super) fn start(
        key: SecretKey,
        genesis: &Genesis,
        scenario: &Scenario,
    ) -> Result<(Self, Vec<NodeOutput>), Fatal> {
        let mut member = Self::off(key, scenario.control);
        let outputs = member.restart(0, genesis, scenario)?;
        Ok((member, outputs))
    }

    /// A machine that was never switched on.
    pub(super) fn off(key: SecretKey, control: Option<Control>) -> Self {
        Self {
            key,
            disk: Disk::new(control),
            process: None,
            life: 0,
            starts: 0,
            frozen: false,
            skew_ms: 0,
            sync_ms: 0,
            waits_until_us: 0,
            planned_us: None,
        }
    }

    /// Starts the process on what the disk holds; does nothing where it runs.
    pub(super) fn restart(
        &mut self,
        now_us: u64,
        genesis: &Genesis,
        scenario: &Scenario,
    ) -> Result<Vec<NodeOutput>, Fatal> {
        if self.process.is_some() {
            return Ok(Vec::new());
        }
        self.life += 1;
        self.starts += 1;
        let settings = Settings {
            block_interval_ms: scenario.ledger.block_interval_ms,
            heartbeat_ms: scenario.ledger.heartbeat_ms,
            ..Settings::default()
        };
        let now = self.now(now_us, genesis);
        let (node, outputs) = Node::open(genesis, self.key.clone(), settings, self.disk.clone(), now)?;
        let mut limits = unit::Limits::default();
        // Whoever waits for another's batch waits as much longer as batches take longer to leave.
        limits.handoff.wait_ms += scenario
            .ledger
            .batch_age_ms
            .saturating_sub(limits.batch.age_max_ms);
        limits.batch.age_max_ms = scenario.ledger.batch_age_ms;
        let mut unit = Unit::new(self.key.clone(), genesis.chain.clone(), limits, node.view());
        unit.recall(&self.disk)?;
        self.process = Some(Process { node, unit });
        Ok(outputs)
    }

    /// The power fails; what was not durable is lost, or with `torn` its end.
    pub(super) fn crash(&mut self, torn: Option<&mut Rng>) {
        self.process = None;
        self.planned_us = None;
        self.waits_until_us = 0;
        self.life += 1;
        self.disk.crash(torn);
    }

    /// Says what the running process' next sync comes to.
    pub(super) fn at_next_sync(&self, what: NextSync) {
        if self.process.is_some() {
            self.disk.at_next_sync(what);
        }
    }

    /// How long a sync takes from now on.
    pub(super) fn set_sync_ms(&mut self, sync_ms: u64) {
        self.sync_ms = sync_ms;
    }

    /// Until when it waits for its disk; `None` where it does not.
    pub(super) fn waits_until(&self, now_us: u64) -> Option<u64> {
        (self.waits_until_us > now_us).then_some(self.waits_until_us)
    }

    /// After a step: until when it must wait for the syncs that the step made, and in which life; `None` where its
    /// disk is fast.
    pub(super) fn wait_for_disk(&mut self, now_us: u64) -> Option<(u64, u32)> {
        let wait_us = self.disk.take_syncs() * self.sync_ms * 1000;
        self.waits_until_us = self.waits_until_us.max(now_us + wait_us);
        (wait_us > 0).then_some((self.waits_until_us, self.starts))
    }

    /// Whether the process runs that was started as the `start`th.
    pub(super) fn is_in_life(&self, start: u32) -> bool {
        self.process.is_some() && self.starts == start
    }

    /// Whether the process stands still.
    pub(super) fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// The process stands still, or goes on.
    pub(super) fn freeze(&mut self, frozen: bool) {
        self.frozen = frozen;
        self.planned_us = None;
        // A wake-up that fell into the frost is planned anew.
        self.life += 1;
    }

    /// Sets the clock this much ahead.
    pub(super) fn set_skew_ms(&mut self, skew_ms: i64) {
        self.skew_ms = skew_ms;
    }

    /// Whether a process runs, or stands still.
    pub(super) fn is_on(&self) -> bool {
        self.process.is_some()
    }

    /// Gives it another key, with which its process starts next.
    pub(super) fn set_key(&mut self, key: SecretKey) {
        self.key = key;
    }

    /// Its key, and its twin's.
    pub(super) fn key(&self) -> &SecretKey {
        &self.key
    }

    /// Its name.
    pub(super) fn address(&self) -> Address {
        self.key.address()
    }

    /// Its disk, whoever runs on it.
    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Its disk, while a process can answer from it.
    pub(super) fn disk_in_use(&self) -> Option<&Disk> {
        (self.process.is_some() && !self.frozen).then_some(&self.disk)
    }

    /// The ledger as it has it; `None` while it is down.
    pub(super) fn view(&self) -> Option<Arc<View>> {
        self.process.as_ref().map(|process| process.node.view())
    }

    /// What its unit has heard in this life.
    pub(super) fn heard(&self) -> Option<&unit::Counts> {
        self.process.as_ref().map(|process| process.unit.counts())
    }

    pub(super) fn tell_unit(&mut self, now_us: u64, genesis: &Genesis, input: UnitInput) -> Vec<UnitOutput> {
        let now = self.now(now_us, genesis);
        match &mut self.process {
            Some(process) if !self.frozen => process.unit.handle(now, input),
            _ => Vec::new(),
        }
    }

    pub(super) fn tell_node(
        &mut self,
        now_us: u64,
        genesis: &Genesis,
        input: NodeInput,
    ) -> Result<Vec<NodeOutput>, Fatal> {
        let now = self.now(now_us, genesis);
        match &mut self.process {
            Some(process) if !self.frozen => process.node.handle(now, input),
            _ => Ok(Vec::new()),
        }
    }

    /// The wake-up to plan, where none is planned that comes as early.
    pub(super) fn wake_to_plan(&mut self, now_us: u64) -> Option<(u64, u32)> {
        let process = self.process.as_ref().filter(|_| !self.frozen)?;
        let wanted_ms = process
            .unit
            .wake_at()
            .into_iter()
            .fold(process.node.wake_at(), u64::min);
        // Who asks to be woken at once has just been heard: it gets a millisecond of rest.
        let at_us = (wanted_ms * 1000)
            .max(now_us - now_us % 1000 + 1000)
            .max(self.waits_until_us);
        if self.planned_us.is_some_and(|planned_us| planned_us <= at_us) {
            return None;
        }
        self.planned_us = Some(at_us);
        Some((at_us, self.life))
    }

    /// A wake-up has come; `None` where it is of an earlier life, or an earlier one was planned meanwhile.
    pub(super) fn woken(&mut self, now_us: u64, life: u32) -> Option<Due> {
        if life != self.life || self.planned_us != Some(now_us) {
            return None;
        }
        self.planned_us = None;
        let process = self.process.as_ref().filter(|_| !self.frozen)?;
        let now_ms = now_us / 1000;
        Some(Due {
            node: process.node.wake_at() <= now_ms,
            unit: process.unit.wake_at().is_some_and(|at_ms| at_ms <= now_ms),
        })
    }

    fn now(&self, now_us: u64, genesis: &Genesis) -> Now {
        let mono_ms = now_us / 1000;
        let true_wall = genesis.time.plus(mono_ms);
        let skew_ms = self.skew_ms.unsigned_abs();
        let wall = if self.skew_ms < 0 {
            true_wall.minus(skew_ms)
        } else {
            true_wall.plus(skew_ms)
        };
        Now { mono_ms, wall }
    }
}
