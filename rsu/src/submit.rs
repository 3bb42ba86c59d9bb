//! How does an operator have something done on the ledger?
//!
//! A [`Signer`] holds a unit's key and asks the unit's own API: it signs a transaction under the account's next nonce,
//! asks whether it would be done, hands it in, and waits for the block that it is in. What a proposal has come to is
//! looked up afterwards: [`Signer::standing`].
//!
//! Bounded: [`FINAL_MAX`] until it is in a block. Whoever sends several transactions of one key at a time loses all but
//! one, which says so.

use std::time::{Duration, Instant};

use milepost_wire::{
    Action, Address, ChainId, Change, Hash, Height, ProposalId, SecretKey, Signed, Transaction, encode,
};
use serde_json::Value;

use crate::client::{AskError, Client};
use crate::home::{Home, HomeError};

/// How long a transaction may take until it is in a block.
const FINAL_MAX: Duration = Duration::from_secs(60);
/// How often one looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long the unit may take to take a transaction.
const TAKE_MAX: Duration = Duration::from_secs(10);

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The home cannot be read.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The unit does not answer, or refuses.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The unit is another chain's.
    #[error("the unit at {api} is of the chain with genesis {found}, the home's is {expected}")]
    OtherChain {
        /// Who was asked.
        api: String,
        /// The home's.
        expected: Hash,
        /// The unit's.
        found: String,
    },
    /// It would not be done, or was not.
    #[error("the ledger refuses: {0}")]
    Refused(String),
    /// No block holds it yet.
    #[error(
        "transaction {digest} is in no block after {} s, the newest is {height}: are more than two thirds of the power running? It may still be done",
        FINAL_MAX.as_secs()
    )]
    NotFinal {
        /// Which.
        digest: Hash,
        /// The newest block.
        height: u64,
    },
    /// An answer that makes no sense.
    #[error("{api} answers strangely: {what}")]
    Strange {
        /// Who was asked.
        api: String,
        /// What is wrong.
        what: String,
    },
}

/// A key, and the unit that is asked.
pub struct Signer {
    client: Client,
    chain: ChainId,
    genesis: Hash,
    key: SecretKey,
}

/// A transaction that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Its name.
    pub digest: Hash,
    /// The block that it is in.
    pub height: Height,
}

/// What a proposal has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It waits for approval.
    Open {
        /// The power that approves.
        power: u64,
        /// The power that decides.
        quorum: u64,
    },
    /// It is decided on.
    Decided {
        /// The first height that it holds for.
        from: Height,
    },
    /// It was decided on, and had lost its sense by the time that it was due.
    Void,
    /// It is no longer there: withdrawn, or its time is up.
    Gone,
}

impl Signer {
    /// The key in `home`, and the API at `api` or else the one that its settings name.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Home`].
    pub fn of(home: &Home, api: Option<String>) -> Result<Self, SubmitError> {
        let genesis = home.genesis()?;
        let api = api_of(home, api)?;
        let key = home.key()?;
        Ok(Self {
            client: Client::signing(api, key.clone(), genesis.chain.clone()),
            genesis: genesis.hash(),
            chain: genesis.chain,
            key,
        })
    }

    /// Who signs.
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// Signs it, hands it in, and waits until it is final.
    ///
    /// # Errors
    ///
    /// [`SubmitError`].
    pub fn submit(&self, action: Action) -> Result<Done, SubmitError> {
        let status = self.client.get("/v1/status")?;
        let found = status["genesis"].as_str().unwrap_or_default();
        if found != self.genesis.to_string() {
            return Err(SubmitError::OtherChain {
                api: self.client.api().to_owned(),
                expected: self.genesis,
                found: found.to_owned(),
            });
        }
        let from = number(&status["height"]).ok_or_else(|| self.strange("a status without a height"))?;
        let account = self.client.get(&format!("/v1/accounts/{}", self.address()))?;
        let nonce = number(&account["nonce"]).ok_or_else(|| self.strange("an account without a nonce"))?;
        let transaction = Transaction {
            from: self.key.public(),
            nonce,
            action,
        };
        let signed = Signed::sign(transaction, &self.chain, &self.key);
        let body = hex::encode(encode(signed.signed()));
        match self.client.post("/v1/transactions/check", &body, TAKE_MAX) {
            Err(AskError::Refused {
                status: 409, error, ..
            }) => return Err(SubmitError::Refused(error)),
            checked => checked?,
        };
        self.client.post("/v1/transactions", &body, TAKE_MAX)?;
        self.wait(signed.digest(), from)
    }

    /// Looks for a transaction in the blocks above `height`.
    fn wait(&self, digest: Hash, mut height: u64) -> Result<Done, SubmitError> {
        let (began, name) = (Instant::now(), digest.to_string());
        while began.elapsed() < FINAL_MAX {
            let block = match self.client.get(&format!("/v1/blocks/{}", height + 1)) {
                Err(AskError::Refused { status: 404, .. }) => {
                    std::thread::sleep(LOOK_EVERY);
                    continue;
                }
                answer => answer?,
            };
            height += 1;
            let found =
                list(&block["transactions"]).find(|transaction| transaction["digest"] == name.as_str());
            if let Some(found) = found {
                if found["done"] != true {
                    let why = "what came before it in the chain left it without sense, or its nonce was used";
                    return Err(SubmitError::Refused(why.into()));
                }
                let height = Height(height);
                return Ok(Done { digest, height });
            }
        }
        Err(SubmitError::NotFinal { digest, height })
    }

    /// Which number a proposal got that was made in block `height`.
    ///
    /// # Errors
    ///
    /// [`SubmitError`].
    pub fn proposal_of(&self, change: &Change, height: Height) -> Result<ProposalId, SubmitError> {
        let same = |found: &Value| {
            serde_json::from_value::<Change>(found["change"].clone())
                .ok()
                .as_ref()
                == Some(change)
        };
        let proposals = self.client.get("/v1/proposals")?;
        let open = list(&proposals["open"])
            .filter(|open| same(open) && number(&open["made_at"]) == Some(height.0))
            .filter(|open| open["by"] == self.address().to_string().as_str());
        let decided = list(&proposals["scheduled"]).filter(|decided| same(decided));
        if let Some(id) = open.chain(decided).filter_map(|found| number(&found["id"])).max() {
            return Ok(ProposalId(id));
        }
        let enacted = self.enacted_since(height, |enacted| same(enacted))?;
        let id = enacted.and_then(|(_, enacted)| number(&enacted["proposal"]));
        id.map(ProposalId)
            .ok_or_else(|| self.strange("the proposal is in a block and not on the ledger"))
    }

    /// What a proposal has come to, which was open in block `height`.
    ///
    /// # Errors
    ///
    /// [`SubmitError`].
    pub fn standing(&self, id: ProposalId, height: Height) -> Result<Standing, SubmitError> {
        let proposals = self.client.get("/v1/proposals")?;
        let is = |found: &&Value, name: &str| number(&found[name]) == Some(id.0);
        if let Some(open) = list(&proposals["open"]).find(|open| is(open, "id")) {
            let (power, quorum) = (number(&open["power"]), number(&proposals["quorum"]));
            return Ok(Standing::Open {
                power: power.unwrap_or_default(),
                quorum: quorum.unwrap_or_default(),
            });
        }
        if let Some(decided) = list(&proposals["scheduled"]).find(|decided| is(decided, "id")) {
            let from = number(&decided["height"]).unwrap_or_default();
            return Ok(Standing::Decided { from: Height(from) });
        }
        Ok(
            match self.enacted_since(height, |enacted| is(&enacted, "proposal"))? {
                Some((height, enacted)) if enacted["done"] == true => {
                    Standing::Decided { from: height.next() }
                }
                Some(_) => Standing::Void,
                None => Standing::Gone,
            },
        )
    }

    /// The first change that was done at the end of a block from `height` on and that `is` the one.
    fn enacted_since(
        &self,
        height: Height,
        is: impl Fn(&Value) -> bool,
    ) -> Result<Option<(Height, Value)>, SubmitError> {
        for height in height.0.. {
            let block = match self.client.get(&format!("/v1/blocks/{height}")) {
                Err(AskError::Refused { status: 404, .. }) => break,
                answer => answer?,
            };
            if let Some(found) = list(&block["enacted"]).find(|enacted| is(enacted)) {
                return Ok(Some((Height(height), found.clone())));
            }
        }
        Ok(None)
    }

    fn strange(&self, what: &str) -> SubmitError {
        SubmitError::Strange {
            api: self.client.api().to_owned(),
            what: what.to_owned(),
        }
    }
}

/// The API that is `given`, or else the one that the settings in `home` name.
///
/// # Errors
///
/// [`HomeError`].
pub fn api_of(home: &Home, given: Option<String>) -> Result<String, HomeError> {
    Ok(match given {
        Some(api) => api,
        None => local(&home.config()?.api),
    })
}

/// Where a unit's API is reached from its own machine.
fn local(api: &std::net::SocketAddr) -> String {
    match (api.ip().is_unspecified(), api.is_ipv4()) {
        (true, true) => format!("http://127.0.0.1:{}", api.port()),
        (true, false) => format!("http://[::1]:{}", api.port()),
        _ => format!("http://{api}"),
    }
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
