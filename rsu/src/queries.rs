//! What can be asked over zenoh?
//!
//! | key | answer |
//! |---|---|
//! | `q/account/<address>` | a [`StateProof`](milepost_wire::proof::StateProof) of the newest ledger |
//! | `q/vehicle/<key id>` | likewise |
//! | `q/picture?bbox=W,S,E,N` | [`OutputsProof`](milepost_wire::proof::OutputsProof)s of the newest estimates, one a reply; where there is none, one of no output under the newest head |
//! | `q/explain/<key id>/<epoch>` | [`OutputsProof`](milepost_wire::proof::OutputsProof)s of scores, bonds, payment and the epoch's sums, one a reply |
//! | `q/light/<height, or latest>` | a [`LightBlock`](milepost_wire::light::LightBlock), of whatever age |
//!
//! Everything is proved, so it does not matter which unit answers. What cannot be understood gets an error
//! reply. Bounded: [`ASKED_MAX`] questions wait, further ones are dropped; a picture has at most
//! [`FIGURES_MAX`] figures. Questions are answered one after the other on a thread of their own, since proofs
//! take time; they never hold up what is heard.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use milepost_node::store::Store;
use milepost_node::view::{explanation, prove_outputs};
use milepost_wire::proof::OutputsProof;
use milepost_wire::state::StateKey;
use milepost_wire::time::Epoch;
use milepost_wire::{Address, Area, Height, KeyId, encode, topic};
use zenoh::query::Query;
use zenoh::{Session, Wait};

use crate::served::Served;

/// Questions that wait to be answered.
pub const ASKED_MAX: usize = 256;
/// The most figures of one picture.
pub const FIGURES_MAX: usize = 16_384;
/// The longest question, in bytes: everything beyond is refused unread.
const QUESTION_LEN_MAX: usize = 256;

/// Begins to answer.
///
/// # Errors
///
/// Where zenoh refuses a queryable, or no thread can be started.
pub async fn answer(session: &Session, served: Arc<Served>) -> zenoh::Result<()> {
    let root = topic::root(&served.genesis.chain);
    let (to_answer, asked) = sync_channel(ASKED_MAX);
    for about in ["account/*", "vehicle/*", "picture", "explain/*/*", "light/*"] {
        let to_answer = to_answer.clone();
        session
            .declare_queryable(format!("{root}/q/{about}"))
            // One unit's answer is all that there is to know: no need to ask the others.
            .complete(true)
            .callback(move |query| drop(to_answer.try_send(query)))
            .background()
            .await?;
    }
    std::thread::Builder::new()
        .name("milepost-queries".into())
        .spawn(move || answer_all(&served, asked))?;
    Ok(())
}

fn answer_all(served: &Served, asked: Receiver<Query>) {
    for query in asked {
        let key = query.key_expr().clone();
        let replied = match proofs(served, key.as_str(), query.parameters().as_str()) {
            Ok(proofs) => proofs
                .into_iter()
                .try_for_each(|proof| query.reply(key.clone(), proof).wait()),
            Err(reason) => query.reply_err(reason).wait(),
        };
        if let Err(error) = replied {
            tracing::debug!(%key, %error, "an answer was not sent");
        }
    }
}

/// The encoded proofs that answer a question, or what is wrong with it.
fn proofs(served: &Served, key: &str, parameters: &str) -> Result<Vec<Vec<u8>>, String> {
    if key.len() + parameters.len() > QUESTION_LEN_MAX {
        return Err(format!(
            "a question has at most {QUESTION_LEN_MAX} bytes, found {}",
            key.len() + parameters.len()
        ));
    }
    if !served.may_publish() {
        return Err("this chain is private, and this unit's links are open to strangers: it answers over secured links alone".into());
    }
    let root = topic::root(&served.genesis.chain);
    let about = key
        .strip_prefix(&root)
        .and_then(|rest| rest.strip_prefix("/q/"))
        .ok_or_else(|| format!("expected a key under {root}/q"))?;
    match about.split('/').collect::<Vec<_>>()[..] {
        ["account", address] => {
            let address: Address = parse(address)?;
            state_proof(served, StateKey::Account(address))
        }
        ["vehicle", vehicle] => {
            let vehicle: KeyId = parse(vehicle)?;
            state_proof(served, StateKey::Vehicle(vehicle))
        }
        ["picture"] => picture_proofs(served, parameters),
        ["explain", vehicle, epoch] => {
            let (vehicle, epoch) = (parse(vehicle)?, Epoch(parse(epoch)?));
            let places = explanation(&served.store, vehicle, epoch).map_err(|error| error.to_string())?;
            outputs_proofs(served, &places)
        }
        ["light", height] => light_blocks(served, height),
        _ => Err(
            "expected account/ADDRESS, vehicle/KEYID, picture, explain/KEYID/EPOCH, light/HEIGHT or light/latest".into(),
        ),
    }
}

fn state_proof(served: &Served, key: StateKey) -> Result<Vec<Vec<u8>>, String> {
    let proof = served.view().prove(key).ok_or("there is no block yet")?;
    Ok(vec![encode(&proof)])
}

fn light_blocks(served: &Served, height: &str) -> Result<Vec<Vec<u8>>, String> {
    let newest = served.view().height();
    let height = match height {
        "latest" => newest,
        _ => Height(parse(height)?),
    };
    let block = served.light_block(height).map_err(|error| error.to_string())?;
    let block = block.ok_or_else(|| format!("there is no block {height}; blocks 1 to {newest} are here"))?;
    Ok(vec![encode(&block)])
}

fn picture_proofs(served: &Served, parameters: &str) -> Result<Vec<Vec<u8>>, String> {
    let bbox = zenoh::query::Parameters::from(parameters)
        .get("bbox")
        .map(str::to_owned);
    let area: Option<Area> = bbox.as_deref().map(parse).transpose()?;
    let mut places: Vec<_> = served
        .store
        .picture()
        .map_err(|error| error.to_string())?
        .into_iter()
        .filter(|((cell, _), _)| area.is_none_or(|area| area.covers(*cell) == Some(true)))
        .map(|(_, place)| place)
        .collect();
    if places.len() > FIGURES_MAX {
        return Err(format!(
            "{} figures are there, an answer has at most {FIGURES_MAX}; ask for a smaller bbox=W,S,E,N",
            places.len()
        ));
    }
    places.sort_unstable();
    let proofs = outputs_proofs(served, &places)?;
    if !proofs.is_empty() {
        return Ok(proofs);
    }
    // Else whoever asks could not tell a unit that knows nothing of the area from one that does not answer.
    let head = served.view().head().cloned().ok_or("there is no block yet")?;
    let outputs = Vec::new();
    Ok(vec![encode(&OutputsProof { head, outputs })])
}

fn outputs_proofs(served: &Served, places: &[milepost_node::store::Place]) -> Result<Vec<Vec<u8>>, String> {
    let mut answers = Vec::new();
    for some in places.chunks(OutputsProof::OUTPUTS_MAX) {
        let proofs = prove_outputs(&served.store, some).map_err(|error| error.to_string())?;
        answers.extend(proofs.iter().map(encode));
    }
    Ok(answers)
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}
