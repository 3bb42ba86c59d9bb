//! What does it cost to commit a block of a thousand reports to RocksDB, durably?

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use k256::ecdsa::SigningKey;
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use milepost_incentives::{Genesis, Params};
use milepost_node::VerifiedBatch;
use milepost_node::ledger::{Contents, Ledger};
use milepost_node::store::{Commit, Rocks, Store};
use milepost_wire::transaction::{Enrolment, Role};
use milepost_wire::{
    Cell, Certificate, ChainId, Heading, Height, Measure, Member, Members, Observation, Place, Report,
    SecretKey, Sequence, Signed, Speed, Timestamp,
};

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
    let heading = Heading::from_degrees(0.0);
    let report = |(key, index): (&SecretKey, u32)| {
        let place = Place::from_degrees(44.3 + f64::from(index % 40) * 0.001, 8.8).expect("on the globe");
        let measure = Measure::Speed(Speed::from_cm_per_s(1_000).expect("slow enough"));
        let observation = Observation {
            cell: Cell::at(place, heading),
            place,
            heading,
            age_ms: 0,
            measure,
        };
        let report = Report {
            version: Report::VERSION,
            vehicle: key.key_id(),
            sequence: Sequence(1),
            sent_at: now,
            observations: vec![observation; 10],
        };
        Signed::sign(report, &chain, key)
    };
    let reports: Vec<_> = vehicles.iter().zip(0..).map(report).collect();
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
