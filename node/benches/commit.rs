//! What does it cost to commit a block of a thousand reports to RocksDB, durably?

mod common;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use milepost_incentives::{Genesis, Params};
use milepost_node::VerifiedBatch;
use milepost_node::ledger::{Contents, Ledger};
use milepost_node::store::{Commit, Rocks, Store};
use milepost_wire::transaction::{Enrolment, Role};
use milepost_wire::{Certificate, ChainId, Height, Member, Members, SecretKey, Timestamp};

use common::{report, yardstick};

fn commit(criterion: &mut Criterion) {
    let chain = ChainId::new("bench").expect("an id");
    let time = Timestamp::from_millis(700_000_000_000);
    let member = SecretKey::from_seed("bench member", 0);
    let vehicles: Vec<_> = (0..1_000)
        .map(|index| SecretKey::from_seed("bench vehicle", index))
        .collect();
    let genesis = Genesis {
        chain: chain.clone(),
        time,
        members: Members::new(vec![Member {
            key: member.public(),
            provider: "bench".into(),
            power: 1,
        }])
        .expect("members"),
        access: milepost_wire::Access::default(),
        params: Params::default(),
        vehicles: vehicles
            .iter()
            .zip(0..)
            .map(|(key, group)| Enrolment {
                key: key.public(),
                group,
                role: Role::Vehicle,
            })
            .collect(),
    };
    let now = time.plus(10_000);
    let reports: Vec<_> = vehicles
        .iter()
        .zip(0u32..)
        .map(|(vehicle, index)| {
            let latitude = 44.3 + f64::from(index % 40) * 0.001;
            report(&chain, vehicle, 1, now, (latitude, 10))
        })
        .collect();
    let batches: Vec<_> = reports
        .chunks(250)
        .zip(0..)
        .map(|(reports, sequence)| {
            VerifiedBatch::own(&member, &chain, sequence, Height::ZERO, now, reports.to_vec()).into()
        })
        .collect();
    let contents = Contents {
        transactions: Vec::new(),
        batches,
    };
    let ledger = Ledger::genesis(&genesis);
    let (block, executed) = ledger.build(member.address(), now, &contents).expect("builds");
    let certificate = Certificate {
        height: block.header.height,
        round: 0,
        block: block.hash(),
        signatures: Vec::new(),
    };

    yardstick(criterion);
    criterion.bench_function("node::build_block/reports=1000", |bencher| {
        bencher.iter(|| ledger.build(member.address(), now, &contents).expect("builds"));
    });
    let folder = tempfile::tempdir().expect("a folder");
    let mut count = 0;
    let signed: Vec<_> = contents.batches.iter().map(|batch| batch.signed()).collect();
    criterion.bench_function("node::commit/reports=1000", |bencher| {
        bencher.iter_batched(
            || {
                count += 1;
                let mut store = Rocks::open(&folder.path().join(count.to_string())).expect("opens");
                store.load(genesis.hash()).expect("loads");
                store
            },
            |mut store| {
                let commit = Commit {
                    block: &block,
                    certificate: &certificate,
                    batches: &signed,
                    outputs: &executed.outputs,
                    tree: &executed.tree_changes,
                    open: &executed.open_changes,
                    members: None,
                };
                store.commit(&commit).expect("commits");
                store
            },
            BatchSize::PerIteration,
        );
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = commit
}
criterion_main!(benches);
