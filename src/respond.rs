//! HTTP responses: JSON, problems (RFC 9457), and the fields that every response carries.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Frame, Incoming, SizeHint};
use polytty_dialect::Code;
use serde::Serialize;

use crate::recording::Playback;

/// Where the shared store is to blame, another try is worth it after so many seconds: that often it is connected to again.
pub const STORE_RETRY: &str = "2";

/// A response.
pub type Reply = Response<Body>;

/// What a response carries.
pub enum Body {
    /// It is there as a whole.
    Whole(Full<Bytes>),
    /// It is read from a disk while it is sent.
    Playback(Box<Playback>),
    /// It comes from another replica while it is sent.
    Relayed(Incoming),
}

impl Default for Body {
    fn default() -> Self {
        Self::Whole(Full::default())
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Playback(body) => Pin::new(body.as_mut()).poll_frame(cx),
            Self::Relayed(body) => Pin::new(body).poll_frame(cx).map_err(io::Error::other),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Playback(_) => false,
            Self::Relayed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Playback(_) => SizeHint::default(),
            Self::Relayed(body) => body.size_hint(),
        }
    }
}

/// A response with a body and the fields that keep browsers from misusing it.
#[must_use]
pub fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    respond(status, content_type, Body::Whole(Full::new(body.into())))
}

/// A response with a recording in it, and the same fields.
#[must_use]
pub fn streaming(status: StatusCode, content_type: &'static str, body: Playback) -> Reply {
    respond(status, content_type, Body::Playback(Box::new(body)))
}

fn respond(status: StatusCode, content_type: &'static str, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    reply
}

/// A JSON response.
#[must_use]
pub fn json<T: Serialize>(status: StatusCode, body: &T) -> Reply {
    match serde_json::to_vec(body) {
        Ok(body) => reply(status, "application/json", body),
        Err(error) => {
            tracing::error!(error = ?error.to_string(), "a response could not be written as JSON");
            Problem::new(Code::Internal, "the response could not be written").reply()
        }
    }
}

/// What went wrong with a request, as RFC 9457 tells it.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    status: StatusCode,
    detail: String,
}

impl Problem {
    /// A problem with the status that belongs to its code.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { code, status, detail: detail.into() }
    }

    /// A problem with another status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The JSON body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: &'static str,
            title: &'a str,
            status: u16,
            detail: &'a str,
            code: &'static str,
        }
        let title = self.status.canonical_reason().unwrap_or("Error");
        let (status, code) = (self.status.as_u16(), self.code.slug());
        let body = Body { r#type: "about:blank", title, status, detail: &self.detail, code };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The response.
    #[must_use]
    pub fn reply(&self) -> Reply {
        reply(self.status, "application/problem+json", self.body())
    }
}

/// Adds a field. A value that cannot stand in a field is left out.
#[must_use]
pub fn with(mut reply: Reply, name: HeaderName, value: &str) -> Reply {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
    reply
}

/// Ends the connection with this response.
#[must_use]
pub fn closing(reply: Reply) -> Reply {
    with(reply, header::CONNECTION, "close")
}
