//! `milepost-rsu backup` and `restore`.

use std::path::PathBuf;

use clap::Args;
use milepost_rsu::backup::{Manifest, backup, restore};
use milepost_rsu::clock;
use milepost_rsu::home::Home;
use serde_json::json;

use super::{Outcome, bar, show_audit};

#[derive(Args)]
pub(crate) struct Backup {
    /// The unit's folder; the unit may be running.
    #[arg(long)]
    home: PathBuf,
    /// The folder to make. The key is not in it: keep member.key apart.
    #[arg(long)]
    out: PathBuf,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct Restore {
    /// The folder that `backup` made.
    #[arg(long)]
    from: PathBuf,
    /// The unit's folder, with its member.key and without a store.
    #[arg(long)]
    home: PathBuf,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(crate) fn execute(self) -> Outcome {
        let bar = bar();
        let made = backup(&Home::new(&self.home), &self.out, clock::wall(), |progress| {
            show_audit(&bar, progress);
        });
        bar.finish_and_clear();
        let made = made?;
        tell(self.json, "saved", &made, &format!("in {}", self.out.display()));
        Ok(true)
    }
}

impl Restore {
    pub(crate) fn execute(self) -> Outcome {
        let bar = bar();
        let made = restore(&self.from, &Home::new(&self.home), clock::wall(), |progress| {
            show_audit(&bar, progress);
        });
        bar.finish_and_clear();
        let made = made?;
        let next = "it says nothing before a block of a later time than now is committed";
        tell(self.json, "restored", &made, next);
        Ok(true)
    }
}

fn tell(as_json: bool, what: &str, made: &Manifest, more: &str) {
    if as_json {
        println!("{}", json!(made));
    } else {
        println!("{what:<12}block {} of {}, verified", made.height, made.made_at);
        println!("state root  {}", made.state_root);
        println!("            {more}");
    }
}
