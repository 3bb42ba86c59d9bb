//! Who can get in over the air, and what can they break?
//!
//! A real zenoh client puts what no honest vehicle or member would on every topic that members listen to. Each
//! intrusion is refused and counted under its reason, the members stay up and go on deciding, and honest
//! vehicles are heard as before.

use std::time::Duration;

use milepost_node::message::{
    Acks, PeerMessage, Polka, Proposal, ProposedBody, RoundCertificate, RoundVote, Status, Vote,
};
use milepost_rsu::clock::wall;
use milepost_tests::{Consortium, Drive, Plan, Ride, Source, eventually, observation};
use milepost_wire::topic::{self, Channel};
use milepost_wire::vote::{self, Step};
use milepost_wire::{
    Address, Batch, ChainId, Hash, Height, Message, Observation, Place, Report, SecretKey, Sequence,
    Signature, Signed, SignedReport, Timestamp, encode,
};
use zenoh::Session;
use zenoh::qos::CongestionControl;

/// How long counters, or some blocks, may take on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Lengths of garbage: none, tiny, a report's, a batch's, more than any message's.
const GARBAGE_LENS: [usize; 6] = [0, 1, 97, 1_000, 100_000, 3_000_000];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_repeated_and_oversized_reports_are_refused_by_reason() {
    let mut consortium = Consortium::running(Plan::default());
    let intruder = Intruder::at(&consortium).await;
    let keys: Vec<SecretKey> = (0..4).map(|nth| consortium.vehicle(nth).secret()).collect();
    let chain = &intruder.chain;
    let other_chain = ChainId::new("another-chain").expect("a chain's name");
    let stranger = SecretKey::from_seed("stranger", 1);

    let honest = encode(&signed(report(&keys[0], 1), chain, &keys[0]));
    let future = Report {
        sent_at: wall().plus(60_000),
        ..report(&keys[0], 2)
    };
    let far_off = Report {
        observations: vec![Observation {
            place: Place::from_degrees(60.17, 24.94).expect("on the globe"),
            ..observation()
        }],
        ..report(&keys[0], 3)
    };
    let empty = Report {
        observations: Vec::new(),
        ..report(&keys[0], 4)
    };
    let another = Report {
        sent_at: wall().minus(1_000),
        ..report(&keys[0], 1)
    };
    let mut longer = honest.clone();
    longer.push(0);
    let intrusions = [
        (
            "bad_signature",
            encode(&signed(report(&keys[1], 1), chain, &keys[2])),
        ),
        (
            "bad_signature",
            encode(&signed(report(&keys[1], 2), &other_chain, &keys[1])),
        ),
        (
            "not_enrolled",
            encode(&signed(report(&stranger, 1), chain, &stranger)),
        ),
        ("heard_before", honest.clone()),
        ("heard_before", honest.clone()),
        // Another content under the same number, made up and then signed: the second is proof, the third adds nothing.
        ("bad_signature", encode(&signed(another.clone(), chain, &keys[2]))),
        ("two_contents", encode(&signed(another.clone(), chain, &keys[0]))),
        ("heard_before", encode(&signed(another, chain, &keys[0]))),
        ("too_long", noise(SignedReport::LEN_MAX + 1)),
        ("too_long", noise(4 * SignedReport::LEN_MAX)),
        ("malformed", noise(300)),
        ("malformed", Vec::new()),
        ("malformed", honest[..honest.len() / 2].to_vec()),
        ("malformed", longer),
        ("out_of_bounds", encode(&signed(empty, chain, &keys[0]))),
        ("from_the_future", encode(&signed(future, chain, &keys[0]))),
        ("outside_cell", encode(&signed(far_off, chain, &keys[0]))),
    ];

    intruder.report(honest).await;
    count(&consortium, "the honest report is accepted", "/accepted", 1);
    let mut expected = std::collections::BTreeMap::new();
    for (reason, bytes) in intrusions {
        intruder.report(bytes).await;
        *expected.entry(reason).or_insert(0) += 1;
        let counter = format!("/rejected/{reason}");
        count(
            &consortium,
            &format!("{reason} is counted"),
            &counter,
            expected[reason],
        );
    }
    let reports = consortium.get(0, "/v1/reports").expect("member 0 answers");
    assert_eq!(reports["accepted"], 1, "an intrusion was accepted: {reports}");
    for (reason, times) in expected {
        assert_eq!(reports["rejected"][reason], times, "{reason}: {reports}");
    }

    // What is beyond all measure ends at the link, and does not even reach the counters.
    intruder.report(noise(1 << 20)).await;
    // Another chain's topic is nobody's here.
    let elsewhere = topic::report(&other_chain, observation().cell);
    intruder
        .put(elsewhere, encode(&signed(report(&keys[1], 3), chain, &keys[1])))
        .await;
    // A vehicle that floods gets its burst, and leaves the others theirs.
    for sequence in 10..400 {
        intruder
            .report(encode(&signed(report(&keys[3], sequence), chain, &keys[3])))
            .await;
    }
    count(&consortium, "a flood is bounded", "/rejected/too_often", 1);
    let metrics = page(&consortium);
    assert!(
        metrics.contains("milepost_reports_rejected_total{reason=\"bad_signature\"} 3"),
        "{metrics}"
    );

    intruder.leave().await;
    quarantined_for_two_contents(&consortium, &keys[0]);
    honest_vehicles_are_heard(&consortium);
    consortium.stop_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_an_outsider_says_among_members_stops_them() {
    let mut consortium = Consortium::running(Plan::default());
    let intruder = Intruder::at(&consortium).await;
    let members: Vec<Address> = consortium
        .known()
        .members
        .iter()
        .map(|(address, _)| address)
        .collect();
    let height = consortium.height(0).expect("member 0 answers");

    for name in [members[0], members[3], Address([7; 20])] {
        for channel in [Channel::Bft, Channel::Body, Channel::Batch, Channel::Member] {
            let key = topic::from_member(&intruder.chain, channel, name);
            for len in GARBAGE_LENS {
                intruder.put(key.clone(), noise(len)).await;
            }
            for message in lies(&intruder.chain, &members, Height(height + 1)) {
                intruder.put(key.clone(), encode(&message)).await;
            }
        }
    }
    for garbage in [
        "tx/0011223344556677",
        "head",
        "q/block/1/zz",
        "receipt/zz",
        "report/x/y/z",
    ] {
        let key = format!("{}/{garbage}", topic::root(&intruder.chain));
        intruder.put(key, noise(500)).await;
    }
    for nth in consortium.all() {
        assert!(consortium.is_up(nth), "member {nth} went down");
        consortium.reach(nth, height + 4, WAIT_MAX);
    }

    // A message beyond all bounds may cost the link that it came by, and nothing else.
    let key = topic::from_member(&intruder.chain, Channel::Body, members[0]);
    intruder.put(key, noise(12 << 20)).await;
    let height = consortium.height(0).expect("member 0 answers");
    for nth in consortium.all() {
        consortium.reach(nth, height + 3, WAIT_MAX);
    }
    consortium.agree(consortium.all());
    intruder.leave().await;
    honest_vehicles_are_heard(&consortium);
    consortium.stop_all();
}

/// Somebody with a radio and no right to anything.
struct Intruder {
    chain: ChainId,
    session: Session,
}

impl Intruder {
    async fn at(consortium: &Consortium) -> Self {
        let settings = milepost_obu::net::settings(&[consortium.endpoint(0).to_owned()], None);
        let session = milepost_obu::net::open(settings.expect("an endpoint"));
        Self {
            chain: consortium.known().chain,
            session: session.await.expect("a session"),
        }
    }

    async fn report(&self, bytes: Vec<u8>) {
        self.put(topic::report(&self.chain, observation().cell), bytes)
            .await;
    }

    async fn put(&self, key: String, bytes: Vec<u8>) {
        // Blocking, so that nothing is lost on this side: the counts are exact.
        let put = self
            .session
            .put(key, bytes)
            .congestion_control(CongestionControl::Block);
        put.await.expect("it is put");
    }

    async fn leave(self) {
        milepost_obu::net::close(self.session).await;
    }
}

/// Well-formed messages of members, none of them said by one, with numbers at both ends of their ranges.
fn lies(chain: &ChainId, members: &[Address], next: Height) -> Vec<PeerMessage> {
    let liar = SecretKey::from_seed("liar", 1);
    let member = members[1];
    let value = Hash([9; 32]);
    let mut lies = Vec::new();
    for height in [next, Height(0), Height(u64::MAX)] {
        for round in [0, u32::MAX] {
            let digest = vote::digest(chain, Step::Precommit, height, round, Some(value), member);
            let signature = Signature::sign(&liar, &digest);
            let signatures: Vec<_> = members.iter().map(|member| (*member, signature)).collect();
            let votes = signatures.iter().map(|&(voter, signature)| RoundVote {
                precommit: true,
                value: Some(value),
                voter,
                signature,
            });
            lies.extend([
                PeerMessage::Status(Status { height }),
                PeerMessage::Round(RoundCertificate {
                    height,
                    round,
                    precommit: true,
                    votes: votes.collect(),
                }),
                PeerMessage::Vote(Vote {
                    precommit: true,
                    height,
                    round,
                    value: Some(value),
                    voter: member,
                    signature,
                }),
                PeerMessage::Proposal(Proposal {
                    height,
                    round,
                    valid_round: Some(round),
                    value,
                    proposer: member,
                    signature,
                }),
                PeerMessage::Polka(Polka {
                    height,
                    round,
                    value,
                    signatures,
                }),
                PeerMessage::Body(ProposedBody {
                    round,
                    block: block(chain, height, member),
                }),
            ]);
        }
    }
    let batch = Batch {
        author: member,
        sequence: u64::MAX,
        height: next,
        created_at: wall(),
        reports: vec![signed(report(&liar, 1), chain, &liar)],
    };
    let acks = Acks {
        member,
        height: next,
        batches: vec![value; Acks::COUNT_MAX],
    };
    lies.push(PeerMessage::Batch(
        Signed::sign(batch, chain, &liar).into_signed(),
    ));
    lies.push(PeerMessage::Acks(Signed::sign(acks, chain, &liar).into_signed()));
    lies
}

/// A block that follows from nothing.
fn block(chain: &ChainId, height: Height, proposer: Address) -> milepost_wire::Block {
    let header = milepost_wire::Header {
        version: milepost_wire::Header::VERSION,
        chain: chain.clone(),
        height,
        time: Timestamp::from_millis(u64::MAX),
        proposer,
        parent: Hash([1; 32]),
        transactions_root: Hash::ZERO,
        batches_root: Hash::ZERO,
        outputs_root: Hash::ZERO,
        state_root: Hash::ZERO,
        members_hash: Hash::ZERO,
        next_members_hash: Hash::ZERO,
    };
    let body = milepost_wire::Body {
        transactions: Vec::new(),
        batches: Vec::new(),
    };
    milepost_wire::Block { header, body }
}

/// The unit kept both reports; its operator shows them to the ledger as they were written to files.
fn quarantined_for_two_contents(consortium: &Consortium, vehicle: &SecretKey) {
    let id = vehicle.key_id().to_string();
    let folder = consortium.folder().join("evidence");
    let folder = folder.to_str().expect("a plain name");
    let list = ["quarantine", "evidence", "--vehicle", &id, "--out", folder];
    let listed = consortium.operate(0, &list).ended_with(0).json();
    let pieces = listed["evidence"].as_array().expect("a list");
    let twice = pieces.iter().filter(|piece| piece["reason"] == "two_contents");
    let numbers: Vec<_> = twice.map(|piece| &piece["sequence"]).collect();
    assert_eq!(numbers, [1], "once: {listed}");
    assert!(page(consortium).contains("milepost_two_contents_total 1\n"));

    let [before, report] = ["before", "report"].map(|kind| format!("{folder}/{id}-1.{kind}"));
    let proved = consortium.operate(0, &["quarantine", "prove", &before, &report]);
    let height = proved.ended_with(0).json()["height"].as_u64();
    consortium.reach(0, height.expect("a height"), WAIT_MAX);
    let shown = consortium.operate(0, &["vehicle", &id]).ended_with(0).json();
    assert_eq!(shown["quarantine"]["ground"], "two_contents", "{shown}");
}

/// Three real vehicles drive for a moment, and all they say counts.
fn honest_vehicles_are_heard(consortium: &Consortium) {
    // Not the vehicles that the intruder spoke for: it may have used up their share.
    let drives: Vec<Drive> = (5..8)
        .map(|nth| {
            let lines = Ride::in_line(nth).jsonl(3);
            consortium
                .vehicle(nth)
                .drive(Source::Jsonl(lines), WAIT_MAX.as_secs())
        })
        .collect();
    for drive in drives {
        let summary = drive.finish(2 * WAIT_MAX);
        assert!(summary["sent"].as_u64() > Some(0), "nothing was said: {summary}");
        assert_eq!(
            summary["final"], summary["sent"],
            "honest reports no longer pass: {summary}"
        );
    }
}

/// Waits until a counter of member 0 has come to `least`.
fn count(consortium: &Consortium, what: &str, pointer: &str, least: u64) {
    eventually(what, WAIT_MAX, || {
        let reports = consortium.get(0, "/v1/reports")?;
        reports.pointer(pointer)?.as_u64().filter(|found| *found >= least)
    });
}

/// The page that a monitoring system reads.
fn page(consortium: &Consortium) -> String {
    let url = format!("{}/metrics", consortium.api(0));
    let mut answer = ureq::get(url).call().expect("member 0 answers");
    answer.body_mut().read_to_string().expect("a text")
}

fn signed(report: Report, chain: &ChainId, key: &SecretKey) -> SignedReport {
    Signed::sign(report, chain, key).into_signed()
}

fn report(vehicle: &SecretKey, sequence: u64) -> Report {
    Report {
        version: Report::VERSION,
        vehicle: vehicle.key_id(),
        sequence: Sequence(sequence),
        sent_at: wall(),
        observations: vec![observation()],
    }
}

/// Bytes that look like nothing, the same each time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ len as u64;
    let next = || {
        // Xorshift. Source: Marsaglia, Journal of Statistical Software 8 (14), 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}
