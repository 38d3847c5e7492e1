//! Request heads that two parsers would read in two ways, and handshakes that are none.

use super::{Row, Section, row};

/// A raw request, in which `HOST` and `KEY` are filled in, and what is read until the connection ends.
fn raw(attack: &'static str, sent: &'static str, expected: &'static str, request: impl Into<String>) -> Row {
    let request = request.into();
    row(attack, sent, expected, move |arena| {
        let request = arena.filled(&request);
        Box::pin(async move { arena.raw(request).await })
    })
}

const POST: &str =
    "POST /v1/sessions HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer KEY\r\nContent-Type: application/json\r\n";

/// What a smuggler hopes to have answered.
const SECOND: &str =
    "GET /v1/providers HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer KEY\r\nConnection: close\r\n\r\n";

pub(super) fn section() -> Section {
    let rows = [lengths(), heads(), targets(), handshakes()].into_iter().flatten().collect();
    let about =
        "Every answer that comes is listed; where the connection ends, nothing that was sent behind is read.\n\n";
    Section { title: "Requests", about, rows }
}

fn lengths() -> Vec<Row> {
    let post = |fields: &str, body: &str| format!("{POST}{fields}\r\n{body}");
    vec![
        raw("sound: two requests", "one behind the other", "404, 200, the end", {
            format!("GET /v1/nothing HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer KEY\r\n\r\n{SECOND}")
        }),
        raw("sound: a request with a body", "`Content-Length: 3`, a body, a request behind it", "422, 200, the end", {
            post("Content-Length: 3\r\n", &format!("{{ }}{SECOND}"))
        }),
        raw(
            "CL.TE",
            "`Content-Length` before `Transfer-Encoding: chunked`, a request behind the last chunk",
            "411, the end",
            post("Content-Length: 200\r\nTransfer-Encoding: chunked\r\n", &format!("0\r\n\r\n{SECOND}")),
        ),
        raw(
            "TE.CL",
            "`Transfer-Encoding: chunked` before `Content-Length: 4`, a request in the chunk",
            "411, the end",
            post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", &format!("5c\r\n{SECOND}\r\n0\r\n\r\n")),
        ),
        raw("TE.0", "`Transfer-Encoding: chunked` alone", "411, the end", {
            post("Transfer-Encoding: chunked\r\n", &format!("0\r\n\r\n{SECOND}"))
        }),
        raw(
            "TE, disguised",
            "`Transfer-Encoding: xchunked`",
            "411, the end",
            post("Transfer-Encoding: xchunked\r\n", SECOND),
        ),
        raw("TE, disguised", "`Transfer-Encoding:<TAB>chunked`", "411, the end", {
            post("Transfer-Encoding:\tchunked\r\nContent-Length: 0\r\n", SECOND)
        }),
        raw("TE, disguised", "`Transfer-Encoding : chunked`", "400, the end", {
            post("Transfer-Encoding : chunked\r\nContent-Length: 0\r\n", SECOND)
        }),
        raw("TE, disguised", "`Transfer-Encoding: chunked` in a folded line", "400, the end", {
            post("X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", SECOND)
        }),
        raw("TE, disguised", "`Transfer-Encoding: identity`", "411, the end", {
            post("Transfer-Encoding: identity\r\nContent-Length: 0\r\n", SECOND)
        }),
        raw("CL.CL", "two `Content-Length`, 0 and 4", "400, the end", {
            post("Content-Length: 0\r\nContent-Length: 4\r\n", &format!("abcd{SECOND}"))
        }),
        raw("CL.CL", "two `Content-Length`, both 4", "400, the end", {
            post("Content-Length: 4\r\nContent-Length: 4\r\n", &format!("abcd{SECOND}"))
        }),
        raw(
            "CL.CL",
            "`Content-Length: 4, 4`",
            "400, the end",
            post("Content-Length: 4, 4\r\n", &format!("abcd{SECOND}")),
        ),
        raw("a length that is none", "`Content-Length: +4`", "400, the end", post("Content-Length: +4\r\n", "abcd")),
        raw("a length that is none", "`Content-Length: -1`", "400, the end", post("Content-Length: -1\r\n", SECOND)),
        raw("a length that is none", "`Content-Length: 0x4`", "400, the end", post("Content-Length: 0x4\r\n", "abcd")),
        raw("a length that is none", "`Content-Length: 18446744073709551617`", "400, the end", {
            post("Content-Length: 18446744073709551617\r\n", SECOND)
        }),
        raw("a body that is too large", "`Content-Length: 1000000000`", "413, the end", {
            post("Connection: close\r\nContent-Length: 1000000000\r\n", "{")
        }),
        raw("CL.0", "`GET` with a request as its body", "404, the end", {
            let smuggled = "GET /v1/providers HTTP/1.1\r\nX: y";
            let length = smuggled.len();
            format!(
                "GET /v1/nothing HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer KEY\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{smuggled}"
            )
        }),
    ]
}

fn heads() -> Vec<Row> {
    let get = |fields: &str| format!("GET /v1/nothing HTTP/1.1\r\nHost: HOST\r\n{fields}\r\n{SECOND}");
    vec![
        raw("bare LF", "every line ends in LF", "400, the end", "GET / HTTP/1.1\nHost: HOST\n\n"),
        raw("bare LF", "one field ends in LF", "400, the end", get("X: a\nY: b\r\n")),
        raw("bare CR", "CR within a value", "400, the end", get("X: a\rY: b\r\n")),
        raw("obs-fold", "a field goes on in a second line", "400, the end", get("X: a\r\n b\r\n")),
        raw("NUL", "NUL within a value", "400, the end", get("X: a\0b\r\n")),
        raw("ESC", "ESC within `Origin`", "400, the end", get("Origin: https://evil.example/\u{1b}[2J\r\n")),
        raw("above ASCII", "UTF-8 within a value", "400, the end", get("X: ä\r\n")),
        raw("no colon", "a line that is no field", "400, the end", get("nonsense\r\n")),
        raw("an odd name", "`X(y): 1`", "400, the end", get("X(y): 1\r\n")),
        raw("no name", "`: 1`", "400, the end", get(": 1\r\n")),
        raw("an empty line first", "CRLF before the request", "400, the end", format!("\r\n{SECOND}")),
        raw("a huge field", "17 KiB in one value", "431, the end", get(&format!("X: {}\r\n", "x".repeat(17 * 1024)))),
        raw("many fields", "101 of them", "431, the end", get(&"X: 1\r\n".repeat(101))),
        raw("a head without an end", "1 MiB of fields", "431, the end", {
            format!("GET / HTTP/1.1\r\nHost: HOST\r\n{}", format!("X: {}\r\n", "x".repeat(1000)).repeat(1048))
        }),
        raw("Host missing", "no `Host`", "400, the end", "GET / HTTP/1.1\r\n\r\n"),
        raw("Host doubled", "`Host` twice, the second foreign", "400, the end", get("Host: evil.example\r\n")),
        raw("Host malformed", "`Host: evil.example/`", "400, the end", "GET / HTTP/1.1\r\nHost: evil.example/\r\n\r\n"),
        raw(
            "Host malformed",
            "`Host: HOST@evil.example`",
            "400, the end",
            "GET / HTTP/1.1\r\nHost: HOST@evil.example\r\n\r\n",
        ),
        raw(
            "Host malformed",
            "`Host: HOST, evil.example`",
            "400, the end",
            "GET / HTTP/1.1\r\nHost: HOST, evil.example\r\n\r\n",
        ),
        raw("Host malformed", "`Host:`", "400, the end", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
        raw("two credentials", "`Authorization` twice, the first wrong", "401, the end", {
            "GET /v1/providers HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nAuthorization: Bearer x\r\nAuthorization: Bearer KEY\r\n\r\n"
        }),
    ]
}

fn targets() -> Vec<Row> {
    let line = |line: &str| format!("{line}\r\nHost: HOST\r\n\r\n{SECOND}");
    vec![
        raw(
            "absolute form",
            "`GET http://evil.example/ HTTP/1.1`",
            "400, the end",
            line("GET http://evil.example/ HTTP/1.1"),
        ),
        raw(
            "absolute form",
            "`GET https://HOST/v1/sessions HTTP/1.1`",
            "400, the end",
            line("GET https://HOST/v1/sessions HTTP/1.1"),
        ),
        raw(
            "authority form",
            "`CONNECT 169.254.169.254:80 HTTP/1.1`",
            "400, the end",
            line("CONNECT 169.254.169.254:80 HTTP/1.1"),
        ),
        raw("asterisk form", "`OPTIONS * HTTP/1.1`", "400, the end", line("OPTIONS * HTTP/1.1")),
        raw("a fragment", "`GET /#x HTTP/1.1`", "400, the end", line("GET /#x HTTP/1.1")),
        raw("two spaces", "`GET  / HTTP/1.1`", "400, the end", line("GET  / HTTP/1.1")),
        raw("a tab", "`GET<TAB>/ HTTP/1.1`", "400, the end", line("GET\t/ HTTP/1.1")),
        raw("HTTP/1.0", "`GET / HTTP/1.0`", "505, the end", line("GET / HTTP/1.0")),
        raw("HTTP/0.9", "`GET /`", "400, the end", "GET /\r\n\r\n"),
        raw("HTTP/2 without ALPN", "the preface of HTTP/2", "505, the end", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        raw("no HTTP at all", "a TLS record within TLS", "400, the end", "\u{16}\u{3}\u{1}\r\n\r\n"),
    ]
}

const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n";

/// A handshake for a ticket that never was: 404 where it is sound, and no ticket is looked up where it is not.
fn handshakes() -> Vec<Row> {
    let ask = |method: &str, fields: &[&str]| {
        let path = format!("/t/{}", "A".repeat(43));
        format!("{method} {path} HTTP/1.1\r\nHost: HOST\r\n{}\r\n", fields.concat())
    };
    let get = |fields: &[&str]| ask("GET", fields);
    vec![
        raw("sound: a handshake", "for a ticket that never was", "404, the end", get(&[UPGRADE, VERSION, KEY])),
        raw("an upgrade with a body", "`Content-Length: 4` and a body", "400, the end", {
            format!("{}abcd", get(&[UPGRADE, VERSION, KEY, "Content-Length: 4\r\n"]))
        }),
        raw("two keys", "`Sec-WebSocket-Key` twice", "426, the end", get(&[UPGRADE, VERSION, KEY, KEY])),
        raw("no key", "no `Sec-WebSocket-Key`", "426, the end", get(&[UPGRADE, VERSION])),
        raw(
            "a bad key",
            "15 bytes",
            "426, the end",
            get(&[UPGRADE, VERSION, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\r\n"]),
        ),
        raw(
            "a bad key",
            "not base64",
            "426, the end",
            get(&[UPGRADE, VERSION, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=!\r\n"]),
        ),
        raw(
            "another version",
            "`Sec-WebSocket-Version: 8`",
            "426, the end",
            get(&[UPGRADE, KEY, "Sec-WebSocket-Version: 8\r\n"]),
        ),
        raw("two versions", "13 and 8", "426, the end", get(&[UPGRADE, KEY, VERSION, "Sec-WebSocket-Version: 8\r\n"])),
        raw("not by GET", "`POST` with all of a handshake", "426, the end", ask("POST", &[UPGRADE, VERSION, KEY])),
        raw(
            "half an upgrade",
            "no `Connection: Upgrade`",
            "426, the end",
            get(&["Upgrade: websocket\r\n", VERSION, KEY]),
        ),
        raw(
            "another protocol",
            "`Upgrade: h2c`",
            "426, the end",
            get(&["Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n", VERSION, KEY]),
        ),
        raw("a request behind a refused upgrade", "a handshake without a key, then a call", "426, the end", {
            format!("{}{SECOND}", get(&[UPGRADE, VERSION]))
        }),
        raw("a request behind an upgrade elsewhere", "a handshake for `/v1/providers`, then a call", "401, the end", {
            format!("GET /v1/providers HTTP/1.1\r\nHost: HOST\r\n{UPGRADE}{VERSION}{KEY}\r\n{SECOND}")
        }),
        raw("a subprotocol that breaks the head", "`Sec-WebSocket-Protocol: a b`", "426, the end", {
            get(&[UPGRADE, VERSION, KEY, "Sec-WebSocket-Protocol: a b\r\n"])
        }),
        raw("many subprotocols", "33 of them", "426, the end", {
            get(&[UPGRADE, VERSION, KEY, &format!("Sec-WebSocket-Protocol: {}z\r\n", "a,".repeat(32))])
        }),
    ]
}
