//! How is a running unit?
//!
//! Writes the answer of its API for people.

use std::fmt::Write;

use serde::Deserialize;
use serde_json::Value;

/// An answer that is no status.
#[derive(Debug, thiserror::Error)]
#[error("{url} answers what is no status: {reason}")]
pub struct Strange {
    /// What was asked.
    url: String,
    /// What is wrong with it.
    reason: String,
}

/// The part of the status that people are shown.
#[derive(Debug, Deserialize)]
struct Status {
    chain: String,
    genesis: String,
    height: u64,
    state_root: String,
    members: Vec<MemberStatus>,
    peers: u64,
    height_age_ms: u64,
    picture: PictureStatus,
    vehicles: VehiclesStatus,
    supply: SupplyStatus,
}

#[derive(Debug, Deserialize)]
struct MemberStatus {
    id: String,
    provider: String,
    power: u64,
    connected: bool,
}

#[derive(Debug, Deserialize)]
struct PictureStatus {
    cells: u64,
}

#[derive(Debug, Deserialize)]
struct VehiclesStatus {
    enrolled: u64,
    quarantined: u64,
}

#[derive(Debug, Deserialize)]
struct SupplyStatus {
    minted: String,
    burned: String,
    held: String,
}

/// A status, as people read it.
///
/// # Errors
///
/// [`Strange`].
pub fn describe(api: &str, status: Value) -> Result<String, Strange> {
    let status: Status = serde_json::from_value(status).map_err(|error| Strange {
        url: api.to_owned(),
        reason: error.to_string(),
    })?;
    let mut text = String::new();
    // Writing to a string does not fail.
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12}{value}");
    };
    line("chain", status.chain);
    line("genesis", status.genesis);
    line(
        "height",
        format!(
            "{} ({:.1} s ago)",
            status.height,
            status.height_age_ms as f64 / 1000.0
        ),
    );
    line("state root", status.state_root);
    line("picture", format!("{} pieces of road", status.picture.cells));
    line(
        "vehicles",
        format!(
            "{} enrolled, {} in quarantine",
            status.vehicles.enrolled, status.vehicles.quarantined
        ),
    );
    let supply = status.supply;
    line(
        "tokens",
        format!(
            "{} minted, {} burned, {} held",
            supply.minted, supply.burned, supply.held
        ),
    );
    line(
        "members",
        format!(
            "{}, {} of the others connected",
            status.members.len(),
            status.peers
        ),
    );
    for member in status.members {
        let presence = if member.connected { "connected" } else { "absent" };
        line(
            "",
            format!(
                "{}  {:<16} power {:<4} {presence}",
                member.id, member.provider, member.power
            ),
        );
    }
    Ok(text)
}
