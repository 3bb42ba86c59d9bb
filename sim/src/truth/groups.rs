//! Which sources speak with one voice?
//!
//! On the ledger a group is an owner, and the enrolment names it. Claims from elsewhere don't say who copies from
//! whom, or who has agreed on a lie: here a group is inferred from nothing but equal words. Two sources that
//! nearly always say *exactly* the same, over enough items that both speak of, have one origin, whether it is
//! honest or not, and knowing what is true is not needed to see it.
//!
//! Sources join in the order of how many items they speak of, each the group of the first founder it equals. A
//! founder stands for its group, so that likeness does not spread along a chain of sources that are each a
//! little different from the next.
//!
//! Cost: one comparison for each pair of claims on an item, and one counter for each pair of sources.

/// Sources that share fewer items are not compared: a few words agree by chance.
const SHARED_MIN: u32 = 24;

/// Of a hundred words, so many must be the same. Independent sources that are always right would be alike, too, but
/// none is: in the flight times of `docs/adr/0013-claims.md`, mirrors of one site say the same 99.9 to 100 % of the
/// time, and different sites that draw on the same airlines 85 to 98 %.
const EQUAL_MIN_PERCENT: u64 = 99;

/// How many pairs of claims on an item are compared at most; of more claims, the first ones.
const CLAIMS_PER_ITEM_MAX: usize = 256;

/// How many items two sources share, and on how many they say the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pair {
    shared: u32,
    equal: u32,
}

impl Pair {
    fn is_copy(self) -> bool {
        self.shared >= SHARED_MIN && u64::from(self.equal) * 100 >= u64::from(self.shared) * EQUAL_MIN_PERCENT
    }
}

/// Counts for every pair of sources.
pub struct Likeness {
    sources: usize,
    /// Row by row: each source with all before it.
    pairs: Vec<Pair>,
    /// How many claims each source makes.
    claims: Vec<u32>,
}

impl Likeness {
    /// Compares the claims on every item: `(source, value)`, sources below `sources`.
    pub fn of<'a>(sources: usize, items: impl Iterator<Item = &'a [(u32, i64)]>) -> Self {
        let mut likeness = Self {
            sources,
            pairs: vec![Pair::default(); sources * sources.saturating_sub(1) / 2],
            claims: vec![0; sources],
        };
        for claims in items {
            for &(source, _) in claims {
                likeness.claims[source as usize] += 1;
            }
            let claims = &claims[..claims.len().min(CLAIMS_PER_ITEM_MAX)];
            for (at, &(one, value)) in claims.iter().enumerate() {
                for &(other, other_value) in &claims[..at] {
                    if one != other {
                        let pair = &mut likeness.pairs[place(one as usize, other as usize)];
                        pair.shared += 1;
                        pair.equal += u32::from(value == other_value);
                    }
                }
            }
        }
        likeness
    }

    /// Each source's group, named by its founder.
    pub fn groups(&self) -> Vec<u64> {
        let mut order: Vec<usize> = (0..self.sources).collect();
        order.sort_by_key(|&source| std::cmp::Reverse(self.claims[source]));
        let mut founders: Vec<usize> = Vec::new();
        let mut groups = vec![0; self.sources];
        for source in order {
            let joins = |&founder: &usize| {
                let pair = self.pairs[place(source, founder)];
                pair.is_copy()
            };
            let founder = founders.iter().copied().find(joins).unwrap_or(source);
            if founder == source {
                founders.push(source);
            }
            groups[source] = founder as u64;
        }
        groups
    }
}

fn place(one: usize, other: usize) -> usize {
    let (low, high) = (one.min(other), one.max(other));
    high * (high - 1) / 2 + low
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn groups(sources: usize, items: &[Vec<(u32, i64)>]) -> Vec<u64> {
        Likeness::of(sources, items.iter().map(Vec::as_slice)).groups()
    }

    #[test]
    fn mirrors_are_one_group_and_those_who_differ_now_and_then_are_not() {
        let items: Vec<Vec<(u32, i64)>> = (0..100)
            .map(|item| vec![(0, item), (1, item), (2, item + i64::from(item % 20 == 0))])
            .collect();
        assert_eq!(groups(3, &items), [0, 0, 2]);
    }

    #[test]
    fn a_few_equal_words_prove_nothing() {
        let items: Vec<Vec<(u32, i64)>> = (0..i64::from(SHARED_MIN) - 1)
            .map(|item| vec![(0, item), (1, item)])
            .collect();
        assert_eq!(groups(2, &items), [0, 1]);
    }

    #[test]
    fn likeness_does_not_spread_along_a_chain() {
        // Each differs from the next on one item of 120, the first from the last on two.
        let items: Vec<Vec<(u32, i64)>> = (0..120)
            .map(|item| vec![(0, 0), (1, i64::from(item < 1)), (2, i64::from(item < 2))])
            .collect();
        assert_eq!(groups(3, &items), [0, 0, 2]);
    }

    proptest! {
        #[test]
        fn every_group_is_named_by_a_member_of_it(
            items in prop::collection::vec(prop::collection::btree_map(0u32..6, 0i64..2, 0..6), 0..60),
        ) {
            let items: Vec<Vec<(u32, i64)>> = items.into_iter().map(|item| item.into_iter().collect()).collect();
            let groups = groups(6, &items);
            for &group in &groups {
                prop_assert_eq!(groups[group as usize], group);
            }
        }
    }
}
