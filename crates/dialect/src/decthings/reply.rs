//! Replies: what came of a call.

use super::MAX_SESSION_ID;
use super::fields::Fields;
use super::varint::Pieces;
use crate::BadMessage;

/// How the reply of nearly every call is spelled.
const DONE: &[u8] = br#"{"result":{}}"#;

/// The longest name of an error or a parameter that is kept for the log, in characters.
const MAX_WORD: usize = 64;

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was done. The id of the terminal, where the call was to launch one.
    Done(Option<String>),
    /// It was refused.
    Refused(Refusal),
}

/// Why a call was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it means.
    pub code: ErrorCode,
    /// The code's name as it came, for the log: letters, digits and a few signs, cut short.
    pub word: String,
    /// Which parameter was refused, in the same form; only with [`ErrorCode::InvalidParameter`].
    pub parameter: Option<String>,
}

/// The documented errors of the API "Terminal".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// `model_not_found`
    ModelNotFound,
    /// `persistent_launcher_not_found`
    PersistentLauncherNotFound,
    /// `quota_exceeded`
    QuotaExceeded,
    /// `server_overloaded`
    ServerOverloaded,
    /// `terminal_session_not_found`
    TerminalSessionNotFound,
    /// `not_subscribed`
    NotSubscribed,
    /// `bad_credentials`
    BadCredentials,
    /// `too_many_requests`
    TooManyRequests,
    /// `payment_required`
    PaymentRequired,
    /// `invalid_parameter`
    InvalidParameter,
    /// `unknown`, or a code that is not documented.
    Unknown,
}

impl ErrorCode {
    fn of(word: &str) -> Self {
        match word {
            "model_not_found" => Self::ModelNotFound,
            "persistent_launcher_not_found" => Self::PersistentLauncherNotFound,
            "quota_exceeded" => Self::QuotaExceeded,
            "server_overloaded" => Self::ServerOverloaded,
            "terminal_session_not_found" => Self::TerminalSessionNotFound,
            "not_subscribed" => Self::NotSubscribed,
            "bad_credentials" => Self::BadCredentials,
            "too_many_requests" => Self::TooManyRequests,
            "payment_required" => Self::PaymentRequired,
            "invalid_parameter" => Self::InvalidParameter,
            _ => Self::Unknown,
        }
    }
}

/// Reads the body of an HTTP reply.
///
/// # Errors
///
/// [`BadMessage`] when it is not one whole reply.
pub fn read_body(body: &[u8]) -> Result<Reply, BadMessage> {
    let mut pieces = Pieces::new(body);
    let json = pieces.sized()?;
    while !pieces.is_empty() {
        pieces.sized()?;
    }
    read(json)
}

/// Reads the JSON of a reply: either a `result` or an `error`. One that is null counts as not there.
pub(super) fn read(json: &[u8]) -> Result<Reply, BadMessage> {
    if json == DONE {
        return Ok(Reply::Done(None));
    }
    let fields = Fields::parse(json)?;
    match (fields.get("result").is_some(), fields.get("error").is_some()) {
        (true, false) => Ok(Reply::Done(session_id(&fields.object("result")?)?)),
        (false, true) => refusal(&fields.object("error")?).map(Reply::Refused),
        (true, true) => Err(BadMessage { reason: "a reply has both a result and an error" }),
        (false, false) => Err(BadMessage { reason: "a reply has neither a result nor an error" }),
    }
}

fn session_id(result: &Fields<'_>) -> Result<Option<String>, BadMessage> {
    match result.string("terminalSessionId")? {
        Some(id) if id.is_empty() || id.len() > MAX_SESSION_ID => {
            Err(BadMessage { reason: "the id of a terminal is empty or too long" })
        }
        id => Ok(id.map(Into::into)),
    }
}

fn refusal(error: &Fields<'_>) -> Result<Refusal, BadMessage> {
    let word = error.string("code")?.unwrap_or_default();
    let code = ErrorCode::of(&word);
    let parameter = match code {
        ErrorCode::InvalidParameter => error.string("parameterName")?.as_deref().map(plain),
        _ => None,
    };
    Ok(Refusal { code, word: plain(&word), parameter })
}

/// What names consist of, cut short: the rest of what a peer sends has no place in a log.
pub(super) fn plain(word: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '[' | ']');
    word.chars().filter(is_plain).take(MAX_WORD).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> Refusal {
        match read(json.as_bytes()) {
            Ok(Reply::Refused(refusal)) => refusal,
            other => panic!("{json}: {other:?}"),
        }
    }

    #[test]
    fn every_documented_error_is_known_and_every_other_is_unknown() {
        for (word, code) in [
            ("model_not_found", ErrorCode::ModelNotFound),
            ("persistent_launcher_not_found", ErrorCode::PersistentLauncherNotFound),
            ("quota_exceeded", ErrorCode::QuotaExceeded),
            ("server_overloaded", ErrorCode::ServerOverloaded),
            ("terminal_session_not_found", ErrorCode::TerminalSessionNotFound),
            ("not_subscribed", ErrorCode::NotSubscribed),
            ("bad_credentials", ErrorCode::BadCredentials),
            ("too_many_requests", ErrorCode::TooManyRequests),
            ("payment_required", ErrorCode::PaymentRequired),
            ("invalid_parameter", ErrorCode::InvalidParameter),
            ("unknown", ErrorCode::Unknown),
            ("teapot", ErrorCode::Unknown),
        ] {
            let refusal = refused(&format!(r#"{{"error":{{"code":"{word}"}}}}"#));
            assert_eq!((refusal.code, refusal.word.as_str()), (code, word));
        }
    }

    #[test]
    fn a_refused_parameter_is_named_and_the_reason_is_left_out() {
        let refusal = refused(
            r#"{"error":{"code":"invalid_parameter","parameterName":"options.cols\u001b[2J\r\n","reason":"s3cret"}}"#,
        );
        assert_eq!(refusal.parameter.as_deref(), Some("options.cols[2J"));
        assert!(!format!("{refusal:?}").contains("s3cret"));
        let long = refused(&format!(r#"{{"error":{{"code":"{}"}}}}"#, "x".repeat(1000)));
        assert_eq!((long.code, long.word.len()), (ErrorCode::Unknown, MAX_WORD));
    }

    #[test]
    fn an_id_has_its_limit() {
        let reply = |len| read(format!(r#"{{"result":{{"terminalSessionId":"{}"}}}}"#, "i".repeat(len)).as_bytes());
        assert_eq!(reply(MAX_SESSION_ID), Ok(Reply::Done(Some("i".repeat(MAX_SESSION_ID)))));
        assert!(reply(MAX_SESSION_ID + 1).is_err());
        assert!(reply(0).is_err());
    }

    #[test]
    fn what_is_no_reply_is_told() {
        for (json, words) in [
            ("", "malformed"),
            ("{", "malformed"),
            ("[]", "object"),
            ("{}", "neither"),
            (r#"{"result":null}"#, "neither"),
            (r#"{"result":{},"error":{"code":"unknown"}}"#, "both"),
            (r#"{"result":7}"#, "object"),
            (r#"{"error":"unknown"}"#, "object"),
            (r#"{"error":{"code":7}}"#, "string"),
            (r#"{"result":{"terminalSessionId":["x"]}}"#, "string"),
        ] {
            let bad = read(json.as_bytes()).expect_err(json);
            assert!(bad.reason.contains(words), "{json}: {bad}");
        }
        assert_eq!(read(br#"{"result":{},"error":null}"#), Ok(Reply::Done(None)));
        assert_eq!(read(br#"{ "error": null, "result": {"x": 1} }"#), Ok(Reply::Done(None)));
    }

    #[test]
    fn the_body_of_an_http_reply_is_whole_or_nothing() {
        let body = [&[0x0d][..], DONE, &[2, b'h', b'i']].concat();
        assert_eq!(read_body(&body), Ok(Reply::Done(None)));
        assert_eq!(read_body(&body[..14]), Ok(Reply::Done(None)), "the blob is not needed");
        for len in (0..14).chain(15..17) {
            assert!(read_body(&body[..len]).is_err(), "{len}");
        }
    }
}
