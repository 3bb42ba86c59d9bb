//! Where does chance come from?
//!
//! From one seed. A stream is forked for every purpose and every vehicle by name, so that a further draw in one
//! place moves nothing elsewhere: a fleet that lies more leaves the weather as it was. SplitMix64 is small, fast
//! and the same on every machine; floats are made from it with `+ - * /` and square roots alone, which IEEE 754
//! rounds in one way everywhere.
//!
//! Not covered: secrets. Whoever knows the seed knows everything.
//!
//! Source: Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014.

/// A stream of chance.
#[derive(Clone, Debug)]
pub struct Rng(u64);

/// 2⁶⁴ divided by the golden ratio, made odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Rng {
    /// The stream of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x6d69_6c65_706f_7374))
    }

    /// A stream of its own for `purpose`, whatever has been drawn here before or will be.
    #[must_use]
    pub fn fork(seed: u64, purpose: &str, index: u64) -> Self {
        let named = purpose.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(mix(
            mix(mix(seed) ^ named).wrapping_add(index.wrapping_mul(GOLDEN))
        ))
    }

    /// 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// 0 up to but not including 1, in steps of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `low` up to but not including `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// 0 up to but not including `bound`; 0 for a bound of 0. Uneven by at most `bound` in 2⁶⁴.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// About normal, with mean 0 and standard deviation 1: twelve uniforms (Irwin–Hall), so never beyond ±6.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    /// One of the indices of `weights`, which are not negative, as often as they say.
    pub fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.uniform() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return index;
            }
        }
        weights.len().saturating_sub(1)
    }

    /// Puts `items` into an order that any other was as likely as (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_stream_for_ever() {
        let mut rng = Rng::fork(7, "test", 3);
        let drawn: Vec<u64> = (0..3).map(|_| rng.draw()).collect();
        let mut again = Rng::fork(7, "test", 3);
        assert_eq!(drawn, (0..3).map(|_| again.draw()).collect::<Vec<_>>());
        assert_ne!(drawn[0], Rng::fork(7, "test", 4).draw());
        assert_ne!(drawn[0], Rng::fork(7, "tess", 3).draw());
        assert_ne!(drawn[0], Rng::fork(8, "test", 3).draw());
    }

    #[test]
    fn the_normal_has_mean_zero_and_deviation_one() {
        let mut rng = Rng::new(1);
        let drawn: Vec<f64> = (0..100_000).map(|_| rng.normal()).collect();
        let mean = drawn.iter().sum::<f64>() / 1e5;
        let variance = drawn.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 1e5;
        assert!(
            mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02,
            "{mean} {variance}"
        );
    }

    #[test]
    fn the_heavier_is_drawn_more_often() {
        let mut rng = Rng::new(2);
        let mut counts = [0; 3];
        for _ in 0..10_000 {
            counts[rng.weighted(&[1.0, 0.0, 3.0])] += 1;
        }
        assert!(
            counts[1] == 0 && (counts[2] - 7_500_i32).abs() < 200,
            "{counts:?}"
        );
    }

    #[test]
    fn a_shuffle_keeps_everything() {
        let mut items: Vec<u32> = (0..50).collect();
        Rng::new(3).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
