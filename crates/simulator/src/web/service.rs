//! HTTP/1.1 on one connection, and the guards that come before everything.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tracing::debug;

use super::{Body, Site, full};
use crate::net::Conn;

/// Time for a request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request head, and of hyper's read buffer.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// A provider's HTTP service. It sees no request that the guards refuse.
pub(crate) trait Service: Send + Sync + 'static {
    /// Answers a request. `authority` is the simulator's own `host:port`, as this client reaches it.
    fn answer(self: Arc<Self>, request: Request<Incoming>, authority: String) -> impl Future<Output = Answer> + Send;

    /// A refusal in the provider's words.
    fn refuse(&self, refusal: &Refusal, authority: &str) -> Response<Bytes>;
}

/// What comes of a request.
pub(crate) enum Answer {
    /// An HTTP response.
    Response(Response<Body>),
    /// The connection is reset.
    Reset,
    /// These bytes are written in place of a response, and then somebody else has the connection.
    Hijack(Vec<u8>, Takeover),
}

/// Who gets a connection after its upgrade, and the bytes that were read behind the request. It is run as a task of the
/// site, which nobody cancels: it has to heed [`Site::cancel`] itself.
pub(crate) type Takeover = Box<dyn FnOnce(Conn, Vec<u8>) -> BoxFuture<'static, ()> + Send>;

impl Answer {
    /// An HTTP response with this body.
    pub(crate) fn of(response: Response<Bytes>) -> Self {
        Self::Response(full(response))
    }

    /// The same, after which whatever was sent behind the request is left unread.
    pub(crate) fn and_close(mut response: Response<Bytes>) -> Self {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        Self::of(response)
    }
}

/// Why a request is refused before the provider's own rules come into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// A word for it, such as `InvalidHost`.
    pub(crate) code: &'static str,
    /// A sentence.
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// 400 `BadRequest`.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }
}

/// Serves one connection to its end.
pub(super) async fn serve<S: Service>(site: Arc<Site>, service: Arc<S>, conn: Conn) {
    let _connected = site.connected();
    let hijack = Arc::new(Mutex::new(None));
    let handler = {
        let (site, conn, hijack) = (Arc::clone(&site), conn.clone(), Arc::clone(&hijack));
        service_fn(move |request| {
            let (site, service) = (Arc::clone(&site), Arc::clone(&service));
            let (conn, hijack) = (conn.clone(), Arc::clone(&hijack));
            async move {
                match guarded(&site, service, &conn, request).await {
                    Answer::Response(response) => return Ok(response),
                    Answer::Reset => drop(conn.reset_on_drop()),
                    Answer::Hijack(head, takeover) => {
                        *hijack.lock().unwrap_or_else(PoisonError::into_inner) = Some((head, takeover));
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
        .serve_connection(TokioIo::new(conn.clone()), handler)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        debug!(?error, "a connection has ended");
    }
    let hijacked = hijack.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((head, takeover)) = hijacked {
        // Not in this task, which is dropped at shutdown: a session hangs its shell up first.
        let connected = site.connected();
        site.tracker.spawn(async move {
            let _connected = connected;
            if conn.write_raw(&head).await.is_ok() {
                takeover(conn, Vec::new()).await;
            }
        });
    }
}

async fn guarded<S: Service>(site: &Site, service: Arc<S>, conn: &Conn, request: Request<Incoming>) -> Answer {
    let Ok(authority) = site.authority_of(conn) else { return Answer::Reset };
    match guard(&request, &authority) {
        Ok(()) => service.answer(request, authority).await,
        Err(refusal) => Answer::and_close(service.refuse(&refusal, &authority)),
    }
}

/// A page of another origin, or of a name that was rebound to this address, gets nowhere: `Host` has to be this server's
/// own, and so has an `Origin`, if there is one.
fn guard<B>(request: &Request<B>, authority: &str) -> Result<(), Refusal> {
    let headers = request.headers();
    let misdirected = || Refusal::new(StatusCode::MISDIRECTED_REQUEST, "InvalidHost", "This is another host.");
    if only(headers, &header::HOST)? != Some(authority) {
        return Err(misdirected());
    }
    if request.uri().authority().is_some_and(|named| named != authority) {
        return Err(misdirected());
    }
    match only(headers, &header::ORIGIN)? {
        None => Ok(()),
        Some(origin) if origin.strip_prefix("http://") == Some(authority) => Ok(()),
        Some(_) => Err(Refusal::new(StatusCode::FORBIDDEN, "InvalidOrigin", "Pages of this origin are not served.")),
    }
}

/// The value of a header that may be there once at most.
///
/// # Errors
/// It is there more than once, or is no text.
pub(crate) fn only<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(HeaderValue::to_str).transpose();
    match (value, values.next()) {
        (Ok(value), None) => Ok(value),
        _ => Err(Refusal::bad(format!("The header {name} is malformed or repeated."))),
    }
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
        guard(&request.body(()).unwrap(), OWN).err().map(|refusal| refusal.status.as_u16())
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
