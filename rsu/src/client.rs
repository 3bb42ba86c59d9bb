//! How does a command ask a running unit?
//!
//! Over its HTTP API, signing what is asked where there is a key to sign with. Its answers are that unit's word: a command
//! asks the operator's own.

use std::time::Duration;

use milepost_wire::question::Question;
use milepost_wire::{ChainId, SecretKey};
use serde_json::Value;
use ureq::RequestBuilder;

use crate::clock;

/// The longest answer that is read, in bytes.
const ANSWER_LEN_MAX: u64 = 4 << 20;
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody answers, or not like this.
    #[error("cannot ask {url}: {source}; is the unit running? `milepost-rsu run` prints its API's address")]
    Ask {
        /// What was asked.
        url: String,
        /// Why not.
        source: Box<ureq::Error>,
    },
    /// An error with its reason.
    #[error("{url} answers {status}: {error} ({hint})")]
    Refused {
        /// What was asked.
        url: String,
        /// HTTP's status.
        status: u16,
        /// What is wrong.
        error: String,
        /// What to do.
        hint: String,
    },
}

/// Who asks which unit.
#[derive(Clone)]
pub struct Client {
    api: String,
    /// Who signs what is asked, for units of a private chain.
    reader: Option<(SecretKey, ChainId)>,
}

impl Client {
    /// One that signs nothing.
    pub fn anonymous(api: impl Into<String>) -> Self {
        Self {
            api: api.into(),
            reader: None,
        }
    }

    /// One that signs what it asks.
    pub fn signing(api: impl Into<String>, key: SecretKey, chain: ChainId) -> Self {
        Self {
            api: api.into(),
            reader: Some((key, chain)),
        }
    }

    /// Which unit's API it asks.
    pub fn api(&self) -> &str {
        &self.api
    }

    /// Asks for `path`.
    ///
    /// # Errors
    ///
    /// [`AskError`].
    pub fn get(&self, path: &str) -> Result<Value, AskError> {
        let url = url(&self.api, path);
        let request = self.signed(agent(ANSWER_MAX).get(&url), "GET", path);
        read(url, request.call())
    }

    /// Gives a body to take; it may take as long as `limit`.
    ///
    /// # Errors
    ///
    /// [`AskError`].
    pub fn post(&self, path: &str, body: &str, limit: Duration) -> Result<Value, AskError> {
        let url = url(&self.api, path);
        let request = self.signed(agent(limit).post(&url), "POST", path);
        read(url, request.send(body))
    }

    fn signed<B>(&self, request: RequestBuilder<B>, method: &str, path: &str) -> RequestBuilder<B> {
        let Some((key, chain)) = &self.reader else {
            return request;
        };
        let asked = format!("{method} {path}");
        request.header(
            "Authorization",
            Question::authorization(key, chain, &asked, clock::wall()),
        )
    }
}

fn url(api: &str, path: &str) -> String {
    format!("{}{path}", api.trim_end_matches('/'))
}

fn agent(limit: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .build()
        .into()
}

fn read(
    url: String,
    answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<Value, AskError> {
    let wrong = |source: ureq::Error| AskError::Ask {
        url: url.clone(),
        source: Box::new(source),
    };
    let mut response = answer.map_err(wrong)?;
    let answer: Value = response
        .body_mut()
        .with_config()
        .limit(ANSWER_LEN_MAX)
        .read_json()
        .map_err(wrong)?;
    if response.status().is_success() {
        return Ok(answer);
    }
    let text = |name: &str| answer[name].as_str().unwrap_or("no reason given").to_owned();
    Err(AskError::Refused {
        status: response.status().as_u16(),
        error: text("error"),
        hint: text("hint"),
        url,
    })
}
