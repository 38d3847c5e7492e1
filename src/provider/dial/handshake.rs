//! The opening handshake of WebSocket (RFC 6455, section 4.1), the client's side.

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{Response, StatusCode, Version};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use polytty_dialect::Code;

use super::super::Failure;
use super::exchange::{Io, beside, broken, client, host_field, unsendable};
use super::{DialError, Dialer, Stream};
use crate::config::units::Authority;

/// Where a WebSocket is asked for, and how.
pub(crate) struct WebSocketRequest<'a> {
    pub(crate) tls: bool,
    pub(crate) authority: &'a Authority,
    /// Encoded, as it goes on the wire. It may hold secrets and reaches no error and no log.
    pub(crate) path_and_query: &'a str,
    /// The one subprotocol that is offered.
    pub(crate) subprotocol: Option<&'a str>,
    /// Further fields. There is never an `Origin`: no page is asking.
    pub(crate) headers: HeaderMap,
}

/// Why there is no WebSocket.
#[derive(Debug)]
pub(crate) enum WebSocketRefusal {
    /// No connection came about.
    Dial(DialError),
    /// The request could not be made, or the connection broke before there was an answer.
    Broken(Failure),
    /// An answer in HTTP, with another status than 101.
    Status(StatusCode),
    /// A 101 that is no handshake; says which rule it breaks.
    Lie(&'static str),
}

impl Dialer {
    /// Connects and shakes hands. What comes back is verified: status, `Upgrade`, `Connection`, the one right
    /// `Sec-WebSocket-Accept`, no extension (none is offered) and no subprotocol but the offered one. With the
    /// connection come the bytes that the peer sent right behind its head.
    ///
    /// # Errors
    ///
    /// [`WebSocketRefusal`], which turns into a [`Failure`].
    pub(crate) async fn websocket(&self, request: WebSocketRequest<'_>) -> Result<(Stream, Bytes), WebSocketRefusal> {
        let mut nonce = [0; 16];
        rand::fill(&mut nonce).map_err(|_| WebSocketRefusal::Broken(unsendable()))?;
        let key = BASE64.encode(nonce);
        let outgoing = opening(&request, &key).map_err(WebSocketRefusal::Broken)?;

        let stream = self.connect(request.tls, request.authority).await.map_err(WebSocketRefusal::Dial)?;
        let failed = |error| WebSocketRefusal::Broken(broken(&error));
        let (mut sender, connection) = client().handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let exchange = async move {
            let response = sender.send_request(outgoing).await.map_err(failed)?;
            verify(&response, &key, request.subprotocol)?;
            hyper::upgrade::on(response).await.map_err(|_| WebSocketRefusal::Lie("the connection ended with its 101"))
        };
        let upgraded = beside(connection.with_upgrades(), exchange).await?;
        let parts = upgraded.downcast::<Io>().map_err(|_| WebSocketRefusal::Broken(unsendable()))?;
        Ok((parts.io.into_inner(), parts.read_buf))
    }
}

impl From<WebSocketRefusal> for Failure {
    fn from(refusal: WebSocketRefusal) -> Self {
        match refusal {
            WebSocketRefusal::Dial(error) => error.into(),
            WebSocketRefusal::Broken(failure) => failure,
            WebSocketRefusal::Lie(rule) => Self::new(
                Code::ProviderUnavailable,
                "The provider's answer to the terminal connection broke the WebSocket protocol.",
            )
            .detail(rule),
            WebSocketRefusal::Status(status) => {
                let (code, message) = match status.as_u16() {
                    300..=399 => (
                        Code::ProviderRefused,
                        "The provider answered the terminal connection with a redirect, which is not followed.",
                    ),
                    408 | 504 => (Code::ProviderTimeout, "The provider did not open the terminal in time."),
                    429 => (Code::ProviderUnavailable, "The provider asks us to slow down."),
                    404 | 410 => (Code::ProviderRefused, "The provider does not know this terminal any more."),
                    400..=499 => (Code::ProviderRefused, "The provider refused the terminal connection."),
                    500..=599 => (Code::ProviderUnavailable, "The provider is out of order."),
                    _ => (
                        Code::ProviderUnavailable,
                        "The provider answered the terminal connection with something that is no terminal.",
                    ),
                };
                Self::new(code, message).detail(format!("status {} instead of 101", status.as_u16()))
            }
        }
    }
}

fn opening(request: &WebSocketRequest<'_>, key: &str) -> Result<http::Request<Empty<Bytes>>, Failure> {
    let text = |value: &str| HeaderValue::from_str(value).map_err(|_| unsendable());
    let mut outgoing = http::Request::new(Empty::new());
    *outgoing.uri_mut() = request.path_and_query.parse().map_err(|_| unsendable())?;
    let headers = outgoing.headers_mut();
    headers.clone_from(&request.headers);
    headers.insert(HOST, host_field(request.tls, request.authority)?);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_KEY, text(key)?);
    if let Some(subprotocol) = request.subprotocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, text(subprotocol)?);
    }
    Ok(outgoing)
}

/// The rules of RFC 6455, section 4.1, on the server's answer, and two of RFC 9110 on a 101.
fn verify<B>(response: &Response<B>, key: &str, offered: Option<&str>) -> Result<(), WebSocketRefusal> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(WebSocketRefusal::Status(response.status()));
    }
    let headers = response.headers();
    let upgrades = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    let accept = accept(key);
    let rules = [
        (response.version() == Version::HTTP_11, "an upgrade needs HTTP/1.1"),
        (only(headers, &UPGRADE).is_some_and(upgrades), "Upgrade is not websocket"),
        (has_token(headers, &CONNECTION, "upgrade"), "Connection does not say upgrade"),
        (
            only(headers, &SEC_WEBSOCKET_ACCEPT).is_some_and(|value| value.as_bytes() == accept.as_bytes()),
            "Sec-WebSocket-Accept is not the one right answer to the key",
        ),
        (!headers.contains_key(SEC_WEBSOCKET_EXTENSIONS), "an extension that was not offered"),
        (
            !headers.contains_key(SEC_WEBSOCKET_PROTOCOL)
                || only(headers, &SEC_WEBSOCKET_PROTOCOL)
                    .is_some_and(|chosen| offered.is_some_and(|offered| chosen.as_bytes() == offered.as_bytes())),
            "a subprotocol that was not offered",
        ),
        // RFC 9110, sections 8.6 and 15.2: nothing that is HTTP follows. A needless zero does no harm.
        (
            !headers.contains_key(TRANSFER_ENCODING)
                && headers.get_all(CONTENT_LENGTH).iter().all(|value| value == "0"),
            "a 101 with a body",
        ),
    ];
    rules.into_iter().find(|(kept, _)| !kept).map_or(Ok(()), |(_, rule)| Err(WebSocketRefusal::Lie(rule)))
}

/// The field's value, where there is exactly one.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// What a server answers to a key.
fn accept(key: &str) -> String {
    const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
    BASE64.encode(hash)
}

#[cfg(test)]
mod tests;
