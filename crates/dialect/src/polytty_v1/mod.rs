//! `polytty.v1`: the normalized client protocol. Binary messages are terminal bytes, text messages are JSON objects
//! with an `operation`. The whole of it is in `docs/protocol.md`.

mod encode;

use crate::json::Unescaper;
use crate::object::{Extra, Object, Spelling, known_frame};
use crate::{BadMessage, ClientDialect, ClientEvent, Kind, Message, Outbox, PingId, ServerEvent};

/// The WebSocket subprotocol, and the name under which a link asks for this dialect.
pub const SUBPROTOCOL: &str = "polytty.v1";

const STDIN: &str = r#"{"operation":"stdin","data":""#;

/// The client face of `polytty.v1`.
///
/// A message that lacks what its operation needs is ignored; one with a value of the wrong type is bad. Half a
/// surrogate pair at the end of a `stdin` waits for its other half; any binary message, or `eof`, makes it U+FFFD.
#[derive(Clone, Copy, Debug, Default)]
pub struct PolyttyV1 {
    input: Unescaper,
    ignored_fields: u64,
}

impl PolyttyV1 {
    /// A codec for one attachment.
    #[must_use]
    pub const fn new() -> Self {
        Self { input: Unescaper::new(), ignored_fields: 0 }
    }

    fn decode_object(&mut self, text: &str, input: &mut Vec<u8>) -> Result<ClientEvent, BadMessage> {
        let object = Object::parse(text)?;
        let event = match object.operation()?.as_deref() {
            Some("stdin") => {
                object.data(&mut self.input, input)?;
                ClientEvent::Input
            }
            Some("resize") => object.resize(Spelling::Number)?,
            Some("eof") => {
                self.input.flush(input);
                ClientEvent::Eof
            }
            Some("ack") => object.bytes()?.map_or(ClientEvent::Ignored, ClientEvent::Ack),
            Some("ping") => ClientEvent::Ping(
                PingId::new(object.id()?).ok_or(BadMessage { reason: "`id` must not be longer than 64 bytes" })?,
            ),
            Some("close") => ClientEvent::Close,
            _ => return Ok(ClientEvent::Ignored),
        };
        self.ignored_fields += object.unknown();
        Ok(event)
    }
}

impl ClientDialect for PolyttyV1 {
    fn name(&self) -> &'static str {
        SUBPROTOCOL
    }

    fn decode(&mut self, message: Message<'_>, input: &mut Vec<u8>) -> Result<ClientEvent, BadMessage> {
        if message.kind == Kind::Binary {
            self.input.flush(input);
            input.extend_from_slice(message.payload);
            return Ok(ClientEvent::Input);
        }
        if known_frame(STDIN, Extra::None, message.payload, &mut self.input, input) {
            return Ok(ClientEvent::Input);
        }
        let text = message.as_str()?;
        self.decode_object(text, input)
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
        out.message(Kind::Text, |payload| encode::event(event, payload));
    }

    fn finish(&mut self, _out: &mut Outbox) {}

    fn has_close(&self) -> bool {
        true
    }

    fn has_resume(&self) -> bool {
        true
    }

    fn carried(&self) -> usize {
        Unescaper::MAX_CARRIED
    }

    fn ignored_fields(&self) -> u64 {
        self.ignored_fields
    }
}
