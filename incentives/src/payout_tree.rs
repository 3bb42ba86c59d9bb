//! How does an ordinary contract on another chain learn what vehicles have earned?
//!
//! A Merkle tree of (address, cumulative amount) in the format of OpenZeppelin's `StandardMerkleTree` with the
//! leaf encoding `["address", "uint256"]`: leaves are `keccak(keccak(abi.encode(address, amount)))` in the order
//! of their hashes, inner nodes `keccak` of the two children, the smaller first; so that `MerkleProof.verify`
//! accepts [`PayoutTree::proof`], and a contract that remembers what it has paid out pays the difference.
//!
//! Source: github.com/OpenZeppelin/merkle-tree, `src/standard.ts` and `src/core.ts`.

use milepost_wire::{Address, Amount, Hash};
use sha3::{Digest, Keccak256};

/// The tree over what addresses have earned in all.
#[derive(Clone, Debug)]
pub struct PayoutTree {
    /// A binary heap: the root first, the children of node `i` at `2i + 1` and `2i + 2`, the leaves in the order
    /// of their hashes from the back.
    nodes: Vec<Hash>,
}

impl PayoutTree {
    /// Of addresses that differ. Cost: three Keccak per entry.
    pub fn new(entries: impl Iterator<Item = (Address, Amount)>) -> Self {
        let mut leaves: Vec<Hash> = entries.map(|(address, amount)| leaf(address, amount)).collect();
        leaves.sort_unstable();
        let count = leaves.len();
        let mut nodes = vec![Hash::ZERO; (2 * count).saturating_sub(1)];
        for (index, leaf) in leaves.into_iter().enumerate() {
            nodes[2 * count - 2 - index] = leaf;
        }
        for index in (0..count.saturating_sub(1)).rev() {
            nodes[index] = pair(&nodes[2 * index + 1], &nodes[2 * index + 2]);
        }
        Self { nodes }
    }

    /// The root; [`Hash::ZERO`] where nobody has earned anything.
    pub fn root(&self) -> Hash {
        self.nodes.first().copied().unwrap_or(Hash::ZERO)
    }

    /// The siblings from the leaf of (address, amount) to the root; `None` where there is no such leaf.
    pub fn proof(&self, address: Address, amount: Amount) -> Option<Vec<Hash>> {
        let leaf = leaf(address, amount);
        let first_leaf = self.nodes.len() / 2;
        let mut at = first_leaf + self.nodes[first_leaf..].iter().position(|node| *node == leaf)?;
        let mut siblings = Vec::new();
        while at > 0 {
            siblings.push(self.nodes[if at % 2 == 1 { at + 1 } else { at - 1 }]);
            at = (at - 1) / 2;
        }
        Some(siblings)
    }
}

/// Whether `proof` leads from (address, amount) to `root`: OpenZeppelin's `MerkleProof.verify`.
pub fn verify(root: &Hash, address: Address, amount: Amount, proof: &[Hash]) -> bool {
    let top = proof
        .iter()
        .fold(leaf(address, amount), |node, sibling| pair(&node, sibling));
    top == *root
}

fn keccak(bytes: &[u8]) -> Hash {
    Hash(Keccak256::digest(bytes).into())
}

/// `abi.encode` pads both to 32 bytes on the left.
fn leaf(address: Address, amount: Amount) -> Hash {
    let mut encoded = [0; 64];
    encoded[12..32].copy_from_slice(&address.0);
    encoded[56..].copy_from_slice(&amount.micro().to_be_bytes());
    keccak(&keccak(&encoded).0)
}

fn pair(one: &Hash, other: &Hash) -> Hash {
    let (small, great) = if one <= other { (one, other) } else { (other, one) };
    let mut both = [0; 64];
    both[..32].copy_from_slice(&small.0);
    both[32..].copy_from_slice(&great.0);
    keccak(&both)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Address `i` is twenty bytes of `i`, its amount `i · 1 000 003 + 7`.
    fn entries(count: u8) -> impl Iterator<Item = (Address, Amount)> {
        (1..=count).map(|i| (Address([i; 20]), Amount::from_micro(u64::from(i) * 1_000_003 + 7)))
    }

    /// What `@openzeppelin/merkle-tree` 1.0.8 says of the same entries:
    ///
    /// ```js
    /// const { StandardMerkleTree } = require("@openzeppelin/merkle-tree");
    /// const hex = (i) => i.toString(16).padStart(2, "0");
    /// for (const n of [1, 2, 3, 5, 10, 100]) {
    ///   const rows = [...Array(n).keys()].map((k) => ["0x" + hex(k + 1).repeat(20), String((k + 1) * 1000003 + 7)]);
    ///   console.log(n, StandardMerkleTree.of(rows, ["address", "uint256"]).root);
    /// }
    /// ```
    #[test]
    fn roots_are_openzeppelins() {
        for (count, root) in [
            (
                1,
                "0x946cb18a054d97fe21a7619adb4e78a0fc3ef3152c83fe967b12a5b16406f495",
            ),
            (
                2,
                "0x62843859ee69cc0e05ec720a64420b2d14f684c453fd1d7d504692b0939a861d",
            ),
            (
                3,
                "0xb54fc5894691d68dca773e30265e4e0c90365810b46ae38024a692be69ff0a5a",
            ),
            (
                5,
                "0x64fa24d0bd8908f4389189803e8bd89ecf2cec3eda54396304bea1ffe1ab2a54",
            ),
            (
                10,
                "0x9677d7e6e659d59b18f6b41b374d482000cdfe053b70920b76e499c77f027fb3",
            ),
            (
                100,
                "0xdb942ceb267a01aed72fec1fe451ae5371a305f1a910fdb5f07bbd9f23e352fa",
            ),
        ] {
            assert_eq!(
                format!("0x{}", PayoutTree::new(entries(count)).root()),
                root,
                "{count} entries"
            );
        }
    }

    #[test]
    fn every_entry_has_a_proof_and_no_other_amount_has() {
        for count in 1..40 {
            let tree = PayoutTree::new(entries(count));
            for (address, amount) in entries(count) {
                let proof = tree.proof(address, amount).expect("an entry");
                assert!(verify(&tree.root(), address, amount, &proof));
                let more = Amount::from_micro(amount.micro() + 1);
                assert!(!verify(&tree.root(), address, more, &proof));
                assert_eq!(tree.proof(address, more), None);
            }
        }
        assert_eq!(PayoutTree::new(entries(0)).root(), Hash::ZERO);
        assert_eq!(
            PayoutTree::new(entries(0)).proof(Address([1; 20]), Amount::ZERO),
            None
        );
    }
}
