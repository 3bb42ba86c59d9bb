//! What does a flood cost the others?
//!
//! Four vehicles drive; then they drive again while a stranger puts forged reports, half of them in the vehicles' own
//! names, and junk block bodies, as fast as one zenoh client manages, up to [`PER_SECOND`]. What honest vehicles said
//! still becomes final, the members' memory stays within a bound, and nothing forged is in the chain. How long honest
//! reports took until they were final is printed for both, as a ratio: the machine's speed is not this test's matter.
//!
//! `MILEPOST_FLOOD_SECONDS=60 cargo test --release -p milepost-tests --test flood -- --nocapture` floods for a minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use milepost_node::message::{PeerMessage, ProposedBody};
use milepost_rsu::clock::wall;
use milepost_tests::{Consortium, Drive, Plan, Ride, Source, observation, verify};
use milepost_wire::topic::{self, Channel};
use milepost_wire::{
    Body, ChainId, Hash, Header, Height, Report, SecretKey, Sequence, Signed, SignedReport, encode,
};
use zenoh::Session;
use zenoh::qos::CongestionControl;

/// What the flood comes to where the machine bears it.
const PER_SECOND: u64 = 20_000;
/// Forged reports and junk bodies go in proportion of so many to one.
const REPORTS_PER_BODY: u64 = 400;
/// Honest vehicles.
const DRIVERS: usize = 4;
/// What a member's resident memory may grow by in a flood, in kB.
const GROWTH_MAX_KB: u64 = 300_000;
/// How long starting, and the last receipts, may take on a busy machine.
const DRAIN_MAX_S: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_flood_of_forgeries_honest_reports_become_final() {
    let seconds = std::env::var("MILEPOST_FLOOD_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let seconds: u32 = seconds.unwrap_or(15);
    let mut consortium = Consortium::running(Plan::default());
    let calm = drive(&consortium, 0, seconds);
    println!("final after {calm} ms without the flood");
    let memory_before = memory_kb(&consortium);

    let flood = Flood::begin(&consortium).await;
    let stormy = drive(&consortium, seconds, seconds);
    let memory_in_flood = memory_kb(&consortium);
    let (put, lasted) = flood.end().await;

    println!(
        "{:.0} messages a second; final after {calm} ms without and {stormy} ms with the flood: {:.2} times as long",
        put as f64 / lasted.as_secs_f64(),
        stormy as f64 / calm.max(1) as f64,
    );
    println!("resident memory of the members, in kB: {memory_before:?}, then {memory_in_flood:?}");
    for (before, after) in memory_before.iter().zip(&memory_in_flood) {
        assert!(
            after.saturating_sub(*before) < GROWTH_MAX_KB,
            "{memory_before:?} {memory_in_flood:?}"
        );
    }
    let reports = consortium.get(0, "/v1/reports").expect("member 0 answers");
    let refused = reports["rejected"].as_object().expect("reasons").values();
    let refused: u64 = refused.filter_map(serde_json::Value::as_u64).sum();
    let overrun = reports["overrun"].as_u64().unwrap_or(0);
    assert!(
        refused + overrun > put / 4,
        "the flood did not reach member 0: {reports}"
    );

    consortium.agree(consortium.all());
    consortium.stop_all();
    // Replays the chain: every report in it is signed by its vehicle.
    let verified = verify(consortium.home(0)).ended_with(0).json();
    assert_eq!(verified["ok"], true, "{verified}");
    let honest = 2 * DRIVERS as u64 * (u64::from(seconds) + 2);
    assert!(
        verified["reports"].as_u64() <= Some(honest),
        "more reports than honest ones: {verified}"
    );
}

/// Honest vehicles drive on from where they are after so many seconds, and all that they say becomes final: the median of
/// the vehicles' medians, in ms.
fn drive(consortium: &Consortium, after: u32, seconds: u32) -> u64 {
    let drives: Vec<Drive> = (0..DRIVERS)
        .map(|nth| {
            // At one pace they would meet each block at one and the same moment of its interval for the whole drive.
            let period_s = 1.03 + 0.08 * nth as f64;
            let ride = Ride::in_line(nth);
            let ride = ride.behind(-ride.speed_m_s * f64::from(after));
            let lines = ride.jsonl_every(period_s, seconds);
            consortium.vehicle(nth).drive(Source::Jsonl(lines), DRAIN_MAX_S)
        })
        .collect();
    let limit = Duration::from_secs(u64::from(seconds) + 2 * DRAIN_MAX_S);
    let mut medians = Vec::new();
    for drive in drives {
        let summary = drive.finish(limit);
        assert!(summary["sent"].as_u64() > Some(0), "nothing was said: {summary}");
        assert_eq!(
            summary["final"], summary["sent"],
            "honest reports were lost: {summary}"
        );
        medians.push(
            summary["finality_ms"]["p50"]
                .as_u64()
                .expect("something was final"),
        );
    }
    medians.sort_unstable();
    medians[medians.len() / 2]
}

fn memory_kb(consortium: &Consortium) -> Vec<u64> {
    consortium.all().map(|nth| consortium.resident_kb(nth)).collect()
}

/// Somebody who puts as much as fits.
struct Flood {
    over: Arc<AtomicBool>,
    put: Arc<AtomicU64>,
    began: Instant,
    task: tokio::task::JoinHandle<Session>,
}

impl Flood {
    async fn begin(consortium: &Consortium) -> Self {
        let settings =
            milepost_obu::net::settings(&[consortium.endpoint(0).to_owned()], None).expect("an endpoint");
        let session = milepost_obu::net::open(settings).await.expect("a session");
        let chain = consortium.known().chain;
        let vehicles: Vec<SecretKey> = (0..DRIVERS).map(|nth| consortium.vehicle(nth).secret()).collect();
        let member = consortium
            .known()
            .members
            .iter()
            .next()
            .expect("there are four")
            .0;
        let height = Height(consortium.height(0).expect("member 0 answers") + 3);
        let (over, put) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, counted) = (over.clone(), put.clone());
        let began = Instant::now();
        let flooding = async move {
            let stranger = SecretKey::from_seed("flood", 1);
            let forgeries: Vec<SignedReport> = vehicles
                .iter()
                .map(|vehicle| vehicle.key_id())
                .chain((0..DRIVERS as u64).map(|nth| SecretKey::from_seed("flood", nth).key_id()))
                .map(|vehicle| Signed::sign(report(vehicle), &chain, &stranger).into_signed())
                .collect();
            let reports = topic::report(&chain, observation().cell);
            let bodies = topic::from_member(&chain, Channel::Body, member);
            for nth in 0.. {
                if told.load(Ordering::Relaxed) {
                    break;
                }
                let (key, bytes) = if nth % REPORTS_PER_BODY == 0 {
                    (&bodies, junk_body(&chain, member, height, nth))
                } else {
                    let mut forged = forgeries[nth as usize % forgeries.len()].clone();
                    forged.message.sequence = Sequence(nth.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                    (&reports, encode(&forged))
                };
                let put = session
                    .put(key, bytes)
                    .congestion_control(CongestionControl::Drop);
                if put.await.is_ok() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                let due = Duration::from_micros(nth * 1_000_000 / PER_SECOND);
                let ahead = due.saturating_sub(began.elapsed());
                if ahead > Duration::from_millis(2) {
                    tokio::time::sleep(ahead).await;
                }
            }
            session
        };
        Self {
            over,
            put,
            began,
            task: tokio::spawn(flooding),
        }
    }

    /// How many messages were put, and in what time.
    async fn end(self) -> (u64, Duration) {
        let lasted = self.began.elapsed();
        self.over.store(true, Ordering::Relaxed);
        let session = self.task.await.expect("the flood ends when it is told");
        milepost_obu::net::close(session).await;
        (self.put.load(Ordering::Relaxed), lasted)
    }
}

fn report(vehicle: milepost_wire::KeyId) -> Report {
    Report {
        version: Report::VERSION,
        vehicle,
        sequence: Sequence(0),
        sent_at: wall(),
        observations: vec![observation(); 10],
    }
}

/// A block that nobody proposed.
fn junk_body(chain: &ChainId, proposer: milepost_wire::Address, height: Height, nth: u64) -> Vec<u8> {
    let header = Header {
        version: Header::VERSION,
        chain: chain.clone(),
        height,
        time: wall(),
        proposer,
        parent: Hash([1; 32]),
        transactions_root: Hash::ZERO,
        batches_root: Hash::ZERO,
        outputs_root: Hash::ZERO,
        state_root: Hash([nth as u8; 32]),
        members_hash: Hash::ZERO,
        next_members_hash: Hash::ZERO,
    };
    let body = Body {
        transactions: Vec::new(),
        batches: Vec::new(),
    };
    let block = milepost_wire::Block { header, body };
    encode(&PeerMessage::Body(ProposedBody { round: 0, block }))
}
