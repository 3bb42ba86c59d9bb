//! How good was the picture of speeds?

use super::{AllFigures, Item, PictureFigures, Published, round};
use crate::world::conditions::level;

/// How good the picture was, where vehicles spent at least so many seconds.
pub fn picture(items: &[Item], truth_min_vehicle_s: f64) -> PictureFigures {
    let all: Vec<Compared> = items
        .iter()
        .filter_map(|item| Compared::new(item, truth_min_vehicle_s))
        .collect();
    let covered: Vec<Compared> = all.iter().filter_map(Compared::heard).collect();
    // Of what nobody spoke of, free flow is the best guess that needs no past.
    let with_fallback: Vec<Compared> = all
        .iter()
        .map(|item| Compared {
            plain: item.plain.or(Some(item.free_flow)),
            ..*item
        })
        .collect();
    PictureFigures {
        items: items
            .iter()
            .filter(|item| item.published.is_some_and(|published| published.heard))
            .count(),
        coverage: round(covered.len() as f64 / all.len().max(1) as f64),
        speed_mae_kmh: mean(&covered, Compared::error),
        plain_mean_mae_kmh: mean(&covered, Compared::plain_error),
        speed_rmse_kmh: round(mean_of(&covered, |item| item.error().map(|error| error * error)).sqrt()),
        bias_kmh: mean(&covered, |item| Some(item.published?.kmh - item.truth)),
        interval_90_hit: mean(&covered, Compared::holds),
        weighted_mae_kmh: weighted(&covered, Compared::error),
        plain_mean_weighted_mae_kmh: weighted(&covered, Compared::plain_error),
        los_agreement: mean(&covered, Compared::level_is_right),
        plain_mean_los_agreement: mean(&covered, Compared::plain_level_is_right),
        all: AllFigures {
            items: all.len(),
            coverage: mean(&all, |item| Some(f64::from(u8::from(item.published.is_some())))),
            speed_mae_kmh: mean(&all, Compared::error),
            plain_mean_mae_kmh: mean(&with_fallback, Compared::plain_error),
            weighted_mae_kmh: weighted(&all, Compared::error),
            plain_mean_weighted_mae_kmh: weighted(&with_fallback, Compared::plain_error),
            interval_90_hit: mean(&all, Compared::holds),
            los_agreement: mean(&all, Compared::level_is_right),
        },
        ..PictureFigures::default()
    }
}

/// An item beside its truth, in km/h.
#[derive(Clone, Copy)]
struct Compared {
    published: Option<Published>,
    truth: f64,
    vehicle_s: f64,
    plain: Option<f64>,
    free_flow: f64,
}

impl Compared {
    fn new(item: &Item, truth_min_vehicle_s: f64) -> Option<Self> {
        let truth = item
            .truth
            .filter(|truth| truth.vehicle_s >= truth_min_vehicle_s)?;
        Some(Self {
            published: item.published,
            truth: truth.speed_kmh,
            vehicle_s: truth.vehicle_s,
            plain: item.plain_mean_kmh,
            free_flow: item.free_flow_kmh,
        })
    }

    fn heard(&self) -> Option<Self> {
        self.published.filter(|published| published.heard).map(|_| *self)
    }

    fn error(&self) -> Option<f64> {
        Some((self.published?.kmh - self.truth).abs())
    }

    fn plain_error(&self) -> Option<f64> {
        Some((self.plain? - self.truth).abs())
    }

    fn holds(&self) -> Option<f64> {
        let Published {
            low_kmh, high_kmh, ..
        } = self.published?;
        Some(f64::from(u8::from((low_kmh..=high_kmh).contains(&self.truth))))
    }

    fn level_is_right(&self) -> Option<f64> {
        Some(self.is_level(self.published?.kmh))
    }

    fn plain_level_is_right(&self) -> Option<f64> {
        Some(self.is_level(self.plain?))
    }

    fn is_level(&self, kmh: f64) -> f64 {
        f64::from(u8::from(
            level(kmh, self.free_flow) == level(self.truth, self.free_flow),
        ))
    }
}

/// The mean of what there is.
fn mean_of(items: &[Compared], of: impl Fn(&Compared) -> Option<f64>) -> f64 {
    let found: Vec<f64> = items.iter().filter_map(of).collect();
    found.iter().sum::<f64>() / found.len().max(1) as f64
}

fn mean(items: &[Compared], of: impl Fn(&Compared) -> Option<f64>) -> f64 {
    round(mean_of(items, of))
}

/// The mean of what there is by the seconds that vehicles spent there.
fn weighted(items: &[Compared], of: impl Fn(&Compared) -> Option<f64>) -> f64 {
    let found = items.iter().filter_map(|item| Some((of(item)?, item.vehicle_s)));
    let (sum, all) = found.fold((0.0, 0.0), |(sum, all), (value, seconds)| {
        (sum + value * seconds, all + seconds)
    });
    round(if all > 0.0 { sum / all } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::super::samples::item;
    use super::*;

    #[test]
    fn the_pictures_error_is_that_of_covered_items() {
        let picture = picture(
            &[item(Some(50.0), 51.0), item(Some(40.0), 37.0), item(None, 10.0)],
            1.0,
        );
        assert_eq!((picture.items, picture.coverage), (2, 0.6667));
        assert_eq!(
            (picture.speed_mae_kmh, picture.bias_kmh, picture.interval_90_hit),
            (2.0, 1.0, 0.5)
        );
        assert_eq!(picture.plain_mean_mae_kmh, 2.0);
        assert_eq!(picture.los_agreement, 1.0, "50 and 51 of 60 are B, 40 and 37 C");
        assert_eq!(picture.plain_mean_los_agreement, 0.5, "41 of 60 is B, 37 is C");
    }

    #[test]
    fn what_nobody_spoke_of_counts_over_all_and_what_nobody_drove_on_nowhere() {
        let mut unheard = item(Some(30.0), 34.0);
        unheard.published.as_mut().expect("some").heard = false;
        unheard.plain_mean_kmh = None;
        let mut brief = item(Some(90.0), 10.0);
        brief.truth.as_mut().expect("some").vehicle_s = 0.5;
        let picture = picture(&[item(Some(50.0), 51.0), unheard, brief], 1.0);
        assert_eq!((picture.coverage, picture.speed_mae_kmh), (0.5, 1.0));
        assert_eq!((picture.all.items, picture.all.coverage), (2, 1.0));
        assert_eq!(picture.all.speed_mae_kmh, 2.5);
        assert_eq!(
            picture.all.plain_mean_mae_kmh, 13.0,
            "0 and, from free flow at 60, 26"
        );
    }
}
