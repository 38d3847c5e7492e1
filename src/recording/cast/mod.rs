//! asciicast, the file format of recorded terminals, versions 2 and 3.
//!
//! A file is one JSON object (the header) and one JSON array a line (the events): `[time, code, data]`. What the two
//! versions have in common and where they differ follows the asciinema manual, "asciicast v2" and "asciicast v3"
//! (sections "Header" and "Event stream" of each):
//!
//! | | v2 | v3 |
//! |---|---|---|
//! | size | `width`, `height` | `term.cols`, `term.rows` |
//! | time of an event, seconds | since the beginning | since the event before |
//! | exit status | no event; here a marker `exit N` | event `x` |
//! | comments | none | lines that begin with `#` |
//!
//! Times are microseconds here. Attributes of the header that a reader does not know are ignored by it, so polytty
//! adds one of its own, `polytty`, which says of which session a file is a part, and where in it the part begins.

mod decode;
mod encode;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use decode::{Decoder, ReadError};
pub use encode::Encoder;

/// The longest line that is read, in bytes. What polytty writes stays below a tenth of it.
pub const MAX_LINE: usize = 4 << 20;

/// The media type (asciinema manual, "asciicast v2", "Media type").
pub const MEDIA_TYPE: &str = "application/x-asciicast";

/// The versions of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Times count from the beginning; every player knows it.
    V2,
    /// Times count from the event before, and there is an event for the exit status.
    V3,
}

/// What stands in the first line, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Columns at the beginning.
    pub cols: u16,
    /// Rows at the beginning.
    pub rows: u16,
    /// When it began, in seconds since 1970.
    pub timestamp: Option<u64>,
    /// The longest pause that a player should keep.
    pub idle_limit: Option<Duration>,
    /// Where it comes from, when polytty wrote it.
    pub origin: Option<Origin>,
}

/// Of what a file is a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The session's id.
    pub session: String,
    /// The provider's name in the configuration.
    pub provider: String,
    /// Which part of the recording it is, from 1.
    pub part: u32,
    /// Microseconds from the beginning of the recording to that of this part.
    pub offset_us: u64,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Microseconds since the beginning of the file.
    pub at: u64,
    /// What it is.
    pub code: Code,
    /// What belongs to it: text, `COLSxROWS`, a label, a status.
    pub data: String,
}

/// What an event is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// `o`: output of the terminal.
    Output,
    /// `i`: input.
    Input,
    /// `r`: a new size, `COLSxROWS`.
    Resize,
    /// `m`: a marker with its label.
    Marker,
    /// `x`: the exit status, in v3 only.
    Exit,
    /// Anything else, which players ignore.
    Other(String),
}

impl Code {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Output => "o",
            Self::Input => "i",
            Self::Resize => "r",
            Self::Marker => "m",
            Self::Exit => "x",
            Self::Other(other) => other,
        }
    }
}

impl From<&str> for Code {
    fn from(code: &str) -> Self {
        match code {
            "o" => Self::Output,
            "i" => Self::Input,
            "r" => Self::Resize,
            "m" => Self::Marker,
            "x" => Self::Exit,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// The label by which a v2 file says what `x` says in v3.
fn exit_label(status: &str) -> String {
    format!("exit {status}")
}

/// The status of such a label.
fn exit_of_label(label: &str) -> Option<&str> {
    label.strip_prefix("exit ").filter(|status| status.parse::<i32>().is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        let origin = Origin { session: "0f".repeat(16), provider: "pai".to_owned(), part: 3, offset_us: 61_000_001 };
        Header { cols: 120, rows: 40, timestamp: Some(1_700_000_000), idle_limit: None, origin: Some(origin) }
    }

    fn written(format: Format, events: &[Event]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = Encoder::start(format, &header(), &mut out);
        for event in events {
            encoder.event(event.at, &event.code, &event.data, &mut out);
        }
        out
    }

    fn event(at: u64, code: Code, data: &str) -> Event {
        Event { at, code, data: data.to_owned() }
    }

    fn story() -> Vec<Event> {
        vec![
            event(0, Code::Output, "$ "),
            event(1_500_000, Code::Input, "\u{3}"),
            event(1_500_001, Code::Resize, "90x30"),
            event(62_000_000, Code::Marker, "lunch"),
            event(62_000_000, Code::Output, "\u{1b}[1m\"ü\\\u{7f}\u{1f600}\r\n"),
            event(62_100_000, Code::Exit, "7"),
        ]
    }

    #[test]
    fn both_versions_are_written_as_the_manual_shows_them() {
        let v2 = String::from_utf8(written(Format::V2, &story())).unwrap();
        let mut lines = v2.lines();
        let first: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!((&first["version"], &first["width"], &first["height"]), (&2.into(), &120.into(), &40.into()));
        assert_eq!(first["timestamp"], 1_700_000_000);
        let rest: Vec<_> = lines.collect();
        assert_eq!(rest[0], r#"[0.000000, "o", "$ "]"#);
        assert_eq!(rest[1], r#"[1.500000, "i", "\u0003"]"#);
        assert_eq!(rest[2], r#"[1.500001, "r", "90x30"]"#);
        assert_eq!(rest[4], "[62.000000, \"o\", \"\\u001b[1m\\\"ü\\\\\u{7f}😀\\r\\n\"]");
        assert_eq!(rest[5], r#"[62.100000, "m", "exit 7"]"#);
        let v3 = String::from_utf8(written(Format::V3, &story())).unwrap();
        let mut lines = v3.lines();
        let first: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!((&first["version"], &first["term"]), (&3.into(), &serde_json::json!({ "cols": 120, "rows": 40 })));
        let rest: Vec<_> = lines.collect();
        assert_eq!(rest[2], r#"[0.000001, "r", "90x30"]"#);
        assert_eq!(rest[3], r#"[60.499999, "m", "lunch"]"#);
        assert_eq!(rest[5], r#"[0.100000, "x", "7"]"#);
    }

    #[test]
    fn what_is_written_reads_back_in_both_versions() {
        for format in [Format::V2, Format::V3] {
            let file = written(format, &story());
            let mut decoder = Decoder::open(&file[..]).unwrap();
            assert_eq!((decoder.format(), decoder.header()), (format, &header()));
            let mut events = Vec::new();
            while let Some(event) = decoder.next_event().unwrap() {
                events.push(event);
            }
            assert_eq!(events, story(), "{format:?}");
        }
    }

    #[test]
    fn a_file_that_was_cut_anywhere_gives_all_its_whole_lines() {
        for format in [Format::V2, Format::V3] {
            let file = written(format, &story());
            for cut in 0..file.len() {
                let cut_file = &file[..cut];
                let whole = cut_file.iter().filter(|byte| **byte == b'\n').count();
                // The last line may be whole but for its end.
                let may_be_whole = file[cut] == b'\n';
                let mut decoder = match Decoder::open(cut_file) {
                    Ok(decoder) => decoder,
                    Err(error) => {
                        assert_eq!((whole, may_be_whole), (0, false), "{error}");
                        continue;
                    }
                };
                let mut events = 0;
                while decoder.next_event().unwrap().is_some() {
                    events += 1;
                }
                assert_eq!(events + 1, whole + usize::from(may_be_whole), "{cut}");
            }
        }
    }

    #[test]
    fn a_mistake_names_its_line_and_what_would_be_right() {
        let head = r#"{"version": 3, "term": {"cols": 80, "rows": 24}}"#;
        for (file, line, says) in [
            ("hello\n", 1, "header"),
            ("[]\n", 1, "header"),
            ("{\"version\": 1, \"width\": 80, \"height\": 24, \"stdout\": []}\n", 1, "version 1"),
            ("{\"version\": 2, \"width\": 80}\n", 1, "height"),
            ("{\"version\": 2, \"width\": 0, \"height\": 1}\n", 1, "from 1"),
            ("{\"version\": 3, \"width\": 80, \"height\": 24}\n", 1, "term"),
            (&format!("{head}\n# fine\n\n[1.0, \"o\"]\n"), 4, "[1.5, \"o\", \"text\"]"),
            (&format!("{head}\n[1.0, \"o\", \"x\"]\n[\"1\", \"o\", \"x\"]\n"), 3, "[1.5, \"o\", \"text\"]"),
            (&format!("{head}\n[-1.0, \"o\", \"x\"]\n"), 2, "seconds"),
            (&format!("{head}\n[1e300, \"o\", \"x\"]\n"), 2, "seconds"),
            (&format!("{head}\n[1.0, \"o\", \"{}\"]\n", "x".repeat(MAX_LINE)), 2, "bytes"),
        ] {
            let read = || -> Result<(), ReadError> {
                let mut decoder = Decoder::open(file.as_bytes())?;
                while decoder.next_event()?.is_some() {}
                Ok(())
            };
            match read() {
                Err(ReadError::Bad { line: at, why }) => {
                    assert_eq!(at, line, "{why}");
                    assert!(why.contains(says), "{says:?} in {why}");
                }
                other => panic!("{other:?} for {file:.60}"),
            }
        }
    }

    #[test]
    fn a_file_that_was_not_even_begun_is_told_apart() {
        for file in ["", "{", r#"{"version": 3, "term""#] {
            let error = Decoder::open(file.as_bytes()).unwrap_err();
            assert!(matches!(error, ReadError::Unfinished), "{error}");
            assert!(error.to_string().starts_with("line 1: expected the header"), "{error}");
        }
    }

    #[test]
    fn what_others_add_is_passed_over_or_passed_on() {
        let file = "{\"version\":3,\"term\":{\"cols\":80,\"rows\":24,\"type\":\"xterm\"},\"idle_time_limit\":2.5,\
                    \"env\":{\"A\":\"b\"},\"polytty\":5}\r\n# a comment\n[1,\"o\",\"a\"]\n[0.5,\"zz\",\"b\"]\n";
        let mut decoder = Decoder::open(file.as_bytes()).unwrap();
        assert_eq!(decoder.header().idle_limit, Some(Duration::from_millis(2500)));
        assert_eq!(decoder.header().origin, None);
        assert_eq!(decoder.next_event().unwrap().unwrap(), event(1_000_000, Code::Output, "a"));
        assert_eq!(decoder.next_event().unwrap().unwrap(), event(1_500_000, Code::Other("zz".to_owned()), "b"));
        assert_eq!(decoder.next_event().unwrap(), None);
    }

    proptest! {
        #[test]
        fn any_text_at_any_time_survives(
            events in prop::collection::vec((0_u64..1 << 40, "\\PC{0,20}|[\\x00-\\x20\"\\\\\\x7f]{0,20}"), 0..20),
            v2 in any::<bool>(),
        ) {
            let format = if v2 { Format::V2 } else { Format::V3 };
            let mut at = 0;
            let events: Vec<_> = events.into_iter().map(|(more, data)| {
                at += more >> 8;
                Event { at, code: Code::Output, data }
            }).collect();
            let file = written(format, &events);
            let mut decoder = Decoder::open(&file[..]).unwrap();
            for event in events {
                prop_assert_eq!(decoder.next_event().unwrap(), Some(event));
            }
            prop_assert_eq!(decoder.next_event().unwrap(), None);
        }
    }
}
