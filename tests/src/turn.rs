//! Whose turn is it to load the machine?
//!
//! A file lock in the temporary folder: it holds between the threads of one test program as between programs,
//! and ends with whoever holds it, however that one ends.

use std::fs::File;

/// The right to run a consortium; given back when dropped.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "the lock lives as long as the open file")] File);

impl Turn {
    /// Waits for it.
    pub fn wait() -> Self {
        let path = std::env::temp_dir().join("milepost-tests.lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
        file.lock()
            .unwrap_or_else(|error| panic!("cannot lock {}: {error}", path.display()));
        Self(file)
    }
}
