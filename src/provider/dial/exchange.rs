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
use super::kept::Link;
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
    /// Whether no harm is done by sending it again when it is not known whether it has arrived (RFC 9110, section 9.2.2). Such
    /// a request may go over a connection that an earlier one left, which the provider may close at that very moment.
    pub(crate) repeatable: bool,
}

/// The whole answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Dialer {
    /// Sends one request and reads the answer, at most 256 KiB. A redirect is not followed: it leads away from the host that
    /// the configuration names.
    ///
    /// # Errors
    ///
    /// No connection, something that is no HTTP answer, one that is too long, or a redirect. Statuses from 400 on are
    /// no error here.
    pub(crate) async fn request(&self, base: &BaseUrl, request: Request<'_>) -> Result<Reply, Failure> {
        let repeatable = request.repeatable;
        let outgoing = outgoing(base, request)?;
        if repeatable && let Some(link) = self.kept.take(base) {
            match self.exchange(base, link, outgoing.clone()).await {
                Err(Unanswered::Silent(_)) => {}
                Err(Unanswered::Wrong(failure)) => return Err(failure),
                Ok(reply) => return Ok(reply),
            }
        }
        let stream = self.connect(base.is_tls(), base.authority()).await?;
        let hold = stream.hold().ok().filter(|_| repeatable);
        let (sender, connection) = client().handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
        let driver = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        self.exchange(base, Link::new(sender, driver, hold), outgoing).await.map_err(|unanswered| match unanswered {
            Unanswered::Silent(failure) | Unanswered::Wrong(failure) => failure,
        })
    }

    /// One request over a connection, which is kept when it is done with it and may be.
    async fn exchange(
        &self,
        base: &BaseUrl,
        mut link: Link,
        outgoing: http::Request<Full<Bytes>>,
    ) -> Result<Reply, Unanswered> {
        let answer = link.sender.send_request(outgoing).await.map_err(|e| Unanswered::Silent(broken(&e)))?;
        let (head, body) = answer.into_parts();
        if head.status.is_redirection() {
            let message =
                "The provider answered with a redirect, which is not followed. Is its address configured right?";
            let failure = Failure::new(Code::ProviderRefused, message);
            return Err(Unanswered::Wrong(failure.detail(format!("status {}", head.status.as_u16()))));
        }
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|e| Unanswered::Wrong(unreadable(e)))?;
        self.kept.keep(base, link);
        Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}

/// Why there is no answer.
enum Unanswered {
    /// Nothing came that is one.
    Silent(Failure),
    /// It cannot be used.
    Wrong(Failure),
}

fn outgoing(base: &BaseUrl, request: Request<'_>) -> Result<http::Request<Full<Bytes>>, Failure> {
    let Request { method, path_and_query, headers, body, repeatable } = request;
    // RFC 9110, section 8.6: where a method has a meaning for content, its absence is told, too.
    let is_empty_post = method == Method::POST && body.is_empty();
    let mut outgoing = http::Request::new(Full::new(body));
    *outgoing.method_mut() = method;
    *outgoing.uri_mut() = path_and_query.parse().map_err(|_| unsendable())?;
    *outgoing.headers_mut() = headers;
    outgoing.headers_mut().insert(HOST, host_field(base.is_tls(), base.authority())?);
    if !repeatable {
        outgoing.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if is_empty_post {
        outgoing.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(outgoing)
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

    async fn get_by(dialer: &Dialer, base: &BaseUrl, repeatable: bool) -> Result<Reply, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert("x-token", HeaderValue::from_static("hush"));
        let request = Request {
            method: Method::GET,
            path_and_query: "/a%2Fb?Token=s3cret",
            headers,
            body: Bytes::new(),
            repeatable,
        };
        dialer.request(base, request).await
    }

    async fn get(base: &BaseUrl) -> Result<Reply, Failure> {
        get_by(&Dialer::new(None, true).unwrap(), base, false).await
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

    /// Serves connections one after the other, each with as many answers as `answers` says, and tells how many requests came
    /// over each. Behind its last answer it reads one more request, and closes without a word.
    async fn busy_server(answers: Vec<usize>) -> (BaseUrl, JoinHandle<Vec<usize>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let served = tokio::spawn(async move {
            let mut came = Vec::new();
            for answers in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut requests = 0;
                let mut head = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    head.push(byte);
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        requests += 1;
                        if requests > answers {
                            break;
                        }
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
                    }
                }
                came.push(requests);
            }
            came
        });
        (base, served)
    }

    #[tokio::test]
    async fn what_may_be_repeated_goes_over_the_connection_before_and_over_a_new_one_where_that_is_silent() {
        let (base, served) = busy_server(vec![2, 9]).await;
        let dialer = Dialer::new(None, true).unwrap();
        for _ in 0..4 {
            assert_eq!(get_by(&dialer, &base, true).await.unwrap().body, "hi");
        }
        drop(dialer);
        assert_eq!(served.await.unwrap(), [3, 2]);
    }

    #[tokio::test]
    async fn what_may_not_be_repeated_has_a_connection_of_its_own_and_is_sent_once() {
        let (base, served) = busy_server(vec![1, 1, 0]).await;
        let dialer = Dialer::new(None, true).unwrap();
        for _ in 0..2 {
            assert_eq!(get_by(&dialer, &base, false).await.unwrap().body, "hi");
        }
        assert_eq!(get_by(&dialer, &base, false).await.unwrap_err().code, Code::ProviderUnavailable);
        assert_eq!(served.await.unwrap(), [1, 1, 1]);
    }

    #[tokio::test]
    async fn a_connection_that_nobody_has_used_for_long_is_used_no_more() {
        let (base, served) = busy_server(vec![9, 9]).await;
        let dialer = Dialer::new(None, true).unwrap();
        get_by(&dialer, &base, true).await.unwrap();
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(11)).await;
        tokio::time::resume();
        get_by(&dialer, &base, true).await.unwrap();
        drop(dialer);
        assert_eq!(served.await.unwrap(), [1, 1]);
    }
}
