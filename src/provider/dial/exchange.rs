//! One HTTP/1.1 request and its answer.

use std::error::Error as StdError;
use std::future::Future;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use polytty_dialect::Code;

use super::super::Failure;
use super::{Dialer, Stream, printable};
use crate::config::units::{Authority, BaseUrl};

/// The longest answer that is read, in bytes.
const MAX_BODY: usize = 256 << 10;

/// The read buffer's bound, in bytes, and with it that of an answer's head; and the most fields in a head.
const MAX_BUFFER: usize = 16 << 10;
const MAX_FIELDS: usize = 64;

/// What is asked for. `Host` and `Connection` are set by the dialer.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// Encoded, as it goes on the wire. It may hold secrets and reaches no error and no log.
    pub(crate) path_and_query: &'a str,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The whole answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Dialer {
    /// Sends one request over a connection of its own and reads the answer, at most 256 KiB. A redirect is not
    /// followed: it leads away from the host that the configuration names.
    ///
    /// # Errors
    ///
    /// No connection, something that is no HTTP answer, one that is too long, or a redirect. Statuses from 400 on are
    /// no error here.
    pub(crate) async fn request(&self, base: &BaseUrl, request: Request<'_>) -> Result<Reply, Failure> {
        let Request { method, path_and_query, headers, body } = request;
        // RFC 9110, section 8.6: where a method has a meaning for content, its absence is told, too.
        let is_empty_post = method == Method::POST && body.is_empty();
        let mut outgoing = http::Request::new(Full::new(body));
        *outgoing.method_mut() = method;
        *outgoing.uri_mut() = path_and_query.parse().map_err(|_| unsendable())?;
        *outgoing.headers_mut() = headers;
        outgoing.headers_mut().insert(HOST, host_field(base.is_tls(), base.authority())?);
        outgoing.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        if is_empty_post {
            outgoing.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }

        let stream = self.connect(base.is_tls(), base.authority()).await?;
        let (mut sender, connection) = client().handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
        let exchange = async move {
            let (head, body) = sender.send_request(outgoing).await.map_err(|e| broken(&e))?.into_parts();
            if head.status.is_redirection() {
                return Err(Failure::new(
                    Code::ProviderRefused,
                    "The provider answered with a redirect, which is not followed. Is its address configured right?",
                )
                .detail(format!("status {}", head.status.as_u16())));
            }
            let body = Limited::new(body, MAX_BODY).collect().await.map_err(unreadable)?.to_bytes();
            Ok(Reply { status: head.status, headers: head.headers, body })
        };
        beside(connection, exchange).await
    }
}

/// A client whose memory per connection is bounded.
pub(super) fn client() -> http1::Builder {
    let mut client = http1::Builder::new();
    client.max_buf_size(MAX_BUFFER).max_headers(MAX_FIELDS);
    client
}

/// Runs a connection beside the exchange over it, in one task: when the caller drops the future, both are gone.
pub(super) async fn beside<T>(connection: impl Future, exchange: impl Future<Output = T>) -> T {
    tokio::pin!(connection, exchange);
    tokio::select! {
        biased;
        done = &mut exchange => return done,
        // What ended it is told to the exchange by hyper, too.
        _ = &mut connection => {}
    }
    exchange.await
}

/// The `Host` field: without the port where it is the scheme's own.
pub(super) fn host_field(tls: bool, authority: &Authority) -> Result<HeaderValue, Failure> {
    let host = match authority.port() {
        Some(port) if port != if tls { 443 } else { 80 } => authority.to_string(),
        _ => authority.host().to_owned(),
    };
    HeaderValue::from_str(&host).map_err(|_| unsendable())
}

/// Gives a connection its HTTP client; see [`client`].
pub(super) type Io = TokioIo<Stream>;

pub(super) fn unsendable() -> Failure {
    Failure::new(Code::Internal, "A request to the provider could not be made.").detail("not a valid request head")
}

pub(super) fn broken(error: &hyper::Error) -> Failure {
    // Only the outermost words: those of a cause may come from the peer.
    Failure::new(Code::ProviderUnavailable, "The provider's answer could not be understood, or never came.")
        .detail(printable(error))
}

fn unreadable(error: Box<dyn StdError + Send + Sync>) -> Failure {
    let detail = if error.is::<LengthLimitError>() {
        format!("a body of more than {MAX_BODY} bytes")
    } else {
        printable(&error)
    };
    Failure::new(Code::ProviderUnavailable, "The provider's answer could not be read.").detail(detail)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;

    /// Answers one connection with `answer`, then with `more` again and again as long as it is taken; gives back the
    /// request's head.
    async fn server(answer: &'static str, more: &'static [u8]) -> (BaseUrl, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let _ = stream.write_all(answer.as_bytes()).await;
            while !more.is_empty() && stream.write_all(more).await.is_ok() {}
            String::from_utf8(head).unwrap()
        });
        (base, served)
    }

    async fn get(base: &BaseUrl) -> Result<Reply, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert("x-token", HeaderValue::from_static("hush"));
        let request =
            Request { method: Method::GET, path_and_query: "/a%2Fb?Token=s3cret", headers, body: Bytes::new() };
        Dialer::new(None, true).unwrap().request(base, request).await
    }

    #[tokio::test]
    async fn a_request_is_sent_as_written_and_its_answer_read_whole() {
        let (base, served) =
            server("HTTP/1.1 404 Not Found\r\nx-a: b\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"")
                .await;
        let reply = get(&base).await.unwrap();
        assert_eq!(
            (reply.status.as_u16(), &reply.body[..], &reply.headers["x-a"]),
            (404, &b"hi"[..], &"b".parse().unwrap())
        );
        let head = served.await.unwrap();
        assert!(head.starts_with("GET /a%2Fb?Token=s3cret HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("host: {}\r\n", base.authority())), "{head}");
        assert!(head.contains("x-token: hush\r\n") && head.contains("connection: close\r\n"), "{head}");
    }

    #[tokio::test]
    async fn answers_that_are_none_fail_without_telling_secrets() {
        let chunk: &'static [u8] = &[b'x'; 8192];
        let cases: [(&str, &'static str, &'static [u8], Code); 8] = [
            ("redirect", "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\n\r\n", b"", Code::ProviderRefused),
            ("kept method", "HTTP/1.1 307 X\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", b"", Code::ProviderRefused),
            ("endless body", "HTTP/1.1 200 OK\r\n\r\n", chunk, Code::ProviderUnavailable),
            ("endless head", "HTTP/1.1 200 OK\r\nx: ", chunk, Code::ProviderUnavailable),
            ("cut body", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi", b"", Code::ProviderUnavailable),
            ("no answer", "", b"", Code::ProviderUnavailable),
            ("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n", b"", Code::ProviderUnavailable),
            (
                "promised too much",
                "HTTP/1.1 200 OK\r\ncontent-length: 9000000000\r\n\r\n",
                chunk,
                Code::ProviderUnavailable,
            ),
        ];
        for (name, answer, more, code) in cases {
            let (base, _served) = server(answer, more).await;
            let failure = tokio::time::timeout(Duration::from_secs(10), get(&base)).await.expect(name).expect_err(name);
            assert_eq!(failure.code, code, "{name}: {failure:?}");
            let told = format!("{failure:?}");
            assert!(!told.contains("s3cret") && !told.contains("hush"), "{told}");
        }
    }
}
