//! What does each command do, and what does it print?

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use milepost_obu::ask::{AskError, Asker};
use milepost_obu::clock::wall;
use milepost_obu::light::Proved;
use milepost_obu::replay::{self, Choice};
use milepost_obu::wallet::Overdrawn;
use milepost_obu::{Config, key_file, run, wallet};
use milepost_wire::link::TlsFiles;
use milepost_wire::output::Estimate;
use milepost_wire::state::{Account, Q};
use milepost_wire::time::Epoch;
use milepost_wire::{
    Action, Address, Amount, Area, Consortium, Height, KeyId, Kind, SecretKey, SignedTransaction, Timestamp,
};
use serde_json::json;
use tokio::time::Instant;

use crate::cli::{Access, Cli, Command};

/// How long `transfer --wait` waits.
const TRANSFER_WAIT: Duration = Duration::from_secs(60);
/// How often it sends and asks again.
const TRANSFER_EVERY: Duration = Duration::from_secs(1);

/// Why the process ends with another status than 0.
pub(crate) enum Failure {
    /// Status 1: it did not work.
    Failed(anyhow::Error),
    /// Status 2: what was given cannot be used.
    Unreadable(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

fn unreadable(error: impl Into<anyhow::Error>) -> Failure {
    Failure::Unreadable(error.into())
}

pub(crate) async fn execute(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Keygen { out, force, print } => keygen(&out, force, print.json),
        Command::Address { key, print } => show_key(&read_key(&key)?, print.json),
        Command::Run {
            access,
            source,
            origin,
            vehicle,
            outbox,
            linger,
            print,
        } => {
            let Identity {
                mut config,
                key,
                consortium,
            } = identity(access)?;
            if let Some(outbox) = outbox {
                config.outbox_file = outbox;
            }
            config.linger_s = linger.unwrap_or(config.linger_s);
            let choice = Choice {
                source,
                origin,
                vehicle,
                segments: config.segments,
            };
            drive(&config, key, &consortium, choice, print.json).await
        }
        Command::Balance { access, print } => balance(identity(access)?, print.json).await,
        Command::Picture { access, bbox, print } => picture(identity(access)?, bbox, print.json).await,
        Command::Explain { access, epoch, print } => explain(identity(access)?, epoch, print.json).await,
        Command::Enrol { access, print } => {
            ask_for(identity(access)?, |_| Action::SelfEnrol, "enrolled", print.json).await
        }
        Command::Leave { access, print } => {
            let leave = |vehicle| Action::Revoke { vehicle };
            ask_for(identity(access)?, leave, "left", print.json).await
        }
        Command::Transfer {
            access,
            to,
            amount,
            wait,
            print,
        } => transfer(identity(access)?, to, amount, wait, print.json).await,
    }
}

/// Who asks, whom it trusts, and how.
struct Identity {
    config: Config,
    key: SecretKey,
    consortium: Consortium,
}

fn identity(access: Access) -> Result<Identity, Failure> {
    let mut config = match &access.config {
        Some(path) => Config::load(path).map_err(unreadable)?,
        None => Config::default(),
    };
    config.key_file = access.key.unwrap_or(config.key_file);
    config.consortium_file = access.consortium.unwrap_or(config.consortium_file);
    if !access.connect.is_empty() {
        config.connect = access.connect;
    }
    config.trusted_block = access.trust.or(config.trusted_block);
    if let Some(folder) = &access.tls {
        config.tls = Some(TlsFiles::in_folder(folder));
    }
    milepost_obu::net::settings(&config.connect, config.tls.as_ref()).map_err(unreadable)?;
    let key = read_key(&config.key_file)?;
    let consortium = read_consortium(&config.consortium_file)?;
    Ok(Identity {
        config,
        key,
        consortium,
    })
}

fn read_key(path: &Path) -> Result<SecretKey, Failure> {
    key_file::read(path).map_err(unreadable)
}

fn read_consortium(path: &Path) -> Result<Consortium, Failure> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        unreadable(anyhow::anyhow!(
            "{shown}: expected a readable consortium.json: {error}"
        ))
    })?;
    serde_json::from_str(&text).map_err(|error| {
        let line = error.line();
        let expected = "{chain, genesis, members: [{key, provider, power}]}";
        unreadable(anyhow::anyhow!("{shown}:{line}: expected {expected}: {error}"))
    })
}

fn keygen(out: &Path, force: bool, json: bool) -> Result<(), Failure> {
    let key = SecretKey::generate()?;
    key_file::write(out, &key, force)?;
    tracing::info!("wrote {}", out.display());
    show_key(&key, json)
}

fn show_key(key: &SecretKey, json: bool) -> Result<(), Failure> {
    let (address, vehicle, public) = (key.address(), key.key_id(), key.public());
    match json {
        true => say(json!({ "address": address, "vehicle": vehicle, "public_key": public })),
        false => say(address),
    }
}

async fn drive(
    config: &Config,
    key: SecretKey,
    consortium: &Consortium,
    choice: Choice,
    json: bool,
) -> Result<(), Failure> {
    let readings = replay::open(choice).map_err(unreadable)?;
    let summary = run::run(config, key, consortium, readings, asked_to_stop()).await?;
    match json {
        true => say(serde_json::to_string(&summary)?)?,
        false => say(&summary)?,
    }
    match summary.source_error {
        Some(error) => Err(unreadable(anyhow::anyhow!(error))),
        None => Ok(()),
    }
}

/// Ctrl-C, or SIGTERM where there is one.
async fn asked_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

async fn balance(identity: Identity, json: bool) -> Result<(), Failure> {
    let (address, id) = (identity.key.address(), identity.key.key_id());
    let mut asker = Asker::open(&identity.config, &identity.consortium).await?;
    let answers =
        async { Ok::<_, AskError>((asker.account(address).await?, asker.vehicle(id).await?)) }.await;
    let refused = std::mem::take(&mut asker.refused);
    asker.close().await;
    let (account, vehicle) = answers?;
    let Account { balance, nonce } = account.value;
    if json {
        let vehicle = vehicle.value.map(|vehicle| {
            json!({
                "enrolled": !vehicle.revoked,
                "reputation": thousandths(vehicle.standing.reputation()),
                "quarantined": vehicle.quarantine.is_some(),
                "unvested": vehicle.unvested,
                "earned": vehicle.earned,
            })
        });
        return say(json!({
            "verified": true,
            "address": address,
            "vehicle_id": id,
            "balance": balance,
            "nonce": nonce,
            "height": account.height,
            "age_ms": age_ms(account.time),
            "vehicle": vehicle,
            "refused": refused,
        }));
    }
    say(format_args!("{balance} tokens held by {address}"))?;
    match vehicle.value {
        None => say(format_args!("vehicle {id} is not enrolled"))?,
        Some(vehicle) => {
            let quarantined = if vehicle.quarantine.is_some() {
                ", quarantined"
            } else {
                ""
            };
            let revoked = if vehicle.revoked { ", revoked" } else { "" };
            say(format_args!(
                "vehicle {id}: reputation {:.3}, earned {}, of which {} can still be slashed{quarantined}{revoked}",
                thousandths(vehicle.standing.reputation()),
                vehicle.earned,
                vehicle.unvested,
            ))?;
        }
    }
    say(format_args!(
        "verified: true, at height {}, {} ms ago",
        account.height,
        age_ms(account.time)
    ))
}

async fn picture(identity: Identity, area: Area, json: bool) -> Result<(), Failure> {
    let mut asker = Asker::open(&identity.config, &identity.consortium).await?;
    let answer = asker.picture(area).await;
    let refused = std::mem::take(&mut asker.refused);
    asker.close().await;
    let figures = answer?;
    if !json && figures.is_empty() {
        return say(
            "no figures: the units that answered know none in this area (that there is none is not proved)\nverified: true, 0 figures",
        );
    }
    if json {
        let shown: Vec<_> = figures
            .iter()
            .map(|(height, estimate)| figure(*height, estimate))
            .collect();
        return say(json!({
            "verified": true,
            "bbox": area.to_string(),
            "estimates": shown,
            // What a unit leaves out is not proved to be absent.
            "complete": false,
            "refused": refused,
        }));
    }
    say(format_args!(
        "{:16} {:10} {:>6} {:>10} {:>22} {:>8}",
        "cell", "kind", "slot", "value", "90 %", "vehicles"
    ))?;
    for (_, estimate) in &figures {
        let Estimate {
            item,
            value,
            low,
            high,
            vehicles,
            ..
        } = estimate;
        let (cell, kind) = (item.cell.to_string(), item.kind.to_string());
        let interval = format!("{} to {}", human(item.kind, *low), human(item.kind, *high));
        let value = human(item.kind, *value);
        say(format_args!(
            "{cell:16} {kind:10} {:>6} {value:>10} {interval:>22} {vehicles:>8}",
            item.slot
        ))?;
    }
    say(format_args!("verified: true, {} figures", figures.len()))
}

fn figure(height: Height, estimate: &Estimate) -> serde_json::Value {
    let Estimate {
        item,
        value,
        low,
        high,
        vehicles,
        weight,
        spread,
    } = estimate;
    let centre = item.cell.centre();
    json!({
        "cell": item.cell,
        "lat": centre.map(|place| place.latitude_degrees()),
        "lon": centre.map(|place| place.longitude_degrees()),
        "kind": item.kind,
        "unit": unit(item.kind),
        "slot": item.slot,
        "value": value,
        "low": low,
        "high": high,
        "vehicles": vehicles,
        "weight": *weight as f64 / Q as f64,
        "spread": spread,
        "height": height,
    })
}

const fn unit(kind: Kind) -> &'static str {
    match kind {
        Kind::Speed => "cm/s",
        Kind::Congestion => "level of service, 0 to 5",
        Kind::Humidity => "0.1 %",
        Kind::Hazard => "ETSI cause code",
    }
}

/// A value as people read it.
fn human(kind: Kind, value: i32) -> String {
    match kind {
        Kind::Speed => format!("{:.1} km/h", f64::from(value) * 0.036),
        Kind::Congestion => format!("level {value}"),
        Kind::Humidity => format!("{:.1} %", f64::from(value) / 10.0),
        Kind::Hazard => format!("cause {value}"),
    }
}

async fn explain(identity: Identity, epoch: Epoch, json: bool) -> Result<(), Failure> {
    let mut asker = Asker::open(&identity.config, &identity.consortium).await?;
    let answer = asker.explain(identity.key.key_id(), epoch).await;
    asker.close().await;
    let explanation = answer?;
    match json {
        true => say(serde_json::to_string(&explanation)?),
        false => say(explanation),
    }
}

async fn transfer(
    identity: Identity,
    to: Address,
    amount: Amount,
    wait: bool,
    json: bool,
) -> Result<(), Failure> {
    let (key, chain) = (&identity.key, &identity.consortium.chain);
    let transfer = |account: &_| wallet::transfer(key, chain, account, to, amount);
    let Sent { nonce, balance } = send(&identity, wait, transfer).await?;
    if json {
        return say(json!({
            "verified": true,
            "from": key.address(),
            "to": to,
            "amount": amount,
            "nonce": nonce,
            "executed": wait,
            "balance": balance,
        }));
    }
    match wait {
        true => say(format_args!(
            "sent {amount} tokens to {to}; {balance} are left (verified: true)"
        )),
        false => say(format_args!(
            "asked for {amount} tokens to go to {to}, as transaction {nonce}; `--wait` tells when it is done"
        )),
    }
}

/// Has something done that concerns the vehicle itself, and waits for it.
async fn ask_for(
    identity: Identity,
    action: impl FnOnce(KeyId) -> Action,
    done: &str,
    json: bool,
) -> Result<(), Failure> {
    let (key, chain) = (&identity.key, &identity.consortium.chain);
    let vehicle = key.key_id();
    let request = |account: &_| Ok(wallet::request(key, chain, account, action(vehicle)));
    let Sent { balance, .. } = send(&identity, true, request).await?;
    if json {
        return say(json!({
            "verified": true,
            "vehicle": vehicle,
            "done": done,
            "balance": balance,
        }));
    }
    say(format_args!(
        "{done}: vehicle {vehicle}; {balance} tokens are left (verified: true)"
    ))
}

/// A transaction under way, or done.
struct Sent {
    nonce: u64,
    /// What the sender held before it, or holds after it where that was waited for.
    balance: Amount,
}

/// Sends what `sign` makes of the sender's account, and waits until it is done where that is wanted.
async fn send(
    identity: &Identity,
    wait: bool,
    sign: impl FnOnce(&Proved<Account>) -> Result<SignedTransaction, Overdrawn>,
) -> Result<Sent, Failure> {
    let sender = identity.key.address();
    let mut asker = Asker::open(&identity.config, &identity.consortium).await?;
    let sent = async {
        let account = asker.account(sender).await?;
        let transaction = sign(&account)?;
        asker.send(&transaction).await?;
        let account = match wait {
            true => executed(&mut asker, sender, &transaction).await?,
            false => account.value,
        };
        Ok::<_, anyhow::Error>(Sent {
            nonce: transaction.message.nonce,
            balance: account.balance,
        })
    }
    .await;
    asker.close().await;
    Ok(sent?)
}

/// Sends the transaction again and again until the proved nonce is beyond its own.
async fn executed(
    asker: &mut Asker,
    from: Address,
    transaction: &SignedTransaction,
) -> Result<Account, anyhow::Error> {
    let deadline = Instant::now() + TRANSFER_WAIT;
    loop {
        tokio::time::sleep(TRANSFER_EVERY).await;
        let account = asker.account(from).await?.value;
        if account.nonce > transaction.message.nonce {
            return Ok(account);
        }
        if Instant::now() >= deadline {
            anyhow::bail!(
                "the ledger did not do it within {} s; it refuses what the access policy or the account does not allow",
                TRANSFER_WAIT.as_secs()
            );
        }
        asker.send(transaction).await?;
    }
}

/// A fraction of [`Q`] as a number from 0 to 1, rounded to thousandths.
fn thousandths(fraction: u32) -> f64 {
    (f64::from(fraction) * 1000.0 / Q as f64).round() / 1000.0
}

fn age_ms(time: Timestamp) -> u64 {
    wall().since(time)
}

/// Prints a line. A reader that has seen enough, such as `head`, is no failure.
fn say(line: impl std::fmt::Display) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
