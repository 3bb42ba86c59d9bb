//! What becomes of a unit that speaks another version of the protocol?
//!
//! Nothing that it says to the members is heard, they say so and why, and go on; it learns theirs as they learn its. The
//! other version is played by a zenoh session of the test's own, since there is only one version to build.

use std::time::Duration;

use milepost_obu::net;
use milepost_tests::{Consortium, Plan, eventually};
use milepost_wire::topic::{self, Channel, PROTOCOL};
use zenoh::qos::CongestionControl;

const WAIT_MAX: Duration = Duration::from_secs(30);
const OTHER: u16 = PROTOCOL + 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_of_another_version_is_told_and_not_heard() {
    let mut consortium = Consortium::make(Plan::default());
    for nth in 0..3 {
        consortium.start(nth);
    }
    consortium.reach(0, 2, WAIT_MAX);
    let known = consortium.known();
    // Member 3, with the newer software.
    let members: Vec<_> = known.members.iter().map(|(address, _)| address).collect();
    let running: Vec<_> = (0..3)
        .map(|nth| consortium.get(nth, "/v1/status").expect("it answers")["id"].clone())
        .collect();
    let is_running = |address: &milepost_wire::Address| running.iter().any(|id| *id == address.to_string());
    let absent = *members
        .iter()
        .find(|address| !is_running(address))
        .expect("one does not run");
    let newer = |channel| {
        let key = topic::from_member(&known.chain, channel, absent);
        key.replace(&format!("/{PROTOCOL}/"), &format!("/{OTHER}/"))
    };

    let settings = net::settings(&[consortium.endpoint(0).to_owned()], None).expect("an endpoint");
    let session = net::open(settings).await.expect("a link");
    let present = session
        .liveliness()
        .declare_subscriber(topic::presence(&known.chain));
    let present = present.history(true).await.expect("declared");
    let token = session.liveliness().declare_token(newer(Channel::Member)).await;
    let token = token.expect("declared");
    for channel in [Channel::Bft, Channel::Body, Channel::Batch, Channel::Member] {
        let put = session.put(newer(channel), vec![0xff; 64]);
        put.congestion_control(CongestionControl::Block)
            .await
            .expect("it is put");
    }

    // Both sides learn of it: the members say so, and the newcomer has what it needs to say so.
    for nth in 0..3 {
        eventually("the members tell of the other version", WAIT_MAX, || {
            let told = format!("speaks protocol {OTHER}, and this one {PROTOCOL}");
            consortium.log(nth).contains(&told).then_some(())
        });
        eventually("it is counted", WAIT_MAX, || {
            consortium
                .metric(nth, "milepost_peers_other_protocol")
                .filter(|count| *count == 1)
        });
    }
    let mut learnt = std::collections::BTreeSet::new();
    while learnt.len() < 3 {
        let sample = tokio::time::timeout(WAIT_MAX, present.recv_async()).await;
        let sample = sample
            .expect("three members are present")
            .expect("the session is open");
        let (protocol, address) = topic::present(sample.key_expr().as_str()).expect("a presence");
        if protocol == PROTOCOL {
            learnt.insert(address);
        }
    }
    assert!(learnt.iter().all(is_running), "{learnt:?}");

    let height = consortium.height(0).expect("member 0 answers");
    for nth in 0..3 {
        consortium.reach(nth, height + 3, WAIT_MAX);
        let malformed = "milepost_unit_messages_refused_total{reason=\"malformed\"}";
        assert_eq!(consortium.metric(nth, malformed), Some(0), "it was heard");
        assert_eq!(consortium.metric(nth, "milepost_peers"), Some(2));
    }

    // With the right version it is one of them.
    token.undeclare().await.expect("undeclared");
    net::close(session).await;
    consortium.start(3);
    consortium.hear_each_other(consortium.all(), WAIT_MAX);
    eventually("the other version is gone", WAIT_MAX, || {
        consortium
            .metric(0, "milepost_peers_other_protocol")
            .filter(|count| *count == 0)
    });
    consortium.reach(3, height + 3, WAIT_MAX);
    consortium.agree(consortium.all());
    consortium.stop_all();
}
