//! How is the ledger's memory kept so that a block can be tried out cheaply?
//!
//! A map in the order of its keys: a base that forks share, and on top what changed since the base was sealed.
//! A fork costs a copy of the changes. Sealing folds them into the base: in place where no fork is left that
//! shares it, else at the cost of a copy of the base.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::sync::Arc;

/// An ordered map with a shared base.
#[derive(Clone, Debug)]
pub(crate) struct Table<K, V> {
    base: Arc<BTreeMap<K, V>>,
    changed: BTreeMap<K, Option<V>>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            base: Arc::default(),
            changed: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone, V: Clone> Table<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        match self.changed.get(key) {
            Some(change) => change.as_ref(),
            None => self.base.get(key),
        }
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.changed.insert(key, Some(value));
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if self.base.contains_key(key) {
            self.changed.insert(key.clone(), None);
        } else {
            self.changed.remove(key);
        }
    }

    /// All entries, in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.range(..)
    }

    /// The entries within `range`, in the order of their keys.
    pub(crate) fn range<R: RangeBounds<K> + Clone>(&self, range: R) -> impl Iterator<Item = (&K, &V)> {
        let mut base = self.base.range(range.clone()).peekable();
        let mut changed = self.changed.range(range).peekable();
        std::iter::from_fn(move || {
            loop {
                let order = match (base.peek(), changed.peek()) {
                    (None, None) => return None,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some((below, _)), Some((above, _))) => below.cmp(above),
                };
                if order == Ordering::Less {
                    return base.next();
                }
                if order == Ordering::Equal {
                    base.next();
                }
                if let Some((key, Some(value))) = changed.next() {
                    return Some((key, value));
                }
            }
        })
    }

    /// What changed since the last seal: `None` where an entry went.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (&K, Option<&V>)> {
        self.changed.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// Folds the changes into the base.
    pub(crate) fn seal(&mut self) {
        if self.changed.is_empty() {
            return;
        }
        let base = Arc::make_mut(&mut self.base);
        for (key, value) in std::mem::take(&mut self.changed) {
            match value {
                Some(value) => base.insert(key, value),
                None => base.remove(&key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, u8),
        Remove(u8),
        Seal,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u8..20, any::<u8>()).prop_map(|(key, value)| Step::Insert(key, value)),
            3 => (0u8..20).prop_map(Step::Remove),
            1 => Just(Step::Seal),
        ]
    }

    proptest! {
        #[test]
        fn a_table_reads_like_a_map(steps in prop::collection::vec(step(), 0..60), from in 0u8..20) {
            let (mut table, mut map) = (Table::default(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Insert(key, value) => {
                        table.insert(key, value);
                        map.insert(key, value);
                    }
                    Step::Remove(key) => {
                        table.remove(&key);
                        map.remove(&key);
                    }
                    Step::Seal => table.seal(),
                }
                prop_assert!(table.iter().eq(map.iter()));
                prop_assert!(table.range(from..).eq(map.range(from..)));
                prop_assert_eq!(table.get(&from), map.get(&from));
            }
        }

        #[test]
        fn a_fork_does_not_touch_its_origin(steps in prop::collection::vec(step(), 0..30)) {
            let mut origin = Table::default();
            origin.insert(1u8, 1u8);
            origin.seal();
            let mut fork = origin.clone();
            for step in steps {
                match step {
                    Step::Insert(key, value) => fork.insert(key, value),
                    Step::Remove(key) => fork.remove(&key),
                    Step::Seal => fork.seal(),
                }
            }
            prop_assert!(origin.iter().eq([(&1, &1)]));
        }
    }
}
