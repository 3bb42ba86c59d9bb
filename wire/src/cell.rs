//! Which piece of road?
//!
//! Without a map: an H3 cell of resolution 10 (edges of about 75 m) and one of four heading sectors, so that
//! the two directions of a road are told apart. With a map: a directed road segment, named by a hash of its
//! name there. Both fit 64 bits. An H3 cell index leaves its top bit and the three bits 56 to 58 at zero;
//! the top bit marks a segment, the three bits hold the sector.
//!
//! The vehicle computes its cell and signs it; roadside units check it against the signed position. The ledger
//! compares cells and computes none, so no geometry is executed there.
//!
//! Source: h3geo.org, "Index bit layouts"; docs/adr/0003-cells.md.

use h3o::{CellIndex, LatLng, Resolution};
use wincode::{SchemaRead, SchemaWrite};

use crate::hash::HexError;
use crate::{Hash, Heading, Place};

/// A directed piece of road: an H3 cell with a heading sector, or a segment of a map.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
pub struct Cell(u64);

const SEGMENT: u64 = 1 << 63;
const SECTOR_SHIFT: u32 = 56;
const SECTOR_MASK: u64 = 0b111 << SECTOR_SHIFT;

/// The four quarters of the compass, and what a vehicle without a heading says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sector {
    /// 315° to 45°.
    North,
    /// 45° to 135°.
    East,
    /// 135° to 225°.
    South,
    /// 225° to 315°.
    West,
    /// The heading is not known.
    Unknown,
}

impl Sector {
    /// The quarter that `heading` points to.
    pub fn of(heading: Heading) -> Self {
        match heading.decidegrees() {
            None => Self::Unknown,
            Some(450..=1349) => Self::East,
            Some(1350..=2249) => Self::South,
            Some(2250..=3149) => Self::West,
            Some(_) => Self::North,
        }
    }

    const fn code(self) -> u64 {
        match self {
            Self::North => 0,
            Self::East => 1,
            Self::South => 2,
            Self::West => 3,
            Self::Unknown => 4,
        }
    }
}

impl Cell {
    /// The H3 cell around `place`, in the direction of `heading`. Cost: about 1 µs.
    pub fn at(place: Place, heading: Heading) -> Self {
        let latlng = LatLng::new(place.latitude_degrees(), place.longitude_degrees())
            .expect("a place has finite coordinates");
        let index = u64::from(latlng.to_cell(Resolution::Ten));
        Self(index | Sector::of(heading).code() << SECTOR_SHIFT)
    }

    /// The segment that a map calls `name`.
    pub fn segment(name: &str) -> Self {
        let digest = Hash::of("segment", &[name.as_bytes()]);
        let bytes = digest.0[..8].try_into().expect("eight of thirty-two");
        Self(u64::from_be_bytes(bytes) | SEGMENT)
    }

    /// Whether this is a map's segment rather than an H3 cell.
    pub const fn is_segment(self) -> bool {
        self.0 & SEGMENT != 0
    }

    /// Whether the bits are those of a segment, or of an H3 cell of resolution 10 with a sector; decoding
    /// cannot check it.
    pub fn is_valid(self) -> bool {
        self.is_segment()
            || self
                .h3()
                .is_some_and(|index| index.resolution() == Resolution::Ten && self.sector().is_some())
    }

    /// The H3 index, without the sector.
    pub fn h3(self) -> Option<CellIndex> {
        if self.is_segment() {
            None
        } else {
            CellIndex::try_from(self.0 & !SECTOR_MASK).ok()
        }
    }

    /// The heading sector of an H3 cell.
    pub fn sector(self) -> Option<Sector> {
        if self.is_segment() {
            return None;
        }
        Some(match (self.0 & SECTOR_MASK) >> SECTOR_SHIFT {
            0 => Sector::North,
            1 => Sector::East,
            2 => Sector::South,
            3 => Sector::West,
            4 => Sector::Unknown,
            _ => return None,
        })
    }

    /// The H3 cell of resolution 6 (about 36 km²) around this one, for topics; `None` for a segment.
    pub fn coarse(self) -> Option<CellIndex> {
        self.h3().and_then(|index| index.parent(Resolution::Six))
    }

    /// The 64 bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// From 64 bits, unchecked: see [`Cell::is_valid`].
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The corners of the H3 cell as (longitude, latitude) in degrees, counter-clockwise.
    pub fn boundary_degrees(self) -> Option<Vec<(f64, f64)>> {
        Some(
            self.h3()?
                .boundary()
                .iter()
                .map(|corner| (corner.lng(), corner.lat()))
                .collect(),
        )
    }

    /// The middle of the H3 cell.
    pub fn centre(self) -> Option<Place> {
        let centre = LatLng::from(self.h3()?);
        Place::from_degrees(centre.lat(), centre.lng())
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cell({self})")
    }
}

impl std::str::FromStr for Cell {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        crate::hash::fixed_hex(text).map(|bytes| Self(u64::from_be_bytes(bytes)))
    }
}

crate::hash::serde_as_text!(Cell);

#[cfg(test)]
mod tests {
    use super::*;

    fn bologna(heading: f64) -> Cell {
        Cell::at(
            Place::from_degrees(44.494, 11.343).expect("on the globe"),
            Heading::from_degrees(heading),
        )
    }

    #[test]
    fn the_two_directions_of_a_road_are_two_cells() {
        assert_ne!(bologna(90.0), bologna(270.0));
        assert_eq!(bologna(80.0), bologna(100.0));
        assert_eq!(bologna(90.0).h3(), bologna(270.0).h3());
    }

    #[test]
    fn a_cell_contains_its_centre_and_reads_back() {
        let cell = bologna(10.0);
        assert!(cell.is_valid());
        assert_eq!(
            Cell::at(cell.centre().expect("an H3 cell"), Heading::from_degrees(10.0)),
            cell
        );
        assert_eq!(cell.to_string().parse::<Cell>(), Ok(cell));
    }

    #[test]
    fn segments_and_cells_never_meet() {
        let segment = Cell::segment("gneE12");
        assert!(segment.is_segment() && segment.is_valid() && segment.h3().is_none());
        assert!(!bologna(0.0).is_segment());
        assert!(!Cell::from_bits(12).is_valid());
    }
}
