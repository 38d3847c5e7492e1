//! Verification of signed requests: ACS3-HMAC-SHA256 ("V3 request body and signature mechanism") and the two older
//! HMAC-SHA1, one for each style of API.

mod acs3;
mod sha1;
#[cfg(test)]
mod tests;

use std::time::SystemTime;

use http::{HeaderMap, Method, header};
use jiff::{civil::DateTime, tz::TimeZone};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::ApiError;
use crate::web::{Query, decoded_pairs};

/// Everything but the unreserved characters of RFC 3986 §2.3 is percent-encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A request as it came: path and query are still encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignedRequest<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

impl SignedRequest<'_> {
    /// The parameters of the query, then those of a form in the body.
    pub(crate) fn parameters(self) -> Vec<(String, String)> {
        let is_form = text(self.headers, header::CONTENT_TYPE.as_str())
            .is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded"));
        let form = if is_form { String::from_utf8_lossy(self.body) } else { "".into() };
        decoded_pairs(self.query).chain(decoded_pairs(&form)).collect()
    }
}

/// How an API names its actions, and with it which older signature it knows beside ACS3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// By method and path.
    Roa,
    /// By a parameter, in the query or in a form body.
    Rpc,
}

/// Who a request says it is from. Nothing of it is true before [`verify`](Self::verify).
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) access_key_id: String,
    pub(crate) date: SystemTime,
    pub(crate) nonce: String,
    pub(crate) security_token: Option<String>,
    /// The action that the request names.
    pub(crate) action: Option<String>,
    /// The version of the API that the request names.
    pub(crate) version: Option<String>,
    scheme: Scheme,
}

#[derive(Debug)]
enum Scheme {
    Acs3 { signed_headers: String, signature: String },
    RoaSha1 { signature: String },
    RpcSha1 { signature: String },
}

impl Claim {
    /// Reads the claim out of the headers, or for [`Style::Rpc`] out of the parameters if no header has it.
    ///
    /// # Errors
    /// Something that the scheme demands is missing or malformed.
    pub(crate) fn of(request: SignedRequest<'_>, style: Style) -> Result<Self, ApiError> {
        let headers = request.headers;
        let authorization = text(headers, header::AUTHORIZATION.as_str());
        if authorization.is_none() && style == Style::Rpc {
            return Self::of_parameters(&Query(request.parameters()));
        }
        let authorization = authorization.ok_or_else(|| ApiError::missing("Authorization"))?;
        let (access_key_id, scheme, date) = if let Some(fields) = authorization.strip_prefix("ACS3-HMAC-SHA256 ") {
            let (id, signed_headers, signature) = acs3::authorization(fields)?;
            let scheme = Scheme::Acs3 { signed_headers, signature };
            let date = text(headers, "x-acs-date").ok_or_else(|| ApiError::missing("Timestamp"))?;
            (id, scheme, moment(&date, "%Y-%m-%dT%H:%M:%SZ")?)
        } else if let (Some(fields), Style::Roa) = (authorization.strip_prefix("acs "), style) {
            let (id, signature) = fields.split_once(':').ok_or_else(|| ApiError::missing("Signature"))?;
            if text(headers, "x-acs-signature-method").as_deref() != Some("HMAC-SHA1") {
                return Err(ApiError::missing("SignatureMethod"));
            }
            let date = text(headers, header::DATE.as_str()).ok_or_else(|| ApiError::missing("Date"))?;
            let scheme = Scheme::RoaSha1 { signature: signature.to_owned() };
            (id.to_owned(), scheme, moment(&date, "%a, %d %b %Y %H:%M:%S GMT")?)
        } else {
            return Err(ApiError::signature("Specified authorization is of no known scheme.".to_owned()));
        };
        let action = text(headers, "x-acs-action");
        if matches!(scheme, Scheme::Acs3 { .. }) && action.is_none() {
            return Err(ApiError::missing("Action"));
        }
        let nonce = text(headers, "x-acs-signature-nonce")
            .filter(|nonce| !nonce.is_empty())
            .ok_or_else(|| ApiError::missing("SignatureNonce"))?;
        let security_token = text(headers, "x-acs-security-token");
        let version = text(headers, "x-acs-version");
        Ok(Self { access_key_id, date, nonce, security_token, action, version, scheme })
    }

    /// Reads the claim of an RPC request with SignatureVersion 1.0.
    fn of_parameters(parameters: &Query) -> Result<Self, ApiError> {
        let mandatory = |name: &str| parameters.get(name).map(str::to_owned).ok_or_else(|| ApiError::missing(name));
        let action = mandatory("Action")?;
        let access_key_id = mandatory("AccessKeyId")?;
        let signature = mandatory("Signature")?;
        for (name, only) in [("SignatureMethod", "HMAC-SHA1"), ("SignatureVersion", "1.0")] {
            if mandatory(name)? != only {
                return Err(ApiError::invalid_parameter(format!("{name} has to be {only}.")));
            }
        }
        let date = moment(&mandatory("Timestamp")?, "%Y-%m-%dT%H:%M:%SZ")?;
        let nonce = mandatory("SignatureNonce")?;
        let security_token = parameters.get("SecurityToken").map(str::to_owned);
        let version = parameters.get("Version").map(str::to_owned);
        let scheme = Scheme::RpcSha1 { signature };
        Ok(Self { access_key_id, date, nonce, security_token, action: Some(action), version, scheme })
    }

    /// Checks the signature with the secret that belongs to [`access_key_id`](Self::access_key_id).
    ///
    /// # Errors
    /// `SignatureDoesNotMatch`, with what this side would have signed.
    pub(crate) fn verify(&self, request: SignedRequest<'_>, secret: &str) -> Result<(), ApiError> {
        match &self.scheme {
            Scheme::Acs3 { signed_headers, signature } => acs3::verify(request, signed_headers, signature, secret),
            Scheme::RoaSha1 { signature } => sha1::verify(&sha1::roa_string_to_sign(request), secret, signature),
            Scheme::RpcSha1 { signature } => {
                let string_to_sign = sha1::rpc_string_to_sign(request.method, request.parameters());
                sha1::verify(&string_to_sign, &format!("{secret}&"), signature)
            }
        }
    }
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
