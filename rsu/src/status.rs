//! How is a running unit?
//!
//! Asks its API and writes the answer for people, or passes it on as it is.

use std::fmt::Write;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// The longest answer that is read, in bytes.
const ANSWER_LEN_MAX: u64 = 4 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Nobody answers, or not like this.
    #[error("cannot ask {url}: {source}; is the unit running? `milepost-rsu run` prints its API's address")]
    Ask {
        /// What was asked.
        url: String,
        /// Why not.
        source: Box<ureq::Error>,
    },
    /// An error with its reason.
    #[error("{url} answers {status}: {error} ({hint})")]
    Refused {
        /// What was asked.
        url: String,
        /// HTTP's status.
        status: u16,
        /// What is wrong.
        error: String,
        /// What to do.
        hint: String,
    },
    /// An answer that is no status.
    #[error("{url} answers what is no status: {reason}")]
    Strange {
        /// What was asked.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The part of the status that people are shown.
#[derive(Debug, Deserialize)]
struct Status {
    chain: String,
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

/// Asks the API at `api` for `path`.
///
/// # Errors
///
/// [`StatusError`].
pub fn ask(api: &str, path: &str) -> Result<Value, StatusError> {
    let url = format!("{}{path}", api.trim_end_matches('/'));
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .http_status_as_error(false)
        .build()
        .into();
    let wrong = |source: ureq::Error| StatusError::Ask {
        url: url.clone(),
        source: Box::new(source),
    };
    let mut response = agent.get(&url).call().map_err(wrong)?;
    let answer: Value = response
        .body_mut()
        .with_config()
        .limit(ANSWER_LEN_MAX)
        .read_json()
        .map_err(wrong)?;
    if response.status().is_success() {
        return Ok(answer);
    }
    let text = |name: &str| answer[name].as_str().unwrap_or("no reason given").to_owned();
    Err(StatusError::Refused {
        url: url.clone(),
        status: response.status().as_u16(),
        error: text("error"),
        hint: text("hint"),
    })
}

/// A status, as people read it.
///
/// # Errors
///
/// [`StatusError::Strange`].
pub fn describe(api: &str, status: Value) -> Result<String, StatusError> {
    let status: Status = serde_json::from_value(status).map_err(|error| StatusError::Strange {
        url: api.to_owned(),
        reason: error.to_string(),
    })?;
    let mut text = String::new();
    // Writing to a string does not fail.
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12}{value}");
    };
    line("chain", status.chain);
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
