//! How does the text of a trace reach its parser?
//!
//! In: any byte stream, plain or gzipped (of several members, too), told apart by its first bytes and not by its
//! name. Out: buffered text that knows which line it is at, and that hands out no more than [`PIECE_LEN_MAX`]
//! bytes between two calls of [`Input::begin_piece`]. That bound is what keeps memory constant: the parsers
//! behind it would collect an endless attribute or an unclosed quote until memory ends.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use super::FcdError;
use crate::source::Place;

/// The longest element, comment or row that is read, in bytes.
pub(super) const PIECE_LEN_MAX: usize = 1 << 16;

/// Bytes read ahead, and the longest header that can be looked at before it is parsed.
const BUFFER_LEN: usize = 1 << 16;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const UTF8_BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

/// The text of a trace, inflated, buffered, counted and bounded.
pub(super) struct Input {
    file: Arc<str>,
    text: Box<dyn Read + Send>,
    gzip: bool,
    buffer: Box<[u8]>,
    /// What of `buffer` is filled and not yet consumed.
    start: usize,
    end: usize,
    ended: bool,
    /// Line of the next byte, counted from 1.
    line: u64,
    /// Where the current piece began, and how many bytes of it were consumed.
    piece_line: u64,
    piece_len: usize,
    /// A piece exceeded its bound: set once, when the error is handed to the parser.
    overlong: bool,
}

impl Input {
    /// Takes a byte stream and looks at its first two bytes.
    pub(super) fn new(mut bytes: impl Read + Send + 'static, file: Arc<str>) -> Result<Self, FcdError> {
        let mut magic = Vec::with_capacity(GZIP_MAGIC.len());
        if let Err(source) = bytes
            .by_ref()
            .take(GZIP_MAGIC.len() as u64)
            .read_to_end(&mut magic)
        {
            return Err(FcdError::Unreadable {
                at: Place { file, line: 0 },
                source,
            });
        }
        let gzip = magic == GZIP_MAGIC;
        let bytes = Cursor::new(magic).chain(bytes);
        let text: Box<dyn Read + Send> = match gzip {
            true => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER_LEN, bytes))),
            false => Box::new(bytes),
        };
        let mut input = Self {
            file,
            text,
            gzip,
            buffer: vec![0; BUFFER_LEN].into_boxed_slice(),
            start: 0,
            end: 0,
            ended: false,
            line: 1,
            piece_line: 1,
            piece_len: 0,
            overlong: false,
        };
        while input.end < UTF8_BOM.len() && !input.ended {
            input.read_more().map_err(|error| input.io_error(1, error))?;
        }
        if input.buffer[..input.end].starts_with(&UTF8_BOM) {
            input.start = UTF8_BOM.len();
        }
        Ok(input)
    }

    /// What comes next, without consuming it: up to the end of the first line that is not blank, or as much as
    /// the buffer holds.
    pub(super) fn head(&mut self) -> Result<&[u8], FcdError> {
        let mut seen = 0;
        let mut blank = true;
        loop {
            let unseen = &self.buffer[self.start + seen..self.end];
            for byte in unseen {
                match byte {
                    b'\n' if !blank => return Ok(&self.buffer[self.start..self.end]),
                    b' ' | b'\t' | b'\r' | b'\n' => {}
                    _ => blank = false,
                }
            }
            seen += unseen.len();
            if self.ended || self.end == self.buffer.len() {
                return Ok(&self.buffer[self.start..self.end]);
            }
            self.read_more().map_err(|error| self.io_error(1, error))?;
        }
    }

    /// The next byte begins a piece: an element, a text, a row.
    pub(super) fn begin_piece(&mut self) {
        self.piece_line = self.line;
        self.piece_len = 0;
    }

    /// Line where the current piece began.
    pub(super) fn piece_line(&self) -> u64 {
        self.piece_line
    }

    /// Line of the next byte.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Has everything been consumed?
    pub(super) fn is_at_end(&self) -> bool {
        self.ended && self.start == self.end
    }

    /// Bytes of the current piece consumed so far.
    pub(super) fn piece_len(&self) -> usize {
        self.piece_len
    }

    /// A place in this file; line 0 is the file as a whole.
    pub(super) fn place(&self, line: u64) -> Place {
        Place {
            file: Arc::clone(&self.file),
            line,
        }
    }

    /// What a failed read at `line` means: a piece too long, damaged gzip, or a medium that fails.
    pub(super) fn io_error(&self, line: u64, source: io::Error) -> FcdError {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        let at = self.place(line);
        if self.overlong {
            return FcdError::TooLong {
                at,
                what: "an element or row",
                len_max: PIECE_LEN_MAX,
            };
        }
        match source.kind() {
            InvalidData | InvalidInput | UnexpectedEof if self.gzip => FcdError::Gzip { at, source },
            _ => FcdError::Unreadable { at, source },
        }
    }

    /// Reads once more behind what is buffered.
    fn read_more(&mut self) -> io::Result<()> {
        loop {
            match self.text.read(&mut self.buffer[self.end..]) {
                Ok(len) => {
                    self.ended = len == 0;
                    self.end += len;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.piece_len > PIECE_LEN_MAX {
            self.overlong = true;
            return Err(io::Error::other("piece too long"));
        }
        if self.start == self.end && !self.ended {
            (self.start, self.end) = (0, 0);
            self.read_more()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, len: usize) {
        let consumed = &self.buffer[self.start..self.start + len];
        self.line += newlines(consumed);
        self.piece_len += len;
        self.start += len;
    }
}

/// Counts newlines: up to 255 at a time, because sums of single bytes run eight times as fast.
fn newlines(text: &[u8]) -> u64 {
    let count = |part: &[u8]| {
        part.iter()
            .fold(0_u8, |sum, &byte| sum.wrapping_add(u8::from(byte == b'\n')))
    };
    text.chunks(255).map(|part| u64::from(count(part))).sum()
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = self.fill_buf()?.read(into)?;
        self.consume(len);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out one byte at a time, as a slow pipe might.
    struct Drip(Cursor<Vec<u8>>);

    impl Read for Drip {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let len = into.len().min(1);
            self.0.read(&mut into[..len])
        }
    }

    fn drip(text: &[u8]) -> Input {
        Input::new(Drip(Cursor::new(text.to_vec())), "t".into()).unwrap()
    }

    #[test]
    fn the_head_reaches_over_blank_lines_to_the_end_of_the_first_full_one() {
        assert_eq!(drip(b"\n \nfirst\nsecond\n").head().unwrap(), b"\n \nfirst\n");
        assert_eq!(drip(b"only").head().unwrap(), b"only");
        assert_eq!(drip(b"").head().unwrap(), b"");
        assert_eq!(drip(b"\xef\xbb\xbfa\n").head().unwrap(), b"a\n");
        assert_eq!(drip(b"\xef\xbb").head().unwrap(), b"\xef\xbb");
    }

    #[test]
    fn lines_are_counted_as_they_are_consumed() {
        let mut input = drip(b"a\nb\n\nc");
        let mut lines = Vec::new();
        while !input.fill_buf().unwrap().is_empty() {
            input.consume(1);
            lines.push(input.line());
        }
        assert_eq!(lines, [1, 2, 2, 3, 4, 4]);
        assert!(input.is_at_end());
    }

    #[test]
    fn an_endless_piece_is_refused_and_a_new_piece_starts_from_zero() {
        let mut input = Input::new(io::repeat(b'x'), "t".into()).unwrap();
        for _ in 0..10 {
            input.begin_piece();
            while input.piece_len() <= PIECE_LEN_MAX {
                let len = input.fill_buf().unwrap().len();
                input.consume(len);
            }
            let error = input.fill_buf().unwrap_err();
            assert!(matches!(input.io_error(1, error), FcdError::TooLong { .. }));
        }
    }
}
