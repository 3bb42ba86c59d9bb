//! Is this one of a block's outputs, transactions or batches?
//!
//! A Merkle tree over a list, in RFC 6962's shape (section 2.1): the left subtree of `n` leaves holds the
//! greatest power of two below `n`. Leaves and inner nodes are hashed in different domains.

use wincode::{SchemaRead, SchemaWrite};

use crate::Hash;

/// The way from a leaf to the root.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Path {
    /// Which leaf, from 0.
    pub index: u32,
    /// Of how many.
    pub count: u32,
    /// The siblings, from the leaf upwards.
    pub siblings: Vec<Hash>,
}

/// The hash of a leaf's bytes.
pub fn leaf(bytes: &[u8]) -> Hash {
    Hash::of("leaf", &[bytes])
}

fn inner(left: &Hash, right: &Hash) -> Hash {
    Hash::of("inner", &[&left.0, &right.0])
}

/// The greatest power of two below `count`, which is at least 2.
fn split(count: usize) -> usize {
    1 << (usize::BITS - 1 - (count - 1).leading_zeros())
}

/// The root over hashed leaves; [`Hash::ZERO`] for none. Cost: one hash per leaf.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::ZERO,
        [only] => *only,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            inner(&root(left), &root(right))
        }
    }
}

/// All hashes of a tree, for whoever needs paths.
#[derive(Clone, Debug)]
pub struct Tree {
    /// From the leaves upwards; where a level has an odd number of hashes, its last one stands in the next, too.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// Over hashed leaves. Cost: one hash per leaf.
    pub fn new(leaves: Vec<Hash>) -> Self {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let pairs = below.chunks(2).map(|pair| match pair {
                [left, right] => inner(left, right),
                alone => alone[0],
            });
            levels.push(pairs.collect());
        }
        Self { levels }
    }

    /// As [`root`].
    pub fn root(&self) -> Hash {
        match self.levels.last().map(Vec::as_slice) {
            Some([root]) => *root,
            _ => Hash::ZERO,
        }
    }

    /// The path of the leaf at `index`; `None` beyond the end.
    pub fn prove(&self, index: usize) -> Option<Path> {
        let count = self.levels[0].len();
        if index >= count {
            return None;
        }
        let siblings = self.levels.iter().enumerate().filter_map(|(height, level)| {
            // An only hash, and the last of an odd number, have no sibling.
            level.get((index >> height) ^ 1).copied()
        });
        Some(Path {
            index: u32::try_from(index).ok()?,
            count: u32::try_from(count).ok()?,
            siblings: siblings.collect(),
        })
    }
}

impl Path {
    /// The root that this path leads to from `leaf`; `None` where the path cannot belong to its index and
    /// count.
    ///
    /// That the leaf is in the list is proved thereby, but not where: a root does not bind the list's length, and
    /// the last of three leaves has the same path as the second of two.
    pub fn root(&self, leaf: Hash) -> Option<Hash> {
        fn climb(leaf: Hash, index: usize, count: usize, siblings: &[Hash]) -> Option<Hash> {
            if count == 1 {
                return siblings.is_empty().then_some(leaf);
            }
            let (top, below) = siblings.split_last()?;
            let left = split(count);
            if index < left {
                Some(inner(&climb(leaf, index, left, below)?, top))
            } else {
                Some(inner(top, &climb(leaf, index - left, count - left, below)?))
            }
        }
        let (index, count) = (self.index as usize, self.count as usize);
        if index >= count {
            return None;
        }
        climb(leaf, index, count, &self.siblings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|index| leaf(&index.to_le_bytes())).collect()
    }

    #[test]
    fn every_leaf_of_every_size_has_a_path() {
        for count in 0..70 {
            let leaves = leaves(count);
            let tree = Tree::new(leaves.clone());
            assert_eq!(tree.root(), root(&leaves), "{count} leaves");
            for (index, leaf) in leaves.iter().enumerate() {
                let path = tree.prove(index).expect("within");
                assert_eq!(path.root(*leaf), Some(tree.root()), "leaf {index} of {count}");
            }
            assert_eq!(tree.prove(count), None);
        }
    }

    proptest! {
        #[test]
        fn a_path_proves_no_other_leaf_and_no_other_place(
            count in 2usize..40, index in 0usize..40, other in 0usize..40, claimed in 0u32..50,
        ) {
            let (index, other) = (index % count, other % count);
            let leaves = leaves(count);
            let mut path = Tree::new(leaves.clone()).prove(index).expect("within");
            if other != index {
                prop_assert_ne!(path.root(leaves[other]), Some(root(&leaves)));
            }
            path.index = claimed;
            if claimed as usize != index {
                prop_assert_ne!(path.root(leaves[index]), Some(root(&leaves)));
            }
        }

        #[test]
        fn no_path_panics(index in any::<u32>(), count in any::<u32>(), siblings in 0usize..70) {
            let path = Path { index, count, siblings: vec![Hash::ZERO; siblings] };
            let _ = path.root(Hash::ZERO);
        }
    }
}
