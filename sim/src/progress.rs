//! How far is it?
//!
//! A bar on a terminal; plain lines, one for each tenth, where standard error is a file or a pipe. Data never
//! goes this way.

use std::cell::Cell;

use indicatif::{ProgressBar, ProgressStyle};

/// Shows a share from 0 to 1.
pub struct Bar {
    name: &'static str,
    bar: Option<ProgressBar>,
    told: Cell<u64>,
}

/// A bar on standard error; lines where that is no terminal.
pub fn bar(name: &'static str, terminal: bool) -> Bar {
    let bar = terminal.then(|| {
        let style =
            ProgressStyle::with_template("{prefix} {bar:40} {percent:>3} % {msg}").expect("a template");
        ProgressBar::new(1000).with_style(style).with_prefix(name)
    });
    Bar {
        name,
        bar,
        told: Cell::new(0),
    }
}

impl Bar {
    /// So much is done.
    pub fn at(&self, share: f64) {
        self.tell(share, String::new);
    }

    /// So much is done, and this is what it looks like.
    pub fn tell(&self, share: f64, message: impl FnOnce() -> String) {
        let tenth = (share * 10.0) as u64;
        match &self.bar {
            Some(bar) => {
                bar.set_position((share * 1000.0) as u64);
                bar.set_message(message());
            }
            None if tenth > self.told.get() => {
                self.told.set(tenth);
                eprintln!("{}: {} % {}", self.name, tenth * 10, message());
            }
            None => {}
        }
    }

    /// It is over; a bar disappears.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
