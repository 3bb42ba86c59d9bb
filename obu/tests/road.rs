//! Does the onboard unit get along with a roadside unit, over real zenoh?
//!
//! The roadside unit is played: a router that certifies what the test wants certified, with the keys of all members.

#[path = "../src/testing.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests beside the code, which use the rest"
)]
mod testing;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use milepost_obu::Config;
use milepost_obu::ask::{AskError, Asker};
use milepost_obu::clock::wall;
use milepost_obu::config::Segments;
use milepost_obu::replay::{self, Choice};
use milepost_obu::run::{self, Summary};
use milepost_obu::source::Source;
use milepost_obu::trusted::TrustFile;
use milepost_wire::output::{Outcome, Receipt};
use milepost_wire::state::{Account, StateKey};
use milepost_wire::{
    Amount, Height, Output, SecretKey, Sequence, SignedReport, decode, encode, output, topic,
};
use testing::Town;
use zenoh::{Session, Wait};

/// A roadside unit that gives a receipt for each new report.
struct Unit {
    session: Session,
    heard: Arc<Mutex<Vec<Sequence>>>,
}

impl Unit {
    async fn open(town: &Arc<Town>, endpoint: &str) -> Self {
        let mut settings = zenoh::Config::default();
        let listen = format!("[\"{endpoint}\"]");
        for (key, value) in [
            ("mode", "\"router\""),
            ("listen/endpoints", &listen),
            ("scouting/multicast/enabled", "false"),
            ("scouting/gossip/enabled", "false"),
        ] {
            settings.insert_json5(key, value).expect("a setting");
        }
        let session = zenoh::open(settings).await.expect("a session");
        let heard = Arc::new(Mutex::new(Vec::new()));
        // Blocks of this town have no parents: of two in a row, the second would not follow.
        let height = AtomicU64::new(5);
        let heads = Arc::new(Mutex::new(BTreeMap::new()));
        let (air, hearing, certifier) = (session.clone(), heard.clone(), town.clone());
        let made = heads.clone();
        session
            .declare_subscriber(topic::reports(&town.chain))
            .callback(move |sample| {
                let report: SignedReport = decode(&sample.payload().to_bytes()).expect("a report");
                let (vehicle, sequence) = (report.message.vehicle, report.message.sequence);
                hearing.lock().expect("no panic").push(sequence);
                let outcome = Outcome::Counted;
                let outputs = [Output::Receipt(Receipt {
                    vehicle,
                    sequence,
                    outcome,
                })];
                let height = height.fetch_add(2, Ordering::Relaxed);
                let head = certifier.head(height, output::root(&outputs));
                made.lock()
                    .expect("no panic")
                    .insert(Height(height), head.clone());
                let notice = Town::notice(height, &outputs);
                let receipts = topic::receipt(&certifier.chain, vehicle);
                air.put(receipts, encode(&notice)).wait().expect("put");
                air.put(topic::head(&certifier.chain), encode(&head))
                    .wait()
                    .expect("put");
            })
            .background()
            .await
            .expect("a subscriber");
        let certifier = town.clone();
        session
            .declare_queryable(format!("{}/q/light/*", topic::root(&town.chain)))
            .callback(move |query| {
                let key = query.key_expr().clone();
                let height = key.rsplit('/').next().and_then(|height| height.parse().ok());
                let heads = heads.lock().expect("no panic");
                if let Some(head) = height.and_then(|height| heads.get(&Height(height))) {
                    let block = encode(&certifier.light_block(head));
                    query.reply(key, block).wait().expect("a reply");
                }
            })
            .background()
            .await
            .expect("a queryable");
        Self { session, heard }
    }

    /// Answers questions about the account of `key`: first with a lie, then with the truth.
    async fn keep_account(&self, town: &Arc<Town>, key: &SecretKey) {
        let asked = topic::ask_account(&town.chain, key.address());
        let account = |micro| {
            encode(&Account {
                balance: Amount::from_micro(micro),
                nonce: 3,
            })
        };
        let truth = town.state_proof(9, StateKey::Account(key.address()), Some(account(5)));
        let mut lie = truth.clone();
        lie.value = Some(account(5_000_000));
        self.session
            .declare_queryable(asked.clone())
            .callback(move |query| {
                for proof in [&lie, &truth] {
                    query.reply(asked.clone(), encode(proof)).wait().expect("a reply");
                }
            })
            .background()
            .await
            .expect("a queryable");
    }
}

fn free_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("tcp/{}", listener.local_addr().expect("an address"))
}

fn config(folder: &Path, endpoint: &str, linger_s: u64) -> Config {
    Config {
        connect: vec![endpoint.to_owned()],
        outbox_file: folder.join("outbox"),
        trusted_file: folder.join("trusted"),
        bundle_ms: 100,
        resend_ms: 500,
        ask_ms: 4000,
        linger_s,
        ..Config::default()
    }
}

async fn drive(config: &Config, town: &Town, key: &SecretKey, lines: &str) -> Summary {
    let file = config.outbox_file.with_extension("jsonl");
    std::fs::write(&file, lines).expect("a file");
    let choice = Choice {
        source: Source::Jsonl(file),
        origin: None,
        vehicle: None,
        segments: Segments::Cell,
    };
    let readings = replay::open(choice).expect("a source");
    run::run(
        config,
        key.clone(),
        &town.consortium(),
        readings,
        std::future::pending(),
    )
    .await
    .expect("a run")
}

const LINES: &str = r#"{"time": 100.0, "lat": 44.4946, "lon": 11.3277, "heading": 90.0, "speed_kmh": 48.5}
{"time": 100.3, "lat": 44.4947, "lon": 11.3278, "heading": 90.0, "speed_kmh": 49.5}
{"time": 100.6, "lat": 44.4948, "lon": 11.3279, "heading": 90.0, "speed_kmh": 50.5, "humidity": 0.5}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_vehicle_sees_becomes_final() {
    let (town, key, endpoint) = (
        Arc::new(Town::new(4)),
        SecretKey::from_seed("v", 1),
        free_endpoint(),
    );
    let folder = tempfile::tempdir().expect("a folder");
    let unit = Unit::open(&town, &endpoint).await;
    let mut config = config(folder.path(), &endpoint, 20);
    // The first one in the list is dead.
    config.connect.insert(0, free_endpoint());
    let summary = drive(&config, &town, &key, LINES).await;
    assert_eq!(
        (summary.observations, summary.sent, summary.counted),
        (4, 3, 3),
        "{summary:?}"
    );
    assert_eq!(
        (summary.waiting, summary.refused, summary.lost),
        (0, 0, 0),
        "{summary:?}"
    );
    unit.session.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_vehicle_sees_becomes_final_though_members_have_changed_meanwhile() {
    let (town, key, endpoint) = (Town::new(4), SecretKey::from_seed("v", 5), free_endpoint());
    let later = Arc::new(Town::of(&[0, 1, 2, 7]));
    let folder = tempfile::tempdir().expect("a folder");
    let unit = Unit::open(&later, &endpoint).await;
    let mut config = config(folder.path(), &endpoint, 20);
    // This town's blocks are of the year 2004.
    config.trust_s = 1_000_000_000;
    let summary = drive(&config, &town, &key, LINES).await;
    assert_eq!((summary.counted, summary.waiting), (3, 0), "{summary:?}");
    let (_, light) = TrustFile::open(
        &config.trusted_path(),
        &town.consortium(),
        wall(),
        config.bounds(),
    )
    .expect("what it trusts is kept");
    assert_eq!(light.members(), &later.members);
    unit.session.close().await.expect("closed");
}

/// The control: strangers certify the same, and have light blocks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_strangers_certify_is_never_final() {
    let (town, key, endpoint) = (Town::new(4), SecretKey::from_seed("v", 6), free_endpoint());
    let strangers = Arc::new(Town::of(&[90, 91, 92, 93]));
    let folder = tempfile::tempdir().expect("a folder");
    let unit = Unit::open(&strangers, &endpoint).await;
    let summary = drive(&config(folder.path(), &endpoint, 3), &town, &key, LINES).await;
    assert_eq!(
        (summary.sent, summary.counted, summary.waiting),
        (3, 0, 3),
        "{summary:?}"
    );
    unit.session.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_seen_out_of_reach_is_told_by_the_next_run() {
    let (town, key, endpoint) = (
        Arc::new(Town::new(4)),
        SecretKey::from_seed("v", 2),
        free_endpoint(),
    );
    let folder = tempfile::tempdir().expect("a folder");
    let alone = drive(&config(folder.path(), &endpoint, 0), &town, &key, LINES).await;
    assert_eq!((alone.sent, alone.waiting), (0, 3), "{alone:?}");

    let unit = Unit::open(&town, &endpoint).await;
    let back = drive(&config(folder.path(), &endpoint, 20), &town, &key, "").await;
    assert_eq!((back.sent, back.counted, back.waiting), (3, 3, 0), "{back:?}");
    let mut heard = unit.heard.lock().expect("no panic").clone();
    heard.dedup();
    assert!(heard.is_sorted() && heard.len() == 3, "{heard:?}");
    unit.session.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_comes_back_is_found_again() {
    let (town, key, endpoint) = (
        Arc::new(Town::new(4)),
        SecretKey::from_seed("v", 3),
        free_endpoint(),
    );
    let folder = tempfile::tempdir().expect("a folder");
    let flicker = {
        let (town, endpoint) = (town.clone(), endpoint.clone());
        tokio::spawn(async move {
            let unit = Unit::open(&town, &endpoint).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            unit.session.close().await.expect("closed");
            tokio::time::sleep(Duration::from_secs(2)).await;
            Unit::open(&town, &endpoint).await
        })
    };
    let line =
        |second| format!("{{\"time\": {second}, \"lat\": 44.5, \"lon\": 11.3, \"speed_kmh\": 48.5}}\n");
    let lines: String = (100..106).map(line).collect();
    let summary = drive(&config(folder.path(), &endpoint, 30), &town, &key, &lines).await;
    assert_eq!((summary.counted, summary.waiting), (6, 0), "{summary:?}");
    flicker
        .await
        .expect("a unit")
        .session
        .close()
        .await
        .expect("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lie_about_a_balance_is_refused_and_the_truth_taken() {
    let (town, key, endpoint) = (
        Arc::new(Town::new(4)),
        SecretKey::from_seed("v", 4),
        free_endpoint(),
    );
    let folder = tempfile::tempdir().expect("a folder");
    let unit = Unit::open(&town, &endpoint).await;
    unit.keep_account(&town, &key).await;
    let mut asker = Asker::open(&config(folder.path(), &endpoint, 0), &town.consortium())
        .await
        .expect("open");
    let account = asker.account(key.address()).await.expect("an answer");
    assert_eq!((account.value.balance.micro(), account.value.nonce), (5, 3));
    assert_eq!(asker.refused.len(), 1, "{:?}", asker.refused);

    let nobody = asker.vehicle(key.key_id()).await;
    assert!(matches!(nobody, Err(AskError::NoProof { .. })));
    asker.close().await;
    unit.session.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_without_a_unit_ends_in_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config {
        ask_ms: 500,
        ..config(folder.path(), &free_endpoint(), 0)
    };
    let consortium = Town::new(4).consortium();
    let opened = tokio::time::timeout(Duration::from_secs(5), Asker::open(&config, &consortium));
    assert!(matches!(
        opened.await.expect("in time"),
        Err(AskError::Unreachable { .. })
    ));
}
