//! What may be asked of `milepost-obu` on the command line?

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use milepost_obu::heads::Anchor;
use milepost_obu::source::{SOURCE_FORMS, Source};
use milepost_wire::time::Epoch;
use milepost_wire::{Address, Amount, Area};

/// The onboard unit of one vehicle: reports what it sees, earns tokens, and checks every proof it is given.
///
/// Data goes to standard output, logs to standard error (filter: MILEPOST_LOG or RUST_LOG, such as `debug`).
/// Exit status: 0 done, 1 failed, 2 wrong usage or unreadable input.
#[derive(Parser)]
#[command(
    name = "milepost-obu",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  milepost-obu keygen --out vehicle.key
  milepost-obu run --key vehicle.key --consortium consortium.json --connect tcp/192.0.2.1:7447 \\
      --source fcd:town.fcd.xml.gz
  milepost-obu balance --config obu.toml --json
  milepost-obu picture --config obu.toml --bbox 11.30,44.48,11.36,44.51"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a key, and print its address.
    #[command(after_help = "Example: milepost-obu keygen --out vehicle.key")]
    Keygen {
        /// Where to: 64 hexadecimal digits, readable by you alone.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Replace an existing key. What its account holds is lost with it.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        print: Print,
    },
    /// Print the address, key id and public key of a key.
    #[command(after_help = "Example: milepost-obu address --key vehicle.key --json")]
    Address {
        /// The key file.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        #[command(flatten)]
        print: Print,
    },
    /// Drive: report what the source sees until it ends, or until Ctrl-C or SIGTERM.
    #[command(after_help = "\
Examples:
  milepost-obu run --config obu.toml --source fcd:town.fcd.xml.gz --vehicle 42
  gps-reader | milepost-obu run --config obu.toml --source jsonl:-
A line of jsonl: {\"lat\": 44.4946, \"lon\": 11.3277, \"heading\": 90.0, \"speed_kmh\": 48.5, \"humidity\": 0.8}")]
    Run {
        #[command(flatten)]
        access: Access,
        #[arg(long, value_name = "SOURCE", help = format!("What it sees: {SOURCE_FORMS}"))]
        source: Source,
        /// Where the point 0,0 of a recording in metres lies.
        #[arg(long, value_name = "LAT,LON", allow_hyphen_values = true, value_parser = origin)]
        origin: Option<(f64, f64)>,
        /// Which of a recording's vehicles [default: the first].
        #[arg(long, value_name = "ID")]
        vehicle: Option<String>,
        /// Where reports wait on disk [default: beside the key].
        #[arg(long, value_name = "FILE")]
        outbox: Option<PathBuf>,
        /// How long to wait for receipts once the source has ended.
        #[arg(long, value_name = "SECONDS")]
        linger: Option<u64>,
        #[command(flatten)]
        print: Print,
    },
    /// What the vehicle's account holds, and what its record says.
    #[command(after_help = "Example: milepost-obu balance --config obu.toml --json")]
    Balance {
        #[command(flatten)]
        access: Access,
        #[command(flatten)]
        print: Print,
    },
    /// The final picture of an area: the newest figure of each piece of road.
    #[command(
        after_help = "Example: milepost-obu picture --config obu.toml --bbox 11.30,44.48,11.36,44.51 --json"
    )]
    Picture {
        #[command(flatten)]
        access: Access,
        /// West, south, east, north, in degrees.
        #[arg(long, value_name = "W,S,E,N", allow_hyphen_values = true)]
        bbox: Area,
        #[command(flatten)]
        print: Print,
    },
    /// Why the vehicle was paid what it was for an epoch, score by score.
    #[command(after_help = "Example: milepost-obu explain --config obu.toml --epoch 7")]
    Explain {
        #[command(flatten)]
        access: Access,
        /// The epoch, counted from genesis.
        #[arg(long, value_name = "E", value_parser = epoch)]
        epoch: Epoch,
        #[command(flatten)]
        print: Print,
    },
    /// Enrol this vehicle itself, where the chain is public: for a bond of enrol_bond micro-tokens out of its account, which it
    /// loses when it is quarantined. Waits until that is done; up to a minute.
    Enrol {
        #[command(flatten)]
        access: Access,
        #[command(flatten)]
        print: Print,
    },
    /// End for good what `enrol` began; the bond comes back. Waits until that is done; up to a minute.
    Leave {
        #[command(flatten)]
        access: Access,
        #[command(flatten)]
        print: Print,
    },
    /// Send tokens to an address.
    #[command(after_help = "Example: milepost-obu transfer --config obu.toml \\
      --to 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266 --amount 1.5 --wait")]
    Transfer {
        #[command(flatten)]
        access: Access,
        /// Whose account they go to; it need not exist yet.
        #[arg(long, value_name = "ADDRESS")]
        to: Address,
        /// How many tokens, with up to six decimals.
        #[arg(long, value_name = "TOKENS")]
        amount: Amount,
        /// Wait until the ledger has executed it; up to a minute.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        print: Print,
    },
}

/// Who the vehicle is, whom it trusts, whom it asks. What is given here goes before the settings file.
#[derive(Args)]
pub(crate) struct Access {
    /// Settings; config/obu.toml shows every field.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The key file.
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    pub(crate) key: Option<PathBuf>,
    /// What the vehicle trusts to begin with: consortium.json.
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    pub(crate) consortium: Option<PathBuf>,
    /// A block that you vouch for, where what is kept is too old: as a unit that you trust tells it at
    /// /v1/light/latest.
    #[arg(long, value_name = "HEIGHT:HASH")]
    pub(crate) trust: Option<Anchor>,
    /// Endpoints of roadside units, such as tcp/192.0.2.1:7447 or tls/192.0.2.1:7447.
    #[arg(long, value_name = "ENDPOINT", num_args = 1.., required_unless_present = "config")]
    pub(crate) connect: Vec<String>,
    /// A folder with authorities.pem, link.pem and link.key, for endpoints tls/ADDRESS:PORT.
    #[arg(long, value_name = "DIR")]
    pub(crate) tls: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Print {
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

fn origin(text: &str) -> Result<(f64, f64), String> {
    let numbers = text
        .split_once(',')
        .map(|(lat, lon)| (lat.trim().parse(), lon.trim().parse()));
    match numbers {
        Some((Ok(lat), Ok(lon))) => Ok((lat, lon)),
        _ => Err("expected LAT,LON in degrees, such as 44.49,11.33".to_owned()),
    }
}

fn epoch(text: &str) -> Result<Epoch, String> {
    text.parse()
        .map(Epoch)
        .map_err(|_| "expected an epoch's number, such as 7".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn southern_and_western_places_are_no_flags() {
        let base = [
            "milepost-obu",
            "picture",
            "--config",
            "x",
            "--bbox",
            "-70.7,-33.5,-70.6,-33.4",
        ];
        assert!(Cli::try_parse_from(base).is_ok());
        assert_eq!(origin("-33.9,151.2"), Ok((-33.9, 151.2)));
    }

    #[test]
    fn a_vehicle_needs_settings_or_key_consortium_and_endpoint() {
        assert!(Cli::try_parse_from(["milepost-obu", "balance", "--key", "k"]).is_err());
        let all = [
            "milepost-obu",
            "balance",
            "--key",
            "k",
            "--consortium",
            "c",
            "--connect",
            "tcp/h:1",
        ];
        assert!(Cli::try_parse_from(all).is_ok());
    }
}
