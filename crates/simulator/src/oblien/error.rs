//! Refusals, as both planes word them.

use std::borrow::Cow;

use http::StatusCode;
use serde_json::{Value, json};

use crate::web::Refusal;

/// A refusal. The official client of the data plane judges an answer by its body and not by its status, so every body
/// carries `"success": false`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) error: &'static str,
    pub(super) message: Cow<'static, str>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, error: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, error, message: message.into() }
    }

    pub(super) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Missing or invalid token.")
    }

    pub(super) fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    pub(super) fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn no_terminal() -> Self {
        Self::not_found("Terminal session not found.")
    }

    pub(super) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed.")
    }

    pub(super) fn conflict(error: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, error, message)
    }

    /// The gateway finds nobody to pass the request to.
    pub(super) fn no_server() -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "workspace_unreachable", "The workspace's runtime server does not answer.")
    }

    pub(super) fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", "The service is not available at the moment.")
    }

    pub(super) fn no_pty(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "pty_failed", message)
    }

    /// The workspace has as many terminals as it may have.
    pub(super) fn too_many_terminals(status: StatusCode, limit: usize) -> Self {
        Self::new(status, "terminal_limit", format!("A workspace has at most {limit} terminal sessions."))
    }

    pub(super) fn body(&self) -> Value {
        json!({"success": false, "error": self.error, "message": self.message})
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let error = match refusal.status {
            StatusCode::UPGRADE_REQUIRED => "upgrade_required",
            StatusCode::MISDIRECTED_REQUEST => "invalid_host",
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::SERVICE_UNAVAILABLE => "service_unavailable",
            _ => "bad_request",
        };
        Self::new(refusal.status, error, refusal.message)
    }
}
