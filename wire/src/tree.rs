//! What does the state say under a key, or does it say nothing?
//!
//! A binary Merkle tree over the hashes of keys. A subtree without keys hashes to zero, a subtree with one key
//! is that key's leaf however high it stands, any other is the hash of its two halves. So the root depends on
//! the content alone, a path has about log2(n) steps, and absence is proved by what stands in the key's place.
//!
//! This module checks paths; the tree itself is `node`'s. Source: docs/adr/0005-state-tree.md.

use wincode::{SchemaRead, SchemaWrite};

use crate::Hash;

/// The deepest that a path can go: the bits of a key's hash.
pub const DEPTH_MAX: usize = 256;

/// Where a key's place in the tree is.
pub fn key_hash(key: &[u8]) -> Hash {
    Hash::of("key", &[key])
}

/// The hash of a leaf.
pub fn leaf_hash(key_hash: &Hash, value: &[u8]) -> Hash {
    Hash::of("entry", &[&key_hash.0, &Hash::of("value", &[value]).0])
}

/// The hash of an inner node.
pub fn inner_hash(left: &Hash, right: &Hash) -> Hash {
    Hash::of("fork", &[&left.0, &right.0])
}

/// Bit `depth` of a key's hash, from the top: `false` is left.
pub fn goes_right(key_hash: &Hash, depth: usize) -> bool {
    key_hash.0[depth / 8] >> (7 - depth % 8) & 1 == 1
}

/// The whole state's root: the authenticated tree, and one hash over what is too short-lived for it.
pub fn state_root(tree_root: &Hash, open_root: &Hash) -> Hash {
    Hash::of("state", &[&tree_root.0, &open_root.0])
}

/// What stands where the path ends.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
#[wincode(tag_encoding = "u8")]
pub enum End {
    /// The key itself; the prover gives its value.
    Present,
    /// Nothing: the key is absent.
    Empty,
    /// Another key's leaf: the one asked for is absent.
    Other {
        /// That key's place.
        key_hash: Hash,
        /// The hash of its value, in the domain `value`.
        value_hash: Hash,
    },
}

/// The way from the root to a key's place.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct StatePath {
    /// The other half at each fork, from the root down.
    pub siblings: Vec<Hash>,
    /// What stands at the end.
    pub end: End,
}

impl StatePath {
    /// The tree root that this path shows for `key` holding `value`, or for its absence. `None` where the path
    /// fits neither.
    pub fn tree_root(&self, key: &[u8], value: Option<&[u8]>) -> Option<Hash> {
        let place = key_hash(key);
        if self.siblings.len() > DEPTH_MAX {
            return None;
        }
        let mut hash = match (&self.end, value) {
            (End::Present, Some(value)) => leaf_hash(&place, value),
            (End::Empty, None) => Hash::ZERO,
            (End::Other { key_hash, value_hash }, None) => {
                let agree =
                    (0..self.siblings.len()).all(|at| goes_right(key_hash, at) == goes_right(&place, at));
                if *key_hash == place || !agree {
                    return None;
                }
                Hash::of("entry", &[&key_hash.0, &value_hash.0])
            }
            _ => return None,
        };
        for (depth, sibling) in self.siblings.iter().enumerate().rev() {
            hash = if goes_right(&place, depth) {
                inner_hash(sibling, &hash)
            } else {
                inner_hash(&hash, sibling)
            };
        }
        Some(hash)
    }
}
