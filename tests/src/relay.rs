//! How does a test make a link slow?
//!
//! Kernels without netem cannot delay packets. A [`Relay`] stands between two units on loopback and passes on what either
//! sends, as late as it is told, in order, as TCP would after losses: the units see a connection like any other.
//!
//! What one side sends is kept for so long, at most [`KEPT_MAX`] pieces; beyond that it is not read any more, and the
//! sender's own buffers fill, as on a slow line.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Pieces that are on their way in one direction.
const KEPT_MAX: usize = 256;
/// Bytes that are taken at a time.
const PIECE_MAX: usize = 16 << 10;

/// How slow a line is.
#[derive(Clone, Copy, Debug)]
pub struct Slow {
    /// How long everything takes, each way.
    pub delay: Duration,
    /// After so many pieces everything stands still, ...
    pub stall_after: usize,
    /// ... for so long: what TCP does where a packet was lost.
    pub stall: Duration,
}

/// A slow line to an address.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
}

impl Relay {
    /// Listens on a free port and passes on to `target`, until the test program ends.
    ///
    /// # Panics
    ///
    /// Where no port is free.
    pub fn to(target: &str, slow: Slow) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("some port is free");
        let address = listener.local_addr().expect("it is bound");
        let target = target.to_owned();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // Where the unit does not run, neither does the line to it.
                if let Ok(far) = TcpStream::connect(&target) {
                    pass_on(&near, &far, slow);
                    pass_on(&far, &near, slow);
                }
            }
        });
        Self { address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// One direction: a thread that reads, and one that writes later.
fn pass_on(from: &TcpStream, to: &TcpStream, slow: Slow) {
    let handle = |stream: &TcpStream| stream.try_clone().expect("a handle can be cloned");
    let (from, to) = (handle(from), handle(to));
    // Small messages leave at once: only the line is slow.
    let _ = to.set_nodelay(true);
    let (sender, kept) = sync_channel(KEPT_MAX);
    std::thread::spawn(move || take(from, &sender));
    std::thread::spawn(move || give(to, &kept, slow));
}

fn take(mut from: TcpStream, sender: &SyncSender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; PIECE_MAX];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        if sender.send((Instant::now(), buffer[..len].to_vec())).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Read);
}

fn give(mut to: TcpStream, kept: &Receiver<(Instant, Vec<u8>)>, slow: Slow) {
    for (nth, (taken, piece)) in kept.iter().enumerate() {
        std::thread::sleep((taken + slow.delay).saturating_duration_since(Instant::now()));
        if nth % slow.stall_after == slow.stall_after - 1 {
            std::thread::sleep(slow.stall);
        }
        if to.write_all(&piece).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
