//! What may go wrong, and what does a scenario call it?
//!
//! A [`Fault`] is something that goes wrong at a time and for a while; a [`Trouble`] says what. Most befall a
//! member that means well. The *lies* are what a member does that does not: it runs the same software, and
//! somebody stands between it and the others. Lies of members with less than a third of the power must neither
//! break a promise nor stop the chain; of other faults nothing may break a promise, and once they are over the
//! chain must go on.
//!
//! What members decide together goes on amid all that: who votes, with what power and which key; the numbers of the rules,
//! the access policy, and who listens for whom.
//!
//! What each does to the town: [`crate::town`]. [`KINDS`] lists them all for people.

use std::collections::BTreeSet;

use milepost_incentives::Params;
use milepost_wire::{Access, Members, Setting};
use serde::{Deserialize, Serialize};

/// Something that goes wrong, and when. In a scenario: `[[fault]]` with `kind`, `at_minute`, `for_minutes` and
/// the kind's own parameters.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "toml::Table", into = "toml::Table")]
pub struct Fault {
    /// When it begins, in milliseconds since the run's begin.
    pub at_ms: u64,
    /// How long it lasts, in milliseconds.
    pub for_ms: u64,
    /// What it is.
    pub trouble: Trouble,
}

/// What goes wrong. Members are counted from 0.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Trouble {
    /// A member's process dies, as by a power failure, and starts again at the end.
    Crash {
        /// Which member.
        member: usize,
        /// Some of what was written and not synced is on the disk after all: the log has a torn tail. Else all
        /// of it is lost.
        #[serde(default)]
        torn: bool,
        /// It dies just after its next sync instead: everything is on the disk, and nothing was said.
        #[serde(default)]
        at_sync: bool,
    },
    /// A member stands still, hears nothing, and goes on at the end.
    Freeze {
        /// Which member.
        member: usize,
    },
    /// Some members are cut off from the others. Vehicles reach all.
    Partition {
        /// The members on one side.
        members: Vec<usize>,
        /// Which way nothing gets through.
        #[serde(default)]
        way: Way,
    },
    /// The lines between members lose, repeat and delay messages; delayed ones are overtaken by later ones.
    Lossy {
        /// The share of messages that are lost.
        #[serde(default)]
        loss: f64,
        /// The share of messages that arrive twice.
        #[serde(default)]
        duplicate: f64,
        /// The longest further delay.
        #[serde(default)]
        delay_ms: u64,
    },
    /// A member's clock is wrong.
    ClockSkew {
        /// Which member.
        member: usize,
        /// By how much it runs ahead; negative: behind.
        skew_ms: i64,
    },
    /// A member's next write to its disk fails: the process stops, and starts again at the end.
    DiskError {
        /// Which member.
        member: usize,
    },
    /// A member's disk is slow: it neither hears nor speaks while it waits for it.
    SlowDisk {
        /// Which member.
        member: usize,
        /// How long a sync takes.
        sync_ms: u64,
    },
    /// The members give a unit a vote: one that listens from the beginning, or one that had a vote before. From the
    /// fault's begin to its end, they try to decide so.
    AddMember {
        /// Which unit: those that listen are counted on from the members.
        member: usize,
        /// Its power.
        power: u64,
    },
    /// The members take a member's vote. It goes on listening.
    RemoveMember {
        /// Whose.
        member: usize,
    },
    /// The members change a member's power.
    SetPower {
        /// Whose.
        member: usize,
        /// What it shall be.
        power: u64,
    },
    /// The members let a member go on under another key; once that holds, it is restarted with it.
    SetKey {
        /// Which member.
        member: usize,
    },
    /// The members set a number of the rules.
    SetParam {
        /// Which number, by its name in the genesis.
        name: String,
        /// What it shall be.
        value: u64,
    },
    /// The members decide who may come in, and who may read.
    SetAccess {
        /// Who.
        access: Access,
    },
    /// A member enrols a unit as its listening unit: one that listens from the beginning.
    EnrolUnit {
        /// Which unit, counted on from the members.
        member: usize,
        /// For which member.
        operator: usize,
    },
    /// The members end a listening unit's enrolment.
    RevokeUnit {
        /// Which unit.
        member: usize,
    },
    /// A lie: one half of the others gets other votes, proposals and blocks than the other half.
    Equivocate {
        /// Which member.
        member: usize,
    },
    /// A lie: a second machine runs with a member's key, from an empty disk.
    Twins {
        /// Which member.
        member: usize,
        /// The members that hear the second machine instead of the first.
        audience: Vec<usize>,
    },
    /// A lie: a member never proposes.
    Silent {
        /// Which member.
        member: usize,
    },
    /// A lie: a member keeps its blocks to itself, half of the others do not get its batches, and it answers
    /// nothing.
    Withhold {
        /// Which member.
        member: usize,
    },
    /// A lie: a member floods the others with blocks that nobody proposed, blocks whose contents were changed,
    /// forged and old votes, and boasts of heights that there are not.
    Flood {
        /// Which member.
        member: usize,
        /// How many such messages a second.
        per_second: u64,
    },
    /// A lie: a member proposes blocks that are invalid, each in another way.
    Junk {
        /// Which member.
        member: usize,
    },
    /// A lie: a member answers those who catch up with other blocks, forged certificates, certificates of
    /// strangers, and half of the truth.
    Forge {
        /// Which member.
        member: usize,
    },
    /// A lie: a member accuses others of what they did not do, with promises that they gave, and with forged and old
    /// evidence.
    Slander {
        /// Which member.
        member: usize,
    },
}

/// Which way a partition cuts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Nothing gets through either way.
    #[default]
    Both,
    /// The members named hear nothing of the others.
    In,
    /// The members named are not heard by the others.
    Out,
}

/// Every kind: its name, an example of its parameters, and what it does.
pub const KINDS: [(&str, &str, &str); 23] = [
    (
        "crash",
        "member = 2, torn = true",
        "a power failure; unsynced writes are lost, or torn; at_sync = true: just after the next sync",
    ),
    ("freeze", "member = 2", "the process stands still"),
    (
        "partition",
        "members = [0, 1], way = \"both\"",
        "cut off from the others; way: both, in (they hear nothing), out (they are not heard)",
    ),
    (
        "lossy",
        "loss = 0.3, duplicate = 0.1, delay_ms = 500",
        "lines lose, repeat, delay and reorder",
    ),
    (
        "clock_skew",
        "member = 2, skew_ms = -300000",
        "a clock runs ahead, or behind",
    ),
    (
        "disk_error",
        "member = 2",
        "the next sync fails, and the process stops",
    ),
    (
        "slow_disk",
        "member = 2, sync_ms = 400",
        "every sync takes so long",
    ),
    (
        "add_member",
        "member = 4, power = 1",
        "the members vote a listening unit in, or a former member; for_minutes: how long they try",
    ),
    (
        "remove_member",
        "member = 2",
        "the members take a member's vote; it listens on",
    ),
    (
        "set_power",
        "member = 2, power = 3",
        "the members change a member's power",
    ),
    (
        "set_key",
        "member = 2",
        "the members let a member go on under another key, and it restarts with it",
    ),
    (
        "set_param",
        "name = \"items_max\", value = 60",
        "the members set a number of the rules",
    ),
    (
        "set_access",
        "access = \"private\"",
        "the members decide who may come in and read: consortium, private, public",
    ),
    (
        "enrol_unit",
        "member = 4, operator = 0",
        "a member enrols a unit that listens as its own",
    ),
    (
        "revoke_unit",
        "member = 4",
        "the members end a listening unit's enrolment",
    ),
    (
        "equivocate",
        "member = 2",
        "lie: other votes, proposals and blocks to every other member",
    ),
    (
        "twins",
        "member = 2, audience = [0]",
        "lie: a second machine with the same key, heard by the audience",
    ),
    ("silent", "member = 2", "lie: never proposes"),
    (
        "withhold",
        "member = 2",
        "lie: keeps blocks, and half of its batches, to itself; answers nothing",
    ),
    (
        "flood",
        "member = 2, per_second = 100",
        "lie: junk and changed blocks, forged and old votes, boasts",
    ),
    ("junk", "member = 2", "lie: proposes invalid blocks"),
    (
        "forge",
        "member = 2",
        "lie: serves forged blocks and certificates to those who catch up",
    ),
    (
        "slander",
        "member = 2",
        "lie: complains of others without ground, and brings forged and old evidence",
    ),
];

impl Fault {
    /// As the scenario calls it.
    pub const fn name(&self) -> &'static str {
        match self.trouble {
            Trouble::Crash { .. } => "crash",
            Trouble::Freeze { .. } => "freeze",
            Trouble::Partition { .. } => "partition",
            Trouble::Lossy { .. } => "lossy",
            Trouble::ClockSkew { .. } => "clock_skew",
            Trouble::DiskError { .. } => "disk_error",
            Trouble::SlowDisk { .. } => "slow_disk",
            Trouble::AddMember { .. } => "add_member",
            Trouble::RemoveMember { .. } => "remove_member",
            Trouble::SetPower { .. } => "set_power",
            Trouble::SetKey { .. } => "set_key",
            Trouble::SetParam { .. } => "set_param",
            Trouble::SetAccess { .. } => "set_access",
            Trouble::EnrolUnit { .. } => "enrol_unit",
            Trouble::RevokeUnit { .. } => "revoke_unit",
            Trouble::Equivocate { .. } => "equivocate",
            Trouble::Twins { .. } => "twins",
            Trouble::Silent { .. } => "silent",
            Trouble::Withhold { .. } => "withhold",
            Trouble::Flood { .. } => "flood",
            Trouble::Junk { .. } => "junk",
            Trouble::Forge { .. } => "forge",
            Trouble::Slander { .. } => "slander",
        }
    }

    /// When it ends, in milliseconds since the run's begin.
    pub const fn end_ms(&self) -> u64 {
        self.at_ms.saturating_add(self.for_ms)
    }

    /// The member that lies; `None` for what befalls members that mean well.
    pub const fn liar(&self) -> Option<usize> {
        match self.trouble {
            Trouble::Equivocate { member }
            | Trouble::Twins { member, .. }
            | Trouble::Silent { member }
            | Trouble::Withhold { member }
            | Trouble::Flood { member, .. }
            | Trouble::Junk { member }
            | Trouble::Forge { member }
            | Trouble::Slander { member } => Some(member),
            _ => None,
        }
    }

    /// Whether this can be, among so many units.
    ///
    /// # Errors
    ///
    /// What was expected and what was found.
    pub fn check(&self, members: usize) -> Result<(), String> {
        let name = self.name();
        let known = |member: &usize| {
            if *member < members {
                Ok(())
            } else {
                Err(format!(
                    "fault {name}: expected a member from 0 to {}, found {member}",
                    members - 1
                ))
            }
        };
        let share = |what: &str, value: f64| {
            if (0.0..=1.0).contains(&value) {
                Ok(())
            } else {
                Err(format!(
                    "fault {name}: expected a {what} from 0 to 1, found {value}"
                ))
            }
        };
        match &self.trouble {
            Trouble::Partition { members, .. } => members.iter().try_for_each(known),
            Trouble::Twins { member, audience } => {
                known(member)?;
                audience.iter().try_for_each(known)
            }
            Trouble::Lossy { loss, duplicate, .. } => {
                share("loss", *loss)?;
                share("duplicate", *duplicate)
            }
            Trouble::Flood { member, per_second } => {
                known(member)?;
                if (1..=1000).contains(per_second) {
                    Ok(())
                } else {
                    Err(format!(
                        "fault {name}: expected 1 to 1000 messages per_second, found {per_second}"
                    ))
                }
            }
            Trouble::AddMember { member, power } | Trouble::SetPower { member, power } => {
                known(member)?;
                if (1..=Members::POWER_MAX).contains(power) {
                    Ok(())
                } else {
                    Err(format!(
                        "fault {name}: expected a power from 1 to {}, found {power}",
                        Members::POWER_MAX
                    ))
                }
            }
            Trouble::SetParam { name: number, value } => {
                let setting = Setting {
                    name: number.clone(),
                    value: *value,
                };
                let set = Params::default().with(&[setting]);
                set.map(drop).map_err(|why| format!("fault {name}: {why}"))
            }
            Trouble::SetAccess { .. } => Ok(()),
            Trouble::EnrolUnit { member, operator } => {
                known(member)?;
                known(operator)
            }
            Trouble::RevokeUnit { member }
            | Trouble::Crash { member, .. }
            | Trouble::RemoveMember { member }
            | Trouble::SetKey { member }
            | Trouble::Freeze { member }
            | Trouble::ClockSkew { member, .. }
            | Trouble::DiskError { member }
            | Trouble::SlowDisk { member, .. }
            | Trouble::Equivocate { member }
            | Trouble::Silent { member }
            | Trouble::Withhold { member }
            | Trouble::Junk { member }
            | Trouble::Forge { member }
            | Trouble::Slander { member } => known(member),
        }
    }
}

/// How many units there are where these are the faults: members, and after them those that listen, some until they are
/// voted in.
pub fn units(members: usize, faults: &[Fault]) -> usize {
    let newcomer = |fault: &Fault| match fault.trouble {
        Trouble::AddMember { member, .. } | Trouble::EnrolUnit { member, .. } => Some(member),
        _ => None,
    };
    let newcomers: BTreeSet<usize> = faults
        .iter()
        .filter_map(newcomer)
        .filter(|member| *member >= members)
        .collect();
    members + newcomers.len()
}

impl TryFrom<toml::Table> for Fault {
    type Error = String;

    /// Takes the times; what is left says what goes wrong.
    fn try_from(mut table: toml::Table) -> Result<Self, String> {
        let mut minutes = |name: &str| {
            let value = table
                .remove(name)
                .ok_or(format!("fault: expected {name}, a number of minutes"))?;
            let number = value
                .as_float()
                .or_else(|| value.as_integer().map(|whole| whole as f64));
            number
                .filter(|number| number.is_finite() && *number >= 0.0)
                .map(|number| (number * 60_000.0).round() as u64)
                .ok_or(format!(
                    "fault: expected a number of minutes for {name}, found {value}"
                ))
        };
        let (at_ms, for_ms) = (minutes("at_minute")?, minutes("for_minutes")?);
        let trouble: Trouble = table
            .try_into()
            .map_err(|error: toml::de::Error| format!("fault: {}", error.message().replace('\n', " ")))?;
        Ok(Self {
            at_ms,
            for_ms,
            trouble,
        })
    }
}

impl From<Fault> for toml::Table {
    fn from(fault: Fault) -> Self {
        let mut table = Self::try_from(&fault.trouble).expect("plain fields are a table");
        let minutes = |ms: u64| toml::Value::Float(ms as f64 / 60_000.0);
        table.insert("at_minute".into(), minutes(fault.at_ms));
        table.insert("for_minutes".into(), minutes(fault.for_ms));
        table
    }
}

/// All kinds, for people.
pub fn table() -> String {
    let lines = KINDS.map(|(name, example, what)| format!("{name:<13} {example:<44} {what}"));
    lines.join("\n")
}

/// All kinds: one JSON object.
pub fn json() -> String {
    let kinds: serde_json::Map<String, serde_json::Value> = KINDS
        .into_iter()
        .map(|(name, example, what)| {
            let kind = serde_json::json!({ "example": example, "what": what });
            (name.to_owned(), kind)
        })
        .collect();
    serde_json::Value::Object(kinds).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Fault, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_that_is_listed_can_be_written_in_a_scenario_and_reads_the_same_again() {
        for (name, example, _) in KINDS {
            let text = format!(
                "kind = \"{name}\"\nat_minute = 0.123\nfor_minutes = 2\n{}",
                example.replace(", ", "\n").replace("[0\n1]", "[0, 1]")
            );
            let fault = read(&text).expect(&text);
            assert_eq!(
                (fault.name(), fault.at_ms, fault.end_ms()),
                (name, 7_380, 127_380)
            );
            let written = toml::to_string(&fault).expect("a table");
            assert_eq!(read(&written), Ok(fault), "{written}");
        }
    }

    #[test]
    fn a_misspelt_parameter_and_a_member_that_is_not_there_are_refused() {
        let text = "kind = \"crash\"\nat_minute = 1\nfor_minutes = 1\nmember = 9\n";
        let error = read(&format!("{text}torm = true\n")).expect_err("misspelt");
        assert!(error.contains("torm"), "{error}");
        let error = read(text)
            .expect("it reads")
            .check(4)
            .expect_err("there are four");
        assert!(error.contains("from 0 to 3, found 9"), "{error}");
        let text = "kind = \"add_member\"\nat_minute = 1\nfor_minutes = 1\n";
        let newcomer =
            |member: usize, power: u64| read(&format!("{text}member = {member}\npower = {power}\n"));
        let (fifth, sixth) = (newcomer(4, 1).expect("reads"), newcomer(5, 1).expect("reads"));
        let alone = |fault: &Fault| fault.check(units(4, std::slice::from_ref(fault)));
        assert_eq!(alone(&fifth), Ok(()));
        assert!(alone(&sixth).is_err(), "there is no fifth");
        assert_eq!(sixth.check(units(4, &[fifth, sixth.clone()])), Ok(()));
        let error = newcomer(3, 0).expect("reads").check(4).expect_err("no power");
        assert!(error.contains("power from 1"), "{error}");
        let error = read("kind = \"freeze\"\nmember = 1\nfor_minutes = 1\n").expect_err("when?");
        assert!(error.contains("at_minute"), "{error}");
    }
}
