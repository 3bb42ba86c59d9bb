//! Under which key does what stand?
//!
//! Column families and keys; numbers are big-endian, so that the database's order is theirs.

use milepost_wire::output::Output;
use milepost_wire::time::Epoch;
use milepost_wire::{Cell, Hash, Height, KeyId, Kind, encode};

use super::Place;

/// `height` → encoded header. Kept for ever, as the certificates are.
pub(super) const HEADERS: &str = "headers";
/// `height` → encoded body.
pub(super) const BLOCKS: &str = "blocks";
/// `height` → encoded certificate.
pub(super) const CERTIFICATES: &str = "certificates";
/// `height` → encoded outputs.
pub(super) const OUTPUTS: &str = "outputs";
/// `digest` → encoded signed batch.
pub(super) const BATCHES: &str = "batches";
/// `digest` → height of the last block that names this batch.
pub(super) const NAMED: &str = "named";
/// `height, digest` → nothing: batches by the newest block when they came, until it is known what became of them.
pub(super) const ARRIVED: &str = "arrived";
/// `hash` → members, where a header gave them the vote.
pub(super) const MEMBERS: &str = "members";
/// `StateKey` → value.
pub(super) const TREE: &str = "tree";
/// table tag and key → value.
pub(super) const OPEN: &str = "open";
/// `hash` → encoded block that is not decided.
pub(super) const BODIES: &str = "bodies";
/// `height, round` → hash of the block built for it.
pub(super) const OWN: &str = "own";
/// `height, index` → encoded log entry.
pub(super) const LOG: &str = "log";
/// `vehicle, epoch, height, index` → nothing.
pub(super) const EXPLAIN: &str = "explain";
/// `cell, kind` → `height, index`.
pub(super) const PICTURE: &str = "picture";
/// `genesis` → hash; `tip`, `pruned`, `outputs pruned` → height; `silent until` → ms; `evidence` → a list.
pub(super) const META: &str = "meta";

/// All column families.
pub(super) const ALL: [&str; 16] = [
    HEADERS,
    BLOCKS,
    CERTIFICATES,
    OUTPUTS,
    BATCHES,
    NAMED,
    ARRIVED,
    MEMBERS,
    TREE,
    OPEN,
    BODIES,
    OWN,
    LOG,
    EXPLAIN,
    PICTURE,
    META,
];

pub(super) const GENESIS: &[u8] = b"genesis";
pub(super) const TIP: &[u8] = b"tip";
/// Bodies up to this height are pruned.
pub(super) const PRUNED: &[u8] = b"pruned";
/// Outputs up to this height are pruned.
pub(super) const OUTPUTS_PRUNED: &[u8] = b"outputs pruned";
/// No vote before a block of a later time is committed.
pub(super) const SILENT: &[u8] = b"silent until";

/// What convicts other members and is not on the ledger yet.
pub(super) const EVIDENCE: &[u8] = b"evidence";

pub(super) fn height(height: Height) -> [u8; 8] {
    height.0.to_be_bytes()
}

/// A height and a batch.
pub(super) fn arrived(height: Height, digest: &Hash) -> [u8; 40] {
    let mut key = [0; 40];
    key[..8].copy_from_slice(&height.0.to_be_bytes());
    key[8..].copy_from_slice(&digest.0);
    key
}

/// A height and a number below it: a round, a log entry, an output.
pub(super) fn below(height: Height, index: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&height.0.to_be_bytes());
    key[8..].copy_from_slice(&index.to_be_bytes());
    key
}

pub(super) fn place(bytes: &[u8]) -> Option<Place> {
    let (height, index) = bytes.split_at_checked(8)?;
    Some((
        Height(u64::from_be_bytes(height.try_into().ok()?)),
        u32::from_be_bytes(index.try_into().ok()?),
    ))
}

pub(super) fn explain_prefix(vehicle: KeyId, epoch: Epoch) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&vehicle.0);
    key[8..].copy_from_slice(&epoch.0.to_be_bytes());
    key
}

pub(super) fn picture(cell: Cell, kind: Kind) -> Vec<u8> {
    encode(&(cell, kind))
}

/// The indices under which an output is found again.
pub(super) enum Index {
    Explain([u8; 24]),
    Picture(Vec<u8>),
}

/// Which index an output belongs into, if any.
pub(super) fn index(output: &Output, place: Place) -> Option<Index> {
    let explain = |vehicle, epoch| {
        let mut key = [0; 24];
        key[..12].copy_from_slice(&explain_prefix(vehicle, epoch));
        key[12..].copy_from_slice(&below(place.0, place.1));
        Some(Index::Explain(key))
    };
    match output {
        Output::Score(score) => explain(score.vehicle, score.epoch),
        Output::Payment(payment) => explain(payment.vehicle, payment.epoch),
        Output::EpochClosed(closed) => explain(super::EVERYBODY, closed.epoch),
        Output::Bond(bond) => explain(output.vehicle()?, bond.epoch),
        Output::Quarantined { vehicle, epoch, .. } => explain(*vehicle, *epoch),
        Output::Estimate(estimate) => Some(Index::Picture(picture(estimate.item.cell, estimate.item.kind))),
        _ => None,
    }
}
