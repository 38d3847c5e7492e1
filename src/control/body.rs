//! Request bodies: bounded, JSON, and read into a type.

use bytes::Bytes;
use http::header::HeaderMap;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body as _, Incoming};
use polytty_dialect::Code;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::respond::Problem;

/// Reads a JSON body of at most `max` bytes.
///
/// # Errors
///
/// 415 for another content type, 413 above `max`, 422 for JSON that does not fit, with the field and its place.
pub(crate) async fn read_json<T: DeserializeOwned>(request: Request<Incoming>, max: u64) -> Result<T, Problem> {
    let (parts, body) = request.into_parts();
    is_json(&parts.headers)?;
    parse_json(&read_body(body, max).await?)
}

/// Whether the fields say that the body is JSON.
///
/// # Errors
///
/// 415.
pub(crate) fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).map(str::trim);
    if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        let problem = Problem::new(Code::BadMessage, "the body is JSON: send Content-Type: application/json");
        return Err(problem.status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    Ok(())
}

/// Reads a body of at most `max` bytes.
///
/// # Errors
///
/// 413 above `max`.
pub(crate) async fn read_body(body: Incoming, max: u64) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(Code::TooLarge, format!("the body may have at most {max} bytes"));
    // Before anything of it is asked for, by 100 (Continue) for instance.
    if body.size_hint().lower() > max {
        return Err(too_large());
    }
    let limit = usize::try_from(max).unwrap_or(usize::MAX);
    let body = Limited::new(body, limit).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            too_large()
        } else {
            Problem::new(Code::BadMessage, "the body did not arrive whole")
        }
    })?;
    Ok(body.to_bytes())
}

/// Reads an object.
///
/// # Errors
///
/// 400 for what is no JSON, 422 for what does not fit.
pub(crate) fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // An array of the right values would be read as the fields in their order.
    let body: Map<String, Value> = serde_json::from_slice(body).map_err(|error| unfit(&error))?;
    T::deserialize(Value::Object(body)).map_err(|error| unfit(&error))
}

fn unfit(error: &serde_json::Error) -> Problem {
    let status = match error.classify() {
        serde_json::error::Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::BAD_REQUEST,
    };
    Problem::new(Code::BadMessage, error.to_string()).status(status)
}
