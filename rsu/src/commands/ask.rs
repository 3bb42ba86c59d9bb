//! `milepost-rsu status`, `block`, `account`, `members`, `params`, `proposals`: what a running unit knows.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use milepost_rsu::client::Client;
use milepost_rsu::home::Home;
use milepost_rsu::{status, submit};
use milepost_wire::Change;
use serde_json::Value;

use super::Outcome;

#[derive(Args)]
pub(crate) struct Ask {
    /// The unit's API; by default http://127.0.0.1:8080, or the one that the home's rsu.toml names.
    #[arg(long)]
    api: Option<String>,
    /// The folder with the member.key that signs what is asked, as units of a private chain want it.
    #[arg(long)]
    home: Option<PathBuf>,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

impl Ask {
    fn client(&self) -> anyhow::Result<Client> {
        let Some(home) = self.home.as_ref().map(Home::new) else {
            let api = self.api.as_deref().unwrap_or("http://127.0.0.1:8080");
            return Ok(Client::anonymous(api));
        };
        let api = submit::api_of(&home, self.api.clone())?;
        Ok(Client::signing(api, home.key()?, home.genesis()?.chain))
    }

    /// Asks, and writes the answer as it is or as `describe` does.
    fn answer(&self, path: &str, describe: impl FnOnce(Value) -> anyhow::Result<String>) -> Outcome {
        self.print(self.client()?.get(path)?, describe)
    }

    fn print(&self, answer: Value, describe: impl FnOnce(Value) -> anyhow::Result<String>) -> Outcome {
        let text = match self.json {
            true => answer.to_string(),
            false => describe(answer)?,
        };
        // Whoever reads may have seen enough: then the pipe is closed.
        writeln!(std::io::stdout(), "{}", text.trim_end()).context("cannot write the answer")?;
        Ok(true)
    }

    /// Shows what a route answers.
    pub(crate) fn show(&self, path: &str) -> Outcome {
        self.answer(path, |answer| Ok(format!("{answer:#}")))
    }

    pub(crate) fn status(&self) -> Outcome {
        let client = self.client()?;
        self.print(client.get("/v1/status")?, |answer| {
            Ok(status::describe(client.api(), answer)?)
        })
    }

    pub(crate) fn members(&self) -> Outcome {
        self.answer("/v1/members", |answer| {
            let mut text = members(&answer["members"]);
            text += &format!(
                "power       {} in all, {} decides, after block {}\n",
                answer["power"], answer["quorum"], answer["height"]
            );
            if answer["votes"] == false {
                text += &format!("this unit   {} follows without a vote\n", plain(&answer["id"]));
            }
            for sentence in answer["sentences"].as_array().into_iter().flatten() {
                text += &sentenced(sentence);
            }
            let next = &answer["next"];
            if !next.is_null() {
                text += &format!("from block {} on\n{}", next["height"], members(&next["members"]));
            }
            Ok(text)
        })
    }

    /// Shows what speaks against vehicles, and writes the signed reports into `out`.
    pub(crate) fn evidence(&self, path: &str, out: Option<&Path>) -> Outcome {
        let answer = self.client()?.get(path)?;
        let pieces = answer["evidence"].as_array().cloned().unwrap_or_default();
        if let Some(out) = out {
            write_evidence(out, &pieces)?;
        }
        self.print(answer, |_| {
            let line = |piece: &Value| format!("{}  {}\n", plain(&piece["sent_at"]), plain(&piece["why"]));
            match pieces.is_empty() {
                true => Ok("nothing speaks against anybody, since this unit was started".to_owned()),
                false => Ok(pieces.iter().map(line).collect()),
            }
        })
    }

    pub(crate) fn params(&self) -> Outcome {
        self.answer("/v1/params", |answer| {
            let mut text = format!("access                 {}\n", plain(&answer["access"]));
            flatten("", &answer["params"], &mut text);
            Ok(text)
        })
    }

    pub(crate) fn vehicles(&self, path: &str) -> Outcome {
        self.answer(path, |answer| {
            let line = |vehicle: &Value| {
                let state = match (vehicle["revoked"] == true, vehicle["quarantine"].is_null()) {
                    (true, _) => "revoked",
                    (false, false) => "quarantined",
                    (false, true) => "enrolled",
                };
                format!(
                    "{}  group {:<8} reputation {:.2}  earned {:>12}  {state}\n",
                    plain(&vehicle["id"]),
                    vehicle["group"],
                    vehicle["reputation"].as_f64().unwrap_or_default(),
                    plain(&vehicle["earned"]),
                )
            };
            let mut text: String = answer["vehicles"]
                .as_array()
                .into_iter()
                .flatten()
                .map(line)
                .collect();
            if let Some(next) = answer["next"].as_str() {
                text += &format!("more: --after {next}\n");
            }
            Ok(text)
        })
    }

    pub(crate) fn units(&self) -> Outcome {
        self.answer("/v1/units", |answer| {
            let line = |unit: &Value| {
                let connected = if unit["connected"] == true {
                    "connected"
                } else {
                    "absent"
                };
                format!(
                    "{}  {}  for {} {connected}\n",
                    plain(&unit["id"]),
                    plain(&unit["address"]),
                    plain(&unit["operator"]),
                )
            };
            let units = answer["units"].as_array().into_iter().flatten();
            Ok(units.map(line).collect())
        })
    }

    pub(crate) fn proposals(&self) -> Outcome {
        self.answer("/v1/proposals", |answer| {
            let mut text = String::new();
            for open in answer["open"].as_array().into_iter().flatten() {
                text += &format!(
                    "{:<4} open until {}, {} of {} needed: {}\n     by {}, approved by",
                    open["id"],
                    plain(&open["until"]),
                    open["power"],
                    answer["quorum"],
                    change(&open["change"]),
                    plain(&open["by"]),
                );
                for approval in open["approvals"].as_array().into_iter().flatten() {
                    text += &format!(" {}", plain(&approval["member"]));
                }
                text.push('\n');
            }
            for decided in answer["scheduled"].as_array().into_iter().flatten() {
                text += &format!(
                    "{:<4} decided, holds from block {} on: {}\n",
                    decided["id"],
                    decided["height"],
                    change(&decided["change"]),
                );
            }
            if text.is_empty() {
                text = format!("none after block {}", answer["height"]);
            }
            Ok(text)
        })
    }
}

fn members(list: &Value) -> String {
    let line = |member: &Value| {
        let withheld = &member["withheld"];
        let withheld = (!withheld.is_null()).then(|| {
            let (times, height) = (&withheld["times"], &withheld["height"]);
            format!(", withheld batches, by others' complaints: {times} times, last in block {height}")
        });
        format!(
            "{}  {:<16} power {:<4} {}{}\n",
            plain(&member["id"]),
            plain(&member["provider"]),
            member["power"],
            if member["connected"] == true {
                "connected"
            } else {
                "absent"
            },
            withheld.unwrap_or_default(),
        )
    };
    list.as_array().into_iter().flatten().map(line).collect()
}

/// Each report, and the one before it, in a file of its own; of two pieces of one name, the newer stays.
fn write_evidence(folder: &Path, pieces: &[Value]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for piece in pieces.iter().rev() {
        for kind in ["report", "before"] {
            let Some(signed) = piece[kind].as_str() else {
                continue;
            };
            let name = format!("{}-{}.{kind}", plain(&piece["vehicle"]), piece["sequence"]);
            let path = folder.join(name);
            std::fs::write(&path, signed).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

/// What a member signed that no honest one does, and what follows: docs/adr/0016-misconduct.md.
fn sentenced(sentence: &Value) -> String {
    let id = plain(&sentence["id"]);
    let provider = sentence["provider"].as_str().unwrap_or_default();
    let (times, epoch) = (&sentence["times"], &sentence["epoch"]);
    let outcome = match &sentence["jailed_until"] {
        Value::Null => "its operator forfeits its share of that epoch".to_owned(),
        until => format!("in jail; the members may admit it again from epoch {until} on"),
    };
    format!("sentenced   {id}  {provider:<16} in epoch {epoch}, {times} times in all: {outcome}\n")
}

/// One line for each number, under the name that `propose set-param` takes.
fn flatten(above: &str, value: &Value, text: &mut String) {
    let below = |name: &str| match above {
        "" => name.to_owned(),
        _ => format!("{above}.{name}"),
    };
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, value)| flatten(&below(name), value, text)),
        Value::Array(list) => {
            for (place, value) in list.iter().enumerate() {
                flatten(&below(&place.to_string()), value, text);
            }
        }
        value => *text += &format!("{above:<22} {value}\n"),
    }
}

/// Text without its quotes.
fn plain(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// A change in words.
fn change(value: &Value) -> String {
    match serde_json::from_value(value.clone()) {
        Ok(Change::AddMember(member)) => {
            let address = member.key.address().map(|address| address.to_string());
            let address = address.unwrap_or_else(|error| error.to_string());
            format!("add {} {address} with power {}", member.provider, member.power)
        }
        Ok(Change::RemoveMember { member }) => format!("remove {member}"),
        Ok(Change::SetPower { member, power }) => format!("power {power} for {member}"),
        Ok(Change::SetKey { member, key }) => format!("key {key} for {member}"),
        Ok(Change::SetParams(settings)) => {
            let settings = settings
                .iter()
                .map(|setting| format!("{}={}", setting.name, setting.value));
            settings.collect::<Vec<_>>().join(" ")
        }
        Ok(Change::Quarantine { vehicle, evidence }) => format!("quarantine {vehicle}, evidence {evidence}"),
        Ok(Change::Release { vehicle }) => format!("release {vehicle}"),
        Ok(Change::Revoke { vehicle }) => format!("revoke {vehicle}"),
        // Short enough as it is, or newer than this program.
        _ => value.to_string(),
    }
}
