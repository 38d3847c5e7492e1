//! The admin listener: health, readiness, metrics and version over plain HTTP, on loopback by default.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use polytty_dialect::Code;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Metrics;
use crate::config::Authority;
use crate::respond::{Problem, Reply, closing, json, reply};

/// Admin connections at once; more wait to be accepted.
const CONNECTIONS: usize = 64;

/// From a connection's start to the end of its request's head.
const HEAD: Duration = Duration::from_secs(5);

/// Whether new work should be sent here.
#[derive(Debug, Default)]
pub struct Readiness(AtomicBool);

impl Readiness {
    /// Ready, or no longer.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Answers on the admin listener.
pub struct Admin {
    /// Its own address, the only `Host` that is served; a page that rebinds its name to loopback gets nothing.
    pub authorities: Vec<Authority>,
    /// Whether `/readyz` says yes.
    pub ready: Arc<Readiness>,
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// How many sessions there are, for `/metrics`.
    pub sessions: Box<dyn Fn() -> usize + Send + Sync>,
    /// Whether the store that replicas share has been away for too long, for `/readyz`.
    pub store_away: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Admin {
    /// Serves until the task is dropped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let admin = self.clone();
                    tokio::spawn(async move {
                        admin.connection(stream).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(error = ?error.to_string(), "the admin listener cannot accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn connection(&self, stream: TcpStream) {
        let service = service_fn(|request| async move { Ok::<_, Infallible>(self.answer(&request)) });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(16 * 1024).keep_alive(false);
        let serving = http.serve_connection(TokioIo::new(stream), service);
        let _ = tokio::time::timeout(HEAD * 2, serving).await;
    }

    fn answer(&self, request: &Request<Incoming>) -> Reply {
        closing(self.route(request))
    }

    fn route(&self, request: &Request<Incoming>) -> Reply {
        let mut hosts = request.headers().get_all(http::header::HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
        if !host.is_some_and(|host| self.authorities.contains(&host)) || hosts.next().is_some() {
            let detail = "the Host field does not name the admin listener";
            return Problem::new(Code::Forbidden, detail).status(StatusCode::MISDIRECTED_REQUEST).reply();
        }
        if request.headers().contains_key(http::header::ORIGIN) {
            return Problem::new(Code::Forbidden, "web pages are not served here").reply();
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let detail = "only GET and HEAD";
            return Problem::new(Code::BadMessage, detail).status(StatusCode::METHOD_NOT_ALLOWED).reply();
        }
        match request.uri().path() {
            "/healthz" => reply(StatusCode::OK, "text/plain; charset=utf-8", "ok\n"),
            "/readyz" => {
                let (status, words) = match (self.ready.get(), (self.store_away)()) {
                    (true, false) => (StatusCode::OK, "ready\n"),
                    (true, true) => (StatusCode::SERVICE_UNAVAILABLE, "not ready: the store of the links is away\n"),
                    (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
                };
                reply(status, "text/plain; charset=utf-8", words)
            }
            "/metrics" => reply(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                self.metrics.render((self.sessions)()),
            ),
            "/version" => json(
                StatusCode::OK,
                &serde_json::json!({ "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") }),
            ),
            _ => Problem::new(Code::NotFound, "try /healthz, /readyz, /metrics or /version").reply(),
        }
    }
}
