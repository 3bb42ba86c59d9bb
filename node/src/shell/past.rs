//! How do units tell one another what was?
//!
//! Each answers from its disk, on a thread of its own: blocks, bodies and batches, which a member that is a little
//! behind fetches one by one; headers and snapshots, for whoever is far behind or new; the genesis.
//!
//! | question | answer |
//! |---|---|
//! | `q/block/<height>` | a [`BlockAnswer`]; an error of [`GONE`] where it is pruned |
//! | `q/body/<hash>` | a [`PeerMessage::Body`] |
//! | `q/batch/<digest>` | a [`SignedBatch`](milepost_wire::SignedBatch) |
//! | `q/heads/<height>` | a [`HeadsAnswer`] |
//! | `q/snapshot/newest` | an [`Offer`](crate::snapshot::Offer) |
//! | `q/chunk/<height>-<index>` | a chunk's bytes |
//! | `q/genesis/first` | the genesis as JSON |

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use milepost_wire::certificate::Head;
use milepost_wire::codec::{Message, decode, encode};
use milepost_wire::{Address, ChainId, Height, topic};
use zenoh::Session;
use zenoh::Wait;
use zenoh::qos::Priority;
use zenoh::query::{ConsolidationMode, Query, QueryTarget};

use super::Shared;
use crate::catch_up::Peers;
use crate::message::{BlockAnswer, HeadsAnswer, PeerMessage, ProposedBody};
use crate::snapshot::Offer;
use crate::store::{Store, StoreError};

/// The error reply of a unit that had a block and has it no more.
pub(super) const GONE: &[u8] = b"pruned";
/// How long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long everybody is given to answer.
const ALL_TIMEOUT: Duration = Duration::from_secs(3);
/// The most answers that are taken where everybody is asked.
const ANSWERS_MAX: usize = 256;
/// How often a unit looks whether it is far behind.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The most bytes of a genesis.
const GENESIS_LEN_MAX: usize = 8 << 20;
/// Headers are added to an answer up to about so many bytes.
const HEADS_LEN: usize = 4 << 20;

/// What a question finds.
enum Found {
    Answer(Vec<u8>),
    Gone,
}

/// Answers a question under `…/q/<what>/<which>/<member, or * for all>`.
pub(super) fn answer(shared: &Shared, query: &Query) {
    let asked = query.key_expr().as_str();
    let mut parts = asked.rsplit('/').skip(1);
    let (Some(which), Some(what)) = (parts.next(), parts.next()) else {
        return;
    };
    let sent = match find(shared, what, which) {
        Some(Found::Answer(bytes)) => {
            let key = topic::answer_of(&shared.chain, what, which, shared.me);
            query.reply(key, bytes).wait()
        }
        Some(Found::Gone) => query.reply_err(GONE).wait(),
        None => return,
    };
    if let Err(error) = sent {
        tracing::debug!(asked, %error, "an answer was not sent");
    }
}

fn find(shared: &Shared, what: &str, which: &str) -> Option<Found> {
    let store = &shared.store;
    let bytes = match what {
        "block" => return block(shared, Height(which.parse().ok()?)),
        "body" => {
            let block = read(shared, store.body(&which.parse().ok()?))??;
            encode(&PeerMessage::Body(ProposedBody { round: 0, block }))
        }
        "batch" => encode(&read(shared, store.batch(&which.parse().ok()?))??),
        "heads" => heads(shared, Height(which.parse().ok()?))?,
        "snapshot" => {
            let newest = shared.snapshots.heights().ok()?.last().copied()?;
            encode(&shared.snapshots.offer(newest).ok()??)
        }
        "chunk" => {
            let (height, index) = which.split_once('-')?;
            let height = Height(height.parse().ok()?);
            shared.snapshots.chunk(height, index.parse().ok()?).ok()??
        }
        "genesis" => serde_json::to_vec(&shared.genesis).ok()?,
        _ => return None,
    };
    Some(Found::Answer(bytes))
}

/// What the disk says; that it cannot be read is for the operator to know, and no answer.
fn read<T>(shared: &Shared, read: Result<T, StoreError>) -> Option<T> {
    if let Err(error) = &read {
        shared.counters.store_errors.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%error, "a question of another unit cannot be answered from the disk");
    }
    read.ok()
}

fn block(shared: &Shared, height: Height) -> Option<Found> {
    let store = &shared.store;
    let Some((block, certificate)) = read(shared, store.block(height))? else {
        return (height <= read(shared, store.height())?).then_some(Found::Gone);
    };
    let batches = block
        .body
        .batches
        .iter()
        .map(|named| read(shared, store.batch(&named.digest))?)
        .collect::<Option<_>>()?;
    let bytes = encode(&BlockAnswer {
        block,
        certificate,
        batches,
    });
    (bytes.len() <= BlockAnswer::LEN_MAX).then_some(Found::Answer(bytes))
}

fn heads(shared: &Shared, from: Height) -> Option<Vec<u8>> {
    let store = &shared.store;
    let mut heads: Vec<Head> = read(shared, store.heads(from, HeadsAnswer::COUNT_MAX))?;
    // What is above the tip is not decided here yet.
    let tip = read(shared, store.height())?;
    heads.retain(|head| head.header.height <= tip);
    let mut len = 0;
    let fitting = heads.iter().take_while(|head| {
        len += encode(*head).len();
        len <= HEADS_LEN
    });
    let count = fitting.count();
    heads.truncate(count);
    if heads.is_empty() {
        return None;
    }
    let sets = read(shared, store.members_after(&heads))?;
    let members = sets.iter().map(milepost_wire::Members::to_vec).collect();
    Some(encode(&HeadsAnswer { heads, members }))
}

/// Tells when a snapshot is the way on: a peer has our next block no more, or we are far behind, and somebody offers a
/// snapshot whose certificate our members signed, as far as we know them.
pub(super) async fn watch_behind(session: Session, shared: Arc<Shared>, bytes_max: u64, lead: u64) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        let view = shared.view();
        let (here, gone) = (view.height(), shared.gone.swap(0, Ordering::Relaxed) > 0);
        let claimed = shared.claimed.load(Ordering::Relaxed);
        if !gone && claimed < here.0.saturating_add(lead) {
            continue;
        }
        let mut peers = AskPeers::new(session.clone(), shared.chain.clone());
        let Ok(offers) = tokio::task::spawn_blocking(move || peers.offers()).await else {
            return;
        };
        let (chain, members) = (&shared.chain, view.members());
        let lead = if gone { 1 } else { lead };
        let best = offers
            .iter()
            .filter_map(|(_, bytes)| decode::<Offer>(bytes).ok())
            .filter(|offer| offer.check(bytes_max).is_ok() && offer.head.header.chain == *chain)
            .filter(|offer| {
                // Members may have changed since: then only the headers on the way can tell.
                offer.head.header.members_hash != members.hash() || offer.head.verify(chain, members).is_ok()
            })
            .map(|offer| offer.manifest.height)
            .filter(|height| height.0 >= here.0.saturating_add(lead))
            .max();
        if let Some(height) = best {
            tracing::warn!(%here, %height, "far behind: a snapshot is the way on");
            shared.behind.send_replace(Some(height));
            return;
        }
    }
}

/// The peers behind a zenoh session. It blocks: not for an async task.
pub struct AskPeers {
    session: Session,
    chain: ChainId,
}

impl AskPeers {
    /// Whoever this session reaches.
    pub fn new(session: Session, chain: ChainId) -> Self {
        Self { session, chain }
    }

    /// Whether anybody has a first block of this chain.
    pub fn has_begun(&self) -> bool {
        let key = topic::ask_heads_of_all(&self.chain, Height(1));
        !ask_all(&self.session, &key, HeadsAnswer::LEN_MAX).is_empty()
    }

    fn ask(&self, key: String, len_max: usize) -> Option<Vec<u8>> {
        let replies = self
            .session
            .get(key)
            .timeout(ANSWER_TIMEOUT)
            .priority(Priority::Background)
            .wait()
            .ok()?;
        let sample = replies.recv().ok()?.into_result().ok()?;
        let payload = sample.payload();
        (payload.len() <= len_max).then(|| payload.to_bytes().into_owned())
    }
}

impl Peers for AskPeers {
    fn offers(&mut self) -> Vec<(Address, Vec<u8>)> {
        ask_all(&self.session, &topic::ask_snapshots(&self.chain), Offer::LEN_MAX)
    }

    fn heads(&mut self, peer: Address, from: Height) -> Option<Vec<u8>> {
        self.ask(topic::ask_heads(&self.chain, from, peer), HeadsAnswer::LEN_MAX)
    }

    fn chunk(&mut self, peer: Address, height: Height, index: usize) -> Option<Vec<u8>> {
        let len_max = crate::snapshot::Chunk::LEN_MAX;
        self.ask(topic::ask_chunk(&self.chain, height, index, peer), len_max)
    }
}

/// The genesis of whatever chains this session reaches, as JSON; who says so vouches for nothing. It blocks.
pub fn ask_genesis(session: &Session) -> Vec<(Address, Vec<u8>)> {
    ask_all(session, &topic::ask_genesis(), GENESIS_LEN_MAX)
}

/// What everybody answers who does in time, one answer each.
fn ask_all(session: &Session, key: &str, len_max: usize) -> Vec<(Address, Vec<u8>)> {
    let asked = session
        .get(key)
        .target(QueryTarget::All)
        .consolidation(ConsolidationMode::None)
        .timeout(ALL_TIMEOUT)
        .wait();
    let Ok(replies) = asked else { return Vec::new() };
    let mut answers = std::collections::BTreeMap::new();
    while let Ok(reply) = replies.recv() {
        let Ok(sample) = reply.into_result() else { continue };
        let name = sample.key_expr().as_str().rsplit('/').next().unwrap_or_default();
        let Ok(peer) = name.parse::<Address>() else {
            continue;
        };
        if sample.payload().len() > len_max || answers.len() >= ANSWERS_MAX {
            continue;
        }
        answers.insert(peer, sample.payload().to_bytes().into_owned());
    }
    answers.into_iter().collect()
}
