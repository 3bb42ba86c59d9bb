//! What is the road like right now, as far as one unit can tell?
//!
//! In: accepted reports, each with its vehicle's weight. Out: an estimate for each piece of road on which
//! something new was said, at a bounded rate. It is one unit's word, made of what it heard within
//! [`Limits::window_ms`]: weighted medians and pluralities, neither settled nor scored nor paid. The ledger's
//! estimates follow with their block.
//!
//! Memory: at most twice [`Limits::items_max`] items of at most [`Limits::voices_max`] vehicles of 40 bytes.

use std::collections::{BTreeMap, VecDeque};

use milepost_wire::output::{Estimate, Item};
use milepost_wire::recent::Recent;
use milepost_wire::time::Slot;
use milepost_wire::{Address, Cell, KeyId, Kind, Message, Report, Timestamp};
use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

/// How much of the present is kept and told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// How old an observation may be, in ms.
    pub window_ms: u64,
    /// Estimates are published this often, in ms, ...
    pub publish_ms: u64,
    /// ... at most this many at once; the others follow next time.
    pub publish_max: usize,
    /// Pieces of road, each with a kind, that are kept; the longest silent are forgotten first.
    pub items_max: usize,
    /// Vehicles that are listened to on one piece of road; the oldest word leaves first.
    pub voices_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window_ms: 60_000,
            publish_ms: 1_000,
            publish_max: 256,
            items_max: 8_192,
            voices_max: 128,
        }
    }
}

/// One unit's word on one piece of road, as it travels once signed.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct LiveFigure {
    /// Whose word it is.
    pub author: Address,
    /// Of when.
    pub at: Timestamp,
    /// The figure, of the slot that is open.
    pub estimate: Estimate,
}

impl Message for LiveFigure {
    const NAME: &'static str = "live figure";
    const LEN_MAX: usize = 256;
}

/// What one unit heard lately.
#[derive(Clone, Debug)]
pub struct Live {
    limits: Limits,
    items: Recent<(Cell, Kind), Road>,
    /// What is new and not told yet, in the order in which it came.
    news: VecDeque<(Cell, Kind)>,
    published_ms: u64,
}

/// The newest word of each vehicle on one item.
#[derive(Clone, Debug, Default)]
struct Road {
    voices: BTreeMap<KeyId, Voice>,
    is_news: bool,
}

#[derive(Clone, Copy, Debug)]
struct Voice {
    at: Timestamp,
    value: i32,
    weight: u64,
}

impl Live {
    /// One that has heard nothing.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            items: Recent::new(limits.items_max),
            news: VecDeque::new(),
            published_ms: 0,
        }
    }

    /// Takes an accepted report; what has no weight, or is too old, is passed over.
    pub fn hear(&mut self, now: Timestamp, report: &Report, weight: u64) {
        if weight == 0 {
            return;
        }
        for seen in &report.observations {
            let at = report.seen_at(seen);
            if now.since(at) > self.limits.window_ms {
                continue;
            }
            let item = (seen.cell, seen.measure.kind());
            if !self.items.contains(&item) {
                self.items.insert(item, Road::default());
            }
            let road = self
                .items
                .touch(&item)
                .expect("it was there, or was just put there");
            let newest = road
                .voices
                .get(&report.vehicle)
                .is_none_or(|voice| voice.at <= at);
            if newest {
                let value = seen.measure.value();
                road.voices.insert(report.vehicle, Voice { at, value, weight });
                road.forget(now, &self.limits);
                if !std::mem::replace(&mut road.is_news, true) {
                    self.news.push_back(item);
                }
            }
        }
    }

    /// The estimates that are new, where it is time to tell them.
    pub fn publish(&mut self, now_ms: u64, now: Timestamp, slot: Slot) -> Vec<Estimate> {
        if self.wake_at().is_none_or(|at_ms| at_ms > now_ms) {
            return Vec::new();
        }
        self.published_ms = now_ms;
        let count = self.news.len().min(self.limits.publish_max);
        let mut estimates = Vec::with_capacity(count);
        for (cell, kind) in self.news.drain(..count) {
            // An item that was forgotten since is no news.
            if let Some(road) = self.items.touch(&(cell, kind)) {
                road.is_news = false;
                road.forget(now, &self.limits);
                estimates.extend(road.estimate(Item { slot, cell, kind }));
            }
        }
        estimates
    }

    /// When to publish next.
    pub fn wake_at(&self) -> Option<u64> {
        (!self.news.is_empty()).then(|| self.published_ms.saturating_add(self.limits.publish_ms))
    }
}

impl Road {
    fn forget(&mut self, now: Timestamp, limits: &Limits) {
        self.voices
            .retain(|_, voice| now.since(voice.at) <= limits.window_ms);
        while self.voices.len() > limits.voices_max.max(1) {
            let oldest = self.voices.iter().min_by_key(|(_, voice)| voice.at);
            let oldest = *oldest.expect("there are more than one").0;
            self.voices.remove(&oldest);
        }
    }

    fn estimate(&self, item: Item) -> Option<Estimate> {
        let words = || self.voices.values().map(|voice| (voice.value, voice.weight));
        let value = if item.kind.is_category() {
            plurality(words())?
        } else {
            quantile(words(), 50)?
        };
        let distances = words().map(|(other, weight)| (other.abs_diff(value).cast_signed(), weight));
        Some(Estimate {
            item,
            value,
            low: quantile(words(), 5)?,
            high: quantile(words(), 95)?,
            vehicles: u32::try_from(self.voices.len()).unwrap_or(u32::MAX),
            weight: self.voices.values().map(|voice| voice.weight).sum(),
            spread: quantile(distances, 50)?,
        })
    }
}

/// The lowest value that at least `percent` of the weight does not exceed.
fn quantile(words: impl Iterator<Item = (i32, u64)>, percent: u64) -> Option<i32> {
    let mut words: Vec<_> = words.collect();
    words.sort_unstable();
    let total: u128 = words.iter().map(|(_, weight)| u128::from(*weight)).sum();
    let mut below = 0;
    words.into_iter().find_map(|(value, weight)| {
        below += u128::from(weight);
        (below * 100 >= total * u128::from(percent)).then_some(value)
    })
}

/// The value with the most weight; of equals, the smallest.
fn plurality(words: impl Iterator<Item = (i32, u64)>) -> Option<i32> {
    let mut weights = BTreeMap::<i32, u128>::new();
    for (value, weight) in words {
        *weights.entry(value).or_default() += u128::from(weight);
    }
    let most = *weights.values().max()?;
    weights
        .into_iter()
        .find_map(|(value, weight)| (weight == most).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, NOW};
    use proptest::prelude::*;

    fn said(live: &mut Live, vehicle: u64, sequence: u64, speed_cm_per_s: u16, weight: u64) {
        let observations = vec![samples::observation(speed_cm_per_s, 0)];
        live.hear(
            NOW,
            &samples::report_of(vehicle, sequence, NOW, observations),
            weight,
        );
    }

    #[test]
    fn a_figure_is_the_weighted_median_of_each_vehicles_newest_word() {
        let mut live = Live::new(Limits::default());
        said(&mut live, 1, 1, 100, 1);
        said(&mut live, 1, 2, 1000, 1);
        said(&mut live, 2, 1, 1200, 1);
        said(&mut live, 3, 1, 5000, 1);
        let told = live.publish(1000, NOW, Slot(3));
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].value, told[0].vehicles), (1200, 3));
        assert_eq!((told[0].low, told[0].high), (1000, 5000));
        assert_eq!(told[0].item.slot, Slot(3));
    }

    #[test]
    fn a_liar_without_weight_is_not_heard() {
        let mut live = Live::new(Limits::default());
        said(&mut live, 1, 1, 5000, 0);
        assert_eq!(live.wake_at(), None);
    }

    #[test]
    fn what_is_no_news_is_not_told_again_and_news_are_rationed() {
        let limits = Limits {
            publish_max: 1,
            ..Limits::default()
        };
        let mut live = Live::new(limits);
        said(&mut live, 1, 1, 1000, 1);
        let mut elsewhere = samples::observation(1000, 0);
        elsewhere.cell = Cell::segment("elsewhere");
        live.hear(NOW, &samples::report_of(1, 2, NOW, vec![elsewhere]), 1);
        assert_eq!(live.publish(1000, NOW, Slot(0)).len(), 1);
        assert_eq!(live.publish(1999, NOW, Slot(0)).len(), 0, "too soon");
        assert_eq!(live.publish(2000, NOW, Slot(0)).len(), 1);
        assert_eq!(live.publish(9000, NOW, Slot(0)).len(), 0, "no news");
    }

    #[test]
    fn an_old_word_no_longer_counts() {
        let mut live = Live::new(Limits::default());
        said(&mut live, 1, 1, 1000, 1);
        assert!(live.publish(1000, NOW.plus(60_001), Slot(0)).is_empty());
    }

    #[test]
    fn a_live_figure_fits_its_limit() {
        let mut live = Live::new(Limits::default());
        said(&mut live, 1, 1, 1000, u64::MAX);
        let figure = LiveFigure {
            author: samples::member(0),
            at: NOW,
            estimate: live.publish(1000, NOW, Slot(0)).remove(0),
        };
        let bytes = milepost_wire::encode(&figure);
        assert_eq!(milepost_wire::decode::<LiveFigure>(&bytes), Ok(figure));
    }

    proptest! {
        #[test]
        fn a_figure_lies_among_the_words(words in proptest::collection::vec((any::<i32>(), 1u64..1000), 1..50)) {
            let values = || words.iter().map(|(value, _)| *value);
            for figure in [quantile(words.iter().copied(), 50), plurality(words.iter().copied())] {
                prop_assert!(values().any(|value| Some(value) == figure));
            }
        }

        /// Less than half of the weight cannot move the median out of what the others say.
        #[test]
        fn a_minority_does_not_move_the_median(
            honest in proptest::collection::vec(900i32..1100, 2..20), lies in proptest::collection::vec(any::<i32>(), 0..19),
        ) {
            let lies = lies.into_iter().take(honest.len() - 1);
            let median = quantile(honest.iter().copied().chain(lies).map(|value| (value, 7)), 50);
            prop_assert!((900..1100).contains(&median.expect("words")));
        }
    }
}
