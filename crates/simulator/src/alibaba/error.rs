//! The errors of the API gateway and of the product.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::web::Refusal;

/// A refusal, as the gateway words it. The statuses of the product's own codes are not published; those here are the
/// plausible ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: Cow<'static, str>,
    /// Milliseconds for `x-acs-retry-after`.
    pub(crate) retry_after_ms: Option<u64>,
}

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, code: code.into(), message: message.into(), retry_after_ms: None }
    }

    pub(crate) fn missing(parameter: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            format!("Missing{parameter}"),
            format!("{parameter} is mandatory for this action."),
        )
    }

    pub(crate) fn unknown_action() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "InvalidAction.NotFound",
            "Specified api is not found, please check your url and method.",
        )
    }

    pub(crate) fn invalid_version() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidVersion", "Specified parameter Version is not valid.")
    }

    pub(crate) fn unknown_access_key() -> Self {
        Self::new(StatusCode::NOT_FOUND, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
    }

    pub(crate) fn malformed_date() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "InvalidTimeStamp.Format",
            "Specified time stamp or date value is not well formatted.",
        )
    }

    pub(crate) fn expired_date() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
    }

    pub(crate) fn used_nonce() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "SignatureNonceUsed", "Specified signature nonce was used already.")
    }

    pub(crate) fn signature(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "SignatureDoesNotMatch", message)
    }

    pub(crate) fn malformed_token() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "InvalidSecurityToken.Malformed",
            "The specified parameter SecurityToken is not valid.",
        )
    }

    pub(crate) fn expired_token() -> Self {
        Self::new(StatusCode::FORBIDDEN, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")
    }

    pub(crate) fn forbidden() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "Forbidden.RAM",
            "User not authorized to operate on the specified resource, or this API doesn't support RAM.",
        )
    }

    pub(crate) fn throttled(retry_after_ms: u64) -> Self {
        let error =
            Self::new(StatusCode::BAD_REQUEST, "Throttling.User", "Request was denied due to user flow control.");
        Self { retry_after_ms: Some(retry_after_ms), ..error }
    }

    pub(crate) fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            "The request has failed due to a temporary failure of the server.",
        )
    }

    pub(crate) fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(crate) fn invalid_parameter(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidParameter", message)
    }

    /// The answer as it goes over the wire.
    pub(crate) fn response(&self, request_id: &str, host_id: &str) -> Response<Bytes> {
        let mut response = json_response(
            self.status,
            request_id,
            &json!({
                "RequestId": request_id,
                "HostId": host_id,
                "Code": self.code,
                "Message": self.message,
                "Recommend": format!("Look up {} in the service error codes.", self.code),
            }),
        );
        if let Some(milliseconds) = self.retry_after_ms {
            response.headers_mut().insert("x-acs-retry-after", HeaderValue::from(milliseconds));
        }
        response
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.status, refusal.code, refusal.message)
    }
}

/// An answer of the API.
pub(crate) fn json_response(status: StatusCode, request_id: &str, body: &serde_json::Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json;charset=utf-8"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-acs-request-id", id);
    }
    response
}
