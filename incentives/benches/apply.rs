//! What does it cost to execute a block of 1,000 reports of ten observations, next to verifying their
//! signatures?

mod town;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use milepost_incentives::State;
use town::Town;

fn apply(criterion: &mut Criterion) {
    let town = Town::new(1_000);
    let mut state = State::genesis(&town.genesis);
    state.seal();
    let reports = town.reports(10_000, 10);

    let point = town.keys[0].public().verifying_key().expect("a point");
    let signed = reports[0].signed();
    criterion.bench_function("incentives::verify/reports=1", |bencher| {
        bencher.iter(|| black_box(signed.clone().verify(&town.genesis.chain, &point)).is_ok());
    });
    criterion.bench_function("incentives::apply/reports=1000", |bencher| {
        bencher.iter_batched_ref(
            || state.fork(),
            |fork| black_box(town.block(fork, 10_200, &reports)),
            BatchSize::LargeInput,
        );
    });

    let mut heard = state.fork();
    town.block(&mut heard, 10_200, &reports);
    criterion.bench_function("incentives::open_root/sightings=10000", |bencher| {
        bencher.iter(|| black_box(heard.open_root()));
    });
    criterion.bench_function("incentives::check/vehicles=1000", |bencher| {
        bencher.iter(|| black_box(heard.check()));
    });
    heard.seal();
    criterion.bench_function("incentives::settle/sightings=10000", |bencher| {
        bencher.iter_batched_ref(
            || heard.fork(),
            |fork| black_box(town.block(fork, 400_000, &[])),
            BatchSize::LargeInput,
        );
    });
}

criterion_group!(benches, apply);
criterion_main!(benches);
