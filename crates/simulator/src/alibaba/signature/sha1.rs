//! The older HMAC-SHA1: of the ROA style, whose signature is a header, and of the RPC style, whose signature is a parameter
//! (SignatureVersion 1.0).

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, Method};

use super::{SignedRequest, encode, joined, text};
use crate::{alibaba::error::ApiError, web::decoded_pairs};

/// Checks a signature.
///
/// # Errors
/// `SignatureDoesNotMatch`, with what this side would have signed.
pub(super) fn verify(string_to_sign: &str, key: &str, signature: &str) -> Result<(), ApiError> {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
    let claimed = STANDARD.decode(signature).unwrap_or_default();
    hmac::verify(&key, string_to_sign.as_bytes(), &claimed).map_err(|_| {
        ApiError::signature(format!(
            "Specified signature is not matched with our calculation. server string to sign is:{string_to_sign}"
        ))
    })
}

/// What a request of the RPC style signs: all parameters but the signature.
pub(super) fn rpc_string_to_sign(method: &Method, mut parameters: Vec<(String, String)>) -> String {
    parameters.retain(|(key, _)| key != "Signature");
    parameters.sort_unstable();
    let pairs: Vec<_> =
        parameters.into_iter().map(|(key, value)| format!("{}={}", encode(&key), encode(&value))).collect();
    format!("{method}&%2F&{}", encode(&pairs.join("&")))
}

/// What a request of the ROA style signs.
pub(super) fn roa_string_to_sign(request: SignedRequest<'_>) -> String {
    let headers = request.headers;
    let mut string = format!("{}\n", request.method);
    for name in ["accept", "content-md5", "content-type", "date"] {
        string += &text(headers, name).unwrap_or_default();
        string.push('\n');
    }
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with("x-acs-")).collect();
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
