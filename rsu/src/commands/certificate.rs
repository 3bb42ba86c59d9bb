//! `milepost-rsu certificate`: who may link.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use milepost_rsu::certificates::{self, Authority};
use milepost_wire::link::{Station, TlsFiles};

use super::Outcome;

#[derive(Subcommand)]
pub(crate) enum Certificate {
    /// Makes an authority: authority.pem, to be trusted by the others, and authority.key, to be kept off the roadside.
    Authority {
        /// Whose it is.
        #[arg(long)]
        provider: String,
        /// The folder to write into.
        #[arg(long)]
        out: PathBuf,
    },
    /// Issues authorities.pem, link.pem and link.key for one machine.
    Issue {
        #[command(flatten)]
        link: Link,
        /// A DNS name or IP address under which a roadside unit is reached. May be given many times.
        #[arg(long = "name", value_name = "NAME", required_if_eq("station", "roadside"))]
        names: Vec<String>,
    },
    /// Issues link.pem and authorities.pem to a machine that keeps its link.key and asked with the link.csr that `init
    /// --name` made. Prints the names that it is certified for: look at them.
    Answer {
        #[command(flatten)]
        link: Link,
        /// The machine's link.csr.
        #[arg(long, value_name = "FILE")]
        request: PathBuf,
    },
}

/// Who certifies which machine, and for how long.
#[derive(Args)]
pub(crate) struct Link {
    /// The folder with authority.pem and authority.key.
    #[arg(long)]
    authority: PathBuf,
    /// What the machine is.
    #[arg(long, value_enum)]
    station: StationName,
    /// How long it is valid. There is no revocation list: keep it short.
    #[arg(long, default_value_t = certificates::LINK_DAYS)]
    days: u32,
    /// Another provider's authority.pem that the machine is to trust as well. May be given many times.
    #[arg(long = "trust", value_name = "FILE")]
    trusted: Vec<PathBuf>,
    /// The folder to write into.
    #[arg(long)]
    out: PathBuf,
}

impl Link {
    /// The authority, and the certificates of all that are to be trusted.
    fn authorities(&self) -> anyhow::Result<(Authority, String)> {
        let authority = Authority::read(&self.authority)?;
        let mut trusted = authority.certificate_pem().to_owned();
        for path in &self.trusted {
            trusted += &read(path)?;
        }
        Ok((authority, trusted))
    }
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum StationName {
    Roadside,
    Vehicle,
}

impl Certificate {
    pub(crate) fn execute(self) -> Outcome {
        match self {
            Self::Authority { provider, out } => {
                anyhow::ensure!(
                    !out.join("authority.key").exists(),
                    "{} holds an authority already; who replaces it must issue every certificate anew",
                    out.display()
                );
                Authority::make(&provider)?.write(&out)?;
                let out = out.display();
                println!("{out}/authority.pem is for every other provider; {out}/authority.key for nobody");
            }
            Self::Issue { link, names } => {
                let (authority, authorities) = link.authorities()?;
                let Link {
                    station, days, out, ..
                } = link;
                authority.issue(
                    station.into(),
                    &names,
                    days,
                    &authorities,
                    &TlsFiles::in_folder(&out),
                )?;
                let out = out.display();
                println!("{out}/link.key, link.pem and authorities.pem are valid for {days} days");
            }
            Self::Answer { link, request } => {
                let (authority, authorities) = link.authorities()?;
                let Link {
                    station, days, out, ..
                } = link;
                let (certificate, names) = authority.answer(&read(&request)?, station.into(), days)?;
                std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
                let files = TlsFiles::in_folder(&out);
                for (path, text) in [
                    (&files.certificate, certificate),
                    (&files.authorities, authorities),
                ] {
                    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
                }
                names.iter().for_each(|name| println!("{name}"));
            }
        }
        Ok(true)
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

impl From<StationName> for Station {
    fn from(name: StationName) -> Self {
        match name {
            StationName::Roadside => Self::Roadside,
            StationName::Vehicle => Self::Vehicle,
        }
    }
}
