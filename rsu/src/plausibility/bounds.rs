//! What is possible on a road, and how much must speak against a vehicle?
//!
//! The physical bounds are those of F2MD and of TS 102 894-2, widened by what sensors err. What belongs to one
//! check alone, and is no operator's choice, stands beside that check.

use serde::{Deserialize, Serialize};

/// What the judge goes by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// Vehicles that are remembered; the longest silent are forgotten first.
    pub vehicles_max: usize,
    /// Claims that are remembered, to know an echo by; the oldest are forgotten first.
    pub claims_max: usize,
    /// Tiles of 25 m by 25 m of the learnt road; the longest untouched are forgotten first.
    pub tiles_max: usize,
    /// The fastest that a vehicle goes, in m/s.
    pub speed_max_m_per_s: f64,
    /// The hardest that a vehicle brakes or accelerates, in m/s².
    pub acceleration_max_m_per_s2: f64,
    /// How far radio carries, in metres.
    pub coverage_m: f64,
    /// How far a claim's time may lie from ours, in ms.
    pub clock_max_ms: u64,
    /// Claims of one vehicle in one second; a CAM is sent ten times at most.
    pub per_second_max: u32,
    /// The evidence at which a vehicle stands accused, in decibans: 20 are odds of 100 to 1.
    pub accused_decibans: f64,
    /// How far an accusation reaches back to what its vehicle said before, in ms.
    pub reach_back_ms: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            vehicles_max: 16_384,
            claims_max: 16_384,
            tiles_max: 4_096,
            speed_max_m_per_s: 70.0,
            acceleration_max_m_per_s2: 11.0,
            coverage_m: 420.0,
            clock_max_ms: 1_000,
            per_second_max: 11,
            accused_decibans: 20.0,
            reach_back_ms: 40_000,
        }
    }
}
