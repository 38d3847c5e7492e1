//! The wire dialects of web terminals, as codecs without input or output.
//!
//! Every terminal on the web is the same six events: bytes in, bytes out, a size, an end, an error and a sign of
//! life. Every service wraps them differently; a *dialect* is one such wrapping. A codec takes slices and appends to
//! buffers. It owns no socket, no clock and no task, so it can be driven by any runtime, by a test, or by a fuzzer.
//!
//! There are two faces. [`ClientDialect`] is spoken with a browser or a native client, [`UpstreamDialect`] with a
//! provider. Both meet in one vocabulary ([`ClientEvent`], [`ServerEvent`], [`UpstreamEvent`]), which never says
//! whose terminal it is.
//!
//! | dialect | module | faces |
//! |---|---|---|
//! | `polytty.v1` | [`polytty_v1`] | client |
//! | `operation` | [`operation`] | client, and upstream for PAI-DLC |
//! | `raw` | [`raw`] | client |
//! | `channel` | [`channel`] | upstream for ECI; Kubernetes' framings with and without subprotocol |
//! | `dockhand` | [`dockhand`] | upstream |
//! | Decthings | [`decthings`] | provider; many terminals on one socket, so neither face fits it |
//! | Oblien's | [`oblien`] | upstream, many terminals over one connection |

mod block;
mod code;
mod event;
mod frames;
mod last_line;
mod message;
mod object;
mod size;

pub mod channel;
pub mod decthings;
pub mod dockhand;
pub mod json;
pub mod oblien;
pub mod operation;
pub mod polytty_v1;
pub mod raw;
pub mod utf8;

pub use code::Code;
pub use event::{BadMessage, ClientEvent, Exit, PingId, Resume, Role, ServerEvent, UpstreamEvent};
pub use message::{HEADROOM, Kind, Message, Outbox};
pub use size::{MAX_CELLS, Size};

/// The client dialect of this name, new, for one attachment: `polytty.v1`, `operation` or `raw`. `None` for any other
/// name; upper and lower case are told apart.
#[must_use]
pub fn client_dialect(name: &str) -> Option<Box<dyn ClientDialect>> {
    match name {
        polytty_v1::SUBPROTOCOL => Some(Box::new(polytty_v1::PolyttyV1::new())),
        operation::NAME => Some(Box::new(operation::OperationClient::new())),
        raw::NAME => Some(Box::new(raw::Raw::new())),
        _ => None,
    }
}

/// What a client speaks: the side of a terminal where a person sits.
///
/// A codec lives as long as one attachment. It may carry a few bytes from one call to the next (an unfinished UTF-8
/// character, half a surrogate pair), never more.
pub trait ClientDialect: Send {
    /// The name under which a link or a subprotocol offer asks for this dialect.
    fn name(&self) -> &'static str;

    /// Reads one message of the client. Input bytes are appended to `input`; everything else is the returned event.
    ///
    /// Events and input stand in the order of the calls: a [`ClientEvent::Resize`] comes after all input that earlier
    /// calls appended.
    ///
    /// # Errors
    ///
    /// [`BadMessage`] when the message breaks the dialect's grammar. Nothing was appended, and the attachment ends
    /// with [`Code::BadMessage`].
    fn decode(&mut self, message: Message<'_>, input: &mut Vec<u8>) -> Result<ClientEvent, BadMessage>;

    /// Appends terminal output as the dialect's messages. The split of `bytes` over calls has no meaning.
    fn output(&mut self, bytes: &[u8], out: &mut Outbox);

    /// Whether [`ClientDialect::output`] makes one binary message of `bytes`, as they are.
    fn is_verbatim(&self) -> bool {
        false
    }

    /// Appends everything that is not output. What the dialect has no word for is left out.
    fn event(&mut self, event: &ServerEvent<'_>, out: &mut Outbox);

    /// Appends what is still carried, once no more output will come (an unfinished character becomes U+FFFD).
    fn finish(&mut self, out: &mut Outbox);

    /// Whether a client can say `close`. Where it cannot, a WebSocket Close of 1000 or 1005 ends the session.
    fn has_close(&self) -> bool;

    /// Whether it has words for coming back: [`ServerEvent::Resume`], and what was shown before.
    fn has_resume(&self) -> bool {
        false
    }

    /// The size of the incomplete piece that a codec keeps is at most this many bytes.
    fn carried(&self) -> usize;

    /// How many fields that the dialect does not know have been ignored since the attachment began. A message that is
    /// ignored as a whole is a [`ClientEvent::Ignored`] and not counted here.
    fn ignored_fields(&self) -> u64 {
        0
    }
}

/// What a provider speaks: the side of a terminal where the process runs.
pub trait UpstreamDialect: Send {
    /// Reads one message of the provider. Output bytes are appended to `output`, in order; everything else is the
    /// returned event, which comes after those bytes.
    ///
    /// # Errors
    ///
    /// [`BadMessage`] when the message cannot be understood at all. What earlier calls appended stays good.
    fn decode(&mut self, message: Message<'_>, output: &mut Vec<u8>) -> Result<UpstreamEvent, BadMessage>;

    /// Appends input as the dialect's messages, split under the provider's limit.
    fn input(&mut self, bytes: &[u8], out: &mut Outbox);

    /// Appends a change of size. `false` where the dialect cannot say it in-band.
    fn resize(&mut self, size: Size, out: &mut Outbox) -> bool;

    /// Appends the end of input. `false` where the dialect has no word for it.
    fn eof(&mut self, out: &mut Outbox) -> bool;

    /// How the process ended, where the provider has said so but may have output left to send: an
    /// [`UpstreamEvent::Exit`] or [`UpstreamEvent::Failed`]. It holds once the connection ends, however that does, or
    /// a short while after nothing more has come.
    fn verdict(&self) -> Option<&UpstreamEvent> {
        None
    }

    /// How many fields that the dialect does not know have been ignored since the connection began. A message that is
    /// ignored as a whole is an [`UpstreamEvent::Ignored`] and not counted here.
    fn ignored_fields(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_dialect_is_found_by_the_name_that_it_says_it_has() {
        for name in ["polytty.v1", "operation", "raw"] {
            assert_eq!(client_dialect(name).unwrap().name(), name);
        }
        for name in ["", "Raw", "polytty.v2", "polytty.v1 "] {
            assert!(client_dialect(name).is_none(), "{name:?}");
        }
    }
}
