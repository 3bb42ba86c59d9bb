//! Which part of the map is asked for?
//!
//! In text, and in the parameter `bbox` of questions about the picture: `W,S,E,N` in degrees.

use crate::{Cell, Place};

/// A rectangle on the map, in degrees. Where its west is more than its east it spans the antimeridian.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    west: f64,
    south: f64,
    east: f64,
    north: f64,
}

/// Why text is no area.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected W,S,E,N in degrees with S <= N, such as 11.2,44.4,11.5,44.6, found {0:?}")]
pub struct NotAnArea(String);

impl std::str::FromStr for Area {
    type Err = NotAnArea;

    fn from_str(text: &str) -> Result<Self, NotAnArea> {
        let error = || NotAnArea(text.chars().take(80).collect());
        // Five, so that a fifth number is seen.
        let numbers: Vec<f64> = text
            .splitn(5, ',')
            .map(|number| number.trim().parse().map_err(|_| error()))
            .collect::<Result<_, _>>()?;
        let [west, south, east, north] = numbers[..] else {
            return Err(error());
        };
        let on_the_globe = [west, east].iter().all(|degrees| degrees.abs() <= 180.0)
            && [south, north].iter().all(|degrees| degrees.abs() <= 90.0);
        if !on_the_globe || south > north {
            return Err(error());
        }
        Ok(Self {
            west,
            south,
            east,
            north,
        })
    }
}

impl std::fmt::Display for Area {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{},{},{}", self.west, self.south, self.east, self.north)
    }
}

impl Area {
    /// Whether a place lies within.
    pub fn contains(&self, place: Place) -> bool {
        let (latitude, longitude) = (place.latitude_degrees(), place.longitude_degrees());
        let between = if self.west <= self.east {
            (self.west..=self.east).contains(&longitude)
        } else {
            longitude >= self.west || longitude <= self.east
        };
        between && (self.south..=self.north).contains(&latitude)
    }

    /// Whether the middle of a cell lies within. `None` for a map's segment: its place is the map's to know.
    pub fn covers(&self, cell: Cell) -> Option<bool> {
        cell.centre().map(|centre| self.contains(centre))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_area_is_read_and_written() {
        for text in ["11.3,44.48,11.36,44.51", "179,-1,-179,1"] {
            let area: Area = text.parse().expect("an area");
            assert_eq!(area.to_string(), text);
        }
        assert!(" 1, 2 ,3,4".parse::<Area>().is_ok());
    }

    #[test]
    fn what_is_no_area_is_refused() {
        for text in [
            "",
            "1,2,3",
            "1,2,3,4,5",
            "0,10,0,5",
            "181,0,1,1",
            "-181,0,0,0",
            "a,b,c,d",
            "NaN,0,1,1",
            "inf,0,1,1",
        ] {
            assert!(text.parse::<Area>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_area_contains_what_lies_in_it_across_the_antimeridian_too() {
        let contains = |text: &str, latitude, longitude| {
            let place = Place::from_degrees(latitude, longitude).expect("on the globe");
            text.parse::<Area>().expect("an area").contains(place)
        };
        let bologna = "11.3,44.48,11.36,44.51";
        assert!(contains(bologna, 44.494, 11.343));
        assert_eq!(
            bologna
                .parse::<Area>()
                .expect("an area")
                .covers(Cell::segment("a")),
            None
        );
        assert!(!contains(bologna, 44.6, 11.343) && !contains(bologna, 44.494, 11.37));
        let fiji = "177,-19,-178,-16";
        assert!(contains(fiji, -17.0, 179.5) && contains(fiji, -17.0, -179.5));
        assert!(!contains(fiji, -17.0, 0.0) && !contains(fiji, -20.0, 179.5));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            let _ = text.parse::<Area>();
        }
    }
}
