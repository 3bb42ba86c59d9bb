//! Does a unit get into a chain of 20,000 blocks by its newest snapshot, and end on the same state?
//!
//! The chain is made beforehand, with real signatures, and put into the homes of four members; from there on all is as
//! an operator does it: `run`, `join`, `run`. How long that takes is printed (docs/benchmarks.md) and not asserted.

use std::path::Path;
use std::time::{Duration, Instant};

use milepost_node::keeper::{Keeper, Retention};
use milepost_node::snapshots::Snapshots;
use milepost_node::store::{Rocks, Store};
use milepost_rsu::clock;
use milepost_rsu::home::Home;
use milepost_tests::{Chain, Consortium, Plan, verify};
use milepost_wire::SecretKey;

/// Blocks that the chain has before anybody joins.
const BLOCKS: u64 = 20_000;
/// So long ago it began: half a second a block, and a minute.
const AGE_MS: u64 = BLOCKS * 500 + 60_000;
/// How long some blocks may take on a busy machine.
const BLOCKS_MAX: Duration = Duration::from_secs(60);

#[test]
fn a_fifth_unit_joins_a_chain_of_twenty_thousand_blocks_by_snapshot() {
    let mut consortium = Consortium::make(Plan {
        vehicles: 40,
        ..Plan::default()
    });
    let began = Instant::now();
    fill(&consortium);
    println!("{BLOCKS} blocks made in {:.1} s", began.elapsed().as_secs_f64());
    consortium.start_all();
    consortium.reach(0, BLOCKS + 2, BLOCKS_MAX);

    let began = Instant::now();
    let (fifth, joined) = consortium.join();
    let by_snapshot = began.elapsed();
    assert!(
        joined["height"].as_u64() >= Some(BLOCKS),
        "no snapshot was taken: {joined}"
    );
    consortium.start(fifth);
    let tip = consortium.height(0).expect("member 0 answers");
    consortium.reach(fifth, tip, BLOCKS_MAX);
    println!(
        "snapshot of block {} ({} bytes) taken in {:.1} s, the tip reached after {:.1} s",
        joined["height"],
        joined["bytes"],
        by_snapshot.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    assert!(consortium.agree(consortium.all()) > BLOCKS);
    consortium.stop_all();
    let report = verify(consortium.home(fifth)).ended_with(0).json();
    assert_eq!(
        (&report["ok"], &report["from_height"]),
        (&true.into(), &joined["height"])
    );
}

/// Makes the chain in the first member's home, and copies it into the others'.
fn fill(consortium: &Consortium) {
    let homes: Vec<Home> = consortium
        .all()
        .map(|nth| Home::new(consortium.home(nth)))
        .collect();
    let mut genesis = homes[0].genesis().expect("testnet wrote it");
    genesis.time = clock::wall().minus(AGE_MS);
    let keys: Vec<SecretKey> = homes
        .iter()
        .map(|home| home.key().expect("testnet wrote it"))
        .collect();
    for (home, key) in homes.iter().zip(&keys) {
        let config = home.config().expect("testnet wrote it");
        home.write(&config, key, &genesis).expect("it can be written");
    }
    let vehicles = (0..40).map(|nth| consortium.vehicle(nth).secret()).collect();
    let first = &homes[0];
    let mut store = Rocks::open(&first.store()).expect("opens");
    store.load(genesis.hash()).expect("an empty store");
    let snapshots = Snapshots::open(&first.snapshots()).expect("a folder");
    let keeper = Keeper::new(store.clone(), snapshots, Retention::default());
    Chain::of(genesis, keys, vehicles).grow(&mut store, Some(&keeper), BLOCKS);
    drop((keeper, store));
    for other in &homes[1..] {
        copy(&first.store(), &other.store());
        copy(&first.snapshots(), &other.snapshots());
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the folder can be made");
    for entry in std::fs::read_dir(from).expect("it is a folder") {
        let path = entry.expect("it can be listed").path();
        let copied = to.join(path.file_name().expect("it has a name"));
        if path.is_dir() {
            copy(&path, &copied);
        } else {
            std::fs::copy(&path, &copied).expect("it can be copied");
        }
    }
}
