//! See, tell, earn: the agent and wallet of one vehicle.
//!
//! A vehicle stays light: no database engine, no consensus. It signs what it sees, keeps it until the ledger has dealt
//! with it, and believes nothing that carries no proof.
//!
//! | question | module |
//! |---|---|
//! | what does a vehicle do next | [`vehicle`], with [`bundle`] and [`outbox`] |
//! | what must it not forget | [`journal`], [`key_file`], [`trusted`]; files by `durable` |
//! | which blocks were agreed on | [`heads`], with [`milepost_wire::light`] |
//! | what does the ledger say | [`light`], [`explain`] |
//! | how does it spend | [`wallet`] |
//! | how long does it take | [`finality`] |
//! | where do observations come from | [`source`], [`replay`] |
//! | how does all that meet the world | [`config`], [`clock`], [`net`], [`ask`], [`run`] |

pub mod ask;
pub mod bundle;
pub mod clock;
pub mod config;
mod durable;
pub mod explain;
pub mod finality;
pub mod heads;
pub mod journal;
pub mod key_file;
pub mod light;
pub mod net;
pub mod outbox;
pub mod replay;
pub mod run;
pub mod source;
pub mod trusted;
pub mod vehicle;
pub mod wallet;

#[cfg(test)]
mod testing;

pub use config::Config;
pub use light::LightClient;
pub use vehicle::{Vehicle, VehicleConfig};
