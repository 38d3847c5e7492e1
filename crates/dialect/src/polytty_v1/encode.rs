//! What the proxy says, as JSON. Fields stand in the order of `docs/protocol.md`.

use std::fmt::Display;
use std::io::Write as _;

use crate::json::escape;
use crate::{Exit, Resume, ServerEvent, Size};

/// Appends one message.
pub(super) fn event(event: &ServerEvent<'_>, payload: &mut Vec<u8>) {
    match *event {
        ServerEvent::Ready { session, role, size, offset, input, window, resume } => {
            let mut object = Object::open("ready", payload);
            object.string("session", session);
            object.string("role", role.as_str());
            object.size(size);
            object.plain("offset", offset);
            object.plain("input", input);
            object.plain("window", window);
            if let Some(resume) = resume {
                let mut nested = object.nested("resume");
                nested.resume(resume);
                nested.close();
            }
            object.close();
        }
        ServerEvent::Replay { bytes, missing } => {
            let mut object = Object::open("replay", payload);
            object.plain("bytes", bytes);
            object.plain("missing", missing);
            object.close();
        }
        ServerEvent::Synthetic { bytes } => {
            let mut object = Object::open("synthetic", payload);
            object.plain("bytes", bytes);
            object.close();
        }
        ServerEvent::Resume(resume) => {
            let mut object = Object::open("resume", payload);
            object.resume(resume);
            object.close();
        }
        ServerEvent::Size(size) => {
            let mut object = Object::open("size", payload);
            object.size(size);
            object.close();
        }
        ServerEvent::Viewers(count) => {
            let mut object = Object::open("viewers", payload);
            object.plain("count", count);
            object.close();
        }
        ServerEvent::Pong(id) => {
            let mut object = Object::open("pong", payload);
            object.plain("id", id.as_json());
            object.close();
        }
        ServerEvent::Exit(exit) => exited(exit, payload),
        ServerEvent::Error { code, message, last } => {
            let mut object = Object::open("error", payload);
            object.string("code", code.slug());
            object.string("message", message);
            object.plain("final", last);
            object.close();
        }
    }
}

fn exited(exit: &Exit, payload: &mut Vec<u8>) {
    let mut object = Object::open("exit", payload);
    match exit.code {
        Some(code) => object.plain("code", code),
        None => object.plain("code", "null"),
    }
    if let Some(signal) = &exit.signal {
        object.string("signal", signal);
    }
    if let Some(reason) = &exit.reason {
        object.string("reason", reason);
    }
    object.close();
}

/// A JSON object on its way into a buffer.
struct Object<'a> {
    payload: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    fn open(operation: &str, payload: &'a mut Vec<u8>) -> Self {
        payload.push(b'{');
        let mut object = Self { payload, first: true };
        object.string("operation", operation);
        object
    }

    fn nested(&mut self, key: &str) -> Object<'_> {
        self.key(key);
        self.payload.push(b'{');
        Object { payload: self.payload, first: true }
    }

    fn close(self) {
        self.payload.push(b'}');
    }

    fn string(&mut self, key: &str, value: &str) {
        self.key(key);
        self.payload.push(b'"');
        escape(value, self.payload);
        self.payload.push(b'"');
    }

    /// A value that looks the same in JSON as it is displayed.
    fn plain(&mut self, key: &str, value: impl Display) {
        self.key(key);
        // Writing to a vector cannot fail.
        let _ = write!(self.payload, "{value}");
    }

    fn size(&mut self, size: Size) {
        self.plain("cols", size.cols());
        self.plain("rows", size.rows());
    }

    fn resume(&mut self, resume: Resume<'_>) {
        self.string("url", resume.url);
        self.string("expires_at", resume.expires_at);
    }

    fn key(&mut self, key: &str) {
        let comma = if std::mem::take(&mut self.first) { "" } else { "," };
        let _ = write!(self.payload, "{comma}\"{key}\":");
    }
}
