//! The faults that this kind knows.

use crate::{
    Description, Stage,
    fault::line::{self, BYTES, line},
};

/// Every fault of this kind, in the order of a terminal's life.
pub const FAULTS: &[Description] = &[
    line("api-unauthorized", Stage::Api, "", "The API refuses with 401 Unauthorized."),
    line("api-forbidden", Stage::Api, "", "The API refuses with 403 Permission denied."),
    line("api-locked", Stage::Api, "seconds (900)", "The API refuses with 429 Too many login attempts."),
    line("api-unavailable", Stage::Api, "", "The API refuses with 503 and an HTML page."),
    line("api-no-url", Stage::Api, "", "The API answers 200 without an exec id or a session cookie."),
    line::API_NOT_JSON,
    line("api-redirect", Stage::Api, "", "The API answers 302; whoever follows is counted."),
    line::API_ENDLESS,
    line::API_STALLED,
    line::API_RESET,
    line("upgrade-401", Stage::Upgrade, "", "The upgrade is refused with a bare 401."),
    line("upgrade-500", Stage::Upgrade, "", "The upgrade is refused with a bare 500."),
    line("upgrade-503", Stage::Upgrade, "", "The upgrade is refused with a bare 503."),
    line("upgrade-logged-out", Stage::Upgrade, "", "Every login session ends, so that one's cookie gets a bare 401."),
    line("upgrade-dropped", Stage::Upgrade, "", "The upgrade's connection ends with no HTTP answer."),
    line::UPGRADE_200,
    line::UPGRADE_WRONG_ACCEPT,
    line::UPGRADE_NO_HEADER,
    line::UPGRADE_EXTENSION,
    line::UPGRADE_SUBPROTOCOL,
    line::UPGRADE_STALLED,
    line::UPGRADE_EARLY_FRAME,
    line("no-such-container", Stage::Session, "", "An error in place of a terminal: No such container."),
    line("docker-down", Stage::Session, "", "An error in place of a terminal: Docker socket not accessible."),
    line("environment-denied", Stage::Session, "", "An error in place of a terminal, and a Close 1008."),
    line("internal-error", Stage::Session, "", "A Close 1011 in place of a terminal, with no error."),
    line("create-stalled", Stage::Session, "", "The 101 comes, and then no message ever; pings are answered."),
    line("start-refused", Stage::Session, "", "Docker's refusal comes as output, and the session stays open."),
    line("bad-shell", Stage::Session, "", "Docker's words for a missing shell come as output, then exit."),
    line("hex-lines-lost", Stage::Session, "", "Lines of nothing but hexadecimal digits are missing from the output."),
    line("docker-lost", Stage::Session, BYTES, "The stream to Docker breaks: error, exit, and an empty Close."),
    line(
        "agent-lost",
        Stage::Session,
        BYTES,
        "The session falls silent as when its agent is lost; pings are answered.",
    ),
    line("process-gone", Stage::Session, BYTES, "The server's process ends: every session is reset."),
    line::RESET,
    line::FIN,
    line::CLOSE,
    line::STALL,
    line::FRAGMENTS,
    line("garbage", Stage::Session, BYTES, "One text message is no JSON."),
    line("unknown-operation", Stage::Session, BYTES, "One message has a type that no document names."),
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
