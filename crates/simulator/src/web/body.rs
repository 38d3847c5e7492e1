//! Bodies of requests and answers.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};

use super::Refusal;

/// Bytes of a request body.
const MAX_BODY: usize = 64 * 1024;
/// Time for a request body.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The body of an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The whole body of a request: at most 64 KiB, within 10 s.
///
/// # Errors
/// It is longer, slower, or broken off.
pub(crate) async fn collect(body: Incoming) -> Result<Bytes, Refusal> {
    let collected = tokio::time::timeout(TIMEOUT, Limited::new(body, MAX_BODY).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        _ => Err(Refusal::bad("The request body is too long, too slow or broken.")),
    }
}

/// An answer with this body.
pub(crate) fn full(response: Response<Bytes>) -> Response<Body> {
    response.map(|bytes| Full::new(bytes).boxed_unsync())
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    full(response)
}

/// A body that never ends, sent as fast as the client reads: `first`, then spaces.
pub(crate) fn endless(first: &'static str) -> Body {
    let chunk = Bytes::from(vec![b' '; 8 * 1024]);
    let first = stream::iter([Ok(Frame::data(Bytes::from_static(first.as_bytes())))]);
    let rest = stream::repeat_with(move || Ok(Frame::data(chunk.clone())));
    StreamBody::new(first.chain(rest)).boxed_unsync()
}
