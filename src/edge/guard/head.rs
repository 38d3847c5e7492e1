//! Whether a raw request head is sound, and what follows it.

use http::StatusCode;
use polytty_dialect::Code;

use crate::config::Authority;
use crate::respond::Problem;

/// Fields in one head.
const MAX_FIELDS: usize = 100;

/// What stands behind a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Framing {
    /// A body of so many bytes, then the next request.
    Body(u64),
    /// Whatever the new protocol says.
    Upgrade,
}

/// Where the head ends: behind the first empty line. A bare LF counts as an end of line here, so that a head which
/// uses one is found and refused rather than waited for.
pub(in crate::edge) fn find_end(buffer: &[u8]) -> Option<usize> {
    let mut line_start = 0;
    for (at, byte) in buffer.iter().enumerate() {
        if *byte == b'\n' {
            let line = &buffer[line_start..at];
            if line.is_empty() || line == b"\r" {
                return Some(at + 1);
            }
            line_start = at + 1;
        }
    }
    None
}

/// The answer to a head that does not end.
pub(super) fn too_large() -> Problem {
    let detail = format!("a request head may have at most {} bytes", super::MAX_HEAD);
    Problem::new(Code::TooLarge, detail).status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
}

/// Judges a head, its empty line included.
pub(in crate::edge) fn check(head: &[u8]) -> Result<Framing, Problem> {
    let bad = |detail: &str| Problem::new(Code::BadMessage, detail);
    let head = std::str::from_utf8(head).ok().filter(|head| head.is_ascii());
    let head = head.ok_or_else(|| bad("a request head is ASCII"))?;
    let head = head.strip_suffix("\r\n\r\n").ok_or_else(|| bad("lines of a request head end in CRLF"))?;
    if head.bytes().any(|byte| (byte < b' ' && !matches!(byte, b'\r' | b'\n' | b'\t')) || byte == 0x7f) {
        return Err(bad("a request head holds a control character"));
    }
    let mut lines = head.split("\r\n");
    let method = request_line(lines.next().unwrap_or_default())?;
    let mut fields = Fields::default();
    for (count, line) in lines.enumerate() {
        if count == MAX_FIELDS {
            return Err(too_large());
        }
        if line.contains(['\r', '\n']) {
            return Err(bad("lines of a request head end in CRLF"));
        }
        fields.take(line)?;
    }
    if fields.hosts != 1 {
        return Err(bad("exactly one Host field is needed"));
    }
    if fields.upgrade && method == "GET" {
        return match fields.length {
            None | Some(0) => Ok(Framing::Upgrade),
            Some(_) => Err(bad("an upgrade has no body")),
        };
    }
    Ok(Framing::Body(fields.length.unwrap_or(0)))
}

fn request_line(line: &str) -> Result<&str, Problem> {
    let bad = |detail: &str| Problem::new(Code::BadMessage, detail);
    let mut parts = line.split(' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(bad("a request line is: METHOD /path HTTP/1.1"));
    };
    if !is_token(method) {
        return Err(bad("the method is not a token"));
    }
    if version != "HTTP/1.1" {
        return Err(bad("only HTTP/1.1 is spoken here").status(StatusCode::HTTP_VERSION_NOT_SUPPORTED));
    }
    if !target.starts_with('/') || target.contains('#') {
        return Err(bad("the request target is a path that begins with a slash"));
    }
    Ok(method)
}

#[derive(Default)]
struct Fields {
    hosts: usize,
    length: Option<u64>,
    upgrade: bool,
}

impl Fields {
    fn take(&mut self, line: &str) -> Result<(), Problem> {
        let bad = |detail: &str| Problem::new(Code::BadMessage, detail);
        let (name, value) = line.split_once(':').ok_or_else(|| bad("a field is: Name: value"))?;
        if !is_token(name) {
            return Err(bad("a field name is a token, with nothing before it and nothing between it and the colon"));
        }
        let value = value.trim_matches([' ', '\t']);
        if name.eq_ignore_ascii_case("host") {
            self.hosts += 1;
            value.parse::<Authority>().map_err(|_| bad("the Host field is HOST or HOST:PORT"))?;
        } else if name.eq_ignore_ascii_case("content-length") {
            let digits = !value.is_empty() && value.len() <= 18 && value.bytes().all(|byte| byte.is_ascii_digit());
            if self.length.is_some() || !digits {
                return Err(bad("Content-Length is one number"));
            }
            self.length = value.parse().ok();
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            let detail = "Transfer-Encoding is not taken here; send a Content-Length";
            return Err(bad(detail).status(StatusCode::LENGTH_REQUIRED));
        } else if name.eq_ignore_ascii_case("upgrade") {
            self.upgrade = true;
        }
        Ok(())
    }
}

/// A token of RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
