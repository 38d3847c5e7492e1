//! The writing hand of one recording: turns what was queued into lines, and lines into parts. All of it blocks.

use std::sync::Arc;

use polytty_dialect::Size;
use polytty_dialect::utf8::Joiner;

use super::Failure;
use super::cast::{Code, Encoder, Format, Header, Origin};
use super::queue::{Batch, SPARE, What};
use super::shelf::{Part, Shelf};
use crate::session::SessionId;

/// Lines that are collected for one write, in bytes; the last one may go beyond it.
const WRITE: usize = 64 << 10;

/// The most that becomes one event, in bytes of the terminal; less where parts are small.
const EVENT: usize = 16 << 10;

/// So many events have room in a part at least, unless every character of them has to be escaped.
const EVENTS: u64 = 8;

/// What all parts of a recording have in common.
pub(super) struct Plan {
    pub(super) id: SessionId,
    /// The provider's name.
    pub(super) provider: String,
    pub(super) format: Format,
    /// When it began, in microseconds since 1970.
    pub(super) began: u64,
    /// A part takes so many bytes, or a single event.
    pub(super) part_size: u64,
    /// A part takes no more events after so many microseconds.
    pub(super) part_age: u64,
}

/// Writes one recording.
pub(super) struct Pen {
    plan: Plan,
    shelf: Arc<Shelf>,
    current: Option<Current>,
    number: u32,
    size: Size,
    output: Joiner,
    input: Joiner,
    lines: Vec<u8>,
    text: String,
}

struct Current {
    part: Part,
    encoder: Encoder,
    /// Microseconds from the beginning of the recording to that of the part.
    begins: u64,
    /// Whether there are events in it.
    has_events: bool,
}

impl Pen {
    pub(super) fn new(plan: Plan, shelf: Arc<Shelf>, size: Size) -> Self {
        Self {
            plan,
            shelf,
            current: None,
            number: 0,
            size,
            output: Joiner::new(),
            input: Joiner::new(),
            lines: Vec::new(),
            text: String::new(),
        }
    }

    /// Makes the first part, with its header.
    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        self.turn_page(0)?;
        self.flush()
    }

    /// Writes what was queued, so that it is with the operating system when this returns.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        let mut bytes = &batch.bytes[..];
        for entry in &batch.entries {
            let at = entry.at;
            match &entry.what {
                What::Output(len) => self.terminal(at, &Code::Output, take(&mut bytes, *len))?,
                What::Input(len) => self.terminal(at, &Code::Input, take(&mut bytes, *len))?,
                What::Resize(size) => {
                    self.event(at, &Code::Resize, &format!("{}x{}", size.cols(), size.rows()))?;
                    self.size = *size;
                }
                What::Gap(gap) => {
                    self.finish_text(at)?;
                    self.event(at, &Code::Marker, &gap.label())?;
                }
                What::End(end) => {
                    self.finish_text(at)?;
                    match end.status {
                        Some(status) => self.event(at, &Code::Exit, &status.to_string())?,
                        None => self.event(at, &Code::Marker, &end.words)?,
                    }
                }
            }
        }
        self.flush()?;
        self.lines.shrink_to(SPARE);
        self.text.shrink_to(SPARE);
        Ok(())
    }

    /// Bytes of a terminal, in events of bounded length. A character that is not complete waits for its rest.
    fn terminal(&mut self, at: u64, code: &Code, bytes: &[u8]) -> Result<(), Failure> {
        let most = usize::try_from(self.plan.part_size / EVENTS).unwrap_or(EVENT).clamp(1, EVENT);
        for piece in bytes.chunks(most) {
            let mut text = std::mem::take(&mut self.text);
            let joiner = if *code == Code::Input { &mut self.input } else { &mut self.output };
            joiner.push(piece, |piece| text.push_str(piece));
            let written = if text.is_empty() { Ok(()) } else { self.event(at, code, &text) };
            text.clear();
            self.text = text;
            written?;
        }
        Ok(())
    }

    /// What is incomplete by now stays so.
    fn finish_text(&mut self, at: u64) -> Result<(), Failure> {
        let (mut input, mut output) = (String::new(), String::new());
        self.input.finish(|text| input.push_str(text));
        self.output.finish(|text| output.push_str(text));
        for (code, text) in [(Code::Input, input), (Code::Output, output)] {
            if !text.is_empty() {
                self.event(at, &code, &text)?;
            }
        }
        Ok(())
    }

    fn event(&mut self, at: u64, code: &Code, data: &str) -> Result<(), Failure> {
        let too_old = |current: &Current| at.saturating_sub(current.begins) >= self.plan.part_age;
        if self.current.as_ref().is_none_or(|current| current.has_events && too_old(current)) {
            self.turn_page(at)?;
        }
        let before = self.lines.len();
        if !self.encode(at, code, data) {
            self.lines.truncate(before);
            self.turn_page(at)?;
            self.encode(at, code, data);
        }
        if self.lines.len() >= WRITE { self.flush() } else { Ok(()) }
    }

    /// Adds an event to the lines. Whether it may stand in this part.
    fn encode(&mut self, at: u64, code: &Code, data: &str) -> bool {
        let Some(current) = &mut self.current else { return false };
        current.encoder.event(at.saturating_sub(current.begins), code, data, &mut self.lines);
        let is_first = !std::mem::replace(&mut current.has_events, true);
        is_first || current.part.len() + self.lines.len() as u64 <= self.plan.part_size
    }

    /// Begins the next part.
    fn turn_page(&mut self, at: u64) -> Result<(), Failure> {
        self.flush()?;
        self.number += 1;
        let part = self.shelf.create(self.plan.id, self.number)?;
        let header = Header {
            cols: self.size.cols(),
            rows: self.size.rows(),
            timestamp: Some((self.plan.began + at) / 1_000_000),
            idle_limit: None,
            origin: Some(Origin {
                session: self.plan.id.to_string(),
                provider: self.plan.provider.clone(),
                part: self.number,
                offset_us: at,
            }),
        };
        let encoder = Encoder::start(self.plan.format, &header, &mut self.lines);
        self.current = Some(Current { part, encoder, begins: at, has_events: false });
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let Some(current) = self.current.as_mut().filter(|_| !self.lines.is_empty()) else { return Ok(()) };
        let written = self.shelf.append(&mut current.part, &self.lines);
        self.lines.clear();
        written
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        self.shelf.release(self.plan.id);
    }
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(len.min(bytes.len()));
    *bytes = rest;
    taken
}
