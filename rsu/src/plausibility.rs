//! Can what a vehicle says be true?
//!
//! Two answers. [`report`] looks at one report and at where its sender was: what cannot be is refused at once.
//! [`judge`] looks at claims as they come, from many vehicles at once, and says which are not to be believed,
//! why, and which vehicles stand accused. One judge serves the live road and labelled recordings
//! (`milepost-sim detect`) alike. It is a pure state machine: no clock, no chance, bounded memory.
//!
//! | question | module |
//! |---|---|
//! | what does a vehicle say | [`claim`] |
//! | what can be wrong with it, and by which class of ETSI TS 103 759 | [`check`] |
//! | where is that, in metres | [`Plane`] |
//! | what is possible | [`bounds`] |
//! | does it move as it says | `motion` |
//! | is it where it says, or beside it | `lever` |
//! | did another say the same before | `echo` |
//! | do vehicles appear out of nowhere | `crowd` |
//! | do two bodies share one place | `presence` |
//! | is there a road | `road` |
//! | how much speaks against a vehicle | `standing` |
//! | all of it together | [`judge`] |
//!
//! Not covered: a vehicle that lies about what only it can see. That is for the ledger's scores.
//!
//! Source: docs/adr/0009-plausibility.md.

pub mod bounds;
pub mod check;
pub mod claim;
mod crowd;
mod echo;
pub mod judge;
mod lever;
mod motion;
mod plane;
mod presence;
pub mod report;
mod road;
mod standing;

pub use bounds::Bounds;
pub use check::{Check, Checks};
pub use claim::Claim;
pub use judge::{Judge, Verdict};
pub use plane::Plane;
pub use report::{Implausible, Limits, Trace, check};
