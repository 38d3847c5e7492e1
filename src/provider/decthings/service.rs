//! Decthings as it is reached: one address for calls by HTTP, one for the socket.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, StatusCode};
use polytty_dialect::Code;
use polytty_dialect::decthings::{Call, Calls, ErrorCode, Refusal, Reply, read_body};
use tokio::time::timeout;

use super::words;
use crate::config::{Decthings, Writes};
use crate::provider::Failure;
use crate::provider::dial::{Dialer, Request, Stream, WebSocketRefusal, WebSocketRequest};
use crate::socket::{Options, Role, Socket};

const AGENT: &str = concat!("polytty/", env!("CARGO_PKG_VERSION"));

/// How long a call by HTTP, or the dial of the socket, may take.
const EXCHANGE: Duration = Duration::from_secs(30);

/// How the socket is treated. The service has no sign of life of its own; a ping is traffic to every middlebox, and
/// well under the usual 30 s.
const SOCKET: Options = Options {
    role: Role::Client,
    max_message: 1 << 20,
    ping_every: Duration::from_secs(20),
    pong_within: Duration::from_secs(20),
};

/// One configured account.
pub(super) struct Service {
    /// The provider's name in the configuration, for the log.
    pub(super) name: String,
    settings: Decthings,
    dialer: Dialer,
}

/// A call by HTTP, ready to be sent.
pub(super) struct Post {
    method: &'static str,
    path: String,
    body: Bytes,
}

impl Post {
    pub(super) fn new(call: Call<'_>) -> Self {
        let mut body = Vec::new();
        call.body(&mut body);
        Self { method: call.method(), path: call.path(), body: body.into() }
    }
}

impl Service {
    pub(super) fn new(name: String, settings: Decthings, dialer: Dialer) -> Self {
        Self { name, settings, dialer }
    }

    /// Whether calls for open terminals go by HTTP.
    pub(super) fn posts_writes(&self) -> bool {
        self.settings.writes == Writes::Http
    }

    /// A writer for one connection.
    pub(super) fn calls(&self) -> Calls {
        Calls::new(self.settings.api_key.expose())
    }

    /// Opens the socket. The key is not in the handshake: it goes into every call.
    pub(super) async fn connect(&self) -> Result<Socket<Stream>, Failure> {
        let url = &self.settings.ws_url;
        let request = WebSocketRequest {
            tls: url.base().is_tls(),
            authority: url.base().authority(),
            path_and_query: or_root(url.path()),
            subprotocol: None,
            headers: HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(AGENT))]),
        };
        let dialled = timeout(EXCHANGE, self.dialer.websocket(request)).await.map_err(|_| too_late("the handshake"))?;
        let (stream, already_read) = dialled.map_err(refused)?;
        Ok(Socket::new(stream, &already_read, SOCKET))
    }

    /// Makes a call by HTTP. A status of 429 is a refusal like one in the reply.
    pub(super) async fn post(&self, post: Post) -> Result<Reply, Failure> {
        let Post { method, path, body } = post;
        let url = &self.settings.http_url;
        let mut key = HeaderValue::from_str(&format!("Bearer {}", self.settings.api_key.expose())).map_err(|_| {
            Failure::new(Code::ProviderRefused, "The configured api_key cannot be sent.")
                .detail("it has characters that no header field can hold")
        })?;
        key.set_sensitive(true);
        let headers = HeaderMap::from_iter([
            (AUTHORIZATION, key),
            (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
            (USER_AGENT, HeaderValue::from_static(AGENT)),
        ]);
        let path_and_query = format!("{}{path}", url.path());
        let request =
            Request { method: Method::POST, path_and_query: &path_and_query, headers, body, repeatable: false };
        let reply = timeout(EXCHANGE, self.dialer.request(url.base(), request)).await;
        let reply = reply.unwrap_or_else(|_| Err(too_late(method)))?;
        if reply.status == StatusCode::TOO_MANY_REQUESTS {
            let word = "429".to_owned();
            return Ok(Reply::Refused(Refusal { code: ErrorCode::TooManyRequests, word, parameter: None }));
        }
        if reply.status != StatusCode::OK {
            return Err(status(method, reply.status));
        }
        read_body(&reply.body).map_err(|bad| words::no_reply(method, bad))
    }
}

fn or_root(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

fn too_late(what: &str) -> Failure {
    Failure::new(Code::ProviderTimeout, "Decthings did not answer in time.").detail(format!("{what}: {EXCHANGE:?}"))
}

/// No key is in the handshake, so a status that refuses it is about the address.
fn refused(refusal: WebSocketRefusal) -> Failure {
    match refusal {
        WebSocketRefusal::Status(
            status @ (StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::METHOD_NOT_ALLOWED),
        ) => Failure::new(
            Code::ProviderRefused,
            "Decthings has no terminals at this address. Is ws_url configured right?",
        )
        .detail(format!("status {} instead of 101", status.as_u16())),
        other => other.into(),
    }
}

/// Every outcome of a call is told with 200; other statuses are about the way to it.
fn status(method: &str, status: StatusCode) -> Failure {
    let (code, message) = match status.as_u16() {
        401 | 403 => (Code::ProviderRefused, "Decthings does not accept the configured api_key."),
        404 => (Code::ProviderRefused, "Decthings does not know the call. Is http_url configured right?"),
        408 | 504 => (Code::ProviderTimeout, "Decthings did not answer in time."),
        400..=499 => (Code::ProviderRefused, "Decthings refused the call."),
        _ => (Code::ProviderUnavailable, "Decthings is out of order."),
    };
    Failure::new(code, message).detail(format!("{method}: status {}", status.as_u16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_told_by_whom_it_is_up_to() {
        for (number, code) in [
            (401, Code::ProviderRefused),
            (404, Code::ProviderRefused),
            (413, Code::ProviderRefused),
            (500, Code::ProviderUnavailable),
            (504, Code::ProviderTimeout),
            (204, Code::ProviderUnavailable),
        ] {
            let failure = status("writeToTerminalSession", StatusCode::from_u16(number).unwrap());
            assert_eq!(failure.code, code, "{number}");
            assert!(failure.detail.ends_with(&number.to_string()), "{failure:?}");
        }
    }
}
