//! `raw`: terminal bytes and nothing else, as xterm.js' attach add-on speaks.
//!
//! The add-on sends keys as text and mouse reports as binary messages, and writes to the terminal whatever it is sent.
//! There is no size, no event and no word for closing.

use crate::last_line::last_line;
use crate::{BadMessage, ClientDialect, ClientEvent, Kind, Message, Outbox, ServerEvent};

/// The name under which a link asks for this dialect.
pub const NAME: &str = "raw";

/// The client face of `raw`.
///
/// Text and binary messages are input as they are; output is binary, so nothing is ever joined or replaced. A final
/// error is one last line of plain text; every other event is left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Raw {
    /// A codec for one attachment.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl ClientDialect for Raw {
    fn name(&self) -> &'static str {
        NAME
    }

    fn decode(&mut self, message: Message<'_>, input: &mut Vec<u8>) -> Result<ClientEvent, BadMessage> {
        let payload = match message.kind {
            Kind::Text => message.as_str()?.as_bytes(),
            Kind::Binary => message.payload,
        };
        input.extend_from_slice(payload);
        Ok(ClientEvent::Input)
    }

    fn output(&mut self, bytes: &[u8], out: &mut Outbox) {
        if !bytes.is_empty() {
            out.message(Kind::Binary, |payload| payload.extend_from_slice(bytes));
        }
    }

    fn is_verbatim(&self) -> bool {
        true
    }

    fn event(&mut self, event: &ServerEvent<'_>, out: &mut Outbox) {
        if let ServerEvent::Error { message, last: true, .. } = event {
            out.message(Kind::Binary, |payload| last_line(message, |text| payload.extend_from_slice(text.as_bytes())));
        }
    }

    fn finish(&mut self, _out: &mut Outbox) {}

    fn has_close(&self) -> bool {
        false
    }

    fn carried(&self) -> usize {
        0
    }
}
