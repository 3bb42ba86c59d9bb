//! `milepost-rsu testnet`: a consortium to try out.

use std::path::PathBuf;

use clap::Args;
use milepost_rsu::clock;
use milepost_rsu::testnet::{self, Plan};
use milepost_wire::ChainId;

use super::Outcome;

#[derive(Args)]
pub(crate) struct Testnet {
    /// How many members vote.
    #[arg(long, default_value_t = 4)]
    members: usize,
    /// How many vehicles are enrolled.
    #[arg(long, default_value_t = 10)]
    vehicles: usize,
    /// The folder to make.
    #[arg(long)]
    out: PathBuf,
    /// Member i has its API on this port plus 2i, and zenoh on the port above that.
    #[arg(long, default_value_t = 7600)]
    base_port: u16,
    /// The chain's name: 1 to 32 of a-z, 0-9 and -. By default, testnet- and the time.
    #[arg(long)]
    chain: Option<ChainId>,
    /// Keys that anyone can derive, the same each time. By default, random ones.
    #[arg(long)]
    seed: Option<u64>,
    /// Sets a number of the rules (params.slot_ms=10000) or a setting of every member
    /// (config.node.block_interval_ms=250). May be given many times.
    #[arg(long = "config-override", value_name = "K=V")]
    overrides: Vec<String>,
    /// Writes into a folder that is not empty.
    #[arg(long)]
    force: bool,
    /// Mutual TLS on every link, under an authority that is made for it; vehicles use OUT/vehicles/tls.
    #[arg(long)]
    tls: bool,
}

impl Testnet {
    pub(crate) fn execute(self) -> Outcome {
        let Self {
            members,
            vehicles,
            out,
            base_port,
            chain,
            seed,
            overrides,
            force,
            tls,
        } = self;
        let plan = Plan {
            members,
            vehicles,
            out,
            base_port,
            chain,
            seed,
            overrides,
            force,
            tls,
        };
        let homes = testnet::make(&plan, clock::wall())?;
        println!(
            "{members} members and {vehicles} vehicles in {}",
            plan.out.display()
        );
        for home in homes {
            println!("milepost-rsu run --home {}", home.folder().display());
        }
        Ok(true)
    }
}
