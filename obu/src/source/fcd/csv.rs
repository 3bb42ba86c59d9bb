//! Which rows does an FCD table in CSV hold?
//!
//! In: a header, then one record a line, separated as the header is by `;`, `,` or tabs. Columns may stand in
//! any order and are known by SUMO's names, long (`timestep_time`, `vehicle_x`) or plain (`time`, `x`); further
//! ones are ignored. Out: its rows, one at a time.
//!
//! Skipped are records without any value for a vehicle (`xml2csv.py` writes persons and empty timesteps so) and
//! those whose type is SUMO's default for persons or containers: SUMO's own CSV writes them among the vehicles,
//! and persons of another type cannot be told apart there.
//!
//! Not found out: a last line without its newline may be one cut short within its last column. RFC 4180 allows
//! to leave out the newline, and many a tool does.
//!
//! Source: SUMO, Simulation/Output/FCDOutput and TabularOutputs; tools/xml/xml2csv.py; RFC 4180.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use ::csv::{ErrorKind, Reader, ReaderBuilder, StringRecord};

use super::FcdError;
use super::input::{Input, PIECE_LEN_MAX};
use super::row::{Fields, Row, Rows};
use crate::source::place::{excerpt, message};

/// What else than vehicles SUMO records, by its default types.
const NO_VEHICLES: [&str; 2] = ["DEFAULT_PEDTYPE", "DEFAULT_CONTAINERTYPE"];

/// An FCD table, read from behind its header on.
pub(super) struct CsvTrace {
    reader: Reader<Lines>,
    record: StringRecord,
    columns: Columns,
    rows: Rows,
}

/// Where each value stands, counted from 0.
struct Columns {
    count: usize,
    time: usize,
    id: usize,
    x: usize,
    y: usize,
    speed: usize,
    angle: Option<usize>,
    lane: Option<usize>,
    edge: Option<usize>,
    kind: Option<usize>,
}

impl CsvTrace {
    /// Reads the header.
    pub(super) fn open(mut input: Input, file: Arc<str>) -> Result<Self, FcdError> {
        let separator = separator(input.head()?);
        let mut reader = ReaderBuilder::new()
            .delimiter(separator)
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(PIECE_LEN_MAX)
            .from_reader(Lines {
                input,
                ended_by_newline: false,
            });
        let rows = Rows::new(file);
        let mut record = StringRecord::new();
        // The caller has seen that there is text.
        let line = read(&mut reader, &mut record, &rows)?.unwrap_or(1);
        let columns = Columns::find(&record, &rows, line)?;
        Ok(Self {
            reader,
            record,
            columns,
            rows,
        })
    }

    /// The next row, or `None` at the end of the table.
    pub(super) fn next_row(&mut self) -> Result<Option<Row>, FcdError> {
        while let Some(line) = read(&mut self.reader, &mut self.record, &self.rows)? {
            let (columns, record) = (&self.columns, &self.record);
            if record.len() != columns.count {
                let at = self.rows.at(line);
                return Err(FcdError::RowLength {
                    at,
                    expected: columns.count,
                    found: record.len(),
                });
            }
            self.rows.advance(line, record.get(columns.time))?;
            let optional = |column: Option<usize>| column.and_then(|column| record.get(column));
            let fields = Fields {
                id: record.get(columns.id),
                x: record.get(columns.x),
                y: record.get(columns.y),
                speed: record.get(columns.speed),
                angle: optional(columns.angle),
                lane: optional(columns.lane),
                edge: optional(columns.edge),
            };
            let is_blank = [fields.id, fields.x, fields.y, fields.speed]
                .iter()
                .all(|&field| field == Some(""));
            let is_other = optional(columns.kind).is_some_and(|kind| NO_VEHICLES.contains(&kind));
            if !is_blank && !is_other {
                return self.rows.row(line, &fields).map(Some);
            }
        }
        Ok(None)
    }
}

/// Reads one record and says on which line it ends, or `None` at the end.
fn read(reader: &mut Reader<Lines>, record: &mut StringRecord, rows: &Rows) -> Result<Option<u64>, FcdError> {
    reader.get_mut().input.begin_piece();
    let next = reader.position().line();
    let outcome = reader.read_record(record);
    // Every row ends with its newline, see `Lines`: the reader stands on the line behind it.
    let line = reader.position().line() - 1;
    match outcome {
        Ok(false) => Ok(None),
        Ok(true) if record.as_slice().len() > PIECE_LEN_MAX => Err(FcdError::TooLong {
            at: rows.at(line),
            what: "a row",
            len_max: PIECE_LEN_MAX,
        }),
        Ok(true) => Ok(Some(line)),
        Err(error) => {
            let found = message(&error.to_string());
            match error.into_kind() {
                ErrorKind::Io(error) => Err(reader.get_ref().input.io_error(next, error)),
                _ => Err(rows.malformed(line, "a row of UTF-8 text", found)),
            }
        }
    }
}

/// The text of a table with every line ended by a newline alone, the last one, too: what the CSV reader counts
/// lines by.
struct Lines {
    input: Input,
    ended_by_newline: bool,
}

impl Read for Lines {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            let available = self.input.fill_buf()?;
            let Some(&last) = available.last() else {
                if self.ended_by_newline {
                    return Ok(0);
                }
                self.ended_by_newline = true;
                into[0] = b'\n';
                return Ok(1);
            };
            self.ended_by_newline = last == b'\n';
            let taken = available.len().min(into.len());
            let mut len = 0;
            // Parts between carriage returns; nearly always there is but one.
            for part in available[..taken].split(|&byte| byte == b'\r') {
                into[len..len + part.len()].copy_from_slice(part);
                len += part.len();
            }
            self.input.consume(taken);
            if len > 0 {
                return Ok(len);
            }
        }
    }
}

impl Columns {
    /// Finds the columns by their names: `vehicle_x`, or `x` where there is none.
    fn find(header: &StringRecord, rows: &Rows, line: u64) -> Result<Self, FcdError> {
        let column = |long: &str| -> Result<Option<usize>, FcdError> {
            let plain = long.split_once('_').map_or(long, |(_, plain)| plain);
            for name in [long, plain] {
                let mut found = header
                    .iter()
                    .enumerate()
                    .filter(|(_, column)| column.trim_ascii() == name);
                match (found.next(), found.next()) {
                    (Some((column, _)), None) => return Ok(Some(column)),
                    (Some(_), Some(_)) => {
                        return Err(FcdError::Twice {
                            at: rows.at(line),
                            name: name.into(),
                        });
                    }
                    (None, _) => {}
                }
            }
            Ok(None)
        };
        let mut missing = Vec::new();
        let mut needed = |long: &'static str| -> Result<usize, FcdError> {
            Ok(column(long)?.unwrap_or_else(|| {
                missing.push(long);
                0
            }))
        };
        let columns = Self {
            count: header.len(),
            time: needed("timestep_time")?,
            id: needed("vehicle_id")?,
            x: needed("vehicle_x")?,
            y: needed("vehicle_y")?,
            speed: needed("vehicle_speed")?,
            angle: column("vehicle_angle")?,
            lane: column("vehicle_lane")?,
            edge: column("vehicle_edge")?,
            kind: column("vehicle_type")?,
        };
        if missing.is_empty() {
            return Ok(columns);
        }
        let found = excerpt(&header.iter().collect::<Vec<_>>().join(";"));
        Err(FcdError::MissingColumns {
            at: rows.at(line),
            missing: missing.join(", "),
            found,
        })
    }
}

/// The separator that the first full line holds most of; `;` where it holds none.
fn separator(head: &[u8]) -> u8 {
    let first = head
        .trim_ascii_start()
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    let count = |separator: u8| first.iter().filter(|&&byte| byte == separator).count();
    // Of equals, the last one wins.
    [b'\t', b',', b';']
        .into_iter()
        .max_by_key(|&separator| count(separator))
        .unwrap_or(b';')
}

#[cfg(test)]
mod tests {
    use super::super::tests::{CSV, error, expected, read};
    use super::*;

    #[test]
    fn columns_are_known_by_sumos_long_and_plain_names() {
        let plain = CSV.replace("timestep_time", "time").replace("vehicle_", "");
        let comma = CSV.replace(';', ",");
        let tab = CSV.replace(';', "\t");
        for text in [plain, comma, tab] {
            let (records, error) = read(text);
            assert!(error.is_none(), "{error:?}");
            assert_eq!(records, expected());
        }
    }

    /// `xml2csv.py` on a document with persons: columns in alphabetical order, persons in columns of their own.
    #[test]
    fn rows_for_persons_and_empty_timesteps_are_skipped() {
        let (records, error) = read(
            "timestep_time;vehicle_id;vehicle_speed;vehicle_x;vehicle_y;person_edge;person_id;person_speed;person_x\n\
             0.00;bus;13.55;11.3;44.5;;;;\n\
             0.00;;;;;m90;213;1.61;11.3\n\
             1.00;;;;;;;;\n",
        );
        assert!(error.is_none(), "{error:?}");
        assert_eq!(records.len(), 1);
    }

    #[test]
    fn the_mesoscopic_simulation_names_the_edge_and_no_lane() {
        let (records, error) = read("time;id;x;y;speed;lane;edge\n0.00;bus;11.3;44.5;13.55;;78[0]\n");
        assert!(error.is_none(), "{error:?}");
        assert_eq!((records[0].edge(), &records[0].lane), (Some("78[0]"), &None));
    }

    #[test]
    fn missing_columns_are_listed() {
        assert_eq!(
            error("\ntimestep_time;vehicle_id;vehicle_speed\n1;bus;2\n"),
            "t:2: expected a CSV header with the columns vehicle_x, vehicle_y as well, \
             found \"timestep_time;vehicle_id;vehicle_speed\""
        );
        assert!(error("hello").ends_with(r#"vehicle_x, vehicle_y, vehicle_speed as well, found "hello""#));
        assert_eq!(
            error("time;x;y;id;speed;x\n"),
            "t:1: expected `x` once, found it twice"
        );
    }

    #[test]
    fn a_row_of_another_length_than_the_header_is_refused() {
        let header = "time;id;x;y;speed\n";
        assert_eq!(
            error(format!("{header}1;bus;11.3;44.5;8\n\n2;bus;11.3;44.5\n")),
            "t:4: expected 5 columns as in the header, found 4"
        );
        assert_eq!(
            error(format!("{header}1;bus;11.3;44.5;8;\n")),
            "t:2: expected 5 columns as in the header, found 6"
        );
    }

    #[test]
    fn a_value_missing_or_wrong_is_named_with_its_line() {
        let header = "time;id;x;y;speed\r\n1;bus;11.3;44.5;8\r\n";
        for (row, expected) in [
            ("2;;11.3;44.5;8", "t:3: expected a value for `id`, found none"),
            ("2;bus;;44.5;8", "t:3: expected a value for `x`, found none"),
            (";bus;11.3;44.5;8", "t:3: expected a value for `time`, found none"),
            (
                "2;bus;11.3;44.5;-8",
                "t:3: expected `speed` as m/s from 0 to 163.81, found \"-8\"",
            ),
            (
                "0;bus;11.3;44.5;8",
                "t:3: expected a time of 1000 ms or later, found 0 ms: time goes backwards",
            ),
        ] {
            let (records, error) = read(format!("{header}{row}\r\n"));
            assert_eq!(records.len(), 1);
            assert_eq!(error.unwrap().to_string(), expected);
        }
    }

    #[test]
    fn lines_are_counted_over_blank_ones_and_either_line_ending() {
        for newline in ["\n", "\r\n"] {
            let text = "\n\ntime;id;x;y;speed\n\n1;bus;11.3;44.5;8\n\n\n2;bus\n".replace('\n', newline);
            assert!(
                error(&text).starts_with("t:8: expected 5 columns"),
                "{}",
                error(&text)
            );
            assert!(
                error(text.trim_end()).starts_with("t:8: expected 5 columns"),
                "{}",
                error(&text)
            );
        }
    }

    #[test]
    fn a_last_line_may_lack_its_newline() {
        let (records, error) = read(CSV.trim_end());
        assert!(error.is_none(), "{error:?}");
        assert_eq!(records, expected());
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        let error = error(b"time;id;x;y;speed\n1;bus;11.3;44.5;8\n2;b\xe4;11.3;44.5;8\n");
        assert!(
            error.starts_with("t:3: expected a row of UTF-8 text, found"),
            "{error}"
        );
    }

    #[test]
    fn a_row_longer_than_the_bound_is_refused() {
        let row = |len: usize| format!("time;id;x;y;speed;odd\n1;bus;11.3;44.5;8;{}\n", "x".repeat(len));
        assert!(read(row(PIECE_LEN_MAX - 100)).1.is_none());
        assert_eq!(
            error(row(PIECE_LEN_MAX)),
            "t:2: expected a row of at most 65536 bytes, found a longer one"
        );
    }
}
