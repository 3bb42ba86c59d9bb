//! How is the picture drawn on a map?
//!
//! As a GeoJSON FeatureCollection (RFC 7946): one polygon for each H3 cell, one feature for each kind and
//! heading sector there. A segment of a map has no geometry here: its name's hash is all that the ledger knows.

use milepost_wire::cell::Sector;
use milepost_wire::{Cell, Kind};
use serde_json::{Map, Value, json};

use crate::picture::Figure;
use crate::rfc3339;
use crate::slots::Slots;

/// The whole collection; `picture` is "final" or "live".
pub(crate) fn collection(picture: &str, figures: &[Figure], truncated: bool, slots: Slots) -> Value {
    let features: Vec<Value> = figures.iter().map(|figure| feature(figure, slots)).collect();
    json!({
        "type": "FeatureCollection",
        "picture": picture,
        "truncated": truncated,
        "features": features,
    })
}

fn feature(figure: &Figure, slots: Slots) -> Value {
    let estimate = &figure.estimate;
    let item = estimate.item;
    let mut properties = Map::new();
    let mut set = |name: &str, value: Value| properties.insert(name.to_owned(), value);
    set("cell", json!(item.cell));
    set("kind", json!(item.kind));
    set("direction", json!(item.cell.sector().map(direction)));
    for (prefix, value) in [
        ("", estimate.value),
        ("low_", estimate.low),
        ("high_", estimate.high),
    ] {
        let (unit, value) = in_unit(item.kind, value);
        set(&format!("{prefix}{unit}"), value);
    }
    if item.kind == Kind::Speed {
        set("los", json!(figure.free_flow.level(estimate.value)));
    }
    set("vehicles", json!(estimate.vehicles));
    set("weight", json!(fraction(estimate.weight)));
    set("slot", json!(item.slot));
    set("slot_begin", json!(rfc3339::format(slots.begin(item.slot))));
    set("slot_end", json!(rfc3339::format(slots.end(item.slot))));
    set("published_at", json!(rfc3339::format(figure.at)));
    json!({
        "type": "Feature",
        "id": format!("{}-{}", item.cell, item.kind),
        "geometry": geometry(item.cell),
        "properties": properties,
    })
}

/// A kind's property name and value, in units for people.
fn in_unit(kind: Kind, value: i32) -> (&'static str, Value) {
    match kind {
        // 1 cm/s is 0.036 km/h; two decimals tell every cm/s from the next.
        Kind::Speed => ("speed_kmh", json!((f64::from(value) * 3.6).round() / 100.0)),
        Kind::Humidity => ("humidity_percent", json!(f64::from(value) / 10.0)),
        Kind::Congestion => ("level_of_service", json!(value)),
        Kind::Hazard => ("cause_code", json!(value)),
    }
}

/// A number in units of 1/65 536, with four decimals.
pub(crate) fn fraction(value: u64) -> f64 {
    (value as f64 / milepost_wire::state::Q as f64 * 1e4).round() / 1e4
}

const fn direction(sector: Sector) -> &'static str {
    match sector {
        Sector::North => "north",
        Sector::East => "east",
        Sector::South => "south",
        Sector::West => "west",
        Sector::Unknown => "unknown",
    }
}

fn geometry(cell: Cell) -> Value {
    // A centimetre is 1e-7 degrees.
    let round = |degrees: f64| (degrees * 1e7).round() / 1e7;
    let Some(corners) = cell.boundary_degrees() else {
        return Value::Null;
    };
    // A ring ends where it begins.
    let ring: Vec<[f64; 2]> = corners
        .iter()
        .chain(corners.first())
        .map(|(longitude, latitude)| [round(*longitude), round(*latitude)])
        .collect();
    json!({ "type": "Polygon", "coordinates": [ring] })
}
