//! What can be asked over HTTP?
//!
//! | route | answer |
//! |---|---|
//! | `GET /v1/status` | the unit and its ledger in short; what `milepost-rsu status` prints |
//! | `GET /v1/blocks/{height or latest}` | a block: header, signers, transactions, batches |
//! | `GET /v1/light/{height or latest}` | a light block: what `docs/light-client.md` describes, in hexadecimal, and what it says |
//! | `GET /v1/picture?bbox=W,S,E,N&kind=speed&live=true&limit=N` | GeoJSON; speeds with a level of service, `los` |
//! | `GET /v1/accounts/{address}` | balance and nonce |
//! | `GET /v1/vehicles?after=KEYID&limit=N` | enrolled vehicles, in the order of their key ids |
//! | `GET /v1/vehicles/{keyid}` | a vehicle's record |
//! | `GET /v1/units` | listening units, and for whom they work |
//! | `GET /v1/explain/{keyid}/{epoch}` | a payment, line by line |
//! | `GET /v1/members` | who votes, who will, and who was sentenced for what it signed |
//! | `GET /v1/params` | the numbers of the rules, and the access policy |
//! | `GET /v1/proposals` | what members have proposed, and what is decided and not yet in force |
//! | `POST /v1/transactions` | takes a signed transaction in hexadecimal, and passes it on to the others: 202 |
//! | `POST /v1/transactions/check` | says whether it would be done as things stand: 200, or 409 with the reason |
//! | `GET /v1/reports` | what was heard, and refused, by reason |
//! | `GET /v1/evidence?vehicle=KEYID&limit=N` | signed reports that cannot be, or are unlikely, newest first; for members alone |
//! | `GET /v1/finality` | from hearing to commit, in ms |
//! | `GET /metrics` | Prometheus |
//! | `GET /healthz` | `ok` while the unit runs |
//!
//! Errors are `{error, hint}`. Answers are this unit's word: whoever does not trust it asks over zenoh for
//! proofs. Bounded: [`BODY_LEN_MAX`] bytes of body, [`CONCURRENT_MAX`] questions at a time,
//! [`FEATURES_MAX`] features and [`VEHICLES_MAX`] vehicles in an answer.

mod error;
mod evidence;
mod geojson;
mod governance;
mod prometheus;
mod readers;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use milepost_node::store::{Store, StoreError};
use milepost_node::view::explanation;
use milepost_wire::output::{EpochClosed, Output, Payment, Score};
use milepost_wire::payout::adds_up;
use milepost_wire::signed::signing_digest;
use milepost_wire::state::Vehicle;
use milepost_wire::time::Epoch;
use milepost_wire::{
    Action, Address, Amount, Block, Certificate, Evidence, Hash, Height, KeyId, Kind, Member, Message,
    SignedTransaction, Timestamp, Transaction, Verified, decode, encode,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::clock;
use crate::picture::Area;
use crate::rfc3339;
use crate::served::{Origin, Served};
use error::ApiError;
use geojson::fraction;

/// The longest body, in bytes: a transaction in hexadecimal.
pub const BODY_LEN_MAX: usize = 2 * <SignedTransaction as Message>::LEN_MAX + 16;
/// Questions that are answered at a time; further ones are told to come again.
pub const CONCURRENT_MAX: usize = 64;
/// The most features of one picture.
pub const FEATURES_MAX: usize = 10_000;
/// The most vehicles on one page.
pub const VEHICLES_MAX: usize = 1_000;

type Answer = Result<Json<Value>, ApiError>;
type Asked<T> = Result<Path<T>, PathRejection>;

/// The routes.
fn router(served: Arc<Served>) -> Router {
    let places = Arc::new(Semaphore::new(CONCURRENT_MAX));
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/blocks/{height}", get(block))
        .route("/v1/light/{height}", get(light))
        .route("/v1/picture", get(picture))
        .route("/v1/accounts/{address}", get(account))
        .route("/v1/vehicles", get(vehicles))
        .route("/v1/vehicles/{keyid}", get(vehicle))
        .route("/v1/explain/{keyid}/{epoch}", get(explain))
        .route("/v1/units", get(governance::units))
        .route("/v1/members", get(governance::members))
        .route("/v1/params", get(governance::params))
        .route("/v1/proposals", get(governance::proposals))
        .route("/v1/transactions", post(transaction))
        .route("/v1/transactions/check", post(check_transaction))
        .route("/v1/reports", get(reports))
        .route("/v1/evidence", get(evidence::newest))
        .route("/v1/finality", get(finality))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .fallback(|| async {
            ApiError::absent(
                "there is no such route",
                "see /v1/status, /v1/picture, /v1/blocks/latest",
            )
        })
        .method_not_allowed_fallback(|| async { ApiError::method() })
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&served),
            readers::admit,
        ))
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            let places = Arc::clone(&places);
            async move {
                match places.try_acquire() {
                    Ok(_place) => next.run(request).await,
                    Err(_) => ApiError::busy("too many questions at a time").into_response(),
                }
            }
        }))
        .with_state(served)
}

/// Serves on `listener` until `until` is done, and then to the end of what was asked.
///
/// # Errors
///
/// That of the listener.
pub async fn serve(
    listener: TcpListener,
    served: Arc<Served>,
    until: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(served))
        .with_graceful_shutdown(until)
        .await
}

async fn status(State(served): State<Arc<Served>>) -> Json<Value> {
    let (view, readings) = (served.view(), served.readings());
    let state = view.state();
    let books = state.books();
    let members = governance::list(view.members(), state, |id| {
        id == served.me || readings.peers.contains(&id)
    });
    let (enrolled, quarantined) =
        state
            .vehicles()
            .fold((0u64, 0u64), |(enrolled, quarantined), (_, vehicle)| {
                let counts = u64::from(!vehicle.revoked && !vehicle.role.is_unit());
                let held = u64::from(!vehicle.revoked && vehicle.quarantine.is_some());
                (enrolled + counts, quarantined + held)
            });
    let held = Amount::from_micro(u64::try_from(state.held()).unwrap_or(u64::MAX));
    Json(json!({
        "chain": served.genesis.chain,
        "genesis": view.genesis_hash(),
        "id": served.me,
        "height": view.height(),
        "state_root": view.state_root(),
        "members": members,
        "peers": readings.peers.len(),
        "height_age_ms": age_ms(&served, clock::wall()),
        "epoch": books.epoch,
        "picture": { "cells": served.settled().len(), "live": served.live().len() },
        "vehicles": { "enrolled": enrolled, "quarantined": quarantined },
        "supply": {
            "minted": books.minted,
            "burned": books.burned,
            "held": held,
            "treasury": books.treasury,
            "carry": books.carry,
        },
    }))
}

/// Since the newest block; before the first, since genesis.
fn age_ms(served: &Served, now: Timestamp) -> u64 {
    let view = served.view();
    now.since(view.head().map_or(served.genesis.time, |head| head.header.time))
}

async fn block(State(served): State<Arc<Served>>, path: Asked<String>) -> Answer {
    let (height, newest) = height(&served, path)?;
    read(served, move |served| {
        let Some((block, certificate)) = served.store.block(height)? else {
            let hint = format!("blocks 1 to {newest} are here");
            return Ok(Err(ApiError::absent(
                format!("there is no block {height} yet"),
                hint,
            )));
        };
        let mut batches = Vec::with_capacity(block.body.batches.len());
        let mut reports = 0;
        for named in &block.body.batches {
            let count = served
                .store
                .batch(&named.digest)?
                .map_or(0, |batch| batch.message.reports.len());
            reports += count;
            batches.push(json!({ "digest": named.digest, "author": named.author, "reports": count }));
        }
        let outputs = served.store.outputs(height)?.unwrap_or_default();
        Ok(Ok(Json(describe_block(
            &block,
            &certificate,
            &batches,
            reports,
            &outputs,
        ))))
    })
    .await
}

/// Which height is asked for, and the newest.
fn height(served: &Served, path: Asked<String>) -> Result<(Height, Height), ApiError> {
    let text = segment(path)?;
    let newest = served.view().height();
    let height = match text.as_str() {
        "latest" => newest,
        _ => Height(parse(&text, "a height such as 17, or latest")?),
    };
    Ok((height, newest))
}

async fn light(State(served): State<Arc<Served>>, path: Asked<String>) -> Answer {
    let (height, newest) = height(&served, path)?;
    read(served, move |served| {
        let Some(block) = served.light_block(height)? else {
            let hint = format!("blocks 1 to {newest} are here");
            return Ok(Err(ApiError::absent(format!("there is no block {height}"), hint)));
        };
        let header = &block.head.header;
        let members = |list: &[Member]| -> Vec<Value> {
            let member = |member: &Member| {
                let Member { key, provider, power } = member;
                json!({ "id": key.address().ok(), "key": key, "provider": provider, "power": power })
            };
            list.iter().map(member).collect()
        };
        Ok(Ok(Json(json!({
            "height": header.height,
            "hash": header.hash(),
            "time": rfc3339::format(header.time),
            "members": members(&block.members),
            "next_members": members(&block.next_members),
            "bytes": hex::encode(encode(&block)),
        }))))
    })
    .await
}

fn describe_block(
    block: &Block,
    certificate: &Certificate,
    batches: &[Value],
    reports: usize,
    outputs: &[Output],
) -> Value {
    let header = &block.header;
    let signers: Vec<Address> = certificate.signatures.iter().map(|(signer, _)| *signer).collect();
    let done: BTreeMap<Hash, bool> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Transacted { digest, done } => Some((*digest, *done)),
            _ => None,
        })
        .collect();
    let transactions: Vec<Value> = block
        .body
        .transactions
        .iter()
        .map(|signed| {
            let digest = signing_digest(&header.chain, &signed.message);
            describe_transaction(signed, digest, done.get(&digest).copied())
        })
        .collect();
    let enacted: Vec<Value> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Enacted {
                proposal,
                change,
                done,
            } => Some(json!({ "proposal": proposal, "change": change, "done": done })),
            _ => None,
        })
        .collect();
    json!({
        "height": header.height,
        "hash": block.hash(),
        "version": header.version,
        "chain": header.chain,
        "time": rfc3339::format(header.time),
        "proposer": header.proposer,
        "parent": header.parent,
        "transactions_root": header.transactions_root,
        "batches_root": header.batches_root,
        "outputs_root": header.outputs_root,
        "state_root": header.state_root,
        "members_hash": header.members_hash,
        "next_members_hash": header.next_members_hash,
        "certificate": { "round": certificate.round, "signers": signers },
        "transactions": transactions,
        "batches": batches,
        "reports": reports,
        "outputs": outputs.len(),
        "enacted": enacted,
    })
}

/// `done` is unknown where the block's outputs are pruned.
fn describe_transaction(signed: &SignedTransaction, digest: Hash, done: Option<bool>) -> Value {
    let transaction = &signed.message;
    let action = match &transaction.action {
        Action::Transfer { to, amount } => json!({ "transfer": { "to": to, "amount": amount } }),
        Action::Enrol(enrolment) => json!({ "enrol": enrolment }),
        Action::SelfEnrol => json!("self_enrol"),
        Action::Revoke { vehicle } => json!({ "revoke": { "vehicle": vehicle } }),
        Action::Accuse { one, other } => json!({ "accuse": {
            "vehicle": one.message.vehicle,
            "sequences": [one.message.sequence, other.message.sequence],
        } }),
        Action::Blame(Evidence::Equivocation(words)) => json!({ "blame": {
            "member": words.member,
            "step": words.step,
            "height": words.height,
            "round": words.round,
        } }),
        Action::Blame(Evidence::BadBatch(batch)) => json!({ "blame": {
            "author": batch.author(),
            "batch": batch.head.message.sequence,
            "height": batch.head.message.height,
            "report": { "vehicle": batch.report.message.vehicle, "sequence": batch.report.message.sequence },
        } }),
        Action::Complain(complaint) => json!({ "complain": {
            "member": complaint.accused(),
            "batch": complaint.batch,
            "height": complaint.promise.message.height,
        } }),
        Action::Propose { change, from } => json!({ "propose": { "change": change, "from": from } }),
        Action::Approve { proposal } => json!({ "approve": proposal }),
        Action::Withdraw { proposal } => json!({ "withdraw": proposal }),
    };
    json!({
        "digest": digest,
        "done": done,
        "from": transaction.from.address().ok(),
        "nonce": transaction.nonce,
        "action": action,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PictureQuery {
    bbox: Option<String>,
    kind: Option<String>,
    #[serde(default)]
    live: bool,
    limit: Option<usize>,
}

async fn picture(
    State(served): State<Arc<Served>>,
    query: Result<Query<PictureQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let query = parameters(query, "bbox=W,S,E,N, kind, live=true or false, limit")?;
    let area = query
        .bbox
        .as_deref()
        .map(|text| parse::<Area>(text, "bbox=W,S,E,N in degrees"));
    let kind = query.kind.as_deref().map(parse_kind);
    let (area, kind) = (area.transpose()?, kind.transpose()?);
    let limit = query.limit.unwrap_or(FEATURES_MAX).min(FEATURES_MAX);
    let (name, mut figures) = if query.live {
        // What nobody spoke of for a slot is no longer live.
        let since = clock::wall().minus(served.genesis.params.slot_ms);
        ("live", served.live().figures(area, kind, since))
    } else {
        (
            "final",
            served.settled().figures(area, kind, Timestamp::default()),
        )
    };
    let truncated = figures.len() > limit;
    figures.truncate(limit);
    let body = geojson::collection(name, &figures, truncated, served.slots()).to_string();
    Ok(([(header::CONTENT_TYPE, "application/geo+json")], body).into_response())
}

fn parse_kind(text: &str) -> Result<Kind, ApiError> {
    Kind::ALL
        .into_iter()
        .find(|kind| kind.to_string() == text)
        .ok_or_else(|| unexpected(text, "kind=speed, congestion, humidity or hazard"))
}

async fn account(State(served): State<Arc<Served>>, path: Asked<String>) -> Answer {
    let address: Address = parse(&segment(path)?, "an address of 40 hexadecimal digits")?;
    // Whoever never got anything has an empty account.
    let account = served.view().state().account(&address);
    Ok(Json(
        json!({ "address": address, "balance": account.balance, "nonce": account.nonce }),
    ))
}

async fn vehicle(State(served): State<Arc<Served>>, path: Asked<String>) -> Answer {
    let id: KeyId = parse(&segment(path)?, "a key id of 16 hexadecimal digits")?;
    let view = served.view();
    let vehicle = view.state().vehicle(&id).ok_or_else(|| {
        ApiError::absent(
            format!("{id} is not enrolled"),
            "see /v1/vehicles for those that are",
        )
    })?;
    Ok(Json(describe_vehicle(id, vehicle)))
}

fn describe_vehicle(id: KeyId, vehicle: &Vehicle) -> Value {
    json!({
        "id": id,
        "address": vehicle.key.address().ok(),
        "key": vehicle.key,
        "group": vehicle.group,
        "role": vehicle.role,
        "operator": vehicle.operator(),
        "bond": vehicle.bond,
        "enrolled_at": vehicle.enrolled_at,
        "revoked": vehicle.revoked,
        "reputation": fraction(u64::from(vehicle.standing.reputation())),
        "evaluated": vehicle.standing.evaluated,
        "debt": vehicle.standing.debt as f64 / milepost_wire::state::Q as f64,
        "quarantine": vehicle.quarantine,
        "unvested": vehicle.unvested,
        "earned": vehicle.earned,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VehiclesQuery {
    after: Option<String>,
    limit: Option<usize>,
}

async fn vehicles(
    State(served): State<Arc<Served>>,
    query: Result<Query<VehiclesQuery>, QueryRejection>,
) -> Answer {
    let query = parameters(query, "after=KEYID, limit")?;
    let after = query
        .after
        .as_deref()
        .map(|text| parse::<KeyId>(text, "after=16 hexadecimal digits"));
    let after = after.transpose()?;
    let limit = query.limit.unwrap_or(100).clamp(1, VEHICLES_MAX);
    let view = served.view();
    let mut page: Vec<_> = view
        .state()
        .vehicles()
        .filter(|(id, _)| after.is_none_or(|after| **id > after))
        .take(limit + 1)
        .collect();
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| more).map(|(id, _)| **id);
    let vehicles: Vec<Value> = page
        .iter()
        .map(|(id, vehicle)| describe_vehicle(**id, vehicle))
        .collect();
    Ok(Json(json!({ "vehicles": vehicles, "next": next })))
}

async fn explain(State(served): State<Arc<Served>>, path: Asked<(String, String)>) -> Answer {
    let Path((vehicle, epoch)) = path.map_err(|error| unreadable(&error))?;
    let vehicle: KeyId = parse(&vehicle, "a key id of 16 hexadecimal digits")?;
    let epoch = Epoch(parse(&epoch, "an epoch such as 3")?);
    read(served, move |served| {
        let (mut scores, mut payment) = (Vec::<Score>::new(), None::<Payment>);
        let (mut paid_in, mut closed, mut events) = (None, None::<EpochClosed>, Vec::<Output>::new());
        for (height, index) in explanation(&served.store, vehicle, epoch)? {
            let outputs = served.store.outputs(height)?.unwrap_or_default();
            match outputs.get(index as usize) {
                Some(Output::Score(score)) => scores.push(*score),
                Some(Output::Payment(found)) => (payment, paid_in) = (Some(*found), Some(height)),
                Some(Output::EpochClosed(found)) => closed = Some(*found),
                Some(event @ (Output::Bond(_) | Output::Quarantined { .. })) => events.push(event.clone()),
                _ => {}
            }
        }
        let adds_up = payment
            .zip(closed)
            .map(|(payment, closed)| adds_up(&scores, &payment, &closed));
        Ok(Ok(Json(json!({
            "vehicle": vehicle,
            "epoch": epoch,
            "lines": scores,
            "payment": payment,
            "sums": closed,
            "events": events,
            "height": paid_in,
            "adds_up": adds_up,
        }))))
    })
    .await
}

async fn transaction(
    State(served): State<Arc<Served>>,
    body: Result<String, axum::extract::rejection::StringRejection>,
) -> Result<Response, ApiError> {
    let checked = read_transaction(&served, body)?;
    let digest = checked.digest();
    match served.take_transaction(checked, Origin::Api) {
        Ok(()) => Ok((StatusCode::ACCEPTED, Json(json!({ "digest": digest }))).into_response()),
        Err(error) => Err(ApiError::busy(error)),
    }
}

async fn check_transaction(
    State(served): State<Arc<Served>>,
    body: Result<String, axum::extract::rejection::StringRejection>,
) -> Answer {
    let checked = read_transaction(&served, body)?;
    let view = served.view();
    view.state()
        .rehearse(view.height().next(), &checked)
        .map_err(|why| {
            ApiError::conflict(why, "it would not be done as things stand after the newest block")
        })?;
    Ok(Json(
        json!({ "digest": checked.digest(), "height": view.height() }),
    ))
}

fn read_transaction(
    served: &Served,
    body: Result<String, axum::extract::rejection::StringRejection>,
) -> Result<Verified<Transaction>, ApiError> {
    let expected = "the body is one signed transaction in hexadecimal, as `milepost-obu transfer` makes it";
    let body = body.map_err(|error| ApiError::bad(error.body_text(), expected))?;
    let digits = body.trim();
    let bytes = hex::decode(digits.strip_prefix("0x").unwrap_or(digits))
        .map_err(|error| ApiError::bad(error, expected))?;
    let signed: SignedTransaction = decode(&bytes).map_err(|error| ApiError::bad(error, expected))?;
    served
        .check_transaction(signed)
        .map_err(|error| ApiError::bad(error, expected))
}

async fn reports(State(served): State<Arc<Served>>) -> Json<Value> {
    let readings = served.readings();
    let mut rejected: serde_json::Map<String, Value> = readings
        .counts
        .rejected
        .iter()
        .map(|(reason, count)| ((*reason).to_owned(), json!(count)))
        .collect();
    rejected.insert("overrun".into(), json!(readings.overrun));
    Json(json!({
        "heard": readings.counts.heard,
        "accepted": readings.counts.accepted,
        "rejected": rejected,
        "suspect": readings.counts.suspect,
        "batched": readings.counts.batched,
        "batches": readings.counts.batches,
        "queued": readings.queued,
        "live": readings.counts.live,
        "receipts": readings.counts.receipts,
    }))
}

async fn finality(State(served): State<Arc<Served>>) -> Json<Value> {
    Json(json!(served.readings().finality))
}

async fn metrics(State(served): State<Arc<Served>>) -> Response {
    let store = prometheus::Store {
        bytes: served.store.size_bytes(),
        background_errors: served.store.background_errors(),
    };
    let page = prometheus::page(&served.view(), &served.readings(), store, clock::wall());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response()
}

/// Reads the store beside the runtime: the disk may be slow.
async fn read(
    served: Arc<Served>,
    read: impl FnOnce(&Served) -> Result<Answer, StoreError> + Send + 'static,
) -> Answer {
    let asked = Arc::clone(&served);
    match tokio::task::spawn_blocking(move || read(&asked)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            served.update(|readings| readings.store_errors += 1);
            tracing::error!(%error, "cannot answer");
            Err(ApiError::failed(error))
        }
        Err(error) => Err(ApiError::failed(error)),
    }
}

fn segment(path: Asked<String>) -> Result<String, ApiError> {
    path.map(|Path(text)| text).map_err(|error| unreadable(&error))
}

fn unreadable(error: &PathRejection) -> ApiError {
    ApiError::bad(
        error.body_text(),
        "the path is UTF-8, percent-encoded where needed",
    )
}

fn parameters<T>(query: Result<Query<T>, QueryRejection>, expected: &str) -> Result<T, ApiError> {
    let known = format!("known parameters are {expected}");
    query
        .map(|Query(query)| query)
        .map_err(|error| ApiError::bad(error.body_text(), known))
}

fn parse<T: FromStr>(text: &str, expected: &str) -> Result<T, ApiError> {
    text.parse().map_err(|_| unexpected(text, expected))
}

fn unexpected(text: &str, expected: &str) -> ApiError {
    let shown: String = text.chars().take(80).collect();
    ApiError::bad(
        format!("expected {expected}, found {shown:?}"),
        "see the routes in the manual",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client;
    use crate::samples::{self, Ledger};
    use crate::served::Taken;
    use crate::status;
    use milepost_node::VerifiedBatch;
    use milepost_node::store::Rocks;
    use milepost_wire::Signed;
    use milepost_wire::light::{Bounds, LightBlock, LightClient, Progress};
    use milepost_wire::output::{Estimate, Item};
    use milepost_wire::time::Slot;
    use tokio::sync::{mpsc, watch};

    /// A unit's API on a loopback port, over a ledger of one block with one report.
    struct Site {
        url: String,
        transactions: mpsc::Receiver<Taken>,
        _runtime: tokio::runtime::Runtime,
        _views: watch::Sender<Arc<milepost_node::View>>,
        _folder: tempfile::TempDir,
    }

    fn estimate() -> Estimate {
        let seen = samples::observation(1400, 0);
        Estimate {
            item: Item {
                slot: Slot(6),
                cell: seen.cell,
                kind: Kind::Speed,
            },
            value: 1400,
            low: 1300,
            high: 1500,
            vehicles: 3,
            weight: 65_536,
            spread: 10,
        }
    }

    fn site() -> Site {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Rocks::open(folder.path()).expect("an empty store");
        let mut ledger = Ledger::open(store.clone());
        let reports = vec![samples::report(1, 1)];
        let batch = VerifiedBatch::own(
            &samples::member_key(0),
            &samples::chain(),
            1,
            Height::ZERO,
            samples::NOW,
            reports,
        );
        let view = ledger.commit(Some(Arc::new(batch)));
        let (views, newest) = watch::channel(view);
        let (sender, transactions) = mpsc::channel(4);
        let served = Served::new(samples::genesis(1), samples::member(0), store, newest, sender);
        let served = Arc::new(served.expect("a sound store"));
        served.tell(&[estimate()], clock::wall());

        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        runtime.spawn(axum::serve(listener, router(served)).into_future());
        Site {
            url,
            transactions,
            _runtime: runtime,
            _views: views,
            _folder: folder,
        }
    }

    impl Site {
        fn get(&self, path: &str) -> Value {
            client::Client::anonymous(&self.url)
                .get(path)
                .unwrap_or_else(|error| panic!("{error}"))
        }

        /// The status and the body, whatever they are.
        fn post(&self, path: &str, body: &str) -> (u16, Value) {
            let agent: ureq::Agent = ureq::Agent::config_builder()
                .http_status_as_error(false)
                .build()
                .into();
            let mut response = agent
                .post(format!("{}{path}", self.url))
                .send(body)
                .expect("an answer");
            let status = response.status().as_u16();
            (status, response.body_mut().read_json().expect("JSON"))
        }

        fn refused(&self, path: &str) -> u16 {
            match client::Client::anonymous(&self.url).get(path) {
                Err(client::AskError::Refused {
                    status, error, hint, ..
                }) => {
                    assert!(!error.is_empty() && !hint.is_empty(), "{path}");
                    status
                }
                other => panic!("{path}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_status_has_the_shape_that_scripts_rely_on() {
        let site = site();
        let answer = site.get("/v1/status");
        assert_eq!(answer["chain"], "test");
        assert_eq!(answer["height"], 1);
        assert_eq!(answer["state_root"].as_str().map(str::len), Some(64));
        assert_eq!(answer["members"][0]["provider"], "provider-0");
        assert_eq!(answer["members"][0]["power"], 1);
        assert_eq!(answer["members"][0]["connected"], true);
        assert_eq!(answer["peers"], 0);
        assert!(answer["height_age_ms"].is_u64());
        assert!(answer["picture"]["cells"].is_u64());
        assert_eq!(answer["vehicles"], json!({ "enrolled": 10, "quarantined": 0 }));
        assert_eq!(answer["supply"]["minted"], answer["supply"]["held"]);
        assert!(status::describe(&site.url, answer).is_ok());
    }

    #[test]
    fn a_block_tells_who_signed_and_what_it_holds() {
        let site = site();
        let block = site.get("/v1/blocks/latest");
        assert_eq!(block, site.get("/v1/blocks/1"));
        assert_eq!(block["certificate"]["signers"], json!([samples::member(0)]));
        assert_eq!(
            (&block["reports"], &block["batches"][0]["reports"]),
            (&json!(1), &json!(1))
        );
        assert_eq!(site.refused("/v1/blocks/2"), 404);
        assert_eq!(site.refused("/v1/blocks/0"), 404);
    }

    #[test]
    fn a_light_block_can_be_followed_from_the_genesis() {
        let site = site();
        let light = site.get("/v1/light/latest");
        assert_eq!(light, site.get("/v1/light/1"));
        assert_eq!(light["hash"], site.get("/v1/blocks/1")["hash"]);
        assert_eq!(light["members"][0]["provider"], "provider-0");
        let bytes = hex::decode(light["bytes"].as_str().expect("hexadecimal")).expect("hexadecimal");
        let block: LightBlock = decode(&bytes).expect("a light block");
        let genesis = samples::genesis(1);
        let (consortium, time) = (genesis.consortium(), block.head.header.time);
        let mut client = LightClient::new(consortium, genesis.time, Bounds::default());
        assert_eq!(client.offer(time, block), Ok(Progress::Believed));
        for absent in ["0", "2"] {
            assert_eq!(site.refused(&format!("/v1/light/{absent}")), 404);
        }
        assert_eq!(site.refused("/v1/light/first"), 400);
    }

    #[test]
    fn the_picture_is_geojson_whose_rings_are_closed() {
        let site = site();
        let picture = site.get("/v1/picture?live=true&kind=speed&bbox=11.3,44.4,11.4,44.6");
        let feature = &picture["features"][0];
        assert_eq!(picture["type"], "FeatureCollection");
        assert_eq!(feature["properties"]["speed_kmh"], 50.4);
        assert_eq!(feature["properties"]["low_speed_kmh"], 46.8);
        assert_eq!(feature["properties"]["direction"], "east");
        let level = feature["properties"].get("los");
        assert_eq!(level, Some(&Value::Null), "nothing is known of free flow yet");
        let ring = feature["geometry"]["coordinates"][0].as_array().expect("a ring");
        assert!(ring.len() >= 6 && ring.first() == ring.last());
        for elsewhere in ["live=true&kind=hazard", "live=true&bbox=0,0,1,1", "live=false"] {
            let picture = site.get(&format!("/v1/picture?{elsewhere}"));
            assert_eq!(picture["features"], json!([]), "{elsewhere}");
        }
    }

    #[test]
    fn vehicles_come_in_pages_that_meet() {
        let site = site();
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = site.get(&format!("/v1/vehicles?limit=3{after}"));
            let ids = page["vehicles"].as_array().expect("a list");
            seen.extend(
                ids.iter()
                    .map(|vehicle| vehicle["id"].as_str().expect("an id").to_owned()),
            );
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert!(seen.len() == 10 && seen.is_sorted());
        let one = site.get(&format!("/v1/vehicles/{}", seen[0]));
        assert_eq!(one["reputation"], 0.25);
        assert_eq!(
            site.get(&format!("/v1/explain/{}/0", seen[0]))["lines"],
            json!([])
        );
    }

    #[test]
    fn a_signed_transaction_is_taken_and_nothing_else_is() {
        let mut site = site();
        let key = samples::vehicle_key(1);
        let transaction = Transaction {
            from: key.public(),
            nonce: 0,
            action: Action::Transfer {
                to: samples::member(3),
                amount: Amount::from_micro(1),
            },
        };
        let signed = Signed::sign(transaction.clone(), &samples::chain(), &key);
        let (status, answer) = site.post("/v1/transactions", &hex::encode(encode(signed.signed())));
        assert_eq!((status, &answer["digest"]), (202, &json!(signed.digest())));
        assert_eq!(
            site.transactions
                .try_recv()
                .expect("handed on")
                .transaction
                .digest(),
            signed.digest()
        );

        let elsewhere = milepost_wire::ChainId::new("elsewhere").expect("an id");
        let strange = Signed::sign(transaction, &elsewhere, &key);
        let strange = hex::encode(encode(strange.signed()));
        for (body, expected) in [("", 400), ("zz", 400), ("00ff", 400), (strange.as_str(), 400)] {
            assert_eq!(site.post("/v1/transactions", body).0, expected);
        }
        assert_eq!(
            site.post("/v1/transactions", &"a".repeat(BODY_LEN_MAX + 1)).0,
            400
        );
        assert_eq!(site.post("/v1/status", "").0, 405);
    }

    #[test]
    fn what_members_decide_on_is_told_and_a_transaction_is_rehearsed() {
        let site = site();
        let members = site.get("/v1/members");
        assert_eq!(members["members"][0]["id"], json!(samples::member(0)));
        assert_eq!((&members["quorum"], &members["votes"]), (&json!(1), &json!(true)));
        assert_eq!(
            (&members["next"], &members["sentences"]),
            (&Value::Null, &json!([]))
        );
        let params = site.get("/v1/params");
        assert_eq!(
            (&params["access"], &params["params"]["slot_ms"]),
            (&json!("consortium"), &json!(10_000))
        );
        let proposals = site.get("/v1/proposals");
        assert_eq!(
            (&proposals["open"], &proposals["scheduled"]),
            (&json!([]), &json!([]))
        );

        let asked = |key: &milepost_wire::SecretKey, nonce| {
            let action = Action::Propose {
                change: milepost_wire::Change::SetAccess(milepost_wire::Access::Private),
                from: Height(0),
            };
            let from = key.public();
            let transaction = Transaction { from, nonce, action };
            let signed = Signed::sign(transaction, &samples::chain(), key);
            site.post("/v1/transactions/check", &hex::encode(encode(signed.signed())))
        };
        assert_eq!(asked(&samples::member_key(0), 0).0, 200);
        for (key, nonce, expected) in [
            (samples::vehicle_key(1), 0, "is no member"),
            (samples::member_key(0), 4, "nonce"),
        ] {
            let (status, answer) = asked(&key, nonce);
            assert_eq!(status, 409);
            assert!(
                answer["error"].as_str().expect("a reason").contains(expected),
                "{answer}"
            );
        }
        assert_eq!(site.get("/v1/proposals"), proposals, "nothing was done");
    }

    #[test]
    fn bad_questions_are_answered_with_what_was_expected() {
        let site = site();
        for path in [
            "/v1/blocks/-1",
            "/v1/blocks/99999999999999999999",
            "/v1/blocks/%ff",
            "/v1/accounts/12",
            "/v1/vehicles/zz",
            "/v1/vehicles?limit=x",
            "/v1/vehicles?after=1",
            "/v1/explain/0000000000000000/x",
            "/v1/picture?bbox=1,2,3",
            "/v1/picture?kind=weather",
            "/v1/picture?live=perhaps",
            "/v1/picture?color=red",
        ] {
            assert_eq!(site.refused(path), 400, "{path}");
        }
        assert_eq!(site.refused("/v1/nothing"), 404);
        assert_eq!(site.refused("/v1/vehicles/0000000000000000"), 404);
        assert_eq!(site.refused("/v1/transactions"), 405);
        let nobody = site.get("/v1/accounts/0x0000000000000000000000000000000000000000");
        assert_eq!(nobody["balance"], "0.000000");
    }

    /// Names and types of what is exported are those of docs/metrics.md, and the other way round.
    #[test]
    fn every_metric_is_documented_and_every_documented_one_is_there() {
        let site = site();
        let page = ureq::get(format!("{}/metrics", site.url))
            .call()
            .and_then(|mut answer| answer.body_mut().read_to_string())
            .expect("a page");
        let exported: Vec<(&str, &str)> = page
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .collect();
        let table = include_str!("../../docs/metrics.md");
        let documented: Vec<(&str, &str)> = table
            .lines()
            .filter_map(|line| {
                let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
                Some((name, rest.split(" | ").next()?))
            })
            .collect();
        assert_eq!(exported, documented);
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split([' ', '{']).next().expect("a name");
            assert!(exported.iter().any(|(known, _)| *known == name), "{line}");
        }
    }
}
