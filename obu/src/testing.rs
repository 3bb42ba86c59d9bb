//! What do tests need of a consortium?
//!
//! A town whose members certify whatever a test wants certified.

use milepost_wire::certificate::Head;
use milepost_wire::light::{Bounds, LightBlock, LightClient};
use milepost_wire::proof::{OutputsProof, ReceiptNotice, StateProof};
use milepost_wire::state::StateKey;
use milepost_wire::tree::{End, StatePath, key_hash, leaf_hash, state_root};
use milepost_wire::vote::{self, Step};
use milepost_wire::{
    Certificate, ChainId, Consortium, Hash, Header, Height, Member, Members, Output, SecretKey, Signature,
    Timestamp, merkle, output,
};

/// Later than every block of these tests.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_000_000);

/// A consortium whose keys a test holds.
pub(crate) struct Town {
    pub(crate) chain: ChainId,
    pub(crate) members: Members,
    keys: Vec<SecretKey>,
}

impl Town {
    pub(crate) fn new(count: u64) -> Self {
        Self::named("town", count)
    }

    pub(crate) fn named(chain: &str, count: u64) -> Self {
        Self::with(chain, &(0..count).collect::<Vec<_>>())
    }

    /// The town with other members.
    pub(crate) fn of(seeds: &[u64]) -> Self {
        Self::with("town", seeds)
    }

    fn with(chain: &str, seeds: &[u64]) -> Self {
        let mut keys: Vec<_> = seeds
            .iter()
            .map(|seed| SecretKey::from_seed("member", *seed))
            .collect();
        keys.sort_by_key(SecretKey::address);
        let member = |key: &SecretKey| Member {
            key: key.public(),
            provider: "test".into(),
            power: 1,
        };
        let members = Members::new(keys.iter().map(member).collect()).unwrap();
        Self {
            chain: ChainId::new(chain).unwrap(),
            members,
            keys,
        }
    }

    pub(crate) fn consortium(&self) -> Consortium {
        Consortium {
            chain: self.chain.clone(),
            genesis: Hash::ZERO,
            members: self.members.clone(),
        }
    }

    /// Trusts the members, since just now.
    pub(crate) fn light(&self) -> LightClient {
        LightClient::new(self.consortium(), NOW, Bounds::default())
    }

    /// A head with its members.
    pub(crate) fn light_block(&self, head: &Head) -> LightBlock {
        LightBlock {
            head: head.clone(),
            members: self.members.to_vec(),
            next_members: Vec::new(),
        }
    }

    /// A certified head with these outputs.
    pub(crate) fn head(&self, height: u64, outputs_root: Hash) -> Head {
        self.certify(height, outputs_root, Hash::ZERO)
    }

    /// The proof of a state that holds one key alone, or not even that.
    pub(crate) fn state_proof(&self, height: u64, key: StateKey, value: Option<Vec<u8>>) -> StateProof {
        let (end, tree_root) = match &value {
            Some(value) => (End::Present, leaf_hash(&key_hash(&key.bytes()), value)),
            None => (End::Empty, Hash::ZERO),
        };
        let head = self.certify(height, Hash::ZERO, state_root(&tree_root, &Hash::ZERO));
        StateProof {
            head,
            open_root: Hash::ZERO,
            key,
            value,
            path: StatePath {
                siblings: vec![],
                end,
            },
        }
    }

    /// Proofs of all outputs of a block that has just these.
    pub(crate) fn outputs_proof(&self, height: u64, outputs: &[Output]) -> OutputsProof {
        let head = self.head(height, output::root(outputs));
        OutputsProof {
            head,
            outputs: paths(outputs),
        }
    }

    /// The same for a receipt notice, whose head travels separately.
    pub(crate) fn notice(height: u64, outputs: &[Output]) -> ReceiptNotice {
        ReceiptNotice {
            height: Height(height),
            outputs: paths(outputs),
        }
    }

    fn certify(&self, height: u64, outputs_root: Hash, state_root: Hash) -> Head {
        let header = Header {
            version: Header::VERSION,
            chain: self.chain.clone(),
            height: Height(height),
            time: Timestamp::from_millis(height.saturating_mul(1000)),
            proposer: self.keys[0].address(),
            parent: Hash::ZERO,
            transactions_root: Hash::ZERO,
            batches_root: Hash::ZERO,
            outputs_root,
            state_root,
            members_hash: self.members.hash(),
            next_members_hash: self.members.hash(),
        };
        let block = header.hash();
        let sign = |key: &SecretKey| {
            let address = key.address();
            let digest = vote::digest(
                &self.chain,
                Step::Precommit,
                header.height,
                0,
                Some(block),
                address,
            );
            (address, Signature::sign(key, &digest))
        };
        let signatures = self.keys.iter().map(sign).collect();
        Head {
            certificate: Certificate {
                height: header.height,
                round: 0,
                block,
                signatures,
            },
            header,
        }
    }
}

fn paths(outputs: &[Output]) -> Vec<(Output, merkle::Path)> {
    let tree = merkle::Tree::new(outputs.iter().map(Output::leaf).collect());
    let path = |index| tree.prove(index).expect("within");
    outputs
        .iter()
        .cloned()
        .enumerate()
        .map(|(index, output)| (output, path(index)))
        .collect()
}
