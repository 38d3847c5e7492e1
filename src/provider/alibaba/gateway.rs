//! Errors of Alibaba Cloud's API gateway and of the products behind it, in polytty's words.

use polytty_dialect::Code;
use serde::Deserialize;

use super::super::Failure;
use super::super::dial::Reply;

/// Who is asked, for the sentences.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    /// What people call it.
    pub(super) name: &'static str,
    /// The prefix of its RAM actions.
    pub(super) ram: &'static str,
}

/// An answer with a status from 400 on.
///
/// The body's `Message` is left out on purpose: that of a wrong signature repeats the whole signed request, the STS
/// token in it included.
#[derive(Debug)]
pub(super) struct ApiError {
    action: &'static str,
    status: u16,
    /// Empty where the body has none.
    code: String,
    request_id: String,
    retry_after: Option<String>,
}

/// What an error is about. The names of products and gateway are many, what can be done about them is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Throttled,
    TimedOut,
    Signature,
    AccessKey,
    Token,
    Clock,
    Right,
    UnknownCall,
    NoTarget,
    TargetNotReady,
    Repeated,
    OutOfOrder,
    Refused,
}

/// The body, in either spelling: `Code` of the gateway, `code` of some products.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    #[serde(rename = "Code", alias = "code")]
    code: Option<String>,
    #[serde(rename = "RequestId", alias = "requestId", alias = "request_id")]
    request_id: Option<String>,
}

impl ApiError {
    /// Reads the answer to a call of `action`. A body that cannot be read leaves the status to speak.
    pub(super) fn read(action: &'static str, reply: &Reply) -> Self {
        let body: Body = serde_json::from_slice(&reply.body).unwrap_or_default();
        let header = |name| reply.headers.get(name).and_then(|value| value.to_str().ok()).map(token);
        Self {
            action,
            status: reply.status.as_u16(),
            code: body.code.as_deref().map(token).unwrap_or_default(),
            request_id: body
                .request_id
                .as_deref()
                .map(token)
                .or_else(|| header("x-acs-request-id"))
                .unwrap_or_default(),
            retry_after: header("x-acs-retry-after")
                .map(|milliseconds| format!("{milliseconds}ms"))
                .or_else(|| header("retry-after").map(|seconds| format!("{seconds}s"))),
        }
    }

    /// Whether the target itself is in question, so that to look at it may explain more.
    pub(super) fn is_about_target(&self) -> bool {
        matches!(self.meaning(), Meaning::NoTarget | Meaning::TargetNotReady)
    }

    /// Whether a look at the target may explain more, also for a code that is known from nowhere: neither key, right,
    /// clock nor pace are what was refused.
    pub(super) fn may_be_about_target(&self) -> bool {
        self.is_about_target() || self.meaning() == Meaning::Refused
    }

    /// Whether a parameter is longer than the service takes.
    pub(super) fn is_value_exceeded(&self) -> bool {
        self.code == "InvalidParameter.ValueExceeded"
    }

    /// Whether the call was understood, and the thing it names is not there.
    pub(super) fn is_not_found(&self) -> bool {
        self.meaning() == Meaning::NoTarget
    }

    /// For people, and with the gateway's own code and request id for the log.
    pub(super) fn failure(&self, product: Product) -> Failure {
        let Product { name, ram } = product;
        let (code, message) = match self.meaning() {
            Meaning::Throttled => {
                (Code::ProviderUnavailable, format!("{name} asks us to slow down. Try again in a moment."))
            }
            Meaning::TimedOut => (Code::ProviderTimeout, format!("{name} did not answer in time.")),
            Meaning::Signature => (
                Code::ProviderRefused,
                format!("{name} did not accept the signature: the configured AccessKey secret does not fit its id."),
            ),
            Meaning::AccessKey => {
                (Code::ProviderRefused, format!("{name} does not accept the configured AccessKey id."))
            }
            Meaning::Token => (
                Code::ProviderRefused,
                format!("{name} does not accept the configured STS token: it has expired, or belongs to another key."),
            ),
            Meaning::Clock => (
                Code::ProviderRefused,
                format!("{name} refused the request's date: the clock of this server is off by more than 15 minutes."),
            ),
            Meaning::Right => (
                Code::ProviderRefused,
                format!("The configured AccessKey lacks a right at {name}: it needs {ram}:{}.", self.action),
            ),
            Meaning::UnknownCall => (
                Code::ProviderRefused,
                format!("{name} does not know what it was asked for. Are endpoint and region configured right?"),
            ),
            Meaning::NoTarget => (Code::ProviderNotRunning, format!("{name} does not know this target.")),
            Meaning::TargetNotReady => {
                (Code::ProviderNotRunning, format!("{name} opens no terminal there: the target is not running."))
            }
            // A call is sent again only where a connection that was kept ended without an answer.
            Meaning::Repeated => {
                (Code::ProviderUnavailable, format!("The answer of {name} was lost on the way. Try again."))
            }
            Meaning::OutOfOrder => (Code::ProviderUnavailable, format!("{name} is out of order.")),
            Meaning::Refused => (Code::ProviderRefused, format!("{name} refused to open a terminal.")),
        };
        Failure::new(code, message).detail(self.detail())
    }

    fn meaning(&self) -> Meaning {
        // The gateway names its own troubles with statuses that would mislead: 404 for a key, 400 for a flood.
        let by_code = match self.code.split('.').next().unwrap_or_default() {
            "Throttling" => Meaning::Throttled,
            "SignatureDoesNotMatch" | "IncompleteSignature" | "InvalidSignature" => Meaning::Signature,
            "SignatureNonceUsed" => Meaning::Repeated,
            "InvalidAccessKeyId" | "InvalidAccessKey" => Meaning::AccessKey,
            "InvalidSecurityToken" | "MissingSecurityToken" => Meaning::Token,
            "InvalidTimeStamp" => Meaning::Clock,
            "Forbidden" | "NoPermission" => Meaning::Right,
            "InvalidAction" | "InvalidVersion" | "UnsupportedHTTPMethod" => Meaning::UnknownCall,
            "NotFound" => Meaning::NoTarget,
            "BadRequest" | "IncorrectStatus" => Meaning::TargetNotReady,
            "InvalidParameter" => Meaning::NoTarget,
            "ServiceUnavailable" | "InternalError" => Meaning::OutOfOrder,
            "ServiceTimeout" | "RequestTimeout" => Meaning::TimedOut,
            _ => Meaning::Refused,
        };
        match (by_code, self.status) {
            (Meaning::Refused, 429) => Meaning::Throttled,
            (Meaning::Refused, 408 | 504) => Meaning::TimedOut,
            (Meaning::Refused, 401 | 403) => Meaning::Right,
            (Meaning::Refused, 404) => Meaning::NoTarget,
            (Meaning::Refused, 500..) => Meaning::OutOfOrder,
            (meaning, _) => meaning,
        }
    }

    fn detail(&self) -> String {
        let Self { action, status, code, request_id, .. } = self;
        let after = self.retry_after.as_ref().map(|after| format!(", retry after {after}")).unwrap_or_default();
        format!("{action}: status {status}, code {code}, request id {request_id}{after}")
    }
}

/// What a code or an id may consist of, cut short: the rest of what a peer sends has no place in a log.
fn token(text: &str) -> String {
    const MAX_LEN: usize = 64;
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')).take(MAX_LEN).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;

    const DLC: Product = Product { name: "PAI-DLC", ram: "paidlc" };

    fn failure(status: u16, body: &str) -> Failure {
        error(status, body, &[]).failure(DLC)
    }

    fn error(status: u16, body: &str, headers: &[(&'static str, &'static str)]) -> ApiError {
        let headers: HeaderMap = headers.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
        let reply = Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        ApiError::read("GetWebTerminal", &reply)
    }

    #[test]
    fn each_error_is_told_by_whom_it_is_up_to() {
        let cases = [
            (400, "SignatureDoesNotMatch", Code::ProviderRefused, "secret"),
            (404, "InvalidAccessKeyId.NotFound", Code::ProviderRefused, "AccessKey id"),
            (400, "InvalidAccessKeyId.Inactive", Code::ProviderRefused, "AccessKey id"),
            (403, "InvalidSecurityToken.Expired", Code::ProviderRefused, "STS token"),
            (400, "InvalidSecurityToken.Malformed", Code::ProviderRefused, "STS token"),
            (400, "InvalidTimeStamp.Expired", Code::ProviderRefused, "clock"),
            (403, "Forbidden.RAM", Code::ProviderRefused, "paidlc:GetWebTerminal"),
            (403, "NoPermission", Code::ProviderRefused, "paidlc:GetWebTerminal"),
            (400, "Throttling.User", Code::ProviderUnavailable, "slow down"),
            (429, "Throttling", Code::ProviderUnavailable, "slow down"),
            (503, "Throttling.Api", Code::ProviderUnavailable, "slow down"),
            (404, "InvalidAction.NotFound", Code::ProviderRefused, "endpoint"),
            (404, "NotFound", Code::ProviderNotRunning, "target"),
            (400, "BadRequest", Code::ProviderNotRunning, "not running"),
            (503, "ServiceUnavailable", Code::ProviderUnavailable, "out of order"),
            (500, "", Code::ProviderUnavailable, "out of order"),
            (502, "SomethingNew", Code::ProviderUnavailable, "out of order"),
            (504, "", Code::ProviderTimeout, "in time"),
            (400, "ServiceTimeout", Code::ProviderTimeout, "in time"),
            (429, "", Code::ProviderUnavailable, "slow down"),
            (403, "", Code::ProviderRefused, "right"),
            (400, "SomethingNew", Code::ProviderRefused, "refused"),
        ];
        for (status, code, expected, words) in cases {
            for spelling in ["Code", "code"] {
                let body = format!(r#"{{"RequestId":"R-1","HostId":"h","{spelling}":"{code}","Message":"words"}}"#);
                let failure = failure(status, &body);
                assert_eq!(failure.code, expected, "{status} {code}: {failure:?}");
                assert!(failure.message.contains(words), "{status} {code}: {failure:?}");
                assert!(failure.detail.contains("R-1") && failure.detail.contains(code), "{failure:?}");
            }
        }
    }

    #[test]
    fn when_to_come_back_reaches_the_log() {
        let error = error(400, r#"{"Code":"Throttling.User"}"#, &[("x-acs-retry-after", "2500")]);
        assert!(error.failure(DLC).detail.ends_with("retry after 2500ms"), "{error:?}");
    }

    #[test]
    fn a_body_that_is_no_json_leaves_the_status_to_speak() {
        for body in ["", "<html>", "[]", "null", r#"{"Code":7}"#, r#"{"Code":null}"#] {
            assert_eq!(failure(500, body).code, Code::ProviderUnavailable, "{body}");
            assert_eq!(failure(403, body).code, Code::ProviderRefused, "{body}");
        }
    }

    #[test]
    fn what_the_gateway_repeats_of_the_request_goes_nowhere() {
        let failure = failure(
            400,
            r#"{"Code":"SignatureDoesNotMatch\r\nforged line","RequestId":"\u001b[2J","Message":"server CanonicalRequest is [GET\nx-acs-security-token:hush]"}"#,
        );
        let told = format!("{failure:?}");
        assert!(!told.contains("hush") && !failure.detail.contains(char::is_control), "{told}");
    }
}
