//! What channel 3 says about the end of a command.

use std::borrow::Cow;

use serde::Deserialize;

use crate::{Exit, UpstreamEvent};

/// How much of the provider's own words is kept for the log, in bytes.
const MAX_WORDS: usize = 512;

/// How Kubernetes begins the text for a command that ran and ended with another status than 0.
const NON_ZERO: &str = "command terminated with ";

/// Reads a `metav1.Status` of Kubernetes' API machinery, or plain text. A server may fall back to the older form
/// although a newer one was asked for, so what is there decides.
pub(super) fn verdict(payload: &[u8]) -> UpstreamEvent {
    if let Ok(status) = serde_json::from_slice::<Status<'_>>(payload)
        && let Some(outcome) = &status.status
    {
        return match (outcome.as_ref(), status.exit_code()) {
            ("Success", _) => exit(0),
            (_, Some(code)) => exit(code),
            (_, None) => failed(status.message.as_deref().unwrap_or_default()),
        };
    }
    let text = String::from_utf8_lossy(payload);
    match text.starts_with(NON_ZERO).then(|| last_number(&text)).flatten() {
        Some(code) => exit(code),
        None => failed(&text),
    }
}

#[derive(Deserialize)]
struct Status<'a> {
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    details: Option<Details<'a>>,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow)]
    causes: Option<Vec<Cause<'a>>>,
}

#[derive(Deserialize)]
struct Cause<'a> {
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
}

impl Status<'_> {
    fn exit_code(&self) -> Option<i32> {
        let causes = self.details.as_ref()?.causes.as_ref()?;
        let cause = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"))?;
        cause.message.as_deref()?.parse().ok()
    }
}

/// The number at the end of a text such as `command terminated with exit code 3`.
fn last_number(text: &str) -> Option<i32> {
    text.trim_end().rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn exit(code: i32) -> UpstreamEvent {
    UpstreamEvent::Exit(Exit { code: Some(code), ..Exit::default() })
}

fn failed(words: &str) -> UpstreamEvent {
    let words = &words[..words.floor_char_boundary(MAX_WORDS)];
    UpstreamEvent::Failed(words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_how_the_command_ended() {
        let non_zero = r#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: exit status 3",
            "reason":"NonZeroExitCode","details":{"causes":[{"reason":"Other","message":"9"},{"reason":"ExitCode","message":"3"}]},"code":500}"#;
        let refused = r#"{"status":"Failure","message":"no \u001bsuch container","reason":"InternalError","details":{"causes":[{}]}}"#;
        for (status, expected) in [
            (r#"{"metadata":{},"status":"Success"}"#, exit(0)),
            (non_zero, exit(3)),
            (refused, failed("no  such container")),
            (r#"{"status":"Failure"}"#, failed("")),
            (r#"{"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"x"}]}}"#, failed("")),
            (r#"{"status":"Failure","details":null,"message":null}"#, failed("")),
        ] {
            assert_eq!(verdict(status.as_bytes()), expected, "{status}");
        }
    }

    #[test]
    fn plain_text_is_a_failure_unless_it_tells_an_exit_status() {
        for (text, expected) in [
            ("command terminated with exit code 137", exit(137)),
            ("command terminated with non-zero exit code: Error executing in Docker Container: 1\n", exit(1)),
            ("command terminated with signal: killed", failed("command terminated with signal: killed")),
            ("the command terminated with exit code 1", failed("the command terminated with exit code 1")),
            ("command terminated with 99999999999", failed("command terminated with 99999999999")),
            ("", failed("")),
            ("[]", failed("[]")),
            (r#"{"error":"x"}"#, failed(r#"{"error":"x"}"#)),
        ] {
            assert_eq!(verdict(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(verdict(b"\xff\x1b[2J"), failed("\u{fffd} [2J"));
    }

    #[test]
    fn words_are_kept_up_to_their_limit() {
        for (len, kept) in [(MAX_WORDS, MAX_WORDS), (MAX_WORDS + 1, MAX_WORDS)] {
            let UpstreamEvent::Failed(words) = verdict("x".repeat(len).as_bytes()) else { panic!("a failure") };
            assert_eq!(words.len(), kept);
        }
        let euro = "x".repeat(MAX_WORDS - 1) + "€";
        assert_eq!(verdict(euro.as_bytes()), failed(&euro[..MAX_WORDS - 1]));
    }
}
