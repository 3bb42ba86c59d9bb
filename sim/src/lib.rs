//! A town from a seed: traffic, adversaries, faults, and the demo.
//!
//! Two shells around the cores that the real binaries run. [`town`] carries vehicles, roadside units and ledger
//! nodes through virtual time, on one thread and in one order, so that a scenario and a seed give the same bytes
//! on every machine. [`demo`] starts real members on loopback and plays the same drivers in real time.
//!
//! | question | module |
//! |---|---|
//! | what is to be played | [`scenario`] |
//! | where does chance come from | [`rng`] |
//! | what goes on on the roads | [`world`] |
//! | who is on them, and with what does a run begin | [`crew`], [`founding`] |
//! | what do vehicles say of it, and what do they know | [`behaviour`], [`beside`], [`driver`], [`known`] |
//! | what goes wrong, who at the roadside does not mean well, and which rule is broken on purpose | [`fault`], [`insider`], [`control`] |
//! | what do members make of it | [`town`] |
//! | what came of it | [`figures`], and for CI servers [`junit`] |
//! | are the roadside's plausibility checks right | [`detect`] |
//! | and what of claims from elsewhere | [`truth`] |
//! | what does an attack get out of the rules | [`attacks`] |
//! | and of many towns, with all faults at once | [`sweep`] |
//! | how far is it | [`progress`] |
//! | and with real processes | [`demo`], [`play`], [`player`] |

pub mod attacks;
pub mod behaviour;
pub mod beside;
pub mod control;
pub mod crew;
pub mod demo;
pub mod detect;
pub mod driver;
pub mod fault;
pub mod figures;
pub mod founding;
pub mod insider;
pub mod junit;
pub mod known;
pub mod play;
pub mod player;
pub mod progress;
pub mod rng;
pub mod scenario;
pub mod sweep;
pub mod town;
pub mod truth;
pub mod world;
