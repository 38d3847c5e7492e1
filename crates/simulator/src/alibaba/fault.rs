//! The faults of the API gateway.

use std::future;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::{ApiError, Call};
use crate::{
    Fault,
    web::{Answer, empty, endless},
};

/// Where the redirect of [`Fault::ApiRedirect`] leads.
pub(crate) const REDIRECTED: &str = "/redirected";

/// What whoever follows a redirect gets: an answer that looks good.
pub(crate) fn bait<S>(call: &Call<S>, mut body: Value) -> Answer {
    body["RequestId"] = call.request_id.as_str().into();
    call.answer(&body)
}

/// Answers a call as `fault` demands, or not at all.
pub(crate) async fn commit<S>(call: &Call<S>, fault: &Fault) -> Answer {
    let error = match fault {
        Fault::ApiForbidden => ApiError::forbidden(),
        Fault::ApiThrottled { retry_after_ms } => ApiError::throttled(*retry_after_ms),
        Fault::ApiUnavailable => ApiError::unavailable(),
        Fault::ApiSignature => ApiError::signature("Specified signature does not match our calculation.".to_owned()),
        Fault::ApiStaleClock => ApiError::expired_date(),
        Fault::ApiTokenExpired => ApiError::expired_token(),
        Fault::ApiNotFound => ApiError::not_found("The specified resource is not found."),
        Fault::ApiNotJson => {
            let mut page = Response::new(Bytes::from_static(b"<html><body>It works!</body></html>\n"));
            page.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            return Answer::of(page);
        }
        Fault::ApiNoUrl => return call.answer(&json!({"RequestId": call.request_id})),
        Fault::ApiRedirect => {
            let mut redirect = empty(StatusCode::FOUND);
            if let Ok(location) = HeaderValue::try_from(format!("http://{}{REDIRECTED}", call.authority)) {
                redirect.headers_mut().insert(header::LOCATION, location);
            }
            return Answer::Response(redirect);
        }
        Fault::ApiEndless => {
            let mut response = Response::new(endless("{\"RequestId\":\""));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            return Answer::Response(response);
        }
        Fault::ApiStalled => future::pending().await,
        Fault::ApiReset => return Answer::Reset,
        _ => ApiError::bad_request("The request is not valid."),
    };
    call.refuse(&error)
}
