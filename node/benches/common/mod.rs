//! What all benches begin with: one yardstick to hold their figures against, and reports as vehicles send them.

use std::hint::black_box;

use criterion::Criterion;
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use k256::ecdsa::{Signature, SigningKey};
use milepost_wire::{
    Cell, ChainId, Heading, Measure, Observation, Place, Report, SecretKey, Sequence, Signed, Speed,
    Timestamp, Verified,
};

/// Measures one raw signature verification: figures of different machines are compared as multiples of it.
pub(crate) fn yardstick(criterion: &mut Criterion) {
    let key = SigningKey::from_slice(&[7; 32]).expect("a scalar");
    let (signature, _) = key.sign_prehash_recoverable(&[9; 32]);
    let signature: Signature = signature;
    criterion.bench_function("k256::verify_prehash", |bencher| {
        bencher.iter(|| {
            key.verifying_key()
                .verify_prehash(black_box(&[9; 32]), &signature)
                .expect("verifies")
        });
    });
}

/// A vehicle's report of so many observations of 10 m/s, on a road at this latitude.
pub(crate) fn report(
    chain: &ChainId,
    vehicle: &SecretKey,
    sequence: u64,
    sent_at: Timestamp,
    (latitude, observations): (f64, usize),
) -> Verified<Report> {
    let place = Place::from_degrees(latitude, 8.8).expect("on the globe");
    let heading = Heading::from_degrees(0.0);
    let observation = Observation {
        cell: Cell::at(place, heading),
        place,
        heading,
        age_ms: 0,
        measure: Measure::Speed(Speed::from_cm_per_s(1_000).expect("slow enough")),
    };
    let report = Report {
        version: Report::VERSION,
        vehicle: vehicle.key_id(),
        sequence: Sequence(sequence),
        sent_at,
        observations: vec![observation; observations],
    };
    Signed::sign(report, chain, vehicle)
}
