//! What is to be played?
//!
//! In: a TOML file. Out: a [`Scenario`], checked, with every default filled in; or a [`ScenarioError`] that names
//! the file, the line, what was expected and what was found. Unknown fields are errors: a misspelt fault that
//! never happens would prove nothing.
//!
//! Not covered: what the behaviours mean ([`crate::behaviour`]), what may go wrong ([`crate::fault`]) and what the
//! figures are ([`crate::figures`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use milepost_incentives::params::Params;
use milepost_wire::Kind;
use serde::Deserialize;

use crate::behaviour::Behaviour;
use crate::control::Control;
use crate::fault::{self, Fault};
use crate::insider::Insider;
use crate::world::fcd::Segments;

/// A run, as its file describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// How long it lasts. By default an hour, or as long as the recording.
    pub minutes: Option<f64>,
    /// Where chance comes from, unless the command line says otherwise.
    #[serde(default = "one")]
    pub seed: u64,
    /// The town.
    pub world: World,
    /// The consortium.
    #[serde(default)]
    pub ledger: Ledger,
    /// The radio, and the lines between members.
    #[serde(default)]
    pub link: Link,
    /// Who reports, and how. Vehicles in no fleet are honest.
    #[serde(default)]
    pub fleet: Vec<Fleet>,
    /// Roadside sensors.
    #[serde(default)]
    pub anchor: Vec<Anchor>,
    /// Members that do not mean well by vehicles. `milepost-sim attacks` alone plays them.
    #[serde(default)]
    pub insider: Vec<Insider>,
    /// What goes wrong.
    #[serde(default)]
    pub fault: Vec<Fault>,
    /// Which rule is broken on purpose, so that the invariants can show that they notice.
    #[serde(default)]
    pub control: Option<Control>,
    /// What the result must be.
    #[serde(default)]
    pub expect: BTreeMap<String, Expectation>,
}

/// Where the traffic comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum World {
    /// Drawn from the seed: [`crate::world::grid`].
    Grid {
        /// How many cells.
        #[serde(default = "hundred")]
        cells: usize,
        /// How many vehicles; by default as many as the fleets count, or 300.
        vehicles: Option<usize>,
        /// The share of slots in which a vehicle looks at its road.
        #[serde(default = "look_share")]
        look_share: f64,
        /// What vehicles report: `speed`, and whichever else of `congestion`, `humidity` and `hazard`.
        #[serde(default = "speed_alone")]
        kinds: Vec<Kind>,
    },
    /// A recording: [`crate::world::fcd`].
    Fcd {
        /// SUMO's floating-car data; a relative path starts at the scenario's folder.
        file: PathBuf,
        /// Latitude and longitude of the point 0,0, for recordings in metres.
        origin: Option<(f64, f64)>,
        /// What counts as a road.
        #[serde(default)]
        segments: Segments,
        /// The share of vehicles that report.
        #[serde(default = "whole")]
        penetration: f64,
        /// A reporting vehicle looks at its road once in so many seconds.
        #[serde(default = "whole")]
        look_every_seconds: f64,
        /// What vehicles report: `speed`, and where asked `congestion`. Of the rest a recording tells nothing.
        #[serde(default = "speed_alone")]
        kinds: Vec<Kind>,
    },
}

impl World {
    /// What vehicles report.
    pub fn kinds(&self) -> &[Kind] {
        match self {
            Self::Grid { kinds, .. } | Self::Fcd { kinds, .. } => kinds,
        }
    }

    fn check_kinds(&self) -> Result<(), String> {
        let kinds = self.kinds();
        let names = || kinds.iter().map(Kind::to_string).collect::<Vec<_>>().join(", ");
        let is_double = (1..kinds.len()).any(|at| kinds[..at].contains(&kinds[at]));
        if is_double || !kinds.contains(&Kind::Speed) {
            return Err(format!(
                "expected speed among world.kinds, and each once, found [{}]",
                names()
            ));
        }
        let is_of_traffic = |kind: &Kind| matches!(kind, Kind::Speed | Kind::Congestion);
        if matches!(self, Self::Fcd { .. }) && !kinds.iter().all(is_of_traffic) {
            return Err(format!(
                "expected world.kinds of speed and congestion, of which a recording tells, found [{}]",
                names()
            ));
        }
        Ok(())
    }
}

/// The consortium and its rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ledger {
    /// How many members, each with one vote, each a provider of its own.
    pub members: usize,
    /// Length of an epoch.
    pub epoch_minutes: f64,
    /// Length of a slot.
    pub slot_seconds: f64,
    /// The least time between two blocks.
    pub block_interval_ms: u64,
    /// The longest time between two blocks.
    pub heartbeat_ms: u64,
    /// A unit's batch leaves once its oldest report has waited this long. Real units wait 100 ms; a run with
    /// fewer, larger batches is faster.
    pub batch_age_ms: u64,
    /// Any other number of the rules, as in `genesis.json`. `slot_ms` and `epoch_ms` follow from above. Unless
    /// set here, a full epoch of evidence is as many reports as an epoch has slots, and every kind that the world's
    /// `kinds` leave out is as fresh as speed: an epoch is paid when its slowest kind is settled.
    pub params: toml::Table,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            members: 4,
            epoch_minutes: 5.0,
            slot_seconds: 60.0,
            block_interval_ms: 1_000,
            heartbeat_ms: 10_000,
            batch_age_ms: 100,
            params: toml::Table::new(),
        }
    }
}

/// How messages travel.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    /// The shortest and the longest delay.
    pub delay_ms: (u64, u64),
    /// The share of messages that are lost, on the air and between members.
    pub loss: f64,
    /// How many units hear who is on a road; by default all of them.
    pub heard_by: Option<usize>,
}

impl Link {
    /// Whether a unit hears who is on a road: the road's own unit does, and as many after it as [`Self::heard_by`] says,
    /// of so many members. Who listens only, hears everybody.
    pub fn reaches(&self, unit: usize, road: usize, members: usize) -> bool {
        let after = (unit + members - road % members) % members;
        unit >= members || after < self.heard_by.unwrap_or(members)
    }
}

impl Default for Link {
    fn default() -> Self {
        Self {
            delay_ms: (5, 25),
            loss: 0.0,
            heard_by: None,
        }
    }
}

/// Vehicles that behave alike.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "toml::Table")]
pub struct Fleet {
    /// How many.
    pub size: Size,
    /// The behaviour's name.
    pub name: String,
    /// What it does from [`Fleet::from_minute`] on; until then it is honest.
    pub behaviour: Behaviour,
    /// When it begins to behave so.
    pub from_minute: f64,
    /// How exact its sensors are; by default 3 km/h in the grid and 0.5 on a recording, whose drivers differ by
    /// themselves.
    pub sensor_sd_kmh: Option<f64>,
    /// How far each vehicle's sensor is off for good; by default 2 km/h in the grid and 0 on a recording.
    pub sensor_bias_sd_kmh: Option<f64>,
    /// Whether all its vehicles have one owner: they do not vouch for one another then.
    pub one_owner: bool,
}

/// How large a fleet is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Size {
    /// So many vehicles.
    Count(usize),
    /// This share of the reporting vehicles.
    Share(f64),
}

/// Roadside sensors (radar, loop, camera) of one kind. Each reads its road's mean speed once a slot.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "AnchorTable")]
pub struct Anchor {
    /// On which roads.
    pub on: On,
    /// So many on each, every one of another member.
    pub providers: usize,
    /// How exact they are.
    pub sensor_sd_kmh: f64,
}

/// Which roads have sensors.
#[derive(Clone, Debug, PartialEq)]
pub enum On {
    /// So many, by lot.
    Lot(Size),
    /// Those of these names.
    Roads(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnchorTable {
    count: Option<usize>,
    share: Option<f64>,
    roads: Option<Vec<String>>,
    #[serde(default = "one_provider")]
    providers: usize,
    #[serde(default = "whole")]
    sensor_sd_kmh: f64,
}

impl TryFrom<AnchorTable> for Anchor {
    type Error = String;

    fn try_from(table: AnchorTable) -> Result<Self, String> {
        let on = match (table.count, table.share, table.roads) {
            (Some(count), None, None) => On::Lot(Size::Count(count)),
            (None, Some(share), None) => On::Lot(Size::Share(share)),
            (None, None, Some(roads)) => On::Roads(roads),
            _ => return Err("anchor: expected either count, or share, or roads".into()),
        };
        Ok(Self {
            on,
            providers: table.providers,
            sensor_sd_kmh: table.sensor_sd_kmh,
        })
    }
}

/// What a figure must be.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Expectation {
    /// True, or false.
    Bool(bool),
    /// This number.
    Number(f64),
    /// This text.
    Text(String),
    /// A number within bounds, each of which may be left out.
    Range(Range),
}

/// Bounds of a figure, themselves allowed.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The least.
    pub min: Option<f64>,
    /// The most.
    pub max: Option<f64>,
}

/// Why a file is no scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// It cannot be read.
    #[error("{file}: {source}")]
    Unreadable {
        /// Which file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML, or not of this shape.
    #[error("{file}: {error}")]
    Shape {
        /// Which file.
        file: String,
        /// What is wrong, with line and column.
        error: Box<toml::de::Error>,
    },
    /// The numbers do not fit together.
    #[error("{file}: {what}")]
    Nonsense {
        /// Which file.
        file: String,
        /// What was expected and what was found.
        what: String,
    },
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`ScenarioError`].
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ScenarioError::Unreadable {
            file: file.clone(),
            source,
        })?;
        let mut scenario = Self::parse(&text, &file)?;
        if let World::Fcd { file, .. } = &mut scenario.world
            && file.is_relative()
        {
            *file = path.parent().unwrap_or(Path::new("")).join(&*file);
        }
        Ok(scenario)
    }

    /// Reads a text; errors call it `file`.
    ///
    /// # Errors
    ///
    /// [`ScenarioError`].
    pub fn parse(text: &str, file: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|error| ScenarioError::Shape {
            file: file.to_owned(),
            error: Box::new(error),
        })?;
        scenario.check().map_err(|what| ScenarioError::Nonsense {
            file: file.to_owned(),
            what,
        })?;
        Ok(scenario)
    }

    /// Length of a slot.
    pub fn slot_ms(&self) -> u64 {
        milliseconds(self.ledger.slot_seconds)
    }

    /// The numbers that the ledger's rules run with.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn params(&self) -> Result<Params, String> {
        let mut table = self.ledger.params.clone();
        let (slot_ms, epoch_ms) = (self.slot_ms(), minutes_ms(self.ledger.epoch_minutes));
        let slots = epoch_ms / slot_ms.max(1);
        for (name, value) in [("slot_ms", slot_ms), ("epoch_ms", epoch_ms)] {
            let value = i64::try_from(value).map_err(|error| error.to_string())?;
            if table.insert(name.to_owned(), value.into()).is_some() {
                return Err(format!(
                    "[ledger.params] {name} follows from slot_seconds and epoch_minutes"
                ));
            }
        }
        let defaults = Params::default();
        let full = slots.clamp(1, u64::from(defaults.evidence_full));
        table
            .entry("evidence_full")
            .or_insert(toml::Value::Integer(full as i64));
        // Nobody votes in a simulation.
        table
            .entry("release_needs_vote")
            .or_insert(toml::Value::Boolean(false));
        // So whoever lost its vote would never have it back.
        table.entry("jail_epochs").or_insert(toml::Value::Integer(0));
        let fresh = |kind: Kind| {
            let is_told = self.world.kinds().contains(&kind);
            let as_fresh_as = if is_told { kind } else { Kind::Speed };
            let ms = defaults.freshness_ms.get(as_fresh_as);
            (kind.to_string(), toml::Value::Integer(ms as i64))
        };
        table
            .entry("freshness_ms")
            .or_insert(toml::Value::Table(Kind::ALL.into_iter().map(fresh).collect()));
        let params: Params = table
            .try_into()
            .map_err(|error| format!("[ledger.params] {}", one_line(&error)))?;
        params.validate().map_err(|error| format!("[ledger] {error}"))?;
        Ok(params)
    }

    fn check(&self) -> Result<(), String> {
        let positive = |name: &str, value: f64| {
            let fine = value.is_finite() && value > 0.0;
            if fine {
                Ok(())
            } else {
                Err(format!("expected a {name} above 0, found {value}"))
            }
        };
        let share = |name: &str, value: f64| {
            let fine = (0.0..=1.0).contains(&value);
            if fine {
                Ok(())
            } else {
                Err(format!("expected a {name} from 0 to 1, found {value}"))
            }
        };
        if let Some(minutes) = self.minutes {
            positive("number of minutes", minutes)?;
        }
        positive("slot_seconds", self.ledger.slot_seconds)?;
        positive("epoch_minutes", self.ledger.epoch_minutes)?;
        if !(1..=64).contains(&self.ledger.members) {
            return Err(format!("expected 1 to 64 members, found {}", self.ledger.members));
        }
        share("link.loss", self.link.loss)?;
        let (shortest, longest) = self.link.delay_ms;
        if shortest > longest {
            return Err(format!(
                "expected link.delay_ms as [shortest, longest], found [{shortest}, {longest}]"
            ));
        }
        match &self.world {
            World::Grid {
                cells, look_share, ..
            } => {
                share("look_share", *look_share)?;
                if !(1..=100_000).contains(cells) {
                    return Err(format!("expected 1 to 100000 cells, found {cells}"));
                }
            }
            World::Fcd {
                penetration,
                look_every_seconds,
                ..
            } => {
                share("penetration", *penetration)?;
                positive("look_every_seconds", *look_every_seconds)?;
            }
        }
        self.world.check_kinds()?;
        let shares: f64 = self
            .fleet
            .iter()
            .map(|fleet| {
                if let Size::Share(share) = fleet.size {
                    share
                } else {
                    0.0
                }
            })
            .sum();
        if shares > 1.0 + 1e-9 {
            return Err(format!(
                "expected fleets' shares of 1 together at most, found {shares}"
            ));
        }
        let members = self.ledger.members;
        for insider in &self.insider {
            if insider.member >= members {
                let (last, found) = (members - 1, insider.member);
                return Err(format!(
                    "insider: expected a member from 0 to {last}, found {found}"
                ));
            }
            if !(insider.from_minute.is_finite() && insider.from_minute >= 0.0) {
                let found = insider.from_minute;
                return Err(format!(
                    "insider: expected from_minute of 0 or more, found {found}"
                ));
            }
            share("insider.rivals_share", insider.rivals_share)?;
        }
        if let Some(found) = self.link.heard_by.filter(|units| !(1..=members).contains(units)) {
            return Err(format!(
                "expected link.heard_by from 1 to {members}, found {found}"
            ));
        }
        let units = fault::units(self.ledger.members, &self.fault);
        self.fault.iter().try_for_each(|fault| fault.check(units))?;
        for anchor in &self.anchor {
            positive("number of providers of an anchor", anchor.providers as f64)?;
            if !(anchor.sensor_sd_kmh.is_finite() && anchor.sensor_sd_kmh >= 0.0) {
                let found = anchor.sensor_sd_kmh;
                return Err(format!(
                    "anchor: expected sensor_sd_kmh of 0 or more, found {found}"
                ));
            }
            if let On::Lot(Size::Share(value)) = anchor.on {
                share("anchor.share", value)?;
            }
        }
        self.params().map(drop)
    }
}

impl TryFrom<toml::Table> for Fleet {
    type Error = String;

    /// Takes the fleet's own fields; what is left are the behaviour's parameters.
    fn try_from(mut table: toml::Table) -> Result<Self, String> {
        let mut number = |name: &str| match table.remove(name) {
            None => Ok(None),
            Some(value) => as_number(&value)
                .filter(|number| number.is_finite() && *number >= 0.0)
                .map(Some)
                .ok_or_else(|| format!("fleet: expected a number of 0 or more for {name}, found {value}")),
        };
        let (count, share) = (number("count")?, number("share")?);
        let from_minute = number("from_minute")?.unwrap_or(0.0);
        let (sensor_sd_kmh, sensor_bias_sd_kmh) = (number("sensor_sd_kmh")?, number("sensor_bias_sd_kmh")?);
        let size = match (count, share) {
            (Some(count), None) => Size::Count(count as usize),
            (None, Some(share)) => Size::Share(share),
            _ => return Err("fleet: expected either count or share".into()),
        };
        let one_owner = match table.remove("one_owner") {
            None => false,
            Some(toml::Value::Boolean(value)) => value,
            Some(other) => {
                return Err(format!(
                    "fleet: expected true or false for one_owner, found {other}"
                ));
            }
        };
        let name = match table.remove("behaviour") {
            Some(toml::Value::String(name)) => name,
            Some(other) => return Err(format!("fleet: expected a behaviour's name, found {other}")),
            None => return Err("fleet: expected a behaviour".into()),
        };
        let parameters = table
            .into_iter()
            .map(|(name, value)| match as_number(&value) {
                Some(number) => Ok((name, number)),
                None => Err(format!("fleet: expected a number for {name}, found {value}")),
            })
            .collect::<Result<BTreeMap<_, _>, _>>()?;
        let behaviour = Behaviour::named(&name, &parameters).map_err(|error| format!("fleet: {error}"))?;
        Ok(Self {
            size,
            name,
            behaviour,
            from_minute,
            sensor_sd_kmh,
            sensor_bias_sd_kmh,
            one_owner,
        })
    }
}

fn as_number(value: &toml::Value) -> Option<f64> {
    value
        .as_float()
        .or_else(|| value.as_integer().map(|integer| integer as f64))
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

/// A number of minutes in milliseconds.
pub fn minutes_ms(minutes: f64) -> u64 {
    milliseconds(minutes * 60.0)
}

fn one_line(error: &toml::de::Error) -> String {
    error.message().replace('\n', " ")
}

fn speed_alone() -> Vec<Kind> {
    vec![Kind::Speed]
}

const fn one() -> u64 {
    1
}

const fn one_provider() -> usize {
    1
}

fn whole() -> f64 {
    1.0
}

const fn hundred() -> usize {
    100
}

const fn look_share() -> f64 {
    0.6
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: &str = "[world]\nkind = \"grid\"\n";

    fn error(text: &str) -> String {
        Scenario::parse(text, "town.toml")
            .expect_err("no scenario")
            .to_string()
    }

    #[test]
    fn defaults_fill_what_is_not_said() {
        let scenario = Scenario::parse(GRID, "town.toml").expect("a scenario");
        assert_eq!(
            (scenario.seed, scenario.ledger.members, scenario.slot_ms()),
            (1, 4, 60_000)
        );
        let params = scenario.params().expect("params");
        assert_eq!((params.epoch_ms, params.evidence_full), (300_000, 5));
    }

    #[test]
    fn the_scenario_of_the_manual_is_one() {
        let text = r#"
            minutes = 60
            [world]
            kind = "grid"
            cells = 100
            [ledger]
            members = 4
            epoch_minutes = 5
            slot_seconds = 60
            [link]
            delay_ms = [5, 25]
            loss = 0.01
            [[fleet]]
            count = 240
            behaviour = "honest"
            sensor_sd_kmh = 3.0
            [[fleet]]
            count = 60
            behaviour = "bias"
            offset_kmh = -25.0
            from_minute = 10
            [[fault]]
            kind = "crash"
            member = 2
            at_minute = 20
            for_minutes = 5
            [expect]
            "picture.speed_mae_kmh" = { max = 3.5 }
            "invariants.conservation" = true
        "#;
        let scenario = Scenario::parse(text, "town.toml").expect("a scenario");
        assert_eq!(
            scenario.fleet[1].behaviour,
            Behaviour::Bias {
                offset_kmh: -25.0,
                offset_pct: 40.0
            }
        );
        assert_eq!(
            (scenario.fault[0].at_ms, scenario.fault[0].end_ms()),
            (1_200_000, 1_500_000)
        );
        assert_eq!(
            scenario.expect["invariants.conservation"],
            Expectation::Bool(true)
        );
    }

    #[test]
    fn an_error_names_file_line_and_what_was_expected() {
        let text = error("[world]\nkind = \"grid\"\ncels = 3\n");
        assert!(
            text.starts_with("town.toml: ") && text.contains("line 1") && text.contains("`cels`"),
            "{text}"
        );
        let text = error(&format!(
            "{GRID}[[fleet]]\ncount = 3\nbehaviour = \"bias\"\nofset = 1\n"
        ));
        assert!(
            text.contains("line 3") && text.contains("bias takes offset_kmh"),
            "{text}"
        );
        let text = error(&format!(
            "{GRID}[[fault]]\nkind = \"crash\"\nmember = 9\nat_minute = 1\nfor_minutes = 1\n"
        ));
        assert!(text.contains("from 0 to 3, found 9"), "{text}");
        let text = error(&format!("{GRID}[ledger]\nslot_seconds = 7\n"));
        assert!(text.contains("whole number of slots"), "{text}");
        let text = error(&format!("{GRID}[ledger.params]\nslots = 7\n"));
        assert!(text.contains("unknown field `slots`"), "{text}");
    }

    #[test]
    fn kinds_are_as_fresh_as_the_rules_say_where_vehicles_report_them() {
        let freshness = |text: &str| {
            let scenario = Scenario::parse(text, "town.toml").expect("a scenario");
            scenario.params().expect("params").freshness_ms
        };
        let fresh = freshness(GRID);
        assert_eq!((fresh.speed, fresh.max()), (60_000, 60_000));
        let fresh = freshness(&format!("{GRID}kinds = [\"speed\", \"hazard\"]\n"));
        assert_eq!((fresh.humidity, fresh.hazard), (60_000, 300_000));
        for wrong in ["[]", "[\"humidity\"]", "[\"speed\", \"speed\"]"] {
            let text = error(&format!("{GRID}kinds = {wrong}\n"));
            assert!(text.contains("expected speed among world.kinds"), "{text}");
        }
        let fcd = "[world]\nkind = \"fcd\"\nfile = \"x.xml\"\nkinds = [\"speed\", \"humidity\"]\n";
        assert!(error(fcd).contains("found [speed, humidity]"), "{}", error(fcd));
    }

    #[test]
    fn what_is_not_built_is_refused() {
        assert!(error(&format!("{GRID}[[anchor]]\ncells = 0.1\n")).contains("cells"));
        assert!(error(&format!("{GRID}[[anchor]]\nproviders = 2\n")).contains("either count"));
    }
}
