//! `milepost-rsu verify`: is the chain on this disk right?

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use milepost_node::audit::audit;
use milepost_node::snapshots::Snapshots;
use milepost_node::store::Rocks;
use milepost_rsu::home::Home;
use milepost_wire::Height;

use super::{Outcome, bar, show_audit};

#[derive(Args)]
pub(crate) struct Verify {
    /// The unit's folder.
    #[arg(long)]
    home: PathBuf,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) fn execute(self) -> Outcome {
        verify(&Home::new(self.home), self.json)
    }
}

fn verify(home: &Home, json: bool) -> Outcome {
    let genesis = home.genesis()?;
    let folder = home.store();
    anyhow::ensure!(
        folder.join("CURRENT").exists(),
        "{} holds no ledger: this unit never ran",
        folder.display()
    );
    let store =
        Rocks::open_read_only(&folder).with_context(|| format!("cannot open {}", folder.display()))?;
    let snapshots = Snapshots::open(&home.snapshots())?;
    let bar = bar();
    let report = audit(&genesis, &store, Some(&snapshots), |progress| {
        show_audit(&bar, progress)
    });
    bar.finish_and_clear();
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("height      {}\nstate root  {}", report.height, report.state_root);
        println!("headers     all {} certified from the genesis on", report.headers);
        match report.from_height {
            Height::ZERO => println!("replayed    from the genesis"),
            from => println!("replayed    from the snapshot at block {from}: older blocks are pruned"),
        }
        println!("reports     {}", report.reports);
        println!(
            "tokens      {} minted, {} burned",
            report.supply.minted, report.supply.burned
        );
        for error in &report.errors {
            println!("wrong       {error}");
        }
        println!("{}", if report.ok { "all is right" } else { "NOT RIGHT" });
    }
    Ok(report.ok)
}
