//! What does it cost to close an epoch in which 10,000 vehicles reported, next to verifying one signature?

mod town;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use milepost_incentives::State;
use town::Town;

fn close_epoch(criterion: &mut Criterion) {
    let town = Town::new(10_000);
    let mut state = State::genesis(&town.genesis);
    state.seal();
    let reports = town.reports(10_000, 1);
    let point = town.keys[0].public().verifying_key().expect("a point");
    let signed = reports[0].signed();
    criterion.bench_function("incentives::verify/reports=1", |bencher| {
        bencher.iter(|| black_box(signed.clone().verify(&town.genesis.chain, &point)).is_ok());
    });

    town.block(&mut state, 10_200, &reports);
    // The slot is settled, the epoch still open.
    town.block(&mut state, 400_000, &[]);
    state.seal();
    let mut group = criterion.benchmark_group("incentives::close_epoch");
    group.sample_size(20);
    group.bench_function("vehicles=10000", |bencher| {
        bencher.iter_batched_ref(
            || state.fork(),
            |fork| black_box(town.block(fork, 4_500_000, &[])),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, close_epoch);
criterion_main!(benches);
