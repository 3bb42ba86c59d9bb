//! Does anything that reads bytes from outside break on some?
//!
//! Mutations of what each target takes, and noise, for [`BUDGET`] each; then raw bytes to the HTTP API of a running
//! unit. `MILEPOST_FUZZ_SECONDS=600 cargo test --release -p milepost-tests --test fuzz` goes on for ten minutes a
//! target; `tests/fuzz` does the same led by coverage. A finding names its target, and shows its input in
//! hexadecimal: add it to the target's seeds with its fix.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use milepost_tests::{Consortium, Plan};

use crate::targets::{REQUESTS, TARGETS, Target, unhex};

/// How long each target is tried unless `MILEPOST_FUZZ_SECONDS` says otherwise.
const BUDGET: Duration = Duration::from_secs(2);
/// What a mutation grows to at most.
const INPUT_LEN_MAX: usize = 1 << 16;
/// Inputs that are kept to go on from.
const POOL_MAX: usize = 256;
/// Numbers and marks that parsers stumble over.
const ODD: &[&[u8]] = &[
    &[0; 8],
    &[0xff; 8],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0, 0, 0, 0x80],
    b"-1",
    b"NaN",
    b"1e999",
    b"18446744073709551616",
    b"\"\\u0000\"",
    b"[[[[[[[[",
    b"{\"",
    b"<!--",
    b"&lt;",
    b";;;;",
    "\u{feff}é北".as_bytes(),
];

fn budget() -> Duration {
    std::env::var("MILEPOST_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .map_or(BUDGET, Duration::from_secs)
}

#[test]
fn whatever_reads_takes_any_bytes() {
    let seed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |now| now.as_nanos() as u64)
        | 1;
    eprintln!("seed {seed}");
    for target in TARGETS {
        let tried = fuzz(target, seed, budget());
        assert!(tried > 0, "{} was not tried", target.name);
        eprintln!("{:>12} inputs to {}", tried, target.name);
    }
}

#[test]
fn a_target_that_breaks_is_found() {
    let fragile = Target {
        name: "fragile",
        read: |bytes| {
            assert!(
                !bytes.windows(2).any(|pair| pair == [0xff, 0xff]),
                "two full bytes"
            )
        },
        seeds: &[b"harmless"],
    };
    let found = catch_unwind(|| fuzz(&fragile, 7, Duration::from_secs(20)));
    assert!(found.is_err(), "the control was not caught");
}

/// Tries a target for a while; returns on how many inputs.
fn fuzz(target: &Target, seed: u64, budget: Duration) -> u64 {
    let mut chance = Chance(seed);
    let mut pool: Vec<Vec<u8>> = target.seeds.iter().map(|seed| unhex(seed)).collect();
    for seed in pool.clone() {
        try_one(target, &seed);
    }
    let (began, mut tried) = (Instant::now(), 0);
    while began.elapsed() < budget {
        let mut input = pool[chance.below(pool.len())].clone();
        for _ in 0..=chance.below(4) {
            mutate(&mut input, &pool, &mut chance);
        }
        input.truncate(INPUT_LEN_MAX);
        try_one(target, &input);
        tried += 1;
        // Mutations of mutations, now and then.
        if chance.below(64) == 0 {
            if pool.len() < POOL_MAX {
                pool.push(input);
            } else {
                let at = target.seeds.len() + chance.below(POOL_MAX - target.seeds.len());
                pool[at] = input;
            }
        }
    }
    tried
}

fn try_one(target: &Target, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.read)(input))).is_err() {
        let shown: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{} breaks on {shown}", target.name);
    }
}

fn mutate(input: &mut Vec<u8>, pool: &[Vec<u8>], chance: &mut Chance) {
    let at = chance.below(input.len() + 1);
    match chance.below(8) {
        0 if at < input.len() => input[at] ^= 1 << chance.below(8),
        1 if at < input.len() => input[at] = chance.next() as u8,
        2 => input.truncate(at),
        3 => drop(input.splice(at..at, ODD[chance.below(ODD.len())].iter().copied())),
        4 => {
            // Over what is there: a length, a number.
            for (old, new) in input[at..].iter_mut().zip(ODD[chance.below(ODD.len())]) {
                *old = *new;
            }
        }
        5 => {
            let end = at + chance.below(input.len() - at + 1);
            let part = input[at..end].to_vec();
            input.splice(at..at, part);
        }
        6 => {
            let end = at + chance.below((input.len() - at).min(16) + 1);
            input.drain(at..end);
        }
        _ => {
            let other = &pool[chance.below(pool.len())];
            let from = chance.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
    }
}

/// Xorshift. Source: Marsaglia, Journal of Statistical Software 8 (14), 2003.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

#[test]
fn the_api_takes_any_bytes() {
    let mut consortium = Consortium::running(Plan {
        members: 1,
        ..Plan::default()
    });
    let address = consortium.api(0).trim_start_matches("http://").to_owned();
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut pool: Vec<Vec<u8>> = REQUESTS.iter().map(|request| request.to_vec()).collect();
    pool.extend([b"%00%ff%2e%2e/".to_vec(), vec![b'a'; 9_000]]);
    let (began, mut answered) = (Instant::now(), 0u32);
    while began.elapsed() < budget() * 3 {
        let mut request = pool[chance.below(REQUESTS.len())].clone();
        for _ in 0..chance.below(4) {
            mutate(&mut request, &pool, &mut chance);
        }
        let mut stream = TcpStream::connect(&address).expect("the API listens");
        stream
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("not zero");
        // The unit may close the connection at any byte.
        let _ = stream.write_all(&request);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.take(1 << 20).read_to_end(&mut answer);
        answered += u32::from(answer.starts_with(b"HTTP/1.1 "));
        assert!(
            !answer.starts_with(b"HTTP/1.1 500"),
            "{}",
            String::from_utf8_lossy(&request)
        );
    }
    assert!(answered > 0, "no request was answered");
    assert!(consortium.is_up(0), "the unit went down");
    assert!(
        consortium.get(0, "/v1/status").is_some(),
        "the unit no longer answers"
    );
    // Fails where anything panicked.
    consortium.stop_all();
}
