//! The address of a terminal, as the API hands it out.

use http::uri::PathAndQuery;

use crate::config::HostPattern;
use crate::config::units::Authority;

/// The longest address that is taken, in bytes.
const MAX_LEN: usize = 8 << 10;

/// A checked `WebTerminalUrl`. What follows the host is the bearer's right to a shell: it is passed on as it came,
/// and never printed.
pub(super) struct TerminalLink {
    pub(super) tls: bool,
    pub(super) authority: Authority,
    path_and_query: PathAndQuery,
}

impl TerminalLink {
    /// Takes `wss:` (with `plain`, `ws:` too) to a host that `hosts` names. The host that is checked here is the one
    /// that is dialled later: nothing else reads the address.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words that repeat nothing of it.
    pub(super) fn parse(url: &str, plain: bool, hosts: &[HostPattern]) -> Result<Self, &'static str> {
        if url.len() > MAX_LEN || !url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err("the terminal's address is too long, or has characters that no address has");
        }
        let (scheme, rest) = url.split_once("://").ok_or("the terminal's address is no URL")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "wss" => true,
            "ws" if plain => false,
            _ => return Err("the terminal's address is not a wss one"),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("the terminal's address names a user");
        }
        if path.contains('#') {
            return Err("the terminal's address has a fragment");
        }
        let authority: Authority = authority.parse().map_err(|_| "the terminal's address has no proper host")?;
        if !hosts.iter().any(|host| matches(host, &authority, tls)) {
            return Err("the terminal's address leads to a host that websocket_hosts does not name");
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let path_and_query = path.parse().map_err(|_| "the terminal's address has no proper path")?;
        Ok(Self { tls, authority, path_and_query })
    }

    /// What follows the host, for the request line.
    pub(super) fn path_and_query(&self) -> &str {
        self.path_and_query.as_str()
    }
}

impl std::fmt::Debug for TerminalLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TerminalLink").field("authority", &self.authority.to_string()).finish_non_exhaustive()
    }
}

fn matches(pattern: &HostPattern, authority: &Authority, tls: bool) -> bool {
    let default = if tls { 443 } else { 80 };
    let port = authority.port_or(default);
    match pattern {
        HostPattern::Exact(exact) => exact.host() == authority.host() && exact.port_or(default) == port,
        HostPattern::Suffix(suffix, wanted) => {
            let below = authority.host().strip_suffix(suffix.as_str()).is_some_and(|name| !name.is_empty());
            below && wanted.unwrap_or(default) == port
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud() -> Vec<HostPattern> {
        vec![HostPattern::Suffix(".aliyun.com".to_owned(), None)]
    }

    #[test]
    fn a_link_of_the_cloud_is_taken_and_passed_on_as_it_came() {
        let path = "/terminal/t11577/dlc1/dlc1-worker-0?Token=a%2Fb+/c=&x={}%zz/../..//";
        let link = TerminalLink::parse(&format!("wss://pai-dlc-proxy-cn-shanghai.aliyun.com{path}"), false, &cloud());
        let link = link.unwrap();
        assert!(link.tls);
        assert_eq!(link.authority.to_string(), "pai-dlc-proxy-cn-shanghai.aliyun.com");
        assert_eq!(link.path_and_query(), path);
        let debug = format!("{link:?}");
        assert!(!debug.contains("Token") && !debug.contains("terminal/"), "{debug}");
    }

    #[test]
    fn an_address_without_a_path_asks_for_the_root() {
        for (url, path) in
            [("wss://a.aliyun.com", "/"), ("wss://a.aliyun.com?x=1", "/?x=1"), ("WSS://A.ALIYUN.COM:443/", "/")]
        {
            assert_eq!(TerminalLink::parse(url, false, &cloud()).unwrap().path_and_query(), path, "{url}");
        }
    }

    #[test]
    fn no_other_place_can_be_reached_through_a_link() {
        for url in [
            "",
            "a.aliyun.com/x",
            "ws://a.aliyun.com/",
            "http://a.aliyun.com/",
            "https://a.aliyun.com/",
            "wss://aliyun.com/",
            "wss://.aliyun.com/",
            "wss://evilaliyun.com/",
            "wss://a.aliyun.com.evil.example/",
            "wss://a.aliyuncs.com/",
            "wss://evil.example/?.aliyun.com",
            "wss://evil.example#.aliyun.com",
            "wss://evil.example\\.aliyun.com/",
            "wss://evil.example\\@a.aliyun.com/",
            "wss://user@a.aliyun.com/",
            "wss://user:a.aliyun.com@evil.example/",
            "wss://a.aliyun.com@evil.example/",
            "wss://a.aliyun.com:8443/",
            "wss://a.aliyun.com:80/",
            "wss://a.aliyun.com/#x",
            "wss://a.aliyun.com/ x",
            "wss://a.aliyun.com/\r\nHost: evil.example",
            "wss://a.aliyun.com\u{0}.evil.example/",
            "wss://é.aliyun.com/",
            "wss://127.0.0.1/",
            "wss://[::1]/",
            "wss:a.aliyun.com/",
            "wss:///a.aliyun.com/",
            " wss://a.aliyun.com/",
        ] {
            assert!(TerminalLink::parse(url, false, &cloud()).is_err(), "{url:?}");
        }
        let long = format!("wss://a.aliyun.com/{}", "x".repeat(MAX_LEN));
        assert!(TerminalLink::parse(&long, false, &cloud()).is_err());
    }

    #[test]
    fn a_pattern_names_a_host_and_its_port() {
        let exact = [HostPattern::Exact("127.0.0.1:1234".parse().unwrap())];
        assert!(!TerminalLink::parse("ws://127.0.0.1:1234/x", true, &exact).unwrap().tls);
        assert!(TerminalLink::parse("ws://127.0.0.1:1234/x", false, &exact).is_err());
        assert!(TerminalLink::parse("ws://127.0.0.1:1235/x", true, &exact).is_err());
        assert!(TerminalLink::parse("ws://127.0.0.1/x", true, &exact).is_err());
        let default = [HostPattern::Exact("term.example".parse().unwrap())];
        assert!(TerminalLink::parse("wss://term.example:443/", false, &default).is_ok());
        assert!(TerminalLink::parse("wss://term.example:444/", false, &default).is_err());
        let suffix = [HostPattern::Suffix(".example".to_owned(), Some(8443))];
        assert!(TerminalLink::parse("wss://a.b.example:8443/", false, &suffix).is_ok());
        assert!(TerminalLink::parse("wss://a.b.example/", false, &suffix).is_err());
        assert!(TerminalLink::parse("wss://a.example/", false, &[]).is_err());
    }
}
