//! What holds for the bytes of every message?
//!
//! Each is read back as it was written, has one encoding, and is refused when cut short, prolonged or beyond
//! its limit; no bytes make the decoder panic. Sizes and limits: `limits.rs`. The exact bytes: `golden.rs`.

mod strategies;

use std::fmt::Debug;

use milepost_wire::codec::decode_within;
use milepost_wire::{DecodeError, Message, encode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestCaseResult;
use wincode::config::DefaultConfig;
use wincode::{SchemaRead, SchemaWrite};

trait Wire:
    SchemaWrite<DefaultConfig, Src = Self>
    + for<'de> SchemaRead<'de, DefaultConfig, Dst = Self>
    + Debug
    + PartialEq
{
}

impl<T> Wire for T where
    T: SchemaWrite<DefaultConfig, Src = T>
        + for<'de> SchemaRead<'de, DefaultConfig, Dst = T>
        + Debug
        + PartialEq
{
}

fn is_read_back<T: Wire>(value: &T, limit: usize) -> TestCaseResult {
    prop_assert_eq!(
        &decode_within::<T>(&encode(value), "message", limit).expect("its own bytes"),
        value
    );
    Ok(())
}

fn bears_no_other_length<T: Wire>(value: &T, limit: usize, extra: u8) -> TestCaseResult {
    let mut bytes = encode(value);
    for len in 0..bytes.len() {
        prop_assert!(
            decode_within::<T>(&bytes[..len], "message", limit).is_err(),
            "cut to {}",
            len
        );
    }
    bytes.push(extra);
    prop_assert!(decode_within::<T>(&bytes, "message", limit + 1).is_err());
    Ok(())
}

fn bears_no_flipped_bit<T: Wire>(value: &T, limit: usize, bits: &[Index]) -> TestCaseResult {
    let bytes = encode(value);
    for bit in bits {
        let (mut flipped, bit) = (bytes.clone(), bit.index(bytes.len() * 8));
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = decode_within::<T>(&flipped, "message", limit) {
            prop_assert_ne!(&other, value, "bit {}", bit);
            prop_assert_eq!(encode(&other), flipped, "bit {}", bit);
        }
    }
    Ok(())
}

/// Bytes that are almost a message get further into the decoder than random ones.
fn has_one_encoding<T: Wire>(value: &T, limit: usize, edits: &[(Index, u8)], noise: &[u8]) -> TestCaseResult {
    let mut edited = encode(value);
    for (at, byte) in edits {
        let at = at.index(edited.len());
        edited[at] = *byte;
    }
    for bytes in [edited.as_slice(), noise] {
        if let Ok(other) = decode_within::<T>(bytes, "message", limit) {
            prop_assert_eq!(encode(&other), bytes.to_vec());
        }
    }
    Ok(())
}

fn is_refused_beyond_its_limit<T: Message>() {
    let bytes = vec![0; T::LEN_MAX + 1];
    let refused = DecodeError::TooLong {
        message: T::NAME,
        len: T::LEN_MAX + 1,
        limit: T::LEN_MAX,
    };
    match milepost_wire::decode::<T>(&bytes) {
        Err(error) => assert_eq!(error, refused),
        Ok(_) => panic!("a {} beyond its limit was read", T::NAME),
    }
}

macro_rules! properties_of {
    ($($name:ident: $strategy:expr, $limit:expr;)*) => {$(
        mod $name {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(64))]

                #[test]
                fn it_is_read_back_as_it_was_written(value in $strategy) {
                    is_read_back(&value, $limit)?;
                }

                #[test]
                fn it_has_one_length(value in $strategy, extra in any::<u8>()) {
                    bears_no_other_length(&value, $limit, extra)?;
                }

                #[test]
                fn a_flipped_bit_makes_it_another_or_none(
                    value in $strategy, bits in vec(any::<Index>(), 64),
                ) {
                    bears_no_flipped_bit(&value, $limit, &bits)?;
                }

                #[test]
                fn it_has_one_encoding(
                    value in $strategy,
                    edits in vec((any::<Index>(), any::<u8>()), 1..6),
                    noise in vec(any::<u8>(), 0..300),
                ) {
                    has_one_encoding(&value, $limit, &edits, &noise)?;
                }
            }
        }
    )*};
}

macro_rules! properties_of_messages {
    ($($name:ident: $type:ty = $strategy:expr;)*) => {
        properties_of! { $($name: $strategy, <$type as Message>::LEN_MAX;)* }

        #[test]
        fn every_message_is_refused_beyond_its_limit() {
            $(is_refused_beyond_its_limit::<$type>();)*
        }
    };
}

properties_of_messages! {
    report: milepost_wire::Report = strategies::report();
    signed_report: milepost_wire::SignedReport = strategies::signed(strategies::report());
    batch: milepost_wire::Batch = strategies::batch();
    signed_batch: milepost_wire::SignedBatch = strategies::signed(strategies::batch());
    transaction: milepost_wire::Transaction = strategies::transaction();
    signed_transaction: milepost_wire::SignedTransaction = strategies::signed(strategies::transaction());
    header: milepost_wire::Header = strategies::header();
    a_block: milepost_wire::Block = strategies::a_block();
    a_certificate: milepost_wire::Certificate = strategies::a_certificate();
    head: milepost_wire::certificate::Head = strategies::head();
    state_proof: milepost_wire::proof::StateProof = strategies::state_proof();
    outputs_proof: milepost_wire::proof::OutputsProof = strategies::outputs_proof();
    receipt_notice: milepost_wire::proof::ReceiptNotice = strategies::receipt_notice();
    acks: milepost_wire::Acks = strategies::acks();
    an_output: milepost_wire::Output = strategies::an_output();
}

const VALUE: usize = milepost_wire::state::StateKey::VALUE_LEN_MAX;

properties_of! {
    batch_ref: strategies::batch_ref(), VALUE;
    state_key: strategies::state_key(), VALUE;
    books: strategies::books(), VALUE;
    account: strategies::account(), VALUE;
    vehicle: strategies::vehicle(), VALUE;
    road: strategies::road(), VALUE;
    operator: strategies::operator(), VALUE;
    withheld: strategies::withheld(), VALUE;
    complaint: strategies::complaint(), VALUE;
}

proptest! {
    /// What decodes need not be valid, and asking whether it is must not panic.
    #[test]
    fn no_report_makes_a_question_panic(
        observations in vec(any::<[u8; 22]>(), 1..4),
        sent_at in prop_oneof![any::<u64>(), Just(u64::MAX)],
    ) {
        let mut bytes = vec![milepost_wire::Report::VERSION];
        bytes.extend([7; 16]);
        bytes.extend(sent_at.to_le_bytes());
        bytes.extend((observations.len() as u64).to_le_bytes());
        for mut observation in observations {
            // The tag of a one-byte measure.
            observation[20] = 1;
            bytes.extend(observation);
        }
        let report: milepost_wire::Report = milepost_wire::decode(&bytes).expect("a report");
        let _ = (report.is_valid(), report.sent_at.unix_millis());
        for observation in &report.observations {
            let _ = (report.seen_at(observation).unix_millis(), observation.measure.value());
            let _ = milepost_wire::Cell::at(observation.place, observation.heading);
            let cell = observation.cell;
            let _ = (cell.sector(), cell.coarse(), cell.centre(), cell.boundary_degrees());
            let _ = milepost_wire::topic::report(&milepost_wire::ChainId::new("x").expect("an id"), cell);
        }
    }
}
