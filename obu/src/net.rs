//! How does a vehicle reach roadside units?
//!
//! As a zenoh client with a list of endpoints: it holds a link to one of them, and goes over to another when that one
//! is lost. It neither scouts nor listens. Nothing here blocks for long: what cannot be sent is dropped, and the
//! outbox sends it again.
//!
//! Zenoh opens a session on the caller's thread, however long that takes, and with a connect timeout it stays with
//! the first endpoint until it runs out. So each attempt has a thread of its own and no timeout: every endpoint is
//! tried once, and then all again. Once a session is open, zenoh itself finds its way back.

use std::path::PathBuf;
use std::time::Duration;

use milepost_wire::link::TlsFiles;
use milepost_wire::{ChainId, SignedTransaction, encode, topic};
use tokio::sync::oneshot;
use zenoh::handlers::DefaultHandler;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::query::{ConsolidationMode, QueryTarget};
use zenoh::session::SessionGetBuilder;
use zenoh::{Session, Wait};

/// A round of attempts that reached nobody is followed by the next after so long.
const OPEN_EVERY: Duration = Duration::from_millis(500);
/// The longest that an orderly end may take.
const CLOSE_MAX: Duration = Duration::from_secs(3);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// Nowhere to connect to.
    #[error("expected at least one endpoint of a roadside unit, such as tcp/192.0.2.1:7447, found none")]
    NoEndpoint,
    /// Not an endpoint.
    #[error("expected endpoints such as tcp/192.0.2.1:7447, found {0}")]
    BadEndpoint(String),
    /// A certificate or its key is not there.
    #[error(
        "cannot read {path}: {source}; endpoints tls/… need all three of authorities, certificate and key"
    )]
    TlsFile {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// Endpoints that want certificates, and none are named.
    #[error("{0} wants certificates: name their folder with --tls, or a [tls] table in the settings")]
    NoCertificates(String),
    /// Zenoh refused.
    #[error("zenoh could not {what}: {reason}")]
    Zenoh {
        /// What was tried.
        what: &'static str,
        /// What zenoh says.
        reason: String,
    },
}

impl NetError {
    pub(crate) fn zenoh(what: &'static str) -> impl FnOnce(zenoh::Error) -> Self {
        move |error| Self::Zenoh {
            what,
            reason: error.to_string(),
        }
    }
}

/// What zenoh is told: whom to connect to, and for endpoints `tls/…` which certificates to show and to believe.
///
/// # Errors
///
/// [`NetError::NoEndpoint`], [`NetError::BadEndpoint`], [`NetError::NoCertificates`], [`NetError::TlsFile`].
pub fn settings(connect: &[String], tls: Option<&TlsFiles>) -> Result<zenoh::Config, NetError> {
    if connect.is_empty() {
        return Err(NetError::NoEndpoint);
    }
    if tls.is_none()
        && let Some(endpoint) = connect.iter().find(|endpoint| endpoint.starts_with("tls/"))
    {
        return Err(NetError::NoCertificates(endpoint.clone()));
    }
    // Zenoh reads them only when a link is made, and then says little.
    for path in tls.iter().flat_map(|tls| tls.paths()) {
        std::fs::File::open(path).map_err(|source| NetError::TlsFile {
            path: path.to_owned(),
            source,
        })?;
    }
    let mut settings = zenoh::Config::default();
    let mut set = |key: &str, value: &str| settings.insert_json5(key, value);
    for (key, value) in [
        ("mode", "\"client\""),
        ("listen/endpoints", "[]"),
        ("connect/timeout_ms", "0"),
        ("connect/exit_on_failure", "false"),
        (
            "connect/retry",
            "{period_init_ms: 200, period_max_ms: 2000, period_increase_factor: 2}",
        ),
        ("scouting/multicast/enabled", "false"),
        ("scouting/gossip/enabled", "false"),
        ("transport/link/tx/lease", "2000"),
        // The largest answer is an outputs proof of 4 MiB.
        ("transport/link/rx/max_message_size", "8388608"),
    ] {
        set(key, value).expect("these settings are zenoh's own");
    }
    for (key, value) in tls.map(TlsFiles::zenoh_settings).unwrap_or_default() {
        set(key, &value).expect("these settings are zenoh's own");
    }
    let endpoints = serde_json::to_string(connect).expect("text is JSON");
    // Zenoh's reason names its source files; what was expected says it all.
    set("connect/endpoints", &endpoints).map_err(|_| NetError::BadEndpoint(endpoints))?;
    Ok(settings)
}

/// Opens a session, once a unit answers. Dropped before, it leaves at most one attempt behind, which ends by itself.
///
/// # Errors
///
/// [`NetError::Zenoh`] where zenoh gives up for good.
pub async fn open(settings: zenoh::Config) -> Result<Session, NetError> {
    loop {
        let (sender, opened) = oneshot::channel();
        let settings = settings.clone();
        std::thread::spawn(move || {
            // Nobody may be waiting any more.
            let _ = sender.send(zenoh::open(settings).wait());
        });
        let reason = "its thread panicked".to_owned();
        match opened.await.map_err(|_| NetError::Zenoh {
            what: "open a session",
            reason,
        })? {
            Ok(session) => return Ok(session),
            Err(error) => tracing::debug!("no roadside unit answers: {error}"),
        }
        tokio::time::sleep(OPEN_EVERY).await;
    }
}

/// Whether any roadside unit is in reach.
pub async fn is_linked(session: &Session) -> bool {
    session.info().routers_zid().await.next().is_some()
}

/// A question to all units; each answers for itself.
pub fn ask_all(
    session: &Session,
    topic: String,
    wait: Duration,
) -> SessionGetBuilder<'_, 'static, DefaultHandler> {
    session
        .get(topic)
        .target(QueryTarget::All)
        .consolidation(ConsolidationMode::None)
        .timeout(wait)
}

/// Puts a report: at once or not at all.
///
/// # Errors
///
/// [`NetError::Zenoh`].
pub async fn put(session: &Session, topic: String, bytes: Vec<u8>) -> Result<(), NetError> {
    let put = session
        .put(topic, bytes)
        .congestion_control(CongestionControl::Drop)
        .priority(Priority::Data);
    put.await.map_err(NetError::zenoh("put a message"))
}

/// Puts a transaction.
///
/// # Errors
///
/// [`NetError::Zenoh`].
pub async fn send(
    session: &Session,
    chain: &ChainId,
    transaction: &SignedTransaction,
) -> Result<(), NetError> {
    let Ok(sender) = transaction.message.from.address() else {
        return Ok(());
    };
    put(
        session,
        topic::transaction(chain, sender.key_id()),
        encode(transaction),
    )
    .await
}

/// Sends what is under way, and ends.
pub async fn close(session: Session) {
    if let Ok(Err(error)) = tokio::time::timeout(CLOSE_MAX, session.close()).await {
        tracing::warn!("zenoh could not close the session: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked_before_anything_starts() {
        assert!(settings(&["tcp/127.0.0.1:7447".into(), "tcp/[::1]:7448".into()], None).is_ok());
        assert!(matches!(settings(&[], None), Err(NetError::NoEndpoint)));
        let error = settings(&["somewhere".into()], None).unwrap_err().to_string();
        assert!(
            error.contains("somewhere") && error.contains("expected endpoints such as"),
            "{error}"
        );
    }

    #[test]
    fn a_secured_endpoint_needs_certificates_that_are_there() {
        let endpoints = ["tls/[::1]:7448".to_owned()];
        let error = settings(&endpoints, None).unwrap_err().to_string();
        assert!(error.contains("--tls"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let tls = TlsFiles::in_folder(folder.path());
        let error = settings(&endpoints, Some(&tls)).unwrap_err().to_string();
        assert!(error.contains("authorities.pem"), "{error}");
        for path in tls.paths() {
            std::fs::write(path, "").unwrap();
        }
        assert!(settings(&endpoints, Some(&tls)).is_ok());
    }
}
