//! What do the other members say and ask?
//!
//! Zenoh's callbacks decode and hand on, and wait for nothing. Batches are verified, and questions answered, on threads of
//! their own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};

use milepost_wire::SignedBatch;
use milepost_wire::codec::decode;
use milepost_wire::topic::{self, Channel};
use zenoh::Session;
use zenoh::sample::SampleKind;

use super::{Shared, past};
use crate::message::PeerMessage;
use crate::node::Input;

/// Batches that wait to be verified.
const VERIFYING_MAX: usize = 256;
/// Questions of other members that wait to be answered.
const ASKED_MAX: usize = 256;

/// Subscribes to the other members, and answers them.
pub(super) async fn listen(session: &Session, shared: &Arc<Shared>) -> zenoh::Result<()> {
    let (to_verify, verifying) = sync_channel::<SignedBatch>(VERIFYING_MAX);
    for channel in [Channel::Bft, Channel::Body, Channel::Batch, Channel::Member] {
        let (shared, to_verify) = (shared.clone(), to_verify.clone());
        let own = topic::from_member(&shared.chain, channel, shared.me);
        let key = topic::all_members(&shared.chain, channel);
        let hear = move |sample: zenoh::sample::Sample| {
            if sample.key_expr().as_str() == own || sample.kind() != SampleKind::Put {
                return;
            }
            let fits = match decode::<PeerMessage>(&sample.payload().to_bytes()) {
                Ok(PeerMessage::Batch(signed)) => {
                    let fits = to_verify.try_send(signed).is_ok();
                    shared
                        .counters
                        .dropped
                        .fetch_add(u64::from(!fits), Ordering::Relaxed);
                    fits
                }
                Ok(PeerMessage::Status(status)) => {
                    shared.claimed.fetch_max(status.height.0, Ordering::Relaxed);
                    shared.offer(Input::Peer(PeerMessage::Status(status))).is_ok()
                }
                Ok(message) => shared.offer(Input::Peer(message)).is_ok(),
                Err(error) => {
                    shared.counters.malformed.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(%error, "a message of a member is refused");
                    true
                }
            };
            if !fits {
                tracing::debug!("a message of a member is dropped: this one is busy");
            }
        };
        session
            .declare_subscriber(key)
            .callback(hear)
            .background()
            .await?;
    }
    spawn_verifier(shared.clone(), verifying)?;

    let (to_answer, asked) = sync_channel::<zenoh::query::Query>(ASKED_MAX);
    let ask = move |query| drop(to_answer.try_send(query));
    session
        .declare_queryable(topic::asked_of(&shared.chain, shared.me))
        .callback(ask)
        .background()
        .await?;
    spawn_answerer(shared.clone(), asked)?;
    Ok(())
}

/// Verifies others' batches, one after the other, each on all cores.
fn spawn_verifier(shared: Arc<Shared>, verifying: Receiver<SignedBatch>) -> std::io::Result<()> {
    let verify = move || {
        for signed in verifying {
            if let Ok(batch) = shared.verify(signed) {
                shared.counters.batches_heard.fetch_add(1, Ordering::Relaxed);
                let _ = shared.heard.send(batch.clone());
                // A full queue drops it, counted; it comes again when a block names it.
                let _ = shared.offer(Input::Batch(batch));
            }
        }
    };
    std::thread::Builder::new()
        .name("milepost-verify".into())
        .spawn(verify)
        .map(drop)
}

/// Answers the other members' questions from the disk.
fn spawn_answerer(shared: Arc<Shared>, asked: Receiver<zenoh::query::Query>) -> std::io::Result<()> {
    let answer = move || {
        for query in asked {
            past::answer(&shared, &query);
        }
    };
    std::thread::Builder::new()
        .name("milepost-answer".into())
        .spawn(answer)
        .map(drop)
}
