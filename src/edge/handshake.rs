//! The opening handshake of a WebSocket, as a server reads it (RFC 6455, section 4.2.1).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName};
use http::{Method, StatusCode};
use polytty_dialect::polytty_v1::SUBPROTOCOL;

use crate::respond::{Reply, reply, with};

/// What is appended to the key before it is hashed (RFC 6455, section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What an item of a subprotocol offer begins with that carries a credential.
const TOKEN: &str = "polytty.token.";

/// Items of a subprotocol offer that carry a secret and are never echoed.
const TOKEN_BEARERS: [&str; 2] = [TOKEN, "base64url.bearer.authorization."];

/// Subprotocols in one offer.
const MAX_OFFERS: usize = 32;

/// A sound opening handshake.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Handshake {
    key: String,
    offers: Vec<String>,
}

/// What a client's offer of subprotocols comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer<'a> {
    /// None were offered: the link's dialect, or `operation`.
    None,
    /// One that we speak.
    Known(&'static str),
    /// None that we speak; the first that could be echoed.
    Unknown(Option<&'a str>),
}

impl Handshake {
    /// Reads the head of a request.
    ///
    /// # Errors
    ///
    /// 426, the same for a request that is no upgrade and for a broken one.
    pub(super) fn read(method: &Method, headers: &HeaderMap) -> Result<Self, Box<Reply>> {
        if method != Method::GET || !has_token(headers, header::UPGRADE, "websocket") {
            return Err(Box::new(upgrade_required()));
        }
        if !has_token(headers, header::CONNECTION, "upgrade")
            || only(headers, header::SEC_WEBSOCKET_VERSION) != Some("13")
        {
            return Err(Box::new(upgrade_required()));
        }
        let key = match only(headers, header::SEC_WEBSOCKET_KEY) {
            Some(key) if STANDARD.decode(key).is_ok_and(|key| key.len() == 16) => key.to_owned(),
            _ => return Err(Box::new(upgrade_required())),
        };
        let mut offers = Vec::new();
        for field in headers.get_all(header::SEC_WEBSOCKET_PROTOCOL) {
            for offer in field.to_str().unwrap_or("\"").split(',').map(str::trim) {
                let token = !offer.is_empty()
                    && offer.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
                if !token || offers.len() == MAX_OFFERS {
                    return Err(Box::new(upgrade_required()));
                }
                offers.push(offer.to_owned());
            }
        }
        Ok(Self { key, offers })
    }

    /// The credential among the subprotocols: a browser has no other place in a handshake where a page could put one.
    pub(super) fn token(&self) -> Option<&str> {
        self.offers.iter().find_map(|offer| offer.strip_prefix(TOKEN))
    }

    /// What the subprotocols come to.
    pub(super) fn offer(&self) -> Offer<'_> {
        let mut spoken = self.offers.iter().filter(|offer| !TOKEN_BEARERS.iter().any(|b| offer.starts_with(b)));
        if self.offers.iter().any(|offer| offer == SUBPROTOCOL) {
            return Offer::Known(SUBPROTOCOL);
        }
        match (self.offers.is_empty(), spoken.next()) {
            (true, _) => Offer::None,
            (false, first) => Offer::Unknown(first.map(String::as_str)),
        }
    }

    /// The 101 that accepts it, with at most one of the offered subprotocols.
    pub(super) fn accept(&self, subprotocol: Option<&str>) -> Reply {
        let accept = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{}{GUID}", self.key).as_bytes());
        let mut accepted = Reply::default();
        *accepted.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let accepted = with(accepted, header::UPGRADE, "websocket");
        let accepted = with(accepted, header::CONNECTION, "Upgrade");
        let accepted = with(accepted, header::SEC_WEBSOCKET_ACCEPT, &STANDARD.encode(accept));
        match subprotocol {
            Some(subprotocol) => with(accepted, header::SEC_WEBSOCKET_PROTOCOL, subprotocol),
            None => accepted,
        }
    }
}

/// What every request for a link's path gets that is not an upgrade: the same whether there is such a link or not.
fn upgrade_required() -> Reply {
    let text = "This is a one-time terminal link. Only a WebSocket upgrade (version 13) uses it.\n";
    let reply = reply(StatusCode::UPGRADE_REQUIRED, "text/plain; charset=utf-8", text);
    let reply = with(with(reply, header::UPGRADE, "websocket"), header::SEC_WEBSOCKET_VERSION, "13");
    with(reply, header::CONNECTION, "close, Upgrade")
}

/// The value of a field that stands there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let sample = [
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in sample.iter().filter(|(name, _)| fields.iter().all(|(other, _)| other != name)) {
            headers.append(*name, value.parse().unwrap());
        }
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn read(fields: &[(&'static str, &'static str)]) -> Result<Handshake, u16> {
        Handshake::read(&Method::GET, &headers(fields)).map_err(|reply| reply.status().as_u16())
    }

    #[test]
    fn the_answer_is_the_one_of_the_rfc() {
        let reply = read(&[]).unwrap().accept(Some("polytty.v1"));
        assert_eq!(reply.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(reply.headers()["sec-websocket-protocol"], "polytty.v1");
    }

    #[test]
    fn what_is_no_upgrade_or_a_broken_one_gets_the_same_answer() {
        for (status, fields) in [
            (426, &[("upgrade", "")][..]),
            (426, &[("upgrade", "h2c")]),
            (426, &[("sec-websocket-version", "8")]),
            (426, &[("sec-websocket-version", "13"), ("sec-websocket-version", "13")]),
            (426, &[("connection", "keep-alive")]),
            (426, &[("sec-websocket-key", "")]),
            (426, &[("sec-websocket-key", "c2hvcnQ=")]),
            (
                426,
                &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")],
            ),
            (426, &[("sec-websocket-protocol", "a b")]),
            (426, &[("sec-websocket-protocol", "a,,b")]),
        ] {
            assert_eq!(read(fields).unwrap_err(), status, "{fields:?}");
        }
        let posted = Handshake::read(&Method::POST, &headers(&[]));
        assert_eq!(posted.unwrap_err().status(), 426);
    }

    #[test]
    fn our_own_subprotocol_is_picked_from_any_offer_and_a_token_is_never_echoed() {
        for (offer, expected) in [
            ("polytty.v1", Offer::Known(SUBPROTOCOL)),
            ("tty, polytty.v1", Offer::Known(SUBPROTOCOL)),
            ("polytty.token.abc, polytty.v1", Offer::Known(SUBPROTOCOL)),
            ("tty", Offer::Unknown(Some("tty"))),
            ("polytty.token.abc", Offer::Unknown(None)),
            ("base64url.bearer.authorization.k8s.io.x, tty", Offer::Unknown(Some("tty"))),
        ] {
            assert_eq!(read(&[("sec-websocket-protocol", offer)]).unwrap().offer(), expected, "{offer}");
        }
        assert_eq!(read(&[]).unwrap().offer(), Offer::None);
    }
}
