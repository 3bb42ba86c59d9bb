//! Is forgotten what shall be, and kept what was promised?

use milepost_node::audit::audit;
use milepost_node::keeper::{Keeper, Retention};
use milepost_node::snapshots::Snapshots;
use milepost_node::store::{Rocks, Store, Write};
use milepost_node::view::prove_outputs;
use milepost_tests::Chain;
use milepost_wire::{Hash, Height};

/// A store with its snapshots, grown under a retention.
struct Kept {
    store: Rocks,
    snapshots: Snapshots,
    keeper: Keeper,
    chain: Chain,
    folder: tempfile::TempDir,
}

fn kept(retention: Retention) -> Kept {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = Chain::new(4, 40);
    let mut store = Rocks::open(&folder.path().join("store")).expect("opens");
    store.load(chain.genesis.hash()).expect("an empty store");
    let snapshots = Snapshots::open(&folder.path().join("snapshots")).expect("a folder");
    Kept {
        keeper: Keeper::new(store.clone(), snapshots.clone(), retention),
        store,
        snapshots,
        chain,
        folder,
    }
}

impl Kept {
    fn grow(&mut self, blocks: u64) {
        self.chain.grow(&mut self.store, Some(&self.keeper), blocks);
    }

    fn batches(&self) -> usize {
        self.store
            .batches()
            .inspect(|batch| assert!(batch.is_ok(), "{batch:?}"))
            .count()
    }
}

fn by_blocks(blocks: u64) -> Retention {
    Retention {
        snapshot_blocks: 20,
        reports_blocks: blocks,
        undecided_blocks: 30,
        ..Retention::default()
    }
}

#[test]
fn reports_are_forgotten_and_the_rest_can_still_be_audited_and_proved() {
    let mut kept = kept(by_blocks(80));
    kept.grow(403);
    let pruned = kept.store.pruned().expect("reads");
    assert!((Height(323)..Height(403)).contains(&pruned), "{pruned}");
    assert_eq!(kept.store.block(Height(100)).expect("reads"), None);
    assert!(kept.store.head(Height(100)).expect("reads").is_some());
    assert!(kept.store.block(Height(403)).expect("reads").is_some());
    // One batch in ten blocks.
    assert!(kept.batches() <= 8, "{} batches are left", kept.batches());
    let heights = kept.snapshots.heights().expect("reads");
    assert!(
        heights.len() <= 12 && heights[0] >= pruned,
        "pruned to {pruned}: {heights:?}"
    );

    let report = audit(&kept.chain.genesis, &kept.store, Some(&kept.snapshots), |_| {});
    assert!(report.ok, "{:?}", report.errors);
    assert!(report.from_height >= pruned, "{report:?}");
    assert_eq!((report.headers, report.height), (Height(403), Height(403)));

    // What a pruned block put out is kept for longer, and proved by its header alone.
    let (height, outputs) = (1..300)
        .map(Height)
        .map(|height| (height, kept.store.outputs(height).expect("reads").expect("kept")))
        .find(|(_, outputs)| !outputs.is_empty())
        .expect("something was put out");
    let proofs = prove_outputs(&kept.store, &[(height, 0)]).expect("reads");
    assert_eq!(proofs[0].outputs[0].0, outputs[0]);
    let members = &kept.chain.genesis.members;
    proofs[0]
        .verify(&kept.chain.genesis.chain, members)
        .expect("a pruned block's output is proved");
}

#[test]
fn a_pruned_store_without_its_snapshots_is_no_longer_right() {
    let mut kept = kept(by_blocks(80));
    kept.grow(203);
    std::fs::remove_dir_all(kept.folder.path().join("snapshots")).expect("it can be removed");
    let snapshots = Snapshots::open(&kept.folder.path().join("snapshots")).expect("a folder");
    let report = audit(&kept.chain.genesis, &kept.store, Some(&snapshots), |_| {});
    assert!(
        !report.ok && report.errors[0].contains("no snapshot"),
        "{report:?}"
    );
}

#[test]
fn a_damaged_snapshot_is_found() {
    let mut kept = kept(by_blocks(80));
    kept.grow(203);
    for height in kept.snapshots.heights().expect("reads") {
        let path = kept
            .folder
            .path()
            .join(format!("snapshots/{:012}/000000.chunk", height.0));
        let good = std::fs::read(&path).expect("reads");
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        std::fs::write(&path, &bad).expect("writes");
        let report = audit(&kept.chain.genesis, &kept.store, Some(&kept.snapshots), |_| {});
        assert!(!report.ok, "snapshot {height} is damaged: {report:?}");
        std::fs::write(&path, &good).expect("writes");
    }
    let report = audit(&kept.chain.genesis, &kept.store, Some(&kept.snapshots), |_| {});
    assert!(report.ok, "{:?}", report.errors);
}

#[test]
fn by_default_nothing_is_forgotten_for_weeks() {
    let mut kept = kept(Retention {
        snapshot_blocks: 20,
        ..Retention::default()
    });
    kept.grow(150);
    assert_eq!(kept.store.pruned().expect("reads"), Height::ZERO);
    let report = audit(&kept.chain.genesis, &kept.store, Some(&kept.snapshots), |_| {});
    assert!(report.ok, "{:?}", report.errors);
    assert_eq!(report.from_height, Height::ZERO);
    // The first, which pruning may start from, and the newest.
    assert_eq!(
        kept.snapshots.heights().expect("reads"),
        [Height(20), Height(120), Height(140)]
    );
}

#[test]
fn a_batch_that_no_block_names_is_forgotten_and_one_that_is_named_again_stays() {
    let mut kept = kept(by_blocks(0));
    // The third batch of a chain with one vehicle more is as good as one that never gets into a block.
    let mut elsewhere = Chain::new(4, 41);
    let mut batches = Vec::new();
    while batches.len() < 3 {
        let made = elsewhere.make();
        elsewhere.advance(&made);
        batches.extend(made.batches);
    }
    let lost = &batches[2];
    kept.grow(5);
    let write = Write::Batch(lost.digest(), lost.signed().clone());
    kept.store.write(&[write], true).expect("writes");
    kept.grow(29);
    assert!(kept.store.batch(&lost.digest()).expect("reads").is_some());
    kept.grow(3);
    assert!(kept.store.batch(&lost.digest()).expect("reads").is_none());

    let named: Vec<Hash> = (1..=37)
        .filter_map(|height| kept.store.block(Height(height)).expect("reads"))
        .flat_map(|(block, _)| block.body.batches)
        .map(|named| named.digest)
        .collect();
    assert!(named.len() >= 3);
    assert!(
        named
            .iter()
            .all(|digest| kept.store.batch(digest).expect("reads").is_some())
    );
    // The block that names the first of them again keeps it.
    kept.chain.name_again(named[0], &kept.store);
    kept.grow(1);
    kept.store.prune_bodies(Height(20), 100).expect("prunes");
    assert!(kept.store.batch(&named[0]).expect("reads").is_some());
    assert!(kept.store.batch(&named[1]).expect("reads").is_none());
}
