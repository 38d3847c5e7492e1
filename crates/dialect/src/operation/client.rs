//! The side of the documented page.

use super::{STDIN, STDOUT};
use crate::frames::Frames;
use crate::json::Unescaper;
use crate::last_line::last_line;
use crate::object::{Extra, Object, Spelling, known_frame};
use crate::utf8::Joiner;
use crate::{BadMessage, ClientDialect, ClientEvent, Kind, Message, Outbox, ServerEvent};

/// The name under which a link asks for this dialect.
pub const NAME: &str = "operation";

/// Output bytes that go into one message at most, so that none is longer than six times that and its frame.
const MAX_OUTPUT: usize = 64 * 1024;

/// The client face of `operation`, for pages written after the documented sample.
///
/// Sends `stdout` and nothing else: the sample calls any other operation invalid. Only a final error leaves one last
/// line of plain text. Output is text, so characters cut between two calls are joined, and what is no UTF-8 becomes
/// U+FFFD ([`Joiner`]).
///
/// Takes what relatives of the sample send: binary messages as input, `stdin` without `data` (a sign of life) or with
/// `rows` and `cols` (not used), sizes as strings of digits.
#[derive(Clone, Copy, Debug, Default)]
pub struct OperationClient {
    input: Unescaper,
    output: Joiner,
    ignored_fields: u64,
}

impl OperationClient {
    /// A codec for one attachment.
    #[must_use]
    pub const fn new() -> Self {
        Self { input: Unescaper::new(), output: Joiner::new(), ignored_fields: 0 }
    }

    fn decode_object(&mut self, text: &str, input: &mut Vec<u8>) -> Result<ClientEvent, BadMessage> {
        let object = Object::parse(text)?;
        let event = match object.operation()?.as_deref() {
            Some("stdin") => {
                object.data(&mut self.input, input)?;
                ClientEvent::Input
            }
            Some("resize") => object.resize(Spelling::NumberOrString)?,
            _ => return Ok(ClientEvent::Ignored),
        };
        self.ignored_fields += object.unknown();
        Ok(event)
    }
}

impl ClientDialect for OperationClient {
    fn name(&self) -> &'static str {
        NAME
    }

    fn decode(&mut self, message: Message<'_>, input: &mut Vec<u8>) -> Result<ClientEvent, BadMessage> {
        if message.kind == Kind::Binary {
            self.input.flush(input);
            input.extend_from_slice(message.payload);
            return Ok(ClientEvent::Input);
        }
        if known_frame(STDIN, Extra::RowsAndCols, message.payload, &mut self.input, input) {
            return Ok(ClientEvent::Input);
        }
        let text = message.as_str()?;
        self.decode_object(text, input)
    }

    fn output(&mut self, bytes: &[u8], out: &mut Outbox) {
        for slice in bytes.chunks(MAX_OUTPUT) {
            let mut frames = Frames::new(STDOUT, usize::MAX, out);
            self.output.push(slice, |text| frames.push(text));
            frames.end();
        }
    }

    fn event(&mut self, event: &ServerEvent<'_>, out: &mut Outbox) {
        if let ServerEvent::Error { message, last: true, .. } = event {
            let mut frames = Frames::new(STDOUT, usize::MAX, out);
            self.output.finish(|text| frames.push(text));
            last_line(message, |text| frames.push(text));
            frames.end();
        }
    }

    fn finish(&mut self, out: &mut Outbox) {
        let mut frames = Frames::new(STDOUT, usize::MAX, out);
        self.output.finish(|text| frames.push(text));
        frames.end();
    }

    fn has_close(&self) -> bool {
        false
    }

    fn carried(&self) -> usize {
        Unescaper::MAX_CARRIED + Joiner::MAX_CARRIED
    }

    fn ignored_fields(&self) -> u64 {
        self.ignored_fields
    }
}
