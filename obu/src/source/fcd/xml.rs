//! Which rows does an FCD document in XML hold?
//!
//! In: `<fcd-export><timestep time=".."><vehicle id=".." x=".." y=".." speed=".." …/>…`, attributes in any order.
//! Out: its rows, one at a time. Persons, containers and elements unknown are skipped with all they hold;
//! anything else that does not fit, a text or a `<vehicle>` outside a `<timestep>`, is refused, because it
//! tells of a file damaged.
//!
//! Source: SUMO, Simulation/Output/FCDOutput and data/xsd/fcd_file.xsd.

use std::borrow::Cow;
use std::fmt::Display;
use std::io;
use std::sync::Arc;

use quick_xml::XmlVersion;
use quick_xml::errors::{Error as XmlError, SyntaxError};
use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::FcdError;
use super::input::{Input, PIECE_LEN_MAX};
use super::row::{Fields, Row, Rows};
use crate::source::place::{excerpt, message};

/// Elements skipped may be nested so deep.
const DEPTH_MAX: u32 = 64;

/// An FCD document, read from its root element on.
pub(super) struct XmlTrace {
    reader: Reader<Input>,
    /// The current piece of the document; as long as its longest piece, within [`PIECE_LEN_MAX`] and one read.
    piece: Vec<u8>,
    within: Within,
    /// Elements open that are being skipped.
    skipped: u32,
    rows: Rows,
}

/// The element that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Prolog,
    Export,
    Timestep,
    Epilog,
}

/// What one piece of the document brought.
enum Step {
    Row(Row),
    Nothing,
    End,
}

impl XmlTrace {
    /// Reads up to the root element.
    pub(super) fn open(input: Input, file: Arc<str>) -> Result<Self, FcdError> {
        let mut trace = Self {
            reader: Reader::from_reader(input),
            piece: Vec::new(),
            within: Within::Prolog,
            skipped: 0,
            rows: Rows::new(file),
        };
        while trace.within == Within::Prolog {
            trace.step()?;
        }
        Ok(trace)
    }

    /// The next row, or `None` at the end of a complete document.
    pub(super) fn next_row(&mut self) -> Result<Option<Row>, FcdError> {
        loop {
            match self.step()? {
                Step::Row(row) => return Ok(Some(row)),
                Step::Nothing => {}
                Step::End => return Ok(None),
            }
        }
    }

    /// Takes the next piece of the document.
    fn step(&mut self) -> Result<Step, FcdError> {
        let Self {
            reader,
            piece,
            within,
            skipped,
            rows,
        } = self;
        piece.clear();
        reader.get_mut().begin_piece();
        let event = reader.read_event_into(piece);
        let input = reader.get_ref();
        let line = input.piece_line();
        let event = event.map_err(|error| explain(input, *within, error))?;
        if input.piece_len() > PIECE_LEN_MAX {
            return Err(FcdError::TooLong {
                at: rows.at(line),
                what: "an element",
                len_max: PIECE_LEN_MAX,
            });
        }
        if *skipped > 0 {
            match event {
                Event::Start(_) if *skipped == DEPTH_MAX => {
                    return Err(rows.malformed(line, "elements nested at most 64 deep", "one more".into()));
                }
                Event::Start(_) => *skipped += 1,
                Event::End(_) => *skipped -= 1,
                Event::Eof => return Err(cut_short(input, *within)),
                _ => {}
            }
            return Ok(Step::Nothing);
        }
        match event {
            Event::Empty(element) => begin(rows, line, within, &element).map(|(step, _)| step),
            Event::Start(element) => {
                let (step, inside) = begin(rows, line, within, &element)?;
                match inside {
                    Some(inside) => *within = inside,
                    None => *skipped = 1,
                }
                Ok(step)
            }
            Event::End(_) => {
                // The reader has checked that the name is that of the element open.
                *within = if *within == Within::Timestep {
                    Within::Export
                } else {
                    Within::Epilog
                };
                Ok(Step::Nothing)
            }
            Event::Eof if *within == Within::Epilog => Ok(Step::End),
            Event::Eof => Err(cut_short(input, *within)),
            Event::Text(text) if text.trim_ascii().is_empty() => Ok(Step::Nothing),
            Event::Text(text) => Err(rows.malformed(line, "an element", excerpt(text.trim_ascii()))),
            Event::CData(text) => Err(rows.malformed(line, "an element", excerpt(&text))),
            Event::GeneralRef(name) => Err(rows.malformed(line, "an element", excerpt(&name))),
            // What carries no data.
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => Ok(Step::Nothing),
        }
    }
}

/// Takes the beginning of an element, and says where one is once inside it: `None` if all it holds is to be
/// skipped.
fn begin(
    rows: &mut Rows,
    line: u64,
    within: &mut Within,
    element: &BytesStart<'_>,
) -> Result<(Step, Option<Within>), FcdError> {
    let name = element.name();
    let name = name.as_ref();
    let expected = match (*within, name) {
        (Within::Timestep, "vehicle") => return Ok((Step::Row(vehicle(rows, line, element)?), None)),
        (Within::Export, "timestep") => {
            timestep(rows, line, element)?;
            return Ok((Step::Nothing, Some(Within::Timestep)));
        }
        (Within::Prolog, "fcd-export") => {
            // An empty root element has no end of its own.
            *within = Within::Epilog;
            return Ok((Step::Nothing, Some(Within::Export)));
        }
        (Within::Prolog, _) => {
            return Err(FcdError::WrongRoot {
                at: rows.at(line),
                found: message(name),
            });
        }
        (Within::Timestep, "timestep") => "`</timestep>` before the next `<timestep>`",
        (Within::Export, "vehicle") => "`<timestep>` around each `<vehicle>`",
        (Within::Epilog, _) => "the end of the file after `</fcd-export>`",
        (Within::Export | Within::Timestep, _) => return Ok((Step::Nothing, None)),
    };
    Err(rows.malformed(line, expected, format!("`<{}>`", message(name))))
}

fn timestep(rows: &mut Rows, line: u64, element: &BytesStart<'_>) -> Result<(), FcdError> {
    let mut time = None;
    for attribute in element.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| bad_attribute(rows, line, error))?;
        if attribute.key.as_ref() == "time" && time.replace(attribute.value).is_some() {
            return Err(FcdError::Twice {
                at: rows.at(line),
                name: "time".into(),
            });
        }
    }
    rows.advance(line, time.as_deref())
}

fn vehicle(rows: &mut Rows, line: u64, element: &BytesStart<'_>) -> Result<Row, FcdError> {
    let [mut id, mut x, mut y, mut speed, mut angle, mut lane, mut edge] = [const { None }; 7];
    // The reader's own check for attributes given twice allocates; ours needs to see seven names alone.
    for attribute in element.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| bad_attribute(rows, line, error))?;
        let value = match attribute.key.as_ref() {
            "id" => &mut id,
            "x" => &mut x,
            "y" => &mut y,
            "speed" => &mut speed,
            "angle" => &mut angle,
            "lane" => &mut lane,
            "edge" => &mut edge,
            _ => continue,
        };
        if value.is_some() {
            return Err(FcdError::Twice {
                at: rows.at(line),
                name: attribute.key.as_ref().into(),
            });
        }
        *value = Some(unescaped(rows, line, attribute)?);
    }
    let fields = Fields {
        id: id.as_deref(),
        x: x.as_deref(),
        y: y.as_deref(),
        speed: speed.as_deref(),
        angle: angle.as_deref(),
        lane: lane.as_deref(),
        edge: edge.as_deref(),
    };
    rows.row(line, &fields)
}

/// The value of an attribute, `&amp;` and its like resolved; allocates where there are any.
fn unescaped<'a>(rows: &Rows, line: u64, attribute: Attribute<'a>) -> Result<Cow<'a, str>, FcdError> {
    let is_special = |byte| matches!(byte, b'&' | b'\t' | b'\r' | b'\n');
    if !attribute.value.bytes().any(is_special) {
        return Ok(attribute.value);
    }
    let value = attribute.normalized_value(XmlVersion::Implicit1_0);
    value.map_err(|error| bad_attribute(rows, line, error))
}

fn bad_attribute(rows: &Rows, line: u64, error: impl Display) -> FcdError {
    rows.malformed(line, "attributes as name=\"value\"", message(&error.to_string()))
}

/// What an error of the XML reader means for a trace.
fn explain(input: &Input, within: Within, error: XmlError) -> FcdError {
    match error {
        XmlError::Io(error) => {
            let error = Arc::try_unwrap(error)
                .unwrap_or_else(|shared| io::Error::new(shared.kind(), shared.to_string()));
            input.io_error(input.line(), error)
        }
        // All other syntax errors are found at the end of the input alone.
        XmlError::Syntax(SyntaxError::InvalidBangMarkup) if !input.is_at_end() => FcdError::Malformed {
            at: input.place(input.piece_line()),
            expected: "`<!--`, `<![CDATA[` or `<!DOCTYPE` after `<!`",
            found: "something else".into(),
        },
        XmlError::Syntax(_) => cut_short(input, within),
        XmlError::Encoding(error) => FcdError::Malformed {
            at: input.place(input.piece_line()),
            expected: "UTF-8",
            found: error.to_string(),
        },
        error => FcdError::Malformed {
            at: input.place(input.piece_line()),
            expected: "well-formed XML",
            found: message(&error.to_string()),
        },
    }
}

fn cut_short(input: &Input, within: Within) -> FcdError {
    let expected = match within {
        Within::Prolog => "<fcd-export>",
        Within::Export | Within::Timestep => "</fcd-export>",
        Within::Epilog => "-->",
    };
    FcdError::CutShort {
        at: input.place(input.line()),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{error, expected, read};
    use super::*;

    /// One timestep with these elements; they stand in its line 3.
    fn timestep(elements: &str) -> String {
        format!("<fcd-export>\n<timestep time=\"5.00\">\n{elements}\n</timestep>\n</fcd-export>")
    }

    const VEHICLE: &str = r#"<vehicle id="bus" x="11.3" y="44.5" speed="8"/>"#;

    #[test]
    fn attributes_may_stand_in_any_order_and_be_quoted_either_way() {
        let (records, error) = read(timestep(
            "<vehicle speed='8' y = \"44.5\"\n odd='>' x='11.3' id='a&amp;b'/>",
        ));
        assert!(error.is_none(), "{error:?}");
        assert_eq!(
            (&*records[0].vehicle, records[0].lat_deg, records[0].time_ms),
            ("a&b", 44.5, 5000)
        );
        assert_eq!((records[0].heading_deg, records[0].edge()), (None, None));
    }

    #[test]
    fn what_is_no_vehicle_is_skipped_with_all_it_holds() {
        let (records, error) = read(timestep(&format!(
            "<person id='p'><vehicle/>text &amp; <![CDATA[more]]></person><container/>{VEHICLE}<later x='1'/>
             <vehicle id='tram' x='1' y='2' speed='3'><param key='k'><timestep/></param></vehicle>"
        )));
        assert!(error.is_none(), "{error:?}");
        assert_eq!(
            records.iter().map(|record| &*record.vehicle).collect::<Vec<_>>(),
            ["bus", "tram"]
        );
    }

    #[test]
    fn a_document_without_vehicles_has_no_records_and_no_error() {
        for text in [
            "<fcd-export/>",
            "<fcd-export></fcd-export>\n",
            "<fcd-export><timestep time='1'/></fcd-export>",
        ] {
            let (records, error) = read(text);
            assert!(records.is_empty() && error.is_none(), "{text}: {error:?}");
        }
    }

    #[test]
    fn another_root_element_is_named() {
        assert_eq!(
            error("<?xml version=\"1.0\"?>\n<!-- net -->\n<net version='1.20'>"),
            "t:3: expected the root element `<fcd-export>`, found `<net>`"
        );
    }

    #[test]
    fn a_document_cut_short_says_so_at_its_last_line() {
        let whole = timestep(VEHICLE);
        assert_eq!(
            error(&whole[..whole.len() - 5]),
            "t:5: expected `</fcd-export>`, found the end of the file: the recording was cut short"
        );
        assert!(error("<!-- alone -->").contains("expected `<fcd-export>`, found the end of the file"));
    }

    #[test]
    fn an_attribute_missing_or_given_twice_is_named_with_its_line() {
        assert_eq!(
            error(timestep(r#"<vehicle id="bus" x="11.3" y="44.5"/>"#)),
            "t:3: expected a value for `speed`, found none"
        );
        assert_eq!(
            error(timestep(r#"<vehicle id="bus" x="1" x="2" y="44.5" speed="1"/>"#)),
            "t:3: expected `x` once, found it twice"
        );
        assert!(
            error("<fcd-export>\n<timestep/></fcd-export>").starts_with("t:2: expected a value for `time`")
        );
    }

    #[test]
    fn time_going_backwards_is_refused_at_its_timestep() {
        let text = "<fcd-export>\n<timestep time='2'/>\n<timestep time='1'/>\n</fcd-export>";
        assert!(error(text).starts_with("t:3: expected a time of 2000 ms or later, found 1000 ms"));
    }

    #[test]
    fn what_stands_where_it_may_not_is_refused() {
        for (text, expected) in [
            (
                "<fcd-export>\n<vehicle/></fcd-export>",
                "t:2: expected `<timestep>` around each `<vehicle>`",
            ),
            (
                &timestep("<timestep time='6'/>"),
                "t:3: expected `</timestep>` before",
            ),
            (&timestep("lost"), "t:2: expected an element, found \"lost\""),
            (
                &timestep("<![CDATA[lost]]>"),
                "t:3: expected an element, found \"lost\"",
            ),
            (&timestep("&amp;"), "t:3: expected an element, found \"amp\""),
            (&timestep("</timesteb>"), "t:3: expected well-formed XML, found"),
            (
                &timestep("<vehicle id=bus/>"),
                "t:3: expected attributes as name=\"value\", found",
            ),
            (
                &timestep("<vehicle id='&lost;' x='1' y='2' speed='3'/>"),
                "t:3: expected attributes as",
            ),
            (&timestep("<!vehicle>"), "t:3: expected `<!--`"),
            (
                "<fcd-export/>\n<fcd-export/>",
                "t:2: expected the end of the file",
            ),
            ("<fcd-export/>\nlost", "t:1: expected an element, found \"lost\""),
        ] {
            assert!(error(text).starts_with(expected), "{}", error(text));
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        let mut latin = timestep(VEHICLE).into_bytes();
        let at = latin.iter().position(|&byte| byte == b'b').unwrap();
        latin[at] = 0xe4;
        assert!(
            error(&latin).starts_with("t:3: expected UTF-8, found"),
            "{}",
            error(&latin)
        );
    }

    #[test]
    fn elements_nested_too_deep_are_refused() {
        assert!(
            read(timestep(&format!("{}{}", "<a>".repeat(64), "</a>".repeat(64))))
                .1
                .is_none()
        );
        assert!(error(timestep(&"<a>".repeat(65))).contains("nested at most 64 deep"));
    }

    #[test]
    fn an_element_longer_than_the_bound_is_refused() {
        let vehicle =
            |len: usize| timestep(&VEHICLE.replace("/>", &format!(" odd=\"{}\"/>", "x".repeat(len))));
        assert!(read(vehicle(PIECE_LEN_MAX - 100)).1.is_none());
        assert_eq!(
            error(vehicle(PIECE_LEN_MAX)),
            "t:3: expected an element of at most 65536 bytes, found a longer one"
        );
    }

    #[test]
    fn records_before_an_error_stand() {
        let text = super::super::tests::XML.replace("14.32", "fast");
        let (records, error) = read(&text);
        assert_eq!(records, expected()[..2]);
        assert_eq!(
            error.unwrap().to_string(),
            "t:16: expected `speed` as m/s from 0 to 163.81, found \"fast\""
        );
    }
}
