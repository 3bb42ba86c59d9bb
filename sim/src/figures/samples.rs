//! An item for tests.

use super::{Item, Published};
use crate::world::Truth;

pub(super) fn item(kmh: Option<f64>, truth_kmh: f64) -> Item {
    Item {
        place: "a,b".into(),
        slot_begin_s: 60,
        slot_end_s: 120,
        published: kmh.map(|kmh| Published {
            kmh,
            low_kmh: kmh - 2.0,
            high_kmh: kmh + 2.0,
            vehicles: 3,
            heard: true,
        }),
        free_flow_kmh: 60.0,
        truth: Some(Truth {
            speed_kmh: truth_kmh,
            vehicle_s: 7.0,
        }),
        plain_mean_kmh: kmh.map(|kmh| kmh + 1.0),
    }
}
