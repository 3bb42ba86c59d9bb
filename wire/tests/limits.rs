//! How long does a message get, and what does a lie about a length cost?
//!
//! The largest message that the protocol allows is read back, for each limit; what it takes is stated, so that
//! a change shows.

use milepost_wire::batch::BatchRef;
use milepost_wire::certificate::Head;
use milepost_wire::codec::decode_within;
use milepost_wire::merkle::Path;
use milepost_wire::output::EpochClosed;
use milepost_wire::payout::Purse;
use milepost_wire::proof::{OutputsProof, ReceiptNotice, StateProof};
use milepost_wire::state::{Ground, Quarantine, Standing, StateKey, Vehicle, Vesting};
use milepost_wire::time::Epoch;
use milepost_wire::transaction::{Enrolment, Role};
use milepost_wire::tree::{self, End, StatePath};
use milepost_wire::*;

const SIGNATURE: Signature = Signature([0xff; 64]);
const HASH: Hash = Hash([0xff; 32]);
const ADDRESS: Address = Address([0xff; 20]);
const KEY: PublicKey = PublicKey([0xff; 33]);

fn observation() -> Observation {
    let place = Place::from_degrees(44.494, 11.343).expect("on the globe");
    Observation {
        cell: Cell::at(place, Heading::UNAVAILABLE),
        place,
        heading: Heading::UNAVAILABLE,
        age_ms: u16::MAX,
        measure: Measure::Speed(Speed::MAX),
    }
}

fn report(observations: usize) -> SignedReport {
    let message = Report {
        version: Report::VERSION,
        vehicle: KeyId([0xff; 8]),
        sequence: Sequence(u64::MAX),
        sent_at: Timestamp::from_millis(u64::MAX),
        observations: vec![observation(); observations],
    };
    assert!(message.is_valid());
    Signed {
        message,
        signature: SIGNATURE,
    }
}

fn largest_head() -> Head {
    let header = Header {
        version: u16::MAX,
        chain: ChainId::new(&"m".repeat(ChainId::LEN_MAX)).expect("an id"),
        height: Height(u64::MAX),
        time: Timestamp::from_millis(u64::MAX),
        proposer: ADDRESS,
        parent: HASH,
        transactions_root: HASH,
        batches_root: HASH,
        outputs_root: HASH,
        state_root: HASH,
        members_hash: HASH,
        next_members_hash: HASH,
    };
    let certificate = Certificate {
        height: Height(u64::MAX),
        round: u32::MAX,
        block: HASH,
        signatures: vec![(ADDRESS, SIGNATURE); Members::COUNT_MAX],
    };
    Head { header, certificate }
}

/// The longest output there is, with a path under a million leaves.
fn longest_output() -> (Output, Path) {
    let amount = Amount::from_micro(u64::MAX);
    let closed = Output::EpochClosed(EpochClosed {
        epoch: Epoch(u32::MAX),
        minted: amount,
        to_vehicles: amount,
        to_operators: amount,
        to_treasury: amount,
        carry: amount,
        purse: Purse {
            by_use: Amount::from_micro(u64::MAX),
            by_base: Amount::from_micro(u64::MAX),
            point_max: Amount::from_micro(u64::MAX),
            vehicle_max: Amount::from_micro(u64::MAX),
        },
        useful_total: u64::MAX,
        base_total: u64::MAX,
        payout_root: HASH,
    });
    let path = Path {
        index: 999_999,
        count: 1_000_000,
        siblings: vec![HASH; 20],
    };
    (closed, path)
}

/// Its length, having read it back.
fn len_of<T: Message + PartialEq + std::fmt::Debug>(message: &T) -> usize {
    let bytes = encode(message);
    assert!(
        bytes.len() <= T::LEN_MAX,
        "a {} of {} bytes exceeds {}",
        T::NAME,
        bytes.len(),
        T::LEN_MAX
    );
    assert_eq!(&decode::<T>(&bytes).expect("within every limit"), message);
    bytes.len()
}

#[test]
fn ten_observations_cost_33_bytes_each_all_included() {
    let len = len_of(&report(10));
    assert_eq!(
        len, 327,
        "the design's targets are 400 in all, and 40 an observation"
    );
    assert_eq!(len.div_ceil(10), 33);
}

#[test]
fn the_largest_report_is_exactly_its_limit() {
    let largest = report(Report::OBSERVATIONS_MAX);
    assert_eq!(len_of(&largest), SignedReport::LEN_MAX);
    assert_eq!(len_of(&largest.message), Report::LEN_MAX);
}

#[test]
fn a_batch_holds_as_many_of_the_largest_reports_as_it_may() {
    let message = Batch {
        author: ADDRESS,
        sequence: u64::MAX,
        height: Height(u64::MAX),
        created_at: Timestamp::from_millis(u64::MAX),
        reports: vec![report(Report::OBSERVATIONS_MAX); Batch::REPORTS_MAX],
    };
    assert_eq!(len_of(&message), 803_380);
    assert_eq!(
        len_of(&Signed {
            message,
            signature: SIGNATURE
        }),
        803_444
    );
}

#[test]
fn a_head_holds_every_members_signature() {
    let head = largest_head();
    assert_eq!(len_of(&head.header), 302);
    assert_eq!(len_of(&head.certificate), 10_804);
    assert_eq!(len_of(&head), 11_106);
}

#[test]
fn a_block_holds_as_many_of_the_largest_transactions_as_it_may() {
    let action = Action::Enrol(Enrolment {
        key: KEY,
        group: u64::MAX,
        role: Role::Anchor { operator: ADDRESS },
    });
    let transaction = Signed {
        message: Transaction {
            from: KEY,
            nonce: u64::MAX,
            action,
        },
        signature: SIGNATURE,
    };
    assert_eq!(len_of(&transaction.message), 104);
    assert_eq!(len_of(&transaction), 168);
    let batch = BatchRef {
        digest: HASH,
        author: ADDRESS,
    };
    let body = Body {
        transactions: vec![transaction; Body::TRANSACTIONS_MAX],
        batches: vec![batch; Body::BATCHES_MAX],
    };
    let block = Block {
        header: largest_head().header,
        body,
    };
    assert_eq!(len_of(&block), 175_678);
}

#[test]
fn a_state_proof_holds_the_deepest_path_and_the_longest_value() {
    let proof = StateProof {
        head: largest_head(),
        open_root: HASH,
        key: StateKey::Account(ADDRESS),
        value: Some(vec![0xff; StateKey::VALUE_LEN_MAX]),
        path: StatePath {
            siblings: vec![HASH; tree::DEPTH_MAX],
            end: End::Other {
                key_hash: HASH,
                value_hash: HASH,
            },
        },
    };
    assert_eq!(len_of(&proof), 20_457);
}

#[test]
fn a_value_of_the_state_has_room() {
    let vehicle = Vehicle {
        key: KEY,
        group: u64::MAX,
        role: Role::Anchor { operator: ADDRESS },
        enrolled_by: Some(ADDRESS),
        bond: Amount::from_micro(u64::MAX),
        enrolled_at: Height(u64::MAX),
        revoked: true,
        standing: Standing {
            good: u64::MAX,
            bad: u64::MAX,
            debt: i64::MIN,
            evaluated: u32::MAX,
        },
        quarantine: Some(Quarantine {
            since: Epoch(u32::MAX),
            times: u8::MAX,
            ground: Ground::Vote,
        }),
        unvested: Amount::from_micro(u64::MAX),
        vesting: Vesting {
            left: u32::MAX,
            since: Epoch(u32::MAX),
            released: Amount::from_micro(u64::MAX),
            slashed: Amount::from_micro(u64::MAX),
        },
        earned: Amount::from_micro(u64::MAX),
    };
    let bytes = encode(&vehicle);
    assert_eq!(bytes.len(), 175);
    assert_eq!(
        decode_within::<Vehicle>(&bytes, "vehicle", StateKey::VALUE_LEN_MAX),
        Ok(vehicle)
    );
}

#[test]
fn proofs_hold_as_many_of_the_longest_outputs_as_they_may() {
    assert_eq!(len_of(&longest_output().0), 125);
    let proof = OutputsProof {
        head: largest_head(),
        outputs: vec![longest_output(); OutputsProof::OUTPUTS_MAX],
    };
    assert_eq!(len_of(&proof), 3_210_090);
    let notice = ReceiptNotice {
        height: Height(u64::MAX),
        outputs: vec![longest_output(); ReceiptNotice::OUTPUTS_MAX],
    };
    assert_eq!(len_of(&notice), 50_000);
}

#[test]
fn a_length_that_lies_is_refused_at_once() {
    // From what no memory holds down to what passes the decoder's own limit of 4 MiB in memory: then, and not
    // more, is reserved, and given back when the bytes end. A thousand of each would otherwise not fit.
    let lies = [u64::MAX, 1 << 62, 1 << 32, 4 << 20, 30_000, 10_000, 513];
    for lie in lies.map(u64::to_le_bytes) {
        for _ in 0..1_000 {
            // A report's observations; a batch's reports, and the observations of the first.
            let report = [&[1][..], &[0; 24], &lie, &[0; 100]].concat();
            assert!(decode::<Report>(&report).is_err());
            let batch = [&[0; 36][..], &lie, &report].concat();
            assert!(decode::<Batch>(&batch).is_err());
            // A chain id; a certificate's signatures; a proof's outputs, and the first one's path.
            assert!(decode::<Header>(&[&[1, 0][..], &lie, &[b'a'; 300]].concat()).is_err());
            assert!(decode::<Certificate>(&[&[0; 44][..], &lie, &[0; 84]].concat()).is_err());
            let receipt = [&[0; 18][..], &[0; 8], &lie, &[0; 64]].concat();
            assert!(decode::<ReceiptNotice>(&[&[0; 8][..], &lie, &receipt].concat()).is_err());
        }
    }
}
