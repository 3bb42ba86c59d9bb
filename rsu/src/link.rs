//! What is zenoh told at a roadside unit?
//!
//! In: the unit's settings. Out: zenoh's. A router with the configured endpoints and nothing found by itself
//! (docs/adr/0007-zenoh.md); where certificates are configured, mutual TLS on every link, and rules about who may
//! put, ask and hear what (docs/adr/0019-links.md).
//!
//! The rules go by the kind of station in a link's certificate. A roadside unit may do everything: what its messages are worth,
//! signatures tell. A vehicle may put reports and transactions, ask for proofs, and hear what is published; it gets
//! no word of consensus, and no batch, in which others' whole reports are. Plain links know no kinds and have no
//! rules; signatures are checked all the same.
//!
//! Whatever is far larger than a report or a transaction may be is dropped at the link, before it is looked at.

use std::path::Path;
use std::time::Duration;

use milepost_wire::link::{Station, TlsFiles};
use milepost_wire::{ChainId, topic};
use serde_json::{Value, json};

use crate::config::Config;

/// The largest message that zenoh takes at all: an answer with a block's batches.
const MESSAGE_LEN_MAX: usize = 8 << 20;
/// The largest message of a vehicle that reaches the unit. Reports and transactions are at most 4 kB: what is
/// somewhat longer is refused and counted by the ear, what is much longer ends here.
const VEHICLE_MESSAGE_LEN_MAX: usize = 16 << 10;

/// How long a unit stays away before it links.
///
/// Zenoh 1.10's routers number those they know, give a number that became free to whoever comes next, and look at what
/// has changed 100 ms later. A unit that comes within that time after another left, or after it left itself, may pass for
/// the one that left: it is linked, and never told who listens and who is present.
pub(crate) const APART: Duration = Duration::from_millis(500);

/// Whether strangers can link to this unit: its links ask for no certificate, and some are reached from other machines.
pub(crate) fn is_open(config: &Config) -> bool {
    let is_local = |endpoint: &String| {
        ["tcp/127.", "tcp/[::1]:", "tcp/localhost:"]
            .iter()
            .any(|local| endpoint.starts_with(local))
    };
    config.tls.is_none() && !config.listen.iter().all(is_local)
}

/// Zenoh's settings for a unit of `chain` whose home is `home`.
///
/// # Errors
///
/// Zenoh's, where an endpoint is none.
pub(crate) fn settings(config: &Config, home: &Path, chain: &ChainId) -> zenoh::Result<zenoh::Config> {
    let mut pairs = vec![
        ("mode", json!("router")),
        ("listen/endpoints", json!(config.listen)),
        ("connect/endpoints", json!(config.connect)),
        // For ever, and without waiting for it: the others may start later.
        ("connect/timeout_ms", json!(-1)),
        ("connect/exit_on_failure", json!(false)),
        (
            "connect/retry",
            json!({ "period_init_ms": 200, "period_max_ms": 2000, "period_increase_factor": 2 }),
        ),
        ("scouting/multicast/enabled", json!(false)),
        ("scouting/gossip/enabled", json!(false)),
        ("transport/link/tx/lease", json!(2000)),
        ("transport/link/rx/max_message_size", json!(MESSAGE_LEN_MAX)),
        ("low_pass_filter", size_limits(chain, config.pass_reports_on)),
    ];
    let mut zenoh = zenoh::Config::default();
    if let Some(tls) = &config.tls {
        for (key, value) in TlsFiles::below(tls, home).zenoh_settings() {
            zenoh.insert_json5(key, &value)?;
        }
        pairs.push(("access_control", access_rules(chain)));
    }
    for (key, value) in pairs {
        zenoh.insert_json5(key, &value.to_string())?;
    }
    Ok(zenoh)
}

fn size_limits(chain: &ChainId, pass_reports_on: bool) -> Value {
    let mut limits = vec![json!({
        "id": "vehicles' messages",
        "flows": ["ingress"],
        "messages": ["put", "query"],
        "key_exprs": topic::vehicle_puts(chain).into_iter().chain(topic::vehicle_asks(chain)).collect::<Vec<_>>(),
        "size_limit": VEHICLE_MESSAGE_LEN_MAX,
    })];
    if !pass_reports_on {
        limits.push(json!({
            "id": "reports stay here",
            "flows": ["egress"],
            "messages": ["put"],
            "key_exprs": [topic::reports(chain)],
            "size_limit": 0,
        }));
    }
    json!(limits)
}

/// Who may do what; what no rule allows is denied.
fn access_rules(chain: &ChainId) -> Value {
    let everything = [
        "put",
        "delete",
        "declare_subscriber",
        "query",
        "declare_queryable",
        "reply",
        "liveliness_token",
        "declare_liveliness_subscriber",
        "liveliness_query",
    ];
    let (puts, hears, asks) = (
        topic::vehicle_puts(chain),
        topic::vehicle_hears(chain),
        topic::vehicle_asks(chain),
    );
    // In: what comes from the vehicle. Out: what goes to it; it must learn who wants its reports and answers it.
    let rule = |id: &str, flow: &str, messages: &[&str], key_exprs: &[String]| json!({ "id": id, "permission": "allow", "flows": [flow], "messages": messages, "key_exprs": key_exprs });
    json!({
        "enabled": true,
        "default_permission": "deny",
        "rules": [
            {
                "id": "everything",
                "permission": "allow",
                "flows": ["ingress", "egress"],
                "messages": everything,
                "key_exprs": ["**"],
            },
            rule("puts", "ingress", &["put"], &puts),
            rule("subscribes", "ingress", &["declare_subscriber"], &hears),
            rule("asks", "ingress", &["query"], &asks),
            rule("learns who listens", "egress", &["declare_subscriber"], &puts),
            rule("learns who answers", "egress", &["declare_queryable"], &asks),
            rule("hears", "egress", &["put"], &hears),
            rule("is answered", "egress", &["reply"], &asks),
        ],
        "subjects": [
            { "id": "roadside", "cert_common_names": [Station::Roadside.common_name()] },
            { "id": "vehicle", "cert_common_names": [Station::Vehicle.common_name()] },
        ],
        "policies": [
            { "subjects": ["roadside"], "rules": ["everything"] },
            {
                "subjects": ["vehicle"],
                "rules": [
                    "puts", "subscribes", "asks", "learns who listens", "learns who answers", "hears", "is answered",
                ],
            },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zenoh_takes_every_setting() {
        let chain = ChainId::new("test").expect("four letters");
        let plain = Config::default();
        settings(&plain, Path::new("home"), &chain).expect("plain links");
        let keeping = Config {
            pass_reports_on: false,
            ..plain.clone()
        };
        settings(&keeping, Path::new("home"), &chain).expect("reports that stay");
        let secured = Config {
            listen: vec!["tls/127.0.0.1:7447".into()],
            tls: Some(TlsFiles::in_folder(Path::new(""))),
            ..keeping
        };
        let zenoh = settings(&secured, Path::new("/home/unit"), &chain).expect("secured links");
        let certificate = zenoh
            .get_json("transport/link/tls/listen_certificate")
            .expect("it was set");
        assert_eq!(certificate, "\"/home/unit/link.pem\"");
    }

    #[test]
    fn links_are_open_that_other_machines_reach_without_a_certificate() {
        let listening = |endpoints: &[&str], tls: Option<TlsFiles>| Config {
            listen: endpoints.iter().map(|&endpoint| endpoint.into()).collect(),
            tls,
            ..Config::default()
        };
        assert!(!is_open(&listening(&["tcp/127.0.0.1:1", "tcp/[::1]:2"], None)));
        assert!(is_open(&listening(&["tcp/127.0.0.1:1", "tcp/192.0.2.1:2"], None)));
        assert!(is_open(&listening(&["tcp/0.0.0.0:1"], None)));
        let tls = TlsFiles::in_folder(Path::new(""));
        assert!(!is_open(&listening(&["tls/192.0.2.1:2"], Some(tls))));
    }
}
