//! Reading a cast.

use std::borrow::Cow;
use std::io::{self, BufRead, Read as _};
use std::time::Duration;

use serde::Deserialize;

use super::{Code, Event, Format, Header, MAX_LINE, Origin, exit_of_label};

/// The longest time that is read, in seconds: a century.
const MAX_SECONDS: f64 = 3.2e9;

const AN_EVENT: &str = r#"expected an event such as [1.5, "o", "text"]"#;
const A_HEADER: &str =
    r#"expected the header of an asciicast, such as {"version": 3, "term": {"cols": 80, "rows": 24}}"#;

/// Why a cast cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// There is nothing, or not all of the first line: its writer was ended before that.
    #[error("line 1: {A_HEADER}, found a file that ends before")]
    Unfinished,
    /// It is no asciicast here.
    #[error("line {line}: {why}")]
    Bad {
        /// The line, from 1.
        line: u64,
        /// What is wrong, and what would be right.
        why: String,
    },
}

/// Reads events, one line each. Of a file whose writer was killed, the unfinished last line is left out.
#[derive(Debug)]
pub struct Decoder<R> {
    input: R,
    format: Format,
    header: Header,
    line: u64,
    buffer: Vec<u8>,
    last: u64,
}

#[derive(Deserialize)]
struct First {
    version: u64,
    width: Option<u64>,
    height: Option<u64>,
    term: Option<Term>,
    timestamp: Option<f64>,
    idle_time_limit: Option<f64>,
    #[serde(default, deserialize_with = "ours")]
    polytty: Option<Origin>,
}

#[derive(Deserialize)]
struct Term {
    cols: u64,
    rows: u64,
}

/// Ours where it has our form; whatever else somebody put there means nothing.
fn ours<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Origin>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

impl<R: BufRead> Decoder<R> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn open(input: R) -> Result<Self, ReadError> {
        let header = Header { cols: 0, rows: 0, timestamp: None, idle_limit: None, origin: None };
        let mut decoder = Self { input, format: Format::V3, header, line: 0, buffer: Vec::new(), last: 0 };
        decoder.read_line()?;
        let text = std::str::from_utf8(&decoder.buffer).unwrap_or("?");
        let is_whole = text.ends_with('\n');
        if !text.trim_start().starts_with('{') {
            return Err(if text.is_empty() { ReadError::Unfinished } else { decoder.bad(A_HEADER) });
        }
        let first: First = match serde_json::from_str(text) {
            Ok(first) => first,
            Err(error) if error.is_eof() && !is_whole => return Err(ReadError::Unfinished),
            Err(error) => return Err(decoder.bad(&format!("{A_HEADER}: {error}"))),
        };
        (decoder.format, decoder.header) = header_of(first).map_err(|why| decoder.bad(&why))?;
        Ok(decoder)
    }

    /// The version.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next event; `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; a line in the middle that is no event.
    pub fn next_event(&mut self) -> Result<Option<Event>, ReadError> {
        loop {
            if !self.read_line()? {
                return Ok(None);
            }
            let is_whole = self.buffer.ends_with(b"\n");
            let line = self.buffer.trim_ascii();
            if line.is_empty() || (self.format == Format::V3 && line.starts_with(b"#")) {
                continue;
            }
            let (time, code, data): (f64, Cow<'_, str>, String) = match serde_json::from_slice(line) {
                Ok(event) => event,
                // Whoever wrote it was ended in the middle.
                Err(_) if !is_whole => return Ok(None),
                Err(error) => return Err(self.bad(&format!("{AN_EVENT}: {error}"))),
            };
            if !(0.0..=MAX_SECONDS).contains(&time) {
                return Err(self.bad(&format!("{AN_EVENT}, with seconds from 0")));
            }
            // Within the range, and meant to be whole.
            let time = (time * 1e6).round() as u64;
            let at = match self.format {
                Format::V2 => time.max(self.last),
                Format::V3 => self.last.saturating_add(time),
            };
            self.last = at;
            let code = Code::from(&*code);
            let status = match self.format {
                Format::V2 if code == Code::Marker && self.header.origin.is_some() => exit_of_label(&data),
                _ => None,
            };
            return Ok(Some(match status {
                Some(status) => Event { at, code: Code::Exit, data: status.to_owned() },
                None => Event { at, code, data },
            }));
        }
    }

    /// Reads the next line into the buffer; `false` at the end of the file.
    fn read_line(&mut self) -> Result<bool, ReadError> {
        self.buffer.clear();
        let read = (&mut self.input).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut self.buffer)?;
        self.line += u64::from(read > 0);
        if self.buffer.len() > MAX_LINE {
            return Err(self.bad(&format!("expected a line of at most {MAX_LINE} bytes")));
        }
        Ok(read > 0)
    }

    fn bad(&self, why: &str) -> ReadError {
        ReadError::Bad { line: self.line, why: why.to_owned() }
    }
}

fn header_of(first: First) -> Result<(Format, Header), String> {
    let (format, cols, rows) = match (first.version, first.width, first.height, first.term) {
        (2, Some(width), Some(height), _) => (Format::V2, width, height),
        (2, ..) => return Err("expected width and height in the header of version 2".to_owned()),
        (3, _, _, Some(Term { cols, rows })) => (Format::V3, cols, rows),
        (3, ..) => return Err(r#"expected "term": {"cols": …, "rows": …} in the header of version 3"#.to_owned()),
        (version, ..) => {
            return Err(format!("expected asciicast version 2 or 3, found version {version}"));
        }
    };
    let cells = |count: u64| u16::try_from(count).ok().filter(|count| *count > 0);
    let (Some(cols), Some(rows)) = (cells(cols), cells(rows)) else {
        return Err(format!("expected columns and rows from 1 to 65535, found {cols} and {rows}"));
    };
    let seconds = |value: f64| (0.0..=MAX_SECONDS).contains(&value).then_some(value);
    let header = Header {
        cols,
        rows,
        // Some write fractions of a second.
        timestamp: first.timestamp.and_then(|at| (0.0..=1e15).contains(&at).then_some(at as u64)),
        idle_limit: first.idle_time_limit.and_then(seconds).filter(|limit| *limit > 0.0).map(Duration::from_secs_f64),
        origin: first.polytty,
    };
    Ok((format, header))
}
