//! What does it cost to hold a batch so that it may be acknowledged, where each is synced, where one sync serves four, and
//! where none is?

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use k256::ecdsa::SigningKey;
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use milepost_node::VerifiedBatch;
use milepost_node::store::{Rocks, Store, Write};
use milepost_wire::{
    Cell, ChainId, Hash, Heading, Height, Measure, Observation, Place, Report, SecretKey, Sequence, Signed,
    Speed, Timestamp,
};

/// Units that batch at one moment.
const UNITS: u64 = 4;

fn hold(criterion: &mut Criterion) {
    let chain = ChainId::new("bench").expect("an id");
    let (author, vehicle) = (
        SecretKey::from_seed("bench author", 0),
        SecretKey::from_seed("bench vehicle", 0),
    );
    let place = Place::from_degrees(44.3, 8.8).expect("on the globe");
    let heading = Heading::from_degrees(0.0);
    let observation = Observation {
        cell: Cell::at(place, heading),
        place,
        heading,
        age_ms: 0,
        measure: Measure::Speed(Speed::from_cm_per_s(1_000).expect("slow enough")),
    };
    let sent_at = Timestamp::from_millis(700_000_000_000);
    let reports: Vec<_> = (0..50)
        .map(|sequence| {
            let report = Report {
                version: Report::VERSION,
                vehicle: vehicle.key_id(),
                sequence: Sequence(sequence),
                sent_at,
                observations: vec![observation; 2],
            };
            Signed::sign(report, &chain, &vehicle)
        })
        .collect();
    let batch = VerifiedBatch::own(&author, &chain, 0, Height::ZERO, sent_at, reports);

    let key = SigningKey::from_slice(&[7; 32]).expect("a scalar");
    let (signature, _) = key.sign_prehash_recoverable(&[9; 32]);
    let signature: k256::ecdsa::Signature = signature;
    criterion.bench_function("k256::verify_prehash", |bencher| {
        bencher.iter(|| {
            key.verifying_key()
                .verify_prehash(&[9; 32], &signature)
                .expect("verifies")
        });
    });

    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Rocks::open(folder.path()).expect("opens");
    store.load(Hash::ZERO).expect("loads");
    let mut count = 0u64;
    let mut group = criterion.benchmark_group("node::hold_batch");
    group.throughput(Throughput::Elements(UNITS));
    for (name, sync_every) in [("none", u64::MAX), ("each", 1), ("of_4", UNITS)] {
        group.bench_function(format!("sync={name}"), |bencher| {
            bencher.iter(|| {
                for nth in 1..=UNITS {
                    count += 1;
                    let digest = Hash::of("bench", &[&count.to_le_bytes()]);
                    let write = Write::Batch(digest, batch.signed().clone());
                    store.write(&[write], false).expect("writes");
                    if nth % sync_every == 0 {
                        store.write(&[], true).expect("syncs");
                    }
                }
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = hold
}
criterion_main!(benches);
