//! A unit's HTTP API, ready to be sent any bytes.
//!
//! The API as `milepost-rsu run` serves it, on a loopback port of this process, over a ledger of a few blocks that one
//! member alone decided. A panic in one of its threads is a finding as one here is, and so is status 500: nothing is wrong
//! with the disk.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use milepost_incentives::{Genesis, Params};
use milepost_node::store::Rocks;
use milepost_node::{Input, Node, Now, Output, Settings, View};
use milepost_rsu::api;
use milepost_rsu::served::Served;
use milepost_wire::transaction::{Enrolment, Role};
use milepost_wire::{Access, ChainId, Height, Member, Members, SecretKey, Timestamp};

/// Requests that the API takes, to begin with.
pub(crate) const REQUESTS: &[&[u8]] = &[
    b"GET /v1/status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET /v1/blocks/latest HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET /v1/light/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET /v1/picture?bbox=11,44,12,45&kind=speed&live=true&limit=3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET /v1/accounts/0x9F918ce710C81a9685e9B47c8E26a0c5e68F1bfc HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET /v1/vehicles?after=0011223344556677&limit=2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET /v1/explain/0011223344556677/3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET /v1/members HTTP/1.1\r\nHost: a\r\n\r\nGET /v1/params HTTP/1.1\r\nHost: a\r\n\r\nGET /v1/proposals HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"POST /v1/transactions HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 8\r\n\r\n00112233",
    b"POST /v1/transactions/check HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 8\r\n\r\n00112233",
    b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
];

/// How long one waits for a byte of an answer; the unit waits for the rest of a request.
const PATIENCE: Duration = Duration::from_millis(100);
/// The most bytes of an answer that are looked at.
const ANSWER_MAX: u64 = 1 << 20;
/// Blocks of the ledger that is served.
const BLOCKS: Height = Height(3);
const TIME: Timestamp = Timestamp::from_millis(700_000_000_000);

static PANICKED: AtomicBool = AtomicBool::new(false);

/// Sends bytes on a connection of their own.
pub(crate) fn send(bytes: &[u8]) {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    let mut stream = TcpStream::connect(ADDRESS.get_or_init(serve)).expect("the API listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    // The API may close the connection at any byte.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.take(ANSWER_MAX).read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 500"), "status 500");
    assert!(
        !PANICKED.swap(false, Ordering::Relaxed),
        "a thread of the API panicked"
    );
}

/// Serves until the process ends.
fn serve() -> SocketAddr {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() == Some("api") {
            PANICKED.store(true, Ordering::Relaxed);
        }
        before(panic);
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("api")
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("some port is free");
    let address = listener.local_addr().expect("it is bound");
    let folder = tempfile::tempdir().expect("a folder");
    let (genesis, key, store, view) = decided(folder.path());
    let (views, newest) = tokio::sync::watch::channel(view);
    let (sender, mut transactions) = tokio::sync::mpsc::channel(4);
    let served = Served::new(genesis, key.address(), store, newest, sender).expect("a sound store");
    std::thread::spawn(move || {
        // As long as this thread lives, so do these.
        let _kept = (views, folder);
        runtime.spawn(async move { while transactions.recv().await.is_some() {} });
        runtime.block_on(api::serve(listener, Arc::new(served), std::future::pending()))
    });
    address
}

/// A ledger of [`BLOCKS`] that one member decided alone.
fn decided(folder: &std::path::Path) -> (Genesis, SecretKey, Rocks, Arc<View>) {
    let key = SecretKey::from_seed("fuzz member", 0);
    let member = Member {
        key: key.public(),
        provider: "fuzz".into(),
        power: 1,
    };
    let vehicle = |nth| Enrolment {
        key: SecretKey::from_seed("fuzz vehicle", nth).public(),
        group: 0,
        role: Role::Vehicle,
    };
    let genesis = Genesis {
        chain: ChainId::new("fuzz").expect("an id"),
        time: TIME,
        members: Members::new(vec![member]).expect("a member"),
        access: Access::default(),
        params: Params::default(),
        vehicles: (0..4).map(vehicle).collect(),
    };
    let store = Rocks::open(folder).expect("an empty store");
    let at = |mono_ms| Now {
        mono_ms,
        wall: TIME.plus(mono_ms),
    };
    let settings = Settings::default();
    let (mut node, _) = Node::open(&genesis, key.clone(), settings, store.clone(), at(0)).expect("opens");
    while node.view().height() < BLOCKS {
        let due = at(node.wake_at());
        let outputs = node.handle(due, Input::Wake).expect("a sound disk");
        // Nobody else is there to hear any of it.
        drop::<Vec<Output>>(outputs);
    }
    let view = node.view();
    (genesis, key, store, view)
}
