//! What the Alibaba Cloud kinds have in common: the API gateway with its signatures, errors and faults, and one-time
//! links.

mod error;
mod fault;
mod gateway;
mod links;
mod signature;

pub(crate) use error::{ApiError, json_response};
pub(crate) use fault::{REDIRECTED, bait, commit};
pub use gateway::Credential;
pub(crate) use gateway::Gateway;
pub(crate) use links::{Links, Taken};
pub(crate) use signature::{SignedRequest, Style};

/// A request in the course of being answered.
#[derive(Debug)]
pub(crate) struct Call<S> {
    pub(crate) server: std::sync::Arc<S>,
    pub(crate) request_id: String,
    /// The simulator's own `host:port`, as this client reaches it.
    pub(crate) authority: String,
}

impl<S> Call<S> {
    /// 200 with a JSON body.
    pub(crate) fn answer(&self, body: &serde_json::Value) -> crate::web::Answer {
        crate::web::Answer::of(json_response(http::StatusCode::OK, &self.request_id, body))
    }

    /// A refusal.
    pub(crate) fn refuse(&self, error: &ApiError) -> crate::web::Answer {
        crate::web::Answer::of(error.response(&self.request_id, &self.authority))
    }
}
