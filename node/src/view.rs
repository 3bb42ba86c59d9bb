//! What may others read?
//!
//! A [`View`] is the ledger after one block with that block's certificate: immutable, shared by reference, and
//! all that a query needs in order to answer with a proof.

use std::sync::Arc;

use milepost_incentives::State;
use milepost_wire::certificate::Head;
use milepost_wire::light::LightBlock;
use milepost_wire::output::Output;
use milepost_wire::proof::{OutputsProof, StateProof};
use milepost_wire::state::StateKey;
use milepost_wire::time::Epoch;
use milepost_wire::{Block, Certificate, Hash, Height, KeyId, Member, Members, encode, merkle};

use crate::batch::VerifiedBatch;
use crate::ledger::Ledger;
use crate::store::{EVERYBODY, Place, Rocks, Store, StoreError};

/// The ledger after a block.
#[derive(Clone)]
pub struct View {
    ledger: Ledger,
    genesis: Hash,
    newest: Option<Newest>,
}

/// The newest block and what came of it.
#[derive(Clone)]
struct Newest {
    block: Option<Arc<Block>>,
    head: Arc<Head>,
    outputs: Arc<Vec<Output>>,
    batches: Vec<Arc<VerifiedBatch>>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("height", &self.height())
            .field("state_root", &self.state_root())
            .finish()
    }
}

impl View {
    /// Before the first block, or just after a start: the block itself and its outputs are in the store alone.
    pub(crate) fn at_start(ledger: Ledger, genesis: Hash, tip: Option<Head>) -> Self {
        let newest = tip.map(|head| Newest {
            block: None,
            head: Arc::new(head),
            outputs: Arc::new(Vec::new()),
            batches: Vec::new(),
        });
        Self {
            ledger,
            genesis,
            newest,
        }
    }

    /// After a block was committed.
    pub(crate) fn after(
        ledger: Ledger,
        genesis: Hash,
        block: Arc<Block>,
        certificate: Certificate,
        outputs: Vec<Output>,
        batches: Vec<Arc<VerifiedBatch>>,
    ) -> Self {
        let head = Arc::new(Head {
            header: block.header.clone(),
            certificate,
        });
        Self {
            ledger,
            genesis,
            newest: Some(Newest {
                block: Some(block),
                head,
                outputs: Arc::new(outputs),
                batches,
            }),
        }
    }

    /// How many blocks there are.
    pub fn height(&self) -> Height {
        self.ledger.height()
    }

    /// The ledger itself.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What the rules have come to.
    pub fn state(&self) -> &State {
        self.ledger.state()
    }

    /// Who votes.
    pub fn members(&self) -> &Members {
        self.ledger.members()
    }

    /// The hash of the genesis.
    pub fn genesis_hash(&self) -> Hash {
        self.genesis
    }

    /// The root of the state.
    pub fn state_root(&self) -> Hash {
        self.newest.as_ref().map_or_else(
            || self.ledger.state_root(),
            |newest| newest.head.header.state_root,
        )
    }

    /// The newest header with its certificate; `None` before the first block.
    pub fn head(&self) -> Option<&Head> {
        self.newest.as_ref().map(|newest| &*newest.head)
    }

    /// The newest block; `None` before the first and just after a start.
    pub fn block(&self) -> Option<&Arc<Block>> {
        self.newest.as_ref()?.block.as_ref()
    }

    /// What the newest block put out; empty just after a start.
    pub fn outputs(&self) -> &[Output] {
        self.newest.as_ref().map_or(&[], |newest| &newest.outputs)
    }

    /// The newest block's batches; empty just after a start.
    pub fn batches(&self) -> &[Arc<VerifiedBatch>] {
        self.newest.as_ref().map_or(&[], |newest| &newest.batches)
    }

    /// What the state says under `key`, with its proof; `None` before the first block.
    pub fn prove(&self, key: StateKey) -> Option<StateProof> {
        Some(prove(&self.ledger, self.head()?.clone(), key))
    }
}

/// What the ledger after the block of `head` says under `key`, with its proof.
pub fn prove(ledger: &Ledger, head: Head, key: StateKey) -> StateProof {
    let state = ledger.state();
    let value = match &key {
        StateKey::Books => Some(encode(&state.books())),
        StateKey::Account(address) => state.find_account(address).map(encode),
        StateKey::Vehicle(vehicle) => state.vehicle(vehicle).map(encode),
        StateKey::Road(cell, kind) => state.road(*cell, *kind).map(encode),
        StateKey::Operator(member) => state.find_operator(member).map(encode),
        key => state.find_decided(key),
    };
    let path = ledger.tree().prove(&key.bytes());
    StateProof {
        head,
        open_root: state.open_root(),
        key,
        value,
        path,
    }
}

/// A block with its members, for who follows the chain by certificates; `None` where there is no such block. Headers,
/// certificates and members are kept for ever, so it does not matter what was pruned.
///
/// # Errors
///
/// [`StoreError`], also where the members are missing.
pub fn light_block(
    store: &Rocks,
    genesis: &Members,
    height: Height,
) -> Result<Option<LightBlock>, StoreError> {
    let Some(head) = store.head(height)? else {
        return Ok(None);
    };
    let genesis_hash = genesis.hash();
    let members = |hash: Hash| -> Result<Vec<Member>, StoreError> {
        if hash == genesis_hash {
            return Ok(genesis.to_vec());
        }
        let found = store.members(&hash)?.ok_or_else(|| StoreError::Damaged {
            what: format!("members/{hash}"),
            why: format!("block {height} names them, and they are missing"),
        })?;
        Ok(found.to_vec())
    };
    let (voting, next) = (head.header.members_hash, head.header.next_members_hash);
    Ok(Some(LightBlock {
        members: members(voting)?,
        next_members: if next == voting {
            Vec::new()
        } else {
            members(next)?
        },
        head,
    }))
}

/// Where all stands that a vehicle's pay for an epoch follows from: its scores, bonds and payment, and the epoch's sums.
///
/// # Errors
///
/// [`StoreError`].
pub fn explanation(store: &impl Store, vehicle: KeyId, epoch: Epoch) -> Result<Vec<Place>, StoreError> {
    let mut places = store.explanation(vehicle, epoch)?;
    places.extend(store.explanation(EVERYBODY, epoch)?);
    places.sort_unstable();
    Ok(places)
}

/// The outputs at `places` with their proofs, one proof per block, in the order of blocks. Cost: reading and
/// hashing all outputs of each block concerned.
///
/// # Errors
///
/// [`StoreError`].
pub fn prove_outputs(store: &impl Store, places: &[Place]) -> Result<Vec<OutputsProof>, StoreError> {
    let mut places = places.to_vec();
    places.sort_unstable();
    let mut proofs = Vec::new();
    let groups = places
        .chunk_by(|one, other| one.0 == other.0)
        .flat_map(|block| block.chunks(OutputsProof::OUTPUTS_MAX));
    for group in groups {
        let height = group[0].0;
        let (Some(head), Some(outputs)) = (store.head(height)?, store.outputs(height)?) else {
            continue;
        };
        let tree = merkle::Tree::new(outputs.iter().map(Output::leaf).collect());
        let proved = group.iter().filter_map(|(_, index)| {
            let index = *index as usize;
            Some((outputs.get(index)?.clone(), tree.prove(index)?))
        });
        let outputs = proved.collect();
        proofs.push(OutputsProof { head, outputs });
    }
    Ok(proofs)
}
