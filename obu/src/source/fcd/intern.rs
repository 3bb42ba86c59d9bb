//! How do a million records share a thousand names?
//!
//! In: a name as it stands in the trace. Out: a shared copy; the same name twice gives the same memory, and
//! allocates once.

use std::collections::HashSet;
use std::sync::Arc;

/// Names kept at once. A day in a city has more vehicles than this, a moment hardly.
pub(super) const NAMES_MAX: usize = 1 << 16;

/// Vehicles, lanes and edges of one trace, each kept once.
#[derive(Default)]
pub(super) struct Interner {
    names: HashSet<Arc<str>>,
}

impl Interner {
    /// A shared copy of `name`.
    ///
    /// When [`NAMES_MAX`] are held, all are let go and it starts afresh: vehicles long gone leave, those still
    /// driving come back at the cost of one allocation each.
    pub(super) fn share(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        if self.names.len() >= NAMES_MAX {
            self.names.clear();
        }
        let shared: Arc<str> = name.into();
        self.names.insert(Arc::clone(&shared));
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_shares_memory() {
        let mut names = Interner::default();
        let (once, again) = (names.share("bus_19"), names.share("bus_19"));
        assert!(Arc::ptr_eq(&once, &again));
        assert!(!Arc::ptr_eq(&once, &names.share("bus_20")));
    }

    #[test]
    fn names_without_end_are_held_within_the_bound() {
        let mut names = Interner::default();
        for i in 0..3 * NAMES_MAX {
            assert_eq!(*names.share(&i.to_string()), *i.to_string());
            assert!(names.names.len() <= NAMES_MAX);
        }
    }
}
