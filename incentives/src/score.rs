//! What is one word worth?
//!
//! What is paid is news. A word's *news* is by how much it differs from what anybody could read in the published
//! picture when the word was heard. `a` is the part of it that independent others confirm on this item: they tell the
//! same difference, or a part of it, and it was news when they told it, too: who copies a map that has just changed is
//! not confirmed by others who copied it in time. `b` is the part that would have been confirmed anywhere, that is, on
//! the other roads of its class in the same slot. `q = a − b`, less one where the word is far off (as far as the others
//! agree on that), less a small margin. A copy of the published map has no news; a word that knows nothing of what goes
//! on (a constant, the class's mean, a draw of the dice) has `a = b` in expectation. Neither earns. Points are `v · q`,
//! where the worth `v` is what the item was needed, shared, fresh and judged by many.
//!
//! Why news and not agreement: docs/adr/0012-scoring.md. Fractions are in [`Q`].

use std::collections::BTreeMap;

use milepost_wire::Kind;
use milepost_wire::state::Q;

use crate::fixed::{muldiv, times, times_signed};
use crate::params::{Params, Tolerance};

/// What a word tells beyond what was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// By so much it differs; 0 is no news.
    Number(i64),
    /// Another code than the known one; `None` is no news.
    Code(Option<i64>),
}

/// How two words on an item are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Numbers, which agree within a tolerance.
    Numbers(Tolerance),
    /// Levels of service. Those next to each other are no contradiction: who stands at the light sees another than who
    /// passes it.
    Levels,
    /// Codes, which agree or not.
    Codes,
}

impl Scale {
    /// That of a kind, before it is known how far honest words on the item lie apart.
    pub(crate) fn of(params: &Params, kind: Kind) -> Self {
        match params.tolerance(kind) {
            Some(tolerance) => Self::Numbers(tolerance),
            None if kind == Kind::Congestion => Self::Levels,
            None => Self::Codes,
        }
    }

    /// The same where honest words lie `spread` apart; to levels and codes that is nothing.
    #[must_use]
    pub(crate) fn widened(self, spread: i64) -> Self {
        match self {
            Self::Numbers(tolerance) => Self::Numbers(tolerance.widened(spread)),
            Self::Levels | Self::Codes => self,
        }
    }

    /// What `word` tells to whom `known` was known.
    pub(crate) fn news(self, word: i64, known: i64) -> News {
        match self {
            Self::Numbers(_) => News::Number(word.saturating_sub(known)),
            Self::Levels | Self::Codes => News::Code((word != known).then_some(word)),
        }
    }

    /// From which difference on a number is all news.
    fn full(self) -> i64 {
        match self {
            Self::Numbers(tolerance) => i64::from(tolerance.near.max(1)),
            Self::Levels | Self::Codes => 1,
        }
    }

    /// From which difference on two words don't agree at all.
    fn far(self) -> u64 {
        match self {
            Self::Numbers(tolerance) => tolerance.far.into(),
            Self::Levels => 2,
            Self::Codes => 1,
        }
    }

    /// Within what two say the same in a dispute: of numbers, half of where agreement ends.
    pub(crate) fn side(self) -> i64 {
        match self {
            Self::Numbers(tolerance) => i64::from(tolerance.far / 2),
            Self::Levels | Self::Codes => 0,
        }
    }

    /// Whether the two agree fully.
    pub(crate) fn is_near(self, one: i64, other: i64) -> bool {
        match self {
            Self::Numbers(tolerance) => one.abs_diff(other) <= tolerance.near.into(),
            Self::Levels | Self::Codes => one == other,
        }
    }

    /// Whether the two don't agree at all.
    pub(crate) fn is_far(self, one: i64, other: i64) -> bool {
        one.abs_diff(other) >= self.far()
    }
}

/// What two tell alike, up to `full`; below 0 where they tell the contrary.
fn overlap(full: i64, one: News, other: News) -> i64 {
    match (one, other) {
        (News::Number(one), News::Number(other)) => {
            let alike = one
                .unsigned_abs()
                .min(other.unsigned_abs())
                .min(full.unsigned_abs()) as i64;
            if (one > 0) == (other > 0) { alike } else { -alike }
        }
        (News::Code(Some(one)), News::Code(Some(other))) => i64::from(one == other),
        _ => 0,
    }
}

/// `part / whole` in [`Q`], rounded towards 0.
fn fraction(part: i64, whole: i64) -> i64 {
    let fraction = muldiv(part.unsigned_abs(), Q, whole.max(1) as u64) as i64;
    if part < 0 { -fraction } else { fraction }
}

/// The news of the roads of one class in one slot, ready to be asked how a word would have fared there.
///
/// The sum of overlaps over all roads is exact and costs O(log n): it is piecewise linear, so running sums over the
/// sorted news give it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Elsewhere {
    /// Numbers in their order.
    numbers: Vec<i64>,
    /// The sum of the numbers before each place.
    running: Vec<i64>,
    /// How many roads have each code as news.
    codes: BTreeMap<i64, i64>,
    /// How many roads there are, with news or without.
    roads: i64,
}

impl Elsewhere {
    pub(crate) fn new(news: impl IntoIterator<Item = News>) -> Self {
        let mut elsewhere = Self::default();
        for news in news {
            elsewhere.roads += 1;
            match news {
                News::Number(number) => elsewhere.numbers.push(number),
                News::Code(Some(code)) => *elsewhere.codes.entry(code).or_default() += 1,
                News::Code(None) => {}
            }
        }
        elsewhere.numbers.sort_unstable();
        elsewhere.running.push(0);
        let mut sum = 0i64;
        for &number in &elsewhere.numbers {
            sum = sum.saturating_add(number);
            elsewhere.running.push(sum);
        }
        elsewhere
    }

    /// `b`: the mean overlap of `news` with these roads, without its own, which has `own`. `None` where fewer than
    /// `least` other roads are left.
    fn overlap(&self, full: i64, news: News, own: Option<News>, least: i64) -> Option<i64> {
        let count = self.roads - i64::from(own.is_some());
        if count < least {
            return None;
        }
        let own = own.map_or(0, |own| overlap(full, news, own));
        Some(fraction(
            self.overlap_sum(full, news) - own,
            count.saturating_mul(full),
        ))
    }

    fn overlap_sum(&self, full: i64, news: News) -> i64 {
        let number = match news {
            News::Code(code) => return code.map_or(0, |code| self.codes.get(&code).copied().unwrap_or(0)),
            News::Number(number) => number.clamp(-full, full),
        };
        let below = |limit: i64| self.numbers.partition_point(|&other| other < limit);
        let sum = |from: usize, to: usize| self.running[to].saturating_sub(self.running[from]);
        let len = |from: usize, to: usize| (to - from) as i64;
        // Numbers within ±reach count as they are, those beyond as the reach.
        let reach = number.abs();
        let (low, high, end) = (below(-reach), below(reach), self.numbers.len());
        let alike = sum(low, high).saturating_add((len(high, end) - len(0, low)).saturating_mul(reach));
        if number > 0 { alike } else { -alike }
    }
}

/// `κ`: how much `groups` independent judges count.
pub(crate) fn kappa(groups: u32) -> u64 {
    match groups {
        0 => 0,
        1 => Q / 2,
        2 => Q / 4 * 3,
        _ => Q,
    }
}

/// How scarce reports of a road are where `heard` groups report in a slot, in [`Q`]: 1 to
/// [`Params::need_max`].
pub(crate) fn need(params: &Params, heard: u64) -> u64 {
    muldiv(u64::from(params.reporters_needed) * Q, Q, heard.max(1)).clamp(Q, u64::from(params.need_max) * Q)
}

/// What one of `members` vehicles of a group gets where `groups` groups report, in [`Q`]. All shares in an
/// item sum to no more than the reporters needed: one vehicle more never makes it dearer than that.
pub(crate) fn share(params: &Params, groups: u32, members: u32) -> u64 {
    let needed = u64::from(params.reporters_needed) * Q;
    muldiv(needed, 1, groups.into()).min(Q) / u64::from(members.max(1))
}

/// How fresh an observation of this age is, in [`Q`].
pub(crate) fn freshness(age_ms: u64, limit_ms: u64) -> u64 {
    muldiv(limit_ms.saturating_sub(age_ms), Q, limit_ms)
}

/// How well one word fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quality {
    /// `a`.
    pub(crate) agreement: i64,
    /// `b`.
    pub(crate) anywhere: i64,
    /// `q`.
    pub(crate) quality: i64,
    /// Whether the record gets better for it.
    pub(crate) good: bool,
    /// Whether the record gets worse for it.
    pub(crate) bad: bool,
}

/// What a word is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Against {
    /// What the others say.
    pub(crate) others: i64,
    /// What was news in the others' words when they were heard; codes have none.
    pub(crate) theirs: Option<News>,
    /// `b`: what is said elsewhere.
    pub(crate) anywhere: i64,
    /// How far the others agree, in [`Q`] ([`crate::truth::Truth::consent`]): a word that is far off loses as much.
    pub(crate) consent: u64,
}

/// How a word fares that was heard when `known` was known.
pub(crate) fn quality(
    params: &Params,
    scale: Scale,
    (word, known): (i64, i64),
    against: &Against,
) -> Quality {
    let full = scale.full();
    let told = [Some(scale.news(against.others, known)), against.theirs];
    let news = scale.news(word, known);
    let alike = told.into_iter().flatten().map(|told| overlap(full, news, told));
    let agreement = fraction(alike.min().unwrap_or(0), full);
    let bad = scale.is_far(word, against.others);
    let less = u64::from(params.news_margin) + if bad { against.consent } else { 0 };
    Quality {
        agreement,
        anywhere: against.anywhere,
        quality: agreement - against.anywhere - less as i64,
        good: scale.is_near(word, against.others),
        bad,
    }
}

/// How far a judgement goes into the record, in [`Q`]: as far as the judges outweigh the judged. Who is not trusted
/// cannot ruin a trusted vehicle's name, nor make its own.
pub(crate) fn certainty(judges: u64, judged: u64) -> u64 {
    muldiv(judges.min(judged.max(1)), Q, judged.max(1))
}

/// `v = need · share · freshness · κ`.
pub(crate) fn worth(need: u64, share: u64, freshness: u64, kappa: u64) -> u64 {
    times(times(times(need, share), freshness), kappa)
}

/// `v · q`.
pub(crate) fn points(worth: u64, quality: i64) -> i64 {
    times_signed(worth, quality)
}

/// What was settled in one slot, by class of road.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    by_class: BTreeMap<usize, Elsewhere>,
    everywhere: Elsewhere,
}

/// With fewer other roads of a class than this, all roads are compared: a mean of few says little.
const ROADS_MIN: i64 = 8;

impl Settled {
    /// From each road's class and news.
    pub(crate) fn new(roads: &[(usize, News)]) -> Self {
        let mut by_class: BTreeMap<usize, Vec<News>> = BTreeMap::new();
        for &(class, news) in roads {
            by_class.entry(class).or_default().push(news);
        }
        Self {
            by_class: by_class
                .into_iter()
                .map(|(class, news)| (class, Elsewhere::new(news)))
                .collect(),
            everywhere: Elsewhere::new(roads.iter().map(|&(_, news)| news)),
        }
    }

    /// `b` for a word with this news on a road of `class` whose own is `own`, if it has any. Where the slot has few other
    /// roads of the class, all roads are compared; where it has no other road, half of it counts as told
    /// anywhere.
    pub(crate) fn anywhere(&self, scale: Scale, class: usize, news: News, own: Option<News>) -> i64 {
        let full = scale.full();
        self.by_class
            .get(&class)
            .and_then(|class| class.overlap(full, news, own, ROADS_MIN))
            .or_else(|| self.everywhere.overlap(full, news, own, 1))
            .unwrap_or_else(|| fraction(overlap(full, news, news), full) / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPEED: Scale = Scale::Numbers(Tolerance { near: 139, far: 417 });

    /// Others who agree, and for whom nothing was news.
    fn against(others: i64) -> Against {
        Against {
            others,
            theirs: None,
            anywhere: 0,
            consent: Q,
        }
    }

    fn overlap_of(one: i64, other: i64) -> i64 {
        let news = |word| SPEED.news(word, 0);
        fraction(overlap(SPEED.full(), news(one), news(other)), SPEED.full())
    }

    fn elsewhere(words: &[i64]) -> Elsewhere {
        Elsewhere::new(words.iter().map(|&word| News::Number(word)))
    }

    #[test]
    fn news_is_what_two_tell_alike() {
        let q = Q as i64;
        assert_eq!(overlap_of(139, 500), q);
        assert_eq!(overlap_of(-500, -500), q);
        assert_eq!(overlap_of(500, 70), 70 * q / 139);
        assert_eq!(overlap_of(500, -500), -q, "the contrary");
        assert_eq!(overlap_of(0, 500), 0, "a copy of the map tells nothing");
        let code = |word| Scale::Codes.news(word, 3);
        assert_eq!(overlap(1, code(4), code(4)), 1);
        assert_eq!(overlap(1, code(4), code(5)), 0);
        assert_eq!(overlap(1, code(3), code(3)), 0, "known already");
    }

    #[test]
    fn a_copy_of_the_map_never_earns() {
        let params = Params::default();
        for others in [-900, -100, 0, 50, 900] {
            let anywhere = Settled::new(&[(1, News::Number(5)), (1, News::Number(others))]).anywhere(
                SPEED,
                1,
                News::Number(0),
                Some(News::Number(others)),
            );
            let against = Against {
                anywhere,
                ..against(others)
            };
            assert!(quality(&params, SPEED, (0, 0), &against).quality < 0);
        }
    }

    /// The map says 10 where it said 100 a moment ago, and copies of the old one are still coming in.
    #[test]
    fn a_late_copy_of_an_old_map_is_not_confirmed_by_those_that_came_in_time() {
        let params = Params::default();
        let judged = |theirs| {
            let against = Against {
                theirs: Some(News::Number(theirs)),
                ..against(90)
            };
            quality(&params, SPEED, (90, 0), &against)
        };
        assert_eq!(judged(0).agreement, 0, "they copied, too");
        assert!(judged(0).quality < 0);
        assert!(judged(80).quality > 0, "they had looked");
        assert!(judged(-80).quality < 0, "to them it was the contrary");
    }

    #[test]
    fn a_word_that_is_far_off_loses_as_far_as_the_others_agree() {
        let params = Params::default();
        let judged = |word, consent| {
            let against = Against {
                consent,
                ..against(0)
            };
            quality(&params, SPEED, (word, 0), &against).quality
        };
        assert_eq!(judged(500, 0) - judged(500, Q), Q as i64);
        assert_eq!(judged(500, 0) - judged(500, Q / 4), Q as i64 / 4);
        assert_eq!(judged(300, 0), judged(300, Q), "that is not far off");
    }

    #[test]
    fn a_level_next_to_what_the_others_say_is_not_held_against_a_vehicle_and_another_cause_is() {
        let params = Params::default();
        let judged = |kind, word| {
            let quality = quality(&params, Scale::of(&params, kind), (word, 0), &against(2));
            (quality.good, quality.bad)
        };
        assert_eq!(judged(Kind::Congestion, 2), (true, false));
        assert_eq!(
            [1, 3].map(|level| judged(Kind::Congestion, level)),
            [(false, false); 2]
        );
        assert_eq!(
            [0, 4].map(|level| judged(Kind::Congestion, level)),
            [(false, true); 2]
        );
        assert_eq!(judged(Kind::Hazard, 3), (false, true));
    }

    #[test]
    fn a_road_without_company_counts_as_half_told_anywhere() {
        let alone = Settled::new(&[(1, News::Number(-500))]);
        let anywhere = alone.anywhere(SPEED, 1, News::Number(-500), Some(News::Number(-500)));
        assert_eq!(anywhere, Q as i64 / 2);
        let classes = Settled::new(&[(1, News::Number(-500)), (2, News::Number(-500))]);
        let anywhere = classes.anywhere(SPEED, 1, News::Number(-500), Some(News::Number(-500)));
        assert_eq!(anywhere, Q as i64, "all roads, where a class has few");
    }

    #[test]
    fn who_is_not_trusted_cannot_ruin_a_trusted_name() {
        assert_eq!(certainty(Q / 8, Q / 2), Q / 4);
        assert_eq!(certainty(Q, Q / 2), Q);
        assert_eq!(certainty(Q, 0), Q, "in the shadow");
        assert_eq!(certainty(0, Q), 0);
    }

    #[test]
    fn scarce_roads_are_worth_up_to_four_times() {
        let params = Params::default();
        assert_eq!(need(&params, 0), 4 * Q);
        assert_eq!(need(&params, Q), 3 * Q);
        assert_eq!(need(&params, 100 * Q), Q);
    }

    proptest! {
        #[test]
        fn sums_by_parts_are_the_sums_by_hand(
            words in prop::collection::vec(-900i64..900, 0..40), word in -900i64..900,
        ) {
            let slow: i64 = words
                .iter()
                .map(|&other| overlap(139, News::Number(word), News::Number(other)))
                .sum();
            prop_assert_eq!(elsewhere(&words).overlap_sum(139, News::Number(word)), slow);
        }

        /// Told of many roads, news that has nothing to do with them earns nothing: what it gains on one road it
        /// loses in `b`.
        #[test]
        fn one_word_for_all_roads_earns_nothing(
            roads in prop::collection::vec(-900i64..900, 10..40), word in -900i64..900,
        ) {
            let settled = Settled::new(&roads.iter().map(|&road| (1, News::Number(road))).collect::<Vec<_>>());
            let news = News::Number(word);
            let gained: i64 = roads
                .iter()
                .map(|&road| {
                    let b = settled.anywhere(SPEED, 1, news, Some(News::Number(road)));
                    fraction(overlap(139, news, News::Number(road)), 139) - b
                })
                .sum();
            prop_assert!(gained.abs() <= 2 * roads.len() as i64, "{}", gained);
        }

        #[test]
        fn a_further_report_never_makes_an_item_dearer_than_what_is_needed(
            members in prop::collection::vec(1u32..20, 1..40),
        ) {
            let params = Params::default();
            let groups = members.len() as u32;
            let all: u64 = members.iter().map(|&count| share(&params, groups, count) * u64::from(count)).sum();
            prop_assert!(all <= u64::from(params.reporters_needed) * Q);
        }

        #[test]
        fn points_rise_towards_what_the_others_say(
            word in -900i64..900, others in -900i64..900, nearer in 0i64..900, worth in 0u64..4 * Q,
        ) {
            let closer = others + (word - others).signum() * nearer.min((word - others).abs());
            let params = Params::default();
            let judge = |word| {
                points(worth, quality(&params, SPEED, (word, 0), &against(others)).quality)
            };
            prop_assert!(judge(closer) >= judge(word));
        }

        #[test]
        fn points_stay_within_thrice_the_worth(
            worth in 0u64..=4 * Q, word in -900i64..900, others in -900i64..900, b in -(Q as i64)..=Q as i64,
        ) {
            let against = Against { anywhere: b, ..against(others) };
            let quality = quality(&Params::default(), SPEED, (word, 0), &against);
            let (points, worth) = (points(worth, quality.quality), worth as i64);
            prop_assert!(points <= 2 * worth && points >= -4 * worth);
        }

        #[test]
        fn no_word_overflows(words in prop::collection::vec(any::<i64>(), 0..10), word in any::<i64>(), known in any::<i64>()) {
            let news = SPEED.news(word, known);
            let _ = elsewhere(&words).overlap(139, news, Some(news), 1);
        }
    }
}
