//! Who may link to a roadside unit, and what may they do on the link?
//!
//! A testnet with mutual TLS. Vehicles with a certificate report and are paid as on plain links; who has none, or
//! another authority's, gets no link; and a vehicle's certificate opens none of the topics that members use among
//! themselves, whatever is put on them.

use std::path::Path;
use std::time::Duration;

use milepost_node::message::{PeerMessage, Status};
use milepost_obu::net;
use milepost_tests::{Consortium, Plan, Program, Ride, Said, Source, eventually};
use milepost_wire::link::TlsFiles;
use milepost_wire::topic::{self, Channel};
use milepost_wire::{Height, encode};
use zenoh::Session;
use zenoh::handlers::FifoChannelHandler;
use zenoh::pubsub::Subscriber;
use zenoh::qos::CongestionControl;
use zenoh::sample::Sample;

/// How long counters, or some blocks, may take on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How often what must come through is put.
const AGAIN_EVERY: Duration = Duration::from_millis(500);
/// Who is let in is let in sooner.
const REFUSED_AFTER: Duration = Duration::from_secs(5);

fn secured<'a>() -> Plan<'a> {
    Plan {
        tls: true,
        ..Plan::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_secured_links_vehicles_report_and_strangers_get_no_link() {
    let mut consortium = Consortium::running(secured());
    let drive = consortium
        .vehicle(0)
        .drive(Source::Jsonl(Ride::in_line(0).jsonl(3)), WAIT_MAX.as_secs());
    let summary = drive.finish(2 * WAIT_MAX);
    assert!(summary["sent"].as_u64() > Some(0), "nothing was said: {summary}");
    assert_eq!(summary["final"], summary["sent"], "{summary}");
    let balance = consortium.vehicle(0).ask("balance", &[]);
    assert_eq!(balance["verified"], true, "{balance}");

    let endpoint = consortium.endpoint(1).to_owned();
    let plain = endpoint.replace("tls/", "tcp/");
    assert!(!links(&plain, None).await, "a link without TLS");

    let foreign = foreign_certificate(consortium.folder());
    assert!(
        !links(&endpoint, Some(&foreign)).await,
        "another authority's certificate"
    );

    let known = TlsFiles::in_folder(&consortium.net().join("vehicles/tls"));
    let mut linked = false;
    // A busy machine may take longer than one attempt waits.
    for _ in 0..10 {
        linked = linked || links(&endpoint, Some(&known)).await;
    }
    assert!(linked, "a certificate of the consortium's");
    consortium.stop_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vehicles_certificate_opens_no_topic_of_the_members() {
    let mut consortium = Consortium::running(secured());
    let chain = consortium.known().chain;
    let member = consortium
        .known()
        .members
        .iter()
        .next()
        .expect("there are four")
        .0;
    let vehicle = open(consortium.endpoint(0), &consortium.net().join("vehicles/tls")).await;
    let unit = open(consortium.endpoint(0), consortium.home(1)).await;
    let claim = encode(&PeerMessage::Status(Status { height: Height(1) }));

    // Somebody beside the members listens, with a certificate that may.
    let everything = unit
        .declare_subscriber(format!("{}/**", topic::root(&chain)))
        .await
        .expect("declared");
    let overheard = vehicle
        .declare_subscriber(topic::all_members(&chain, Channel::Bft))
        .await
        .expect("declared");
    let mark = topic::report(
        &chain,
        milepost_wire::Cell::at(place(), milepost_wire::Heading::UNAVAILABLE),
    );
    // From here on, what may pass does.
    assert_eq!(
        forged_before(&vehicle, &everything, &mark, 41).await,
        Vec::<String>::new()
    );
    for channel in [Channel::Bft, Channel::Body, Channel::Batch, Channel::Member] {
        let key = topic::from_member(&chain, channel, member);
        put(&vehicle, &format!("{key}0forged"), claim.clone()).await;
    }
    put(&vehicle, &topic::head(&chain), vec![1, 2, 3]).await;
    assert_eq!(
        forged_before(&vehicle, &everything, &mark, 42).await,
        Vec::<String>::new()
    );
    // Blocks went on all the while: there were votes to overhear.
    let height = consortium.height(0).expect("member 0 answers");
    consortium.reach(0, height + 2, WAIT_MAX);
    while let Some(sample) = overheard.try_recv().expect("the session is open") {
        // A session hears itself.
        let key = sample.key_expr().as_str();
        assert!(key.ends_with("forged"), "a vehicle overhears votes: {key}");
    }

    // Questions of members, in whose answers whole reports are, are not a vehicle's to ask.
    let batches = topic::ask_block(&chain, Height(1), member);
    assert_eq!(
        answers(&vehicle, &batches).await,
        0,
        "a vehicle reads whole blocks"
    );
    assert_eq!(answers(&unit, &batches).await, 1, "a unit reads whole blocks");
    net::close(vehicle).await;
    net::close(unit).await;
    consortium.stop_all();
}

/// Puts a byte under `mark` until it is heard, since a subscription takes a moment to be known everywhere; returns the
/// forgeries that were heard before.
async fn forged_before(
    vehicle: &Session,
    everything: &Subscriber<FifoChannelHandler<Sample>>,
    mark: &str,
    byte: u8,
) -> Vec<String> {
    let mut forged = Vec::new();
    let heard = tokio::time::timeout(WAIT_MAX, async {
        let mut again = tokio::time::interval(AGAIN_EVERY);
        loop {
            let sample = tokio::select! {
                _ = again.tick() => {
                    put(vehicle, mark, vec![byte]).await;
                    continue;
                }
                sample = everything.recv_async() => sample.expect("the session is open"),
            };
            let (key, payload) = (sample.key_expr().as_str(), sample.payload().to_bytes());
            if key == mark && payload.as_ref() == [byte] {
                return;
            }
            if key.ends_with("forged") || payload.as_ref() == [1, 2, 3] {
                forged.push(key.to_owned());
            }
        }
    });
    heard.await.expect("the report comes through");
    forged
}

async fn open(endpoint: &str, folder: &Path) -> Session {
    let files = TlsFiles::in_folder(folder);
    let settings = net::settings(&[endpoint.to_owned()], Some(&files)).expect("an endpoint");
    tokio::time::timeout(WAIT_MAX, net::open(settings))
        .await
        .expect("a link")
        .expect("a session")
}

async fn links(endpoint: &str, files: Option<&TlsFiles>) -> bool {
    let settings = net::settings(&[endpoint.to_owned()], files).expect("an endpoint");
    let Ok(Ok(session)) = tokio::time::timeout(REFUSED_AFTER, net::open(settings)).await else {
        return false;
    };
    // With TLS 1.3 a client learns that it is refused only after its own handshake.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let linked = net::is_linked(&session).await;
    net::close(session).await;
    linked
}

async fn put(session: &Session, key: &str, bytes: Vec<u8>) {
    let put = session
        .put(key, bytes)
        .congestion_control(CongestionControl::Block);
    put.await.expect("it is put");
}

async fn answers(session: &Session, key: &str) -> usize {
    let replies = session.get(key).timeout(REFUSED_AFTER).await.expect("asked");
    let mut count = 0;
    while let Ok(reply) = replies.recv_async().await {
        count += usize::from(reply.result().is_ok());
    }
    count
}

/// A vehicle's certificate of an authority that the consortium does not know, made as a provider would.
fn foreign_certificate(folder: &Path) -> TlsFiles {
    let (authority, out) = (folder.join("foreign"), folder.join("foreign/vehicle"));
    let run = |arguments: &[&str], folder: &Path| {
        let mut command = Program::Rsu.command();
        command
            .arg("certificate")
            .args(arguments)
            .arg("--out")
            .arg(folder);
        let _ = Said::by(&mut command, WAIT_MAX).ended_with(0);
    };
    run(&["authority", "--provider", "Elsewhere"], &authority);
    let authority = authority.to_str().expect("a plain path").to_owned();
    run(
        &["issue", "--station", "vehicle", "--authority", &authority],
        &out,
    );
    eventually("the certificate is there", WAIT_MAX, || {
        out.join("link.pem").exists().then_some(())
    });
    TlsFiles::in_folder(&out)
}

fn place() -> milepost_wire::Place {
    milepost_wire::Place::from_degrees(44.494, 11.343).expect("on the globe")
}
