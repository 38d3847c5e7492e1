//! The side of PAI-DLC's server.

use std::io::Write as _;

use super::{STDIN, STDOUT};
use crate::frames::Frames;
use crate::json::Unescaper;
use crate::object::{Extra, Object, known_frame};
use crate::utf8::Joiner;
use crate::{BadMessage, Kind, Message, Outbox, Size, UpstreamDialect, UpstreamEvent};

/// The longest message that is sent to the server, in bytes. Servers of this dialect read at most 8192 and cut the
/// connection above that; a little is left for whoever counts differently.
pub const MAX_MESSAGE: usize = 8000;

/// The upstream face of `operation`, as PAI-DLC's container terminals speak it.
///
/// Sends `stdin` and `resize` and nothing else: servers of this family end the session at an operation that they do
/// not know. Input is text, so characters cut between two calls are joined, and what is no UTF-8 becomes U+FFFD
/// ([`Joiner`]); at most [`Joiner::MAX_CARRIED`] bytes wait for the next call.
///
/// Reads `stdout` and, since some servers keep it apart, `stderr`. Other operations are ignored, like other fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct PaiDlc {
    input: Joiner,
    output: Unescaper,
    ignored_fields: u64,
}

impl PaiDlc {
    /// A codec for one connection.
    #[must_use]
    pub const fn new() -> Self {
        Self { input: Joiner::new(), output: Unescaper::new(), ignored_fields: 0 }
    }
}

impl UpstreamDialect for PaiDlc {
    fn decode(&mut self, message: Message<'_>, output: &mut Vec<u8>) -> Result<UpstreamEvent, BadMessage> {
        if message.kind == Kind::Binary {
            return Err(BadMessage { reason: "this dialect has no binary messages" });
        }
        if known_frame(STDOUT, Extra::RowsAndCols, message.payload, &mut self.output, output) {
            return Ok(UpstreamEvent::Output);
        }
        let text = message.as_str()?;
        let object = Object::parse(text)?;
        match object.operation()?.as_deref() {
            Some("stdout" | "stderr") => object.data(&mut self.output, output)?,
            _ => return Ok(UpstreamEvent::Ignored),
        }
        self.ignored_fields += object.unknown();
        Ok(UpstreamEvent::Output)
    }

    fn input(&mut self, bytes: &[u8], out: &mut Outbox) {
        let mut frames = Frames::new(STDIN, MAX_MESSAGE, out);
        self.input.push(bytes, |text| frames.push(text));
        frames.end();
    }

    fn resize(&mut self, size: Size, out: &mut Outbox) -> bool {
        let (cols, rows) = (size.cols(), size.rows());
        out.message(Kind::Text, |payload| {
            // Writing to a vector cannot fail.
            let _ = write!(payload, r#"{{"operation":"resize","cols":{cols},"rows":{rows}}}"#);
        });
        true
    }

    fn eof(&mut self, _out: &mut Outbox) -> bool {
        false
    }

    fn ignored_fields(&self) -> u64 {
        self.ignored_fields
    }
}
