//! Requests as the official SDKs put them on the wire, and what becomes of them when they are changed.

use http::{HeaderMap, Method};
use serde::Deserialize;

use super::*;

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

fn style(vector: &Vector) -> Style {
    if vector.name.starts_with("eci") { Style::Rpc } else { Style::Roa }
}

/// Requests as the official SDKs put them on the wire.
fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

#[test]
fn requests_of_the_official_sdks_verify_and_derive_as_they_say() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 13);
    for vector in vectors {
        let parsed = Parsed::new(&vector.raw_request);
        let request = parsed.request();
        let claim = Claim::of(request, style(&vector)).unwrap();
        assert_eq!(claim.access_key_id, vector.access_key_id, "{}", vector.name);
        assert_eq!(claim.security_token, vector.security_token, "{}", vector.name);
        match &claim.scheme {
            Scheme::Acs3 { signed_headers, .. } => {
                let canonical = acs3::canonical_request(request, signed_headers);
                assert_eq!(Some(&canonical), vector.derivation.canonical_request.as_ref(), "{}", vector.name);
                assert_eq!(acs3::string_to_sign(&canonical), vector.derivation.string_to_sign, "{}", vector.name);
            }
            Scheme::RpcSha1 { .. } => {
                let string = sha1::rpc_string_to_sign(request.method, request.parameters());
                assert_eq!(string, vector.derivation.string_to_sign, "{}", vector.name);
            }
            Scheme::RoaSha1 { .. } => {
                assert_eq!(sha1::roa_string_to_sign(request), vector.derivation.string_to_sign, "{}", vector.name);
            }
        }
        claim.verify(request, &vector.access_key_secret).unwrap();
        let error = claim.verify(request, "another secret").unwrap_err();
        assert_eq!(error.code, "SignatureDoesNotMatch", "{}", vector.name);
    }
}

#[test]
fn no_part_of_a_request_with_a_signed_head_can_be_changed() {
    for vector in vectors().into_iter().filter(|vector| !vector.name.starts_with("eci_v2")) {
        let verify = |raw: &str| {
            let parsed = Parsed::new(raw);
            Claim::of(parsed.request(), style(&vector))?.verify(parsed.request(), &vector.access_key_secret)
        };
        let raw = &vector.raw_request;
        let changed = [
            raw.replacen(" /", " /x", 1),
            raw.replacen(" HTTP/1.1", if raw.contains('?') { "&Dry=True HTTP/1.1" } else { "?Dry=True HTTP/1.1" }, 1),
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
fn no_signed_parameter_can_be_changed_added_or_taken_away_wherever_it_travels() {
    for vector in vectors().into_iter().filter(|vector| vector.name.starts_with("eci_v2")) {
        let parsed = Parsed::new(&vector.raw_request);
        let verify = |method: Method, query: &str, body: &str| {
            let mut headers = parsed.headers.clone();
            headers.insert("content-type", "application/x-www-form-urlencoded; charset=utf-8".parse().unwrap());
            let request = SignedRequest { method: &method, path: "/", query, headers: &headers, body: body.as_bytes() };
            Claim::of(request, Style::Rpc)?.verify(request, &vector.access_key_secret)
        };
        let query = parsed.query.as_str();
        verify(Method::POST, query, "").unwrap();
        let (first, second) = query.split_at(query.find("&Command").unwrap());
        verify(Method::POST, first, second).unwrap();
        verify(Method::POST, "", query).unwrap();
        for (method, query, body) in [
            (Method::GET, query.to_owned(), ""),
            (Method::POST, query.replacen("nginx", "nginy", 1), ""),
            (Method::POST, query.replacen("&TTY=True", "", 1), ""),
            (Method::POST, format!("{query}&Sync=True"), ""),
            (Method::POST, query.to_owned(), "Sync=True"),
            (Method::POST, query.replacen("Timestamp=2026", "Timestamp=2027", 1), ""),
        ] {
            let error = verify(method, &query, body).unwrap_err();
            assert_eq!(error.code, "SignatureDoesNotMatch", "{query} {body}");
        }
        for (name, code) in [
            ("Action", "MissingAction"),
            ("AccessKeyId", "MissingAccessKeyId"),
            ("Signature", "MissingSignature"),
            ("SignatureMethod", "MissingSignatureMethod"),
            ("SignatureVersion", "MissingSignatureVersion"),
            ("Timestamp", "MissingTimestamp"),
            ("SignatureNonce", "MissingSignatureNonce"),
        ] {
            let start = query.find(&format!("{name}=")).unwrap();
            let without = format!("{}x{}", &query[..start], &query[start..]);
            assert_eq!(verify(Method::POST, &without, "").unwrap_err().code, code);
        }
        let other = query.replacen("HMAC-SHA1", "HMAC-MD5", 1);
        assert_eq!(verify(Method::POST, &other, "").unwrap_err().code, "InvalidParameter");
    }
}

#[test]
fn each_style_of_api_knows_its_own_older_signature_only() {
    for vector in vectors().into_iter().filter(|vector| vector.name.contains("_v2")) {
        let parsed = Parsed::new(&vector.raw_request);
        let other = if style(&vector) == Style::Rpc { Style::Roa } else { Style::Rpc };
        assert!(Claim::of(parsed.request(), other).is_err(), "{}", vector.name);
    }
}

#[test]
fn a_changed_body_is_refused_even_if_its_header_still_names_the_old_hash() {
    let vector = vectors().into_iter().find(|vector| vector.name == "dlc_v3_stopjob").unwrap();
    let mut parsed = Parsed::new(&vector.raw_request);
    parsed.body = b"{}".to_vec();
    let claim = Claim::of(parsed.request(), Style::Roa).unwrap();
    assert_eq!(claim.verify(parsed.request(), "testsecret").unwrap_err().code, "SignatureDoesNotMatch");
}

#[test]
fn what_is_missing_is_named() {
    let vector = &vectors()[0];
    assert_eq!(style(vector), Style::Roa);
    for (line, code) in [
        ("Authorization", "MissingAuthorization"),
        ("x-acs-date", "MissingTimestamp"),
        ("x-acs-action", "MissingAction"),
        ("x-acs-signature-nonce", "MissingSignatureNonce"),
    ] {
        let raw = vector.raw_request.replacen(line, "x-gone", 1);
        let parsed = Parsed::new(&raw);
        assert_eq!(Claim::of(parsed.request(), Style::Roa).unwrap_err().code, code);
    }
    let raw = vector.raw_request.replacen("x-acs-date: 2026-11-22T", "x-acs-date: 2026-11-22 ", 1);
    assert_eq!(Claim::of(Parsed::new(&raw).request(), Style::Roa).unwrap_err().code, "InvalidTimeStamp.Format");
    let raw = vector.raw_request.replacen("accept;host;", "accept;", 1);
    let parsed = Parsed::new(&raw);
    let error = Claim::of(parsed.request(), Style::Roa).unwrap().verify(parsed.request(), "testsecret").unwrap_err();
    assert!(error.message.contains("host"), "{error:?}");
}

#[test]
fn everything_but_the_unreserved_characters_is_encoded() {
    assert_eq!(encode("a b*c~你"), "a%20b%2Ac~%E4%BD%A0");
}
