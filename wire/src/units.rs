//! In which units is the road described?
//!
//! ETSI TS 102 894-2 (common data dictionary): 0.1 µdeg, cm/s, 0.1°; and what it lacks. Every number with a
//! meaning is a type of its own whose constructor names the unit.

use wincode::{SchemaRead, SchemaWrite};

/// Speed over ground, in centimetres per second.
///
/// Source: ETSI TS 102 894-2, `SpeedValue`, 0 to 16 381. The two codes above (out of range, unavailable)
/// never reach this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
pub struct Speed(u16);

impl Speed {
    /// The fastest speed a message can carry: 163.81 m/s.
    pub const MAX: Self = Self(16_381);

    /// Returns `None` above [`Speed::MAX`].
    pub const fn from_cm_per_s(value: u16) -> Option<Self> {
        if value <= Self::MAX.0 {
            Some(Self(value))
        } else {
            None
        }
    }

    /// The nearest representable speed; negative values and NaN become 0, too fast ones [`Speed::MAX`].
    pub fn from_m_per_s_clamped(value: f64) -> Self {
        // A float-to-integer cast saturates and sends NaN to 0.
        Self(((value * 100.0).round() as u16).min(Self::MAX.0))
    }

    /// In cm/s.
    pub const fn cm_per_s(self) -> u16 {
        self.0
    }

    /// In km/h, for people.
    pub fn km_per_h(self) -> f64 {
        f64::from(self.0) * 0.036
    }

    /// Whether the number is one that ETSI allows; decoding cannot check it.
    pub const fn is_valid(self) -> bool {
        self.0 <= Self::MAX.0
    }
}

/// Heading over ground, in 0.1° clockwise from WGS84 north, 0 to 3 599.
///
/// Source: ETSI TS 102 894-2, `HeadingValue`; 3 601 (unavailable) is [`Heading::UNAVAILABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
pub struct Heading(u16);

impl Heading {
    /// The vehicle does not know where it is heading.
    pub const UNAVAILABLE: Self = Self(3_601);

    /// Returns `None` from 360° on.
    pub const fn from_decidegrees(value: u16) -> Option<Self> {
        if value < 3_600 { Some(Self(value)) } else { None }
    }

    /// The nearest representable heading of any finite angle; [`Heading::UNAVAILABLE`] for NaN and infinities.
    pub fn from_degrees(value: f64) -> Self {
        if !value.is_finite() {
            return Self::UNAVAILABLE;
        }
        Self(((value.rem_euclid(360.0) * 10.0).round() as u16) % 3_600)
    }

    /// In 0.1°, where known.
    pub const fn decidegrees(self) -> Option<u16> {
        if self.0 < 3_600 { Some(self.0) } else { None }
    }

    /// Whether the number is one that ETSI allows; decoding cannot check it.
    pub const fn is_valid(self) -> bool {
        self.0 < 3_600 || self.0 == Self::UNAVAILABLE.0
    }
}

/// A place in WGS84, in 0.1 µdeg.
///
/// Source: ETSI TS 102 894-2, `Latitude` (±900 000 000) and `Longitude` (±1 800 000 000).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
pub struct Place {
    latitude: i32,
    longitude: i32,
}

impl Place {
    /// Returns `None` off the globe.
    pub const fn from_tenth_microdegrees(latitude: i32, longitude: i32) -> Option<Self> {
        let place = Self { latitude, longitude };
        if place.is_valid() { Some(place) } else { None }
    }

    /// The nearest representable place; `None` off the globe and for NaN.
    pub fn from_degrees(latitude: f64, longitude: f64) -> Option<Self> {
        if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
            return None;
        }
        Some(Self {
            latitude: (latitude * 1e7).round() as i32,
            longitude: (longitude * 1e7).round() as i32,
        })
    }

    /// Degrees north.
    pub fn latitude_degrees(self) -> f64 {
        f64::from(self.latitude) / 1e7
    }

    /// Degrees east.
    pub fn longitude_degrees(self) -> f64 {
        f64::from(self.longitude) / 1e7
    }

    /// In 0.1 µdeg: latitude, longitude.
    pub const fn tenth_microdegrees(self) -> (i32, i32) {
        (self.latitude, self.longitude)
    }

    /// Whether this lies on the globe; decoding cannot check it.
    pub const fn is_valid(self) -> bool {
        self.latitude.unsigned_abs() <= 900_000_000 && self.longitude.unsigned_abs() <= 1_800_000_000
    }
}

/// Wetness of the road's surface, in 0.1 %, 0 (dry) to 1 000 (standing water).
///
/// CAM carries no road humidity; the unit is that of `AirHumidity` in ETSI TS 102 894-2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
pub struct Humidity(u16);

impl Humidity {
    /// Returns `None` above 100 %.
    pub const fn from_permille(value: u16) -> Option<Self> {
        if value <= 1_000 { Some(Self(value)) } else { None }
    }

    /// In 0.1 %.
    pub const fn permille(self) -> u16 {
        self.0
    }

    /// Whether the number is at most 100 %; decoding cannot check it.
    pub const fn is_valid(self) -> bool {
        self.0 <= 1_000
    }
}

/// An amount of tokens, in micro-tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
pub struct Amount(u64);

/// Why text is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an amount of tokens such as 12 or 0.000001, found {0:?}")]
pub struct NotAnAmount(String);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From millionths of a token.
    pub const fn from_micro(micro: u64) -> Self {
        Self(micro)
    }

    /// In millionths of a token.
    pub const fn micro(self) -> u64 {
        self.0
    }

    /// `None` where the sum does not fit.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// `None` where `other` is more.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }
}

/// Tokens with six decimals: `12.000001`.
impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Reads tokens with up to six decimals, exactly.
impl std::str::FromStr for Amount {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        let error = || NotAnAmount(text.chars().take(80).collect());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let all_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || fraction.len() > 6 || !all_digits(whole) || !all_digits(fraction) {
            return Err(error());
        }
        let micro: u64 = format!("{fraction:0<6}").parse().map_err(|_| error())?;
        let whole: u64 = whole.parse().map_err(|_| error())?;
        whole
            .checked_mul(1_000_000)
            .and_then(|whole| whole.checked_add(micro))
            .map(Self)
            .ok_or_else(error)
    }
}

crate::hash::serde_as_text!(Amount);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_speed_beyond_etsis_range_does_not_exist() {
        assert_eq!(Speed::from_cm_per_s(16_382), None);
        assert_eq!(Speed::from_m_per_s_clamped(1e9), Speed::MAX);
        assert_eq!(Speed::from_m_per_s_clamped(f64::NAN).cm_per_s(), 0);
    }

    #[test]
    fn north_is_zero_from_either_side() {
        assert_eq!(Heading::from_degrees(359.99).decidegrees(), Some(0));
        assert_eq!(Heading::from_degrees(-0.01).decidegrees(), Some(0));
        assert_eq!(Heading::from_degrees(f64::NAN), Heading::UNAVAILABLE);
    }

    proptest! {
        #[test]
        fn an_amount_reads_back_as_it_was_written(micro in any::<u64>()) {
            let amount = Amount::from_micro(micro);
            prop_assert_eq!(amount.to_string().parse::<Amount>(), Ok(amount));
        }

        #[test]
        fn no_text_makes_an_amount_panic(text in ".{0,40}") {
            let _ = text.parse::<Amount>();
        }
    }
}
