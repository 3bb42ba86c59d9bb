//! With what does a scenario begin?
//!
//! In: a scenario and a seed. Out: its world, who is on the road with which keys, and the genesis of the members' chain:
//! the same for the whole town ([`crate::town`]) and for the ledger alone ([`crate::attacks`]).

use milepost_incentives::Genesis;
use milepost_obu::source::FcdReader;
use milepost_wire::transaction::Enrolment;
use milepost_wire::{Access, ChainId, KeyId, Member, Members, SecretKey, Timestamp};

use crate::crew::{self, Company, Sensor};
use crate::scenario::{self, Scenario, Size};
use crate::world::conditions::Conditions;
use crate::world::{World, WorldError, fcd, grid};

/// When virtual time begins: 2026-01-01 00:00:00 UTC.
const BEGIN_UNIX_MS: u64 = 1_767_225_600_000;

/// Why a scenario cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
    /// The recording cannot be read.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The scenario asks for what cannot be.
    #[error("{0}")]
    Nonsense(String),
}

/// What there is before anything happens.
#[derive(Clone, Debug)]
pub struct Founded {
    /// The roads, and who comes by when: further keys and roadside sensors, too.
    pub world: World,
    /// The fleets.
    pub companies: Vec<Company>,
    /// To which fleet each key belongs.
    pub company_of: Vec<usize>,
    /// The secrets of all that report, by number.
    pub keys: Vec<SecretKey>,
    /// And what the ledger calls them.
    pub ids: Vec<KeyId>,
    /// The members' secrets.
    pub member_keys: Vec<SecretKey>,
    /// How the chain begins.
    pub genesis: Genesis,
}

/// Draws a scenario's beginning.
///
/// # Errors
///
/// [`FoundingError`].
pub fn found(scenario: &Scenario, seed: u64) -> Result<Founded, FoundingError> {
    let mut world = world(scenario, seed)?;
    let sensor = match scenario.world {
        scenario::World::Grid { .. } => Sensor::GRID,
        scenario::World::Fcd { .. } => Sensor::RECORDED,
    };
    let mut companies =
        crew::muster(&scenario.fleet, world.vehicles.len(), sensor, seed).map_err(FoundingError::Nonsense)?;
    let members = scenario.ledger.members;
    let slot_ms = scenario.slot_ms();
    crew::complete(
        &mut world,
        &mut companies,
        &scenario.anchor,
        members,
        slot_ms,
        seed,
    )
    .map_err(FoundingError::Nonsense)?;

    let keys = secrets("sim vehicle", world.vehicles.len());
    let member_keys: Vec<SecretKey> = (0..members).map(member_key).collect();
    let company_of = crew::company_of(&companies, keys.len());
    let genesis =
        genesis(scenario, &companies, &company_of, &keys, &member_keys).map_err(FoundingError::Nonsense)?;
    Ok(Founded {
        ids: keys.iter().map(SecretKey::key_id).collect(),
        world,
        companies,
        company_of,
        keys,
        member_keys,
        genesis,
    })
}

/// The key of the member of this number, or of the unit that may become one.
pub fn member_key(number: usize) -> SecretKey {
    SecretKey::from_seed("sim member", number as u64)
}

fn secrets(whose: &str, count: usize) -> Vec<SecretKey> {
    (0..count)
        .map(|number| SecretKey::from_seed(whose, number as u64))
        .collect()
}

fn genesis(
    scenario: &Scenario,
    companies: &[Company],
    company_of: &[usize],
    keys: &[SecretKey],
    member_keys: &[SecretKey],
) -> Result<Genesis, String> {
    let member = |(number, key): (usize, &SecretKey)| Member {
        key: key.public(),
        provider: format!("provider-{number}"),
        power: 1,
    };
    let addresses: Vec<_> = member_keys.iter().map(SecretKey::address).collect();
    let enrol = |(number, key): (usize, &SecretKey)| Enrolment {
        key: key.public(),
        group: crew::owner(companies, company_of[number], number),
        role: crew::role(&companies[company_of[number]], number, &addresses),
    };
    Ok(Genesis {
        chain: ChainId::new("sim").expect("three letters"),
        time: Timestamp::from_unix_millis(BEGIN_UNIX_MS),
        members: Members::new(member_keys.iter().enumerate().map(member).collect())
            .map_err(|error| error.to_string())?,
        access: Access::default(),
        params: scenario.params()?,
        vehicles: keys.iter().enumerate().map(enrol).collect(),
    })
}

fn world(scenario: &Scenario, seed: u64) -> Result<World, WorldError> {
    let slot_ms = scenario.slot_ms();
    match &scenario.world {
        scenario::World::Grid {
            cells,
            vehicles,
            look_share,
            kinds,
        } => {
            let counted = scenario.fleet.iter().map(|fleet| match fleet.size {
                Size::Count(count) => Some(count),
                Size::Share(_) => None,
            });
            let counted = counted.sum::<Option<usize>>().filter(|count| *count > 0);
            let grid = grid::Grid {
                cells: *cells,
                vehicles: vehicles.or(counted).unwrap_or(grid::Grid::default().vehicles),
                look_share: *look_share,
                ..grid::Grid::default()
            };
            let duration_ms = scenario::minutes_ms(scenario.minutes.unwrap_or(60.0));
            let slots = u32::try_from(duration_ms.div_ceil(slot_ms)).unwrap_or(u32::MAX);
            Ok(World {
                conditions: Conditions::draw(kinds, *cells, slots, slot_ms, seed),
                ..grid::draw(&grid, slots, slot_ms, seed)
            })
        }
        scenario::World::Fcd {
            file,
            origin,
            segments,
            penetration,
            look_every_seconds,
            kinds,
        } => {
            let reading = fcd::Reading {
                segments: *segments,
                penetration: *penetration,
                look_every_ms: (look_every_seconds * 1000.0) as u64,
                slot_ms,
                slot_offset_ms: None,
                duration_max_ms: scenario.minutes.map(scenario::minutes_ms),
            };
            let records = FcdReader::open(file, *origin)?;
            Ok(World {
                conditions: Conditions::of_traffic(kinds, slot_ms),
                ..fcd::read(records, &file.display().to_string(), &reading, seed)?
            })
        }
    }
}
