//! The real binaries: crashed, partitioned and attacked.
//!
//! This is the harness; the tests stand in `tests/tests/`, one concept a file. A [`Consortium`] is a testnet of
//! `milepost-rsu` processes on loopback, a [`Vehicle`] asks and drives through `milepost-obu`; both are the
//! programs as they are shipped, taken from the folder that the test itself was built into. Nothing here
//! reaches inside them: what a test knows, an operator could know, too. A [`Chain`] is the exception: it makes blocks
//! without a consortium, for tests that need many.
//!
//! A consortium keeps two cores busy, so there is one at a time on a machine: each holds its [`Turn`]. Whoever
//! waits, waits with a limit ([`eventually`]); no test measures how fast anything is, but for the one promise
//! that names a time.

mod chain;
mod consortium;
mod founding;
pub mod namespaces;
mod program;
mod relay;
mod ride;
mod skew;
mod turn;
mod vehicle;
mod wait;

pub use chain::{Chain, Made};
pub use consortium::{Consortium, Plan, micro, now};
pub use program::{Program, Said, end_within, repository, verify};
pub use relay::{Relay, Slow};
pub use ride::{Ride, observation};
pub use skew::skewed;
pub use turn::Turn;
pub use vehicle::{Drive, Source, Vehicle};
pub use wait::{eventually, seen_within};
