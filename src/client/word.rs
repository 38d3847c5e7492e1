//! The JSON objects of `polytty.v1`, read and written from the client's side (protocol, "polytty.v1").

use polytty_dialect::{Exit, Kind, Outbox, Role, Size};
use serde_json::Value;

use super::conversation::Broken;

/// What polytty says beside output.
#[derive(Debug, PartialEq)]
pub(super) enum Word {
    Ready {
        role: Role,
        size: Size,
        offset: u64,
        input: u64,
        window: u64,
        resume: Option<RawResume>,
    },
    Resume(RawResume),
    Replay {
        bytes: u64,
        missing: u64,
    },
    Synthetic(u64),
    Pong(Option<u64>),
    Size(Size),
    Viewers(u64),
    Exit(Exit),
    Error {
        code: String,
        message: String,
        last: bool,
    },
    /// An operation of a later version.
    Unknown,
}

/// A resume link as it was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RawResume {
    pub(super) url: String,
    pub(super) expires_at: String,
}

/// Reads one text message. Fields and operations that are not known mean nothing; one that is known has to be whole.
pub(super) fn read(payload: &[u8]) -> Result<Word, Broken> {
    let value: Value = serde_json::from_slice(payload).map_err(|_| Broken("a text message is no JSON"))?;
    if !value.is_object() {
        return Err(Broken("a text message is no JSON object"));
    }
    let word = match value["operation"].as_str() {
        Some("ready") => ready(&value),
        Some("resume") => raw_resume(&value).map(Word::Resume),
        Some("replay") => replay(&value),
        Some("synthetic") => value["bytes"].as_u64().map(Word::Synthetic),
        Some("pong") => Some(Word::Pong(value["id"].as_u64())),
        Some("size") => size(&value).map(Word::Size),
        Some("viewers") => value["count"].as_u64().map(Word::Viewers),
        Some("exit") => Some(Word::Exit(exit(&value))),
        Some("error") => error(&value),
        _ => Some(Word::Unknown),
    };
    word.ok_or(Broken("a message lacks what its operation needs"))
}

fn ready(value: &Value) -> Option<Word> {
    let role = [Role::Writer, Role::Viewer].into_iter().find(|role| value["role"] == role.as_str())?;
    let resume = match &value["resume"] {
        Value::Null => None,
        link => Some(raw_resume(link)?),
    };
    let number = |name: &str| value[name].as_u64();
    Some(Word::Ready {
        role,
        size: size(value)?,
        offset: number("offset")?,
        input: number("input")?,
        window: number("window")?,
        resume,
    })
}

fn raw_resume(value: &Value) -> Option<RawResume> {
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    Some(RawResume { url: text("url")?, expires_at: text("expires_at")? })
}

fn replay(value: &Value) -> Option<Word> {
    Some(Word::Replay { bytes: value["bytes"].as_u64()?, missing: value["missing"].as_u64().unwrap_or(0) })
}

fn size(value: &Value) -> Option<Size> {
    Size::new(value["cols"].as_u64()?, value["rows"].as_u64()?)
}

fn exit(value: &Value) -> Exit {
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let code = value["code"].as_i64().and_then(|code| i32::try_from(code).ok());
    Exit { code, signal: text("signal"), reason: text("reason") }
}

fn error(value: &Value) -> Option<Word> {
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    Some(Word::Error { code: text("code")?, message: text("message")?, last: value["final"].as_bool()? })
}

/// Appends `resize`.
pub(super) fn resize(size: Size, out: &mut Outbox) {
    say(&format!(r#"{{"operation":"resize","cols":{},"rows":{}}}"#, size.cols(), size.rows()), out);
}

/// Appends `ack`.
pub(super) fn ack(offset: u64, out: &mut Outbox) {
    say(&format!(r#"{{"operation":"ack","bytes":{offset}}}"#), out);
}

/// Appends `ping`.
pub(super) fn ping(id: u64, out: &mut Outbox) {
    say(&format!(r#"{{"operation":"ping","id":{id}}}"#), out);
}

/// Appends `eof`.
pub(super) fn eof(out: &mut Outbox) {
    say(r#"{"operation":"eof"}"#, out);
}

/// Appends `close`, which ends the session itself.
pub(super) fn close(out: &mut Outbox) {
    say(r#"{"operation":"close"}"#, out);
}

fn say(text: &str, out: &mut Outbox) {
    out.message(Kind::Text, |payload| payload.extend_from_slice(text.as_bytes()));
}

#[cfg(test)]
mod tests {
    use polytty_dialect::{Code, PingId, Resume, ServerEvent, client_dialect};

    use super::*;

    /// What is read of an event that the proxy's own codec has written.
    fn heard(event: &ServerEvent<'_>) -> Word {
        let mut out = Outbox::new();
        client_dialect("polytty.v1").unwrap().event(event, &mut out);
        let payload = out.iter().next().unwrap().payload.to_vec();
        read(&payload).unwrap()
    }

    #[test]
    fn every_word_of_the_proxy_is_understood() {
        let size = Size::new(120, 40).unwrap();
        let link = Resume { url: "wss://term.example/t/x", expires_at: "2030-01-01T00:00:00Z" };
        let raw = || RawResume { url: link.url.to_owned(), expires_at: link.expires_at.to_owned() };
        let ready = |resume| ServerEvent::Ready {
            session: "s",
            role: Role::Writer,
            size,
            offset: u64::MAX,
            input: 2,
            window: 3,
            resume,
        };
        let heard_ready =
            |resume| Word::Ready { role: Role::Writer, size, offset: u64::MAX, input: 2, window: 3, resume };
        assert_eq!(heard(&ready(Some(link))), heard_ready(Some(raw())));
        assert_eq!(heard(&ready(None)), heard_ready(None));
        assert_eq!(heard(&ServerEvent::Resume(link)), Word::Resume(raw()));
        assert_eq!(heard(&ServerEvent::Replay { bytes: 1, missing: 2 }), Word::Replay { bytes: 1, missing: 2 });
        assert_eq!(heard(&ServerEvent::Synthetic { bytes: 7 }), Word::Synthetic(7));
        assert_eq!(heard(&ServerEvent::Pong(&PingId::new("7").unwrap())), Word::Pong(Some(7)));
        assert_eq!(heard(&ServerEvent::Size(size)), Word::Size(size));
        assert_eq!(heard(&ServerEvent::Viewers(2)), Word::Viewers(2));
        let exit = Exit { code: Some(-1), signal: Some("SIGKILL".to_owned()), reason: None };
        assert_eq!(heard(&ServerEvent::Exit(&exit)), Word::Exit(exit));
        assert_eq!(heard(&ServerEvent::Exit(&Exit::default())), Word::Exit(Exit::default()));
        let error = ServerEvent::Error { code: Code::Replaced, message: "m", last: true };
        let words = Word::Error { code: "replaced".to_owned(), message: "m".to_owned(), last: true };
        assert_eq!(heard(&error), words);
    }

    #[test]
    fn words_of_later_versions_are_ignored_and_halves_of_known_ones_are_not() {
        for unknown in [r#"{}"#, r#"{"operation":7}"#, r#"{"operation":"dance","bytes":"x"}"#] {
            assert_eq!(read(unknown.as_bytes()), Ok(Word::Unknown), "{unknown}");
        }
        for broken in ["", "7", "[]", "{", r#"{"operation":"ready"}"#, r#"{"operation":"synthetic","bytes":-1}"#] {
            assert!(read(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn the_proxy_understands_every_word_of_the_client() {
        use polytty_dialect::ClientEvent;
        let mut out = Outbox::new();
        let size = Size::new(120, 40).unwrap();
        resize(size, &mut out);
        ack(u64::MAX, &mut out);
        ping(7, &mut out);
        eof(&mut out);
        close(&mut out);
        let mut dialect = client_dialect("polytty.v1").unwrap();
        let heard: Vec<_> = out.iter().map(|message| dialect.decode(message, &mut Vec::new()).unwrap()).collect();
        let expected = [
            ClientEvent::Resize { size, clamped: false },
            ClientEvent::Ack(u64::MAX),
            ClientEvent::Ping(PingId::new("7").unwrap()),
            ClientEvent::Eof,
            ClientEvent::Close,
        ];
        assert_eq!(heard, expected);
    }
}
