//! What does one report cost, from sensing to verdict? The raw curve operation is measured in the same run, as
//! the yardstick that makes machines comparable.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use milepost_wire::signed::signing_digest;
use milepost_wire::{
    Cell, ChainId, Heading, Measure, Observation, Place, Report, SecretKey, Sequence, Signed, SignedReport,
    Speed, Timestamp, decode, encode,
};

fn observation(index: u16) -> Observation {
    let place = Place::from_degrees(44.494 + f64::from(index) * 1e-4, 11.343).expect("on the globe");
    let heading = Heading::from_degrees(90.0);
    Observation {
        cell: Cell::at(place, heading),
        place,
        heading,
        age_ms: 1_000 * index,
        measure: Measure::Speed(Speed::from_cm_per_s(1_389).expect("a speed")),
    }
}

fn report(key: &SecretKey) -> Report {
    Report {
        version: Report::VERSION,
        vehicle: key.key_id(),
        sequence: Sequence(7),
        sent_at: Timestamp::from_millis(700_000_000_000),
        observations: (0..10).map(observation).collect(),
    }
}

fn operations(criterion: &mut Criterion) {
    let (key, chain) = (
        SecretKey::from_seed("bench", 1),
        ChainId::new("bench").expect("an id"),
    );
    let point = key.public().verifying_key().expect("a point");
    let verified = Signed::sign(report(&key), &chain, &key);
    let bytes = encode(verified.signed());

    criterion.bench_function("wire::encode/observations=10", |bencher| {
        bencher.iter(|| encode(black_box(verified.signed())));
    });
    criterion.bench_function("wire::decode/observations=10", |bencher| {
        bencher.iter(|| decode::<SignedReport>(black_box(&bytes)).expect("a report"));
    });
    // The same without the check that it re-encodes to the same bytes.
    criterion.bench_function("wincode::deserialize_exact/observations=10", |bencher| {
        bencher.iter(|| wincode::deserialize_exact::<SignedReport>(black_box(&bytes)).expect("a report"));
    });
    criterion.bench_function("wire::signing_digest/observations=10", |bencher| {
        bencher.iter(|| signing_digest(&chain, black_box(&verified.signed().message)));
    });
    criterion.bench_function("wire::sign/observations=10", |bencher| {
        bencher.iter_batched(
            || report(&key),
            |report| Signed::sign(report, &chain, &key),
            criterion::BatchSize::SmallInput,
        );
    });
    criterion.bench_function("wire::verify/observations=10", |bencher| {
        bencher.iter_batched(
            || verified.signed().clone(),
            |signed| signed.verify(&chain, &point).expect("valid"),
            criterion::BatchSize::SmallInput,
        );
    });

    let mut raw = verified.signed().signature.0;
    raw[32] &= 0x7f;
    let raw = k256::ecdsa::Signature::from_slice(&raw).expect("a signature");
    criterion.bench_function("k256::verify_prehash", |bencher| {
        bencher.iter(|| {
            point
                .verify_prehash(&verified.digest().0, black_box(&raw))
                .expect("valid")
        });
    });

    let (place, heading) = (observation(0).place, observation(0).heading);
    criterion.bench_function("wire::cell_at", |bencher| {
        bencher.iter(|| Cell::at(black_box(place), black_box(heading)));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = operations
}
criterion_main!(benches);
