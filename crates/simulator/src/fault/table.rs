//! Names, arguments and descriptions of the faults.

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::{Description, Fault, Stage};

/// A host that resolves nowhere (RFC 2606 §2).
const FOREIGN_HOST: &str = "terminal.invalid";
/// The default size of [`Fault::Oversize`]: one byte more than 16 MiB, the usual limit of WebSocket libraries.
const OVERSIZE: u64 = 16 * 1024 * 1024 + 1;
/// The default of [`Fault::ApiThrottled`].
const RETRY_AFTER_MS: u64 = 2_000;

const BYTES: &str = "output bytes before it (0)";

const fn line(name: &'static str, stage: Stage, argument: &'static str, about: &'static str) -> Description {
    Description { name, argument, stage, about }
}

impl Fault {
    /// Every fault, in the order of a terminal's life.
    pub const ALL: &'static [Description] = &[
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
        line("api-not-json", Stage::Api, "", "The API answers 200 with a body that is no JSON."),
        line("api-no-url", Stage::Api, "", "The API answers 200 without WebTerminalUrl."),
        line("api-redirect", Stage::Api, "", "The API answers 302; whoever follows gets a link and is counted."),
        line("api-endless", Stage::Api, "", "The API answers 200 with a body that never ends."),
        line("api-stalled", Stage::Api, "", "The API never answers and keeps the connection open."),
        line("api-reset", Stage::Api, "", "The API resets the connection in place of an answer."),
        line("link-foreign-host", Stage::Link, "authority (terminal.invalid)", "The link leads to another host."),
        line("link-wrong-scheme", Stage::Link, "scheme (http)", "The link has another scheme than ws."),
        line("upgrade-403", Stage::Upgrade, "", "The upgrade is refused with 403; the link is not spent."),
        line("upgrade-404", Stage::Upgrade, "", "The upgrade is refused with 404; the link is not spent."),
        line("upgrade-503", Stage::Upgrade, "", "The upgrade is refused with 503; the link is not spent."),
        line("upgrade-200", Stage::Upgrade, "", "The upgrade is answered with 200 and all the headers of a 101."),
        line("upgrade-wrong-accept", Stage::Upgrade, "", "The 101 carries the Sec-WebSocket-Accept of another key."),
        line("upgrade-no-header", Stage::Upgrade, "", "The 101 carries no Upgrade header."),
        line("upgrade-extension", Stage::Upgrade, "", "The 101 names an extension that was not requested."),
        line("upgrade-subprotocol", Stage::Upgrade, "", "The 101 names a subprotocol that was not requested."),
        line("upgrade-stalled", Stage::Upgrade, "", "The 101 never comes and the connection stays open."),
        line("upgrade-early-frame", Stage::Upgrade, "", "The first message is in the TCP segment of the 101 (legal)."),
        line("reset", Stage::Session, BYTES, "The connection is reset."),
        line("fin", Stage::Session, BYTES, "The connection ends with a FIN and without a WebSocket Close."),
        line("close", Stage::Session, "code[@output bytes before it] (1011@0)", "A WebSocket Close with this code."),
        line("stall", Stage::Session, BYTES, "Nothing is read, sent or ponged any more; the connection stays open."),
        line(
            "fragments",
            Stage::Session,
            "payload bytes a frame (3)",
            "Every message comes in tiny frames and TCP segments (legal).",
        ),
        line("garbage", Stage::Session, BYTES, "One text message is no JSON."),
        line("unknown-operation", Stage::Session, BYTES, "One message has an operation that no document names."),
        line("binary", Stage::Session, BYTES, "One message is binary."),
        line("reserved-bits", Stage::Session, BYTES, "One frame has all its reserved bits set."),
        line("masked", Stage::Session, BYTES, "One frame is masked, as only a client's may be."),
        line("oversize", Stage::Session, "payload bytes (16777217)", "One frame is of this size."),
    ];

    /// This fault's line of [`Fault::ALL`].
    #[must_use]
    pub fn description(&self) -> &'static Description {
        let name = match self {
            Self::ApiForbidden => "api-forbidden",
            Self::ApiThrottled { .. } => "api-throttled",
            Self::ApiUnavailable => "api-unavailable",
            Self::ApiSignature => "api-signature",
            Self::ApiStaleClock => "api-stale-clock",
            Self::ApiTokenExpired => "api-token-expired",
            Self::ApiNotFound => "api-not-found",
            Self::ApiBadRequest => "api-bad-request",
            Self::ApiNotJson => "api-not-json",
            Self::ApiNoUrl => "api-no-url",
            Self::ApiRedirect => "api-redirect",
            Self::ApiEndless => "api-endless",
            Self::ApiStalled => "api-stalled",
            Self::ApiReset => "api-reset",
            Self::LinkForeignHost { .. } => "link-foreign-host",
            Self::LinkWrongScheme { .. } => "link-wrong-scheme",
            Self::UpgradeRefused { status: 403 } => "upgrade-403",
            Self::UpgradeRefused { status: 404 } => "upgrade-404",
            Self::UpgradeRefused { .. } => "upgrade-503",
            Self::Upgrade200 => "upgrade-200",
            Self::UpgradeWrongAccept => "upgrade-wrong-accept",
            Self::UpgradeNoHeader => "upgrade-no-header",
            Self::UpgradeExtension => "upgrade-extension",
            Self::UpgradeSubprotocol => "upgrade-subprotocol",
            Self::UpgradeStalled => "upgrade-stalled",
            Self::UpgradeEarlyFrame => "upgrade-early-frame",
            Self::Reset { .. } => "reset",
            Self::Fin { .. } => "fin",
            Self::Close { .. } => "close",
            Self::Stall { .. } => "stall",
            Self::Fragments { .. } => "fragments",
            Self::Garbage { .. } => "garbage",
            Self::UnknownOperation { .. } => "unknown-operation",
            Self::Binary { .. } => "binary",
            Self::ReservedBits { .. } => "reserved-bits",
            Self::Masked { .. } => "masked",
            Self::Oversize { .. } => "oversize",
        };
        // A name without a line is caught by the test below; the first line stands in so that no caller can panic.
        Self::ALL.iter().find(|line| line.name == name).unwrap_or(&Self::ALL[0])
    }

    /// The output bytes to deliver before this fault strikes, if it is one that strikes once within a session.
    pub(crate) fn after(&self) -> Option<u64> {
        match self {
            Self::Reset { after }
            | Self::Fin { after }
            | Self::Close { after, .. }
            | Self::Stall { after }
            | Self::Garbage { after }
            | Self::UnknownOperation { after }
            | Self::Binary { after }
            | Self::ReservedBits { after }
            | Self::Masked { after } => Some(*after),
            Self::Oversize { .. } => Some(0),
            _ => None,
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Fault> {
    let (name, argument) = match text.split_once('=') {
        Some((name, argument)) => (name, Some(argument)),
        None => (text, None),
    };
    let line = Fault::ALL.iter().find(|line| line.name == name).ok_or_else(|| {
        let names: Vec<_> = Fault::ALL.iter().map(|line| line.name).collect();
        anyhow!("unknown fault {name:?}; known are {}", names.join(", "))
    })?;
    if line.argument.is_empty() && argument.is_some() {
        bail!("the fault {name} takes no argument");
    }
    build(name, argument).with_context(|| format!("the fault {name} takes: {}", line.argument))
}

fn build(name: &str, argument: Option<&str>) -> Result<Fault> {
    let number = |default: u64| argument.map_or(Ok(default), str::parse::<u64>);
    Ok(match name {
        "api-forbidden" => Fault::ApiForbidden,
        "api-throttled" => Fault::ApiThrottled { retry_after_ms: number(RETRY_AFTER_MS)? },
        "api-unavailable" => Fault::ApiUnavailable,
        "api-signature" => Fault::ApiSignature,
        "api-stale-clock" => Fault::ApiStaleClock,
        "api-token-expired" => Fault::ApiTokenExpired,
        "api-not-found" => Fault::ApiNotFound,
        "api-bad-request" => Fault::ApiBadRequest,
        "api-not-json" => Fault::ApiNotJson,
        "api-no-url" => Fault::ApiNoUrl,
        "api-redirect" => Fault::ApiRedirect,
        "api-endless" => Fault::ApiEndless,
        "api-stalled" => Fault::ApiStalled,
        "api-reset" => Fault::ApiReset,
        "link-foreign-host" => Fault::LinkForeignHost { host: argument.unwrap_or(FOREIGN_HOST).to_owned() },
        "link-wrong-scheme" => Fault::LinkWrongScheme { scheme: argument.unwrap_or("http").to_owned() },
        "upgrade-403" => Fault::UpgradeRefused { status: 403 },
        "upgrade-404" => Fault::UpgradeRefused { status: 404 },
        "upgrade-503" => Fault::UpgradeRefused { status: 503 },
        "upgrade-200" => Fault::Upgrade200,
        "upgrade-wrong-accept" => Fault::UpgradeWrongAccept,
        "upgrade-no-header" => Fault::UpgradeNoHeader,
        "upgrade-extension" => Fault::UpgradeExtension,
        "upgrade-subprotocol" => Fault::UpgradeSubprotocol,
        "upgrade-stalled" => Fault::UpgradeStalled,
        "upgrade-early-frame" => Fault::UpgradeEarlyFrame,
        "reset" => Fault::Reset { after: number(0)? },
        "fin" => Fault::Fin { after: number(0)? },
        "close" => {
            let (code, after) = argument.unwrap_or("1011").split_once('@').unwrap_or((argument.unwrap_or("1011"), "0"));
            Fault::Close { code: code.parse()?, after: after.parse()? }
        }
        "stall" => Fault::Stall { after: number(0)? },
        "fragments" => {
            let size = argument.map_or(Ok(3), str::parse)?;
            ensure!(size > 0, "a frame of a fragmented message carries at least one byte");
            Fault::Fragments { size }
        }
        "garbage" => Fault::Garbage { after: number(0)? },
        "unknown-operation" => Fault::UnknownOperation { after: number(0)? },
        "binary" => Fault::Binary { after: number(0)? },
        "reserved-bits" => Fault::ReservedBits { after: number(0)? },
        "masked" => Fault::Masked { after: number(0)? },
        "oversize" => Fault::Oversize { size: number(OVERSIZE)? },
        _ => bail!("no such fault"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_name_parses_to_the_fault_that_the_line_describes() {
        for line in Fault::ALL {
            let fault: Fault = line.name.parse().unwrap();
            assert_eq!(fault.description(), line);
            assert!(line.about.ends_with('.') && !line.about[..line.about.len() - 1].contains(". "), "{line:?}");
        }
    }

    #[test]
    fn what_is_printed_parses_to_the_same_fault() {
        for text in ["close=4000@17", "fin=5", "oversize=99", "fragments=1", "link-foreign-host=a.example:1"] {
            let fault: Fault = text.parse().unwrap();
            assert_eq!(fault.to_string(), text);
        }
        assert_eq!("close=1000".parse::<Fault>().unwrap(), Fault::Close { code: 1000, after: 0 });
    }

    #[test]
    fn mistakes_are_explained() {
        assert!("nonsense".parse::<Fault>().unwrap_err().to_string().contains("api-forbidden"));
        assert!("api-reset=1".parse::<Fault>().unwrap_err().to_string().contains("no argument"));
        for text in ["fin=many", "fragments=0", "close=99999", "close=1000@x", "oversize=-1"] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }
}
