//! How are fractions reckoned without floats?
//!
//! Fractions are in units of 1/65 536 ([`Q`]), shares in basis points. Products are formed in 128 bits and
//! rounded down once; a result that does not fit stays at the end of its range. Nothing here can panic.

use milepost_wire::state::Q;

/// All, in basis points (hundredths of a percent).
pub(crate) const BPS: u64 = 10_000;

/// `a · b / c`, rounded down; 0 where `c` is 0.
pub(crate) fn muldiv(a: u64, b: u64, c: u64) -> u64 {
    portion(a, b, u128::from(c))
}

/// `pool · part / whole`, rounded down; 0 where `whole` is 0. Portions of parts that sum to `whole` sum to at
/// most `pool`.
pub(crate) fn portion(pool: u64, part: u64, whole: u128) -> u64 {
    let product = u128::from(pool) * u128::from(part);
    product
        .checked_div(whole)
        .map_or(0, |share| u64::try_from(share).unwrap_or(u64::MAX))
}

/// The product of two fractions, rounded down.
pub(crate) fn times(a: u64, b: u64) -> u64 {
    muldiv(a, b, Q)
}

/// The product of a fraction and a signed one, rounded towards −∞.
pub(crate) fn times_signed(a: u64, b: i64) -> i64 {
    let product = i128::from(a) * i128::from(b);
    let quotient = product.div_euclid(i128::from(Q));
    i64::try_from(quotient).unwrap_or(if quotient < 0 { i64::MIN } else { i64::MAX })
}

/// A fraction as 32 bits: what outputs carry.
pub(crate) fn narrow(fraction: u64) -> u32 {
    u32::try_from(fraction).unwrap_or(u32::MAX)
}

/// A value as 32 bits: what outputs carry.
pub(crate) fn narrow_signed(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn half_of_a_half_is_a_quarter() {
        assert_eq!(times(Q / 2, Q / 2), Q / 4);
        assert_eq!(times_signed(Q / 2, -1), -1, "rounded towards −∞");
    }

    proptest! {
        #[test]
        fn no_number_overflows(a in any::<u64>(), b in any::<u64>(), c in any::<u64>(), d in any::<i64>()) {
            let _ = (muldiv(a, b, c), times(a, b), times_signed(a, d), narrow(a), narrow_signed(d));
        }

        #[test]
        fn portions_never_exceed_the_pool(pool in any::<u64>(), parts in prop::collection::vec(any::<u64>(), 0..40)) {
            let whole = parts.iter().map(|&part| u128::from(part)).sum();
            let given: u128 = parts.iter().map(|&part| u128::from(portion(pool, part, whole))).sum();
            prop_assert!(given <= u128::from(pool));
        }
    }
}
