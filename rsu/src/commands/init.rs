//! `milepost-rsu init` and `genesis`: a consortium of real units.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use milepost_rsu::clock;
use milepost_rsu::founding::{self, Plan};
use milepost_wire::ChainId;
use serde_json::json;

use super::Outcome;
use super::govern::{AccessName, Given};

#[derive(Args)]
pub(crate) struct Init {
    /// The folder to make. A member.key that is there is kept.
    #[arg(long)]
    home: PathBuf,
    /// The company or authority that owns the unit.
    #[arg(long)]
    provider: String,
    /// Its voting power.
    #[arg(long, default_value_t = 1)]
    power: u64,
    /// A zenoh endpoint to listen on, such as tls/192.0.2.7:7447. May be given many times.
    #[arg(long, value_name = "ENDPOINT")]
    listen: Vec<String>,
    /// The zenoh endpoint of another unit. May be given many times; one of each pair is enough.
    #[arg(long, value_name = "ENDPOINT")]
    connect: Vec<String>,
    /// Where the HTTP API shall listen.
    #[arg(long)]
    api: Option<SocketAddr>,
    /// A DNS name or IP address under which the unit is reached: makes link.key and link.csr, the request for
    /// `milepost-rsu certificate answer`. Without any, links are plain. May be given many times.
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

impl Init {
    pub(crate) fn execute(self) -> Outcome {
        let plan = Plan {
            home: self.home,
            provider: self.provider,
            power: self.power,
            listen: self.listen,
            connect: self.connect,
            api: self.api,
            names: self.names,
        };
        let member = founding::init(&plan)?;
        let (address, home) = (member.key.address()?, plan.home.display());
        if self.json {
            println!(
                "{}",
                json!({ "address": address, "key": member.key, "home": plan.home })
            );
        } else {
            println!("address     {address}");
            println!("key         {}", member.key);
            println!(
                "{home}/member.json tells who it is, for `milepost-rsu genesis`; genesis.json belongs into {home}"
            );
            if !plan.names.is_empty() {
                println!(
                    "{home}/link.csr asks for a link certificate; link.pem and authorities.pem belong into {home}"
                );
            }
        }
        Ok(true)
    }
}

#[derive(Args)]
pub(crate) struct Found {
    /// The chain's name: 1 to 32 of a-z, 0-9 and -.
    #[arg(long)]
    chain: ChainId,
    /// A member.json that `init` wrote. One for each member.
    #[arg(long = "member", value_name = "FILE", required = true)]
    members: Vec<PathBuf>,
    /// Who may come in, and who may read.
    #[arg(long, value_enum, default_value = "consortium")]
    access: AccessName,
    /// A number of the rules that is not the default. Slots and epochs can be set here alone. May be given many times.
    #[arg(long = "param", value_name = "NAME=NUMBER")]
    params: Vec<Given>,
    /// The folder for genesis.json, which belongs into every home, and consortium.json, which vehicles are given.
    #[arg(long)]
    out: PathBuf,
}

impl Found {
    pub(crate) fn execute(self) -> Outcome {
        let settings: Vec<_> = self.params.into_iter().map(|Given(setting)| setting).collect();
        let genesis = founding::found(
            self.chain,
            &self.members,
            self.access.into(),
            &settings,
            clock::wall(),
        )?;
        let path = self.out.join("genesis.json");
        anyhow::ensure!(
            !path.exists(),
            "{} is there already, and is not written over",
            path.display()
        );
        std::fs::create_dir_all(&self.out).with_context(|| format!("cannot make {}", self.out.display()))?;
        for (name, text) in [
            ("genesis.json", serde_json::to_string_pretty(&genesis)?),
            (
                "consortium.json",
                serde_json::to_string_pretty(&genesis.consortium())?,
            ),
        ] {
            let path = self.out.join(name);
            std::fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        }
        println!(
            "chain       {}, {} members",
            genesis.chain,
            genesis.members.count()
        );
        println!("genesis     {}", genesis.hash());
        Ok(true)
    }
}
