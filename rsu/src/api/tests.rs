use super::*;
use crate::client;
use crate::samples::{self, Ledger};
use crate::served::Taken;
use crate::status;
use milepost_node::VerifiedBatch;
use milepost_node::store::Rocks;
use milepost_wire::light::{Bounds, LightBlock, LightClient, Progress};
use milepost_wire::output::{Estimate, Item};
use milepost_wire::time::Slot;
use milepost_wire::{Action, Height, Signed, Transaction, decode, encode};
use tokio::sync::{mpsc, watch};

/// A unit's API on a loopback port, over a ledger of one block with one report.
struct Site {
    url: String,
    transactions: mpsc::Receiver<Taken>,
    _runtime: tokio::runtime::Runtime,
    _views: watch::Sender<Arc<milepost_node::View>>,
    _folder: tempfile::TempDir,
}

fn estimate() -> Estimate {
    let seen = samples::observation(1400, 0);
    Estimate {
        item: Item {
            slot: Slot(6),
            cell: seen.cell,
            kind: Kind::Speed,
        },
        value: 1400,
        low: 1300,
        high: 1500,
        vehicles: 3,
        weight: 65_536,
        spread: 10,
    }
}

fn site() -> Site {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Rocks::open(folder.path()).expect("an empty store");
    let mut ledger = Ledger::open(store.clone());
    let reports = vec![samples::report(1, 1)];
    let batch = VerifiedBatch::own(
        &samples::member_key(0),
        &samples::chain(),
        1,
        Height::ZERO,
        samples::NOW,
        reports,
    );
    let view = ledger.commit(Some(Arc::new(batch)));
    let (views, newest) = watch::channel(view);
    let (sender, transactions) = mpsc::channel(4);
    let served = Served::new(samples::genesis(1), samples::member(0), store, newest, sender);
    let served = Arc::new(served.expect("a sound store"));
    served.tell(&[estimate()], clock::wall());

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    runtime.spawn(axum::serve(listener, router(served)).into_future());
    Site {
        url,
        transactions,
        _runtime: runtime,
        _views: views,
        _folder: folder,
    }
}

impl Site {
    fn get(&self, path: &str) -> Value {
        client::Client::anonymous(&self.url)
            .get(path)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The status and the body, whatever they are.
    fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let mut response = agent
            .post(format!("{}{path}", self.url))
            .send(body)
            .expect("an answer");
        let status = response.status().as_u16();
        (status, response.body_mut().read_json().expect("JSON"))
    }

    fn refused(&self, path: &str) -> u16 {
        match client::Client::anonymous(&self.url).get(path) {
            Err(client::AskError::Refused {
                status, error, hint, ..
            }) => {
                assert!(!error.is_empty() && !hint.is_empty(), "{path}");
                status
            }
            other => panic!("{path}: {other:?}"),
        }
    }
}

#[test]
fn the_status_has_the_shape_that_scripts_rely_on() {
    let site = site();
    let answer = site.get("/v1/status");
    assert_eq!(answer["chain"], "test");
    assert_eq!(answer["height"], 1);
    assert_eq!(answer["state_root"].as_str().map(str::len), Some(64));
    assert_eq!(answer["members"][0]["provider"], "provider-0");
    assert_eq!(answer["members"][0]["power"], 1);
    assert_eq!(answer["members"][0]["connected"], true);
    assert_eq!(answer["peers"], 0);
    assert!(answer["height_age_ms"].is_u64());
    assert!(answer["picture"]["cells"].is_u64());
    assert_eq!(answer["vehicles"], json!({ "enrolled": 10, "quarantined": 0 }));
    assert_eq!(answer["supply"]["minted"], answer["supply"]["held"]);
    assert!(status::describe(&site.url, answer).is_ok());
}

#[test]
fn a_block_tells_who_signed_and_what_it_holds() {
    let site = site();
    let block = site.get("/v1/blocks/latest");
    assert_eq!(block, site.get("/v1/blocks/1"));
    assert_eq!(block["certificate"]["signers"], json!([samples::member(0)]));
    assert_eq!(
        (&block["reports"], &block["batches"][0]["reports"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(site.refused("/v1/blocks/2"), 404);
    assert_eq!(site.refused("/v1/blocks/0"), 404);
}

#[test]
fn a_light_block_can_be_followed_from_the_genesis() {
    let site = site();
    let light = site.get("/v1/light/latest");
    assert_eq!(light, site.get("/v1/light/1"));
    assert_eq!(light["hash"], site.get("/v1/blocks/1")["hash"]);
    assert_eq!(light["members"][0]["provider"], "provider-0");
    let bytes = hex::decode(light["bytes"].as_str().expect("hexadecimal")).expect("hexadecimal");
    let block: LightBlock = decode(&bytes).expect("a light block");
    let genesis = samples::genesis(1);
    let (consortium, time) = (genesis.consortium(), block.head.header.time);
    let mut client = LightClient::new(consortium, genesis.time, Bounds::default());
    assert_eq!(client.offer(time, block), Ok(Progress::Believed));
    for absent in ["0", "2"] {
        assert_eq!(site.refused(&format!("/v1/light/{absent}")), 404);
    }
    assert_eq!(site.refused("/v1/light/first"), 400);
}

#[test]
fn the_picture_is_geojson_whose_rings_are_closed() {
    let site = site();
    let picture = site.get("/v1/picture?live=true&kind=speed&bbox=11.3,44.4,11.4,44.6");
    let feature = &picture["features"][0];
    assert_eq!(picture["type"], "FeatureCollection");
    assert_eq!(feature["properties"]["speed_kmh"], 50.4);
    assert_eq!(feature["properties"]["low_speed_kmh"], 46.8);
    assert_eq!(feature["properties"]["direction"], "east");
    let level = feature["properties"].get("los");
    assert_eq!(level, Some(&Value::Null), "nothing is known of free flow yet");
    let ring = feature["geometry"]["coordinates"][0].as_array().expect("a ring");
    assert!(ring.len() >= 6 && ring.first() == ring.last());
    for elsewhere in ["live=true&kind=hazard", "live=true&bbox=0,0,1,1", "live=false"] {
        let picture = site.get(&format!("/v1/picture?{elsewhere}"));
        assert_eq!(picture["features"], json!([]), "{elsewhere}");
    }
}

#[test]
fn vehicles_come_in_pages_that_meet() {
    let site = site();
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = site.get(&format!("/v1/vehicles?limit=3{after}"));
        let ids = page["vehicles"].as_array().expect("a list");
        seen.extend(
            ids.iter()
                .map(|vehicle| vehicle["id"].as_str().expect("an id").to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert!(seen.len() == 10 && seen.is_sorted());
    let one = site.get(&format!("/v1/vehicles/{}", seen[0]));
    assert_eq!(one["reputation"], 0.25);
    assert_eq!(
        site.get(&format!("/v1/explain/{}/0", seen[0]))["lines"],
        json!([])
    );
}

#[test]
fn a_signed_transaction_is_taken_and_nothing_else_is() {
    let mut site = site();
    let key = samples::vehicle_key(1);
    let transaction = Transaction {
        from: key.public(),
        nonce: 0,
        action: Action::Transfer {
            to: samples::member(3),
            amount: Amount::from_micro(1),
        },
    };
    let signed = Signed::sign(transaction.clone(), &samples::chain(), &key);
    let (status, answer) = site.post("/v1/transactions", &hex::encode(encode(signed.signed())));
    assert_eq!((status, &answer["digest"]), (202, &json!(signed.digest())));
    assert_eq!(
        site.transactions
            .try_recv()
            .expect("handed on")
            .transaction
            .digest(),
        signed.digest()
    );

    let elsewhere = milepost_wire::ChainId::new("elsewhere").expect("an id");
    let strange = Signed::sign(transaction, &elsewhere, &key);
    let strange = hex::encode(encode(strange.signed()));
    for (body, expected) in [("", 400), ("zz", 400), ("00ff", 400), (strange.as_str(), 400)] {
        assert_eq!(site.post("/v1/transactions", body).0, expected);
    }
    assert_eq!(
        site.post("/v1/transactions", &"a".repeat(BODY_LEN_MAX + 1)).0,
        400
    );
    assert_eq!(site.post("/v1/status", "").0, 405);
}

#[test]
fn what_members_decide_on_is_told_and_a_transaction_is_rehearsed() {
    let site = site();
    let members = site.get("/v1/members");
    assert_eq!(members["members"][0]["id"], json!(samples::member(0)));
    assert_eq!((&members["quorum"], &members["votes"]), (&json!(1), &json!(true)));
    assert_eq!(
        (&members["next"], &members["sentences"]),
        (&Value::Null, &json!([]))
    );
    let params = site.get("/v1/params");
    assert_eq!(
        (&params["access"], &params["params"]["slot_ms"]),
        (&json!("consortium"), &json!(10_000))
    );
    let proposals = site.get("/v1/proposals");
    assert_eq!(
        (&proposals["open"], &proposals["scheduled"]),
        (&json!([]), &json!([]))
    );

    let asked = |key: &milepost_wire::SecretKey, nonce| {
        let action = Action::Propose {
            change: milepost_wire::Change::SetAccess(milepost_wire::Access::Private),
            from: Height(0),
        };
        let from = key.public();
        let transaction = Transaction { from, nonce, action };
        let signed = Signed::sign(transaction, &samples::chain(), key);
        site.post("/v1/transactions/check", &hex::encode(encode(signed.signed())))
    };
    assert_eq!(asked(&samples::member_key(0), 0).0, 200);
    for (key, nonce, expected) in [
        (samples::vehicle_key(1), 0, "is no member"),
        (samples::member_key(0), 4, "nonce"),
    ] {
        let (status, answer) = asked(&key, nonce);
        assert_eq!(status, 409);
        assert!(
            answer["error"].as_str().expect("a reason").contains(expected),
            "{answer}"
        );
    }
    assert_eq!(site.get("/v1/proposals"), proposals, "nothing was done");
}

#[test]
fn bad_questions_are_answered_with_what_was_expected() {
    let site = site();
    for path in [
        "/v1/blocks/-1",
        "/v1/blocks/99999999999999999999",
        "/v1/blocks/%ff",
        "/v1/accounts/12",
        "/v1/vehicles/zz",
        "/v1/vehicles?limit=x",
        "/v1/vehicles?after=1",
        "/v1/explain/0000000000000000/x",
        "/v1/picture?bbox=1,2,3",
        "/v1/picture?kind=weather",
        "/v1/picture?live=perhaps",
        "/v1/picture?color=red",
    ] {
        assert_eq!(site.refused(path), 400, "{path}");
    }
    assert_eq!(site.refused("/v1/nothing"), 404);
    assert_eq!(site.refused("/v1/vehicles/0000000000000000"), 404);
    assert_eq!(site.refused("/v1/transactions"), 405);
    let nobody = site.get("/v1/accounts/0x0000000000000000000000000000000000000000");
    assert_eq!(nobody["balance"], "0.000000");
}

/// Names and types of what is exported are those of docs/metrics.md, and the other way round.
#[test]
fn every_metric_is_documented_and_every_documented_one_is_there() {
    let site = site();
    let page = ureq::get(format!("{}/metrics", site.url))
        .call()
        .and_then(|mut answer| answer.body_mut().read_to_string())
        .expect("a page");
    let exported: Vec<(&str, &str)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let table = include_str!("../../../docs/metrics.md");
    let documented: Vec<(&str, &str)> = table
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
            Some((name, rest.split(" | ").next()?))
        })
        .collect();
    assert_eq!(exported, documented);
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split([' ', '{']).next().expect("a name");
        assert!(exported.iter().any(|(known, _)| *known == name), "{line}");
    }
}
