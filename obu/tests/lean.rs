//! Does a vehicle stay light?
//!
//! What `milepost-obu` links holds no database engine and no consensus.

use std::process::Command;

/// Beginnings of names that have no place on board.
const ABSENT: [&str; 7] = [
    "rocksdb",
    "librocksdb-sys",
    "arc-malachitebft",
    "milepost-node",
    "milepost-rsu",
    "milepost-incentives",
    "milepost-sim",
];

#[test]
fn a_vehicle_links_neither_a_database_nor_consensus() {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "-p",
            "milepost-obu",
            "-e",
            "normal",
            "--offline",
            "--prefix",
            "none",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8_lossy(&tree.stdout);
    assert!(
        tree.lines().any(|line| line.starts_with("zenoh ")),
        "the list is that of the vehicle:\n{tree}"
    );
    for line in tree.lines() {
        assert!(
            !ABSENT.iter().any(|name| line.starts_with(name)),
            "{line} has no place on board"
        );
    }
}
