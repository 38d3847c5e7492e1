//! `kind = "decthings"`

use super::super::checked::{Decthings, Writes};
use super::super::endpoint::Endpoint;
use super::super::error::Problem;
use super::super::secret::Secret;
use super::super::section::{Field, Read, Section};

const WRITES: [(&str, Writes); 2] = [("websocket", Writes::WebSocket), ("http", Writes::Http)];

const HTTP_URL: &str = "https://api.decthings.com/v0";

pub(super) fn decthings(section: &mut Section<'_>, allow_private: Read<bool>) -> Read<Decthings> {
    // A constant that a test reads, too.
    let standard: Endpoint = HTTP_URL.parse().expect("a URL");
    let http_url = section.or("http_url", standard, |field| endpoint(&field, false, allow_private));
    let ws_url = section.optional("ws_url", |field| endpoint(&field, true, allow_private));
    let api_key = section.required("api_key", "an API key of Decthings", |field| api_key(&field));
    let writes = section.or("writes", Writes::WebSocket, |field| field.one_of(&WRITES));
    let http_url = http_url?;
    let ws_url = ws_url?.unwrap_or_else(|| http_url.web_socket_below("/ws"));
    Ok(Decthings { http_url, ws_url, api_key: api_key?, writes: writes? })
}

fn endpoint(field: &Field<'_>, web_socket: bool, allow_private: Read<bool>) -> Read<Endpoint> {
    let (example, secure, plain) = match web_socket {
        false => ("a URL such as https://api.decthings.com/v0", "an https URL", "http"),
        true => ("a URL such as wss://api.decthings.com/v0/ws", "a wss URL", "ws"),
    };
    let endpoint: Endpoint = field.parse(example)?;
    if endpoint.is_web_socket() != web_socket {
        return Err(field.tell(Problem::Rule(format!("expected {example}"))));
    }
    if !endpoint.base().is_tls() && matches!(allow_private, Ok(false)) {
        let rule = format!("expected {secure}; {plain} is for simulated providers and needs allow_private = true");
        return Err(field.tell(Problem::Rule(rule)));
    }
    Ok(endpoint)
}

/// It goes into a header field.
fn api_key(field: &Field<'_>) -> Read<Secret> {
    let key = field.secret()?;
    match key.expose().bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(key),
        false => Err(field.wrong_secret("an API key: ASCII letters, digits and signs, no spaces")),
    }
}
