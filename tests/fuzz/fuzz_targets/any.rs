//! Gives libFuzzer's bytes to the target that `MILEPOST_FUZZ_TARGET` names.
//!
//! Before the first, writes what the target takes into the folder `MILEPOST_FUZZ_SEEDS`, from which mutations can begin.
#![no_main]

#[path = "../targets.rs"]
mod targets;

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use targets::{TARGETS, Target, unhex};

fn target() -> &'static Target {
    static TARGET: OnceLock<&Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let name = std::env::var("MILEPOST_FUZZ_TARGET").unwrap_or_default();
        let found = TARGETS.iter().find(|target| target.name == name);
        found.unwrap_or_else(|| {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            panic!("MILEPOST_FUZZ_TARGET is {name:?}, expected one of {names:?}")
        })
    })
}

fn write_seeds() {
    let Some(folder) = std::env::var_os("MILEPOST_FUZZ_SEEDS").map(PathBuf::from) else {
        return;
    };
    std::fs::create_dir_all(&folder).expect("MILEPOST_FUZZ_SEEDS can be written");
    for (nth, seed) in target().seeds.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{nth}")), unhex(seed)).expect("it can be written");
    }
}

fuzz_target!(init: write_seeds(), |bytes: &[u8]| (target().read)(bytes));
