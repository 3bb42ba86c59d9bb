//! How is a root kept over a state that changes?
//!
//! The Merkle tree whose paths [`milepost_wire::tree`] checks, held in memory and rebuilt from the state at
//! start. It is persistent: a version shares with the one before all that did not change, so executing a block
//! that is never decided costs nothing to forget, and readers keep the version they hold.
//!
//! Cost: `update` of k keys among n is about k·log2(n) hashes; a version costs as many nodes. Disk: none. See
//! docs/adr/0005-state-tree.md.

use std::sync::Arc;

use milepost_wire::Hash;
use milepost_wire::tree::{DEPTH_MAX, End, StatePath, goes_right, inner_hash, key_hash};

/// One version of the authenticated tree.
#[derive(Clone, Debug, Default)]
pub struct Tree(Option<Arc<Node>>);

#[derive(Debug)]
enum Node {
    Leaf {
        key_hash: Hash,
        value_hash: Hash,
        hash: Hash,
    },
    Fork {
        left: Tree,
        right: Tree,
        hash: Hash,
    },
}

/// A key's place and what it shall hold: a value's hash, or nothing.
#[derive(Clone, Copy)]
struct Edit {
    key_hash: Hash,
    value_hash: Option<Hash>,
}

impl Tree {
    /// A tree over `entries`.
    pub fn of<'a>(entries: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        Self::default().update(entries.into_iter().map(|(key, value)| (key, Some(value))))
    }

    /// The root; zero for an empty tree.
    pub fn root(&self) -> Hash {
        match self.0.as_deref() {
            None => Hash::ZERO,
            Some(Node::Leaf { hash, .. } | Node::Fork { hash, .. }) => *hash,
        }
    }

    /// The version after `changes`: each key with its new value, or `None` to remove it. The last change of a
    /// key counts.
    #[must_use]
    pub fn update<'a>(&self, changes: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Self {
        let mut edits: Vec<Edit> = changes
            .into_iter()
            .map(|(key, value)| Edit {
                key_hash: key_hash(key),
                value_hash: value.map(|value| Hash::of("value", &[value])),
            })
            .collect();
        edits.sort_by_key(|edit| edit.key_hash);
        // Of several changes to one key, which the stable sort left in their order, keep the last.
        let mut last: Vec<Edit> = Vec::with_capacity(edits.len());
        for edit in edits {
            match last.last_mut() {
                Some(previous) if previous.key_hash == edit.key_hash => *previous = edit,
                _ => last.push(edit),
            }
        }
        self.apply(&last, 0)
    }

    /// The way to `key`, whether it is there or not.
    pub fn prove(&self, key: &[u8]) -> StatePath {
        let place = key_hash(key);
        let mut siblings = Vec::new();
        let mut at = self;
        loop {
            match at.0.as_deref() {
                None => {
                    return StatePath {
                        siblings,
                        end: End::Empty,
                    };
                }
                Some(Node::Leaf {
                    key_hash, value_hash, ..
                }) => {
                    let end = if *key_hash == place {
                        End::Present
                    } else {
                        End::Other {
                            key_hash: *key_hash,
                            value_hash: *value_hash,
                        }
                    };
                    return StatePath { siblings, end };
                }
                Some(Node::Fork { left, right, .. }) => {
                    let (here, there) = if goes_right(&place, siblings.len()) {
                        (right, left)
                    } else {
                        (left, right)
                    };
                    siblings.push(there.root());
                    at = here;
                }
            }
        }
    }

    fn leaf(key_hash: Hash, value_hash: Hash) -> Self {
        let hash = Hash::of("entry", &[&key_hash.0, &value_hash.0]);
        Self(Some(Arc::new(Node::Leaf {
            key_hash,
            value_hash,
            hash,
        })))
    }

    /// Joins two halves; a lone leaf stands for itself however high, and two empty halves are empty.
    fn join(left: Self, right: Self) -> Self {
        match (left.0.as_deref(), right.0.as_deref()) {
            (None, None) => Self(None),
            (Some(Node::Leaf { .. }), None) => left,
            (None, Some(Node::Leaf { .. })) => right,
            _ => {
                let hash = inner_hash(&left.root(), &right.root());
                Self(Some(Arc::new(Node::Fork { left, right, hash })))
            }
        }
    }

    /// Applies sorted edits, all of which belong below this node at `depth`.
    fn apply(&self, edits: &[Edit], depth: usize) -> Self {
        if edits.is_empty() {
            return self.clone();
        }
        debug_assert!(
            depth <= DEPTH_MAX,
            "two different hashes differ within their bits"
        );
        match self.0.as_deref() {
            None => Self::build(
                edits
                    .iter()
                    .filter_map(|edit| Some((edit.key_hash, edit.value_hash?))),
                depth,
            ),
            Some(Node::Leaf {
                key_hash, value_hash, ..
            }) => {
                // The leaf stays among the edits' values unless one of them is about it.
                let stays = !edits.iter().any(|edit| edit.key_hash == *key_hash);
                let mut all: Vec<(Hash, Hash)> = edits
                    .iter()
                    .filter_map(|edit| Some((edit.key_hash, edit.value_hash?)))
                    .collect();
                if stays {
                    let place = all.partition_point(|(other, _)| other < key_hash);
                    all.insert(place, (*key_hash, *value_hash));
                }
                Self::build(all.into_iter(), depth)
            }
            Some(Node::Fork { left, right, .. }) => {
                let middle = edits.partition_point(|edit| !goes_right(&edit.key_hash, depth));
                Self::join(
                    left.apply(&edits[..middle], depth + 1),
                    right.apply(&edits[middle..], depth + 1),
                )
            }
        }
    }

    fn build(leaves: impl Iterator<Item = (Hash, Hash)>, depth: usize) -> Self {
        fn halve(leaves: &[(Hash, Hash)], depth: usize) -> Tree {
            match leaves {
                [] => Tree(None),
                [(key_hash, value_hash)] => Tree::leaf(*key_hash, *value_hash),
                _ => {
                    let middle = leaves.partition_point(|(key_hash, _)| !goes_right(key_hash, depth));
                    Tree::join(
                        halve(&leaves[..middle], depth + 1),
                        halve(&leaves[middle..], depth + 1),
                    )
                }
            }
        }
        halve(&leaves.collect::<Vec<_>>(), depth)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

    fn tree(entries: &Entries) -> Tree {
        Tree::of(
            entries
                .iter()
                .map(|(key, value)| (key.as_slice(), value.as_slice())),
        )
    }

    fn small() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(0u8..6, 1..3)
    }

    proptest! {
        /// The root depends on the content alone, not on the way there.
        #[test]
        fn updating_equals_building(
            before in proptest::collection::btree_map(small(), small(), 0..40),
            changes in proptest::collection::vec((small(), proptest::option::of(small())), 0..40),
        ) {
            let changed = tree(&before)
                .update(changes.iter().map(|(key, value)| (key.as_slice(), value.as_deref())));
            let mut after = before;
            for (key, value) in changes {
                match value {
                    Some(value) => after.insert(key, value),
                    None => after.remove(&key),
                };
            }
            prop_assert_eq!(changed.root(), tree(&after).root());
        }

        #[test]
        fn presence_and_absence_are_proved_and_nothing_else_is(
            entries in proptest::collection::btree_map(small(), small(), 0..40),
            asked in small(),
            lie in small(),
        ) {
            let tree = tree(&entries);
            let path = tree.prove(&asked);
            let truth = entries.get(&asked).map(Vec::as_slice);
            prop_assert_eq!(path.tree_root(&asked, truth), Some(tree.root()));
            if truth != Some(lie.as_slice()) {
                prop_assert_ne!(path.tree_root(&asked, Some(&lie)), Some(tree.root()));
            }
            if truth.is_some() {
                prop_assert_ne!(path.tree_root(&asked, None), Some(tree.root()));
            }
        }
    }

    #[test]
    fn an_older_version_stays_as_it_was() {
        let old = Tree::of([(b"a".as_slice(), b"1".as_slice()), (b"b", b"2")]);
        let root = old.root();
        let new = old.update([(b"a".as_slice(), Some(b"3".as_slice())), (b"b", None)]);
        assert_eq!(old.root(), root);
        assert_ne!(new.root(), root);
    }
}
