//! What does it cost to verify a batch of reports on all cores, against one raw signature verification?

mod common;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use milepost_node::VerifiedBatch;
use milepost_wire::{ChainId, Height, SecretKey, Timestamp};

use common::{report, yardstick};

fn batch(criterion: &mut Criterion) {
    let chain = ChainId::new("bench").expect("an id");
    let author = SecretKey::from_seed("bench author", 0);
    let vehicle = SecretKey::from_seed("bench vehicle", 0);
    let sent_at = Timestamp::from_millis(700_000_000_000);
    let reports: Vec<_> = (0..256)
        .map(|sequence| report(&chain, &vehicle, sequence, sent_at, (44.3, 10)))
        .collect();
    let signed = VerifiedBatch::own(&author, &chain, 0, Height::ZERO, sent_at, reports)
        .signed()
        .clone();
    let author_point = author.public().verifying_key().expect("a point");
    let point = vehicle.public().verifying_key().expect("a point");

    yardstick(criterion);

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
