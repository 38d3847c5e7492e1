//! The opening handshake of a WebSocket (RFC 6455 §4.2), and what can go wrong in its answer.

use std::{future, sync::Arc};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tracing::debug;

use super::{
    Site,
    service::{Answer, Refusal, only},
};
use crate::{Fault, net::Conn};

/// RFC 6455 §1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A good opening handshake, not answered yet.
#[derive(Debug)]
pub(crate) struct Handshake {
    accept: String,
    offered: Vec<String>,
    selected: Option<String>,
}

impl Handshake {
    /// Checks a request.
    ///
    /// # Errors
    /// 400, or 426 if it asks for no WebSocket of version 13.
    pub(crate) fn of<B: hyper::body::Body>(request: &Request<B>) -> Result<Self, Refusal> {
        let headers = request.headers();
        if request.method() != Method::GET || request.version() != Version::HTTP_11 {
            return Err(Refusal::bad("A WebSocket is opened by an HTTP/1.1 GET."));
        }
        if !request.body().is_end_stream() {
            return Err(Refusal::bad("An upgrade has no body."));
        }
        let upgrade = |message| Refusal::new(StatusCode::UPGRADE_REQUIRED, "UpgradeRequired", message);
        if !lists(headers, &header::UPGRADE, "websocket") || !lists(headers, &header::CONNECTION, "upgrade") {
            return Err(upgrade("This is opened by a WebSocket handshake."));
        }
        if only(headers, &header::SEC_WEBSOCKET_VERSION)? != Some("13") {
            return Err(upgrade("The WebSocket version has to be 13."));
        }
        let key = only(headers, &header::SEC_WEBSOCKET_KEY)?
            .filter(|key| STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16))
            .ok_or_else(|| Refusal::bad("Sec-WebSocket-Key has to be 16 bytes in base64."))?;
        let offered = items(headers, &header::SEC_WEBSOCKET_PROTOCOL).map(str::to_owned).collect();
        Ok(Self { accept: accept(key), offered, selected: None })
    }

    /// The subprotocols that the client offers, the one it likes best first.
    pub(crate) fn offered(&self) -> &[String] {
        &self.offered
    }

    /// Names a subprotocol in the answer. The caller chooses it among those [offered](Self::offered).
    pub(crate) fn select(mut self, subprotocol: &str) -> Self {
        self.selected = Some(subprotocol.to_owned());
        self
    }

    /// Answers, with `fault` if there is one, and runs the session with the connection and what was read behind the
    /// request. `early` is the frame that [`Fault::UpgradeEarlyFrame`] sends. It never returns for
    /// [`Fault::UpgradeStalled`]; what `session` holds is dropped with the connection then.
    pub(crate) async fn answer<F>(
        self,
        site: &Arc<Site>,
        request: &mut Request<Incoming>,
        fault: Option<&Fault>,
        early: &[u8],
        session: impl FnOnce(Conn, Vec<u8>) -> F + Send + 'static,
    ) -> Answer
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(fault) = fault else {
            let upgraded = hyper::upgrade::on(request);
            let connected = site.connected();
            site.tracker.spawn(async move {
                let _connected = connected;
                match upgraded.await.map(hyper::upgrade::Upgraded::downcast::<TokioIo<Conn>>) {
                    Ok(Ok(parts)) => session(parts.io.into_inner(), parts.read_buf.to_vec()).await,
                    Ok(Err(_)) => debug!("the upgraded connection is of another type"),
                    Err(error) => debug!(?error, "the client has gone before its upgrade"),
                }
            });
            return Answer::of(self.switching());
        };
        if *fault == Fault::UpgradeStalled {
            future::pending::<()>().await;
        }
        let head = self.faulty_head(fault, early);
        Answer::Hijack(head, Box::new(move |conn, behind| Box::pin(session(conn, behind))))
    }

    fn switching(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        if let Ok(accept) = HeaderValue::from_str(&self.accept) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        if let Some(Ok(selected)) = self.selected.as_deref().map(HeaderValue::from_str) {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, selected);
        }
        response
    }

    /// The head of an answer with one thing wrong, or with a first message right behind it.
    fn faulty_head(&self, fault: &Fault, early: &[u8]) -> Vec<u8> {
        let another = accept("AAAAAAAAAAAAAAAAAAAAAA==");
        let status = if *fault == Fault::Upgrade200 { "200 OK" } else { "101 Switching Protocols" };
        let upgrade = if *fault == Fault::UpgradeNoHeader { "" } else { "Upgrade: websocket\r\n" };
        let accept = if *fault == Fault::UpgradeWrongAccept { &another } else { &self.accept };
        let extension = match fault {
            Fault::UpgradeExtension => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            _ => "",
        };
        let subprotocol = match (fault, &self.selected) {
            (Fault::UpgradeSubprotocol, _) => "Sec-WebSocket-Protocol: unasked.example\r\n".to_owned(),
            (_, Some(selected)) => format!("Sec-WebSocket-Protocol: {selected}\r\n"),
            (_, None) => String::new(),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\n{upgrade}Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
             {extension}{subprotocol}\r\n"
        );
        let mut bytes = head.into_bytes();
        if *fault == Fault::UpgradeEarlyFrame {
            bytes.extend(early);
        }
        bytes
    }
}

/// The refusal that [`Fault::UpgradeRefused`] demands, if that is the fault.
pub(crate) fn refused_upgrade(fault: Option<&Fault>) -> Option<Refusal> {
    let Some(Fault::UpgradeRefused { status }) = fault else { return None };
    let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    Some(Refusal::new(status, "UpgradeRefused", "The terminal cannot be opened."))
}

/// Whether a header that is a list of tokens has this one, in any case.
fn lists(headers: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(token))
}

/// The items of a header that is a list.
fn items<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|item| !item.is_empty())
}

fn accept(key: &str) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
    STANDARD.encode(hash)
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;

    fn request(extra: &[(&str, &str)]) -> Request<Empty<Bytes>> {
        let mut request = Request::builder()
            .header("upgrade", "WebSocket")
            .header("connection", "keep-alive, Upgrade")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        for (name, value) in extra {
            request = request.header(*name, *value);
        }
        request.body(Empty::new()).unwrap()
    }

    #[test]
    fn the_accept_value_is_that_of_the_standard() {
        let handshake = Handshake::of(&request(&[])).unwrap();
        assert_eq!(handshake.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let response = handshake.switching();
        assert_eq!(response.status(), 101);
        assert!(!response.headers().contains_key("sec-websocket-protocol"));
    }

    #[test]
    fn offers_are_read_in_their_order_and_one_is_named_if_chosen() {
        let offers = [("sec-websocket-protocol", "b, a"), ("sec-websocket-protocol", "c")];
        let handshake = Handshake::of(&request(&offers)).unwrap();
        assert_eq!(handshake.offered(), ["b", "a", "c"]);
        let handshake = handshake.select("a");
        assert_eq!(handshake.switching().headers()["sec-websocket-protocol"], "a");
        let head = String::from_utf8(handshake.faulty_head(&Fault::UpgradeNoHeader, b"")).unwrap();
        assert!(head.contains("Protocol: a\r\n") && !head.contains("Upgrade: "), "{head}");
    }

    #[test]
    fn what_is_no_handshake_is_refused() {
        let mut request = request(&[]);
        for (name, status) in
            [("upgrade", 426), ("connection", 426), ("sec-websocket-version", 426), ("sec-websocket-key", 400)]
        {
            let value = request.headers_mut().remove(name).unwrap();
            assert_eq!(Handshake::of(&request).unwrap_err().status, status, "{name}");
            request.headers_mut().insert(header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        }
        *request.method_mut() = Method::POST;
        assert_eq!(Handshake::of(&request).unwrap_err().status, 400);
    }
}
