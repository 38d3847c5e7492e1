//! The lines of the kinds' tables of faults, and those that several of them have.

use super::Stage;

/// A line of a kind's table of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// The word that [`Fault`](super::Fault) parses.
    pub name: &'static str,
    /// What may stand behind `NAME=`, with its default in parentheses; empty where nothing may.
    pub argument: &'static str,
    /// Where it strikes.
    pub stage: Stage,
    /// What happens, in one sentence.
    pub about: &'static str,
}

/// A line, in the order of a reader's questions.
pub(crate) const fn line(name: &'static str, stage: Stage, argument: &'static str, about: &'static str) -> Description {
    Description { name, argument, stage, about }
}

/// The argument of a fault that has an `after` and nothing else.
pub(crate) const BYTES: &str = "output bytes before it (0)";

pub(crate) const API_NOT_JSON: Description =
    line("api-not-json", Stage::Api, "", "The API answers 200 with a body that is no JSON.");
pub(crate) const API_REDIRECT: Description =
    line("api-redirect", Stage::Api, "", "The API answers 302; whoever follows gets a link and is counted.");
pub(crate) const API_ENDLESS: Description =
    line("api-endless", Stage::Api, "", "The API answers 200 with a body that never ends.");
pub(crate) const API_STALLED: Description =
    line("api-stalled", Stage::Api, "", "The API never answers and keeps the connection open.");
pub(crate) const API_RESET: Description =
    line("api-reset", Stage::Api, "", "The API resets the connection in place of an answer.");

pub(crate) const LINK_FOREIGN_HOST: Description =
    line("link-foreign-host", Stage::Link, "authority (terminal.invalid)", "The link leads to another host.");
pub(crate) const LINK_WRONG_SCHEME: Description =
    line("link-wrong-scheme", Stage::Link, "scheme (http)", "The link has another scheme than ws.");

pub(crate) const UPGRADE_403: Description =
    line("upgrade-403", Stage::Upgrade, "", "The upgrade is refused with 403; the link is not spent.");
pub(crate) const UPGRADE_404: Description =
    line("upgrade-404", Stage::Upgrade, "", "The upgrade is refused with 404; the link is not spent.");
pub(crate) const UPGRADE_503: Description =
    line("upgrade-503", Stage::Upgrade, "", "The upgrade is refused with 503; the link is not spent.");
pub(crate) const UPGRADE_200: Description =
    line("upgrade-200", Stage::Upgrade, "", "The upgrade is answered with 200 and all the headers of a 101.");
pub(crate) const UPGRADE_WRONG_ACCEPT: Description =
    line("upgrade-wrong-accept", Stage::Upgrade, "", "The 101 carries the Sec-WebSocket-Accept of another key.");
pub(crate) const UPGRADE_NO_HEADER: Description =
    line("upgrade-no-header", Stage::Upgrade, "", "The 101 carries no Upgrade header.");
pub(crate) const UPGRADE_EXTENSION: Description =
    line("upgrade-extension", Stage::Upgrade, "", "The 101 names an extension that was not requested.");
pub(crate) const UPGRADE_SUBPROTOCOL: Description =
    line("upgrade-subprotocol", Stage::Upgrade, "", "The 101 names a subprotocol that was not requested.");
pub(crate) const UPGRADE_STALLED: Description =
    line("upgrade-stalled", Stage::Upgrade, "", "The 101 never comes and the connection stays open.");
pub(crate) const UPGRADE_EARLY_FRAME: Description =
    line("upgrade-early-frame", Stage::Upgrade, "", "The first message is in the TCP segment of the 101 (legal).");

pub(crate) const RESET: Description = line("reset", Stage::Session, BYTES, "The connection is reset.");
pub(crate) const FIN: Description =
    line("fin", Stage::Session, BYTES, "The connection ends with a FIN and without a WebSocket Close.");
pub(crate) const CLOSE: Description =
    line("close", Stage::Session, "code[@output bytes before it] (1011@0)", "A WebSocket Close with this code.");
pub(crate) const STALL: Description =
    line("stall", Stage::Session, BYTES, "Nothing is read, sent or ponged any more; the connection stays open.");
pub(crate) const FRAGMENTS: Description = line(
    "fragments",
    Stage::Session,
    "payload bytes a frame (3)",
    "Every message comes in tiny frames and TCP segments (legal).",
);
pub(crate) const BINARY: Description = line("binary", Stage::Session, BYTES, "One message is binary.");
pub(crate) const TEXT: Description = line("text", Stage::Session, BYTES, "One message is text.");
pub(crate) const RESERVED_BITS: Description =
    line("reserved-bits", Stage::Session, BYTES, "One frame has all its reserved bits set.");
pub(crate) const MASKED: Description =
    line("masked", Stage::Session, BYTES, "One frame is masked, as only a client's may be.");
pub(crate) const OVERSIZE: Description = line(
    "oversize",
    Stage::Session,
    "payload bytes[@output bytes before it] (16777217@0)",
    "One frame is of this size.",
);

/// Checks a kind's table: every name parses, to a fault of the line's stage that prints as it was written, and every
/// line is one sentence.
#[cfg(test)]
pub(crate) fn check(table: &[Description]) {
    for (index, line) in table.iter().enumerate() {
        let fault = super::Fault::parse(line.name, table).unwrap();
        assert_eq!(fault.stage(), line.stage, "{line:?}");
        let printed = fault.to_string();
        let (name, argument) = printed.split_once('=').unwrap_or((&printed, ""));
        assert_eq!(name, line.name);
        assert_eq!(argument.is_empty(), line.argument.is_empty(), "{line:?}");
        assert!(line.about.ends_with('.') && !line.about[..line.about.len() - 1].contains(". "), "{line:?}");
        assert!(table[..index].iter().all(|other| other.name != line.name), "{line:?} is there twice");
    }
}
