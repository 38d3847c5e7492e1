//! The faults that this kind knows.

use crate::{
    Description, Stage,
    fault::line::{self, BYTES, line},
};

/// Every fault of this kind, in the order of a terminal's life.
pub const FAULTS: &[Description] = &[
    line("api-forbidden", Stage::Api, "", "The API refuses with 403 Forbidden.RAM."),
    line(
        "api-throttled",
        Stage::Api,
        "milliseconds (2000)",
        "The API refuses with 400 Throttling.User and x-acs-retry-after.",
    ),
    line("api-unavailable", Stage::Api, "", "The API refuses with 503 ServiceUnavailable."),
    line("api-signature", Stage::Api, "", "The API refuses with 400 SignatureDoesNotMatch."),
    line("api-stale-clock", Stage::Api, "", "The API refuses with 400 InvalidTimeStamp.Expired."),
    line("api-token-expired", Stage::Api, "", "The API refuses with 403 InvalidSecurityToken.Expired."),
    line("api-not-found", Stage::Api, "", "The API refuses with 404 NotFound."),
    line("api-bad-request", Stage::Api, "", "The API refuses with 400 BadRequest."),
    line::API_NOT_JSON,
    line("api-no-url", Stage::Api, "", "The API answers 200 without WebTerminalUrl."),
    line::API_REDIRECT,
    line::API_ENDLESS,
    line::API_STALLED,
    line::API_RESET,
    line::LINK_FOREIGN_HOST,
    line::LINK_WRONG_SCHEME,
    line::UPGRADE_403,
    line::UPGRADE_404,
    line::UPGRADE_503,
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
    line("garbage", Stage::Session, BYTES, "One text message is no JSON."),
    line("unknown-operation", Stage::Session, BYTES, "One message has an operation that no document names."),
    line::BINARY,
    line::RESERVED_BITS,
    line::MASKED,
    line::OVERSIZE,
];

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_is_sound() {
        crate::fault::line::check(super::FAULTS);
    }
}
