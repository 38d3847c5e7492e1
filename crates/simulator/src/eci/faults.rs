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
    line("api-incorrect-status", Stage::Api, "", "The API refuses with 400 IncorrectStatus."),
    line("api-value-exceeded", Stage::Api, "", "The API refuses with 400 InvalidParameter.ValueExceeded."),
    line::API_NOT_JSON,
    line("api-no-url", Stage::Api, "", "The API answers 200 without WebSocketUri."),
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
    line(
        "upgrade-v4",
        Stage::Upgrade,
        "",
        "An offered v4.channel.k8s.io is accepted, so that the session ends with a Status on channel 3 (legal).",
    ),
    line::RESET,
    line::FIN,
    line::CLOSE,
    line::STALL,
    line::FRAGMENTS,
    line("garbage", Stage::Session, BYTES, "One message is empty and so has no channel."),
    line("unknown-operation", Stage::Session, BYTES, "One message is on a channel that no document names."),
    line::TEXT,
    line::RESERVED_BITS,
    line::MASKED,
    line::OVERSIZE,
    line("exec-error", Stage::Session, BYTES, "Channel 3 says why the command has failed, and the session ends."),
    line("errors-silent", Stage::Session, "", "Channel 3 says nothing when the command fails."),
    line("text-output", Stage::Session, "", "All output is in text messages without a channel byte."),
    line("resize-unsupported", Stage::Session, "", "Sizes are ignored."),
    line("resize-on-3", Stage::Session, "", "Sizes are taken on channel 3 and ignored on 4."),
];

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_is_sound() {
        crate::fault::line::check(super::FAULTS);
    }
}
