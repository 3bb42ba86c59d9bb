//! How does a vehicle get an answer that it can believe?
//!
//! It asks every unit that answers, checks each reply by itself, and takes the newest that proves what was asked; the
//! others are reported. A unit that stays silent costs a short while, one that lies nothing at all.
//!
//! Where the members have changed since the vehicle last looked, it asks for light blocks first, half way and half way
//! again, of all units, as [`milepost_wire::light`] wants them. What it comes to trust is kept for the next time.
//!
//! This is a shell around [`LightClient`], which judges.

use std::collections::BTreeMap;
use std::time::Duration;

use milepost_wire::light::{ALTERNATIVES_MAX, LightBlock};
use milepost_wire::output::{Estimate, Item};
use milepost_wire::proof::{OutputsProof, StateProof};
use milepost_wire::state::{Account, Vehicle};
use milepost_wire::time::Epoch;
use milepost_wire::{
    Address, Area, Cell, ChainId, Consortium, Height, KeyId, Kind, Message, SignedTransaction, decode, topic,
};
use tokio::time::{Instant, timeout_at};
use zenoh::Session;

use crate::clock::wall;
use crate::config::Config;
use crate::explain::Explanation;
use crate::heads::Heads;
use crate::light::{LightClient, Proved, Refused};
use crate::net::{self, NetError};
use crate::trusted::{TrustFile, TrustedError};

/// After an answer that proves something, others are waited for so long.
const QUIET: Duration = Duration::from_millis(300);
/// How often a question that nobody answered is asked again.
const AGAIN: Duration = Duration::from_millis(500);
/// The most light blocks that are asked for on the way to one proof: far more than halving a way takes.
const STEPS_MAX: usize = 128;
/// How often a proof is judged again with the light blocks that it wanted: those for a block that the owner vouches for,
/// and its own.
const JUDGED_MAX: usize = 3;
/// The most replies that are looked at.
const REPLIES_MAX: usize = 4096;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No session.
    #[error(transparent)]
    Net(#[from] NetError),
    /// It cannot be told, or kept, what is trusted.
    #[error(transparent)]
    Trusted(#[from] TrustedError),
    /// No roadside unit in reach.
    #[error("no roadside unit answers at {connect:?} within {waited_ms} ms")]
    Unreachable {
        /// The endpoints.
        connect: Vec<String>,
        /// How long was waited.
        waited_ms: u64,
    },
    /// Nobody proved anything.
    #[error("no unit proved an answer to {asked} within {waited_ms} ms; {} replies were refused{}", .refused.len(), last(.refused))]
    NoProof {
        /// The question's key expression.
        asked: String,
        /// How long was waited.
        waited_ms: u64,
        /// Why replies were not believed.
        refused: Vec<String>,
    },
}

fn last(refused: &[String]) -> String {
    refused
        .last()
        .map(|reason| format!(", the last because: {reason}"))
        .unwrap_or_default()
}

/// Asks roadside units, and believes none.
pub struct Asker {
    session: Session,
    chain: ChainId,
    light: LightClient,
    trusted: TrustFile,
    wait: Duration,
    /// Why replies were not believed, so far.
    pub refused: Vec<String>,
}

impl Asker {
    /// Connects.
    ///
    /// # Errors
    ///
    /// [`AskError::Trusted`], [`AskError::Net`], [`AskError::Unreachable`].
    pub async fn open(config: &Config, consortium: &Consortium) -> Result<Self, AskError> {
        let (trusted, light) = TrustFile::open(&config.trusted_path(), consortium, wall(), config.bounds())?;
        let settings = net::settings(&config.connect, config.tls.as_ref())?;
        let wait = Duration::from_millis(config.ask_ms);
        let unreachable = || AskError::Unreachable {
            connect: config.connect.clone(),
            waited_ms: config.ask_ms,
        };
        let deadline = Instant::now() + wait;
        let session = timeout_at(deadline, net::open(settings))
            .await
            .map_err(|_| unreachable())??;
        while !net::is_linked(&session).await {
            if Instant::now() >= deadline {
                net::close(session).await;
                return Err(unreachable());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let heads = Heads::new(light, config.proof_lag_max.saturating_add(1));
        Ok(Self {
            session,
            chain: consortium.chain.clone(),
            light: LightClient::new(heads.anchored(config.trusted_block)),
            trusted,
            wait,
            refused: Vec::new(),
        })
    }

    /// Ends the session.
    pub async fn close(self) {
        net::close(self.session).await;
    }

    /// What `address` holds.
    ///
    /// # Errors
    ///
    /// [`AskError`].
    pub async fn account(&mut self, address: Address) -> Result<Proved<Account>, AskError> {
        let asked = topic::ask_account(&self.chain, address);
        let mut newest: Option<Proved<Account>> = None;
        self.ask(asked, |light, proof: &StateProof| {
            let answer = light.account(wall(), address, proof)?;
            newest = Some(
                newest
                    .filter(|newest| newest.height >= answer.height)
                    .unwrap_or(answer),
            );
            Ok(())
        })
        .await?;
        Ok(newest.expect("an answer was accepted"))
    }

    /// What is known of `vehicle`.
    ///
    /// # Errors
    ///
    /// [`AskError`].
    pub async fn vehicle(&mut self, vehicle: KeyId) -> Result<Proved<Option<Vehicle>>, AskError> {
        let asked = topic::ask_vehicle(&self.chain, vehicle);
        let mut newest: Option<Proved<Option<Vehicle>>> = None;
        self.ask(asked, |light, proof: &StateProof| {
            let answer = light.vehicle(wall(), vehicle, proof)?;
            newest = Some(
                newest
                    .take()
                    .filter(|newest| newest.height >= answer.height)
                    .unwrap_or(answer),
            );
            Ok(())
        })
        .await?;
        Ok(newest.expect("an answer was accepted"))
    }

    /// The newest final figures within `area`, each with the height of its block.
    ///
    /// # Errors
    ///
    /// [`AskError`].
    pub async fn picture(&mut self, area: Area) -> Result<Vec<(Height, Estimate)>, AskError> {
        let asked = topic::ask_picture(&self.chain);
        let mut newest: BTreeMap<(Cell, Kind), (Height, Estimate)> = BTreeMap::new();
        self.ask(format!("{asked}?bbox={area}"), |light, proof: &OutputsProof| {
            let Proved { value, height, .. } = light.estimates(wall(), proof)?;
            for estimate in value {
                let Item { slot, cell, kind } = estimate.item;
                let known = newest.get(&(cell, kind)).map(|(_, known)| known.item.slot);
                if area.covers(cell) != Some(false) && known.is_none_or(|known| known < slot) {
                    newest.insert((cell, kind), (height, estimate));
                }
            }
            Ok(())
        })
        .await?;
        Ok(newest.into_values().collect())
    }

    /// Why `vehicle` was paid what it was for `epoch`.
    ///
    /// # Errors
    ///
    /// [`AskError`].
    pub async fn explain(&mut self, vehicle: KeyId, epoch: Epoch) -> Result<Explanation, AskError> {
        let asked = topic::ask_explanation(&self.chain, vehicle, epoch);
        let mut explanation = Explanation::new(vehicle, epoch);
        self.ask(asked, |light, proof: &OutputsProof| {
            light.explain(wall(), &mut explanation, proof)
        })
        .await?;
        Ok(explanation)
    }

    /// Puts a transaction on the air. Whether it was executed, the account tells.
    ///
    /// # Errors
    ///
    /// [`AskError::Net`].
    pub async fn send(&self, transaction: &SignedTransaction) -> Result<(), AskError> {
        Ok(net::send(&self.session, &self.chain, transaction).await?)
    }

    /// Asks all units until `accept` takes a reply, and a little longer for the others'.
    async fn ask<T: Message>(
        &mut self,
        asked: String,
        mut accept: impl FnMut(&mut LightClient, &T) -> Result<(), Refused>,
    ) -> Result<(), AskError> {
        let mut deadline = Instant::now() + self.wait;
        let (mut accepted, mut refused) = (false, Vec::new());
        while !accepted && Instant::now() < deadline {
            let get = net::ask_all(&self.session, asked.clone(), deadline - Instant::now());
            let replies = get.await.map_err(NetError::zenoh("ask"))?;
            let mut until = deadline;
            for _ in 0..REPLIES_MAX {
                let Ok(Ok(reply)) = timeout_at(until, replies.recv_async()).await else {
                    break;
                };
                let judged = match message(&reply) {
                    Ok(proof) => self.judge(&proof, &mut accept).await?,
                    Err(reason) => Err(reason),
                };
                // Light blocks took their own time.
                deadline = deadline.max(Instant::now() + QUIET);
                match judged {
                    Ok(()) => {
                        accepted = true;
                        until = deadline.min(Instant::now() + QUIET);
                    }
                    Err(reason) => {
                        tracing::warn!("refused: {reason}");
                        refused.push(reason);
                    }
                }
            }
            if !accepted {
                tokio::time::sleep_until(deadline.min(Instant::now() + AGAIN)).await;
            }
        }
        self.refused.extend(refused.iter().cloned());
        self.trusted.keep(self.light.heads().trusted())?;
        if accepted {
            return Ok(());
        }
        Err(AskError::NoProof {
            asked,
            waited_ms: self.wait.as_millis() as u64,
            refused,
        })
    }

    /// Judges a proof, with as many light blocks as it takes. The inner error says why it is not believed.
    async fn judge<T>(
        &mut self,
        proof: &T,
        accept: &mut impl FnMut(&mut LightClient, &T) -> Result<(), Refused>,
    ) -> Result<Result<(), String>, AskError> {
        let mut reason = String::new();
        for _ in 0..JUDGED_MAX {
            match accept(&mut self.light, proof) {
                Err(Refused::Needs(height)) => match self.follow(height).await? {
                    Ok(()) => reason = Refused::Needs(height).to_string(),
                    Err(why) => return Ok(Err(why)),
                },
                judged => return Ok(judged.map_err(|error| error.to_string())),
            }
        }
        Ok(Err(reason))
    }

    /// Asks for the light block at `height`, and for those that are needed in order to believe it.
    async fn follow(&mut self, mut height: Height) -> Result<Result<(), String>, AskError> {
        for _ in 0..STEPS_MAX {
            let mut why = None;
            for block in self.light_blocks(height).await? {
                let told = block.and_then(|block| {
                    let heads = self.light.heads_mut();
                    heads.offer(wall(), block).map_err(|error| error.to_string())
                });
                why = told.err().or(why);
            }
            let none = || format!("nobody gave the light block {height}");
            match self.light.heads().needed() {
                Some(next) if next != height => height = next,
                // It is believed, or it was dropped.
                None => return Ok(why.map_or(Ok(()), Err)),
                Some(_) => {
                    self.light.heads_mut().give_up();
                    return Ok(Err(why.unwrap_or_else(none)));
                }
            }
        }
        self.light.heads_mut().give_up();
        Ok(Err(format!("{STEPS_MAX} light blocks did not lead to it")))
    }

    /// What the units give as the light block at a height.
    async fn light_blocks(&self, height: Height) -> Result<Vec<Result<LightBlock, String>>, AskError> {
        let get = net::ask_all(&self.session, topic::ask_light(&self.chain, height), self.wait);
        let replies = get.await.map_err(NetError::zenoh("ask"))?;
        let deadline = Instant::now() + self.wait;
        let (mut until, mut blocks) = (deadline, Vec::new());
        while blocks.len() < ALTERNATIVES_MAX
            && let Ok(Ok(reply)) = timeout_at(until, replies.recv_async()).await
        {
            let block = message::<LightBlock>(&reply).and_then(|block| {
                let found = block.head.header.height;
                let same = found == height;
                same.then_some(block)
                    .ok_or_else(|| format!("asked for light block {height}, a unit gave {found}"))
            });
            until = deadline.min(Instant::now() + QUIET);
            blocks.push(block);
        }
        Ok(blocks)
    }
}

/// The message in a reply, or why there is none.
fn message<T: Message>(reply: &zenoh::query::Reply) -> Result<T, String> {
    match reply.result() {
        Ok(sample) => decode(&sample.payload().to_bytes()).map_err(|error| error.to_string()),
        Err(error) => {
            let said = error.payload().to_bytes();
            Err(String::from_utf8_lossy(&said).chars().take(200).collect())
        }
    }
}
