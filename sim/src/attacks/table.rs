//! How do the figures read?
//!
//! In: a [`Report`]. Out: a table for a terminal, or in Markdown. A cell is empty where a figure means nothing.

use std::fmt::Write as _;

use super::outcome::Figure;
use super::{Report, Row};

/// The columns with a figure of their own.
const COLUMNS: [(&str, Figure); 7] = [
    ("honest : attacker", Figure::PayRatio),
    ("error, times clean", Figure::Error),
    ("quarantined after", Figure::QuarantinedAfter),
    ("attackers held", Figure::AttackersQuarantined),
    ("honest held", Figure::HonestQuarantined),
    ("honest ever held", Figure::HonestEverQuarantined),
    ("Gini", Figure::Gini),
];
/// Those that only some attacks have.
const OTHERS: [Figure; 7] = [
    Figure::AttackerPay,
    Figure::PayAgainstOneKey,
    Figure::Net,
    Figure::ErrorThere,
    Figure::Believed,
    Figure::OperatorPay,
    Figure::RivalPay,
];

/// A figure with as many digits as mean something.
pub fn number(value: f64) -> String {
    match value {
        value if value.is_infinite() => "∞".into(),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn cell(figure: Figure, value: f64) -> String {
    let share = || format!("{:.1} %", 100.0 * value);
    match figure {
        Figure::QuarantinedAfter if value.is_infinite() => "never".into(),
        Figure::QuarantinedAfter => format!("{value:.0}"),
        Figure::AttackersQuarantined
        | Figure::HonestQuarantined
        | Figure::HonestEverQuarantined
        | Figure::Believed => share(),
        Figure::AttackerPay => format!("{value:.4}"),
        Figure::PayRatio if value > 9_999.0 => "> 9999".into(),
        _ => number(value),
    }
}

fn cells(row: &Row) -> Vec<String> {
    let of = |figure: Figure| row.figures.get(&figure).map(|value| cell(figure, *value));
    let mut cells = vec![
        row.attack.to_owned(),
        row.percent
            .map_or_else(String::new, |percent| format!("{percent} %")),
    ];
    cells.extend(COLUMNS.iter().map(|(_, figure)| of(*figure).unwrap_or_default()));
    let others = OTHERS.iter().filter_map(|figure| {
        let is_pay = *figure == Figure::AttackerPay;
        let value = of(*figure).filter(|_| !is_pay || row.targets_pay())?;
        Some(format!("{} {value}", figure.name()))
    });
    cells.push(others.collect::<Vec<_>>().join(", "));
    cells.push(if row.missed.is_empty() {
        "met".into()
    } else {
        format!("missed: {}", row.missed.join("; "))
    });
    cells
}

impl Row {
    /// Whether the attack's own target is what it is paid.
    fn targets_pay(&self) -> bool {
        matches!(self.attack, "scarcity" | "replay")
    }
}

fn heads() -> Vec<String> {
    let mut heads = vec!["attack".to_owned(), "share".to_owned()];
    heads.extend(COLUMNS.iter().map(|(name, _)| (*name).to_owned()));
    heads.extend(["also".to_owned(), "targets".to_owned()]);
    heads
}

/// What the figures are of.
fn about(report: &Report) -> String {
    let clean = report.clean;
    format!(
        "Medians of {} seeds; 300 vehicles on 100 roads; {} honest epochs, then {} under attack, of {} slots.\n\
         Without an attack: error {:.2} km/h, Gini {:.2}, ever in quarantine {:.1} %.",
        report.seeds,
        report.warm,
        report.epochs,
        report.slots,
        clean.error_kmh,
        clean.gini,
        100.0 * clean.ever_quarantined
    )
}

/// For a terminal.
pub fn text(report: &Report) -> String {
    let mut lines = vec![heads()];
    lines.extend(report.rows.iter().map(cells));
    let widths: Vec<usize> = (0..lines[0].len())
        .map(|column| {
            let widths = lines.iter().map(|line| line[column].chars().count());
            widths.max().unwrap_or(0)
        })
        .collect();
    let mut text = about(report) + "\n\n";
    for line in &lines {
        let mut written = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(written, "{cell:<width$}  ");
        }
        text.push_str(written.trim_end());
        text.push('\n');
    }
    let _ = write!(text, "\n{} targets missed", report.missed);
    text
}

/// In Markdown.
pub fn markdown(report: &Report) -> String {
    let mut text = about(report) + "\n\n";
    let heads = heads();
    let _ = writeln!(text, "| {} |", heads.join(" | "));
    let _ = writeln!(text, "|{}", "---|".repeat(heads.len()));
    for row in &report.rows {
        let _ = writeln!(text, "| {} |", cells(row).join(" | "));
    }
    text.trim_end().to_owned()
}
