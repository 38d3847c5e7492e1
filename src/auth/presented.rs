//! Where in a request credentials stand.

use http::header::{self, HeaderMap};

/// The credential of the `Authorization` field, scheme `Bearer` (RFC 6750, section 2.1); `None` when there is no such
/// field, an error when there are several, or it is of another form.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<Result<&str, ()>> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let field = fields.next()?;
    if fields.next().is_some() {
        return Some(Err(()));
    }
    let token = field.to_str().ok().and_then(|field| {
        let (scheme, token) = field.split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
    });
    Some(token.ok_or(()))
}

/// The value of the cookie of this name, where there is one such cookie: of two, nobody knows which the server has set.
#[must_use]
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let fields = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
    let pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(other, _)| *other == name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_bearer_stands_there_once_and_says_so() {
        assert_eq!(bearer(&HeaderMap::new()), None);
        assert_eq!(bearer(&headers("authorization", &["Bearer abc"])), Some(Ok("abc")));
        assert_eq!(bearer(&headers("authorization", &["bearer  abc "])), Some(Ok("abc")));
        for wrong in [&["Basic abc"][..], &["abc"], &["Bearer "], &["Bearer"], &["Bearer a", "Bearer a"]] {
            assert_eq!(bearer(&headers("authorization", wrong)), Some(Err(())), "{wrong:?}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others_unless_there_are_two_of_its_name() {
        let among = headers("cookie", &["a=1; token=x.y; b=2"]);
        assert_eq!(cookie(&among, "token"), Some("x.y"));
        assert_eq!(cookie(&among, "Token"), None);
        assert_eq!(cookie(&headers("cookie", &["a=1", "token=z"]), "token"), Some("z"));
        assert_eq!(cookie(&headers("cookie", &["token=y; token=z"]), "token"), None);
    }
}
