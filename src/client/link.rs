//! Links as a client holds them.

use std::fmt;
use std::str::FromStr;

use crate::config::units::Authority;

/// A link to a terminal, `wss://HOST[:PORT]/PATH`. The path is a secret: neither `Debug` nor `Display` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    authority: Authority,
    path_and_query: String,
}

impl Link {
    /// Whom it leads to.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What is asked for there, for somebody who has `offset` bytes of the session's output already.
    pub(super) fn path_and_query(&self, offset: Option<u64>) -> String {
        let path = &self.path_and_query;
        let joint = if path.contains('?') { '&' } else { '?' };
        offset.map_or_else(|| path.clone(), |offset| format!("{path}{joint}offset={offset}"))
    }
}

impl FromStr for Link {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expected a link such as wss://terminals.example.com/t/…";
        let rest = text.strip_prefix("wss://").ok_or(WRONG)?;
        let (authority, path) = rest.split_once('/').ok_or(WRONG)?;
        let authority = authority.parse().map_err(|_| WRONG)?;
        if path.is_empty() || !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(WRONG);
        }
        Ok(Self { authority, path_and_query: format!("/{path}") })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wss://{}/…", self.authority)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_where_it_leads_and_never_what_opens_it() {
        let link: Link = "wss://Term.example:8443/t/s3cret".parse().unwrap();
        assert_eq!(link.to_string(), "wss://term.example:8443/…");
        assert!(!format!("{link:?}").contains("s3cret"));
        assert_eq!(link.path_and_query(None), "/t/s3cret");
        assert_eq!(link.path_and_query(Some(17)), "/t/s3cret?offset=17");
        let link: Link = "wss://[::1]/t/s3cret?via=x".parse().unwrap();
        assert_eq!(link.path_and_query(Some(0)), "/t/s3cret?via=x&offset=0");
    }

    #[test]
    fn what_is_no_link_is_refused_without_being_repeated() {
        for wrong in [
            "",
            "s3cret",
            "ws://term.example/t/s3cret",
            "https://term.example/t/s3cret",
            "wss://term.example",
            "wss://term.example/",
            "wss:///t/s3cret",
            "wss://user@term.example/t/s3cret",
            "wss://term.example/t/s3 cret",
            "wss://term.example/t/s3cret#x",
            "wss://term.example/t/s3cret\r\nx: y",
        ] {
            let told = wrong.parse::<Link>().unwrap_err();
            assert!(!told.contains("s3cret"), "{wrong:?}: {told}");
        }
    }
}
