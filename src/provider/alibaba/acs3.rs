//! The request signature ACS3-HMAC-SHA256 of Alibaba Cloud's OpenAPI ("V3 request body and signature mechanism").

use std::collections::BTreeMap;

use aws_lc_rs::{digest, error::Unspecified, hmac, rand};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// What the signature's percent-encoding changes: everything but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// An AccessKey, and for a temporary one the STS token that belongs to it.
#[derive(Clone, Copy)]
pub(super) struct Credentials<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) access_key_secret: &'a str,
    pub(super) security_token: Option<&'a str>,
}

/// One API call, before it is signed.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    /// The `Host` field as it will be sent: with the port, unless it is the scheme's default.
    pub(super) host: &'a str,
    /// The path as it will be sent, each segment already through [`encode`]; `/` for RPC-style products.
    pub(super) path: &'a str,
    /// Names and values as they are meant, not encoded.
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) action: &'a str,
    pub(super) version: &'a str,
    /// Further fields to send and sign, names lower case and each once; a body needs its `content-type` here.
    pub(super) headers: &'a [(&'static str, &'a str)],
    pub(super) body: &'a [u8],
}

/// Signs a call: all header fields to send, `host` among them. Fields that hold a secret are marked as sensitive, so
/// that they do not print.
///
/// A pure function: `date` and `nonce` come from the caller. The service takes a date within 15 minutes of its own
/// clock and each nonce once.
///
/// # Errors
///
/// A value (a credential with a line break, for instance) that no header field can hold.
pub(super) fn sign(
    credentials: Credentials<'_>,
    call: &Call<'_>,
    date: Timestamp,
    nonce: &str,
) -> Result<HeaderMap, InvalidHeaderValue> {
    let date = date.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let body_hash = sha256(call.body);
    let mut fields = BTreeMap::from([
        ("host", call.host),
        ("x-acs-action", call.action),
        ("x-acs-content-sha256", &body_hash),
        ("x-acs-date", &date),
        ("x-acs-signature-nonce", nonce),
        ("x-acs-version", call.version),
    ]);
    fields.extend(call.headers.iter().copied());
    if let Some(token) = credentials.security_token {
        fields.insert("x-acs-accesskey-id", credentials.access_key_id);
        fields.insert("x-acs-security-token", token);
    }

    let canonical = canonical_request(call, &fields, &body_hash);
    let key = hmac::Key::new(hmac::HMAC_SHA256, credentials.access_key_secret.as_bytes());
    let signature = hex(hmac::sign(&key, string_to_sign(&canonical).as_bytes()).as_ref());
    let authorization = format!(
        "{ALGORITHM} Credential={},SignedHeaders={},Signature={signature}",
        credentials.access_key_id,
        signed_headers(&fields)
    );

    let mut headers = HeaderMap::with_capacity(fields.len() + 1);
    for (name, value) in fields {
        let mut value = HeaderValue::from_str(value)?;
        value.set_sensitive(name == "x-acs-security-token");
        headers.insert(HeaderName::from_static(name), value);
    }
    let mut authorization = HeaderValue::from_str(&authorization)?;
    authorization.set_sensitive(true);
    headers.insert(AUTHORIZATION, authorization);
    Ok(headers)
}

/// The query as it is signed, which is also a good way to send it: sorted by name, percent-encoded; empty for none.
pub(super) fn query_string(query: &[(&str, &str)]) -> String {
    let mut query = query.to_vec();
    query.sort_unstable();
    query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect::<Vec<_>>().join("&")
}

/// Percent-encodes a path segment, a name or a value, with upper-case digits and `/` included.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// 128 random bits in hexadecimal.
///
/// # Errors
///
/// The operating system gave no randomness.
pub(super) fn nonce() -> Result<String, Unspecified> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

fn canonical_request(call: &Call<'_>, fields: &BTreeMap<&'static str, &str>, body_hash: &str) -> String {
    let lines: String = fields.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    [call.method, call.path, &query_string(call.query), &lines, &signed_headers(fields), body_hash].join("\n")
}

fn string_to_sign(canonical_request: &str) -> String {
    format!("{ALGORITHM}\n{}", sha256(canonical_request.as_bytes()))
}

fn signed_headers(fields: &BTreeMap<&'static str, &str>) -> String {
    fields.keys().copied().collect::<Vec<_>>().join(";")
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Vectors {
        vectors: Vec<Vector>,
    }

    #[derive(serde::Deserialize)]
    struct Vector {
        name: String,
        access_key_id: String,
        access_key_secret: String,
        security_token: Option<String>,
        raw_request: String,
        canonical_request: String,
        string_to_sign: String,
        signature: String,
    }

    /// A request taken from the wire, and what of it the caller of [`sign`] has to say.
    struct Captured<'a> {
        method: &'a str,
        path: &'a str,
        query: Vec<(String, String)>,
        headers: Vec<(String, &'a str)>,
        body: &'a str,
    }

    impl<'a> Captured<'a> {
        fn parse(raw: &'a str) -> Self {
            let (head, body) = raw.split_once("\r\n\r\n").unwrap();
            let mut lines = head.split("\r\n");
            let mut request_line = lines.next().unwrap().split(' ');
            let (method, uri) = (request_line.next().unwrap(), request_line.next().unwrap());
            let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
            Self {
                method,
                path,
                query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
                headers: lines
                    .map(|line| line.split_once(": ").unwrap())
                    .map(|(name, value)| (name.to_ascii_lowercase(), value))
                    .collect(),
                body,
            }
        }

        fn header(&self, wanted: &str) -> &'a str {
            self.headers.iter().find(|(name, _)| name == wanted).unwrap().1
        }
    }

    /// Fields that the SDKs sign and [`sign`] leaves to its caller.
    const EXTRA: [&str; 3] = ["accept", "user-agent", "x-acs-credentials-provider"];
    /// Fields that the SDKs' HTTP layer adds behind the signature.
    const UNSIGNED: [&str; 2] = ["accept-encoding", "content-length"];

    #[test]
    fn every_request_of_the_official_sdks_is_signed_as_they_signed_it() {
        let vectors: Vectors = serde_json::from_str(include_str!("acs3_vectors.json")).unwrap();
        assert_eq!(vectors.vectors.len(), 9);
        for vector in vectors.vectors {
            let captured = Captured::parse(&vector.raw_request);
            let query: Vec<_> = captured.query.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let extra = EXTRA.map(|name| (name, captured.header(name)));
            let call = Call {
                method: captured.method,
                host: captured.header("host"),
                path: captured.path,
                query: &query,
                action: captured.header("x-acs-action"),
                version: captured.header("x-acs-version"),
                headers: &extra,
                body: captured.body.as_bytes(),
            };
            let credentials = Credentials {
                access_key_id: &vector.access_key_id,
                access_key_secret: &vector.access_key_secret,
                security_token: vector.security_token.as_deref(),
            };
            let date = captured.header("x-acs-date").parse().unwrap();
            let headers = sign(credentials, &call, date, captured.header("x-acs-signature-nonce")).unwrap();

            let fields: BTreeMap<&'static str, &str> = headers
                .iter()
                .filter(|(name, _)| *name != AUTHORIZATION)
                .map(|(name, value)| (&*name.as_str().to_owned().leak(), value.to_str().unwrap()))
                .collect();
            let canonical = canonical_request(&call, &fields, captured.header("x-acs-content-sha256"));
            assert_eq!(canonical, vector.canonical_request, "{}", vector.name);
            assert_eq!(string_to_sign(&canonical), vector.string_to_sign, "{}", vector.name);
            assert!(headers[AUTHORIZATION].to_str().unwrap().ends_with(&vector.signature), "{}", vector.name);

            // What we would send is what they sent, field for field.
            let expected = captured.headers.iter().filter(|(name, _)| !UNSIGNED.contains(&name.as_str()));
            assert_eq!(headers.len(), expected.clone().count(), "{}", vector.name);
            for (name, value) in expected {
                assert_eq!(headers[name.as_str()], *value, "{}: {name}", vector.name);
            }
        }
    }

    #[test]
    fn the_example_of_the_published_specification_is_signed_as_printed_there() {
        let call = Call {
            method: "POST",
            host: "ecs.cn-shanghai.aliyuncs.com",
            path: "/",
            query: &[("RegionId", "cn-shanghai"), ("ImageId", "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd")],
            action: "RunInstances",
            version: "2014-05-26",
            headers: &[],
            body: b"",
        };
        let credentials = Credentials {
            access_key_id: "YourAccessKeyId",
            access_key_secret: "YourAccessKeySecret",
            security_token: None,
        };
        let date = "2023-10-26T10:22:32Z".parse().unwrap();
        let headers = sign(credentials, &call, date, "3156853299f313e23d1673dc12e1703d").unwrap();
        assert_eq!(
            headers[AUTHORIZATION],
            "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,\
             SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,\
             Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
        );
    }

    #[test]
    fn a_query_is_encoded_beyond_what_forms_do() {
        assert_eq!(encode("a b*~é/+"), "a%20b%2A~%C3%A9%2F%2B");
        assert_eq!(query_string(&[("b", "1"), ("a", "x y"), ("C", "")]), "C=&a=x%20y&b=1");
        assert_eq!(query_string(&[]), "");
    }

    #[test]
    fn signed_headers_do_not_print_what_is_secret() {
        let call = Call {
            method: "GET",
            host: "h",
            path: "/",
            query: &[],
            action: "A",
            version: "V",
            headers: &[],
            body: b"",
        };
        let credentials =
            Credentials { access_key_id: "key-id", access_key_secret: "s3cret", security_token: Some("t0ken") };
        let headers = sign(credentials, &call, Timestamp::UNIX_EPOCH, "n").unwrap();
        let printed = format!("{headers:?}");
        assert!(!printed.contains("t0ken") && !printed.contains("Signature="), "{printed}");
        assert_eq!(headers["x-acs-security-token"], "t0ken");
        assert!(sign(Credentials { access_key_id: "a\nb", ..credentials }, &call, Timestamp::UNIX_EPOCH, "n").is_err());
    }

    #[test]
    fn no_nonce_comes_twice() {
        let nonces: std::collections::HashSet<_> = (0..1000).map(|_| nonce().unwrap()).collect();
        assert_eq!(nonces.len(), 1000);
        assert!(nonces.iter().all(|nonce| nonce.len() == 32));
    }
}
