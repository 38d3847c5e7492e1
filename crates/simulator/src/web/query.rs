//! Parameters in queries and form bodies.

use percent_encoding::percent_decode_str;

/// The pairs of a query or a form in their order, decoded as a form is: `+` is a space.
pub(crate) fn decoded_pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(pub(crate) Vec<(String, String)>);

impl Query {
    /// Those of an encoded query.
    pub(crate) fn of(query: &str) -> Self {
        Self(decoded_pairs(query).collect())
    }

    /// The first value of a parameter; an empty one counts as none.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// A boolean in any case; `Err` for anything else.
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, ()> {
        match self.get(name) {
            None => Ok(None),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_as_a_form() {
        let pairs: Vec<_> = decoded_pairs("b=a+b%2Ac&a=%E4%BD%A0&empty=&flag").collect();
        let expected = [("b", "a b*c"), ("a", "你"), ("empty", ""), ("flag", "")];
        assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn booleans_have_any_case() {
        let query = Query::of("A=True&B=false&C=&D=yes");
        assert_eq!(query.boolean("A"), Ok(Some(true)));
        assert_eq!(query.boolean("B"), Ok(Some(false)));
        assert_eq!(query.boolean("C"), Ok(None));
        assert_eq!(query.boolean("D"), Err(()));
        assert_eq!(query.boolean("E"), Ok(None));
    }
}
