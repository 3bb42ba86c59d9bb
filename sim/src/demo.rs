//! Does it work with real processes?
//!
//! Makes a consortium of `milepost-rsu` processes on loopback, with RocksDB in a temporary folder, and drives a
//! recorded town through it in real time: the vehicle cores over real zenoh sessions, some drivers lying. Then it
//! waits until the last epoch is paid, asks every member's API what it holds, compares the final picture with what
//! the recording's vehicles really did, stops the members and has one of the chains audited from genesis.
//!
//! Slots and epochs are half a minute, so that a run of a minute and a half sees three of each.

mod consortium;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use milepost_incentives::Genesis;
use milepost_obu::clock::wall;
use milepost_obu::finality::Finality;
use milepost_obu::source::FcdReader;
use milepost_wire::output::Outcome;
use milepost_wire::{Amount, Cell, Hash, KeyId, SecretKey, Timestamp};
use serde_json::Value;

use self::consortium::Consortium;
use crate::behaviour::Behaviour;
use crate::crew::{self, Company, Sensor};
use crate::figures::{
    self, Figures, Invariants, Item, LedgerFigures, MemberFigures, Published, ReportFigures, RewardFigures,
    VehicleRow,
};
use crate::player::{Picture, Player, Tally};
use crate::progress;
use crate::scenario::{Fleet, Size};
use crate::world::{World, fcd};

/// The recording that is played where none is given; `data/README.md` says what is in it.
const TOWN: &[u8] = include_bytes!("../data/town.fcd.xml.gz");
/// Where its local zero lies: open sea.
const TOWN_ORIGIN: (f64, f64) = (44.30, 8.80);
/// Length of a slot.
const SLOT_MS: u64 = 30_000;
/// Length of an epoch.
const EPOCH_MS: u64 = 30_000;
/// How long observations are fresh, and so how long after its end an epoch is paid.
const FRESH_MS: u64 = 15_000;
/// How long the vehicles have for connecting before they start.
const CONNECT_MAX_MS: u64 = 3_000;
/// How long after the last report the last epoch may take to be paid.
const PAID_MAX: Duration = Duration::from_secs(75);
/// How often members are asked for the picture while the vehicles drive.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// What is asked for.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// SUMO's floating-car data instead of the bundled recording.
    #[arg(long)]
    pub fcd: Option<PathBuf>,
    /// Latitude and longitude of the recording's point 0,0, where it is in metres.
    #[arg(long, value_name = "LAT,LON", value_parser = parse_origin)]
    pub origin: Option<(f64, f64)>,
    /// How many of the recording's vehicles report.
    #[arg(long, default_value_t = 200)]
    pub vehicles: usize,
    /// How many members vote.
    #[arg(long, default_value_t = 4)]
    pub members: usize,
    /// How much of the recording is played.
    #[arg(long, default_value_t = 1.5)]
    pub minutes: f64,
    /// The share of vehicles that say 25 km/h less than they drive.
    #[arg(long, default_value_t = 0.2)]
    pub liars: f64,
    /// Who reports, and who lies.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where the members' homes are made, and stay. By default a temporary folder that goes.
    #[arg(long)]
    pub home: Option<PathBuf>,
    /// Leaves the consortium running until Ctrl-C.
    #[arg(long)]
    pub keep: bool,
    /// Prints one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// What is asked for cannot be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Reads `LAT,LON`.
pub(crate) fn parse_origin(text: &str) -> Result<(f64, f64), String> {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    let pair = text
        .split_once(',')
        .and_then(|(lat, lon)| Some((number(lat)?, number(lon)?)));
    pair.ok_or_else(|| format!("expected LAT,LON in degrees such as 44.30,8.80, found {text:?}"))
}

/// Runs the demo. Returns whether everything held.
///
/// # Errors
///
/// [`Usage`], or what the world did to us.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    check(options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::select! {
            done = demo(options) => done,
            () = interrupted() => Err(anyhow!("interrupted")),
        }
    })
}

/// Ctrl-C, or being told to end.
pub(crate) async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

fn check(options: &Options) -> anyhow::Result<()> {
    let usage = |text: String| Err(Usage(text).into());
    if !(1..=16).contains(&options.members) {
        return usage(format!("expected 1 to 16 members, found {}", options.members));
    }
    if options.vehicles == 0 {
        return usage("expected at least 1 vehicle, found 0".into());
    }
    if !(0.0..=1.0).contains(&options.liars) {
        return usage(format!(
            "expected a share of liars from 0 to 1, found {}",
            options.liars
        ));
    }
    if !(0.1..=60.0).contains(&options.minutes) {
        return usage(format!("expected 0.1 to 60 minutes, found {}", options.minutes));
    }
    Ok(())
}

/// The recording's world, which begins `offset_ms` into a slot.
fn world(options: &Options, offset_ms: u64) -> anyhow::Result<World> {
    let usage = |error: &dyn std::fmt::Display| Usage(error.to_string());
    let (records, name) = match &options.fcd {
        None => (
            FcdReader::new(TOWN, "the bundled recording", Some(TOWN_ORIGIN)),
            "the bundled recording".to_owned(),
        ),
        Some(file) => (FcdReader::open(file, options.origin), file.display().to_string()),
    };
    let reading = fcd::Reading {
        segments: fcd::Segments::Cell,
        penetration: 1.0,
        look_every_ms: 1000,
        slot_ms: SLOT_MS,
        slot_offset_ms: Some(offset_ms),
        duration_max_ms: Some((options.minutes * 60_000.0) as u64),
    };
    let world = fcd::read(
        records.map_err(|error| usage(&error))?,
        &name,
        &reading,
        options.seed,
    )
    .map_err(|error| usage(&error))?;
    Ok(world.with_reporters(options.vehicles, options.seed))
}

/// Who is honest and who lies.
pub(crate) fn companies(liars: f64, count: usize, seed: u64) -> anyhow::Result<Vec<Company>> {
    let fleet = |name: &str, share: f64| -> anyhow::Result<Fleet> {
        Ok(Fleet {
            size: Size::Share(share),
            name: name.to_owned(),
            behaviour: Behaviour::named(name, &BTreeMap::new())?,
            from_minute: 0.0,
            sensor_sd_kmh: None,
            sensor_bias_sd_kmh: None,
            one_owner: false,
        })
    };
    let fleets = [fleet("honest", 1.0 - liars)?, fleet("bias", liars)?];
    crew::muster(&fleets, count, Sensor::RECORDED, seed).map_err(|error| Usage(error).into())
}

/// The rules and settings of such a short run.
fn overrides() -> Vec<String> {
    let mut settings = vec![
        format!("params.slot_ms={SLOT_MS}"),
        format!("params.epoch_ms={EPOCH_MS}"),
        // A vehicle meets fewer items in half a minute than in an hour: as many are a full epoch of evidence.
        "params.evidence_full=4".into(),
        // What was known half a minute ago says little about a road with traffic lights.
        "params.prior_weight=1000".into(),
    ];
    for kind in ["speed", "congestion", "humidity", "hazard"] {
        settings.push(format!("params.freshness_ms.{kind}={FRESH_MS}"));
    }
    settings
}

async fn demo(options: &Options) -> anyhow::Result<bool> {
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let count = world(options, 0)?.vehicles.len();
    let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
    let folder = options
        .home
        .clone()
        .unwrap_or_else(|| temporary.path().join("town"));
    eprintln!(
        "starting {} members for {count} vehicles in {}",
        options.members,
        folder.display()
    );
    let mut consortium = Consortium::start(&folder, options.members, count, &overrides())?;
    consortium.ready().await?;

    let genesis: Genesis = read_json(&consortium.home(0).join("genesis.json"))?;
    let companies = companies(options.liars, count, options.seed)?;
    let picture = Picture::default();
    let keys = vehicle_keys(&folder.join("vehicles"), count)?;
    // The truth is reckoned in the ledger's slots, so it must be known when the vehicles start.
    let start = wall().plus(CONNECT_MAX_MS);
    let world = world(options, start.since(genesis.time) % SLOT_MS)?;
    let ids: Vec<KeyId> = keys.iter().map(SecretKey::key_id).collect();
    let player = Player {
        world: world.clone(),
        companies: companies.clone(),
        keys,
        consortium: genesis.consortium(),
        endpoints: consortium.endpoints(),
        tls: None,
        seed: options.seed,
        picture: picture.clone(),
    };
    let connected = player.connect().await?;
    let bar = progress::bar("driving", terminal);
    let seen = Mutex::new(Seen::new());
    let (done, share) = tokio::sync::watch::channel(0.0);
    let tell = move |share: f64| {
        // Nobody listens any more when the demo is being ended.
        let _ = done.send(share.min(1.0));
    };
    let mut play = tokio::spawn(connected.play(start, tell));
    let tally = loop {
        tokio::select! {
            tally = &mut play => break tally??,
            () = tokio::time::sleep(LOOK_EVERY) => {
                let status = look(&consortium, &seen, &picture);
                let done = *share.borrow();
                bar.tell(done, || status.unwrap_or_default());
            }
        }
    };
    bar.finish();

    eprintln!("the last report is sent; waiting until its epoch is paid");
    let last_ms = tally.began.since(genesis.time) + world.duration_ms;
    let last_epoch = last_ms / EPOCH_MS;
    let begun = std::time::Instant::now();
    while begun.elapsed() < PAID_MAX {
        let _ = look(&consortium, &seen, &picture);
        let open = consortium.ask(0, "/v1/status")?["epoch"].as_u64().unwrap_or(0);
        if open > last_epoch {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let _ = look(&consortium, &seen, &picture);

    let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    let items = items(&world, &tally, genesis.time, &seen);
    let mut figures = gather(&consortium, options, &world, &companies, &ids, &tally, &items)?;
    if options.keep {
        eprintln!("the consortium stays up: {} (Ctrl-C ends it)", consortium.api(0));
        print(&figures, options);
        interrupted().await;
        return Ok(figures.invariants.all());
    }
    consortium.stop();
    match consortium.verify(0) {
        Ok(audit) => {
            // It replays the chain and checks every certificate on the way.
            let fine = audit["ok"] == true;
            figures.invariants.replay_equal = fine;
            figures.invariants.certified = fine;
        }
        Err(error) => {
            eprintln!("{error}");
            figures.invariants.replay_equal = false;
            figures.invariants.certified = false;
        }
    }
    print(&figures, options);
    Ok(figures.invariants.all())
}

fn print(figures: &Figures, options: &Options) {
    println!(
        "{}",
        if options.json {
            figures.json()
        } else {
            figures.table()
        }
    );
}

/// The final figures that were ever seen, by slot and cell.
type Seen = BTreeMap<(u32, Cell), Published>;

/// Asks one member for the final picture and keeps what is new. Returns a line for people.
fn look(consortium: &Consortium, seen: &Mutex<Seen>, picture: &Picture) -> anyhow::Result<String> {
    let answer = consortium.ask(0, "/v1/picture?kind=speed")?;
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let mut picture = picture.lock().unwrap_or_else(PoisonError::into_inner);
    for feature in answer["features"].as_array().into_iter().flatten() {
        let properties = &feature["properties"];
        let number = |name: &str| properties[name].as_f64();
        let (Some(cell), Some(slot), Some(kmh), Some(low_kmh), Some(high_kmh)) = (
            properties["cell"]
                .as_str()
                .and_then(|text| text.parse::<Cell>().ok()),
            properties["slot"].as_u64(),
            number("speed_kmh"),
            number("low_speed_kmh"),
            number("high_speed_kmh"),
        ) else {
            continue;
        };
        let vehicles = properties["vehicles"].as_u64().unwrap_or(0) as u32;
        seen.insert(
            (slot as u32, cell),
            Published {
                kmh,
                low_kmh,
                high_kmh,
                vehicles,
                heard: true,
            },
        );
        picture.insert(cell, kmh);
    }
    let status = consortium.ask(0, "/v1/status")?;
    Ok(format!(
        "height {}, {} items published",
        status["height"],
        seen.len()
    ))
}

/// What was published beside what was true.
fn items(world: &World, tally: &Tally, genesis: Timestamp, seen: &Seen) -> Vec<Item> {
    let began_ms = tally.began.since(genesis);
    let first = (began_ms / SLOT_MS) as u32;
    let into_slot_ms = began_ms % SLOT_MS;
    let road_of: BTreeMap<Cell, usize> = world
        .roads
        .iter()
        .enumerate()
        .map(|(road, on)| (on.cell, road))
        .collect();
    let mut said: BTreeMap<(u32, usize), (f64, u32)> = BTreeMap::new();
    for (road, at_ms, kmh) in &tally.said {
        let sum = said
            .entry((first + ((at_ms + into_slot_ms) / SLOT_MS) as u32, *road))
            .or_default();
        *sum = (sum.0 + kmh, sum.1 + 1);
    }
    let published: BTreeMap<(u32, usize), Published> = seen
        .iter()
        .filter_map(|((slot, cell), published)| Some(((*slot, *road_of.get(cell)?), *published)))
        .collect();
    let truths: BTreeMap<(u32, usize), _> = world
        .truth
        .iter()
        .map(|((road, slot), truth)| ((first + slot, *road), *truth))
        .collect();
    let all: std::collections::BTreeSet<_> = published.keys().chain(truths.keys()).copied().collect();
    let seconds = |slot: u32| u64::from(slot) * SLOT_MS / 1000;
    all.into_iter()
        .map(|(slot, road)| Item {
            place: world.roads[road].name.clone(),
            slot_begin_s: seconds(slot),
            slot_end_s: seconds(slot + 1),
            published: published.get(&(slot, road)).copied(),
            truth: truths.get(&(slot, road)).copied(),
            free_flow_kmh: world.roads[road].free_flow_kmh,
            plain_mean_kmh: said
                .get(&(slot, road))
                .map(|(sum, count)| sum / f64::from(*count)),
        })
        .collect()
}

/// Asks all members what they hold.
fn gather(
    consortium: &Consortium,
    options: &Options,
    world: &World,
    companies: &[Company],
    ids: &[KeyId],
    tally: &Tally,
    items: &[Item],
) -> anyhow::Result<Figures> {
    let count = consortium.count();
    let statuses = (0..count)
        .map(|member| consortium.ask(member, "/v1/status"))
        .collect::<Result<Vec<_>, _>>()?;
    let height = statuses
        .iter()
        .filter_map(|status| status["height"].as_u64())
        .min()
        .unwrap_or(0);
    let (mut agreement, mut executed) = (true, 0);
    let mut members: Vec<MemberFigures> = Vec::new();
    let mut hashes: Vec<Value> = Vec::new();
    for (member, status) in statuses.iter().enumerate() {
        for block in 1..=height {
            let answer = consortium.ask(member, &format!("/v1/blocks/{block}"))?;
            if member == 0 {
                executed += answer["reports"].as_u64().unwrap_or(0);
                hashes.push(answer["hash"].clone());
            } else {
                agreement &= hashes[block as usize - 1] == answer["hash"];
            }
            if block == height {
                members.push(MemberFigures {
                    id: text(status, "id")?,
                    height,
                    state_root: text(&answer, "state_root")?,
                });
            }
        }
    }
    let state_root = members.first().map_or(Hash::ZERO, |member| member.state_root);
    agreement &= members.iter().all(|member| member.state_root == state_root);

    let vehicles = rows(consortium, world, companies, ids)?;
    let fleets: Vec<_> = companies
        .iter()
        .map(|company| (company.name.clone(), company.vehicles.clone()))
        .collect();
    let supply = &statuses[0]["supply"];
    let micro = |name: &str| text::<Amount>(supply, name).map(Amount::micro);
    let conservation = statuses.iter().all(|status| {
        let amount = |name: &str| text::<Amount>(&status["supply"], name).map(Amount::micro).ok();
        let (minted, burned, held) = (amount("minted"), amount("burned"), amount("held"));
        minted
            .zip(burned)
            .zip(held)
            .is_some_and(|((minted, burned), held)| minted - burned == held)
    });
    let mut operators = 0;
    for member in &members {
        let account = consortium.ask(0, &format!("/v1/accounts/{}", member.id));
        operators += account
            .ok()
            .and_then(|account| text::<Amount>(&account, "balance").ok())
            .map_or(0, Amount::micro);
    }
    let mut rejected = BTreeMap::new();
    for member in 0..count {
        let reports = consortium.ask(member, "/v1/reports")?;
        for (reason, count) in reports["rejected"].as_object().into_iter().flatten() {
            *rejected.entry(reason.clone()).or_insert(0) += count.as_u64().unwrap_or(0);
        }
    }
    rejected.retain(|_, count| *count > 0);
    for (outcome, name) in [
        (Outcome::Quarantined, "ledger_quarantined"),
        (Outcome::NothingNew, "ledger_nothing_new"),
    ] {
        if let Some(count) = tally.finalised.get(&outcome) {
            rejected.insert(name.to_owned(), *count);
        }
    }
    let minutes = world.duration_ms as f64 / 60_000.0;
    let chain_minutes = wall().since(tally.began) as f64 / 60_000.0;
    let bytes = (0..count)
        .map(|member| folder_bytes(&consortium.home(member).join("store")))
        .max()
        .unwrap_or(0);
    Ok(Figures {
        seed: options.seed,
        minutes: figures::round(minutes),
        vehicles: vehicles.len(),
        members,
        reports: ReportFigures {
            sent: tally.sent,
            heard: executed.min(tally.sent),
            rejected,
        },
        picture: figures::picture(items, world.truth_min_vehicle_s),
        fleets: figures::fleets(&vehicles, &fleets),
        insiders: Vec::new(),
        rewards: RewardFigures {
            minted: figures::tokens(micro("minted")?),
            vehicles: figures::round6(vehicles.iter().map(|row| row.paid).sum()),
            operators: figures::tokens(operators),
            treasury: figures::tokens(micro("treasury")?),
            carry: figures::tokens(micro("carry")?),
            burned: figures::tokens(micro("burned")?),
            gini_honest: figures::gini(
                vehicles
                    .iter()
                    .filter(|row| row.behaviour == "honest")
                    .map(|row| row.paid),
            ),
        },
        ledger: LedgerFigures {
            height,
            blocks_per_minute: figures::round(height as f64 / chain_minutes),
            finality_ms: Finality::of(tally.finality_ms.clone()),
            bytes,
            reports_per_block: figures::round(executed as f64 / height.max(1) as f64),
        },
        faults: BTreeMap::new(),
        invariants: Invariants {
            conservation,
            agreement,
            // The audit below executes every report once more and compares; here, receipts alone can be counted.
            paid_once: tally.finalised.values().sum::<u64>() <= tally.sent,
            no_equivocation: !consortium.logged("signed two different things"),
            replay_equal: agreement,
            certified: agreement,
            progress: agreement,
        },
        state_root,
    })
}

fn rows(
    consortium: &Consortium,
    world: &World,
    companies: &[Company],
    ids: &[KeyId],
) -> anyhow::Result<Vec<VehicleRow>> {
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    let mut after = String::new();
    loop {
        let page = consortium.ask(0, &format!("/v1/vehicles?limit=1000{after}"))?;
        for vehicle in page["vehicles"].as_array().into_iter().flatten() {
            known.insert(
                vehicle["id"].as_str().unwrap_or_default().to_owned(),
                vehicle.clone(),
            );
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let company_of = crew::company_of(companies, ids.len());
    ids.iter()
        .enumerate()
        .map(|(number, id)| {
            let vehicle = known
                .get(&id.to_string())
                .ok_or_else(|| anyhow!("{id} is not enrolled"))?;
            let since = vehicle["quarantine"]["since"].as_u64();
            Ok(VehicleRow {
                vehicle: world.vehicles[number].clone(),
                behaviour: companies[company_of[number]].name.clone(),
                paid: figures::tokens(text::<Amount>(vehicle, "earned")?.micro()),
                reputation: vehicle["reputation"].as_f64().unwrap_or(0.0),
                quarantined: since.is_some(),
                epoch_quarantined: since.map(|epoch| epoch as u32),
                epoch_released: None,
            })
        })
        .collect()
}

/// A field that is written as text.
fn text<T: std::str::FromStr>(value: &Value, name: &str) -> anyhow::Result<T> {
    let found = value[name].as_str().and_then(|text| text.parse().ok());
    found.ok_or_else(|| anyhow!("expected a {name} in the API's answer, found {}", value[name]))
}

/// Reads a JSON file.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &std::path::Path) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// The first `count` keys of a folder, in the order of their names.
pub(crate) fn vehicle_keys(folder: &std::path::Path, count: usize) -> anyhow::Result<Vec<SecretKey>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot look into {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "key"));
    files.sort();
    files.truncate(count);
    files
        .iter()
        .map(|file| Ok(milepost_obu::key_file::read(file)?))
        .collect()
}

fn folder_bytes(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}
