//! What becomes of a member that signs what no honest one does, or does not hand out what it acknowledged?
//!
//! Four members run, then the fourth's process is ended and this test speaks in its place, with its key, over a real zenoh
//! session: two prevotes in one round, or a batch with a report that its vehicle did not sign. The others' ledger says so,
//! its vote is gone, they go on without it, and what an outsider says in its name convicts nobody.
//!
//! Or it acknowledges a batch that one of the others, which was down, lacks: as long as it hands that out, nobody complains.
//! Once it does not, whoever asked it complains on the ledger, and the second who does has it recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use milepost_node::message::{PeerMessage, Vote};
use milepost_rsu::clock::wall;
use milepost_tests::{Consortium, Drive, Plan, Ride, Source, eventually, observation, seen_within, verify};
use milepost_wire::topic::{self, Channel};
use milepost_wire::vote::{self, Step};
use milepost_wire::{
    Acks, Address, Batch, ChainId, Hash, Height, Report, SecretKey, Sequence, Signature, Signed, SignedBatch,
    decode, encode,
};
use serde_json::Value;
use tokio::task::JoinHandle;
use zenoh::Session;
use zenoh::Wait;
use zenoh::qos::CongestionControl;

/// How long the others may take to hear, and to sentence.
const SENTENCE_MAX: Duration = Duration::from_secs(60);
/// How long vehicles may wait for receipts.
const DRAIN_MAX_S: u64 = 60;
/// The member that lies.
const LIAR: usize = 3;
/// So many blocks without a complaint: twice as many as it takes to complain.
const CALM_BLOCKS: u64 = 20;
/// How often a member is asked in vain, at least, before another complains.
const DEMANDS_MIN: u64 = 6;
/// How long it takes to ask so often and to have the complaint in a block, at most.
const COMPLAINT_MAX: Duration = Duration::from_secs(20);
/// Of so many batches, one at least is asked for by whom it was promised.
const TRIES_MAX: usize = 5;
/// How often a member that is there says so.
const SAY_EVERY: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_votes_twice_in_a_round_loses_its_vote() {
    convicted(Impostor::vote_twice).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_batches_a_forged_report_loses_its_vote() {
    convicted(Impostor::batch_a_forgery).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_hand_out_what_it_acknowledged_is_recorded_at_the_word_of_two() {
    let mut consortium = Consortium::running(Plan {
        overrides: &["config.node.heartbeat_ms=500", "config.node.demand_ms=200"],
        ..Plan::default()
    });
    consortium.reach(0, 2, SENTENCE_MAX);
    consortium.stop(LIAR);
    // Whatever it voted on itself is over.
    let height = consortium.height(0).expect("member 0 answers");
    consortium.reach(0, height + 2, SENTENCE_MAX);
    let key = consortium.secret(LIAR);
    let keeper = Keeper::in_place_of(&consortium, key).await;

    // The control: it hands out what it is asked for.
    keeper.hands_out.store(true, Ordering::Relaxed);
    keeper.let_ask(&mut consortium, 2, 1);
    let height = consortium.height(0).expect("member 0 answers");
    consortium.reach(0, height + CALM_BLOCKS, SENTENCE_MAX);
    assert_eq!(keeper.complainers(&consortium), BTreeSet::new());
    assert_eq!(consortium.metric(2, "milepost_complaints_total"), Some(0));

    keeper.hands_out.store(false, Ordering::Relaxed);
    let mut sequences = 2..;
    for (nth, asker) in [2, 1].into_iter().enumerate() {
        assert_eq!(
            keeper.record(&consortium, 0),
            Value::Null,
            "one word is not enough"
        );
        // Who has not heard that it promised the batch, when the block is decided, has nothing to complain with.
        let times = sequences.by_ref().take(TRIES_MAX).find_map(|sequence| {
            let asked = keeper.let_ask(&mut consortium, asker, sequence);
            seen_within(COMPLAINT_MAX, || {
                (keeper.complainers(&consortium).len() == nth + 1).then_some(())
            })?;
            Some(keeper.asked.load(Ordering::Relaxed) - asked)
        });
        let times = times.expect("whoever asks in vain complains");
        assert!(times >= DEMANDS_MIN, "member {asker} asked {times} times");
        assert_eq!(consortium.metric(asker, "milepost_complaints_total"), Some(1));
    }
    for nth in 0..LIAR {
        let record = eventually("it is recorded", SENTENCE_MAX, || {
            Some(keeper.record(&consortium, nth)).filter(|record| !record.is_null())
        });
        assert_eq!(record["times"], 1, "{record}");
        assert_eq!(consortium.metric(nth, "milepost_members_withholding"), Some(1));
    }
    let members = members(&consortium);
    assert_eq!(members["sentences"], Value::Array(Vec::new()), "it costs no vote");
    assert_eq!(members["members"].as_array().map(Vec::len), Some(LIAR + 1));
    keeper.leave().await;
    consortium.agree(0..LIAR);
    consortium.stop_all();
    for nth in 0..LIAR {
        let verified = verify(consortium.home(nth)).ended_with(0).json();
        assert_eq!(verified["ok"], true, "{verified}");
    }
}

/// What is the same for all that convicts.
async fn convicted(lie: fn(&Impostor, &SecretKey, Height) -> Vec<(Channel, PeerMessage)>) {
    let mut consortium = Consortium::running(Plan::default());
    consortium.reach(0, 2, SENTENCE_MAX);
    consortium.stop(LIAR);
    let key = consortium.secret(LIAR);
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

/// Somebody who votes, in a member's place, for no block, acknowledges batches, and keeps them.
struct Keeper {
    session: Session,
    chain: ChainId,
    key: SecretKey,
    vehicle: SecretKey,
    /// What it holds, by digest.
    shelf: Arc<Mutex<BTreeMap<Hash, SignedBatch>>>,
    hands_out: Arc<AtomicBool>,
    /// How often it was asked for one of these.
    asked: Arc<AtomicU64>,
    /// Who acknowledged what.
    acks: Arc<Mutex<BTreeSet<(Hash, Address)>>>,
    /// What it says again and again.
    words: Arc<Mutex<Vec<PeerMessage>>>,
    talking: JoinHandle<()>,
}

impl Keeper {
    async fn in_place_of(consortium: &Consortium, key: SecretKey) -> Self {
        let (chain, me) = (consortium.known().chain, key.address());
        let settings = milepost_obu::net::settings(&[consortium.endpoint(0).to_owned()], None);
        let settings = settings.expect("an endpoint");
        let session = milepost_obu::net::open(settings).await.expect("a session");
        let shelf = Arc::new(Mutex::new(BTreeMap::<Hash, SignedBatch>::new()));
        let (hands_out, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let answer = {
            let (shelf, hands_out, asked) = (shelf.clone(), hands_out.clone(), asked.clone());
            move |query: zenoh::query::Query| {
                let key = query.key_expr().clone();
                let which = key.as_str().rsplit('/').nth(1);
                let digest = which.and_then(|which| which.parse().ok());
                let shelf = shelf.lock().expect("nobody panics with it");
                let Some(batch) = digest.and_then(|digest: Hash| shelf.get(&digest)) else {
                    return;
                };
                asked.fetch_add(1, Ordering::Relaxed);
                if hands_out.load(Ordering::Relaxed) {
                    query.reply(key, encode(batch)).wait().expect("it is sent");
                }
            }
        };
        let queryable = session.declare_queryable(topic::asked_of(&chain, me));
        queryable.callback(answer).background().await.expect("declared");

        let acks = Arc::new(Mutex::new(BTreeSet::new()));
        let hear = {
            let acks = acks.clone();
            move |sample: zenoh::sample::Sample| {
                if let Ok(PeerMessage::Acks(said)) = decode(&sample.payload().to_bytes()) {
                    let said = said.message;
                    let mut acks = acks.lock().expect("nobody panics with it");
                    acks.extend(said.batches.iter().map(|batch| (*batch, said.member)));
                }
            }
        };
        let subscriber = session.declare_subscriber(topic::all_members(&chain, Channel::Batch));
        subscriber.callback(hear).background().await.expect("declared");

        let words = Arc::new(Mutex::new(Vec::new()));
        let height = Arc::new(AtomicU64::new(consortium.height(0).expect("member 0 answers")));
        let rise = {
            let height = height.clone();
            move |sample: zenoh::sample::Sample| {
                if let Ok(head) = decode::<milepost_wire::certificate::Head>(&sample.payload().to_bytes()) {
                    height.fetch_max(head.header.height.0, Ordering::Relaxed);
                }
            }
        };
        let subscriber = session.declare_subscriber(topic::head(&chain));
        subscriber.callback(rise).background().await.expect("declared");
        let talking = tokio::spawn(talk(
            session.clone(),
            chain.clone(),
            key.clone(),
            height,
            words.clone(),
        ));
        Self {
            session,
            chain,
            key,
            vehicle: consortium.vehicle(7).secret(),
            shelf,
            hands_out,
            asked,
            acks,
            words,
            talking,
        }
    }

    /// Sees to it that everybody but `asker` has a batch, and all of these say so, and waits until that one asks for it here.
    /// Returns how often anything was asked for before.
    fn let_ask(&self, consortium: &mut Consortium, asker: usize, sequence: u64) -> u64 {
        let before = self.asked.load(Ordering::Relaxed);
        consortium.stop(asker);
        let me = self.key.address();
        let height = Height(consortium.height(0).expect("member 0 answers"));
        let report = Report {
            version: Report::VERSION,
            vehicle: self.vehicle.key_id(),
            sequence: Sequence(sequence),
            sent_at: wall(),
            observations: vec![observation()],
        };
        let batch = Batch {
            author: me,
            sequence,
            height,
            created_at: wall(),
            reports: vec![Signed::sign(report, &self.chain, &self.vehicle).into_signed()],
        };
        let batch = Signed::sign(batch, &self.chain, &self.key);
        let digest = batch.digest();
        let acks = Acks {
            member: me,
            height,
            batches: vec![digest],
        };
        let acks = Signed::sign(acks, &self.chain, &self.key).into_signed();
        let shelved = batch.signed().clone();
        self.shelf
            .lock()
            .expect("nobody panics with it")
            .insert(digest, shelved);
        let say = |words| *self.words.lock().expect("nobody panics with it") = words;
        say(vec![
            PeerMessage::Batch(batch.into_signed()),
            PeerMessage::Acks(acks.clone()),
        ]);
        eventually("the others have the batch", SENTENCE_MAX, || {
            let acks = self.acks.lock().expect("nobody panics with it");
            let of_it = acks.iter().filter(|(of, by)| *of == digest && *by != me);
            (of_it.count() == LIAR - 1).then_some(())
        });
        // Whoever comes back shall not have it without asking.
        say(vec![PeerMessage::Acks(acks)]);
        std::thread::sleep(2 * SAY_EVERY);
        consortium.start(asker);
        eventually("it is asked for here", SENTENCE_MAX, || {
            (self.asked.load(Ordering::Relaxed) > before).then_some(())
        });
        before
    }

    /// Who has complained of this member, in any block.
    fn complainers(&self, consortium: &Consortium) -> BTreeSet<String> {
        let newest = consortium.height(0).expect("member 0 answers");
        let blocks = (1..=newest).filter_map(|height| consortium.get(0, &format!("/v1/blocks/{height}")));
        let me = serde_json::json!(self.key.address());
        let mut by = BTreeSet::new();
        for block in blocks {
            for transaction in block["transactions"].as_array().into_iter().flatten() {
                if transaction["action"]["complain"]["member"] == me {
                    by.extend(transaction["from"].as_str().map(str::to_owned));
                }
            }
        }
        by
    }

    /// What is recorded of this member, by another's word.
    fn record(&self, consortium: &Consortium, nth: usize) -> Value {
        let told = consortium.get(nth, "/v1/members").expect("it answers");
        let me = serde_json::json!(self.key.address());
        let mut members = told["members"].as_array().into_iter().flatten();
        let member = members.find(|member| member["id"] == me);
        member.expect("it is a member")["withheld"].clone()
    }

    async fn leave(self) {
        self.talking.abort();
        milepost_obu::net::close(self.session).await;
    }
}

/// Votes for no block at each height that begins, so that a member is seen to be there, and says what else there is to say.
async fn talk(
    session: Session,
    chain: ChainId,
    key: SecretKey,
    height: Arc<AtomicU64>,
    words: Arc<Mutex<Vec<PeerMessage>>>,
) {
    let me = key.address();
    loop {
        let height = Height(height.load(Ordering::Relaxed) + 1);
        let digest = vote::digest(&chain, Step::Prevote, height, 0, None, me);
        let vote = PeerMessage::Vote(Vote {
            precommit: false,
            height,
            round: 0,
            value: None,
            voter: me,
            signature: Signature::sign(&key, &digest),
        });
        let words = words.lock().expect("nobody panics with it").clone();
        let batches = words.iter().map(|word| (Channel::Batch, word));
        for (channel, word) in batches.chain([(Channel::Bft, &vote)]) {
            let put = session.put(topic::from_member(&chain, channel, me), encode(word));
            let put = put.congestion_control(CongestionControl::Block);
            if put.await.is_err() {
                return;
            }
        }
        tokio::time::sleep(SAY_EVERY).await;
    }
}
