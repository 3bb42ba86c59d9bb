//! How good was the picture of what is not speed?
//!
//! In: every road and slot with a truth or a figure, as [`Row`]s of one kind; of dangers also when each figure came. Out: a
//! block of figures for each kind. What they are measured against: of congestion the word said most often by the same
//! reporters, of humidity their plain mean. Dangers are counted: an item without one is no achievement.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use milepost_wire::Kind;
use serde::Serialize;

use super::csv::quoted;
use super::round;
use crate::world::conditions::Danger;

/// How good the picture of congestion was: levels of service, 0 to 5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CongestionFigures {
    /// Figures published: a road and a slot.
    pub items: usize,
    /// The share of roads and slots with a truth that have one.
    pub coverage: f64,
    /// The share of levels that are right.
    pub agreement: f64,
    /// The same, had the level been published that most reporters said.
    pub plain_agreement: f64,
}

/// How good the picture of the roads' surface was: humidity in per cent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct HumidityFigures {
    /// Figures published: a road and a slot.
    pub items: usize,
    /// The share of roads and slots with a truth that have one.
    pub coverage: f64,
    /// Mean absolute error.
    pub mae_pct: f64,
    /// The same, had the reporters' readings simply been averaged.
    pub plain_mean_mae_pct: f64,
}

/// How good the picture of dangers was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct HazardFigures {
    /// Dangers that there were.
    pub real: usize,
    /// Those that at least two reporting vehicles drove by: nobody else can be believed.
    pub witnessed: usize,
    /// Those that came onto the map.
    pub found: usize,
    /// The share of the real ones that did ...
    pub found_share: f64,
    /// ... and how many did while they were there.
    pub found_in_time: usize,
    /// Dangers on the map that there never were.
    #[serde(rename = "false")]
    pub invented: usize,
    /// From a danger's beginning until it was on the map, for half of the found ones.
    pub delay_s_median: Option<f64>,
}

/// One road and slot of a kind besides speed: a line of `items.csv`.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The road's name.
    pub place: String,
    /// Of what, and so in which unit.
    pub kind: Kind,
    /// When the slot began, by the world's own clock.
    pub slot_begin_s: u64,
    /// When it ended.
    pub slot_end_s: u64,
    /// What was published.
    pub published: Option<Value>,
    /// How it was; `None` where nobody came by.
    pub truth: Option<f64>,
    /// Over how many seconds of vehicles.
    pub truth_vehicle_s: f64,
    /// What the reporters said most often, or their plain mean.
    pub plain: Option<f64>,
}

/// A published figure in the unit of [`unit`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// The estimate.
    pub value: f64,
    /// The 90 % interval; codes have none.
    pub interval: Option<(f64, f64)>,
    /// On how many vehicles it rests.
    pub vehicles: u32,
}

/// In which unit figures of a kind are printed.
pub const fn unit(kind: Kind) -> &'static str {
    match kind {
        Kind::Speed => "km/h",
        Kind::Congestion => "level",
        Kind::Humidity => "%",
        Kind::Hazard => "cause",
    }
}

/// A published danger, or that there is none any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// On which road.
    pub road: usize,
    /// When the slot begins that it is of, in milliseconds since the world began.
    pub begin_ms: u64,
    /// When it ends.
    pub end_ms: u64,
    /// What there is; 0 for nothing.
    pub cause: i32,
    /// When it was published.
    pub at_ms: u64,
}

/// Of rows of congestion.
pub fn congestion(rows: &[Row], truth_min_vehicle_s: f64) -> CongestionFigures {
    let compared = compared(rows, truth_min_vehicle_s);
    let is_right = |said: f64, truth: f64| f64::from(u8::from(said == truth));
    CongestionFigures {
        items: published(rows),
        coverage: compared.coverage,
        agreement: compared.mean(|item| Some(is_right(item.value, item.truth))),
        plain_agreement: compared.mean(|item| Some(is_right(item.plain?, item.truth))),
    }
}

/// Of rows of humidity.
pub fn humidity(rows: &[Row], truth_min_vehicle_s: f64) -> HumidityFigures {
    let compared = compared(rows, truth_min_vehicle_s);
    HumidityFigures {
        items: published(rows),
        coverage: compared.coverage,
        mae_pct: compared.mean(|item| Some((item.value - item.truth).abs())),
        plain_mean_mae_pct: compared.mean(|item| Some((item.plain? - item.truth).abs())),
    }
}

/// Of what was published of dangers, in the order of slots, given how many vehicles drove by each.
pub fn hazards(dangers: &[Danger], witnesses: &[usize], notices: &[Notice]) -> HazardFigures {
    let mut delays_ms = Vec::new();
    let mut found_in_time = 0;
    for danger in dangers {
        let first = notices
            .iter()
            .filter(|notice| tells_of(notice, danger))
            .map(|notice| notice.at_ms)
            .min();
        if let Some(at_ms) = first {
            delays_ms.push(at_ms.saturating_sub(danger.begin_ms));
            found_in_time += usize::from(at_ms < danger.end_ms);
        }
    }
    delays_ms.sort_unstable();
    let found = delays_ms.len();
    HazardFigures {
        real: dangers.len(),
        witnessed: witnesses.iter().filter(|&&vehicles| vehicles >= 2).count(),
        found,
        found_share: round(found as f64 / dangers.len().max(1) as f64),
        found_in_time,
        invented: invented(dangers, notices),
        delay_s_median: median_s(&delays_ms),
    }
}

fn tells_of(notice: &Notice, danger: &Danger) -> bool {
    notice.road == danger.road
        && notice.cause == i32::from(danger.cause)
        && danger.is_within(notice.begin_ms, notice.end_ms)
}

/// How often something came onto the map that was not there while it was said to be.
fn invented(dangers: &[Danger], notices: &[Notice]) -> usize {
    // What stands on each road's map, and whether it ever was true.
    let mut on_map: BTreeMap<usize, (i32, bool)> = BTreeMap::new();
    let mut invented = 0;
    for notice in notices {
        let is_true = dangers.iter().any(|danger| tells_of(notice, danger));
        let known = on_map.get(&notice.road).copied();
        let was_true = match known {
            Some((cause, was_true)) if cause == notice.cause => was_true,
            _ => {
                invented += usize::from(known.is_some_and(|(_, was_true)| !was_true));
                false
            }
        };
        if notice.cause == 0 {
            on_map.remove(&notice.road);
        } else {
            on_map.insert(notice.road, (notice.cause, was_true || is_true));
        }
    }
    invented + on_map.values().filter(|(_, was_true)| !was_true).count()
}

fn median_s(sorted_ms: &[u64]) -> Option<f64> {
    let middle = sorted_ms.len() / 2;
    let upper = *sorted_ms.get(middle)? as f64;
    let ms = if sorted_ms.len() % 2 == 1 {
        upper
    } else {
        (sorted_ms[middle - 1] as f64 + upper) / 2.0
    };
    Some(round(ms / 1e3))
}

/// How many different vehicles drove by each danger while it was there, given who was on which road and when.
pub fn witnesses(dangers: &[Danger], passes: impl Iterator<Item = (usize, usize, u64)>) -> Vec<usize> {
    let mut seen: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); dangers.len()];
    let mut of_road: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (number, danger) in dangers.iter().enumerate() {
        of_road.entry(danger.road).or_default().push(number);
    }
    for (vehicle, road, at_ms) in passes {
        for &number in of_road.get(&road).into_iter().flatten() {
            if dangers[number].is_within(at_ms, at_ms + 1) {
                seen[number].insert(vehicle);
            }
        }
    }
    seen.iter().map(BTreeSet::len).collect()
}

fn published(rows: &[Row]) -> usize {
    rows.iter().filter(|row| row.published.is_some()).count()
}

/// An item that was published, beside its truth.
struct Item {
    value: f64,
    truth: f64,
    plain: Option<f64>,
}

struct Compared {
    items: Vec<Item>,
    coverage: f64,
}

fn compared(rows: &[Row], truth_min_vehicle_s: f64) -> Compared {
    let with_truth = rows
        .iter()
        .filter(|row| row.truth_vehicle_s >= truth_min_vehicle_s)
        .filter_map(|row| Some((row, row.truth?)));
    let with_truth: Vec<(&Row, f64)> = with_truth.collect();
    let items: Vec<Item> = with_truth
        .iter()
        .filter_map(|&(row, truth)| {
            Some(Item {
                value: row.published?.value,
                truth,
                plain: row.plain,
            })
        })
        .collect();
    Compared {
        coverage: round(items.len() as f64 / with_truth.len().max(1) as f64),
        items,
    }
}

impl Compared {
    /// The mean of what there is.
    fn mean(&self, of: impl Fn(&Item) -> Option<f64>) -> f64 {
        let found: Vec<f64> = self.items.iter().filter_map(of).collect();
        round(found.iter().sum::<f64>() / found.len().max(1) as f64)
    }
}

/// Writes the rows of a kind after those of speed, whose own columns stay empty.
pub(super) fn write_rows(text: &mut String, rows: &[Row]) {
    for row in rows {
        let vehicles = row.published.map_or(0, |published| published.vehicles);
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| in_unit(row.kind, value));
        let estimate = number(row.published.map(|published| published.value));
        let interval = row.published.and_then(|published| published.interval);
        let (low, high) = (
            number(interval.map(|(low, _)| low)),
            number(interval.map(|(_, high)| high)),
        );
        let _ = writeln!(
            text,
            "{},{},{},{},,,,{vehicles},,{},{},{estimate},{low},{high},{}",
            quoted(&row.place),
            row.kind,
            row.slot_begin_s,
            row.slot_end_s,
            round(row.truth_vehicle_s),
            unit(row.kind),
            number(row.truth),
        );
    }
}

/// Codes are whole.
fn in_unit(kind: Kind, value: f64) -> String {
    if kind.is_category() {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

impl CongestionFigures {
    pub(super) fn line(&self) -> String {
        format!(
            "{} items, {:.1} % covered, level {:.1} % right (most frequent word {:.1} %)",
            self.items,
            100.0 * self.coverage,
            100.0 * self.agreement,
            100.0 * self.plain_agreement
        )
    }
}

impl HumidityFigures {
    pub(super) fn line(&self) -> String {
        format!(
            "{} items, {:.1} % covered, error {:.2} points of a per cent (plain mean {:.2})",
            self.items,
            100.0 * self.coverage,
            self.mae_pct,
            self.plain_mean_mae_pct
        )
    }
}

impl HazardFigures {
    pub(super) fn line(&self) -> String {
        let delay = self.delay_s_median.map_or_else(String::new, |delay_s| {
            format!(", half of them within {delay_s:.0} s")
        });
        format!(
            "{} real, {} driven by twice, {} found ({:.1} %, {} in time){delay}; {} false",
            self.real,
            self.witnessed,
            self.found,
            100.0 * self.found_share,
            self.found_in_time,
            self.invented
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: Kind, value: Option<f64>, plain: f64, truth: f64) -> Row {
        Row {
            place: "a".into(),
            kind,
            slot_begin_s: 0,
            slot_end_s: 60,
            published: value.map(|value| Value {
                value,
                interval: (!kind.is_category()).then_some((value - 1.0, value + 1.0)),
                vehicles: 3,
            }),
            truth: Some(truth),
            truth_vehicle_s: 60.0,
            plain: value.map(|_| plain),
        }
    }

    #[test]
    fn levels_are_right_or_not_and_humidity_is_off_by_so_much() {
        let of = |kind| {
            [
                row(kind, Some(2.0), 5.0, 2.0),
                row(kind, Some(3.0), 1.0, 1.0),
                row(kind, None, 0.0, 4.0),
                Row {
                    truth_vehicle_s: 0.5,
                    ..row(kind, Some(0.0), 0.0, 5.0)
                },
            ]
        };
        let found = congestion(&of(Kind::Congestion), 1.0);
        assert_eq!((found.items, found.coverage), (3, 0.6667));
        assert_eq!((found.agreement, found.plain_agreement), (0.5, 0.5));
        let found = humidity(&of(Kind::Humidity), 1.0);
        assert_eq!((found.mae_pct, found.plain_mean_mae_pct), (1.0, 1.5));
    }

    fn notice(road: usize, minute: u64, cause: i32) -> Notice {
        Notice {
            road,
            begin_ms: minute * 60_000,
            end_ms: (minute + 1) * 60_000,
            cause,
            at_ms: (minute + 3) * 60_000,
        }
    }

    fn danger(road: usize, minutes: (u64, u64)) -> Danger {
        Danger {
            road,
            cause: 10,
            begin_ms: minutes.0 * 60_000,
            end_ms: minutes.1 * 60_000,
        }
    }

    #[test]
    fn a_danger_is_found_once_and_late_where_it_is_gone_by_then() {
        let dangers = [danger(1, (2, 12)), danger(2, (2, 4)), danger(3, (0, 9))];
        let notices = [
            notice(1, 4, 10),
            notice(1, 5, 10),
            notice(2, 3, 10),
            notice(3, 8, 94),
        ];
        let found = hazards(&dangers, &[2, 5, 1], &notices);
        assert_eq!((found.real, found.witnessed, found.found), (3, 2, 2));
        assert_eq!((found.found_share, found.found_in_time), (0.6667, 1));
        assert_eq!(found.delay_s_median, Some(270.0), "five minutes and four");
        assert_eq!(found.invented, 1, "another cause is another danger");
        assert_eq!(hazards(&dangers, &[0; 3], &[]).delay_s_median, None);
    }

    #[test]
    fn what_stays_too_long_was_true_and_what_comes_again_is_false_again() {
        let dangers = [danger(1, (2, 4))];
        let stays = [notice(1, 3, 10), notice(1, 5, 10), notice(1, 6, 10)];
        assert_eq!(invented(&dangers, &stays), 0);
        let again = [
            notice(1, 3, 10),
            notice(1, 5, 0),
            notice(1, 6, 10),
            notice(1, 7, 10),
        ];
        assert_eq!(invented(&dangers, &again), 1);
        let gone = [notice(2, 3, 10), notice(2, 4, 0), notice(2, 5, 10)];
        assert_eq!(invented(&dangers, &gone), 2);
    }

    #[test]
    fn a_vehicle_is_one_witness_however_often_it_looks() {
        let dangers = [danger(1, (2, 4)), danger(2, (2, 4))];
        let passes = [(7, 1, 150_000), (7, 1, 160_000), (8, 1, 300_000), (9, 2, 120_000)];
        assert_eq!(witnesses(&dangers, passes.into_iter()), [1, 1]);
    }

    #[test]
    fn rows_leave_the_columns_of_speed_empty() {
        let mut text = String::new();
        write_rows(
            &mut text,
            &[
                row(Kind::Humidity, Some(41.5), 0.0, 40.0),
                row(Kind::Congestion, Some(2.0), 0.0, 3.0),
                row(Kind::Hazard, None, 0.0, 10.0),
            ],
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "a,humidity,0,60,,,,3,,60,%,41.500,40.500,42.500,40.000");
        assert_eq!(lines[1], "a,congestion,0,60,,,,3,,60,level,2,,,3");
        assert_eq!(lines[2], "a,hazard,0,60,,,,0,,60,cause,,,,10");
    }
}
