//! Does a vehicle follow a chain whose members have all changed, and no other?
//!
//! The chain is made by the ledger's own code with real proposals and certificates; a unit's own answers to it go over
//! real zenoh to the real onboard unit. Whoever lies does so with certificates of its own.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use milepost_node::store::{Rocks, Store};
use milepost_node::view::{light_block, prove, prove_outputs};
use milepost_node::{Node, Now, Settings};
use milepost_obu::Config;
use milepost_obu::ask::{AskError, Asker};
use milepost_obu::clock::wall;
use milepost_obu::trusted::TrustFile;
use milepost_rsu::served::Served;
use milepost_tests::{Chain, Said, Vehicle};
use milepost_wire::certificate::Head;
use milepost_wire::light::LightBlock;
use milepost_wire::proof::StateProof;
use milepost_wire::state::{Account, StateKey};
use milepost_wire::tree::{End, StatePath, key_hash, leaf_hash, state_root};
use milepost_wire::vote::{self, Step};
use milepost_wire::{
    Address, Amount, Certificate, ChainId, Hash, Header, Height, Member, Members, Message, Output, SecretKey,
    Signature, Timestamp, encode, topic,
};
use tokio::sync::{mpsc, watch};
use zenoh::{Session, Wait};

/// The largest proof of one balance or figure, with four members.
const PROOF_LEN_MAX: usize = 4 << 10;

/// A chain after three complete changes of members, on a disk.
struct Site {
    chain: Chain,
    store: Rocks,
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Rocks::open(&folder.path().join("store")).expect("opens");
        let mut chain = Chain::since(wall().minus(600_000), 4, 40);
        store.load(chain.genesis.hash()).expect("begins");
        // Long enough that figures are settled.
        chain.grow(&mut store, None, 300);
        for _ in 0..12 {
            chain.replace_oldest();
            chain.grow(&mut store, None, 8);
        }
        let first = &chain.genesis.members;
        assert!(
            chain
                .voters()
                .iter()
                .all(|key| first.get(&key.address()).is_none()),
            "nobody of the first is left"
        );
        assert_eq!(chain.keys.len(), 16, "and three times four came");
        Self { chain, store, folder }
    }

    fn tip(&self) -> Head {
        let tip = self.store.height().expect("reads");
        self.store.head(tip).expect("reads").expect("there is one")
    }

    /// Answers as a running unit does.
    async fn answer(&self, session: &Session) -> impl Sized + use<> {
        let (genesis, key) = (self.chain.genesis.clone(), self.chain.voters()[0].clone());
        let now = Now {
            mono_ms: 0,
            wall: wall(),
        };
        let (me, settings) = (key.address(), Settings::default());
        let node = Node::open(&genesis, key, settings, self.store.clone(), now).expect("a sound store");
        let (views, newest) = watch::channel(node.0.view());
        let (sender, transactions) = mpsc::channel(1);
        let served = Served::new(genesis, me, self.store.clone(), newest, sender).expect("a sound store");
        milepost_rsu::queries::answer(session, Arc::new(served))
            .await
            .expect("zenoh answers");
        (views, transactions)
    }

    /// The first of the chain's vehicles, fresh from the factory.
    fn vehicle(&self, name: &str, endpoint: &str) -> Vehicle {
        let (key, consortium) = (
            self.folder.path().join(name),
            self.folder.path().join("consortium.json"),
        );
        let secret = SecretKey::from_seed("chain vehicle", 0);
        milepost_obu::key_file::write(&key, &secret, true).expect("writes");
        let text = serde_json::to_string(&self.chain.genesis.consortium()).expect("JSON");
        std::fs::write(&consortium, text).expect("writes");
        Vehicle {
            key,
            consortium,
            connect: vec![endpoint.to_owned()],
            tls: None,
        }
    }

    fn config(&self, name: &str, endpoint: &str) -> Config {
        Config {
            connect: vec![endpoint.to_owned()],
            trusted_file: self.folder.path().join(name),
            ask_ms: 2_000,
            ..Config::default()
        }
    }
}

async fn open(settings: &[(&str, String)]) -> Session {
    let mut config = zenoh::Config::default();
    let quiet = ["scouting/multicast/enabled", "scouting/gossip/enabled"];
    for (key, value) in quiet.map(|key| (key, "false".to_owned())).iter().chain(settings) {
        config.insert_json5(key, value).expect("a setting");
    }
    zenoh::open(config).await.expect("a session")
}

/// A router on loopback, and where it is.
async fn router() -> (Session, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("tcp/{}", listener.local_addr().expect("an address"));
    drop(listener);
    let listen = ("listen/endpoints", format!("[\"{endpoint}\"]"));
    (open(&[("mode", "\"router\"".to_owned()), listen]).await, endpoint)
}

/// Runs a command away from the runtime, which has to answer it.
async fn run(mut command: std::process::Command) -> Said {
    tokio::task::spawn_blocking(move || Said::by(&mut command, Duration::from_secs(60)))
        .await
        .expect("no panic")
}

/// Who makes up a chain: at every height the same members, some of whom sign.
#[derive(Clone)]
struct Forger {
    chain: ChainId,
    members: Vec<SecretKey>,
    signers: usize,
    tip: (Height, Timestamp),
}

impl Forger {
    fn set(&self) -> Members {
        let member = |key: &SecretKey| Member {
            key: key.public(),
            provider: "forger".into(),
            power: 1,
        };
        Members::new(self.members.iter().map(member).collect()).expect("members")
    }

    /// The state in which `address` holds a fortune, and nothing else is.
    fn fortune(address: Address) -> (Vec<u8>, Hash) {
        let value = encode(&Account {
            balance: Amount::from_micro(1 << 50),
            nonce: 0,
        });
        let tree_root = leaf_hash(&key_hash(&StateKey::Account(address).bytes()), &value);
        (value, state_root(&tree_root, &Hash::ZERO))
    }

    fn head(&self, height: Height, address: Address) -> Head {
        let set = self.set().hash();
        let below_ms = (self.tip.0.0 - height.0.min(self.tip.0.0)) * 500;
        let header = Header {
            version: Header::VERSION,
            chain: self.chain.clone(),
            height,
            time: self.tip.1.minus(below_ms),
            proposer: self.members[0].address(),
            parent: Hash::ZERO,
            transactions_root: Hash::ZERO,
            batches_root: Hash::ZERO,
            outputs_root: Hash::ZERO,
            state_root: Self::fortune(address).1,
            members_hash: set,
            next_members_hash: set,
        };
        let block = header.hash();
        let sign = |key: &SecretKey| {
            let voter = key.address();
            let digest = vote::digest(&self.chain, Step::Precommit, height, 0, Some(block), voter);
            (voter, Signature::sign(key, &digest))
        };
        let mut signatures: Vec<_> = self.members[..self.signers].iter().map(sign).collect();
        signatures.sort_by_key(|(voter, _)| *voter);
        Head {
            header,
            certificate: Certificate {
                height,
                round: 0,
                block,
                signatures,
            },
        }
    }

    fn light_block(&self, height: Height, address: Address) -> LightBlock {
        LightBlock {
            head: self.head(height, address),
            members: self.set().to_vec(),
            next_members: Vec::new(),
        }
    }

    /// Answers questions about `address` with a fortune, and for light blocks with what would make it true.
    async fn lie(self, session: &Session, asked: &ChainId, address: Address) {
        let key = topic::ask_account(asked, address);
        let head = self.head(self.tip.0, address);
        let proof = encode(&StateProof {
            head,
            open_root: Hash::ZERO,
            key: StateKey::Account(address),
            value: Some(Self::fortune(address).0),
            path: StatePath {
                siblings: vec![],
                end: End::Present,
            },
        });
        declare(session, key, move |_| Some(proof.clone())).await;
        let lights = format!("{}/q/light/*", topic::root(asked));
        declare(session, lights, move |key| {
            let height = key.rsplit('/').next()?.parse().ok()?;
            Some(encode(&self.light_block(Height(height), address)))
        })
        .await;
    }
}

async fn declare(
    session: &Session,
    about: String,
    answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static,
) {
    session
        .declare_queryable(about)
        .complete(true)
        .callback(move |query| {
            let key = query.key_expr().clone();
            if let Some(bytes) = answer(key.as_str()) {
                query.reply(key, bytes).wait().expect("a reply");
            }
        })
        .background()
        .await
        .expect("a queryable");
}

fn strangers(count: u64) -> Vec<SecretKey> {
    (0..count)
        .map(|nth| SecretKey::from_seed("stranger", nth))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vehicle_that_slept_through_three_complete_changes_of_members_verifies_everything() {
    let site = Site::new();
    let (session, endpoint) = router().await;
    let _unit = site.answer(&session).await;
    let vehicle = site.vehicle("awake", &endpoint);
    let tip = site.tip().header;

    let balance = run(vehicle.command("balance", &["--json"]))
        .await
        .ended_with(0)
        .json();
    assert_eq!(balance["verified"], true);
    assert_eq!(balance["height"], tip.height.0);
    assert_eq!(balance["vehicle"]["enrolled"], true, "{balance}");
    assert_eq!(balance["refused"], serde_json::json!([]));
    // What was believed is kept: the unit's answers to questions about the way are needed once.
    let config = Config::default();
    let trusted = vehicle.key.with_extension("trusted");
    let (_, light) = TrustFile::open(
        &trusted,
        &site.chain.genesis.consortium(),
        wall(),
        config.bounds(),
    )
    .expect("it was kept");
    assert_eq!(light.newest(), (tip.height, tip.hash()));

    // An absence is proved as a presence is.
    let stranger = site.folder.path().join("stranger.key");
    milepost_obu::key_file::write(&stranger, &SecretKey::from_seed("stranger", 0), true).expect("writes");
    let stranger = vehicle.with_key(stranger);
    let nothing = run(stranger.command("balance", &["--json"]))
        .await
        .ended_with(0)
        .json();
    assert_eq!(
        (&nothing["verified"], &nothing["balance"]),
        (&true.into(), &"0.000000".into())
    );
    assert_eq!(nothing["vehicle"], serde_json::Value::Null);

    // Figures stand under blocks of members that are gone.
    let whole = ["--bbox", "8.0,44.0,9.5,45.5", "--json"];
    let picture = run(vehicle.command("picture", &whole)).await.ended_with(0).json();
    let estimates = picture["estimates"].as_array().expect("a list");
    assert!(!estimates.is_empty() && picture["verified"] == true, "{picture}");
    let nowhere = run(vehicle.command("picture", &["--bbox", "0,0,1,1"]))
        .await
        .ended_with(0);
    assert!(nowhere.stdout.contains("not proved"), "{}", nowhere.stdout);
    session.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vehicle_that_slept_too_long_refuses_with_the_reason_until_somebody_vouches_for_a_block() {
    let site = Site::new();
    let (session, endpoint) = router().await;
    let _unit = site.answer(&session).await;
    let vehicle = site.vehicle("late", &endpoint);
    let (bounds, consortium) = (Config::default().bounds(), site.chain.genesis.consortium());
    let long_ago = wall().minus(bounds.trust_period_ms + 60_000);
    let trusted = vehicle.key.with_extension("trusted");
    TrustFile::open(&trusted, &consortium, long_ago, bounds).expect("begins");

    let refused = run(vehicle.command("balance", &["--json"])).await.ended_with(1);
    assert!(
        refused.stderr.contains("a newer trusted block is needed"),
        "{}",
        refused.stderr
    );
    assert!(refused.stdout.is_empty(), "{}", refused.stdout);

    let tip = site.tip().header;
    let wrong = format!("{}:{}", tip.height, Hash([7; 32]));
    let refused = run(vehicle.command("balance", &["--json", "--trust", &wrong]))
        .await
        .ended_with(1);
    assert!(refused.stderr.contains("vouched for"), "{}", refused.stderr);
    let right = format!("{}:{}", tip.height, tip.hash());
    let balance = run(vehicle.command("balance", &["--json", "--trust", &right]))
        .await
        .ended_with(0)
        .json();
    assert_eq!(
        (&balance["verified"], &balance["height"]),
        (&true.into(), &tip.height.0.into())
    );
    // And from then on it needs nobody's word.
    let again = run(vehicle.command("balance", &["--json"]))
        .await
        .ended_with(0)
        .json();
    assert_eq!(again["verified"], true);

    std::fs::write(&trusted, b"mpt1 and noise").expect("writes");
    let refused = run(vehicle.command("balance", &["--json"])).await.ended_with(1);
    assert!(refused.stderr.contains("is damaged"), "{}", refused.stderr);
    session.close().await.expect("closed");
}

/// What a forger has, and what a vehicle says to it.
fn forgeries(site: &Site) -> Vec<(&'static str, Forger, &'static str)> {
    let tip = site.tip().header;
    let honest = Forger {
        chain: tip.chain.clone(),
        members: strangers(4),
        signers: 4,
        tip: (tip.height, tip.time),
    };
    let one_of_the_first = [&site.chain.keys[..1], &strangers(3)].concat();
    let the_first = site.chain.keys[..4].to_vec();
    vec![
        ("strangers", honest.clone(), "does not follow"),
        (
            "one of four whom the vehicle trusts, among strangers",
            Forger {
                members: one_of_the_first,
                ..honest.clone()
            },
            "does not follow",
        ),
        (
            "one of the first members alone",
            Forger {
                members: the_first.clone(),
                signers: 1,
                ..honest.clone()
            },
            "not more than two thirds",
        ),
        (
            "the first members, on another chain",
            Forger {
                chain: ChainId::new("elsewhere").expect("an id"),
                members: the_first,
                ..honest.clone()
            },
            "is of chain",
        ),
        (
            "strangers of tomorrow",
            Forger {
                tip: (tip.height, wall().plus(86_400_000)),
                ..honest
            },
            "ahead",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_forged_chain_is_believed_whoever_signed_it() {
    let site = Site::new();
    let (consortium, address) = (site.chain.genesis.consortium(), Address([3; 20]));
    for (nth, (who, forger, reason)) in forgeries(&site).into_iter().enumerate() {
        let (session, endpoint) = router().await;
        forger.lie(&session, &consortium.chain, address).await;
        let config = site.config(&format!("alone-{nth}"), &endpoint);
        let mut asker = Asker::open(&config, &consortium)
            .await
            .expect("a unit is in reach");
        match asker.account(address).await {
            Err(AskError::NoProof { refused, .. }) => {
                assert!(
                    refused.iter().all(|why| why.contains(reason)),
                    "{who}: {refused:?}"
                );
                assert!(!refused.is_empty(), "{who}");
            }
            other => panic!("{who}: {other:?}"),
        }
        asker.close().await;
        let kept =
            TrustFile::open(&config.trusted_path(), &consortium, wall(), config.bounds()).expect("kept");
        assert_eq!(kept.1.newest(), (Height::ZERO, consortium.genesis), "{who}");
        session.close().await.expect("closed");
    }
}

/// The control: the same questions with an honest unit in reach, too. The liars stay refused, and do not stand in the
/// way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_honest_unit_among_liars_is_enough() {
    let site = Site::new();
    let (consortium, address) = (site.chain.genesis.consortium(), Address([3; 20]));
    let (session, endpoint) = router().await;
    let _unit = site.answer(&session).await;
    let mut liars = Vec::new();
    for (_, forger, _) in forgeries(&site) {
        let liar = open(&[
            ("mode", "\"client\"".to_owned()),
            ("connect/endpoints", format!("[\"{endpoint}\"]")),
        ])
        .await;
        forger.lie(&liar, &consortium.chain, address).await;
        liars.push(liar);
    }
    // Until the router knows of all of them.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let config = site.config("among", &endpoint);
    let mut asker = Asker::open(&config, &consortium)
        .await
        .expect("a unit is in reach");
    let account = asker.account(address).await.expect("one is honest");
    assert_eq!(
        (account.value, account.height),
        (Account::default(), site.tip().header.height)
    );
    assert!(!asker.refused.is_empty(), "the liars were heard");
    asker.close().await;
    for session in liars.into_iter().chain([session]) {
        session.close().await.expect("closed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_is_told_as_what_it_is() {
    let site = Site::new();
    let (consortium, address) = (site.chain.genesis.consortium(), Address([3; 20]));
    let (session, endpoint) = router().await;
    let unit = site.answer(&session).await;
    let config = site.config("fork", &endpoint);
    let mut asker = Asker::open(&config, &consortium)
        .await
        .expect("a unit is in reach");
    asker.account(address).await.expect("an honest unit");
    asker.close().await;
    session.close().await.expect("closed");
    drop(unit);

    // All members sign another block at the height that the vehicle trusts.
    let (session, endpoint) = router().await;
    let tip = site.tip().header;
    let forger = Forger {
        chain: tip.chain.clone(),
        members: site.chain.voters().into_iter().cloned().collect(),
        signers: 4,
        tip: (tip.height, tip.time),
    };
    // Under their own names: the set has to be the real one.
    let real = light_block(&site.store, &site.chain.genesis.members, tip.height)
        .expect("reads")
        .expect("the tip");
    let mut head = forger.head(tip.height, address);
    head.header.members_hash = tip.members_hash;
    head.header.next_members_hash = tip.next_members_hash;
    let block = head.header.hash();
    let mut signatures: Vec<_> = forger
        .members
        .iter()
        .map(|key| {
            let voter = key.address();
            let digest = vote::digest(&tip.chain, Step::Precommit, tip.height, 0, Some(block), voter);
            (voter, Signature::sign(key, &digest))
        })
        .collect();
    signatures.sort_by_key(|(voter, _)| *voter);
    head.certificate = Certificate {
        block,
        signatures,
        ..real.head.certificate
    };
    let proof = encode(&StateProof {
        head,
        open_root: Hash::ZERO,
        key: StateKey::Account(address),
        value: Some(Forger::fortune(address).0),
        path: StatePath {
            siblings: vec![],
            end: End::Present,
        },
    });
    let key = topic::ask_account(&consortium.chain, address);
    declare(&session, key, move |_| Some(proof.clone())).await;
    let config = Config {
        connect: vec![endpoint],
        ..config
    };
    let mut asker = Asker::open(&config, &consortium)
        .await
        .expect("a unit is in reach");
    let told = asker
        .account(address)
        .await
        .expect_err("two blocks at one height")
        .to_string();
    assert!(told.contains("two blocks were certified"), "{told}");
    asker.close().await;
    session.close().await.expect("closed");
}

#[test]
fn a_proof_of_one_balance_or_figure_takes_four_kibibytes_at_most_with_four_members() {
    let mut chain = Chain::new(4, 5_000);
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Rocks::open(folder.path()).expect("opens");
    store.load(chain.genesis.hash()).expect("begins");
    chain.grow(&mut store, None, 400);
    let tip = store.height().expect("reads");
    let head = store.head(tip).expect("reads").expect("the tip");
    let ledger = chain.ledger();
    let keys = ledger.state().tree_entries().map(|(key, _)| key);
    let keys = keys.chain([StateKey::Account(Address([3; 20]))]);
    let mut largest = 0;
    for key in keys {
        let proof = prove(ledger, head.clone(), key);
        proof
            .verify(key, ledger.chain(), &chain.genesis.members)
            .expect("it verifies");
        largest = largest.max(encode(&proof).len());
    }
    eprintln!("the largest proof of one entry of the state: {largest} bytes");
    assert!(largest <= PROOF_LEN_MAX, "{largest}");

    let (mut largest, mut figures) = (0, 0);
    for (_, place) in store.picture().expect("reads") {
        let proofs = prove_outputs(&store, &[place]).expect("reads");
        let [proof] = &proofs[..] else {
            panic!("one figure, {} proofs", proofs.len());
        };
        assert!(matches!(proof.outputs[..], [(Output::Estimate(_), _)]));
        proof
            .verify(ledger.chain(), &chain.genesis.members)
            .expect("it verifies");
        (largest, figures) = (largest.max(encode(proof).len()), figures + 1);
    }
    assert!(figures > 0, "there is a picture");
    // A path under as many outputs as an epoch's end may have: 32 bytes for each doubling.
    let deepest = largest + 32 * 20;
    let light = light_block(&store, &chain.genesis.members, tip)
        .expect("reads")
        .expect("the tip");
    let light = encode(&light).len();
    eprintln!(
        "the largest proof of one of {figures} figures: {largest} bytes, at most {deepest}; a light block: {light}"
    );
    assert!(deepest <= PROOF_LEN_MAX, "{deepest}");
    assert!(light <= LightBlock::LEN_MAX);
}
