//! What does the member say and ask?
//!
//! One task publishes, and drops what the network does not take at once. Each question is a task of its own; its answer comes
//! back as an input.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use milepost_wire::codec::{decode, encode};
use milepost_wire::signed::signing_digest;
use milepost_wire::topic::{self, Channel};
use milepost_wire::{Address, SignedBatch};
use tokio::sync::mpsc;
use zenoh::Session;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::query::ConsolidationMode;

use super::{Shared, past};
use crate::message::{BlockAnswer, PeerMessage};
use crate::node::{Input, Output, Want};

/// How long an answer may take.
const FETCH_TIMEOUT: Duration = Duration::from_millis(1500);
/// So many answers to one question are looked at.
const ANSWERS_MAX: usize = 8;

/// Carries outputs to the network.
pub(super) async fn publish(session: Session, shared: Arc<Shared>, mut sending: mpsc::Receiver<Output>) {
    let mut turn = 0usize;
    while let Some(output) = sending.recv().await {
        let (key, bytes, priority, express) = match output {
            Output::Send { channel, bytes } => {
                let key = topic::from_member(&shared.chain, channel, shared.me);
                match channel {
                    Channel::Bft => (key, bytes, Priority::RealTime, true),
                    Channel::Body => (key, bytes, Priority::DataHigh, true),
                    Channel::Batch => (key, bytes, Priority::DataHigh, false),
                    Channel::Member => (key, bytes, Priority::InteractiveHigh, true),
                }
            }
            Output::Committed(view) => match view.head() {
                Some(head) => (
                    topic::head(&shared.chain),
                    encode(head),
                    Priority::InteractiveHigh,
                    true,
                ),
                None => continue,
            },
            Output::Fetch { want, of } => {
                turn = turn.wrapping_add(1);
                if let Some(member) = of.or_else(|| next_other(&shared, turn)) {
                    tokio::spawn(fetch(session.clone(), shared.clone(), want, member));
                }
                continue;
            }
            Output::Equivocated(_) | Output::Complains(_) => continue,
        };
        let put = session
            .put(key, bytes)
            .congestion_control(CongestionControl::Drop)
            .priority(priority);
        if let Err(error) = put.express(express).await {
            tracing::debug!(%error, "not published");
        }
    }
}

/// Each time another member.
fn next_other(shared: &Shared, turn: usize) -> Option<Address> {
    let view = shared.view();
    // Whoever is far behind knows members of old, some of whom may be gone: those who are present answer as well.
    let present = shared
        .present
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let known = view.members().iter().map(|(address, _)| address);
    let others: BTreeSet<Address> = known.chain(present).filter(|other| *other != shared.me).collect();
    let others = Vec::from_iter(others);
    others.get(turn.checked_rem(others.len())?).copied()
}

/// Asks another member.
async fn fetch(session: Session, shared: Arc<Shared>, want: Want, member: Address) {
    let key = match want {
        Want::Block(height) => topic::ask_block(&shared.chain, height, member),
        Want::Body(hash) => topic::ask_body(&shared.chain, hash, member),
        Want::Batch(digest) => topic::ask_batch(&shared.chain, digest, member),
    };
    // Whoever else answers in the member's name must not hide its own answer.
    let asked = session.get(key).consolidation(ConsolidationMode::None);
    let Ok(replies) = asked.timeout(FETCH_TIMEOUT).await else {
        return;
    };
    for _ in 0..ANSWERS_MAX {
        let Ok(reply) = replies.recv_async().await else {
            return;
        };
        let sample = match reply.into_result() {
            Ok(sample) => sample,
            Err(error) => {
                if error.payload().to_bytes() == past::GONE {
                    shared.gone.fetch_add(1, Ordering::Relaxed);
                }
                continue;
            }
        };
        let bytes = sample.payload().to_bytes().into_owned();
        let shared = shared.clone();
        let taken = tokio::task::spawn_blocking(move || take_answer(&shared, want, member, &bytes)).await;
        match taken {
            Ok(true) => return,
            Ok(false) => {}
            Err(_) => tracing::error!("an answer could not be taken"),
        }
    }
}

/// Hands an answer in; says whether it is one.
fn take_answer(shared: &Shared, want: Want, member: Address, bytes: &[u8]) -> bool {
    let input = match want {
        Want::Block(_) => decode::<BlockAnswer>(bytes).ok().and_then(|answer| {
            // The cheap check first: without a good certificate its batches are not worth verifying.
            answer
                .certificate
                .verify(&shared.chain, shared.view().members())
                .ok()?;
            let batches = answer
                .batches
                .into_iter()
                .map(|signed| shared.verify(signed).ok())
                .collect::<Option<_>>()?;
            shared.counters.fetched_blocks.fetch_add(1, Ordering::Relaxed);
            Some(Input::Block {
                block: Box::new(answer.block),
                certificate: answer.certificate,
                batches,
            })
        }),
        Want::Body(_) => decode::<PeerMessage>(bytes)
            .ok()
            .filter(|message| matches!(message, PeerMessage::Body(_)))
            .map(Input::Peer),
        Want::Batch(batch) => decode::<SignedBatch>(bytes).ok().and_then(|signed| {
            let is_it = signing_digest(&shared.chain, &signed.message) == batch;
            let verified = shared.verify(signed);
            // A batch of long ago is handed out, whether its author still counts or not.
            let is_sound = match &verified {
                Ok(_) => true,
                Err(error) => error.may_have_been_right(),
            };
            if is_it && is_sound {
                let _ = shared.offer(Input::HandedOut { by: member, batch });
            }
            verified.ok().map(Input::Batch)
        }),
    };
    let is_one = input.is_some();
    match input {
        // A full queue drops it, counted; it is fetched again.
        Some(input) => drop(shared.offer(input)),
        None => {
            shared.counters.malformed.fetch_add(1, Ordering::Relaxed);
        }
    }
    is_one
}
