//! What does it cost to verify a batch of reports on all cores, against one raw signature verification?

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use k256::ecdsa::{Signature, SigningKey};
use milepost_node::VerifiedBatch;
use milepost_wire::{
    Cell, ChainId, Heading, Height, Measure, Observation, Place, Report, SecretKey, Sequence, Signed, Speed,
    Timestamp,
};

fn batch(criterion: &mut Criterion) {
    let chain = ChainId::new("bench").expect("an id");
    let author = SecretKey::from_seed("bench author", 0);
    let vehicle = SecretKey::from_seed("bench vehicle", 0);
    let place = Place::from_degrees(44.3, 8.8).expect("on the globe");
    let heading = Heading::from_degrees(0.0);
    let measure = Measure::Speed(Speed::from_cm_per_s(1_000).expect("slow enough"));
    let observation = Observation {
        cell: Cell::at(place, heading),
        place,
        heading,
        age_ms: 0,
        measure,
    };
    let sent_at = Timestamp::from_millis(700_000_000_000);
    let reports: Vec<_> = (0..256)
        .map(|sequence| {
            let report = Report {
                version: Report::VERSION,
                vehicle: vehicle.key_id(),
                sequence: Sequence(sequence),
                sent_at,
                observations: vec![observation; 10],
            };
            Signed::sign(report, &chain, &vehicle)
        })
        .collect();
    let signed = VerifiedBatch::own(&author, &chain, 0, Height::ZERO, sent_at, reports)
        .signed()
        .clone();
    let author_point = author.public().verifying_key().expect("a point");
    let point = vehicle.public().verifying_key().expect("a point");

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

    let mut group = criterion.benchmark_group("node::verify_batch");
    group.throughput(Throughput::Elements(256));
    group.bench_function("reports=256", |bencher| {
        bencher.iter(|| {
            VerifiedBatch::verify(
                signed.clone(),
                Height::ZERO,
                &chain,
                &author_point,
                |_| Some(point),
                |_| None,
            )
            .expect("verifies")
        });
    });
    group.finish();
}

criterion_group!(benches, batch);
criterion_main!(benches);
