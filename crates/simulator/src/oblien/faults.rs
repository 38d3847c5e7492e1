//! What an Oblien can do wrong.

use crate::{
    Description, Stage,
    fault::line::{
        API_ENDLESS, API_NOT_JSON, API_REDIRECT, API_RESET, API_STALLED, BYTES, CLOSE, FIN, FRAGMENTS, MASKED,
        OVERSIZE, RESERVED_BITS, RESET, STALL, UPGRADE_200, UPGRADE_EARLY_FRAME, UPGRADE_EXTENSION, UPGRADE_NO_HEADER,
        UPGRADE_STALLED, UPGRADE_SUBPROTOCOL, UPGRADE_WRONG_ACCEPT, line,
    },
};

/// Every fault of this kind, in the order of a terminal's life. "The API" is the control plane; bytes of output are
/// those of all terminals of a WebSocket together, its replay included.
pub const FAULTS: &[Description] = &[
    line("api-unauthorized", Stage::Api, "", "The API refuses with 401 unauthorized."),
    line("api-rate-limited", Stage::Api, "", "The API refuses with 429 rate_limited."),
    line("api-unavailable", Stage::Api, "", "The API refuses with 503 service_unavailable."),
    line("api-not-found", Stage::Api, "", "The API refuses with 404 not_found."),
    line("api-bad-request", Stage::Api, "", "The API refuses with 400 bad_request."),
    API_NOT_JSON,
    API_REDIRECT,
    API_ENDLESS,
    API_STALLED,
    API_RESET,
    line("token-missing", Stage::Link, "", "The answer that should carry a workspace's token carries none."),
    line("token-expired", Stage::Link, "", "The workspace's token has expired already when it is given out."),
    line(
        "tokens-revoked",
        Stage::Token,
        "",
        "Every token of the workspace is refused with 401 until a new one is made.",
    ),
    line("create-failed", Stage::Create, "", "No terminal is created and the answer is 500 pty_failed."),
    line("create-limit", Stage::Create, "", "No terminal is created, as if the workspace had all that it may have."),
    line("create-unavailable", Stage::Create, "", "No terminal is created and the gateway answers 502."),
    line("create-unsuccessful", Stage::Create, "", "No terminal is created, which the 200 tells by its body alone."),
    line(
        "create-not-json",
        Stage::Create,
        "",
        "No terminal is created and the answer is 200 with a body that is no JSON.",
    ),
    line("create-unanswered", Stage::Create, "", "The terminal is created but the call is never answered."),
    line(
        "create-reset",
        Stage::Create,
        "",
        "The terminal is created but the connection is reset in place of an answer.",
    ),
    line("create-no-id", Stage::Create, "", "The terminal is created but the answer does not tell its id."),
    line("create-word-id", Stage::Create, "", "The terminal is created but the answer names an id that is no number."),
    line(
        "create-late",
        Stage::Create,
        "",
        "The answer comes after the terminal's first output on the WebSocket (legal).",
    ),
    line("create-stale", Stage::Create, "", "The id deleted last is given again, behind output of its last owner."),
    line("delete-failed", Stage::Delete, "", "The terminal lives on and the answer is 500 internal_error."),
    line("delete-unanswered", Stage::Delete, "", "The terminal lives on and the call is never answered."),
    line("upgrade-401", Stage::Upgrade, "", "The upgrade is refused with 401 although the token is good."),
    line("upgrade-403", Stage::Upgrade, "", "The upgrade is refused with 403."),
    line("upgrade-404", Stage::Upgrade, "", "The upgrade is refused with 404."),
    line("upgrade-503", Stage::Upgrade, "", "The upgrade is refused with 503."),
    UPGRADE_200,
    UPGRADE_WRONG_ACCEPT,
    UPGRADE_NO_HEADER,
    UPGRADE_EXTENSION,
    UPGRADE_SUBPROTOCOL,
    UPGRADE_STALLED,
    UPGRADE_EARLY_FRAME,
    RESET,
    FIN,
    CLOSE,
    STALL,
    line(
        "evict",
        Stage::Session,
        "times[@output bytes before it] (1@0)",
        "The WebSocket ends as if somebody else had opened another, and so do as many of its successors.",
    ),
    line("disabled", Stage::Session, BYTES, "The workspace's runtime server is switched off, and everything ends."),
    line("terminal-dies", Stage::Session, BYTES, "The process of the terminal that spoke last is killed."),
    line("exit-no-code", Stage::Session, "", "Exits are told without their codes."),
    FRAGMENTS,
    line("garbage", Stage::Session, BYTES, "One text message is no JSON."),
    line("unknown-channel", Stage::Session, BYTES, "Text messages have channels, types and ids that nobody knows."),
    line("unknown-terminal", Stage::Session, BYTES, "Output comes from terminals 0 and 254, which do not exist."),
    line(
        "watcher",
        Stage::Session,
        BYTES,
        "Messages of the watcher channel come to a client without a watcher (legal).",
    ),
    line("short-frames", Stage::Session, BYTES, "Binary messages of no byte and of an id alone (legal)."),
    RESERVED_BITS,
    MASKED,
    OVERSIZE,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_fault() {
        crate::fault::line::check(FAULTS);
    }
}
