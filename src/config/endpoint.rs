//! Addresses of services that have a path.

use std::fmt;
use std::str::FromStr;

use super::units::BaseUrl;

/// `http[s]://HOST[:PORT][/PATH]` or `ws[s]://HOST[:PORT][/PATH]`, without query, fragment or user, and without a
/// slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    base: BaseUrl,
    is_web_socket: bool,
    path: String,
}

impl Endpoint {
    /// Scheme and host, `http` standing for `ws`.
    #[must_use]
    pub fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// Whether it is `ws` or `wss`.
    #[must_use]
    pub fn is_web_socket(&self) -> bool {
        self.is_web_socket
    }

    /// What stands behind the host: nothing, or a path that begins with a slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The WebSocket at `below` this address, on the same host.
    #[must_use]
    pub fn web_socket_below(&self, below: &str) -> Self {
        Self { base: self.base.clone(), is_web_socket: true, path: format!("{}{below}", self.path) }
    }
}

impl FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expected a URL such as https://api.example.com/v0, without query, fragment or user";
        let (scheme, rest) = text.split_once("://").ok_or(WRONG)?;
        let (is_web_socket, http) = match scheme {
            "http" | "https" => (false, scheme),
            "ws" => (true, "http"),
            "wss" => (true, "https"),
            _ => return Err(WRONG),
        };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let base = format!("{http}://{host}").parse().map_err(|_| WRONG)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
        if !path.bytes().all(is_plain) || path.split('/').any(|part| matches!(part, "." | "..")) || path.contains("//")
        {
            return Err(WRONG);
        }
        Ok(Self { base, is_web_socket, path: path.to_owned() })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.is_web_socket, self.base.is_tls()) {
            (false, false) => "http",
            (false, true) => "https",
            (true, false) => "ws",
            (true, true) => "wss",
        };
        write!(f, "{scheme}://{}{}", self.base.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_and_put_together_again() {
        for text in ["https://a.example", "http://127.0.0.1:1/v0", "wss://a.example/v0/ws", "ws://[::1]:81/a-b_c.~"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        let endpoint: Endpoint = "https://a.example:443/v0/".parse().unwrap();
        assert_eq!((endpoint.to_string().as_str(), endpoint.path()), ("https://a.example/v0", "/v0"));
        assert_eq!(endpoint.web_socket_below("/ws").to_string(), "wss://a.example/v0/ws");
    }

    #[test]
    fn what_is_no_address_of_a_service_is_refused() {
        for text in [
            "",
            "a.example/v0",
            "ftp://a.example",
            "https:///v0",
            "https://u:p@a.example",
            "https://a.example?x",
            "https://a.example/v0?x=1",
            "https://a.example/v0#x",
            "https://a.example/%2e%2e",
            "https://a.example/../x",
            "https://a.example//x",
            "https://a.example/a b",
            "https://a.example/\r\nHost: b",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text:?}");
        }
    }
}
