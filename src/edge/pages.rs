//! The demo page: static files, and the exchange of its one-time secret for a cookie.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use polytty_dialect::Code;
use serde::{Deserialize, Serialize};

use super::route::From;
use crate::auth::{COOKIE, Door, Identity};
use crate::config::BaseUrl;
use crate::control::read_json;
use crate::respond::{Problem, Reply, json, reply, with};

/// A file of `web/`, by its path below `/assets/`.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    body: &'static [u8],
}

macro_rules! assets {
    ($($path:literal $content_type:literal)*) => {
        &[$(Asset {
            path: $path,
            content_type: $content_type,
            body: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/web/", $path)),
        }),*]
    };
}

/// The page whose player is WebAssembly.
const REPLAY: &str = "replay.html";

const ASSETS: &[Asset] = include!("assets.in");

/// One provider of the demo, as the page lists it.
#[derive(Clone, Debug, Serialize)]
pub struct DemoProvider {
    /// Its name in the configuration.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// What the page calls it.
    pub title: &'static str,
    /// What a session there is opened with.
    pub target: serde_json::Value,
}

/// Serves the demo page.
pub struct Pages {
    door: Arc<Door>,
    providers: Vec<DemoProvider>,
    policy: String,
    replay_policy: String,
    spent: Box<dyn Fn(&str) + Send + Sync>,
}

impl Pages {
    /// The page for `providers`, reached by `public_url`. `spent` is called with the next secret whenever one was
    /// exchanged.
    pub fn new(
        door: Arc<Door>,
        providers: Vec<DemoProvider>,
        public_url: &BaseUrl,
        spent: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        let policy = |scripts, connections| {
            format!(
                "default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                 font-src 'self'; connect-src 'self'{connections}; base-uri 'none'; form-action 'none'; \
                 frame-ancestors 'none'"
            )
        };
        // The player brings its terminal as WebAssembly, and opens no session.
        let replay_policy = policy("'self' 'wasm-unsafe-eval'", String::new());
        let policy = policy("'self'", format!(" wss://{}", public_url.authority()));
        Self { door, providers, policy, replay_policy, spent: Box::new(spent) }
    }

    /// Who holds the cookie. It counts for requests of the page itself only: other ports of one host share cookies,
    /// but not their origin.
    pub(super) fn identify(&self, headers: &HeaderMap, method: &Method, from: From) -> Option<Identity> {
        let own = from == From::Home || (from == From::Nowhere && *method == Method::GET);
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
        cookies.filter(|_| own).find_map(|field| self.door.identify(field))
    }

    pub(super) async fn handle(&self, request: Request<Incoming>, from: From, body: u64) -> Reply {
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        let path = request.uri().path();
        match path {
            "/" if get => self.page("index.html"),
            "/watch" if get => self.page("watch.html"),
            "/replay" if get => self.page(REPLAY),
            "/favicon.ico" if get => self.page("favicon.svg"),
            "/demo/targets" if get => match self.identify(request.headers(), request.method(), from) {
                Some(_) => json(StatusCode::OK, &serde_json::json!({ "providers": self.providers })),
                None => locked(),
            },
            // An answer for everybody: a page that asks should not fill the browser's console with refusals.
            "/demo/login" if get => {
                let known = self.identify(request.headers(), request.method(), from).is_some();
                json(StatusCode::OK, &serde_json::json!({ "signed_in": known }))
            }
            "/demo/login" if *request.method() == Method::POST => self.login(request, from, body).await,
            _ => match path.strip_prefix("/assets/") {
                Some(path) if get => self.page(path),
                _ => Problem::new(Code::NotFound, "there is nothing at this path").reply(),
            },
        }
    }

    fn page(&self, path: &str) -> Reply {
        let Some(asset) = ASSETS.iter().find(|asset| asset.path == path) else {
            return Problem::new(Code::NotFound, "there is no such file").reply();
        };
        let page = reply(StatusCode::OK, asset.content_type, asset.body);
        let page = with(page, header::CACHE_CONTROL, "no-cache");
        let page = with(page, HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
        let policy = if path == REPLAY { &self.replay_policy } else { &self.policy };
        with(page, header::CONTENT_SECURITY_POLICY, policy)
    }

    async fn login(&self, request: Request<Incoming>, from: From, body: u64) -> Reply {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Login {
            secret: String,
        }
        if from != From::Home {
            return Problem::new(Code::Forbidden, "only the page itself may do this").reply();
        }
        let login: Login = match read_json(request, body).await {
            Ok(login) => login,
            Err(problem) => return problem.reply(),
        };
        match self.door.enter(&login.secret) {
            Ok(Some(cookie)) => {
                (self.spent)(&self.door.secret());
                let mut entered = reply(StatusCode::NO_CONTENT, "text/plain", "");
                entered.headers_mut().remove(header::CONTENT_TYPE);
                with(
                    entered,
                    header::SET_COOKIE,
                    &format!("{COOKIE}={cookie}; Path=/; Secure; HttpOnly; SameSite=Strict"),
                )
            }
            Ok(None) => locked(),
            Err(error) => Problem::new(Code::Internal, error.to_string()).reply(),
        }
    }
}

fn locked() -> Reply {
    let detail = "open the address that `polytty demo` printed last; each works once";
    Problem::new(Code::Unauthenticated, detail).reply()
}
