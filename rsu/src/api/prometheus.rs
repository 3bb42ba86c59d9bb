//! What does a monitoring system read?
//!
//! The counters and gauges in Prometheus' text exposition format, version 0.0.4. docs/metrics.md says what each means, and
//! a test in [`super`] that none is missing here or there.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use milepost_node::{ClockError, View};
use milepost_wire::{Timestamp, topic};

use crate::served::Readings;

/// How the store is.
pub(crate) struct Store {
    /// Its size.
    pub(crate) bytes: u64,
    /// How often RocksDB failed to flush or to compact.
    pub(crate) background_errors: u64,
}

/// The whole page.
pub(crate) fn page(view: &View, readings: &Readings, store: Store, now: Timestamp) -> String {
    let mut page = Page(String::new());
    page.head("build_info", "gauge", "The version of this program");
    page.line(
        &format!(
            "build_info{{version=\"{}\",protocol=\"{}\"}}",
            env!("CARGO_PKG_VERSION"),
            topic::PROTOCOL
        ),
        1,
    );
    reports(&mut page, readings);
    ledger(&mut page, view, readings, now);
    others(&mut page, readings);
    disk(&mut page, readings, store);
    page.0
}

/// What was heard from vehicles, and what became of it.
fn reports(page: &mut Page, readings: &Readings) {
    let counts = &readings.counts;
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
        "two_contents_total",
        "Numbers under which a vehicle signed two contents",
        counts.two_contents,
    );
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
}

/// How far the ledger is, and what waits for it.
fn ledger(page: &mut Page, view: &View, readings: &Readings, now: Timestamp) {
    let (node, counters) = (&readings.node, &readings.counters);
    let age_ms = view.head().map_or(0, |head| now.since(head.header.time));
    page.gauge("height", "The newest block", view.height().0);
    page.gauge("height_age_ms", "Age of the newest block", age_ms);
    page.gauge(
        "height_claimed",
        "The greatest height that another unit claims",
        node.claimed.0,
    );
    page.gauge(
        "round",
        "The round of the height that is being decided",
        node.round.into(),
    );
    page.counter(
        "blocks_committed_total",
        "Blocks committed",
        read(&counters.committed_blocks),
    );
    page.counter(
        "rounds_given_up_total",
        "Rounds of committed heights that decided nothing",
        read(&counters.given_up_rounds),
    );
    page.counter(
        "blocks_fetched_total",
        "Blocks fetched from other units",
        read(&counters.fetched_blocks),
    );
    page.counter(
        "fetches_total",
        "Questions to other units for what was missing",
        read(&counters.fetches),
    );
    page.gauge(
        "catching_up",
        "Whether blocks are being fetched",
        node.catching_up.into(),
    );
    page.gauge("silent", "Whether votes are withheld", node.silent.into());
    page.gauge(
        "batches_waiting",
        "Batches that wait for a block",
        node.batches_waiting as u64,
    );
    page.gauge(
        "transactions_waiting",
        "Transactions that wait for a block",
        node.transactions_waiting as u64,
    );
    page.gauge(
        "evidence_waiting",
        "Misconduct of members that waits for a block",
        node.evidence_waiting as u64,
    );
    page.gauge(
        "members",
        "Members of the consortium",
        view.members().count() as u64,
    );
    let state = view.state();
    let withholding = view.members().iter();
    let withholding = withholding.filter(|(member, _)| state.withheld(member).is_some());
    page.gauge(
        "members_withholding",
        "Members that others complained of, by the ledger",
        withholding.count() as u64,
    );
}

/// What was heard from other units, and what is known of them.
fn others(page: &mut Page, readings: &Readings) {
    let counters = &readings.counters;
    page.gauge("peers", "Other units present", readings.peers.len() as u64);
    page.gauge(
        "peers_other_protocol",
        "Units present that speak another protocol",
        readings.strangers as u64,
    );
    page.counter(
        "batches_heard_total",
        "Batches of other units that were verified",
        read(&counters.batches_heard),
    );
    page.head(
        "unit_messages_refused_total",
        "counter",
        "Messages of other units that were refused, by reason",
    );
    for (reason, count) in [
        ("malformed", &counters.malformed),
        ("bad_batch", &counters.bad_batches),
        ("busy", &counters.dropped),
    ] {
        page.line(
            &format!("unit_messages_refused_total{{reason=\"{reason}\"}}"),
            read(count),
        );
    }
    page.counter(
        "equivocations_total",
        "Members seen to sign two different things",
        read(&counters.equivocations),
    );
    page.counter(
        "complaints_total",
        "Complaints of members that do not hand out what they acknowledged",
        read(&counters.complaints),
    );
    let offset_ms = match readings.node.clock {
        Some(ClockError::Ahead(ms)) => i64::try_from(ms).unwrap_or(i64::MAX),
        Some(ClockError::Behind(ms)) => i64::try_from(ms).map_or(i64::MIN, |ms| -ms),
        None => 0,
    };
    page.head(
        "clock_error_ms",
        "gauge",
        "How far this clock is ahead of the others'",
    );
    page.line("clock_error_ms", offset_ms);
}

/// How the disk does.
fn disk(page: &mut Page, readings: &Readings, store: Store) {
    page.gauge("store_bytes", "Size of the store", store.bytes);
    page.head(
        "store_errors_total",
        "counter",
        "What the disk refused, by what it was for",
    );
    for (what, count) in [
        ("api", readings.store_errors),
        ("answers", read(&readings.counters.store_errors)),
        ("keeping", read(&readings.counters.keeping_failed)),
        ("background", store.background_errors),
    ] {
        page.line(&format!("store_errors_total{{for=\"{what}\"}}"), count);
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
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

    fn line(&mut self, series: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "milepost_{series} {value}");
    }
}
