//! What did the receivers hear?
//!
//! In: files in the JSON of VeReMi NextGen: an array of receptions, or one object a line; times in nanoseconds,
//! places in metres, `attacker` 1 for a lie. Out: [`Heard`], in the order of reception over all files.
//!
//! Read as it comes: one object of each file is in memory at a time, of [`OBJECT_LEN_MAX`] bytes at most. What
//! cannot be read is an error with file, line and what was expected. Fields that the checks do not use are not
//! looked at; the noise and the distance to the road's edge, which only the simulator knows, are among them.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use milepost_rsu::plausibility::Claim;
use serde::Deserialize;

/// The longest object, in bytes; a reception has about 700.
const OBJECT_LEN_MAX: usize = 65_536;
const NS_PER_MS: u64 = 1_000_000;

/// A reception, and whether it is a lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heard {
    /// What was said.
    pub claim: Claim,
    /// The sender's number for the message.
    pub message: u64,
    /// The label. No check sees it.
    pub lies: bool,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file is not there, or breaks off.
    #[error("{}: {cause}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// It holds something else.
    #[error("{}:{line}: {what}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// In which line, from 1.
        line: usize,
        /// What is wrong, or was expected.
        what: String,
    },
}

/// Several receivers' logs, merged.
pub struct Log {
    files: Vec<Receiver>,
    bytes: u64,
}

/// One file, and what comes next in it.
struct Receiver {
    objects: Objects<BufReader<File>>,
    next: Option<(u64, Heard)>,
}

impl Log {
    /// Opens the files and reads the first reception of each.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub fn open(paths: &[PathBuf]) -> Result<Self, LogError> {
        let mut log = Self {
            files: Vec::with_capacity(paths.len()),
            bytes: 0,
        };
        for path in paths {
            let io = |cause| LogError::Io {
                path: path.clone(),
                cause,
            };
            let file = File::open(path).map_err(io)?;
            log.bytes += file.metadata().map_err(io)?.len();
            let mut receiver = Receiver {
                objects: Objects::new(path, BufReader::new(file)),
                next: None,
            };
            receiver.advance()?;
            log.files.push(receiver);
        }
        Ok(log)
    }

    /// The next reception, the earliest of all files; of two at one time, that of the file named first.
    ///
    /// # Errors
    ///
    /// [`LogError`]: what follows it in its file cannot be read.
    pub fn read(&mut self) -> Result<Option<Heard>, LogError> {
        let earliest = self
            .files
            .iter_mut()
            .filter(|file| file.next.is_some())
            .min_by_key(|file| file.next.map(|(at_ns, _)| at_ns));
        let Some(file) = earliest else {
            return Ok(None);
        };
        let heard = file.next.map(|(_, heard)| heard);
        file.advance()?;
        Ok(heard)
    }

    /// How much of the files is read, 0 to 1.
    pub fn share_read(&self) -> f64 {
        let read: u64 = self.files.iter().map(|file| file.objects.read).sum();
        read as f64 / self.bytes.max(1) as f64
    }
}

impl Receiver {
    fn advance(&mut self) -> Result<(), LogError> {
        self.next = match self.objects.next()? {
            Some(object) => Some(parse(&object).map_err(|what| self.objects.malformed(what))?),
            None => None,
        };
        Ok(())
    }
}

/// Splits an array of objects, or one object a line, without reading what is in them.
struct Objects<R> {
    path: PathBuf,
    input: R,
    /// Bytes taken.
    read: u64,
    /// The line of the byte that was taken last.
    line: usize,
    /// The line in which the last object began.
    object_line: usize,
    /// Whether the array was opened, and closed.
    opened: bool,
    closed: bool,
    /// Whether a comma stands between what was read and what comes.
    comma: bool,
    any: bool,
}

impl<R: BufRead> Objects<R> {
    fn new(path: &Path, input: R) -> Self {
        Self {
            path: path.to_owned(),
            input,
            read: 0,
            line: 1,
            object_line: 1,
            opened: false,
            closed: false,
            comma: false,
            any: false,
        }
    }

    /// The next object's bytes.
    fn next(&mut self) -> Result<Option<Vec<u8>>, LogError> {
        loop {
            let Some(byte) = self.take()? else {
                return if self.opened && !self.closed {
                    self.object_line = self.line;
                    Err(self.malformed("the file ends within the array: expected ']'".into()))
                } else {
                    Ok(None)
                };
            };
            self.object_line = self.line;
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'[' if !self.opened && !self.any => self.opened = true,
                b']' if self.opened && !self.closed && !self.comma => self.closed = true,
                b',' if self.opened && !self.closed && self.any && !self.comma => self.comma = true,
                b'{' if !self.closed && (!self.opened || self.comma || !self.any) => {
                    self.comma = false;
                    self.any = true;
                    return self.object().map(Some);
                }
                other => {
                    let found = char::from(other).escape_default();
                    return Err(self.malformed(format!(
                        "expected an array of receptions, or one a line, and found '{found}'"
                    )));
                }
            }
        }
    }

    /// What follows the brace that was taken, up to the one that closes it.
    fn object(&mut self) -> Result<Vec<u8>, LogError> {
        let mut object = vec![b'{'];
        let mut depth = 1;
        let (mut in_string, mut escaped) = (false, false);
        while depth > 0 {
            let Some(byte) = self.take()? else {
                return Err(self.malformed("the file ends within an object: expected '}'".into()));
            };
            if object.len() >= OBJECT_LEN_MAX {
                return Err(self.malformed(format!("an object of more than {OBJECT_LEN_MAX} bytes")));
            }
            object.push(byte);
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                b'{' if !in_string => depth += 1,
                b'}' if !in_string => depth -= 1,
                _ => {}
            }
        }
        Ok(object)
    }

    fn take(&mut self) -> Result<Option<u8>, LogError> {
        let buffer = self.input.fill_buf().map_err(|cause| LogError::Io {
            path: self.path.clone(),
            cause,
        })?;
        let Some(byte) = buffer.first().copied() else {
            return Ok(None);
        };
        self.input.consume(1);
        self.read += 1;
        self.line += usize::from(byte == b'\n');
        Ok(Some(byte))
    }

    fn malformed(&self, what: String) -> LogError {
        LogError::Malformed {
            path: self.path.clone(),
            line: self.object_line,
            what,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reception {
    rcv_time: u64,
    send_time: u64,
    #[serde(rename = "sender_alias")]
    pseudonym: u64,
    #[serde(rename = "messageID")]
    message: u64,
    attacker: u8,
    receiver: Receiving,
    sender: Sending,
}

#[derive(Deserialize)]
struct Receiving {
    pos: String,
}

#[derive(Deserialize)]
struct Sending {
    pos: String,
    spd: f64,
    acl: Option<f64>,
    hed: f64,
}

/// A reception and its time, or what is wrong with it.
fn parse(object: &[u8]) -> Result<(u64, Heard), String> {
    // The position within the object is of no use to anybody who looks at the file.
    let reception: Reception = serde_json::from_slice(object).map_err(|error| {
        let what = error.to_string();
        what.split(" at line ").next().unwrap_or_default().to_owned()
    })?;
    if reception.attacker > 1 {
        return Err(format!("attacker is {}, expected 0 or 1", reception.attacker));
    }
    let (x_m, y_m) = place("sender.pos", &reception.sender.pos)?;
    let heard = Heard {
        claim: Claim {
            vehicle: reception.pseudonym,
            at_ms: reception.send_time / NS_PER_MS,
            heard_ms: Some(reception.rcv_time / NS_PER_MS),
            x_m,
            y_m,
            speed_m_per_s: reception.sender.spd,
            heading_degrees: reception.sender.hed,
            acceleration_m_per_s2: reception.sender.acl,
            receiver_m: Some(place("receiver.pos", &reception.receiver.pos)?),
        },
        message: reception.message,
        lies: reception.attacker == 1,
    };
    Ok((reception.rcv_time, heard))
}

/// East and north, of a text such as `6141.21,4369.76,0.0`.
fn place(field: &str, text: &str) -> Result<(f64, f64), String> {
    let expected = || format!("{field} is {text:?}, expected metres \"x,y,z\"");
    let mut parts = text.split(',').map(|part| part.trim().parse::<f64>());
    match (parts.next(), parts.next()) {
        (Some(Ok(x_m)), Some(Ok(y_m))) => Ok((x_m, y_m)),
        _ => Err(expected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn split(text: &[u8]) -> Result<Vec<Vec<u8>>, LogError> {
        let mut objects = Objects::new(Path::new("log.json"), text);
        let mut all = Vec::new();
        while let Some(object) = objects.next()? {
            all.push(object);
        }
        Ok(all)
    }

    fn reception() -> Value {
        json!({
            "rcvTime": 25_343_686_920_854u64, "sendTime": 25_343_686_769_982u64, "sender_id": "a:1",
            "sender_alias": 136, "messageID": 9489, "attacker": 1,
            "receiver": { "pos": "6141.21,4369.76,0.0", "spd": 0.0 },
            "sender": { "pos": "6230.5,4612.25,0.0", "spd": 5.5, "acl": -3.25, "hed": 196.0, "spd_noise": 0.1 },
        })
    }

    #[test]
    fn a_reception_is_read_in_our_units() {
        let (at_ns, heard) = parse(reception().to_string().as_bytes()).expect("a reception");
        assert_eq!(at_ns, 25_343_686_920_854);
        assert!(heard.lies);
        let claim = heard.claim;
        assert_eq!((claim.vehicle, heard.message), (136, 9489));
        assert_eq!((claim.at_ms, claim.heard_ms), (25_343_686, Some(25_343_686)));
        assert_eq!((claim.x_m, claim.y_m), (6230.5, 4612.25));
        assert_eq!((claim.speed_m_per_s, claim.heading_degrees), (5.5, 196.0));
        assert_eq!(claim.acceleration_m_per_s2, Some(-3.25));
        assert_eq!(claim.receiver_m, Some((6141.21, 4369.76)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let with = |field: &str, value: Value| {
            let mut reception = reception();
            *reception.pointer_mut(field).expect("there") = value;
            parse(reception.to_string().as_bytes()).expect_err("not a reception")
        };
        assert_eq!(
            with("/sender/pos", json!("1.0;2.0")),
            "sender.pos is \"1.0;2.0\", expected metres \"x,y,z\""
        );
        assert_eq!(with("/attacker", json!(2)), "attacker is 2, expected 0 or 1");
        assert_eq!(
            with("/rcvTime", json!("soon")),
            "invalid type: string \"soon\", expected u64"
        );
        let mut unlabelled = reception();
        unlabelled.as_object_mut().expect("an object").remove("attacker");
        assert_eq!(
            parse(unlabelled.to_string().as_bytes()).expect_err("no label"),
            "missing field `attacker`"
        );
    }

    #[test]
    fn errors_name_the_line() {
        for (text, line) in [
            (&b"[\n{},\n{}\n"[..], 4),
            (b"[{},\n\n{\"a\": \"", 3),
            (b"[\n{}\n{}]", 3),
            (b"{}\n\nnull", 3),
            (b"[1]", 1),
            (b"[{},]", 1),
            (b"[]\n[]", 2),
        ] {
            match split(text) {
                Err(LogError::Malformed { line: found, .. }) => assert_eq!(found, line, "{text:?}"),
                other => panic!("{text:?} gave {other:?}"),
            }
        }
    }

    #[test]
    fn an_object_without_an_end_fills_no_memory() {
        let endless = [b"[{\"a\": \"".to_vec(), vec![b'x'; 2 * OBJECT_LEN_MAX]].concat();
        assert!(split(&endless).is_err());
    }

    fn objects() -> impl Strategy<Value = Vec<Value>> {
        let text = "[a-z{}\\[\\],\"\\\\\n]{0,8}";
        let object = proptest::collection::btree_map(text, text, 0..4);
        let nested = proptest::collection::btree_map(text, object, 0..4);
        proptest::collection::vec(nested.prop_map(|object| json!(object)), 0..6)
    }

    proptest! {
        #[test]
        fn an_array_and_lines_split_into_their_objects(objects in objects(), pretty: bool) {
            let array = if pretty {
                serde_json::to_string_pretty(&objects)
            } else {
                serde_json::to_string(&objects)
            };
            let lines: String = objects.iter().map(|object| format!("{object}\n")).collect();
            for text in [array.expect("JSON"), lines] {
                let split: Vec<Value> = split(text.as_bytes())
                    .expect("objects")
                    .iter()
                    .map(|object| serde_json::from_slice(object).expect("JSON"))
                    .collect();
                prop_assert_eq!(&split, &objects);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(objects) = split(&bytes) {
                for object in objects {
                    let _ = parse(&object);
                }
            }
        }

        #[test]
        fn no_damage_to_a_reception_makes_it_panic(at: prop::sample::Index, byte: u8) {
            let mut bytes = format!("[{}]", reception()).into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(objects) = split(&bytes) {
                for object in objects {
                    let _ = parse(&object);
                }
            }
        }
    }
}
