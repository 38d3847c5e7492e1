//! Writing a cast.

use std::io::Write as _;

use polytty_dialect::json::escape;
use serde::Serialize;

use super::{Code, Format, Header, Origin, exit_label};

/// Writes events, one line each.
#[derive(Debug)]
pub struct Encoder {
    format: Format,
    /// The time of the last event, in microseconds.
    last: u64,
}

#[derive(Serialize)]
struct First<'a> {
    version: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    term: Option<Term>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_time_limit: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    polytty: Option<&'a Origin>,
}

#[derive(Serialize)]
struct Term {
    cols: u16,
    rows: u16,
}

impl Encoder {
    /// Appends the header.
    pub fn start(format: Format, header: &Header, out: &mut Vec<u8>) -> Self {
        let Header { cols, rows, timestamp, idle_limit, origin } = header;
        let (version, size, term) = match format {
            Format::V2 => (2, Some((*cols, *rows)), None),
            Format::V3 => (3, None, Some(Term { cols: *cols, rows: *rows })),
        };
        let first = First {
            version,
            width: size.map(|(cols, _)| cols),
            height: size.map(|(_, rows)| rows),
            term,
            timestamp: *timestamp,
            idle_time_limit: idle_limit.map(|limit| limit.as_secs_f64()),
            polytty: origin.as_ref(),
        };
        // Numbers and strings always become JSON, and memory takes what is written to it.
        let _ = serde_json::to_writer(&mut *out, &first);
        out.push(b'\n');
        Self { format, last: 0 }
    }

    /// Appends an event at a time in microseconds since the beginning; one before the last event counts as with it.
    pub fn event(&mut self, at: u64, code: &Code, data: &str, out: &mut Vec<u8>) {
        if *code == Code::Exit && self.format == Format::V2 {
            return self.event(at, &Code::Marker, &exit_label(data), out);
        }
        let at = at.max(self.last);
        let time = match self.format {
            Format::V2 => at,
            Format::V3 => at - self.last,
        };
        self.last = at;
        let _ = write!(out, "[{}.{:06}, \"", time / 1_000_000, time % 1_000_000);
        escape(code.as_str(), out);
        out.extend_from_slice(b"\", \"");
        escape(data, out);
        out.extend_from_slice(b"\"]\n");
    }
}
