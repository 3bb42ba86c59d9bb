//! What does a continuous-integration server read of a run?
//!
//! In: what was checked, and what came of it. Out: a file in the dialect of XML that JUnit's Ant task began and every
//! such server reads: a `testsuite` with one `testcase` for each check, and a `failure` in those that were not met.
//! There are no times in it: equal runs are equal bytes.
//!
//! Source: <https://github.com/testmoapp/junitxml>, which describes what servers agree on; characters as XML 1.0 § 2.2
//! allows them.

use std::io;
use std::path::Path;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

/// Everything that was checked in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suite {
    /// What was run: a scenario's file.
    pub name: String,
    /// What was checked.
    pub cases: Vec<Case>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What was checked.
    pub name: String,
    /// What was measured; empty where there is nothing more to say.
    pub measured: String,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// Why a check failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In one line: what was measured and what was expected.
    pub message: String,
    /// At length.
    pub detail: String,
}

impl Suite {
    /// Whether any check failed.
    pub fn has_failed(&self) -> bool {
        self.cases.iter().any(|case| case.failure.is_some())
    }

    /// Writes it to `file`, over what is there.
    ///
    /// # Errors
    ///
    /// Where the file cannot be written.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        std::fs::write(file, self.xml()?)
    }

    fn xml(&self) -> io::Result<Vec<u8>> {
        let failures = self.cases.iter().filter(|case| case.failure.is_some()).count();
        let (tests, failures, name) = (
            self.cases.len().to_string(),
            failures.to_string(),
            allowed(&self.name),
        );
        let counts = [
            ("name", name.as_str()),
            ("tests", &tests),
            ("failures", &failures),
            ("errors", "0"),
            ("skipped", "0"),
        ];
        let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
        writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let suites = writer.create_element("testsuites").with_attributes(counts);
        suites.write_inner_content(|writer| {
            let suite = writer.create_element("testsuite").with_attributes(counts);
            suite.write_inner_content(|writer| {
                self.cases.iter().try_for_each(|case| case.put(writer, &name))
            })?;
            Ok(())
        })?;
        let mut bytes = writer.into_inner();
        bytes.push(b'\n');
        Ok(bytes)
    }
}

impl Case {
    /// One that has nothing more to say.
    pub fn passed(name: String) -> Self {
        Self {
            name,
            measured: String::new(),
            failure: None,
        }
    }

    fn put(&self, writer: &mut Writer<Vec<u8>>, suite: &str) -> io::Result<()> {
        let case = writer
            .create_element("testcase")
            .with_attributes([("classname", suite), ("name", &allowed(&self.name))]);
        if self.failure.is_none() && self.measured.is_empty() {
            case.write_empty()?;
            return Ok(());
        }
        case.write_inner_content(|writer| {
            if let Some(Failure { message, detail }) = &self.failure {
                writer
                    .create_element("failure")
                    .with_attributes([("message", allowed(message).as_str()), ("type", "missed")])
                    .write_text_content(BytesText::new(&allowed(detail)))?;
            }
            if !self.measured.is_empty() {
                writer
                    .create_element("system-out")
                    .write_text_content(BytesText::new(&allowed(&self.measured)))?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

/// The text with what XML cannot say at all, escaped or not, replaced.
fn allowed(text: &str) -> String {
    let is_allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    text.chars()
        .map(|c| {
            if is_allowed(c) {
                c
            } else {
                char::REPLACEMENT_CHARACTER
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use quick_xml::events::attributes::AttrError;
    use quick_xml::reader::Reader;

    use super::*;

    fn suite(name: &str, message: &str) -> Suite {
        let case = |name: &str, failure: Option<Failure>| Case {
            name: name.into(),
            measured: "2.5".into(),
            failure,
        };
        let failure = Failure {
            message: message.into(),
            detail: message.into(),
        };
        Suite {
            name: name.into(),
            cases: vec![case("first", None), case("second", Some(failure))],
        }
    }

    /// Every attribute and text of a document that a parser agrees with.
    fn read(xml: &[u8]) -> Vec<String> {
        let mut reader = Reader::from_reader(xml);
        reader.config_mut().check_end_names = true;
        let (mut found, mut buffer) = (Vec::new(), Vec::new());
        loop {
            match reader.read_event_into(&mut buffer).expect("well formed") {
                Event::Eof => return found,
                Event::Start(tag) | Event::Empty(tag) => {
                    let attributes = tag.attributes().collect::<Result<Vec<_>, AttrError>>();
                    for attribute in attributes.expect("well-formed attributes") {
                        let text = quick_xml::escape::unescape(&attribute.value).expect("escaped");
                        found.push(text.into_owned());
                    }
                }
                Event::Text(text) => found.push(text.to_string()),
                _ => {}
            }
            buffer.clear();
        }
    }

    #[test]
    fn a_run_has_one_testcase_for_each_check_and_counts_its_failures() {
        let xml = suite("town.toml", "error is 2.5, expected at most 2")
            .xml()
            .expect("memory");
        assert_eq!(
            String::from_utf8(xml).expect("UTF-8"),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites name=\"town.toml\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\">\n  \
               <testsuite name=\"town.toml\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\">\n    \
                 <testcase classname=\"town.toml\" name=\"first\">\n      \
                   <system-out>2.5</system-out>\n    \
                 </testcase>\n    \
                 <testcase classname=\"town.toml\" name=\"second\">\n      \
                   <failure message=\"error is 2.5, expected at most 2\" type=\"missed\">\
                     error is 2.5, expected at most 2</failure>\n      \
                   <system-out>2.5</system-out>\n    \
                 </testcase>\n  \
               </testsuite>\n\
             </testsuites>\n"
        );
    }

    #[test]
    fn names_that_look_like_xml_stay_names_and_what_xml_cannot_say_is_replaced() {
        let found = read(
            &suite("a<b & \"c\">.toml", "\u{1}]]>\u{ffff}")
                .xml()
                .expect("memory"),
        );
        assert!(found.contains(&"a<b & \"c\">.toml".to_owned()), "{found:?}");
        assert!(found.contains(&"\u{fffd}]]>\u{fffd}".to_owned()), "{found:?}");
    }
}
