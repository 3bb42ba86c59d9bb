//! How long did most of it take?
//!
//! Quantiles by nearest rank: each is one of the values that were measured.

/// What `permille` thousandths of the values, which are in ascending order, do not exceed; 0 where there are none.
pub fn of_sorted(values: &[u64], permille: usize) -> u64 {
    let rank = (values.len() * permille).div_ceil(1000).max(1);
    values.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::of_sorted;

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        assert_eq!(of_sorted(&[], 500), 0);
        assert_eq!(
            [0, 500, 501, 1000].map(|permille| of_sorted(&[3, 8], permille)),
            [3, 3, 8, 8]
        );
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(
            [10, 500, 990, 991].map(|permille| of_sorted(&hundred, permille)),
            [1, 50, 99, 100]
        );
    }
}
