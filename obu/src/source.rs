//! Where do a vehicle's observations come from?
//!
//! In: what `--source` says. Out: a [`Source`], and for each kind a reader that streams: memory stays constant
//! however long the recording is.
//!
//! Not covered: what becomes of an observation. The readers decode and check ranges; they judge nothing and
//! read no clock.

pub mod fcd;
pub mod jsonl;
mod place;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

pub use fcd::{FcdError, FcdReader, Frame, Record};
pub use jsonl::{JsonlError, JsonlReader, SensedLine};
pub use place::Place;

/// What `--source` accepts, for help texts and errors.
pub const SOURCE_FORMS: &str = "fcd:FILE (SUMO floating-car data: XML or CSV, plain or gzipped), \
                                jsonl:FILE or jsonl:- (one JSON object a line, `-` for standard input)";

/// Where a vehicle's observations come from: the value of `--source`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `fcd:FILE`: a SUMO recording, read by [`FcdReader`].
    Fcd(PathBuf),
    /// `jsonl:FILE`: observations as JSON lines, read by [`JsonlReader`].
    Jsonl(PathBuf),
    /// `jsonl:-`: the same from standard input.
    JsonlStdin,
}

/// What was given as a source names no known form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a source as {SOURCE_FORMS}, found `{found}`")]
pub struct UnknownSource {
    /// What was given.
    pub found: String,
}

impl FromStr for Source {
    type Err = UnknownSource;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("jsonl", "-")) => Ok(Self::JsonlStdin),
            Some(("jsonl", file)) if !file.is_empty() => Ok(Self::Jsonl(file.into())),
            Some(("fcd", file)) if !file.is_empty() => Ok(Self::Fcd(file.into())),
            _ => Err(UnknownSource {
                found: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fcd(file) => write!(f, "fcd:{}", file.display()),
            Self::Jsonl(file) => write!(f, "jsonl:{}", file.display()),
            Self::JsonlStdin => f.write_str("jsonl:-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_from_its_form_and_written_back_the_same() {
        for (text, source) in [
            ("fcd:a/b.fcd.xml.gz", Source::Fcd("a/b.fcd.xml.gz".into())),
            ("fcd:odd:name", Source::Fcd("odd:name".into())),
            ("jsonl:seen.jsonl", Source::Jsonl("seen.jsonl".into())),
            ("jsonl:-", Source::JsonlStdin),
        ] {
            assert_eq!(text.parse(), Ok(source.clone()));
            assert_eq!(source.to_string(), text);
        }
    }

    #[test]
    fn an_unknown_source_is_told_which_forms_there_are() {
        for text in ["", "trace.xml", "fcd:", "jsonl:", "tape:x"] {
            let error = text.parse::<Source>().unwrap_err().to_string();
            assert!(error.contains("fcd:FILE") && error.contains("jsonl:-"), "{error}");
            assert!(error.ends_with(&format!("found `{text}`")), "{error}");
        }
    }
}
