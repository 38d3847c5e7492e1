//! What Dockhand and Docker say when there is no terminal, in polytty's words.

use http::StatusCode;
use polytty_dialect::Code;
use polytty_dialect::dockhand::MAX_WORDS;
use serde::Deserialize;

use super::super::Failure;
use super::super::dial::Reply;
use super::target::DockhandTarget;

/// What the words of Dockhand or Docker are about. They are looked for in lower case, in this order.
const PHRASES: [(&str, Meaning); 16] = [
    ("no such container", Meaning::NoContainer),
    ("is not running", Meaning::NotRunning),
    ("is paused", Meaning::NotRunning),
    ("is restarting", Meaning::NotRunning),
    ("is marked for removal", Meaning::NotRunning),
    ("no environment specified", Meaning::NoEnvironment),
    ("environment not found", Meaning::NoEnvironment),
    ("docker daemon", Meaning::Unreachable),
    ("access denied", Meaning::NoRight),
    ("permission denied", Meaning::NoRight),
    ("agent", Meaning::Unreachable),
    ("socket", Meaning::Unreachable),
    ("timeout", Meaning::Unreachable),
    ("econn", Meaning::Unreachable),
    ("enotfound", Meaning::Unreachable),
    ("invalid container id", Meaning::NoContainer),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    NoContainer,
    NotRunning,
    NoEnvironment,
    NoRight,
    Unreachable,
    Other,
}

/// The failure for an error that came inside of the WebSocket before there was a terminal, or in the body of an
/// answer. The words go into the log only.
pub(super) fn in_words(words: &str, target: &DockhandTarget) -> Failure {
    let DockhandTarget { container, environment, .. } = target;
    let (code, message) = match meaning(words) {
        Meaning::NoContainer => {
            (Code::ProviderNotRunning, format!("Environment {environment} has no container {container}."))
        }
        Meaning::NotRunning => {
            (Code::ProviderNotRunning, format!("Container {container} of environment {environment} is not running."))
        }
        Meaning::NoEnvironment => (Code::ProviderNotRunning, format!("Dockhand has no environment {environment}.")),
        Meaning::NoRight => (
            Code::ProviderRefused,
            format!("The configured account may not open terminals in environment {environment} of Dockhand."),
        ),
        Meaning::Unreachable => (
            Code::ProviderUnavailable,
            format!("Dockhand does not reach the Docker host of environment {environment}."),
        ),
        Meaning::Other => (Code::ProviderUnavailable, "Dockhand could not open the terminal.".to_owned()),
    };
    Failure::new(code, message).detail(printable(words))
}

/// The failure for a refused start: Docker's own error where the first output should be.
pub(super) fn start(words: &str, target: &DockhandTarget) -> Failure {
    let failure = in_words(words, target);
    if meaning(words) != Meaning::Other {
        return failure;
    }
    Failure::new(Code::ProviderNotRunning, format!("Docker did not start the shell in container {}.", target.container))
        .detail(failure.detail)
}

/// The failure for an answer of the HTTP API with a status from 400 on.
pub(super) fn answer(reply: &Reply, target: &DockhandTarget) -> Failure {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Body {
        error: Option<String>,
    }

    let body: Body = serde_json::from_slice(&reply.body).unwrap_or_default();
    let failure = match (reply.status, body.error) {
        (StatusCode::UNAUTHORIZED, _) => unauthorized(),
        (StatusCode::TOO_MANY_REQUESTS, _) => {
            Failure::new(Code::ProviderUnavailable, "Dockhand asks us to slow down. Try again in a few minutes.")
        }
        (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, _) => {
            Failure::new(Code::ProviderRefused, "Dockhand does not know what it was asked for.")
        }
        (_, Some(words)) => in_words(&words, target),
        (StatusCode::FORBIDDEN, None) => in_words("permission denied", target),
        (_, None) => Failure::new(Code::ProviderUnavailable, "Dockhand is out of order."),
    };
    let detail = format!("status {}; {}", reply.status.as_u16(), failure.detail);
    failure.detail(detail)
}

/// The failure for credentials that are of no use.
pub(super) fn unauthorized() -> Failure {
    Failure::new(Code::ProviderRefused, "Dockhand does not accept the configured credentials.")
}

/// Docker's error where a terminal's first output should be: a JSON object with a `message` and nothing else. A shell
/// may print the same, but hardly as its first words and then nothing more.
pub(super) fn refused_start(output: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct DockerError {
        message: String,
    }

    let output = output.trim_ascii();
    let looks_right = output.starts_with(b"{") && output.ends_with(b"}") && output.len() <= MAX_START;
    looks_right.then(|| serde_json::from_slice::<DockerError>(output).ok()).flatten().map(|error| error.message)
}

/// The longest first output that is looked at for Docker's error, in bytes.
const MAX_START: usize = 4096;

fn meaning(words: &str) -> Meaning {
    let words = words.to_ascii_lowercase();
    // The number stands in the middle: "Environment 99 not found".
    if words.starts_with("environment ") && words.contains("not found") {
        return Meaning::NoEnvironment;
    }
    PHRASES.iter().find(|(phrase, _)| words.contains(phrase)).map_or(Meaning::Other, |&(_, meaning)| meaning)
}

fn printable(words: &str) -> String {
    let words = &words[..words.floor_char_boundary(MAX_WORDS)];
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use serde_json::json;

    use super::*;

    fn target() -> DockhandTarget {
        DockhandTarget::read(&json!({"container": "web", "environment": 7})).unwrap()
    }

    #[test]
    fn each_error_is_told_by_what_it_is_about() {
        for (words, code, message) in [
            ("No such container: nope", Code::ProviderNotRunning, "Environment 7 has no container web."),
            ("Invalid container ID", Code::ProviderNotRunning, "Environment 7 has no container web."),
            (
                "container 0ff is not running",
                Code::ProviderNotRunning,
                "Container web of environment 7 is not running.",
            ),
            (
                "Container x is paused, unpause the container before exec",
                Code::ProviderNotRunning,
                "Container web of environment 7 is not running.",
            ),
            ("Environment 99 not found", Code::ProviderNotRunning, "Dockhand has no environment 7."),
            ("No environment specified", Code::ProviderNotRunning, "Dockhand has no environment 7."),
            (
                "Access denied for this environment",
                Code::ProviderRefused,
                "The configured account may not open terminals in environment 7 of Dockhand.",
            ),
            (
                "Docker socket not accessible",
                Code::ProviderUnavailable,
                "Dockhand does not reach the Docker host of environment 7.",
            ),
            (
                "Edge agent not connected",
                Code::ProviderUnavailable,
                "Dockhand does not reach the Docker host of environment 7.",
            ),
            (
                "connect ECONNREFUSED 10.0.0.1:2375",
                Code::ProviderUnavailable,
                "Dockhand does not reach the Docker host of environment 7.",
            ),
            (
                "permission denied while trying to connect to the Docker daemon socket",
                Code::ProviderUnavailable,
                "Dockhand does not reach the Docker host of environment 7.",
            ),
            ("Something else", Code::ProviderUnavailable, "Dockhand could not open the terminal."),
        ] {
            let failure = in_words(words, &target());
            assert_eq!((failure.code, failure.message.as_str()), (code, message), "{words}");
            assert_eq!(failure.detail, words);
        }
        let forged = in_words(&("\u{1b}[2J\r\n".to_owned() + &"x".repeat(2000)), &target());
        assert!(!forged.detail.contains(char::is_control) && forged.detail.len() <= MAX_WORDS);
    }

    #[test]
    fn an_answer_is_told_by_its_status_and_its_words() {
        for (status, body, code, words) in [
            (401, r#"{"error":"Unauthorized"}"#, Code::ProviderRefused, "credentials"),
            (403, r#"{"error":"Permission denied"}"#, Code::ProviderRefused, "may not open terminals"),
            (403, "", Code::ProviderRefused, "may not open terminals"),
            (404, "<html>", Code::ProviderRefused, "does not know"),
            (429, "", Code::ProviderUnavailable, "slow down"),
            (500, r#"{"error":"No such container: web"}"#, Code::ProviderNotRunning, "no container web"),
            (500, "<html>", Code::ProviderUnavailable, "out of order"),
        ] {
            let status_code = StatusCode::from_u16(status).unwrap();
            let body = Bytes::copy_from_slice(body.as_bytes());
            let failure = answer(&Reply { status: status_code, headers: HeaderMap::new(), body }, &target());
            assert_eq!(failure.code, code, "{status}: {failure:?}");
            assert!(failure.message.contains(words), "{status}: {failure:?}");
            assert!(failure.detail.starts_with(&format!("status {status}")), "{failure:?}");
        }
    }

    #[test]
    fn dockers_error_is_told_from_what_shells_print() {
        let refused = br#"{"message": "container is not running"}"#;
        assert_eq!(refused_start(refused).as_deref(), Some("container is not running"));
        assert_eq!(refused_start(b"{\"message\":\"x\"}\r\n").as_deref(), Some("x"));
        for output in [
            &b"# "[..],
            b"{}",
            br#"{"message":"x","code":1}"#,
            br#"{"message":7}"#,
            br#"$ {"message":"x"}"#,
            b"{\"mess",
            b"",
        ] {
            assert_eq!(refused_start(output), None);
        }
        for (len, is_looked_at) in [(MAX_START, true), (MAX_START + 1, false)] {
            let output = format!(r#"{{"message":"{}"}}"#, "x".repeat(len - 14));
            assert_eq!((output.len(), refused_start(output.as_bytes()).is_some()), (len, is_looked_at));
        }
        assert_eq!(start("OCI runtime says no", &target()).code, Code::ProviderNotRunning);
        assert_eq!(
            start("container is not running", &target()).message,
            "Container web of environment 7 is not running."
        );
    }
}
