//! The faults that this kind knows.

use crate::{
    Description, Stage,
    fault::line::{self, BYTES, line},
};

/// Every fault of this kind: those of an HTTP answer, of a call over either transport, of the upgrade, of the connection
/// that all terminals share, and of one terminal. Output bytes are those of the connection, of all its terminals.
pub const FAULTS: &[Description] = &[
    line("api-unavailable", Stage::Api, "", "An HTTP call is answered with 500."),
    line("api-not-found", Stage::Api, "", "An HTTP call is answered with 404."),
    line("api-not-json", Stage::Api, "", "An HTTP call is answered with 200 and a body that cannot be decoded."),
    line("api-redirect", Stage::Api, "", "An HTTP call is answered with 302; whoever follows is counted."),
    line::API_ENDLESS,
    line::API_STALLED,
    line::API_RESET,
    line(
        "rpc-error",
        Stage::Call,
        "code[@method] (unknown@any)",
        "A call is refused with this code, documented or not.",
    ),
    line("launch-stalled", Stage::Call, "", "A launch is never answered and launches nothing."),
    line("launch-unanswered", Stage::Call, "", "A launch is never answered and its session runs."),
    line("launch-events-first", Stage::Call, "", "The first output comes before the reply to its launch (legal)."),
    line("reply-late", Stage::Call, "", "A reply comes behind the next one or after 250 ms (legal)."),
    line("reply-unknown-id", Stage::Call, "", "A reply comes behind one to a call that was never made."),
    line("reply-two-keys", Stage::Call, "", "A reply has both result and error."),
    line("reply-not-json", Stage::Call, "", "A reply's JSON is none."),
    line("reply-truncated", Stage::Call, "", "A reply ends in the middle of its JSON."),
    line(
        "reply-hostile-length",
        Stage::Call,
        "the length (9223372036854775808)",
        "A reply claims another length of its JSON.",
    ),
    line("upgrade-403", Stage::Upgrade, "", "The upgrade is refused with 403."),
    line("upgrade-404", Stage::Upgrade, "", "The upgrade is refused with 404."),
    line("upgrade-503", Stage::Upgrade, "", "The upgrade is refused with 503."),
    line::UPGRADE_200,
    line::UPGRADE_WRONG_ACCEPT,
    line::UPGRADE_NO_HEADER,
    line::UPGRADE_EXTENSION,
    line::UPGRADE_SUBPROTOCOL,
    line::UPGRADE_STALLED,
    line::UPGRADE_EARLY_FRAME,
    line::RESET,
    line::FIN,
    line::CLOSE,
    line::STALL,
    line::FRAGMENTS,
    line("garbage", Stage::Session, BYTES, "One message is neither a reply nor an event."),
    line("unknown-operation", Stage::Session, BYTES, "One event has a name that no document has."),
    line::RESERVED_BITS,
    line::MASKED,
    line::OVERSIZE,
    line("event-unknown-api", Stage::Session, BYTES, "One event comes from an api that no document names."),
    line("event-unknown-terminal", Stage::Session, BYTES, "One event is for a terminal that does not exist."),
    line("event-no-blob", Stage::Session, BYTES, "One data event has no blob."),
    line("event-truncated", Stage::Session, BYTES, "One event ends in the middle of its JSON."),
    line(
        "event-hostile-length",
        Stage::Session,
        "length[@output bytes before it] (9223372036854775808@0)",
        "One event claims another length of its blob.",
    ),
    line("event-long-lengths", Stage::Session, BYTES, "One data event has its lengths in nine bytes each (legal)."),
    line("event-as-text", Stage::Session, BYTES, "One data event comes in a text message (legal)."),
    line(
        "exit",
        Stage::Terminal,
        "reason[@bytes of its output before it] (launcher_terminated@0)",
        "A terminal ends for this reason.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_as_the_parser_has_it() {
        line::check(FAULTS);
    }
}
