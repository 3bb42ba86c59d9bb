//! Where in a source did something stand, and how is it quoted in an error?

use std::fmt;
use std::sync::Arc;

/// Characters of foreign text that an error quotes at most.
const EXCERPT_LEN_MAX: usize = 60;

/// Characters of a decoder's message that an error repeats at most.
const MESSAGE_LEN_MAX: usize = 160;

/// A line of a source, written `file:line`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Path as it was given, or `stdin`.
    pub file: Arc<str>,
    /// Counted from 1; 0 is the file as a whole.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// Foreign text as an error may show it: quoted, control characters escaped, cut to [`EXCERPT_LEN_MAX`].
pub(super) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT_LEN_MAX) {
        None => format!("{text:?}"),
        Some((cut, _)) => format!("{:?}…", &text[..cut]),
    }
}

/// A decoder's message, which may itself quote foreign text: control characters escaped, cut to
/// [`MESSAGE_LEN_MAX`].
pub(super) fn message(text: &str) -> String {
    let mut shown = String::new();
    for (at, char) in text.chars().enumerate() {
        match char {
            _ if at == MESSAGE_LEN_MAX => {
                shown.push('…');
                break;
            }
            char if char.is_control() => shown.extend(char.escape_debug()),
            char => shown.push(char),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_shows_no_raw_control_characters() {
        assert_eq!(excerpt("a\x1b[2J"), r#""a\u{1b}[2J""#);
        assert_eq!(excerpt(&"ü".repeat(1000)).chars().count(), EXCERPT_LEN_MAX + 3);
        assert_eq!(message("no `\x1b[2J`"), r"no `\u{1b}[2J`");
        assert_eq!(message(&"ü".repeat(1000)).chars().count(), MESSAGE_LEN_MAX + 1);
    }

    #[test]
    fn a_whole_file_has_no_line() {
        assert_eq!(
            Place {
                file: "a.xml".into(),
                line: 0
            }
            .to_string(),
            "a.xml"
        );
        assert_eq!(
            Place {
                file: "a.xml".into(),
                line: 7
            }
            .to_string(),
            "a.xml:7"
        );
    }
}
