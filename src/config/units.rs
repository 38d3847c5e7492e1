//! Small checked values: hosts, origins and URLs that have been parsed once and for all.

use std::fmt;
use std::str::FromStr;

use super::checked::HostPattern;

/// A host and perhaps a port, as in a `Host` field (RFC 9110, section 7.2). The host is lower case; an IPv6 address
/// keeps its brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// The host, lower case.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, where one was written.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The port, or `default` where none was written.
    #[must_use]
    pub fn port_or(&self, default: u16) -> u16 {
        self.port.unwrap_or(default)
    }
}

impl FromStr for Authority {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expected HOST or HOST:PORT";
        // URLs may have more in their hosts, `*` for instance, but no name that is looked up has.
        let is_right = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
        if !text.bytes().all(is_right) || text.starts_with('.') || text.contains("..") {
            return Err(WRONG);
        }
        let url = url::Url::parse(&format!("http://{text}/")).map_err(|_| WRONG)?;
        let host = url.host_str().ok_or(WRONG)?.to_owned();
        let rest = text.get(host.len()..).filter(|_| text[..host.len()].eq_ignore_ascii_case(&host)).ok_or(WRONG)?;
        let port = match rest.strip_prefix(':') {
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| WRONG)?)
            }
            None if rest.is_empty() => None,
            _ => return Err(WRONG),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// `http://HOST[:PORT]` or `https://HOST[:PORT]`, without path, query, fragment or user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    tls: bool,
    authority: Authority,
}

impl BaseUrl {
    /// Whether it is `https`.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Host and port as written, a default port left out.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The port to dial.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.authority.port_or(if self.tls { 443 } else { 80 })
    }

    /// The origin of pages that this URL serves (RFC 6454, section 6.2).
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin(self.to_string())
    }
}

impl FromStr for BaseUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (tls, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else {
            return Err("expected a URL such as https://terminals.example.com");
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut authority: Authority = rest
            .parse()
            .map_err(|_| "expected a scheme and a host only, such as https://terminals.example.com:8443")?;
        if authority.port == Some(if tls { 443 } else { 80 }) {
            authority.port = None;
        }
        Ok(Self { tls, authority })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }
}

/// The origin of a page, in the form that browsers send.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin(String);

impl Origin {
    /// As a browser writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.ends_with('/') {
            return Err("an origin has no path: write https://app.example.com without a slash at its end");
        }
        text.parse::<BaseUrl>().map(|url| url.origin())
    }
}

impl FromStr for HostPattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expected a host such as gateway.example.com, or *.example.com for all below it, \
                             each with a port or without";
        let Some(suffix) = text.strip_prefix("*.") else {
            return text.parse().map(Self::Exact).map_err(|_| WRONG);
        };
        let Authority { host, port } = suffix.parse().map_err(|_| WRONG)?;
        // Addresses have no names below them.
        if host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok() {
            return Err(WRONG);
        }
        Ok(Self::Suffix(format!(".{host}"), port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_taken_apart_and_put_together_again() {
        for text in ["example.com", "example.com:8443", "127.0.0.1:1", "[::1]", "[::1]:8443"] {
            assert_eq!(text.parse::<Authority>().unwrap().to_string(), text);
        }
        assert_eq!("EXAMPLE.com:1".parse::<Authority>().unwrap().host(), "example.com");
        for text in [
            "",
            "a b",
            "a:",
            "a:b",
            "a:70000",
            "a/b",
            "u@a",
            "a:1:2",
            "::1",
            "a\\b",
            "a#b",
            "exämple.com",
            "*",
            "a*",
            "a..b",
            ".a",
            "%61",
        ] {
            assert!(text.parse::<Authority>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_default_port_is_left_out_as_browsers_do() {
        let url: BaseUrl = "https://example.com:443/".parse().unwrap();
        assert_eq!((url.to_string().as_str(), url.port()), ("https://example.com", 443));
        assert_eq!(url.origin(), "https://example.com".parse().unwrap());
        assert_eq!("http://a:443".parse::<BaseUrl>().unwrap().to_string(), "http://a:443");
        for text in ["example.com", "ftp://a", "https://a/b", "https://a?b", "https://u:p@a", "https://"] {
            assert!(text.parse::<BaseUrl>().is_err(), "{text:?}");
        }
        assert!("https://a/".parse::<Origin>().is_err());
    }
    #[test]
    fn host_patterns_are_hosts_or_suffixes() {
        let suffix = |text: &str, port| Ok(HostPattern::Suffix(text.to_owned(), port));
        assert_eq!("a.example:81".parse(), Ok(HostPattern::Exact("a.example:81".parse().unwrap())));
        assert_eq!("[::1]:81".parse(), Ok(HostPattern::Exact("[::1]:81".parse().unwrap())));
        assert_eq!("*.Aliyun.com".parse::<HostPattern>(), suffix(".aliyun.com", None));
        assert_eq!("*.aliyun.com:8443".parse::<HostPattern>(), suffix(".aliyun.com", Some(8443)));
        for text in ["", "*", "*.", "**.a.b", "a.*.b", "*a.b", "*.*.b", "*.[::1]", "*.127.0.0.1", "https://a", "a/b"] {
            assert!(text.parse::<HostPattern>().is_err(), "{text:?}");
        }
    }
}
