//! What does a vehicle say, given what it sees?
//!
//! In: a [`Seen`]: the true reading and what anybody can know, the published picture above all. Out: a [`Say`].
//! A behaviour is a pure function of these, of time and of a stream of chance; its signatures are always real,
//! since a liar has a key as good as anyone's.
//!
//! What it says besides speed follows from that: [`crate::beside`].
//!
//! [`SPECS`] is the one list of behaviours, with parameters and defaults: a scenario's `[[fleet]]` is read
//! against it and `milepost-sim behaviours` prints it.

use std::collections::BTreeMap;

use crate::beside::OFFSET_PCT;
use crate::insider::CONDUCTS;
use crate::rng::Rng;

/// What a vehicle sees, and what anybody can know. Speeds in km/h.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// What its own sensor reads.
    pub reading_kmh: f64,
    /// The last published estimate of this road, if there is one.
    pub published_kmh: Option<f64>,
    /// The mean of roads of this class.
    pub class_mean_kmh: f64,
    /// Which road this is.
    pub road: usize,
    /// How many roads there are.
    pub roads: usize,
    /// Minutes since it began to behave so.
    pub minute: f64,
}

impl Seen {
    /// What one would guess without looking at the road.
    fn known_kmh(&self) -> f64 {
        self.published_kmh.unwrap_or(self.class_mean_kmh)
    }
}

/// What a vehicle says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Say {
    /// This speed, on the road where it is.
    Here(f64),
    /// On another road, as fast as is published there.
    There(usize),
    /// On the road that fewest report of, as fast as is published there.
    Scarcest,
    /// On the road where it is, what others have just said of it; nothing where nobody has.
    Overheard,
    /// A danger of this cause (ETSI TS 102 894-2), on the road where it is.
    Danger(u8),
    /// Nothing of its own: it sends once more what it heard another vehicle send.
    Again,
    /// Nothing.
    Nothing,
}

/// How a vehicle behaves. Parameters as in [`SPECS`].
#[expect(
    missing_docs,
    reason = "SPECS describes every parameter, and is what users are shown"
)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Behaviour {
    /// Says what it sees.
    Honest,
    /// Is off by the same amount always.
    Bias { offset_kmh: f64, offset_pct: f64 },
    /// Draws a number.
    Random { low_kmh: f64, high_kmh: f64 },
    /// Says the same always.
    Constant { speed_kmh: f64 },
    /// Says what is usual for the class of road.
    ClassMean,
    /// Repeats the published picture.
    Copycat,
    /// Lies in some reports only.
    Camouflage { lie_share: f64, offset_kmh: f64 },
    /// Is honest for a while, then lies for a while.
    OnOff {
        honest_minutes: f64,
        lying_minutes: f64,
        offset_kmh: f64,
    },
    /// Lies on some roads only, the same for the whole fleet.
    Target { roads_share: f64, offset_kmh: f64 },
    /// Tells the same invented jam as its fellows.
    Collude { slower_kmh: f64 },
    /// Tells the same invented jam as its fellows, of one road; honest on all others.
    ColludeCell { slower_kmh: f64 },
    /// Claims to be where it is not.
    Ghost { elsewhere_share: f64 },
    /// Claims to be where few are, since scarcity is paid.
    Scarcity,
    /// Repeats what others have just said of the road.
    Eavesdrop,
    /// Sends others' reports once more.
    Replay,
    /// Reports honestly, under several keys at once.
    Sybil { keys: f64 },
    /// Is off by the same amount always, and under a new key as soon as the last one is in quarantine.
    Whitewash { keys: f64, offset_kmh: f64 },
    /// Claims dangers that are not there, the same as its fellows.
    FalseHazard { roads_share: f64 },
    /// Is in others' hands for a while, and then cleaned.
    Hijacked { lying_minutes: f64, offset_kmh: f64 },
}

/// The danger that is claimed falsely: stationary vehicle (ETSI TS 102 894-2, `CauseCodeType`).
const FALSE_CAUSE: u8 = 94;
/// A false danger is claimed for so many minutes.
const FALSE_DANGER_MINUTES: f64 = 10.0;

/// A behaviour as a scenario names it.
pub struct Spec {
    /// Its name.
    pub name: &'static str,
    /// What such a vehicle does.
    pub about: &'static str,
    /// Its parameters, in the order that `build` takes them.
    pub parameters: &'static [Parameter],
    build: fn(&[f64]) -> Behaviour,
}

/// A number that a scenario may set.
#[derive(serde::Serialize)]
pub struct Parameter {
    /// Its name, with its unit.
    pub name: &'static str,
    /// What it is where the scenario says nothing.
    pub default: f64,
    /// What it means.
    pub about: &'static str,
}

const fn parameter(name: &'static str, default: f64, about: &'static str) -> Parameter {
    Parameter { name, default, about }
}

const OFFSET: Parameter = parameter("offset_kmh", -25.0, "added to the true reading in a lie");

const SLOWER: Parameter = parameter("slower_kmh", 30.0, "how much slower than usual the jam is");

/// Every behaviour there is.
pub const SPECS: &[Spec] = &[
    Spec {
        name: "honest",
        about: "says what its sensor reads",
        parameters: &[],
        build: |_| Behaviour::Honest,
    },
    Spec {
        name: "bias",
        about: "adds the same to every reading: a broken sensor, or an invented jam",
        parameters: &[
            parameter("offset_kmh", -25.0, "added to every reading of speed"),
            parameter("offset_pct", OFFSET_PCT, "added to every reading of humidity"),
        ],
        build: |p| Behaviour::Bias {
            offset_kmh: p[0],
            offset_pct: p[1],
        },
    },
    Spec {
        name: "random",
        about: "draws a speed",
        parameters: &[
            parameter("low_kmh", 3.0, "the slowest it draws"),
            parameter("high_kmh", 90.0, "the fastest it draws"),
        ],
        build: |p| Behaviour::Random {
            low_kmh: p[0],
            high_kmh: p[1],
        },
    },
    Spec {
        name: "constant",
        about: "says one speed, everywhere and always",
        parameters: &[parameter("speed_kmh", 40.0, "what it says")],
        build: |p| Behaviour::Constant { speed_kmh: p[0] },
    },
    Spec {
        name: "class_mean",
        about: "says what is usual on roads of this class, and does not look",
        parameters: &[],
        build: |_| Behaviour::ClassMean,
    },
    Spec {
        name: "copycat",
        about: "repeats the last published estimate of the road, and does not look",
        parameters: &[],
        build: |_| Behaviour::Copycat,
    },
    Spec {
        name: "camouflage",
        about: "lies in some of its reports",
        parameters: &[
            parameter("lie_share", 0.2, "the share of reports that are lies"),
            OFFSET,
        ],
        build: |p| Behaviour::Camouflage {
            lie_share: p[0],
            offset_kmh: p[1],
        },
    },
    Spec {
        name: "on_off",
        about: "earns trust for a while, spends it for a while",
        parameters: &[
            parameter("honest_minutes", 25.0, "how long it is honest"),
            parameter("lying_minutes", 25.0, "how long it then lies"),
            OFFSET,
        ],
        build: |p| Behaviour::OnOff {
            honest_minutes: p[0],
            lying_minutes: p[1],
            offset_kmh: p[2],
        },
    },
    Spec {
        name: "target",
        about: "lies on some roads only, the whole fleet on the same ones",
        parameters: &[
            parameter("roads_share", 0.1, "the share of roads it lies about"),
            OFFSET,
        ],
        build: |p| Behaviour::Target {
            roads_share: p[0],
            offset_kmh: p[1],
        },
    },
    Spec {
        name: "collude",
        about: "tells the same invented jam as its fellows: they agree with one another",
        parameters: &[SLOWER],
        build: |p| Behaviour::Collude { slower_kmh: p[0] },
    },
    Spec {
        name: "collude_cell",
        about: "tells the same invented jam as its fellows, of one road only; honest on all others",
        parameters: &[SLOWER],
        build: |p| Behaviour::ColludeCell { slower_kmh: p[0] },
    },
    Spec {
        name: "ghost",
        about: "claims roads it is not on, at their published speed",
        parameters: &[parameter(
            "elsewhere_share",
            1.0,
            "the share of reports from elsewhere",
        )],
        build: |p| Behaviour::Ghost {
            elsewhere_share: p[0],
        },
    },
    Spec {
        name: "scarcity",
        about: "claims the road that fewest report of, at its published speed: what is scarce is paid more",
        parameters: &[],
        build: |_| Behaviour::Scarcity,
    },
    Spec {
        name: "eavesdrop",
        about: "repeats what others have just said of the road, and does not look; silent where nobody has",
        parameters: &[],
        build: |_| Behaviour::Eavesdrop,
    },
    Spec {
        name: "replay",
        about: "sends once more, byte for byte, what it heard other vehicles send",
        parameters: &[],
        build: |_| Behaviour::Replay,
    },
    Spec {
        name: "sybil",
        about: "is honest, and reports all it sees under several keys, which have one owner",
        parameters: &[parameter("keys", 10.0, "how many keys each vehicle has")],
        build: |p| Behaviour::Sybil { keys: p[0] },
    },
    Spec {
        name: "whitewash",
        about: "lies, and comes back with a new key and another owner's name when the last one is in quarantine",
        parameters: &[
            parameter("keys", 4.0, "how many keys each vehicle has, one after the other"),
            OFFSET,
        ],
        build: |p| Behaviour::Whitewash {
            keys: p[0],
            offset_kmh: p[1],
        },
    },
    Spec {
        name: "false_hazard",
        about: "claims a danger on some roads, ten minutes long, the whole fleet on the same ones; honest elsewhere",
        parameters: &[parameter(
            "roads_share",
            0.1,
            "the share of roads with an invented danger, at any time",
        )],
        build: |p| Behaviour::FalseHazard { roads_share: p[0] },
    },
    Spec {
        name: "hijacked",
        about: "lies while it is in others' hands, and is honest again once it is cleaned",
        parameters: &[
            parameter("lying_minutes", 60.0, "how long it is in others' hands"),
            OFFSET,
        ],
        build: |p| Behaviour::Hijacked {
            lying_minutes: p[0],
            offset_kmh: p[1],
        },
    },
];

/// Why a fleet cannot behave so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchBehaviour {
    /// The name is not in [`SPECS`].
    #[error("expected a behaviour ({known}), found {found:?}")]
    Name {
        /// What was asked for.
        found: String,
        /// What there is.
        known: String,
    },
    /// The behaviour has no such parameter.
    #[error("{behaviour} takes {}, found {found:?}", if known.is_empty() { "no parameters" } else { known })]
    Parameter {
        /// Which behaviour.
        behaviour: &'static str,
        /// What was set.
        found: String,
        /// What can be.
        known: String,
    },
    /// A share that is none.
    #[error("{behaviour}: {parameter} is a share from 0 to 1, found {found}")]
    Share {
        /// Which behaviour.
        behaviour: &'static str,
        /// Which parameter.
        parameter: &'static str,
        /// What was set.
        found: String,
    },
    /// A number of keys that is none.
    #[error("{behaviour}: keys are a whole number from 1 to {KEYS_MAX}, found {found}")]
    Keys {
        /// Which behaviour.
        behaviour: &'static str,
        /// What was set.
        found: String,
    },
}

/// A vehicle has no more keys than this.
pub const KEYS_MAX: u32 = 100;

impl Behaviour {
    /// The behaviour of this name; what `given` does not set has its default.
    ///
    /// # Errors
    ///
    /// [`NoSuchBehaviour`].
    pub fn named(name: &str, given: &BTreeMap<String, f64>) -> Result<Self, NoSuchBehaviour> {
        let names = |names: &mut dyn Iterator<Item = &'static str>| names.collect::<Vec<_>>().join(", ");
        let spec = SPECS
            .iter()
            .find(|spec| spec.name == name)
            .ok_or_else(|| NoSuchBehaviour::Name {
                found: name.to_owned(),
                known: names(&mut SPECS.iter().map(|spec| spec.name)),
            })?;
        let known = |found: &str| spec.parameters.iter().any(|parameter| parameter.name == found);
        if let Some(found) = given.keys().find(|found| !known(found)) {
            return Err(NoSuchBehaviour::Parameter {
                behaviour: spec.name,
                found: found.clone(),
                known: names(&mut spec.parameters.iter().map(|parameter| parameter.name)),
            });
        }
        let mut values = Vec::with_capacity(spec.parameters.len());
        for parameter in spec.parameters {
            let value = given.get(parameter.name).copied().unwrap_or(parameter.default);
            if parameter.name.ends_with("_share") && !(0.0..=1.0).contains(&value) {
                return Err(NoSuchBehaviour::Share {
                    behaviour: spec.name,
                    parameter: parameter.name,
                    found: value.to_string(),
                });
            }
            let is_count = value.fract() == 0.0 && (1.0..=f64::from(KEYS_MAX)).contains(&value);
            if parameter.name == "keys" && !is_count {
                return Err(NoSuchBehaviour::Keys {
                    behaviour: spec.name,
                    found: value.to_string(),
                });
            }
            values.push(value);
        }
        Ok((spec.build)(&values))
    }

    /// How many keys one vehicle has, in the course of time.
    pub fn keys(&self) -> usize {
        match *self {
            Self::Sybil { keys } | Self::Whitewash { keys, .. } => keys as usize,
            _ => 1,
        }
    }

    /// What such a vehicle says of what it sees.
    pub fn say(&self, seen: &Seen, rng: &mut Rng) -> Say {
        let lie = |offset_kmh: f64| Say::Here(seen.reading_kmh + offset_kmh);
        let truth = Say::Here(seen.reading_kmh);
        match *self {
            Self::Honest => truth,
            Self::Bias { offset_kmh, .. } => lie(offset_kmh),
            Self::Random { low_kmh, high_kmh } => Say::Here(rng.between(low_kmh, high_kmh)),
            Self::Constant { speed_kmh } => Say::Here(speed_kmh),
            Self::ClassMean => Say::Here(seen.class_mean_kmh),
            Self::Copycat => Say::Here(seen.known_kmh()),
            Self::Camouflage {
                lie_share,
                offset_kmh,
            } if rng.chance(lie_share) => lie(offset_kmh),
            Self::OnOff {
                honest_minutes,
                lying_minutes,
                offset_kmh,
            } if seen.minute % (honest_minutes + lying_minutes) >= honest_minutes => lie(offset_kmh),
            Self::Target {
                roads_share,
                offset_kmh,
            } if is_target(seen.road, roads_share) => lie(offset_kmh),
            Self::Hijacked {
                lying_minutes,
                offset_kmh,
            } if seen.minute < lying_minutes => lie(offset_kmh),
            Self::Whitewash { offset_kmh, .. } => lie(offset_kmh),
            Self::Collude { slower_kmh } => Say::Here(seen.class_mean_kmh - slower_kmh),
            Self::ColludeCell { slower_kmh } if seen.road == chosen_road(seen.roads) => {
                Say::Here(seen.class_mean_kmh - slower_kmh)
            }
            Self::FalseHazard { roads_share } if is_false_danger(seen.road, seen.minute, roads_share) => {
                Say::Danger(FALSE_CAUSE)
            }
            Self::Ghost { elsewhere_share } if rng.chance(elsewhere_share) => {
                Say::There(rng.below(seen.roads as u64) as usize)
            }
            Self::Scarcity => Say::Scarcest,
            Self::Eavesdrop => Say::Overheard,
            Self::Replay => Say::Again,
            Self::Camouflage { .. }
            | Self::OnOff { .. }
            | Self::Target { .. }
            | Self::Hijacked { .. }
            | Self::ColludeCell { .. }
            | Self::FalseHazard { .. }
            | Self::Ghost { .. }
            | Self::Sybil { .. } => truth,
        }
    }
}

// Hashes, so that a fleet agrees without a word.

/// Whether a fleet that lies about this share of roads lies about this one.
pub fn is_target(road: usize, roads_share: f64) -> bool {
    Rng::fork(0, "target", road as u64).chance(roads_share)
}

/// The one road that colluders have agreed on, of so many.
pub fn chosen_road(roads: usize) -> usize {
    Rng::fork(0, "collude", 0).below(roads as u64) as usize
}

/// Whether a fleet invents a danger on this road at this minute.
pub fn is_false_danger(road: usize, minute: f64, roads_share: f64) -> bool {
    let period = (minute / FALSE_DANGER_MINUTES) as u64;
    Rng::fork(period, "false danger", road as u64).chance(roads_share)
}

/// Every behaviour of vehicles, and conduct of members, as one JSON object: `{NAME: {of, about, parameters: [{name,
/// default, about}]}}`, where `of` is `fleet` or `insider`.
pub fn json() -> String {
    let described = |of: &str, name: &str, about: &str, parameters: &[Parameter]| {
        let value = serde_json::json!({ "of": of, "about": about, "parameters": parameters });
        (name.to_owned(), value)
    };
    let fleets = SPECS
        .iter()
        .map(|spec| described("fleet", spec.name, spec.about, spec.parameters));
    let insiders = CONDUCTS
        .iter()
        .map(|spec| described("insider", spec.name, spec.about, spec.parameters));
    serde_json::Value::Object(fleets.chain(insiders).collect()).to_string()
}

/// Every behaviour of vehicles, and conduct of members, for people.
pub fn table() -> String {
    let mut lines = vec!["Vehicles, [[fleet]] behaviour:".to_owned()];
    for spec in SPECS {
        describe(&mut lines, spec.name, spec.about, spec.parameters);
    }
    lines.push("\nMembers at their roadside units, [[insider]] conduct:".to_owned());
    for spec in CONDUCTS {
        describe(&mut lines, spec.name, spec.about, spec.parameters);
    }
    lines.join("\n")
}

fn describe(lines: &mut Vec<String>, name: &str, about: &str, parameters: &[Parameter]) {
    lines.push(format!("{name:<17}{about}"));
    for Parameter { name, default, about } in parameters {
        lines.push(format!("  {name} = {default:<10} {about}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Seen = Seen {
        reading_kmh: 50.0,
        published_kmh: Some(44.0),
        class_mean_kmh: 60.0,
        road: 3,
        roads: 100,
        minute: 0.0,
    };

    fn named(name: &str, given: &[(&str, f64)]) -> Result<Behaviour, NoSuchBehaviour> {
        Behaviour::named(
            name,
            &given
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect(),
        )
    }

    #[test]
    fn every_behaviour_can_be_named_and_says_something() {
        for spec in SPECS {
            let behaviour = named(spec.name, &[]).expect(spec.name);
            assert_ne!(
                behaviour.say(&SEEN, &mut Rng::new(1)),
                Say::Nothing,
                "{}",
                spec.name
            );
        }
    }

    #[test]
    fn parameters_replace_defaults_and_unknown_ones_are_refused() {
        assert_eq!(
            named("bias", &[("offset_kmh", 5.0)]),
            Ok(Behaviour::Bias {
                offset_kmh: 5.0,
                offset_pct: OFFSET_PCT
            })
        );
        let error = named("bias", &[("offset", 5.0)])
            .expect_err("no such parameter")
            .to_string();
        assert_eq!(error, "bias takes offset_kmh, offset_pct, found \"offset\"");
        let error = named("honest", &[("x", 5.0)])
            .expect_err("no such parameter")
            .to_string();
        assert_eq!(error, "honest takes no parameters, found \"x\"");
        assert!(
            named("saint", &[])
                .expect_err("no such name")
                .to_string()
                .contains("camouflage")
        );
        assert!(named("camouflage", &[("lie_share", 1.5)]).is_err());
        for keys in [0.0, 2.5, 1e9] {
            assert!(named("sybil", &[("keys", keys)]).is_err(), "{keys}");
        }
    }

    #[test]
    fn who_does_not_look_says_nothing_of_the_road() {
        let elsewhere = Seen {
            reading_kmh: 10.0,
            ..SEEN
        };
        for name in [
            "random",
            "constant",
            "class_mean",
            "copycat",
            "collude",
            "ghost",
            "scarcity",
            "eavesdrop",
        ] {
            let behaviour = named(name, &[]).expect(name);
            let say = |seen: &Seen| behaviour.say(seen, &mut Rng::new(4));
            assert_eq!(say(&SEEN), say(&elsewhere), "{name}");
        }
    }

    #[test]
    fn a_fleet_agrees_on_its_targets() {
        let target = named("target", &[]).expect("a behaviour");
        let lied = |seed: u64| -> Vec<bool> {
            let mut rng = Rng::new(seed);
            (0..200)
                .map(|road| target.say(&Seen { road, ..SEEN }, &mut rng) != Say::Here(50.0))
                .collect()
        };
        assert_eq!(lied(1), lied(2));
        let count = lied(1).into_iter().filter(|lie| *lie).count();
        assert!((8..40).contains(&count), "{count}");
    }

    #[test]
    fn a_hijacked_vehicle_is_cleaned_after_an_hour() {
        let hijacked = named("hijacked", &[]).expect("a behaviour");
        let say = |minute: f64| hijacked.say(&Seen { minute, ..SEEN }, &mut Rng::new(1));
        assert_eq!((say(59.0), say(60.0)), (Say::Here(25.0), Say::Here(50.0)));
    }

    #[test]
    fn a_fleet_invents_the_same_dangers_and_moves_on_after_ten_minutes() {
        let danger = named("false_hazard", &[]).expect("a behaviour");
        let claims = |seed: u64, minute: f64| -> Vec<usize> {
            let mut rng = Rng::new(seed);
            let mut claims = |road: usize| danger.say(&Seen { road, minute, ..SEEN }, &mut rng);
            (0..200)
                .filter(|road| matches!(claims(*road), Say::Danger(_)))
                .collect()
        };
        assert_eq!(claims(1, 0.0), claims(2, 9.9));
        assert_ne!(claims(1, 0.0), claims(1, 10.0));
        assert!((8..40).contains(&claims(1, 0.0).len()));
    }

    #[test]
    fn on_and_off_follow_the_clock() {
        let on_off = named("on_off", &[]).expect("a behaviour");
        let say = |minute: f64| on_off.say(&Seen { minute, ..SEEN }, &mut Rng::new(1));
        assert_eq!(
            (say(10.0), say(30.0), say(60.0)),
            (Say::Here(50.0), Say::Here(25.0), Say::Here(50.0))
        );
    }
}
