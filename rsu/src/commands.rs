//! What an operator asks for: one file for each family of commands.

pub(crate) mod ask;
pub(crate) mod backup;
pub(crate) mod certificate;
pub(crate) mod govern;
pub(crate) mod init;
pub(crate) mod join;
pub(crate) mod quarantine;
pub(crate) mod run;
pub(crate) mod testnet;
pub(crate) mod unit;
pub(crate) mod vehicle;
pub(crate) mod verify;

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use milepost_node::audit::Progress;
use milepost_rsu::home::Home;
use milepost_rsu::submit::{Signer, SubmitError};

/// What a command came to: done, or an expectation not met.
pub(crate) type Outcome = anyhow::Result<bool>;

/// Whose key signs, and which unit is asked.
#[derive(Args)]
pub(crate) struct Sign {
    /// The folder with the member.key that signs. Its unit must be running.
    #[arg(long)]
    home: PathBuf,
    /// The unit's API, where it is not the one that the home's rsu.toml names.
    #[arg(long)]
    api: Option<String>,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

impl Sign {
    fn signer(&self) -> Result<Signer, SubmitError> {
        Signer::of(&Home::new(&self.home), self.api.clone())
    }
}

/// Shows on a terminal how far long work has come.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    bar.set_style(
        ProgressStyle::with_template("{wide_bar} {msg} {pos} of {len}, {eta} left")
            .expect("the template is right"),
    );
    bar
}

/// Shows how far replaying has come.
fn show_audit(bar: &ProgressBar, progress: Progress) {
    let (what, height, last) = match progress {
        Progress::Headers(height, last) => ("header", height, last),
        Progress::Blocks(height, last) => ("block", height, last),
    };
    bar.set_message(what);
    bar.set_length(last.0);
    bar.set_position(height.0);
}
