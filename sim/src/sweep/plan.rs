//! What goes wrong in a seed?
//!
//! A [`Plan`] is a town of four or seven members and a few vehicles, a minute long, with some blocks a second or
//! two apart, and a list of faults. As many members as may lie do; the other faults befall anybody, several at
//! once, all members at once now and then. In every other town, the members vote on who they are meanwhile, on the rules and on who listens, as long as
//! liars have less than a third of the power whatever of it they decide. All of it follows from the seed. A plan is a scenario: what a sweep
//! plays is what its text says.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use milepost_wire::Access;

use crate::control::Control;
use crate::fault::{self, Fault, Trouble, Way};
use crate::rng::Rng;
use crate::scenario::Scenario;

/// A town, and what goes wrong in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The run's seed.
    pub seed: u64,
    /// How many members.
    pub members: usize,
    /// Which rule is broken on purpose.
    pub control: Option<Control>,
    /// The shortest and the longest delay of a message, in milliseconds.
    pub delay_ms: (u64, u64),
    /// For how many epochs members are without a vote that were seen to contradict themselves.
    pub jail_epochs: u64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// Faults begin within this long, ...
const TROUBLED_MS: u64 = 50_000;
/// ... and their times are multiples of this, which a scenario writes as a thousandth of a minute.
const TICK_MS: u64 = 60;
/// Votes begin within this long.
const VOTED_MS: u64 = 40_000;
/// So many units listen at most until they are voted in.
const LISTENERS_MAX: usize = 2;
/// Numbers of the rules that members vote on, each with the least and the most that it becomes.
const NUMBERS: [(&str, u64, u64); 14] = [
    ("proposal_life_ms", 2_000, 60_000),
    ("evidence_blocks", 5, 100_000),
    ("forfeit_bps", 0, 10_000),
    ("withheld_blocks", 1_024, 10_000),
    ("withheld_forfeit_bps", 0, 10_000),
    ("items_max", 1, 120),
    ("reporters_needed", 1, 4),
    ("need_max", 1, 8),
    ("reward_per_hour_micro", 0, 10_000_000_000),
    ("halving_epochs", 1, 20_000),
    ("operators_bps", 0, 9_000),
    ("base_bps", 0, 10_000),
    ("vest_epochs", 0, 200),
    ("lean_words", 0, 10),
];

/// Longer than any run takes: a lie that never ends.
const FOR_EVER_MS: u64 = 600_000;

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64, control: Option<Control>) -> Self {
        let mut rng = Rng::fork(seed, "plan", 0);
        let members = if rng.chance(0.2) { 7 } else { 4 };
        let plan = Self {
            seed,
            members,
            control,
            delay_ms: (5, 25),
            jail_epochs: 0,
            faults: Vec::new(),
        };
        let mut drawing = Drawing { plan, rng };
        match control {
            None | Some(Control::DoublePay | Control::MintedTokens) => drawing.mixed(),
            Some(Control::ForgetLog | Control::SpeakBeforeSync) => drawing.crashes(),
            Some(Control::UnsignedBodies) => drawing.junk_flood(),
            Some(Control::UncheckedCatchUp) => drawing.forged_catch_up(),
            Some(Control::TooManyTwins) => drawing.too_many_twins(),
        }
        let mut plan = drawing.plan;
        plan.faults.sort_by_key(|fault| fault.at_ms);
        plan
    }

    /// Whether everything befalls somebody who is there.
    pub fn is_sound(&self) -> bool {
        let units = fault::units(self.members, &self.faults);
        self.faults.iter().all(|fault| fault.check(units).is_ok())
    }

    /// Whether liars have less than a third of the power whatever of its votes succeed, in whatever order.
    fn bears_liars(&self) -> bool {
        let liars: BTreeSet<usize> = self.faults.iter().filter_map(Fault::liar).collect();
        // The least and the most power that a unit may have.
        let units = fault::units(self.members, &self.faults);
        let mut power: Vec<(u64, u64)> = (0..units)
            .map(|unit| if unit < self.members { (1, 1) } else { (0, 0) })
            .collect();
        for fault in &self.faults {
            match fault.trouble {
                Trouble::AddMember { member, power: added } => power[member].1 = power[member].1.max(added),
                Trouble::RemoveMember { member } => power[member].0 = 0,
                Trouble::SetPower { member, power: set } => {
                    power[member].0 = power[member].0.min(set);
                    power[member].1 = power[member].1.max(set);
                }
                _ => {}
            }
        }
        let (mut lying, mut honest) = (0, 0);
        for (unit, (least, most)) in power.into_iter().enumerate() {
            if liars.contains(&unit) {
                lying += most;
            } else {
                honest += least;
            }
        }
        2 * lying < honest
    }

    /// The plan as a scenario's text.
    ///
    /// # Panics
    ///
    /// Never: a fault is a table.
    pub fn toml(&self) -> String {
        let Self {
            seed,
            members,
            delay_ms: (shortest, longest),
            jail_epochs,
            ..
        } = self;
        let mut text = format!("seed = {seed}\nminutes = 1\n");
        if let Some(control) = self.control {
            let _ = writeln!(text, "control = \"{}\"", control.name());
        }
        let _ = write!(
            text,
            "\n[world]\nkind = \"grid\"\ncells = 4\nvehicles = 6\nlook_share = 0.8\n\n\
             [ledger]\nmembers = {members}\nslot_seconds = 10\nepoch_minutes = 0.5\nblock_interval_ms = 400\n\
             heartbeat_ms = 1500\nbatch_age_ms = 200\n\n\
             [ledger.params]\njail_epochs = {jail_epochs}\n\
             freshness_ms = {{ speed = 10000, congestion = 10000, humidity = 10000, hazard = 10000 }}\n\n\
             [link]\ndelay_ms = [{shortest}, {longest}]\n"
        );
        for fault in &self.faults {
            let table = toml::to_string(fault).expect("a fault is a table");
            let _ = write!(text, "\n[[fault]]\n{table}");
        }
        text
    }

    /// The plan as a scenario.
    ///
    /// # Panics
    ///
    /// Never: what is drawn is within bounds.
    pub fn scenario(&self) -> Scenario {
        let text = self.toml();
        Scenario::parse(&text, "plan").unwrap_or_else(|error| panic!("a plan is a scenario: {error}\n{text}"))
    }
}

struct Drawing {
    plan: Plan,
    rng: Rng,
}

impl Drawing {
    fn add(&mut self, at_ms: u64, for_ms: u64, trouble: Trouble) {
        let whole = |ms: u64| ms / TICK_MS * TICK_MS;
        self.plan.faults.push(Fault {
            at_ms: whole(at_ms),
            for_ms: whole(for_ms).max(TICK_MS),
            trouble,
        });
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.rng.below(most - least + 1)
    }

    fn member(&mut self) -> usize {
        self.rng.below(self.plan.members as u64) as usize
    }

    /// Some members, not none and not all.
    fn side(&mut self) -> Vec<usize> {
        let mut members: Vec<usize> = (0..self.plan.members).collect();
        self.rng.shuffle(&mut members);
        let count = self.between(1, self.plan.members as u64 - 1) as usize;
        let mut side = members.split_off(self.plan.members - count);
        side.sort_unstable();
        side
    }

    /// Faults of every kind.
    fn mixed(&mut self) {
        for _ in 0..self.between(3, 8) {
            let at_ms = self.rng.below(TROUBLED_MS);
            self.trouble(at_ms);
        }
        let mut members: Vec<usize> = (0..self.plan.members).collect();
        self.rng.shuffle(&mut members);
        for member in members.into_iter().take((self.plan.members - 1) / 3) {
            for _ in 0..self.rng.below(3) {
                self.lie(member);
            }
        }
        if self.rng.chance(0.5) {
            self.plan.jail_epochs = self.between(1, 3);
        }
        if self.rng.chance(0.5) {
            for _ in 0..self.between(1, 6) {
                self.vote();
            }
        }
    }

    /// A change of members, unless liars could come to a third of the power by it.
    fn vote(&mut self) {
        let at_ms = self.rng.below(VOTED_MS);
        let for_ms = self.between(4_000, 15_000);
        let units = fault::units(self.plan.members, &self.plan.faults);
        let member = self.rng.below(units as u64) as usize;
        let trouble = match self.rng.below(16) {
            0 | 1 if units < self.plan.members + LISTENERS_MAX => Trouble::AddMember {
                member: units,
                power: self.between(1, 2),
            },
            0..=2 => Trouble::AddMember { member, power: 1 },
            3 | 4 => Trouble::RemoveMember { member },
            5 | 6 => Trouble::SetPower {
                member,
                power: self.between(1, 3),
            },
            7 | 8 => Trouble::SetKey { member },
            9 | 10 => self.number(),
            11 => Trouble::SetAccess {
                access: [Access::Consortium, Access::Private, Access::Public][self.rng.below(3) as usize],
            },
            12 | 13 if units < self.plan.members + LISTENERS_MAX => Trouble::EnrolUnit {
                member: units,
                operator: self.member(),
            },
            _ if units == self.plan.members => self.number(),
            nth => {
                let member = self.between(self.plan.members as u64, units as u64 - 1) as usize;
                let operator = self.member();
                if nth < 14 {
                    Trouble::EnrolUnit { member, operator }
                } else {
                    Trouble::RevokeUnit { member }
                }
            }
        };
        self.add(at_ms, for_ms, trouble);
        if !self.plan.bears_liars() {
            self.plan.faults.pop();
        } else if units < fault::units(self.plan.members, &self.plan.faults) && self.rng.chance(0.5) {
            // The newcomer has its own troubles.
            let (torn, at_sync) = (self.rng.chance(0.5), self.rng.chance(0.4));
            let soon_ms = self.between(60, 4_000);
            let crash = Trouble::Crash {
                member: units,
                torn,
                at_sync,
            };
            self.add(at_ms + for_ms / 2, soon_ms, crash);
        }
    }

    /// A number of the rules that anything may be done to.
    fn number(&mut self) -> Trouble {
        let (name, least, most) = NUMBERS[self.rng.below(NUMBERS.len() as u64) as usize];
        Trouble::SetParam {
            name: name.into(),
            value: self.between(least, most),
        }
    }

    fn trouble(&mut self, at_ms: u64) {
        let member = self.member();
        let soon_ms = self.between(60, 4_000);
        let later_ms = self.between(500, 15_000);
        match self.rng.below(16) {
            0..=2 => {
                let (torn, at_sync) = (self.rng.chance(0.5), self.rng.chance(0.4));
                self.add(
                    at_ms,
                    soon_ms,
                    Trouble::Crash {
                        member,
                        torn,
                        at_sync,
                    },
                );
            }
            3 => {
                // The power fails for all.
                for member in 0..self.plan.members {
                    let torn = self.rng.chance(0.5);
                    let for_ms = soon_ms + self.rng.below(2_000);
                    let at_sync = false;
                    self.add(
                        at_ms,
                        for_ms,
                        Trouble::Crash {
                            member,
                            torn,
                            at_sync,
                        },
                    );
                }
            }
            4 | 5 => self.add(at_ms, later_ms, Trouble::Freeze { member }),
            6..=8 => {
                let way = [Way::Both, Way::In, Way::Out][self.rng.below(3) as usize];
                let members = self.side();
                self.add(at_ms, later_ms, Trouble::Partition { members, way });
            }
            9 | 10 => {
                let (loss, duplicate) = (self.between(1, 8), self.between(0, 5));
                let trouble = Trouble::Lossy {
                    loss: loss as f64 / 20.0,
                    duplicate: duplicate as f64 / 10.0,
                    delay_ms: self.between(0, 1_500),
                };
                self.add(at_ms, later_ms, trouble);
            }
            11 | 12 => {
                let ahead_ms = self.between(500, 600_000) as i64;
                let skew_ms = if self.rng.chance(0.5) { ahead_ms } else { -ahead_ms };
                self.add(at_ms, later_ms, Trouble::ClockSkew { member, skew_ms });
            }
            13 | 14 => self.add(at_ms, soon_ms, Trouble::DiskError { member }),
            _ => {
                let sync_ms = self.between(20, 600);
                self.add(at_ms, later_ms, Trouble::SlowDisk { member, sync_ms });
            }
        }
    }

    /// A lie, for a while or for ever.
    fn lie(&mut self, member: usize) {
        let at_ms = self.rng.below(TROUBLED_MS);
        let for_ms = if self.rng.chance(0.4) {
            FOR_EVER_MS
        } else {
            self.between(5_000, 30_000)
        };
        let trouble = match self.rng.below(10) {
            0 | 1 => Trouble::Equivocate { member },
            2 => {
                let mut audience = self.side();
                audience.retain(|other| *other != member);
                Trouble::Twins { member, audience }
            }
            3 => Trouble::Silent { member },
            4 => Trouble::Withhold { member },
            5 => {
                let per_second = self.between(5, 40);
                Trouble::Flood { member, per_second }
            }
            6 => Trouble::Junk { member },
            7 | 8 => Trouble::Slander { member },
            _ => Trouble::Forge { member },
        };
        self.add(at_ms, for_ms, trouble);
    }

    // For the controls: what it takes to notice a broken rule.

    /// Members that crash all the time, amid messages that take long.
    fn crashes(&mut self) {
        self.plan.members = 4;
        self.plan.delay_ms = (20, 150);
        let trouble = Trouble::Lossy {
            loss: 0.1,
            duplicate: 0.1,
            delay_ms: 200,
        };
        self.add(0, TROUBLED_MS, trouble);
        for _ in 0..100 {
            let (at_ms, for_ms) = (self.rng.below(TROUBLED_MS), self.between(60, 240));
            let member = self.member();
            let crash = Trouble::Crash {
                member,
                torn: false,
                at_sync: false,
            };
            self.add(at_ms, for_ms, crash);
        }
    }

    /// So many blocks that nobody proposed that two of them are there before any proposal.
    fn junk_flood(&mut self) {
        let member = self.member();
        let per_second = 120;
        self.add(0, FOR_EVER_MS, Trouble::Flood { member, per_second });
    }

    /// A forger, and members that fall behind.
    fn forged_catch_up(&mut self) {
        let forger = self.member();
        self.add(0, FOR_EVER_MS, Trouble::Forge { member: forger });
        for nth in 0..14 {
            let others = (1..self.plan.members).map(|step| (forger + step) % self.plan.members);
            let others: Vec<usize> = others.collect();
            let member = others[self.rng.below(others.len() as u64) as usize];
            let at_ms = nth * 4_000 + self.rng.below(1_000);
            let members = vec![member];
            self.add(
                at_ms,
                2_500,
                Trouble::Partition {
                    members,
                    way: Way::Both,
                },
            );
        }
    }

    /// Two of four members with a second machine each, in another world.
    fn too_many_twins(&mut self) {
        self.plan.members = 4;
        let mut members: Vec<usize> = (0..4).collect();
        self.rng.shuffle(&mut members);
        for member in &members[..2] {
            let trouble = Trouble::Twins {
                member: *member,
                audience: vec![members[2]],
            };
            self.add(3_000, FOR_EVER_MS, trouble);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_seed_gives_one_plan_and_its_text_reads_back() {
        for seed in 0..50 {
            for control in [None].into_iter().chain(Control::ALL.map(Some)) {
                let plan = Plan::draw(seed, control);
                assert_eq!(plan, Plan::draw(seed, control));
                let scenario = plan.scenario();
                assert_eq!(
                    (scenario.seed, scenario.control, &scenario.fault),
                    (seed, control, &plan.faults)
                );
            }
        }
    }

    #[test]
    fn every_kind_is_drawn_and_no_more_lie_than_may() {
        let mut drawn: BTreeMap<&str, usize> = BTreeMap::new();
        for seed in 0..400 {
            let plan = Plan::draw(seed, None);
            assert!(plan.bears_liars(), "seed {seed}");
            for fault in &plan.faults {
                *drawn.entry(fault.name()).or_default() += 1;
            }
        }
        let kinds: BTreeSet<&str> = crate::fault::KINDS.iter().map(|(name, ..)| *name).collect();
        assert_eq!(drawn.keys().copied().collect::<BTreeSet<_>>(), kinds);
        assert!(drawn.values().all(|count| *count >= 20), "{drawn:?}");
    }
}
