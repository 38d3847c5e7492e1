//! ACS3-HMAC-SHA256 ("V3 request body and signature mechanism").

use aws_lc_rs::{digest, hmac};
use http::HeaderMap;

use super::{SignedRequest, encode, joined};
use crate::{alibaba::error::ApiError, random::hex, web::decoded_pairs};

const ACS3: &str = "ACS3-HMAC-SHA256";

/// The key's id, the list of signed headers, and the signature of an `Authorization` header.
pub(super) fn authorization(fields: &str) -> Result<(String, String, String), ApiError> {
    let field = |name: &str| {
        fields
            .split(',')
            .find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
            .map(str::to_owned)
            .ok_or_else(|| ApiError::missing(name))
    };
    Ok((field("Credential")?, field("SignedHeaders")?, field("Signature")?))
}

/// Checks a signature.
///
/// # Errors
/// `SignatureDoesNotMatch`, with what this side would have signed.
pub(super) fn verify(
    request: SignedRequest<'_>,
    signed_headers: &str,
    signature: &str,
    secret: &str,
) -> Result<(), ApiError> {
    demand_signed(request.headers, signed_headers)?;
    let canonical = canonical_request(request, signed_headers);
    let string_to_sign = string_to_sign(&canonical);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let claimed = unhex(signature).unwrap_or_default();
    hmac::verify(&key, string_to_sign.as_bytes(), &claimed).map_err(|_| {
        ApiError::signature(format!(
            "Specified signature does not match our calculation. server StringToSign is [{string_to_sign}] \
             server CanonicalRequest is [{canonical}]"
        ))
    })
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

pub(super) fn canonical_request(request: SignedRequest<'_>, signed_headers: &str) -> String {
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

pub(super) fn string_to_sign(canonical_request: &str) -> String {
    format!("{ACS3}\n{}", hex(digest::digest(&digest::SHA256, canonical_request.as_bytes()).as_ref()))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    text.as_bytes().chunks(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}
