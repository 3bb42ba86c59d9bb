//! Hear the road, judge it, serve it: a ledger member with an ear and an API.
//!
//! The core, [`unit::Unit`], is a pure state machine beside the ledger node: `handle(now, input) -> outputs`.
//! [`run`] carries it over zenoh in real time; the simulator carries it in virtual time.
//!
//! | question | module |
//! |---|---|
//! | which bytes are a report that counts | [`ear`], [`rate`], [`plausibility`] |
//! | who passes it on, and when | [`handoff`], [`batcher`] |
//! | what is the road like | [`live`], [`picture`], [`level`] |
//! | what became of a report | [`receipts`], [`finality`] |
//! | what is told to whoever asks | [`served`], [`api`], [`queries`] |
//! | who is at the other end of a link, and may do what | [`certificates`], `link` |
//! | how does a unit begin, and run | [`config`], [`home`], [`testnet`], [`founding`], [`joining`], [`run`], [`status`] |
//! | how does an operator ask it, and have something done on the ledger | [`client`], [`submit`] |
//! | how is its ledger saved and brought back | [`backup`], [`control`] |

pub mod api;
pub mod backup;
pub mod batcher;
pub mod certificates;
pub mod client;
pub mod clock;
pub mod config;
pub mod control;
pub mod ear;
pub mod finality;
pub mod founding;
pub mod handoff;
pub mod home;
pub mod joining;
pub mod level;
pub mod live;
pub mod picture;
pub mod plausibility;
pub mod queries;
pub mod rate;
pub mod receipts;
pub mod rfc3339;
pub mod run;
pub mod served;
pub mod slots;
pub mod status;
pub mod submit;
pub mod testnet;
pub mod unit;

mod link;

#[cfg(test)]
mod samples;
