//! HTTP/1.1 on one connection: the guards that come before everything, and the way to the API or to a terminal.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tracing::debug;

use super::{Server, api, error::ApiError, session, upgrade};
use crate::{net::Conn, random};

/// Time for a request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request head, and of hyper's read buffer.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What comes of a request.
pub(super) enum Answer {
    /// An HTTP response.
    Response(Response<Body>),
    /// The connection is reset.
    Reset,
    /// These bytes are written in place of a response, and a terminal session follows.
    Hijack(Vec<u8>, session::Permit),
}

/// Serves one connection to its end.
pub(super) async fn serve(server: Arc<Server>, conn: Conn) {
    let hijack = Arc::new(Mutex::new(None));
    let service = {
        let (server, conn, hijack) = (Arc::clone(&server), conn.clone(), Arc::clone(&hijack));
        service_fn(move |request| {
            let (server, conn, hijack) = (Arc::clone(&server), conn.clone(), Arc::clone(&hijack));
            async move {
                match route(server, &conn, request).await {
                    Answer::Response(response) => return Ok(response),
                    Answer::Reset => drop(conn.reset_on_drop()),
                    Answer::Hijack(head, permit) => {
                        *hijack.lock().unwrap_or_else(PoisonError::into_inner) = Some((head, permit));
                    }
                }
                // hyper answers an error of the service by dropping its handle to the connection, without a word.
                Err(LetGo)
            }
        })
    };
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(conn.clone()), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        debug!(?error, "a connection has ended");
    }
    let hijacked = hijack.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((head, permit)) = hijacked {
        // Not in this task, which is dropped at shutdown: a session hangs its shell up first.
        server.tracker.clone().spawn(async move {
            if conn.write_raw(&head).await.is_ok() {
                session::run(&server, conn, Vec::new(), permit).await;
            }
        });
    }
}

async fn route(server: Arc<Server>, conn: &Conn, request: Request<Incoming>) -> Answer {
    let Ok(request_id) = random::uuid().map(|id| id.to_uppercase()) else { return Answer::Reset };
    let authority = match server.authority.clone().map_or_else(|| conn.local_addr().map(|addr| addr.to_string()), Ok) {
        Ok(authority) => authority,
        Err(_) => return Answer::Reset,
    };
    let call = Call { server, request_id, authority };
    if let Err(error) = guard(&request, &call.authority) {
        return call.refuse_and_close(&error);
    }
    match request.uri().path() {
        path if path.starts_with(upgrade::PATH) => upgrade::answer(call, request).await,
        path if path.starts_with(api::REDIRECTED) => api::bait(&call),
        _ => api::answer(&call, request).await,
    }
}

/// A request in the course of being answered.
pub(super) struct Call {
    pub(super) server: Arc<Server>,
    pub(super) request_id: String,
    /// The simulator's own `host:port`, as this client reaches it.
    pub(super) authority: String,
}

impl Call {
    pub(super) fn refuse(&self, error: &ApiError) -> Answer {
        Answer::Response(full(error.response(&self.request_id, &self.authority)))
    }

    /// Refuses, and leaves whatever was sent behind the request unread.
    pub(super) fn refuse_and_close(&self, error: &ApiError) -> Answer {
        let mut response = full(error.response(&self.request_id, &self.authority));
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        Answer::Response(response)
    }
}

/// A page of another origin, or of a name that was rebound to this address, gets nowhere: `Host` has to be this server's
/// own, and so has an `Origin`, if there is one.
fn guard<B>(request: &Request<B>, authority: &str) -> Result<(), ApiError> {
    let headers = request.headers();
    let misdirected = || ApiError::new(StatusCode::MISDIRECTED_REQUEST, "InvalidHost", "This is another host.");
    if only(headers, &header::HOST)? != Some(authority) {
        return Err(misdirected());
    }
    if request.uri().authority().is_some_and(|named| named != authority) {
        return Err(misdirected());
    }
    match only(headers, &header::ORIGIN)? {
        None => Ok(()),
        Some(origin) if origin.strip_prefix("http://") == Some(authority) => Ok(()),
        Some(_) => Err(ApiError::new(StatusCode::FORBIDDEN, "InvalidOrigin", "Pages of this origin are not served.")),
    }
}

/// The value of a header that may be there once at most.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(HeaderValue::to_str).transpose();
    match (value, values.next()) {
        (Ok(value), None) => Ok(value),
        _ => Err(ApiError::bad_request(format!("The header {name} is malformed or repeated."))),
    }
}

pub(super) fn full(response: Response<Bytes>) -> Response<Body> {
    response.map(|bytes| Full::new(bytes).boxed_unsync())
}

/// A body that never ends, sent as fast as the client reads.
pub(super) fn endless() -> Body {
    let chunk = Bytes::from(vec![b' '; 8 * 1024]);
    let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"{\"RequestId\":\"")))]);
    let rest = stream::repeat_with(move || Ok(Frame::data(chunk.clone())));
    StreamBody::new(futures_util::StreamExt::chain(first, rest)).boxed_unsync()
}

/// The error by which hyper is made to let go of a connection.
#[derive(Debug)]
struct LetGo;

impl fmt::Display for LetGo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was taken over")
    }
}

impl Error for LetGo {}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "127.0.0.1:4000";

    fn status(headers: &[(&str, &str)], uri: &str) -> Option<u16> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        guard(&request.body(()).unwrap(), OWN).err().map(|error| error.status.as_u16())
    }

    #[test]
    fn only_its_own_host_and_origin_pass() {
        assert_eq!(status(&[("host", OWN)], "/"), None);
        assert_eq!(status(&[("host", OWN), ("origin", "http://127.0.0.1:4000")], "/"), None);
        for host in ["localhost:4000", "127.0.0.1", "127.0.0.1:80", "rebound.example:4000", ""] {
            assert_eq!(status(&[("host", host)], "/"), Some(421), "{host}");
        }
        assert_eq!(status(&[], "/"), Some(421));
        assert_eq!(status(&[("host", OWN), ("host", OWN)], "/"), Some(400));
        assert_eq!(status(&[("host", OWN)], "http://other.example/"), Some(421));
        for origin in ["null", "https://127.0.0.1:4000", "http://localhost:4000", "http://evil.example", ""] {
            assert_eq!(status(&[("host", OWN), ("origin", origin)], "/"), Some(403), "{origin}");
        }
    }
}
