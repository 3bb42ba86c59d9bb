//! What stands in a block, and what does a light client need of it?

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use milepost_node::store::Store;
use milepost_wire::output::Output;
use milepost_wire::signed::signing_digest;
use milepost_wire::{Address, Block, Certificate, Hash, Height, Member, encode};
use serde_json::{Value, json};

use super::asked::{Answer, Asked, parse, read, segment};
use super::error::ApiError;
use super::transactions;
use crate::rfc3339;
use crate::served::Served;

pub(super) async fn block(State(served): State<Arc<Served>>, path: Asked<String>) -> Answer {
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

pub(super) async fn light(State(served): State<Arc<Served>>, path: Asked<String>) -> Answer {
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
            transactions::describe(signed, digest, done.get(&digest).copied())
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
