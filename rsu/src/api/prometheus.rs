//! What does a monitoring system read?
//!
//! The counters and gauges in Prometheus' text exposition format, version 0.0.4.

use std::fmt::Write;

use milepost_node::View;
use milepost_wire::Timestamp;

use crate::served::Readings;

/// The whole page.
pub(crate) fn page(view: &View, readings: &Readings, store_bytes: u64, now: Timestamp) -> String {
    let counts = &readings.counts;
    let age_ms = view.head().map_or(0, |head| now.since(head.header.time));
    let mut page = Page(String::new());
    page.counter(
        "reports_heard_total",
        "Messages on the report topics",
        counts.heard,
    );
    page.counter(
        "reports_accepted_total",
        "Reports that passed every stage",
        counts.accepted,
    );
    page.head(
        "reports_rejected_total",
        "counter",
        "Messages that did not, by reason",
    );
    for (reason, count) in &counts.rejected {
        page.line(&format!("reports_rejected_total{{reason=\"{reason}\"}}"), *count);
    }
    page.head(
        "observations_suspect_total",
        "counter",
        "Observations that fail a plausibility check, by check",
    );
    for (check, count) in &counts.suspect {
        page.line(
            &format!("observations_suspect_total{{check=\"{check}\"}}"),
            *count,
        );
    }
    page.counter(
        "reports_overrun_total",
        "Messages dropped unheard because the unit was busy",
        readings.overrun,
    );
    page.counter(
        "reports_batched_total",
        "Reports passed on in own batches",
        counts.batched,
    );
    page.counter("batches_total", "Own batches", counts.batches);
    page.counter("live_figures_total", "Live figures told", counts.live);
    page.counter("receipt_notices_total", "Receipt notices sent", counts.receipts);
    page.gauge(
        "reports_queued",
        "Reports that wait for a batch",
        readings.queued as u64,
    );
    page.gauge("height", "The newest block", view.height().0);
    page.gauge("height_age_ms", "Age of the newest block", age_ms);
    page.gauge(
        "members",
        "Members of the consortium",
        view.members().count() as u64,
    );
    page.gauge("peers", "Other members present", readings.peers.len() as u64);
    page.gauge("store_bytes", "Size of the store", store_bytes);
    page.head(
        "finality_ms",
        "summary",
        "From hearing a report to the commit of its block",
    );
    for (quantile, value) in [
        ("0.5", readings.finality.p50),
        ("0.99", readings.finality.p99),
        ("1", readings.finality.max),
    ] {
        page.line(&format!("finality_ms{{quantile=\"{quantile}\"}}"), value);
    }
    page.0
}

struct Page(String);

impl Page {
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", help);
        self.line(name, value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "gauge", help);
        self.line(name, value);
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(
            self.0,
            "# HELP milepost_{name} {help}\n# TYPE milepost_{name} {kind}"
        );
    }

    fn line(&mut self, series: &str, value: u64) {
        let _ = writeln!(self.0, "milepost_{series} {value}");
    }
}
