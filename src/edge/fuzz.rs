//! What holds for any bytes that a client sends before it is let in. For the targets in `fuzz/`.

use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::guard::{Framing, check, find_end};
use super::handshake::{Handshake, Offer};
use super::upgrade::offset;
use crate::auth::{bearer, cookie};

/// Judges the head that `bytes` begin with, and asserts of one that is let through: hyper's parser reads the same fields in
/// it, there is one `Host`, no `Transfer-Encoding`, and the length of the body is the one that stands there.
///
/// # Panics
///
/// When one of that does not hold.
pub fn request_head(bytes: &[u8]) {
    let Some(end) = find_end(bytes) else { return };
    let (head, behind) = bytes.split_at(end);
    let Ok(framing) = check(head) else { return };
    assert_eq!(find_end(head), Some(head.len()), "the end is found in the head alone, whatever is behind: {behind:?}");
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut fields);
    assert_eq!(request.parse(head), Ok(httparse::Status::Complete(head.len())), "a sound head is read, all of it");
    assert!(request.path.is_some_and(|path| path.starts_with('/')) && request.version == Some(1));
    let named = |name: &str| -> Vec<&[u8]> {
        let same = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(name);
        request.headers.iter().filter(same).map(|field| field.value).collect()
    };
    assert_eq!(named("host").len(), 1);
    assert!(named("transfer-encoding").is_empty());
    let lengths = named("content-length");
    let length =
        lengths.first().map(|digits| std::str::from_utf8(digits).ok().and_then(|text| text.parse::<u64>().ok()));
    assert!(lengths.len() <= 1 && length != Some(None), "{lengths:?}");
    match framing {
        Framing::Body(count) => assert_eq!(count, length.flatten().unwrap_or(0)),
        Framing::Upgrade => assert!(request.method == Some("GET") && matches!(length.flatten(), None | Some(0))),
    }
}

/// Reads `bytes` as the fields of an upgrade, one a line, the first line being its query, and asserts: an answer echoes
/// at most one of the offered subprotocols, none that carries a token, and breaks no head.
///
/// # Panics
///
/// When one of that does not hold.
pub fn link_request(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let query = lines.next().and_then(|line| std::str::from_utf8(line).ok());
    if let Ok(Some(count)) = offset(query) {
        assert!(query.is_some_and(|query| query.contains("offset=")), "{count} out of {query:?}");
    }
    let mut headers = HeaderMap::new();
    for line in lines.take(100) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&line[colon + 1..])) {
            headers.append(name, value);
        }
    }
    let _ = (bearer(&headers), cookie(&headers, "login"));
    let Ok(handshake) = Handshake::read(&Method::GET, &headers) else { return };
    let echoed = match handshake.offer() {
        Offer::Known(name) => Some(name),
        Offer::Unknown(name) => name,
        Offer::None => None,
    };
    let offered = |name: &str| {
        let fields = headers.get_all("sec-websocket-protocol").iter().filter_map(|field| field.to_str().ok());
        fields.flat_map(|field| field.split(',')).any(|item| item.trim() == name)
    };
    assert!(echoed.is_none_or(|name| offered(name) && !name.starts_with("polytty.token.")), "{echoed:?}");
    let accepted = handshake.accept(echoed);
    assert_eq!(accepted.headers().get("sec-websocket-protocol").map(HeaderValue::as_bytes), echoed.map(str::as_bytes));
}
