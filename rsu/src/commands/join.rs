//! `milepost-rsu join`: a new unit comes into a chain that runs.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use milepost_rsu::{clock, joining};
use milepost_wire::Hash;

use super::{Outcome, bar};

#[derive(Args)]
pub(crate) struct Join {
    /// The folder to make; what it has already of member.key and rsu.toml is kept.
    #[arg(long)]
    home: PathBuf,
    /// The chain's genesis.json. Without it a peer's is taken, if its hash is the one that --genesis-hash says.
    #[arg(long)]
    genesis: Option<PathBuf>,
    /// The genesis' hash, as a member told it: 64 hexadecimal digits.
    #[arg(long)]
    genesis_hash: Option<Hash>,
    /// The zenoh endpoint of a unit that runs, such as tcp/192.0.2.7:7447. May be given many times.
    #[arg(long = "peer", value_name = "ENDPOINT", required = true)]
    peers: Vec<String>,
    /// A zenoh endpoint to listen on. May be given many times.
    #[arg(long, value_name = "ENDPOINT")]
    listen: Vec<String>,
    /// Where the HTTP API shall listen.
    #[arg(long)]
    api: Option<SocketAddr>,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

impl Join {
    pub(crate) fn execute(self) -> Outcome {
        let plan = joining::Plan {
            home: self.home,
            genesis: self.genesis,
            genesis_hash: self.genesis_hash,
            peers: self.peers,
            listen: self.listen,
            api: self.api,
        };
        join(&plan, self.json)
    }
}

fn join(plan: &joining::Plan, json: bool) -> Outcome {
    // Zenoh needs the multi-thread scheduler.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let _entered = runtime.enter();
    let bar = bar();
    let joined = joining::join(plan, clock::wall(), &mut |progress| {
        use milepost_node::catch_up::Progress;
        let (what, done, all) = match progress {
            Progress::Headers(done, all) => ("header", done.0, all.0),
            Progress::Chunks(done, all) => ("chunk", done as u64, all as u64),
        };
        bar.set_message(what);
        bar.set_length(all);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let (key, home) = (joined.key, plan.home.display());
    let height = joined.caught.as_ref().map(|caught| caught.height);
    if json {
        println!(
            "{}",
            serde_json::json!({
                "chain": joined.genesis.chain,
                "genesis": joined.genesis.hash(),
                "address": key.address(),
                "key": key.public(),
                "height": height.unwrap_or_default(),
                "state_root": joined.caught.as_ref().map(|caught| caught.state_root),
                "bytes": joined.caught.as_ref().map_or(0, |caught| caught.bytes),
                "refused": joined.caught.as_ref().map_or(0, |caught| caught.refused),
            })
        );
    } else {
        println!(
            "chain       {} from genesis {}",
            joined.genesis.chain,
            joined.genesis.hash()
        );
        println!("address     {}", key.address());
        println!("key         {}", key.public());
        match height {
            Some(height) => println!("snapshot    of block {height}, certified from the genesis on"),
            None => println!("snapshot    none is offered: the blocks are fetched when it runs"),
        }
        println!("milepost-rsu run --home {home}");
        if joined.genesis.members.get(&key.address()).is_none() {
            println!(
                "a member may then: milepost-rsu propose add-member --key {} …",
                key.public()
            );
        }
    }
    Ok(true)
}
