//! One call of an Alibaba Cloud API, signed and sent.

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use polytty_dialect::Code;

use super::super::Failure;
use super::super::dial::{Dialer, Reply, Request};
use super::acs3::{self, Credentials};
use crate::config::units::BaseUrl;

/// How polytty names itself.
pub(super) const AGENT: &str = concat!("polytty/", env!("CARGO_PKG_VERSION"));

/// What is called, where, and by whom.
pub(super) struct ApiCall<'a> {
    pub(super) endpoint: &'a BaseUrl,
    pub(super) credentials: Credentials<'a>,
    pub(super) method: Method,
    /// As for [`acs3::Call::path`].
    pub(super) path: &'a str,
    /// Names and values as they are meant, not encoded.
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) action: &'static str,
    pub(super) version: &'static str,
}

impl ApiCall<'_> {
    /// Signs the call with the date `now` and a fresh nonce, and sends it without a body.
    ///
    /// # Errors
    ///
    /// As [`Dialer::request`], or credentials that no header field can hold. A refusal of the service is an answer.
    pub(super) async fn send(self, dialer: &Dialer, now: Timestamp) -> Result<Reply, Failure> {
        let Self { endpoint, credentials, method, path, query, action, version } = self;
        let call = acs3::Call {
            method: method.as_str(),
            host: &endpoint.authority().to_string(),
            path,
            query,
            action,
            version,
            headers: &[("accept", "application/json"), ("user-agent", AGENT)],
            body: b"",
        };
        let nonce = acs3::nonce().map_err(|_| {
            Failure::new(Code::Internal, "A request to the provider could not be made.").detail("no randomness")
        })?;
        let headers = acs3::sign(credentials, &call, now, &nonce).map_err(|_| {
            Failure::new(Code::ProviderRefused, "The configured credentials cannot be sent.")
                .detail("access_key_id or security_token has characters that no header field can hold")
        })?;
        let path_and_query = format!("{path}?{}", acs3::query_string(query));
        // A nonce is good for one call: what was carried out is not carried out again.
        let request =
            Request { method, path_and_query: &path_and_query, headers, body: Bytes::new(), repeatable: true };
        dialer.request(endpoint, request).await
    }
}
