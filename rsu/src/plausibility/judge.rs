//! Which claims are not to be believed, and who stands accused?
//!
//! In: claims, in the order in which they were heard. Out: a [`Verdict`] each. What fails a check is
//! counted, check by check; to keep it as evidence is the caller's, who has the signed message.
//!
//! Memory: what [`Bounds`] says, at worst about 100 MB for a city's worth of vehicles and tiles. A claim costs a
//! few microseconds, of which most goes into looking up the road.

use std::collections::BTreeMap;

use milepost_wire::recent::Recent;

use super::claim::Claim;
use super::crowd::Crowd;
use super::echo::Echoes;
use super::lever::Lever;
use super::motion::Motion;
use super::presence::Presence;
use super::road::{Roads, SPACING_M};
use super::standing::Standing;
use super::{Bounds, Check, Checks};

/// So long inside another body, in s, is no measurement error.
const OVERLAP_MAX_S: f64 = 2.0;
/// A slower vehicle draws no road and is not judged by one, in m/s.
const DRIVES_M_PER_S: f64 = 1.0;

/// What is thought of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The claim's number: the first one that the judge hears is 0.
    pub number: u64,
    /// The checks that it fails.
    pub failed: Checks,
    /// Whether its vehicle stands accused now.
    pub accused: bool,
    /// The numbers of earlier claims of this vehicle that are not to be believed either, now that this one came.
    pub reaches_back: Vec<u64>,
}

impl Verdict {
    /// Whether the claim is not to be believed.
    pub fn is_flagged(&self) -> bool {
        !self.failed.is_empty()
    }
}

/// Judges claims.
#[derive(Clone, Debug)]
pub struct Judge {
    bounds: Bounds,
    tracks: Recent<u64, Track>,
    echoes: Echoes,
    crowd: Crowd,
    presence: Presence,
    roads: Roads,
    number: u64,
    counts: [u64; Check::ALL.len()],
}

/// What is remembered of one vehicle.
#[derive(Clone, Debug)]
struct Track {
    last: Claim,
    since_ms: u64,
    motion: Motion,
    lever: Lever,
    standing: Standing,
    /// Where it left its last mark.
    marked_m: Option<(f64, f64)>,
    /// The second that is under way, and how many claims it has.
    second: (u64, u32),
    overlapping_s: f64,
}

impl Judge {
    /// A judge that has heard nothing.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            tracks: Recent::new(bounds.vehicles_max),
            echoes: Echoes::new(bounds.claims_max),
            crowd: Crowd::default(),
            presence: Presence::new(bounds.tiles_max),
            roads: Roads::new(bounds.tiles_max),
            number: 0,
            counts: [0; Check::ALL.len()],
            bounds,
        }
    }

    /// Judges a claim.
    pub fn hear(&mut self, claim: &Claim) -> Verdict {
        let number = self.number;
        self.number += 1;
        let mut failed = alone(claim, &self.bounds);
        let mut accused = false;
        let mut reaches_back = Vec::new();
        // What is no number says nothing, and must not get into the sums.
        if claim.is_finite() {
            if self.echoes.is_echo(claim) {
                failed.insert(Check::Echo);
            }
            let mut track = match self.tracks.remove(&claim.vehicle) {
                Some(mut track) => {
                    failed = failed.and(track.follow(claim, &self.bounds));
                    track
                }
                None => {
                    let crowded = self.crowd.joins(claim);
                    if crowded {
                        failed.insert(Check::SuddenAppearance);
                    }
                    Track::new(claim, crowded, &self.bounds)
                }
            };
            if track.overlaps(claim, &self.presence) {
                failed.insert(Check::Overlap);
            }
            let place_decibans = self.place(&mut track, claim, failed);
            // Who lies about its speed slows down in bends as others do, and does not say so: that is no lever.
            if track.standing.is_unsteady() {
                track.lever = Lever::default();
            }
            let beside = track.lever.is_beside();
            if beside {
                failed.insert(Check::Beside);
            }
            track.standing.weigh(failed, place_decibans);
            if track.standing.is_misplaced(&self.bounds) && !beside {
                failed.insert(if place_decibans > 0.0 {
                    Check::OffRoad
                } else {
                    Check::History
                });
            }
            reaches_back = track.standing.reach_back(number, claim.at_ms, &self.bounds);
            accused = track.standing.is_accused(&self.bounds);
            self.presence.enter(claim, track.since_ms);
            // What was stored and comes late must not send the vehicle back in time.
            if claim.at_ms >= track.last.at_ms {
                track.last = *claim;
            }
            self.tracks.insert(claim.vehicle, track);
        }
        for check in failed.iter() {
            self.counts[check as usize] += 1;
        }
        Verdict {
            number,
            failed,
            accused,
            reaches_back,
        }
    }

    /// How many claims failed a check, since the judge began.
    pub fn count(&self, check: Check) -> u64 {
        self.counts[check as usize]
    }

    /// The same for all checks that any claim failed, by label.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        Check::ALL
            .into_iter()
            .map(|check| (check.label(), self.count(check)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// What the place of a driving vehicle says, in decibans; leaves a mark where nothing speaks against it.
    fn place(&mut self, track: &mut Track, claim: &Claim, failed: Checks) -> f64 {
        let moved = |(x_m, y_m): (f64, f64)| (claim.x_m - x_m).hypot(claim.y_m - y_m) > SPACING_M;
        if claim.speed_m_per_s < DRIVES_M_PER_S || !track.marked_m.is_none_or(moved) {
            return 0.0;
        }
        track.marked_m = Some((claim.x_m, claim.y_m));
        let decibans = self.roads.others(claim).weight_decibans();
        if failed.is_empty() && !track.standing.is_misplaced(&self.bounds) {
            self.roads.mark(claim);
        }
        decibans
    }
}

impl Track {
    fn new(claim: &Claim, crowded: bool, bounds: &Bounds) -> Self {
        Self {
            last: *claim,
            since_ms: claim.at_ms,
            motion: Motion::default(),
            lever: Lever::default(),
            standing: Standing::new(crowded, bounds),
            marked_m: None,
            second: (claim.at_ms / 1000, 1),
            overlapping_s: 0.0,
        }
    }

    /// The checks that a further claim of this vehicle fails.
    fn follow(&mut self, claim: &Claim, bounds: &Bounds) -> Checks {
        let mut failed = self.motion.step(&self.last, claim, bounds);
        self.lever.step(&self.last, claim);
        if claim.at_ms == self.last.at_ms && claim.content() != self.last.content() {
            failed.insert(Check::Contradiction);
        }
        let second = claim.at_ms / 1000;
        if second != self.second.0 {
            self.second = (second, 0);
        }
        self.second.1 += 1;
        if self.second.1 > bounds.per_second_max {
            failed.insert(Check::TooOften);
        }
        failed
    }

    /// Whether it was inside an older vehicle for too long by now.
    fn overlaps(&mut self, claim: &Claim, presence: &Presence) -> bool {
        let elapsed_s = claim.at_ms.saturating_sub(self.last.at_ms).min(1000) as f64 / 1000.0;
        let inside = presence.overlaps(claim, self.since_ms);
        let adds = if inside { elapsed_s } else { -elapsed_s / 2.0 };
        self.overlapping_s = (self.overlapping_s + adds).clamp(0.0, 2.0 * OVERLAP_MAX_S);
        inside && self.overlapping_s > OVERLAP_MAX_S
    }
}

/// The checks that need nothing but the claim.
fn alone(claim: &Claim, bounds: &Bounds) -> Checks {
    let mut failed = Checks::NONE;
    let hardest = bounds.acceleration_max_m_per_s2;
    let fits = claim.is_finite()
        && (0.0..=bounds.speed_max_m_per_s).contains(&claim.speed_m_per_s)
        && (0.0..=360.0).contains(&claim.heading_degrees)
        && claim
            .acceleration_m_per_s2
            .is_none_or(|acceleration| acceleration.abs() <= hardest);
    if !fits {
        failed.insert(Check::ValueRange);
    }
    if claim
        .heard_ms
        .is_some_and(|heard_ms| claim.at_ms.abs_diff(heard_ms) > bounds.clock_max_ms)
    {
        failed.insert(Check::Clock);
    }
    if let Some((x_m, y_m)) = claim.receiver_m
        && (claim.x_m - x_m).hypot(claim.y_m - y_m) > bounds.coverage_m
    {
        failed.insert(Check::Coverage);
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plausibility::lever::tests::{corner, to_the_right};

    fn heard(claims: &[Claim]) -> Vec<Verdict> {
        let mut judge = Judge::new(Bounds::default());
        claims.iter().map(|claim| judge.hear(claim)).collect()
    }

    #[test]
    fn who_says_it_is_on_the_other_side_of_the_road_is_believed_nothing_since_before_the_corner() {
        let verdicts = heard(&corner(to_the_right(-6.0)));
        let found = verdicts
            .iter()
            .position(|verdict| !verdict.reaches_back.is_empty());
        let found = found.expect("the corner tells");
        assert_eq!(verdicts[found].reaches_back[0], 0, "from the first claim on");
        for verdict in &verdicts[found..] {
            assert!(
                verdict.accused && verdict.failed.contains(Check::Beside),
                "{verdict:?}"
            );
        }
    }

    /// It says that it is faster than it is, and does not say that it brakes before the corner.
    #[test]
    fn who_lies_about_its_speed_is_not_said_to_be_beside_itself() {
        let faster = |claim: Claim| Claim {
            speed_m_per_s: claim.speed_m_per_s + if claim.heading_degrees > 30.0 { 9.0 } else { 5.0 },
            ..claim
        };
        let verdicts = heard(&corner(faster));
        let is_beside = |verdict: &Verdict| verdict.failed.contains(Check::Beside);
        assert!(verdicts[1..].iter().all(Verdict::is_flagged));
        assert!(!verdicts.iter().any(is_beside));
    }
}
