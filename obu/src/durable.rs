//! How does a file outlive a power cut?
//!
//! It is written beside itself, synced, and renamed; then its folder is synced.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Puts `bytes` into the place of what is at `path`: after a power cut, there is the one or the other. `beside`, in the
/// same folder, is used on the way. What is returned writes on at the end of what is at `path` now.
pub(crate) fn replace(path: &Path, beside: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::create(beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(beside, path)?;
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(file)
}
