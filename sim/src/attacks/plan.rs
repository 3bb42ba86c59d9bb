//! Which attacks are measured, and what must come of them?
//!
//! An [`Attack`] is a fleet of a scenario, with its targets. [`scenario`] writes the scenario out, so that `milepost-sim run`
//! can play the very same with nodes, units and a radio.

use std::fmt::Write as _;

use super::outcome::Figure;
use crate::behaviour::is_target;

/// One attack.
pub struct Attack {
    /// Its name in the table.
    pub name: &'static str,
    /// What goes on.
    pub about: &'static str,
    /// The fleet's lines, but for its size.
    fleet: &'static str,
    /// How many vehicles there are in it; else the share that is asked for.
    count: Option<u32>,
    sensors: Sensors,
    /// The conducts of members that do not mean well, from the first member on.
    insiders: &'static [&'static str],
    /// How many of the four units hear a vehicle; all, where nothing is said.
    heard_by: Option<u8>,
    /// What must hold, besides [`EVERYWHERE`].
    pub targets: &'static [Target],
}

/// Where roadside sensors stand: on a tenth of the roads, two on each, of two providers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sensors {
    Nowhere,
    ByLot,
    OnTargets,
}

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Which.
    pub figure: Figure,
    /// At least, or at most, this.
    pub bound: Bound,
    /// Up to so many percent of attackers.
    pub to_percent: u32,
}

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// At least.
    Min(f64),
    /// At most.
    Max(f64),
}

const fn min(figure: Figure, bound: f64, to_percent: u32) -> Target {
    Target {
        figure,
        bound: Bound::Min(bound),
        to_percent,
    }
}

const fn max(figure: Figure, bound: f64, to_percent: u32) -> Target {
    Target {
        figure,
        bound: Bound::Max(bound),
        to_percent,
    }
}

/// What must hold under every attack.
pub const EVERYWHERE: &[Target] = &[
    max(Figure::HonestQuarantined, 0.01, 40),
    max(Figure::Gini, 0.25, 40),
];

const LIARS: &[Target] = &[
    min(Figure::PayRatio, 20.0, 40),
    max(Figure::Error, 1.5, 40),
    max(Figure::QuarantinedAfter, 8.0, 40),
];

const NONE: Attack = Attack {
    name: "",
    about: "",
    fleet: "",
    count: None,
    sensors: Sensors::Nowhere,
    insiders: &[],
    heard_by: None,
    targets: &[],
};

/// The shares of attackers, in percent.
pub const PERCENTS: [u32; 4] = [10, 20, 30, 40];

/// Every attack, in the order of the table.
pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "bias",
        about: "says 25 km/h less, always",
        fleet: "behaviour = \"bias\"",
        targets: LIARS,
        ..NONE
    },
    Attack {
        name: "random",
        about: "draws a speed",
        fleet: "behaviour = \"random\"",
        targets: LIARS,
        ..NONE
    },
    Attack {
        name: "collude",
        about: "the same invented jam, everywhere",
        fleet: "behaviour = \"collude\"",
        targets: LIARS,
        ..NONE
    },
    Attack {
        name: "collude_cell",
        about: "the same invented jam, on one road",
        fleet: "behaviour = \"collude_cell\"",
        ..NONE
    },
    Attack {
        name: "constant",
        about: "40 km/h, always",
        fleet: "behaviour = \"constant\"",
        ..NONE
    },
    Attack {
        name: "class_mean",
        about: "what is usual on such roads",
        fleet: "behaviour = \"class_mean\"",
        targets: &[min(Figure::PayRatio, 5.0, 30)],
        ..NONE
    },
    Attack {
        name: "copycat",
        about: "repeats the published picture",
        fleet: "behaviour = \"copycat\"",
        targets: &[min(Figure::PayRatio, 4.0, 30)],
        ..NONE
    },
    Attack {
        name: "eavesdrop",
        about: "repeats what others have just said there",
        fleet: "behaviour = \"eavesdrop\"",
        ..NONE
    },
    Attack {
        name: "camouflage",
        about: "lies in one report of five",
        fleet: "behaviour = \"camouflage\"",
        targets: &[min(Figure::PayRatio, 5.0, 40)],
        ..NONE
    },
    Attack {
        name: "on_off",
        about: "five epochs honest, five lying",
        fleet: "behaviour = \"on_off\"\nhonest_minutes = 60\nlying_minutes = 60",
        targets: &[min(Figure::PayRatio, 3.0, 40)],
        ..NONE
    },
    Attack {
        name: "ghost",
        about: "claims roads where it is not",
        fleet: "behaviour = \"ghost\"",
        targets: &[min(Figure::PayRatio, 50.0, 40)],
        ..NONE
    },
    Attack {
        name: "scarcity",
        about: "claims the road that fewest report of",
        fleet: "behaviour = \"scarcity\"",
        targets: &[max(Figure::AttackerPay, 0.0, 40)],
        ..NONE
    },
    Attack {
        name: "replay",
        about: "sends others' reports once more",
        fleet: "behaviour = \"replay\"",
        targets: &[max(Figure::AttackerPay, 0.0, 40)],
        ..NONE
    },
    Attack {
        name: "sybil, one car",
        about: "one honest car with ten keys",
        fleet: "behaviour = \"sybil\"",
        count: Some(1),
        targets: &[max(Figure::PayAgainstOneKey, 1.1, 40)],
        ..NONE
    },
    Attack {
        name: "sybil",
        about: "honest cars with ten keys each",
        fleet: "behaviour = \"sybil\"",
        targets: &[max(Figure::PayAgainstOneKey, 1.1, 40)],
        ..NONE
    },
    Attack {
        name: "whitewash",
        about: "says 25 km/h less, with a new key after each quarantine",
        fleet: "behaviour = \"whitewash\"",
        targets: &[max(Figure::Net, 0.0, 40)],
        ..NONE
    },
    Attack {
        name: "false_hazard",
        about: "claims dangers that are not there, in chorus",
        fleet: "behaviour = \"false_hazard\"",
        targets: &[max(Figure::Believed, 0.12, 30)],
        ..NONE
    },
    Attack {
        name: "hijacked",
        about: "in others' hands for five epochs, then cleaned",
        fleet: "behaviour = \"hijacked\"",
        ..NONE
    },
    Attack {
        name: "target",
        about: "lies on a tenth of the roads",
        fleet: "behaviour = \"target\"",
        ..NONE
    },
    Attack {
        name: "target, sensors",
        about: "the same, with sensors on a tenth of the roads, by lot",
        fleet: "behaviour = \"target\"",
        sensors: Sensors::ByLot,
        targets: &[max(Figure::ErrorThere, 1.6, 40)],
        ..NONE
    },
    Attack {
        name: "target, sensors there",
        about: "the same, with sensors on those roads",
        fleet: "behaviour = \"target\"",
        sensors: Sensors::OnTargets,
        targets: &[max(Figure::ErrorThere, 1.6, 40)],
        ..NONE
    },
    Attack {
        name: "forge_reception",
        about: "one unit of four claims to have heard all; each road is heard by two",
        insiders: &["forge_reception"],
        heard_by: Some(2),
        ..NONE
    },
    Attack {
        name: "censor",
        about: "one unit of four leaves out a rival's vehicles; each road is heard by two",
        insiders: &["censor"],
        heard_by: Some(2),
        targets: &[min(Figure::RivalPay, 0.95, 40)],
        ..NONE
    },
    Attack {
        name: "censor, alone there",
        about: "the same, where each road is heard by one unit",
        insiders: &["censor"],
        heard_by: Some(1),
        ..NONE
    },
    Attack {
        name: "accuse",
        about: "one member of four asks for a rival's vehicles' quarantine",
        insiders: &["accuse"],
        targets: &[min(Figure::RivalPay, 0.95, 40)],
        ..NONE
    },
    Attack {
        name: "accuse, two",
        about: "two members of four ask for it, and approve of each other's asking",
        insiders: &["accuse", "accuse"],
        targets: &[min(Figure::RivalPay, 0.95, 40)],
        ..NONE
    },
];

/// Which sensors there are, and how many units hear a vehicle.
pub type Town = (u8, u8);

/// How a town is attacked.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Epochs in which everybody is honest.
    pub warm: u32,
    /// Epochs under attack.
    pub epochs: u32,
    /// Slots of a minute in an epoch.
    pub slots: u32,
}

impl Setting {
    /// When the attack begins.
    pub fn from_minute(&self) -> u32 {
        self.warm * self.slots
    }
}

impl Attack {
    /// Whether its size is its own, so that shares make no difference.
    pub fn has_own_size(&self) -> bool {
        self.count.is_some() || !self.insiders.is_empty()
    }

    /// With which other attacks its runs without an attack can be shared.
    pub fn town(&self) -> Town {
        (self.sensors as u8, self.heard_by.unwrap_or(0))
    }

    /// What must hold where `percent` attack.
    pub fn targets_at(&self, percent: u32) -> impl Iterator<Item = &Target> {
        self.targets
            .iter()
            .chain(EVERYWHERE)
            .filter(move |target| percent <= target.to_percent)
    }

    /// The scenario in which `percent` of the vehicles attack; with 0, nobody does.
    pub fn scenario(&self, setting: &Setting, percent: u32) -> String {
        let minutes = (setting.warm + setting.epochs) * setting.slots;
        let mut text = format!(
            "# {}\nminutes = {minutes}\n\n[world]\nkind = \"grid\"\nvehicles = 300\n\n[ledger]\nepoch_minutes = {}\n\
             slot_seconds = 60\n",
            self.about, setting.slots,
        );
        if let Some(units) = self.heard_by {
            let _ = write!(text, "\n[link]\nheard_by = {units}\n");
        }
        let insiders = self.insiders.iter().enumerate().filter(|_| percent > 0);
        for (member, conduct) in insiders {
            let from = setting.from_minute();
            let _ = write!(
                text,
                "\n[[insider]]\nmember = {member}\nconduct = \"{conduct}\"\nfrom_minute = {from}\n"
            );
        }
        if percent > 0 && !self.fleet.is_empty() {
            let size = match self.count {
                Some(count) => format!("count = {count}"),
                None => format!("share = {}", f64::from(percent) / 100.0),
            };
            let from = setting.from_minute();
            let _ = write!(
                text,
                "\n[[fleet]]\n{size}\nfrom_minute = {from}\n{}\n",
                self.fleet
            );
        }
        match self.sensors {
            Sensors::Nowhere => {}
            Sensors::ByLot => text.push_str("\n[[anchor]]\nshare = 0.1\nproviders = 2\n"),
            Sensors::OnTargets => {
                let targets = (0..100).filter(|&road| is_target(road, 0.1));
                let names: Vec<String> = targets
                    .map(|road| format!("\"{}/{}\"", road % 10, road / 10))
                    .collect();
                let _ = write!(
                    text,
                    "\n[[anchor]]\nroads = [{}]\nproviders = 2\n",
                    names.join(", ")
                );
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::SPECS;
    use crate::insider::CONDUCTS;
    use crate::scenario::Scenario;

    const SETTING: Setting = Setting {
        warm: 6,
        epochs: 24,
        slots: 12,
    };

    #[test]
    fn every_attack_is_a_scenario() {
        for attack in ATTACKS {
            for percent in [0, 30] {
                let text = attack.scenario(&SETTING, percent);
                let scenario = Scenario::parse(&text, attack.name).expect(attack.name);
                let is_attacked = !(scenario.fleet.is_empty() && scenario.insider.is_empty());
                assert_eq!(is_attacked, percent > 0, "{}", attack.name);
            }
        }
    }

    #[test]
    fn every_behaviour_is_an_attack_that_is_measured() {
        for spec in SPECS.iter().filter(|spec| spec.name != "honest") {
            let named = format!("behaviour = \"{}\"", spec.name);
            assert!(
                ATTACKS.iter().any(|attack| attack.fleet.starts_with(&named)),
                "{}",
                spec.name
            );
        }
        for spec in CONDUCTS {
            assert!(
                ATTACKS.iter().any(|attack| attack.insiders.contains(&spec.name)),
                "{}",
                spec.name
            );
        }
    }
}
