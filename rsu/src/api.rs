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
//! | `GET /v1/evidence?vehicle=KEYID&limit=N` | signed reports that cannot be, are unlikely, or contradict another, newest first; for members alone |
//! | `GET /v1/finality` | from hearing to commit, in ms |
//! | `GET /metrics` | Prometheus |
//! | `GET /healthz` | `ok` while the unit runs |
//!
//! Errors are `{error, hint}`. Answers are this unit's word: whoever does not trust it asks over zenoh for
//! proofs. Bounded: [`BODY_LEN_MAX`] bytes of body, [`CONCURRENT_MAX`] questions at a time,
//! [`FEATURES_MAX`] features and [`VEHICLES_MAX`] vehicles in an answer.

mod asked;
mod blocks;
mod error;
mod evidence;
mod geojson;
mod governance;
mod prometheus;
mod readers;
mod transactions;
mod vehicles;

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::header;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use milepost_node::store::Store as _;
use milepost_wire::{Amount, Area, Kind, Message, SignedTransaction, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::asked::{parameters, parse, unexpected};
use self::error::ApiError;
use crate::clock;
use crate::served::Served;

/// The longest body, in bytes: a transaction in hexadecimal.
pub const BODY_LEN_MAX: usize = 2 * <SignedTransaction as Message>::LEN_MAX + 16;
/// Questions that are answered at a time; further ones are told to come again.
pub const CONCURRENT_MAX: usize = 64;
/// The most features of one picture.
pub const FEATURES_MAX: usize = 10_000;
/// The most vehicles on one page.
pub const VEHICLES_MAX: usize = 1_000;

/// The routes.
fn router(served: Arc<Served>) -> Router {
    let places = Arc::new(Semaphore::new(CONCURRENT_MAX));
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/blocks/{height}", get(blocks::block))
        .route("/v1/light/{height}", get(blocks::light))
        .route("/v1/picture", get(picture))
        .route("/v1/accounts/{address}", get(vehicles::account))
        .route("/v1/vehicles", get(vehicles::vehicles))
        .route("/v1/vehicles/{keyid}", get(vehicles::vehicle))
        .route("/v1/explain/{keyid}/{epoch}", get(vehicles::explain))
        .route("/v1/units", get(governance::units))
        .route("/v1/members", get(governance::members))
        .route("/v1/params", get(governance::params))
        .route("/v1/proposals", get(governance::proposals))
        .route("/v1/transactions", post(transactions::take))
        .route("/v1/transactions/check", post(transactions::check))
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
        "two_contents": readings.counts.two_contents,
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

#[cfg(test)]
mod tests;
