//! Whatever reads bytes from outside, ready to be given any.
//!
//! A target returns normally on every input: a panic is a finding. Binary messages must also re-encode to the bytes
//! that they were read from. One list serves the test `tests/tests/fuzz.rs`, which runs for a while on every run of
//! the suite, and libFuzzer (`tests/fuzz`), which runs for as long as one likes.

mod api;

pub(crate) use api::REQUESTS;

use std::io::Cursor;

use milepost_incentives::Genesis;
use milepost_node::message::{BlockAnswer, HeadsAnswer, PeerMessage};
use milepost_obu::source::{FcdReader, JsonlReader};
use milepost_wire::certificate::Head;
use milepost_wire::light::LightBlock;
use milepost_wire::proof::{OutputsProof, ReceiptNotice, StateProof};
use milepost_wire::*;

/// One thing that reads.
pub(crate) struct Target {
    /// What it reads.
    pub(crate) name: &'static str,
    /// Reads.
    pub(crate) read: fn(&[u8]),
    /// Something that it takes, to begin with.
    pub(crate) seeds: &'static [&'static [u8]],
}

/// Files that mutations begin with, from the repository.
macro_rules! golden {
    ($($name:literal),*) => { &[$(include_bytes!(concat!("../../wire/golden/", $name, ".hex"))),*] };
}

/// All of them. Seeds of binary messages are in hexadecimal, as they lie in `wire/golden`.
pub(crate) const TARGETS: &[Target] = &[
    binary::<SignedReport>(golden!("signed_report")),
    binary::<SignedBatch>(golden!("signed_batch")),
    binary::<SignedTransaction>(golden!("signed_transaction")),
    binary::<Transaction>(golden!("transaction_complain", "transaction_blame", "transaction_blame_batch")),
    binary::<Acks>(golden!("acks")),
    binary::<question::SignedQuestion>(golden!("signed_question")),
    binary::<Block>(golden!("block")),
    binary::<Header>(golden!("header")),
    binary::<Certificate>(golden!("certificate")),
    binary::<Head>(golden!("head")),
    binary::<LightBlock>(golden!("light_block", "light_block_of_a_change")),
    binary::<Output>(golden!("output_score", "output_estimate", "output_epoch_closed")),
    binary::<StateProof>(golden!("state_proof_present", "state_proof_other", "state_proof_empty")),
    binary::<OutputsProof>(golden!("outputs_proof")),
    binary::<ReceiptNotice>(golden!("receipt_notice")),
    binary::<PeerMessage>(golden!("block", "signed_batch")),
    binary::<BlockAnswer>(golden!("block")),
    binary::<HeadsAnswer>(golden!("head")),
    Target {
        name: "genesis.json",
        read: |bytes| {
            if let Ok(genesis) = serde_json::from_slice::<Genesis>(bytes) {
                // What is valid must be able to begin.
                if genesis.validate().is_ok() {
                    let _ = milepost_incentives::State::genesis(&genesis);
                }
            }
        },
        seeds: &[br#"{"chain":"a","time":0,"members":[],"params":{"slot_ms":1000,"epoch_ms":10000},"vehicles":[]}"#],
    },
    Target {
        name: "consortium.json",
        read: |bytes| drop(serde_json::from_slice::<Consortium>(bytes)),
        seeds: &[br#"{"chain":"a","genesis":"00","members":[{"key":"02","provider":"p","power":1}]}"#],
    },
    Target {
        name: "rsu.toml",
        read: |bytes| text(bytes, |text| drop(milepost_rsu::config::Config::parse(text, "rsu.toml"))),
        seeds: &[include_bytes!("../../config/rsu.toml")],
    },
    Target {
        name: "scenario.toml",
        read: |bytes| text(bytes, |text| drop(milepost_sim::scenario::Scenario::parse(text, "scenario.toml"))),
        seeds: &[
            include_bytes!("../../sim/scenarios/crash.toml"),
            include_bytes!("../../sim/scenarios/grid-bias.toml"),
        ],
    },
    Target {
        name: "names and numbers",
        read: |bytes| {
            text(bytes, |text| {
                let _ = text.parse::<Address>();
                let _ = text.parse::<KeyId>();
                let _ = text.parse::<Hash>();
                let _ = text.parse::<Cell>();
                let _ = text.parse::<Amount>();
                let _ = ChainId::new(text);
                let _ = SecretKey::from_hex(text);
                let _ = text.parse::<milepost_wire::Area>();
                let _ = text.parse::<milepost_obu::source::Source>();
            });
        },
        seeds: &[b"0x9F918ce710C81a9685e9B47c8E26a0c5e68F1bfc", b"1.5", b"11.30,44.48,11.36,44.51", b"fcd:town.xml.gz"],
    },
    Target {
        name: "floating-car data",
        read: |bytes| {
            let reader = FcdReader::new(Cursor::new(bytes.to_vec()), "fuzz", Some((44.3, 8.8)));
            // Bounded by the input: a reader ends at its first error.
            reader.into_iter().flatten().for_each(drop);
        },
        seeds: &[
            br#"<fcd-export><timestep time="0.00"><vehicle id="v0" x="11.3" y="44.4" angle="90" speed="13.9" lane="a_0"/></timestep></fcd-export>"#,
            b"timestep_time;vehicle_id;vehicle_x;vehicle_y;vehicle_angle;vehicle_speed;vehicle_lane\n0.00;v0;11.3;44.4;90;13.9;a_0\n",
        ],
    },
    Target {
        name: "JSON lines",
        read: |bytes| JsonlReader::new(Cursor::new(bytes.to_vec()), "fuzz").for_each(drop),
        seeds: &[br#"{"time": 1763884800.5, "lat": 44.4946, "lon": 11.3277, "heading": 90.0, "speed_kmh": 48.5, "humidity": 0.8}"#],
    },
    Target {
        name: "HTTP API",
        read: api::send,
        seeds: api::REQUESTS,
    },
];

/// The bytes that hexadecimal text stands for; other text as it is.
pub(crate) fn unhex(text: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let pairs = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect::<Option<_>>().unwrap_or_else(|| text.to_vec())
}

/// A message that must come back as the bytes it was.
const fn binary<T: Message>(seeds: &'static [&'static [u8]]) -> Target {
    Target {
        name: T::NAME,
        read: |bytes| {
            if let Ok(message) = decode::<T>(bytes) {
                assert_eq!(encode(&message), bytes, "{} has two encodings", T::NAME);
            }
        },
        seeds,
    }
}

fn text(bytes: &[u8], read: impl FnOnce(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        read(text);
    }
}
