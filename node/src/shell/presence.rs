//! Who is there?
//!
//! Each unit holds a liveliness token of zenoh's, which ends with its process or its links. The core is told of other members',
//! and waits for no proposal of who is not there.

use std::sync::mpsc::TrySendError;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use milepost_wire::topic::{self, Channel};
use zenoh::Session;
use zenoh::sample::SampleKind;

use super::Shared;
use crate::node::{Input, PRESENT_MAX};

/// How long it takes until a full queue is tried again with what must not be lost.
const RETRY: Duration = Duration::from_millis(20);

/// Declares this member present, and notes and tells the core who else is.
pub(super) async fn watch(session: Session, shared: Arc<Shared>) {
    let own = topic::from_member(&shared.chain, Channel::Member, shared.me);
    let Ok(_token) = session.liveliness().declare_token(own).await else {
        return;
    };
    let all = topic::presence(&shared.chain);
    let Ok(changes) = session.liveliness().declare_subscriber(all).history(true).await else {
        return;
    };
    while let Ok(sample) = changes.recv_async().await {
        let Some((protocol, address)) = topic::present(sample.key_expr().as_str()) else {
            continue;
        };
        if address == shared.me && protocol == topic::PROTOCOL {
            continue;
        }
        let among = if protocol == topic::PROTOCOL {
            &shared.present
        } else {
            &shared.strangers
        };
        let is_present = sample.kind() == SampleKind::Put;
        let is_news = {
            let mut among = among.lock().unwrap_or_else(PoisonError::into_inner);
            if is_present {
                among.len() < PRESENT_MAX && among.insert(address)
            } else {
                among.remove(&address)
            }
        };
        if !is_news {
            continue;
        }
        if protocol == topic::PROTOCOL {
            let told = Input::Presence {
                unit: address,
                is_present,
            };
            while let Err(TrySendError::Full(_)) = shared.inputs.try_send(told.clone()) {
                tokio::time::sleep(RETRY).await;
            }
        } else if is_present {
            tracing::error!(
                unit = %address,
                "a unit speaks protocol {protocol}, and this one {}: neither hears the other; install the same version of the software on both",
                topic::PROTOCOL
            );
        }
    }
}
