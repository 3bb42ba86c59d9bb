//! What becomes of a member that signs what no honest one does?
//!
//! Four members run, then the fourth's process is ended and this test speaks in its place, with its key, over a real zenoh
//! session: two prevotes in one round, or a batch with a report that its vehicle did not sign. The others' ledger says so,
//! its vote is gone, they go on without it, and what an outsider says in its name convicts nobody.

use std::time::Duration;

use milepost_node::message::{PeerMessage, Vote};
use milepost_rsu::clock::wall;
use milepost_tests::{Consortium, Drive, Plan, Ride, Source, eventually, observation, verify};
use milepost_wire::topic::{self, Channel};
use milepost_wire::vote::{self, Step};
use milepost_wire::{
    Address, Batch, ChainId, Hash, Height, Report, SecretKey, Sequence, Signature, Signed, encode,
};
use serde_json::Value;
use zenoh::Session;
use zenoh::qos::CongestionControl;

/// How long the others may take to hear, and to sentence.
const SENTENCE_MAX: Duration = Duration::from_secs(60);
/// How long vehicles may wait for receipts.
const DRAIN_MAX_S: u64 = 60;
/// The member that lies.
const LIAR: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_votes_twice_in_a_round_loses_its_vote() {
    convicted(Impostor::vote_twice).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_batches_a_forged_report_loses_its_vote() {
    convicted(Impostor::batch_a_forgery).await;
}

/// What is the same for all that convicts.
async fn convicted(lie: fn(&Impostor, &SecretKey, Height) -> Vec<(Channel, PeerMessage)>) {
    let mut consortium = Consortium::running(Plan::default());
    consortium.reach(0, 2, SENTENCE_MAX);
    consortium.stop(LIAR);
    let key = std::fs::read_to_string(consortium.home(LIAR).join("member.key")).expect("testnet wrote it");
    let key = SecretKey::from_hex(key.trim()).expect("testnet wrote it");
    let impostor = Impostor::at(&consortium, key.address()).await;

    // The control: who has not the key convicts nobody.
    let outsider = SecretKey::from_seed("outsider", 1);
    for _ in 0..3 {
        impostor
            .say(lie(&impostor, &outsider, impostor.next(&consortium)))
            .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let height = consortium.height(0).expect("member 0 answers");
    consortium.reach(0, height + 2, SENTENCE_MAX);
    assert_eq!(members(&consortium)["sentences"], Value::Array(Vec::new()));

    let sentence = {
        let began = std::time::Instant::now();
        loop {
            impostor
                .say(lie(&impostor, &key, impostor.next(&consortium)))
                .await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            let sentence = members(&consortium)["sentences"][0].clone();
            if !sentence.is_null() {
                break sentence;
            }
            assert!(began.elapsed() < SENTENCE_MAX, "nobody was convicted");
        }
    };
    assert_eq!(sentence["id"], serde_json::json!(key.address()), "{sentence}");
    assert_eq!(sentence["times"], 1, "{sentence}");
    assert!(sentence["jailed_until"].as_u64() > Some(0), "{sentence}");
    eventually("its vote is gone", SENTENCE_MAX, || {
        let members = members(&consortium);
        (members["members"].as_array()?.len() == LIAR).then_some(())
    });
    let shown = consortium.operate(0, &["members"]).ended_with(0).json();
    assert_eq!(shown["sentences"][0]["id"], sentence["id"]);
    impostor.leave().await;

    // The others go on without it, and it follows.
    let lines = Ride::in_line(0).jsonl(3);
    let drive: Drive = consortium.vehicle(0).drive(Source::Jsonl(lines), DRAIN_MAX_S);
    let summary = drive.finish(Duration::from_secs(2 * DRAIN_MAX_S));
    assert!(summary["sent"].as_u64() > Some(0), "{summary}");
    assert_eq!(summary["final"], summary["sent"], "{summary}");
    consortium.start(LIAR);
    let tip = consortium.height(0).expect("member 0 answers");
    consortium.reach(LIAR, tip, SENTENCE_MAX);
    consortium.agree(consortium.all());
    assert_eq!(
        consortium.get(LIAR, "/v1/members").expect("it answers")["votes"],
        false
    );
    consortium.stop_all();
    for nth in consortium.all() {
        let verified = verify(consortium.home(nth)).ended_with(0).json();
        assert_eq!(verified["ok"], true, "{verified}");
    }
}

fn members(consortium: &Consortium) -> Value {
    consortium.get(0, "/v1/members").expect("member 0 answers")
}

/// Somebody who speaks in a member's place.
struct Impostor {
    session: Session,
    chain: ChainId,
    member: Address,
    vehicle: SecretKey,
}

impl Impostor {
    async fn at(consortium: &Consortium, member: Address) -> Self {
        let endpoints: Vec<String> = (0..LIAR).map(|nth| consortium.endpoint(nth).to_owned()).collect();
        let settings = milepost_obu::net::settings(&endpoints, None).expect("endpoints");
        Self {
            session: milepost_obu::net::open(settings).await.expect("a session"),
            chain: consortium.known().chain,
            member,
            vehicle: consortium.vehicle(7).secret(),
        }
    }

    /// The height that is decided next.
    fn next(&self, consortium: &Consortium) -> Height {
        Height(consortium.height(0).expect("member 0 answers") + 1)
    }

    /// Two prevotes for the next heights' first rounds, on blocks that there are not.
    fn vote_twice(&self, key: &SecretKey, next: Height) -> Vec<(Channel, PeerMessage)> {
        let heights = [next, next.next()];
        let values = [1, 2].map(|byte| Some(Hash([byte; 32])));
        let votes = heights
            .iter()
            .flat_map(|height| values.map(|value| (*height, value)));
        votes
            .map(|(height, value)| {
                let digest = vote::digest(&self.chain, Step::Prevote, height, 0, value, self.member);
                let vote = Vote {
                    precommit: false,
                    height,
                    round: 0,
                    value,
                    voter: self.member,
                    signature: Signature::sign(key, &digest),
                };
                (Channel::Bft, PeerMessage::Vote(vote))
            })
            .collect()
    }

    /// A batch with a report in a vehicle's name that somebody else signed.
    fn batch_a_forgery(&self, key: &SecretKey, next: Height) -> Vec<(Channel, PeerMessage)> {
        let report = Report {
            version: Report::VERSION,
            vehicle: self.vehicle.key_id(),
            sequence: Sequence(next.0),
            sent_at: wall(),
            observations: vec![observation()],
        };
        let forger = SecretKey::from_seed("forger", 1);
        let batch = Batch {
            author: self.member,
            sequence: next.0,
            height: Height(next.0 - 1),
            created_at: wall(),
            reports: vec![Signed::sign(report, &self.chain, &forger).into_signed()],
        };
        let batch = Signed::sign(batch, &self.chain, key).into_signed();
        vec![(Channel::Batch, PeerMessage::Batch(batch))]
    }

    async fn say(&self, words: Vec<(Channel, PeerMessage)>) {
        for (channel, word) in words {
            let put = self
                .session
                .put(
                    topic::from_member(&self.chain, channel, self.member),
                    encode(&word),
                )
                .congestion_control(CongestionControl::Block);
            put.await.expect("the session is open");
        }
    }

    async fn leave(self) {
        milepost_obu::net::close(self.session).await;
    }
}
