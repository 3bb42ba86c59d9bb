//! The result, for people.

use std::fmt::Write as _;

use super::Figures;

impl Figures {
    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<12}{value}");
        };
        line(
            "time",
            format!(
                "{} minutes, {} vehicles, seed {}",
                self.minutes, self.vehicles, self.seed
            ),
        );
        let (reports, picture, ledger) = (&self.reports, &self.picture, &self.ledger);
        line(
            "reports",
            format!("{} sent, {} on the ledger", reports.sent, reports.heard),
        );
        for (reason, count) in &reports.rejected {
            line("", format!("{count} {reason}"));
        }
        line(
            "picture",
            format!(
                "{} items, {:.1} % covered, error {:.2} km/h (plain mean {:.2}), 90 % interval holds {:.1} %",
                picture.items,
                100.0 * picture.coverage,
                picture.speed_mae_kmh,
                picture.plain_mean_mae_kmh,
                100.0 * picture.interval_90_hit
            ),
        );
        line(
            "",
            format!(
                "by vehicles {:.2} km/h (plain mean {:.2}); level of service {:.1} % right (plain mean {:.1} %)",
                picture.weighted_mae_kmh,
                picture.plain_mean_weighted_mae_kmh,
                100.0 * picture.los_agreement,
                100.0 * picture.plain_mean_los_agreement
            ),
        );
        line(
            "everywhere",
            format!(
                "{} items, error {:.2} km/h (plain mean or free flow {:.2}), by vehicles {:.2} ({:.2})",
                picture.all.items,
                picture.all.speed_mae_kmh,
                picture.all.plain_mean_mae_kmh,
                picture.all.weighted_mae_kmh,
                picture.all.plain_mean_weighted_mae_kmh
            ),
        );
        let beside = [
            ("congestion", picture.congestion.map(|figures| figures.line())),
            ("humidity", picture.humidity.map(|figures| figures.line())),
            ("hazards", picture.hazards.map(|figures| figures.line())),
        ];
        for (name, text) in beside {
            if let Some(text) = text {
                line(name, text);
            }
        }
        for fleet in &self.fleets {
            line(
                "fleet",
                format!(
                    "{:>4} {:<11} {:>10.3} tokens each, reputation {:.2}, {} quarantined, {} released",
                    fleet.count,
                    fleet.behaviour,
                    fleet.paid_mean,
                    fleet.reputation_mean,
                    fleet.quarantined,
                    fleet.released
                ),
            );
        }
        for insider in &self.insiders {
            line(
                "insider",
                format!(
                    "member {} {:<15} {:>10.3} tokens; {} rivals' vehicles {:.3} each (others {:.3}), {} quarantined",
                    insider.member,
                    insider.conduct,
                    insider.paid,
                    insider.rivals,
                    insider.rivals_paid_mean,
                    insider.others_paid_mean,
                    insider.rivals_quarantined
                ),
            );
        }
        if let Some(ratio) = self.honest_ratio() {
            line("", format!("an honest vehicle earned {ratio} as much as a liar"));
        }
        let rewards = &self.rewards;
        line(
            "tokens",
            format!(
                "{:.3} minted: {:.3} to vehicles, {:.3} to operators, {:.3} in the treasury, {:.3} carried, {:.3} burned",
                rewards.minted,
                rewards.vehicles,
                rewards.operators,
                rewards.treasury,
                rewards.carry,
                rewards.burned
            ),
        );
        line(
            "ledger",
            format!(
                "{} blocks, {:.1} a minute, {:.1} reports each, {} kB; final after {} ms (99 %: {}, all: {})",
                ledger.height,
                ledger.blocks_per_minute,
                ledger.reports_per_block,
                ledger.bytes / 1000,
                ledger.finality_ms.p50,
                ledger.finality_ms.p99,
                ledger.finality_ms.max
            ),
        );
        for member in &self.members {
            line(
                "member",
                format!(
                    "{} at height {}, state {:?}",
                    member.id, member.height, member.state_root
                ),
            );
        }
        for (fault, count) in &self.faults {
            line("fault", format!("{fault}: {count}"));
        }
        let holds = |held: bool| if held { "holds" } else { "BROKEN" };
        let invariants = &self.invariants;
        line(
            "invariants",
            format!(
                "conservation {}, agreement {}, paid once {}, no equivocation {}, replay {}, certificates {}, progress {}",
                holds(invariants.conservation),
                holds(invariants.agreement),
                holds(invariants.paid_once),
                holds(invariants.no_equivocation),
                holds(invariants.replay_equal),
                holds(invariants.certified),
                holds(invariants.progress)
            ),
        );
        text
    }

    /// How many times as much an honest vehicle earned as one of the others, on average.
    fn honest_ratio(&self) -> Option<String> {
        let mean = |honest: bool| {
            let fleets = self
                .fleets
                .iter()
                .filter(|fleet| (fleet.behaviour == "honest") == honest);
            let (paid, count) = fleets.fold((0.0, 0.0), |(paid, count), fleet| {
                (
                    paid + fleet.paid_mean * fleet.count as f64,
                    count + fleet.count as f64,
                )
            });
            (count > 0.0).then(|| paid / count)
        };
        let (honest, liars) = (mean(true)?, mean(false)?);
        Some(if liars > 0.0 {
            format!("{:.1} times", honest / liars)
        } else {
            "infinitely".into()
        })
    }
}
