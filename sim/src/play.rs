//! How does a recorded town meet a consortium that already runs?
//!
//! The drivers of [`crate::demo`] against units that others operate: their endpoints, the `consortium.json` that
//! they hand out, and keys that they have enrolled. Prints what the vehicles know: what was sent, and what became
//! final, by certified receipts.

use std::path::PathBuf;

use anyhow::anyhow;
use milepost_obu::clock::wall;
use milepost_obu::finality::Finality;
use milepost_obu::source::FcdReader;
use milepost_wire::Consortium;
use milepost_wire::link::TlsFiles;
use serde_json::json;

use crate::demo::{self, Usage};
use crate::player::{Picture, Player};
use crate::progress;
use crate::world::fcd;

/// What is asked for.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// SUMO's floating-car data.
    #[arg(long)]
    pub fcd: PathBuf,
    /// Latitude and longitude of the recording's point 0,0, where it is in metres.
    #[arg(long, value_name = "LAT,LON", value_parser = demo::parse_origin)]
    pub origin: Option<(f64, f64)>,
    /// Where roadside units listen: tcp/ADDRESS:PORT or tls/ADDRESS:PORT.
    #[arg(long, required = true, num_args = 1..)]
    pub connect: Vec<String>,
    /// A folder with authorities.pem, link.pem and link.key, for endpoints tls/ADDRESS:PORT.
    #[arg(long, value_name = "DIR")]
    pub tls: Option<PathBuf>,
    /// The chain's consortium.json.
    #[arg(long)]
    pub consortium: PathBuf,
    /// A folder with a key file for each vehicle, enrolled.
    #[arg(long)]
    pub keys: PathBuf,
    /// How many vehicles report; by default as many as there are keys.
    #[arg(long)]
    pub vehicles: Option<usize>,
    /// How much of the recording is played; by default all.
    #[arg(long)]
    pub minutes: Option<f64>,
    /// The share of vehicles that say 25 km/h less than they drive.
    #[arg(long, default_value_t = 0.0)]
    pub liars: f64,
    /// Who reports, and who lies.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Prints one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Plays. Returns whether every report became final.
///
/// # Errors
///
/// [`Usage`], or what the world did to us.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    let usage = |error: &dyn std::fmt::Display| Usage(error.to_string());
    let consortium: Consortium =
        demo::read_json(&options.consortium).map_err(|error| usage(&format!("{error:#}")))?;
    let keys = demo::vehicle_keys(&options.keys, usize::MAX).map_err(|error| usage(&format!("{error:#}")))?;
    let wanted = options.vehicles.unwrap_or(keys.len()).min(keys.len());
    let records = FcdReader::open(&options.fcd, options.origin).map_err(|error| usage(&error))?;
    let reading = fcd::Reading {
        segments: fcd::Segments::Cell,
        penetration: 1.0,
        look_every_ms: 1000,
        slot_ms: 60_000,
        slot_offset_ms: Some(0),
        duration_max_ms: options.minutes.map(|minutes| (minutes * 60_000.0) as u64),
    };
    let world = fcd::read(
        records,
        &options.fcd.display().to_string(),
        &reading,
        options.seed,
    )
    .map_err(|error| usage(&error))?
    .with_reporters(wanted, options.seed);
    let count = world.vehicles.len();
    if count == 0 {
        return Err(usage(&format!(
            "expected at least one key file in {}",
            options.keys.display()
        ))
        .into());
    }
    let player = Player {
        companies: demo::companies(options.liars, count, options.seed)?,
        keys: keys.into_iter().take(count).collect(),
        world,
        consortium,
        endpoints: options.connect.clone(),
        tls: options.tls.as_deref().map(TlsFiles::in_folder),
        seed: options.seed,
        picture: Picture::default(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let tally = runtime.block_on(async {
        let bar = progress::bar("driving", std::io::IsTerminal::is_terminal(&std::io::stderr()));
        let played = async {
            player
                .connect()
                .await?
                .play(wall(), |done| bar.at(done.min(1.0)))
                .await
        };
        let done = tokio::select! {
            tally = played => tally,
            () = demo::interrupted() => Err(anyhow!("interrupted")),
        };
        bar.finish();
        done
    })?;
    let finality = Finality::of(tally.finality_ms);
    let finalised: u64 = tally.finalised.values().sum();
    if options.json {
        let told = json!({
            "vehicles": count,
            "sent": tally.sent,
            "resent": tally.resent,
            "finalised": tally.finalised,
            "unanswered": tally.unanswered,
            "finality_ms": finality,
        });
        println!("{told}");
    } else {
        println!(
            "{count} vehicles sent {} reports; {finalised} are final, {} are not answered",
            tally.sent, tally.unanswered
        );
        println!(
            "final after {} ms (99 %: {}, all: {})",
            finality.p50, finality.p99, finality.max
        );
    }
    Ok(tally.unanswered == 0)
}
