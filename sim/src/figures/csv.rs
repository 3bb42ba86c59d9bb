//! The tables of `--out`.

use std::fmt::Write as _;

use milepost_wire::Kind;

use super::kinds::{self, Row};
use super::{Item, Published, VehicleRow, round};

/// `items.csv`: speed, then the other kinds. Those leave the columns in km/h empty; the last five columns are the same for
/// all.
pub fn items_csv(items: &[Item], beside: &[Row]) -> String {
    let mut text = String::from(
        "place,kind,slot_begin_s,slot_end_s,estimate_kmh,low_kmh,high_kmh,vehicles,truth_kmh,truth_vehicle_s,unit,estimate,low,high,truth\n",
    );
    for item in items {
        let Item {
            place,
            slot_begin_s,
            slot_end_s,
            ..
        } = item;
        let estimate = item.published.map_or_else(
            || ",,".to_owned(),
            |Published {
                 kmh,
                 low_kmh,
                 high_kmh,
                 ..
             }| { format!("{kmh:.3},{low_kmh:.3},{high_kmh:.3}") },
        );
        let vehicles = item.published.map_or(0, |published| published.vehicles);
        let truth = item
            .truth
            .map_or_else(String::new, |truth| format!("{:.3}", truth.speed_kmh));
        let vehicle_s = round(item.truth.map_or(0.0, |truth| truth.vehicle_s));
        let _ = writeln!(
            text,
            "{},{},{slot_begin_s},{slot_end_s},{estimate},{vehicles},{truth},{vehicle_s},{},{estimate},{truth}",
            quoted(place),
            Kind::Speed,
            kinds::unit(Kind::Speed)
        );
    }
    kinds::write_rows(&mut text, beside);
    text
}

/// `vehicles.csv`.
pub fn vehicles_csv(vehicles: &[VehicleRow]) -> String {
    let mut text =
        String::from("vehicle,behaviour,paid,reputation,quarantined,epoch_quarantined,epoch_released\n");
    let epoch = |epoch: Option<u32>| epoch.map_or_else(String::new, |epoch| epoch.to_string());
    for row in vehicles {
        let _ = writeln!(
            text,
            "{},{},{:.6},{:.4},{},{},{}",
            quoted(&row.vehicle),
            row.behaviour,
            row.paid,
            row.reputation,
            row.quarantined,
            epoch(row.epoch_quarantined),
            epoch(row.epoch_released)
        );
    }
    text
}

/// A name as RFC 4180 wants it.
pub(super) fn quoted(name: &str) -> String {
    if name.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::item;
    use super::*;

    #[test]
    fn a_table_leaves_empty_what_was_not_published() {
        let text = items_csv(&[item(Some(50.0), 51.0), item(None, 10.0)], &[]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1],
            "\"a,b\",speed,60,120,50.000,48.000,52.000,3,51.000,7,km/h,50.000,48.000,52.000,51.000"
        );
        assert_eq!(lines[2], "\"a,b\",speed,60,120,,,,0,10.000,7,km/h,,,,10.000");
    }
}
