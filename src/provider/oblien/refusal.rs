//! What Oblien says against a call, in polytty's words.

use polytty_dialect::Code;
use serde::Deserialize;

use crate::provider::Failure;
use crate::provider::dial::Reply;

/// An answer that is none: a status that is no success, or a body that says so, which the vendor's own client goes by.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    /// The provider's own word for it, for the log; empty where it has none.
    word: String,
}

/// Reads an answer, whatever it is.
///
/// # Errors
///
/// The provider's refusal, or one with status 200 where a success makes no sense.
pub(super) fn read<T: for<'de> Deserialize<'de>>(reply: &Reply) -> Result<T, Refusal> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Body {
        success: Option<bool>,
        error: Option<String>,
        code: Option<String>,
    }

    let body: Body = serde_json::from_slice(&reply.body).unwrap_or_default();
    let status = reply.status.as_u16();
    if !reply.status.is_success() || body.success == Some(false) {
        let word = body.code.or(body.error).unwrap_or_default();
        return Err(Refusal { status, word: token(&word) });
    }
    // The parser's own words are left out: they may repeat a piece of a token.
    serde_json::from_slice(&reply.body).map_err(|_| Refusal { status, word: "unreadable".to_owned() })
}

impl Refusal {
    /// That of a call which was never made.
    pub(super) fn absent() -> Self {
        Self { status: 404, word: String::new() }
    }

    /// Whether the call, or what it names, is not there.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self.status, 404 | 405)
    }

    /// Whether making a terminal may have failed because there are too many, which is documented with no status.
    pub(super) fn may_be_quota(&self) -> bool {
        !matches!(self.status, 401 | 404 | 405 | 408 | 502..=504)
    }

    /// Whether a status says by itself that there are too many.
    pub(super) fn is_quota(&self) -> bool {
        matches!(self.status, 409 | 429)
    }

    /// Said by the control plane.
    pub(super) fn control(&self, workspace: &str) -> Failure {
        let (code, message) = match self.status {
            401 => (Code::ProviderRefused, "Oblien does not accept the configured client id and secret.".to_owned()),
            403 => (Code::ProviderRefused, format!("The configured client may not enter workspace {workspace}.")),
            404 | 405 | 410 => (Code::ProviderNotRunning, format!("Oblien knows no workspace {workspace}.")),
            409 => (Code::ProviderNotRunning, format!("Workspace {workspace} is not running.")),
            _ => return self.any("Oblien refused access to the workspace."),
        };
        Failure::new(code, message).detail(self.detail())
    }

    /// Said by the data plane.
    pub(super) fn data(&self) -> Failure {
        let (code, message) = match self.status {
            401 => return token_refused().detail(self.detail()),
            403 => return shut_out().detail(self.detail()),
            404 | 405 | 410 => (
                Code::ProviderNotRunning,
                "The workspace has no terminals to offer there: there is no such runtime, or its access was disabled.",
            ),
            _ => return self.any("Oblien refused to open a terminal."),
        };
        Failure::new(code, message).detail(self.detail())
    }

    fn any(&self, refused: &str) -> Failure {
        let (code, message) = match self.status {
            200..=299 => (Code::ProviderUnavailable, "Oblien answered with something that makes no sense."),
            408 | 504 => (Code::ProviderTimeout, "Oblien did not answer in time."),
            429 => (Code::ProviderUnavailable, "Oblien asks us to slow down. Try again in a moment."),
            500.. => (Code::ProviderUnavailable, "Oblien, or the workspace, is out of order."),
            _ => (Code::ProviderRefused, refused),
        };
        Failure::new(code, message).detail(self.detail())
    }

    /// For the log.
    pub(super) fn detail(&self) -> String {
        format!("status {}, error {:?}", self.status, self.word)
    }
}

/// The gateway does not forward to the workspace, whoever asks.
pub(super) fn shut_out() -> Failure {
    let message = "Oblien's gateway lets nobody into this workspace. Is public access on in its network settings?";
    Failure::new(Code::ProviderRefused, message)
}

/// The token is refused and no other can be had.
pub(super) fn token_refused() -> Failure {
    Failure::new(Code::ProviderRefused, "Oblien does not accept the token for this workspace.")
}

/// Nothing came in time.
pub(super) fn late() -> Failure {
    Failure::new(Code::ProviderTimeout, "Oblien did not answer in time.")
}

/// A success that is none.
pub(super) fn senseless(detail: &str) -> Failure {
    Failure::new(Code::ProviderUnavailable, "Oblien answered with something that makes no sense.").detail(detail)
}

/// What an error's name may consist of, cut short: the rest of what a peer sends has no place in a log.
fn token(text: &str) -> String {
    const MAX_LEN: usize = 64;
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ' ')).take(MAX_LEN).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};
    use serde_json::Value;

    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        let status = StatusCode::from_u16(status).unwrap();
        let reply = Reply { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) };
        read::<Value>(&reply).expect_err(body)
    }

    #[test]
    fn each_refusal_is_told_by_whom_it_is_up_to() {
        let cases = [
            (400, Code::ProviderRefused, Code::ProviderRefused),
            (401, Code::ProviderRefused, Code::ProviderRefused),
            (403, Code::ProviderRefused, Code::ProviderRefused),
            (404, Code::ProviderNotRunning, Code::ProviderNotRunning),
            (408, Code::ProviderTimeout, Code::ProviderTimeout),
            (409, Code::ProviderNotRunning, Code::ProviderRefused),
            (429, Code::ProviderUnavailable, Code::ProviderUnavailable),
            (500, Code::ProviderUnavailable, Code::ProviderUnavailable),
            (502, Code::ProviderUnavailable, Code::ProviderUnavailable),
            (504, Code::ProviderTimeout, Code::ProviderTimeout),
        ];
        for (status, control, data) in cases {
            let refusal = refusal(status, r#"{"success":false,"error":"some_word","message":"hush"}"#);
            for (failure, code) in [(refusal.control("ws_1"), control), (refusal.data(), data)] {
                assert_eq!(failure.code, code, "{status}: {failure:?}");
                assert!(failure.detail.contains(&status.to_string()) && failure.detail.contains("some_word"));
                assert!(!format!("{failure:?}").contains("hush"));
            }
        }
    }

    #[test]
    fn the_body_counts_where_the_status_is_a_success() {
        let refused = refusal(200, r#"{"success":false,"error":"nope"}"#);
        assert_eq!(refused.data().code, Code::ProviderUnavailable);
        assert!(refused.may_be_quota() && !refused.is_quota());
        assert_eq!(refusal(200, "<html>").data().code, Code::ProviderUnavailable);
    }

    #[test]
    fn what_a_peer_puts_into_an_error_cannot_forge_a_log_line() {
        let word = "x\\r\\n2026 INFO \\u001b[2J".to_owned() + &"y".repeat(500);
        let detail = refusal(400, &format!(r#"{{"error":"{word}"}}"#)).detail();
        assert!(!detail.contains(char::is_control) && detail.len() < 120, "{detail}");
    }
}
