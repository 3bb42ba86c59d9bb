//! Which claims are in the file?
//!
//! In: CSV with a header of `source,item,kind,value` and, where there is one, `time`, in any order and beside any
//! other columns; plain or gzipped, which its first bytes tell. Out: [`Claims`], by item.
//!
//! Values are decimals; reckoning is in whole steps of the finest decimal place that the file uses, so nothing is
//! rounded. Where a source speaks of an item more than once, its latest claim counts, and without a time the one
//! furthest down.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The most sources: each pair of them is compared.
pub const SOURCES_MAX: usize = 4096;
/// The most items.
pub const ITEMS_MAX: usize = 1 << 24;
/// The most bytes of a name.
const NAME_LEN_MAX: usize = 256;
/// The most decimal places.
const PLACES_MAX: usize = 6;
/// The most that a value may be, in steps of the finest place.
const STEPS_MAX: i64 = 1 << 61;

/// An item and a kind: what there is one truth of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// What is spoken of.
    pub item: String,
    /// And which side of it.
    pub kind: String,
}

/// A file of claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Names of the sources, ascending.
    pub sources: Vec<String>,
    /// In ascending order; for each, who says what, by source.
    pub subjects: Vec<(Subject, Vec<(u32, i64)>)>,
    /// How many decimal places a step is worth: values are in units of 10^−places.
    pub places: u32,
}

/// Why a file of claims cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be opened.
    #[error("{path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("{path}, line {line}: {what}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Where, from 1 on.
        line: u64,
        /// What was expected and what was found.
        what: String,
    },
    /// It says nothing.
    #[error("{path}: no claims below the header")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a file.
///
/// # Errors
///
/// [`ReadError`], with the line.
pub fn read(path: &Path) -> Result<Claims, ReadError> {
    let open = |source| ReadError::Open {
        path: path.to_owned(),
        source,
    };
    let mut input = BufReader::new(File::open(path).map_err(open)?);
    let zipped = input.fill_buf().map_err(open)?.starts_with(&[0x1f, 0x8b]);
    if zipped {
        parse(flate2::bufread::MultiGzDecoder::new(input), path)
    } else {
        parse(input, path)
    }
}

/// Where the columns are.
struct Columns {
    source: usize,
    item: usize,
    kind: usize,
    value: usize,
    time: Option<usize>,
}

impl Columns {
    fn of(header: &csv::StringRecord) -> Result<Self, String> {
        let find = |name: &str| header.iter().position(|column| column == name);
        let need = |name: &str| {
            find(name).ok_or_else(|| {
                let found: Vec<&str> = header.iter().collect();
                format!(
                    "expected a header with source,item,kind,value[,time]; {name} is missing in {:?}",
                    shown(&found.join(","))
                )
            })
        };
        Ok(Self {
            source: need("source")?,
            item: need("item")?,
            kind: need("kind")?,
            value: need("value")?,
            time: find("time"),
        })
    }
}

/// One claim as it stands: its value, and when it was made.
#[derive(Clone, Copy)]
struct Said {
    value: Decimal,
    time: Decimal,
}

/// Parses claims; `path` is for messages.
///
/// # Errors
///
/// [`ReadError`], with the line.
pub fn parse(input: impl Read, path: &Path) -> Result<Claims, ReadError> {
    let wrong = |line: u64, what: String| ReadError::Line {
        path: path.to_owned(),
        line,
        what,
    };
    let unreadable = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        wrong(line, unreadable(&error))
    };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(input);
    let columns = Columns::of(reader.headers().map_err(unreadable)?).map_err(|what| wrong(1, what))?;

    let mut names: BTreeMap<String, u32> = BTreeMap::new();
    let mut said: BTreeMap<Subject, BTreeMap<u32, Said>> = BTreeMap::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(unreadable)? {
        let line = record.position().map_or(1, csv::Position::line);
        let wrong = |what| wrong(line, what);
        let name = |column: usize, what: &str| {
            let text = &record[column];
            if text.is_empty() || text.len() > NAME_LEN_MAX {
                return Err(wrong(format!(
                    "expected a {what} of 1 to {NAME_LEN_MAX} bytes, found {}",
                    text.len()
                )));
            }
            Ok(text)
        };
        let number = |column: usize, what: &str| {
            Decimal::parse(&record[column]).ok_or_else(|| {
                wrong(format!(
                    "expected a decimal number as {what}, found {:?}",
                    shown(&record[column])
                ))
            })
        };
        let source = name(columns.source, "source")?;
        let fresh = Said {
            value: number(columns.value, "value")?,
            time: columns
                .time
                .map_or(Ok(Decimal::ZERO), |column| number(column, "time"))?,
        };
        let id = match names.get(source) {
            Some(&id) => id,
            None if names.len() == SOURCES_MAX => {
                return Err(wrong(format!(
                    "{source:?} is one source more than the {SOURCES_MAX} that are compared"
                )));
            }
            None => {
                let id = names.len() as u32;
                names.insert(source.to_owned(), id);
                id
            }
        };
        let subject = Subject {
            item: name(columns.item, "item")?.to_owned(),
            kind: name(columns.kind, "kind")?.to_owned(),
        };
        if said.len() == ITEMS_MAX && !said.contains_key(&subject) {
            return Err(wrong(format!("more than {ITEMS_MAX} items")));
        }
        let known = said.entry(subject).or_default().entry(id).or_insert(fresh);
        if !fresh.time.is_below(known.time) {
            *known = fresh;
        }
    }
    if said.is_empty() {
        return Err(ReadError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(Claims::new(names, said))
}

impl Claims {
    fn new(names: BTreeMap<String, u32>, said: BTreeMap<Subject, BTreeMap<u32, Said>>) -> Self {
        // Sources by name, so that the order of lines decides nothing.
        let mut places_of = vec![0; names.len()];
        for (place, &id) in names.values().enumerate() {
            places_of[id as usize] = place as u32;
        }
        let values = said.values().flat_map(BTreeMap::values).map(|said| said.value);
        let places = values.map(|value| value.places).max().unwrap_or(0);
        let subjects = said
            .into_iter()
            .map(|(subject, said)| {
                let mut claims: Vec<(u32, i64)> = said
                    .into_iter()
                    .map(|(id, said)| (places_of[id as usize], said.value.steps(places)))
                    .collect();
                claims.sort_unstable();
                (subject, claims)
            })
            .collect();
        Self {
            sources: names.into_keys().collect(),
            subjects,
            places,
        }
    }

    /// How many claims count.
    pub fn len(&self) -> usize {
        self.subjects.iter().map(|(_, claims)| claims.len()).sum()
    }

    /// Whether there is none; [`parse`] never gives such.
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }
}

/// A decimal number: `digits` · 10^−`places`, with no trailing zero behind the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    digits: i64,
    places: u32,
}

impl Decimal {
    const ZERO: Self = Self { digits: 0, places: 0 };

    /// From text such as `-12.50`; `None` unless it is a sign, digits and a point, with at most six places, and
    /// small enough for sums.
    pub fn parse(text: &str) -> Option<Self> {
        let (sign, text) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let part = part.trim_end_matches('0');
        let digits = || whole.bytes().chain(part.bytes());
        let spoken = !whole.is_empty() || text.len() > 1;
        if !spoken || part.len() > PLACES_MAX || !digits().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mut steps = 0i64;
        for digit in digits() {
            steps = steps.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
        }
        let decimal = Self {
            digits: sign * steps,
            places: part.len() as u32,
        };
        // Whatever the file's finest place, it fits.
        (steps <= STEPS_MAX / 10i64.pow(PLACES_MAX as u32 - decimal.places)).then_some(decimal)
    }

    /// In units of 10^−`places`, for as many places as the number has or more.
    pub fn steps(self, places: u32) -> i64 {
        self.digits * 10i64.pow(places.saturating_sub(self.places))
    }

    /// How many places it has.
    pub fn places(self) -> u32 {
        self.places
    }

    fn is_below(self, other: Self) -> bool {
        let places = self.places.max(other.places);
        self.steps(places) < other.steps(places)
    }
}

impl std::str::FromStr for Decimal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| format!("expected a decimal number, found {:?}", shown(text)))
    }
}

/// Steps of 10^−`places` as a decimal number.
pub fn decimal(steps: i64, places: u32) -> String {
    let unit = 10u64.pow(places);
    let (whole, part) = (steps.unsigned_abs() / unit, steps.unsigned_abs() % unit);
    let sign = if steps < 0 { "-" } else { "" };
    if places == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{part:0width$}", width = places as usize)
    }
}

fn unreadable(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!("expected {expected_len} columns as in the header, found {len}")
        }
        csv::ErrorKind::Utf8 { err, .. } => format!("expected UTF-8: {err}"),
        csv::ErrorKind::Io(error) => format!("cannot be read: {error}"),
        _ => error.to_string(),
    }
}

/// As much of a text as a message needs.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn parsed(text: &str) -> Result<Claims, String> {
        parse(text.as_bytes(), Path::new("claims.csv")).map_err(|error| error.to_string())
    }

    #[test]
    fn columns_may_stand_in_any_order_and_others_beside_them() {
        let claims = parsed("value,kind,note,item,source\n1.50,km,x,A,s\n2,km,y,A,r\n").expect("claims");
        assert_eq!(claims.sources, ["r", "s"]);
        assert_eq!(claims.places, 1);
        assert_eq!(claims.subjects[0].1, [(0, 20), (1, 15)]);
    }

    #[test]
    fn the_latest_claim_counts_and_without_a_time_the_last() {
        let claims = parsed("source,item,kind,value,time\ns,A,k,1,20\ns,A,k,2,10.5\n").expect("claims");
        assert_eq!(claims.subjects[0].1, [(0, 1)]);
        let claims = parsed("source,item,kind,value\ns,A,k,1\ns,A,k,2\n").expect("claims");
        assert_eq!(claims.subjects[0].1, [(0, 2)]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, what) in [
            ("", "line 1: expected a header"),
            (
                "source,item,value\ns,A,1\n",
                "line 1: expected a header with source,item,kind,value[,time]; kind is missing",
            ),
            (
                "source,item,kind,value\ns,A,k,1\ns,A,k,one\n",
                "line 3: expected a decimal number as value, found \"one\"",
            ),
            (
                "source,item,kind,value\ns,A,k\n",
                "line 2: expected 4 columns as in the header, found 3",
            ),
            (
                "source,item,kind,value\n,A,k,1\n",
                "line 2: expected a source of 1 to 256 bytes, found 0",
            ),
            (
                "source,item,kind,value\ns,A,k,1e9\n",
                "line 2: expected a decimal number",
            ),
            ("source,item,kind,value\n", "no claims below the header"),
        ] {
            let error = parsed(text).expect_err("is wrong");
            assert!(error.contains(what), "{error} does not say {what}");
        }
    }

    #[test]
    fn a_zipped_file_reads_like_a_plain_one() {
        let text = "source,item,kind,value\ns,A,k,1\n";
        let folder = tempfile::tempdir().expect("a folder");
        let (plain, zipped) = (folder.path().join("plain"), folder.path().join("zipped"));
        std::fs::write(&plain, text).expect("written");
        let mut encoder = flate2::write::GzEncoder::new(
            File::create(&zipped).expect("a file"),
            flate2::Compression::fast(),
        );
        encoder.write_all(text.as_bytes()).expect("written");
        encoder.finish().expect("written");
        assert_eq!(read(&plain).expect("claims"), read(&zipped).expect("claims"));
    }

    #[test]
    fn numbers_too_large_or_too_fine_are_refused() {
        for text in [
            "",
            "-",
            ".",
            "+.",
            "1.0000001",
            "99999999999999999999",
            "2305843009214",
            "0x1",
            "1_0",
            "１",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text:?}");
        }
        // Milliseconds since 1970 are a time like any other.
        assert_eq!(
            Decimal::parse("1763884800123").map(|time| time.steps(0)),
            Some(1_763_884_800_123)
        );
        assert_eq!(
            Decimal::parse("-0.50"),
            Some(Decimal {
                digits: -5,
                places: 1
            })
        );
        assert_eq!(Decimal::parse(".5"), Decimal::parse("0.5"));
        assert_eq!(Decimal::parse("5."), Decimal::parse("5"));
    }

    proptest! {
        #[test]
        fn a_number_that_is_written_reads_back(steps in -1_000_000_000_000i64..1_000_000_000_000, places in 0u32..=6) {
            let text = decimal(steps, places);
            let read = Decimal::parse(&text).expect("a number of ours");
            prop_assert_eq!(read.steps(places), steps);
        }

        #[test]
        fn claims_that_are_written_read_back_whatever_their_order(
            said in prop::collection::btree_map(("[a-c]", "[A-Z\",/ é]{0,3}x", "[kl]"), -10_000i64..10_000, 1..40),
            turn in 0usize..40,
        ) {
            let mut rows: Vec<_> = said.iter().collect();
            let len = rows.len();
            rows.rotate_left(turn % len);
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["source", "item", "kind", "value"]).expect("memory");
            for ((source, item, kind), steps) in rows {
                writer.write_record([source, item, kind, &decimal(*steps, 2)]).expect("memory");
            }
            let bytes = writer.into_inner().expect("memory");
            let claims = parse(bytes.as_slice(), Path::new("claims.csv")).expect("claims");
            prop_assert_eq!(claims.len(), claims_by_hand(&said));
            for (subject, words) in &claims.subjects {
                for &(source, steps) in words {
                    let name = claims.sources[source as usize].clone();
                    let wanted = said.iter().filter(|((s, i, k), _)| *s == name && i.trim() == subject.item && *k == subject.kind);
                    let unit = 10i64.pow(2 - claims.places);
                    prop_assert!(wanted.clone().any(|(_, &value)| value == steps * unit));
                }
            }
        }

        #[test]
        fn no_file_makes_the_reader_panic_and_every_fault_has_a_line(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut file = b"source,item,kind,value\n".to_vec();
            file.extend(&bytes);
            let lines = file.iter().filter(|&&byte| byte == b'\n' || byte == b'\r').count() as u64 + 1;
            if let Err(ReadError::Line { line, .. }) = parse(file.as_slice(), Path::new("claims.csv")) {
                prop_assert!((1..=lines).contains(&line));
            }
        }
    }

    /// Names are trimmed, so two that differ in blanks alone are one.
    fn claims_by_hand(said: &BTreeMap<(String, String, String), i64>) -> usize {
        let distinct: std::collections::BTreeSet<_> = said
            .keys()
            .map(|(source, item, kind)| (source, item.trim(), kind))
            .collect();
        distinct.len()
    }
}
