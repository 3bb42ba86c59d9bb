//! How does a test set the clock of one process wrong?
//!
//! Linux has namespaces for the monotonic clock, not for the time of day. So a few lines of C (`skew.c`) stand before the C
//! library's `clock_gettime` in the process under test, which is the program as it is shipped and knows nothing of it.

use std::path::Path;
use std::process::Command;

/// What makes a clock run `seconds` ahead, or behind: variables of the process's environment. The library is made in
/// `folder`.
///
/// # Panics
///
/// Where there is no C compiler: the project does not build without one.
pub fn skewed(folder: &Path, seconds: i64) -> Vec<(String, String)> {
    let library = folder.join("skew.so");
    if !library.exists() {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/skew.c");
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(source)
            .status();
        assert!(
            made.is_ok_and(|status| status.success()),
            "cc does not compile {source}"
        );
    }
    vec![
        ("LD_PRELOAD".into(), library.display().to_string()),
        ("MILEPOST_TEST_SKEW_S".into(), seconds.to_string()),
    ]
}
