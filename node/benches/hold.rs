//! What does it cost to hold a batch so that it may be acknowledged, where each is synced, where one sync serves four, and
//! where none is?

mod common;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use milepost_node::VerifiedBatch;
use milepost_node::store::{Rocks, Store, Write};
use milepost_wire::{ChainId, Hash, Height, SecretKey, Timestamp};

use common::{report, yardstick};

/// Units that batch at one moment.
const UNITS: u64 = 4;

fn hold(criterion: &mut Criterion) {
    let chain = ChainId::new("bench").expect("an id");
    let (author, vehicle) = (
        SecretKey::from_seed("bench author", 0),
        SecretKey::from_seed("bench vehicle", 0),
    );
    let sent_at = Timestamp::from_millis(700_000_000_000);
    let reports: Vec<_> = (0..50)
        .map(|sequence| report(&chain, &vehicle, sequence, sent_at, (44.3, 2)))
        .collect();
    let batch = VerifiedBatch::own(&author, &chain, 0, Height::ZERO, sent_at, reports);

    yardstick(criterion);

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
