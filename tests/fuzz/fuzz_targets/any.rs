//! Gives libFuzzer's bytes to the target that `MILEPOST_FUZZ_TARGET` names, or else to the one that the first byte
//! chooses.
#![no_main]

#[path = "../targets.rs"]
mod targets;

use libfuzzer_sys::fuzz_target;
use targets::TARGETS;

fuzz_target!(|bytes: &[u8]| {
    match std::env::var("MILEPOST_FUZZ_TARGET") {
        Ok(name) => {
            let target = TARGETS.iter().find(|target| target.name == name);
            (target.expect("it is one of targets.rs").read)(bytes);
        }
        Err(_) => {
            if let Some((first, rest)) = bytes.split_first() {
                (TARGETS[usize::from(*first) % TARGETS.len()].read)(rest);
            }
        }
    }
});
