//! Verification of signed requests: ACS3-HMAC-SHA256 ("V3 request body and signature mechanism") and the older
//! HMAC-SHA1 of the ROA style.

use std::time::SystemTime;

use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, Method, header};
use jiff::{civil::DateTime, tz::TimeZone};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::error::ApiError;
use crate::random::hex;

const ACS3: &str = "ACS3-HMAC-SHA256";
/// Everything but the unreserved characters of RFC 3986 §2.3 is percent-encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A request as it came: path and query are still encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignedRequest<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

/// Who a request says it is from. Nothing of it is true before [`verify`](Self::verify).
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) access_key_id: String,
    pub(super) date: SystemTime,
    pub(super) nonce: String,
    pub(super) security_token: Option<String>,
    /// The action that the request names.
    pub(super) action: Option<String>,
    scheme: Scheme,
}

#[derive(Debug)]
enum Scheme {
    Acs3 { signed_headers: String, signature: String },
    RoaSha1 { signature: String },
}

impl Claim {
    /// Reads the claim out of the headers.
    ///
    /// # Errors
    /// Something that the scheme demands is missing or malformed.
    pub(super) fn of(request: SignedRequest<'_>) -> Result<Self, ApiError> {
        let headers = request.headers;
        let authorization =
            text(headers, header::AUTHORIZATION.as_str()).ok_or_else(|| ApiError::missing("Authorization"))?;
        let (access_key_id, scheme, date) = if let Some(fields) = authorization.strip_prefix("ACS3-HMAC-SHA256 ") {
            let (id, scheme) = acs3_authorization(fields)?;
            let date = text(headers, "x-acs-date").ok_or_else(|| ApiError::missing("Timestamp"))?;
            (id, scheme, moment(&date, "%Y-%m-%dT%H:%M:%SZ")?)
        } else if let Some(fields) = authorization.strip_prefix("acs ") {
            let (id, signature) = fields.split_once(':').ok_or_else(|| ApiError::missing("Signature"))?;
            if text(headers, "x-acs-signature-method").as_deref() != Some("HMAC-SHA1") {
                return Err(ApiError::missing("SignatureMethod"));
            }
            let date = text(headers, header::DATE.as_str()).ok_or_else(|| ApiError::missing("Date"))?;
            let scheme = Scheme::RoaSha1 { signature: signature.to_owned() };
            (id.to_owned(), scheme, moment(&date, "%a, %d %b %Y %H:%M:%S GMT")?)
        } else {
            return Err(ApiError::signature(format!("Specified authorization is neither {ACS3} nor acs.")));
        };
        let action = text(headers, "x-acs-action");
        if matches!(scheme, Scheme::Acs3 { .. }) && action.is_none() {
            return Err(ApiError::missing("Action"));
        }
        let nonce = text(headers, "x-acs-signature-nonce")
            .filter(|nonce| !nonce.is_empty())
            .ok_or_else(|| ApiError::missing("SignatureNonce"))?;
        let security_token = text(headers, "x-acs-security-token");
        Ok(Self { access_key_id, date, nonce, security_token, action, scheme })
    }

    /// Checks the signature with the secret that belongs to [`access_key_id`](Self::access_key_id).
    ///
    /// # Errors
    /// `SignatureDoesNotMatch`, with what this side would have signed.
    pub(super) fn verify(&self, request: SignedRequest<'_>, secret: &str) -> Result<(), ApiError> {
        match &self.scheme {
            Scheme::Acs3 { signed_headers, signature } => {
                demand_signed(request.headers, signed_headers)?;
                let canonical = canonical_request(request, signed_headers);
                let string_to_sign = acs3_string_to_sign(&canonical);
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
                let claimed = unhex(signature).unwrap_or_default();
                hmac::verify(&key, string_to_sign.as_bytes(), &claimed).map_err(|_| {
                    ApiError::signature(format!(
                        "Specified signature does not match our calculation. server StringToSign is [{string_to_sign}] \
                         server CanonicalRequest is [{canonical}]"
                    ))
                })
            }
            Scheme::RoaSha1 { signature } => {
                let string_to_sign = roa_string_to_sign(request);
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
                let claimed = STANDARD.decode(signature).unwrap_or_default();
                hmac::verify(&key, string_to_sign.as_bytes(), &claimed).map_err(|_| {
                    ApiError::signature(format!(
                        "Specified signature is not matched with our calculation. server string to sign is:{string_to_sign}"
                    ))
                })
            }
        }
    }
}

fn acs3_authorization(fields: &str) -> Result<(String, Scheme), ApiError> {
    let field = |name: &str| {
        fields
            .split(',')
            .find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
            .map(str::to_owned)
            .ok_or_else(|| ApiError::missing(name))
    };
    let signed_headers = field("SignedHeaders")?;
    Ok((field("Credential")?, Scheme::Acs3 { signed_headers, signature: field("Signature")? }))
}

/// A client may sign what it likes, but never less than the host and every `x-acs-*` header that it sends.
fn demand_signed(headers: &HeaderMap, signed_headers: &str) -> Result<(), ApiError> {
    let must = headers.keys().map(http::HeaderName::as_str).filter(|name| name.starts_with("x-acs-"));
    for name in must.chain(["host", "x-acs-content-sha256"]) {
        if !signed_headers.split(';').any(|signed| signed == name) {
            return Err(ApiError::signature(format!("Specified signature does not cover the header {name}.")));
        }
    }
    Ok(())
}

fn canonical_request(request: SignedRequest<'_>, signed_headers: &str) -> String {
    let mut pairs: Vec<(String, String)> =
        decoded_pairs(request.query).map(|(key, value)| (encode(&key), encode(&value))).collect();
    pairs.sort_unstable();
    let query: Vec<_> = pairs.into_iter().map(|(key, value)| format!("{key}={value}")).collect();

    let mut names: Vec<_> = signed_headers.split(';').collect();
    names.sort_unstable();
    let block: String = names.into_iter().map(|name| format!("{name}:{}\n", joined(request.headers, name))).collect();

    // The hash is of what came, whatever x-acs-content-sha256 says; that header is bound by being signed as well.
    let hash = hex(digest::digest(&digest::SHA256, request.body).as_ref());
    format!("{}\n{}\n{}\n{block}\n{signed_headers}\n{hash}", request.method, request.path, query.join("&"))
}

fn acs3_string_to_sign(canonical_request: &str) -> String {
    format!("{ACS3}\n{}", hex(digest::digest(&digest::SHA256, canonical_request.as_bytes()).as_ref()))
}

fn roa_string_to_sign(request: SignedRequest<'_>) -> String {
    let headers = request.headers;
    let mut string = format!("{}\n", request.method);
    for name in ["accept", "content-md5", "content-type", "date"] {
        string += &text(headers, name).unwrap_or_default();
        string.push('\n');
    }
    let mut names: Vec<_> =
        headers.keys().map(http::HeaderName::as_str).filter(|name| name.starts_with("x-acs-")).collect();
    names.sort_unstable();
    for name in names {
        string += &format!("{name}:{}\n", joined(headers, name));
    }
    string += request.path;
    let mut pairs: Vec<_> = decoded_pairs(request.query).collect();
    pairs.sort_unstable();
    for (index, (key, value)) in pairs.into_iter().enumerate() {
        string.push(if index == 0 { '?' } else { '&' });
        string += &key;
        if !value.is_empty() {
            string.push('=');
            string += &value;
        }
    }
    string
}

/// The pairs of a query in their order, decoded as a form is: `+` is a space.
pub(super) fn decoded_pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// All values of a header, trimmed, sorted and joined by commas; empty if there are none.
fn joined(headers: &HeaderMap, name: &str) -> String {
    let mut values: Vec<_> =
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned()).collect();
    values.sort_unstable();
    values.join(",")
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
}

fn moment(text: &str, format: &str) -> Result<SystemTime, ApiError> {
    DateTime::strptime(format, text)
        .and_then(|date| date.to_zoned(TimeZone::UTC))
        .map(|zoned| SystemTime::from(zoned.timestamp()))
        .map_err(|_| ApiError::malformed_date())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    text.as_bytes().chunks(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Vector {
        name: String,
        access_key_id: String,
        access_key_secret: String,
        security_token: Option<String>,
        raw_request: String,
        derivation: Derivation,
    }

    #[derive(Deserialize)]
    struct Derivation {
        canonical_request: Option<String>,
        string_to_sign: String,
    }

    struct Parsed {
        method: Method,
        path: String,
        query: String,
        headers: HeaderMap,
        body: Vec<u8>,
    }

    impl Parsed {
        fn new(raw: &str) -> Self {
            let (head, body) = raw.split_once("\r\n\r\n").unwrap();
            let mut lines = head.split("\r\n");
            let mut first = lines.next().unwrap().split(' ');
            let method = first.next().unwrap().parse().unwrap();
            let target = first.next().unwrap();
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let mut headers = HeaderMap::new();
            for line in lines {
                let (name, value) = line.split_once(':').unwrap();
                let name: http::HeaderName = name.parse().unwrap();
                headers.append(name, value.trim().parse().unwrap());
            }
            Self { method, path: path.to_owned(), query: query.to_owned(), headers, body: body.as_bytes().to_vec() }
        }

        fn request(&self) -> SignedRequest<'_> {
            let Self { method, path, query, headers, body } = self;
            SignedRequest { method, path, query, headers, body }
        }
    }

    /// Requests as the official SDKs put them on the wire.
    fn vectors() -> Vec<Vector> {
        serde_json::from_str(include_str!("signature_vectors.json")).unwrap()
    }

    #[test]
    fn requests_of_the_official_sdks_verify_and_derive_as_they_say() {
        let vectors = vectors();
        assert_eq!(vectors.len(), 11);
        for vector in vectors {
            let parsed = Parsed::new(&vector.raw_request);
            let request = parsed.request();
            let claim = Claim::of(request).unwrap();
            assert_eq!(claim.access_key_id, vector.access_key_id, "{}", vector.name);
            assert_eq!(claim.security_token, vector.security_token, "{}", vector.name);
            match &claim.scheme {
                Scheme::Acs3 { signed_headers, .. } => {
                    let canonical = canonical_request(request, signed_headers);
                    assert_eq!(Some(&canonical), vector.derivation.canonical_request.as_ref(), "{}", vector.name);
                    assert_eq!(acs3_string_to_sign(&canonical), vector.derivation.string_to_sign, "{}", vector.name);
                }
                Scheme::RoaSha1 { .. } => {
                    assert_eq!(roa_string_to_sign(request), vector.derivation.string_to_sign, "{}", vector.name);
                }
            }
            claim.verify(request, &vector.access_key_secret).unwrap();
            let error = claim.verify(request, "another secret").unwrap_err();
            assert_eq!(error.code, "SignatureDoesNotMatch", "{}", vector.name);
        }
    }

    #[test]
    fn no_part_of_a_signed_request_can_be_changed() {
        for vector in vectors() {
            let verify = |raw: &str| {
                let parsed = Parsed::new(raw);
                Claim::of(parsed.request())?.verify(parsed.request(), &vector.access_key_secret)
            };
            let raw = &vector.raw_request;
            let changed = [
                raw.replacen(" /", " /x", 1),
                raw.replacen(
                    " HTTP/1.1",
                    if raw.contains('?') { "&Dry=True HTTP/1.1" } else { "?Dry=True HTTP/1.1" },
                    1,
                ),
                raw.replacen("x-acs-action: ", "x-acs-action: X", 1),
                raw.replacen("x-acs-version: 2", "x-acs-version: 3", 1),
                raw.replacen("Accept-Encoding: identity", "x-acs-extra: unsigned", 1),
                raw.replacen("x-acs-signature-nonce: ", "x-acs-signature-nonce: 0", 1),
            ];
            for changed in changed {
                assert_ne!(&changed, raw);
                assert_eq!(verify(&changed).unwrap_err().code, "SignatureDoesNotMatch", "{changed}");
            }
        }
    }

    #[test]
    fn a_changed_body_is_refused_even_if_its_header_still_names_the_old_hash() {
        let vector = vectors().into_iter().find(|vector| vector.name == "dlc_v3_stopjob").unwrap();
        let mut parsed = Parsed::new(&vector.raw_request);
        parsed.body = b"{}".to_vec();
        let claim = Claim::of(parsed.request()).unwrap();
        assert_eq!(claim.verify(parsed.request(), "testsecret").unwrap_err().code, "SignatureDoesNotMatch");
    }

    #[test]
    fn what_is_missing_is_named() {
        let vector = &vectors()[0];
        for (line, code) in [
            ("Authorization", "MissingAuthorization"),
            ("x-acs-date", "MissingTimestamp"),
            ("x-acs-action", "MissingAction"),
            ("x-acs-signature-nonce", "MissingSignatureNonce"),
        ] {
            let raw = vector.raw_request.replacen(line, "x-gone", 1);
            let parsed = Parsed::new(&raw);
            assert_eq!(Claim::of(parsed.request()).unwrap_err().code, code);
        }
        let raw = vector.raw_request.replacen("x-acs-date: 2026-11-22T", "x-acs-date: 2026-11-22 ", 1);
        assert_eq!(Claim::of(Parsed::new(&raw).request()).unwrap_err().code, "InvalidTimeStamp.Format");
        let raw = vector.raw_request.replacen("accept;host;", "accept;", 1);
        let parsed = Parsed::new(&raw);
        let error = Claim::of(parsed.request()).unwrap().verify(parsed.request(), "testsecret").unwrap_err();
        assert!(error.message.contains("host"), "{error:?}");
    }

    #[test]
    fn a_query_is_decoded_as_a_form_and_encoded_anew() {
        let pairs: Vec<_> = decoded_pairs("b=a+b%2Ac&a=%E4%BD%A0&empty=&flag").collect();
        let expected = [("b", "a b*c"), ("a", "你"), ("empty", ""), ("flag", "")];
        assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(encode("a b*c~你"), "a%20b%2Ac~%E4%BD%A0");
    }
}
