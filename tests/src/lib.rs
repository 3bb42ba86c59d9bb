//! The real binaries: crashed, partitioned and attacked
