//! Whole traces: every form, every error, and what holds for any bytes.

use std::fmt::Write as _;
use std::io::{self, Cursor, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

/// What a trace yields: its records, and the error that ends it.
pub(super) fn read(bytes: impl AsRef<[u8]>) -> (Vec<Record>, Option<FcdError>) {
    read_from(bytes, None)
}

fn read_from(bytes: impl AsRef<[u8]>, origin: Option<(f64, f64)>) -> (Vec<Record>, Option<FcdError>) {
    let reader = match FcdReader::new(Cursor::new(bytes.as_ref().to_vec()), "t", origin) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut records = Vec::new();
    let mut reader = reader;
    let error = loop {
        match reader.next() {
            Some(Ok(record)) => records.push(record),
            Some(Err(error)) => break Some(error),
            None => break None,
        }
    };
    assert!(reader.next().is_none(), "a reader that has ended goes on");
    (records, error)
}

/// The error that ends a trace, as it is printed.
pub(super) fn error(bytes: impl AsRef<[u8]>) -> String {
    read(bytes).1.expect("this trace has an error").to_string()
}

pub(super) fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// SUMO 1.28 on the scenario `acosta`, `--fcd-output.geo`.
pub(super) const XML: &str = r#"<?xml version="1.0" encoding="UTF-8"?>

<!-- generated on 2026-01-01T00:00:00 by Eclipse SUMO sumo 1.28.0
<sumoConfiguration>
</sumoConfiguration>
-->

<fcd-export xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="http://sumo.dlr.de/xsd/fcd_file.xsd">
    <timestep time="0.00">
        <vehicle id="Audinot_7_0" x="11.327482" y="44.490448" angle="353.90" type="passenger4" speed="13.55" pos="0.00" lane="131_0" slope="0.00"/>
        <person id="0" x="11.327000" y="44.490000" angle="272.86" type="DEFAULT_PEDTYPE" speed="0.00" pos="0.00" edge="4" slope="0.00"/>
    </timestep>
    <timestep time="1.00"/>
    <timestep time="2.00">
        <vehicle id="Audinot_7_0" x="11.327457" y="44.490683" angle="353.90" type="passenger4" speed="13.18" pos="26.16" lane=":1_0_0" slope="0.00"/>
        <vehicle id="Costa_12_0" x="11.308866" y="44.493215" angle="68.91" type="passenger1" speed="14.32" pos="28.08" lane="78[0]_0" slope="0.00"/>
    </timestep>
</fcd-export>
"#;

/// The same, written by SUMO as `fcd.csv`.
pub(super) const CSV: &str = "\
timestep_time;vehicle_id;vehicle_x;vehicle_y;vehicle_angle;vehicle_type;vehicle_speed;vehicle_pos;vehicle_lane;vehicle_edge;vehicle_slope
0.00;Audinot_7_0;11.327482;44.490448;353.90;passenger4;13.55;0.00;131_0;;0.00
0.00;0;11.327000;44.490000;272.86;DEFAULT_PEDTYPE;0.00;0.00;;4;0.00
1.00;;;;;;;;;;
2.00;Audinot_7_0;11.327457;44.490683;353.90;passenger4;13.18;26.16;:1_0_0;;0.00
2.00;Costa_12_0;11.308866;44.493215;68.91;passenger1;14.32;28.08;78[0]_0;;0.00
";

fn record(time_ms: u64, vehicle: &str, place: (f64, f64), motion: (f64, f64), lane: &str) -> Record {
    Record {
        time_ms,
        vehicle: vehicle.into(),
        lat_deg: place.0,
        lon_deg: place.1,
        speed_m_s: motion.0,
        heading_deg: Some(motion.1),
        lane: Some(lane.into()),
        named_edge: None,
    }
}

pub(super) fn expected() -> Vec<Record> {
    vec![
        record(0, "Audinot_7_0", (44.490448, 11.327482), (13.55, 353.9), "131_0"),
        record(
            2000,
            "Audinot_7_0",
            (44.490683, 11.327457),
            (13.18, 353.9),
            ":1_0_0",
        ),
        record(
            2000,
            "Costa_12_0",
            (44.493215, 11.308866),
            (14.32, 68.91),
            "78[0]_0",
        ),
    ]
}

#[test]
fn xml_and_csv_plain_and_gzipped_say_the_same() {
    for text in [XML, CSV] {
        let (head, tail) = text.as_bytes().split_at(text.len() / 2);
        let members = [gzip(head), gzip(""), gzip(tail)].concat();
        let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        for bytes in [text.as_bytes(), &gzip(text), &members, windows.as_bytes()] {
            let (records, error) = read(bytes);
            assert!(error.is_none(), "{error:?}");
            assert_eq!(records, expected());
        }
    }
}

#[test]
fn an_edge_is_its_lane_without_the_index() {
    let edge = |lane: &str| {
        let record = Record {
            lane: Some(lane.into()),
            ..expected()[0].clone()
        };
        record.edge().map(str::to_owned)
    };
    assert_eq!(edge("131_0").as_deref(), Some("131"));
    assert_eq!(edge("204a[0]_12").as_deref(), Some("204a[0]"));
    assert_eq!(edge("main_street_2").as_deref(), Some("main_street"));
    assert_eq!(edge(":1_0_0").as_deref(), Some(":1_0"));
    assert_eq!(edge("main_street"), None);
    assert_eq!((edge("46"), edge("46_"), edge("_0")), (None, None, None));
    let meso = Record {
        lane: None,
        named_edge: Some("78[0]".into()),
        ..expected()[0].clone()
    };
    assert_eq!(meso.edge(), Some("78[0]"));
    assert_eq!(
        Record {
            named_edge: None,
            ..meso
        }
        .edge(),
        None
    );
}

#[test]
fn records_of_one_vehicle_share_its_name() {
    let (records, _) = read(XML);
    assert!(Arc::ptr_eq(&records[0].vehicle, &records[1].vehicle));
}

#[test]
fn local_coordinates_are_placed_around_the_origin() {
    let local = CSV.replace("11.327457;44.490683", "1515.60;131.51");
    let (records, error) = read_from(&local, Some((44.48988672, 11.30836385)));
    assert!(error.is_none());
    assert!((records[1].lat_deg - 44.49107).abs() < 1e-4, "{:?}", records[1]);
    assert!((records[1].lon_deg - 11.32742).abs() < 1e-4, "{:?}", records[1]);
}

#[test]
fn local_coordinates_without_an_origin_are_refused_with_the_way_out() {
    let local = CSV.replace("11.327457;44.490683", "1515.60;131.51");
    let error = FcdReader::new(Cursor::new(local), "t", None)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("t:5: ") && error.contains("x=1515.6, y=131.51"),
        "{error}"
    );
    assert!(error.contains("--origin LAT,LON"), "{error}");
}

#[test]
fn coordinates_far_from_the_origin_are_refused() {
    let utm = CSV.replace("11.327457;44.490683", "685060.79;4928983.06");
    let error = FcdReader::new(Cursor::new(utm), "t", Some((44.5, 11.3)))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("t:5: expected x and y within 200000 m of the origin"),
        "{error}"
    );
    let error = FcdReader::new(Cursor::new(CSV), "t", Some((91.0, 11.3)))
        .unwrap_err()
        .to_string();
    assert!(error.contains("found 91,11.3"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = FcdReader::open("/nowhere/trace.xml", None).unwrap_err();
    assert!(matches!(error, FcdError::CannotOpen { .. }));
    assert!(
        error
            .to_string()
            .starts_with("/nowhere/trace.xml: expected a readable trace"),
        "{error}"
    );
    assert!(matches!(
        FcdReader::open("/", None),
        Err(FcdError::Unreadable { .. })
    ));
}

#[test]
fn a_file_is_told_by_its_content_not_its_name() {
    let mut file = tempfile::NamedTempFile::with_suffix(".csv").unwrap();
    file.write_all(&gzip(XML)).unwrap();
    let records: Result<Vec<_>, _> = FcdReader::open(file.path(), None).unwrap().collect();
    assert_eq!(records.unwrap(), expected());
}

#[test]
fn nothing_to_read_is_an_empty_file() {
    for bytes in [&b""[..], b" \n\r\n\t", b"\xef\xbb\xbf", &gzip("")] {
        assert_eq!(
            error(bytes),
            "t: expected `<fcd-export>` or a CSV header, found an empty file"
        );
    }
}

#[test]
fn binary_data_is_called_by_its_name() {
    for (bytes, found) in [
        (&b"PAR1\x15\x04\x15"[..], "Parquet"),
        (b"PK\x03\x04\x14\x00", "a zip archive"),
        (&gzip(gzip(XML)), "gzip inside gzip"),
        (b"\xff\xfe<\x00?\x00", "UTF-16 text"),
        (b"\x7fELF\x02\x01", "binary data"),
        (b"<\x00f\x00c\x00", "binary data"),
    ] {
        assert!(
            error(bytes).ends_with(&format!("found {found}")),
            "{}",
            error(bytes)
        );
    }
}

#[test]
fn a_gzip_stream_cut_short_keeps_what_came_before() {
    // Long enough that records leave before the end of the stream is missed.
    let mut text = XML.replace("</fcd-export>\n", "");
    for second in 3..5000 {
        let lane = second * 7919 % 10_007;
        writeln!(
            text,
            r#"<timestep time="{second}"><vehicle id="a" x="1.{lane}" y="2" speed="{}"/></timestep>"#,
            lane % 40
        )
        .unwrap();
    }
    text.push_str("</fcd-export>\n");
    let whole = gzip(&text);
    let (all, none) = read(&whole);
    assert!(none.is_none() && all.len() == 5000);

    let (some, error) = read(&whole[..whole.len() / 2]);
    assert!(matches!(error, Some(FcdError::Gzip { .. })), "{error:?}");
    assert!(some.len() > 1000 && all.starts_with(&some), "{}", some.len());

    let mut damaged = whole.clone();
    let checksum = damaged.len() - 6;
    damaged[checksum] ^= 1;
    let (some, error) = read(&damaged);
    assert!(matches!(error, Some(FcdError::Gzip { .. })), "{error:?}");
    assert_eq!(some, all);
}

#[test]
fn a_medium_that_fails_is_not_taken_for_damaged_gzip() {
    struct Failing(Cursor<Vec<u8>>);
    impl Read for Failing {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            match self.0.read(into)? {
                0 => Err(io::Error::from(io::ErrorKind::TimedOut)),
                len => Ok(len),
            }
        }
    }
    for text in [XML.as_bytes(), CSV.as_bytes(), &gzip(XML)] {
        let bytes = text[..text.len() - 20].to_vec();
        let error = match FcdReader::new(Failing(Cursor::new(bytes)), "t", None) {
            Ok(reader) => reader.filter_map(Result::err).next(),
            Err(error) => Some(error),
        };
        assert!(matches!(error, Some(FcdError::Unreadable { .. })), "{error:?}");
    }
}

/// As SUMO writes a document or table without end: memory must not grow with it.
#[test]
fn an_endless_trace_is_read_in_constant_memory() {
    let endless = Cursor::new("timestep_time;vehicle_id;vehicle_x;vehicle_y;vehicle_speed\n")
        .chain(io::repeat(b'\n').take(1000))
        .chain(Repeat {
            text: b"1;bus;2;3;4\n",
            at: 0,
        });
    let reader = FcdReader::new(endless, "t", None).unwrap();
    assert_eq!(reader.take(100_000).filter(Result::is_ok).count(), 100_000);
}

/// A text over and over.
struct Repeat {
    text: &'static [u8],
    at: usize,
}

impl Read for Repeat {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        for byte in into.iter_mut() {
            *byte = self.text[self.at];
            self.at = (self.at + 1) % self.text.len();
        }
        Ok(into.len())
    }
}

#[test]
fn a_piece_without_end_is_refused_before_it_fills_the_memory() {
    let header = "timestep_time;vehicle_id;vehicle_x;vehicle_y;vehicle_speed\n";
    for start in [
        "",
        "<",
        "<!--",
        "<fcd-export>",
        "<fcd-export x='",
        "<fcd-export><![CDATA[",
        "<fcd-export><?",
        "<fcd-export>&",
        "<fcd-export><timestep time=\"1\"><vehicle id=\"",
        header,
        &format!("{header}1;\""),
    ] {
        let endless = Cursor::new(start.to_owned()).chain(io::repeat(b'x'));
        let error = match FcdReader::new(endless, "t", None) {
            Ok(reader) => reader.filter_map(Result::err).next().unwrap(),
            Err(error) => error,
        };
        assert!(matches!(error, FcdError::TooLong { .. }), "{start}: {error}");
    }
}

#[test]
fn every_cut_through_a_document_is_noticed() {
    let last = XML.rfind('>').unwrap();
    for cut in 1..=last {
        let (records, error) = read(&XML[..cut]);
        assert!(error.is_some(), "cut at {cut}: {:?}", &XML[..cut]);
        assert!(expected().starts_with(&records), "cut at {cut}");
    }
}

#[test]
fn every_cut_through_gzip_is_noticed() {
    for text in [XML, CSV] {
        let whole = gzip(text);
        for cut in 2..whole.len() {
            let (records, error) = read(&whole[..cut]);
            assert!(error.is_some(), "cut at {cut}");
            assert!(expected().starts_with(&records), "cut at {cut}");
        }
    }
}

/// All but the last record are sure: RFC 4180 lets the last line do without its newline.
#[test]
fn a_cut_through_a_table_leaves_all_but_its_last_row_whole() {
    let whole = expected();
    for cut in 1..CSV.len() {
        let (records, error) = read(&CSV[..cut]);
        let sure =
            records.len() - usize::from(error.is_none() && !CSV[..cut].ends_with('\n')).min(records.len());
        assert_eq!(records[..sure], whole[..sure], "cut at {cut}");
        assert!(records.len() <= whole.len(), "cut at {cut}");
    }
}

/// A record that SUMO might write, its numbers on SUMO's grid.
fn any_record() -> impl Strategy<Value = Record> {
    let name = "[a-zA-Z0-9_.:#!\\[\\]äß&<>\"'-]{1,20}";
    (
        (
            0_u64..3,
            name,
            -90_000_000_i64..=90_000_000,
            -180_000_000_i64..=180_000_000,
        ),
        (
            0_u32..=16_381,
            prop::option::of(0_u32..36_000),
            prop::option::of(name),
            prop::option::of(name),
        ),
    )
        .prop_map(
            |((wait_s, vehicle, lat, lon), (speed, heading, lane, edge))| Record {
                time_ms: wait_s * 1000,
                vehicle: vehicle.into(),
                lat_deg: lat as f64 / 1e6,
                lon_deg: lon as f64 / 1e6,
                speed_m_s: f64::from(speed) / 100.0,
                heading_deg: heading.map(|heading| f64::from(heading) / 100.0),
                lane: lane.map(Into::into),
                named_edge: edge.map(Into::into),
            },
        )
}

/// Records in the order of time: each waits as long as it says.
fn any_records() -> impl Strategy<Value = Vec<Record>> {
    prop::collection::vec(any_record(), 0..20).prop_map(|mut records| {
        let mut now_ms = 0;
        for record in &mut records {
            now_ms += record.time_ms;
            record.time_ms = now_ms;
        }
        records
    })
}

fn written_as_xml(records: &[Record]) -> String {
    let mut text = String::from("<fcd-export>\n");
    for timestep in records.chunk_by(|a, b| a.time_ms == b.time_ms) {
        writeln!(
            text,
            "<timestep time=\"{:.2}\">",
            timestep[0].time_ms as f64 / 1000.0
        )
        .unwrap();
        for record in timestep {
            let optional = |name: &str, value: Option<String>| match value {
                Some(value) => format!(" {name}=\"{value}\""),
                None => String::new(),
            };
            let escape = |name: &str| quick_xml::escape::escape(name).into_owned();
            writeln!(
                text,
                "<vehicle id='{}' x=\"{:.6}\" y=\"{:.6}\"{} type=\"t\" speed=\"{:.2}\"{}{}/>",
                escape(&record.vehicle),
                record.lon_deg,
                record.lat_deg,
                optional("angle", record.heading_deg.map(|heading| format!("{heading:.2}"))),
                record.speed_m_s,
                optional("lane", record.lane.as_deref().map(escape)),
                optional("edge", record.named_edge.as_deref().map(escape)),
            )
            .unwrap();
        }
        text.push_str("</timestep>\n");
    }
    text.push_str("</fcd-export>\n");
    text
}

fn written_as_csv(records: &[Record], separator: u8) -> Vec<u8> {
    let mut table = ::csv::WriterBuilder::new()
        .delimiter(separator)
        .from_writer(Vec::new());
    table
        .write_record([
            "vehicle_edge",
            "lane",
            "time",
            "speed",
            "y",
            "x",
            "vehicle_id",
            "angle",
        ])
        .unwrap();
    for record in records {
        table
            .write_record([
                record.named_edge.as_deref().unwrap_or_default(),
                record.lane.as_deref().unwrap_or_default(),
                &format!("{:.2}", record.time_ms as f64 / 1000.0),
                &format!("{:.2}", record.speed_m_s),
                &format!("{:.6}", record.lat_deg),
                &format!("{:.6}", record.lon_deg),
                &record.vehicle,
                &record
                    .heading_deg
                    .map(|heading| format!("{heading:.2}"))
                    .unwrap_or_default(),
            ])
            .unwrap();
    }
    table.into_inner().unwrap()
}

proptest! {
    #[test]
    fn what_is_written_as_xml_is_read_back(records in any_records()) {
        let (read, error) = read(written_as_xml(&records));
        prop_assert!(error.is_none(), "{error:?}");
        prop_assert_eq!(read, records);
    }

    #[test]
    fn what_is_written_as_csv_is_read_back(
        records in any_records(),
        separator in prop::sample::select(&b";,\t"[..]),
    ) {
        let (read, error) = read(written_as_csv(&records, separator));
        prop_assert!(error.is_none(), "{error:?}");
        prop_assert_eq!(read, records);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read(&bytes);
        read_from(&bytes, Some((44.5, 11.3)));
        read([&[0x1f, 0x8b][..], &bytes].concat());
        read([&b"<fcd-export><timestep time=\"1\">"[..], &bytes].concat());
        read([&CSV.as_bytes()[..137], &bytes].concat());
    }

    #[test]
    fn no_damage_panics(
        start in prop::sample::select(vec![XML.as_bytes().to_vec(), CSV.as_bytes().to_vec(), gzip(XML)]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = start;
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read(&bytes);
        read_from(&bytes[..cut.index(bytes.len())], Some((44.5, 11.3)));
    }

    #[test]
    fn no_markup_panics(text in r#"(<|>|/|!|--|\?|\[CDATA\[|\]\]|&|;|=|"|'| |\n|fcd-export|timestep|vehicle|time|id|x|1){0,60}"#) {
        read(&text);
        read(format!("<fcd-export><timestep time='1'>{text}"));
    }
}
