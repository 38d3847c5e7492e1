//! The HTTP API: mint links, look at sessions, end them.

mod body;
mod openapi;
mod providers;
mod recording;
mod sessions;

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use polytty_dialect::Code;

use crate::auth::{Identity, Keys};
use crate::config::BaseUrl;
use crate::limit::{MintRate, TooMany};
use crate::observe::Metrics;
use crate::provider::Entry;
use crate::recording::Recorder;
use crate::respond::{Problem, Reply, with};
use crate::session::Sessions;
use crate::ticket::Tickets;

pub(crate) use body::read_json;

/// What the API works on.
pub struct Api {
    /// Providers, in the order of the configuration.
    pub providers: Vec<Arc<Entry>>,
    /// Sessions.
    pub sessions: Arc<Sessions>,
    /// Links.
    pub tickets: Tickets,
    /// Who may call.
    pub keys: Keys,
    /// How often links may be minted.
    pub mint_rate: MintRate,
    /// What links are built from.
    pub public_url: BaseUrl,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// What was recorded, where there is a place for it.
    pub recorder: Option<Arc<Recorder>>,
    /// Whether sessions are recorded of which neither their creator nor their provider says so.
    pub record: bool,
}

impl Api {
    /// Answers a request whose Host and Origin were found right. `page` is whoever the demo page's cookie belongs to;
    /// a body may have `max_body` bytes.
    pub async fn handle(&self, request: Request<Incoming>, page: Option<Identity>, max_body: u64) -> Reply {
        if request.uri().path() == "/openapi.json" {
            return openapi::reply(request.method());
        }
        let Some(identity) = page.or_else(|| self.identify(request.headers())) else {
            let detail = "this call needs the field Authorization: Bearer KEY, with a key of this proxy";
            let reply = Problem::new(Code::Unauthenticated, detail).reply();
            return with(reply, header::WWW_AUTHENTICATE, "Bearer realm=\"polytty\"");
        };
        let path = request.uri().path().to_owned();
        let segments: Vec<&str> = path.split('/').skip(2).collect();
        let method = request.method().clone();
        match (segments.as_slice(), &method) {
            (["sessions"], &Method::POST) => self.create_session(request, &identity, max_body).await,
            (["sessions"], &Method::GET) => self.list_sessions(),
            (["sessions", id], &Method::GET) => self.show_session(id),
            (["sessions", id], &Method::DELETE) => self.end_session(id, &identity).await,
            (["sessions", id, "links"], &Method::POST) => self.create_link(id, request, &identity, max_body).await,
            (["sessions", id, "scrollback"], &Method::GET) => self.scrollback(id).await,
            (["sessions", id, "recording"], &Method::GET) => self.recording(id, request.uri().query()).await,
            (["providers"], &Method::GET) => self.list_providers(),
            (["sessions"], _) => not_allowed("GET, POST"),
            (["sessions", _], _) => not_allowed("GET, DELETE"),
            (["sessions", _, "links"], _) => not_allowed("POST"),
            (["sessions", _, "scrollback" | "recording"], _) => not_allowed("GET"),
            (["providers"], _) => not_allowed("GET"),
            _ => Problem::new(Code::NotFound, "there is no such call; see /openapi.json").reply(),
        }
    }

    fn identify(&self, headers: &HeaderMap) -> Option<Identity> {
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let (field, None) = (fields.next()?.to_str().ok()?, fields.next()) else { return None };
        let (scheme, key) = field.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") { self.keys.identify(key.trim()) } else { None }
    }

    /// The answer to a key that mints too often.
    fn minted_too_often(&self, too_many: TooMany) -> Reply {
        let seconds = too_many.seconds();
        let detail = format!("too many links in too short a time; try again in {seconds} s");
        let reply = Problem::new(Code::RateLimited, detail).reply();
        let reply = with(reply, header::RETRY_AFTER, &seconds.to_string());
        let reply = with(reply, HeaderName::from_static("ratelimit-policy"), &self.mint_rate.policy());
        with(reply, HeaderName::from_static("ratelimit"), &format!("\"mint\";r=0;t={seconds}"))
    }
}

fn not_allowed(allow: &str) -> Reply {
    let detail = format!("this path takes {allow}");
    let reply = Problem::new(Code::BadMessage, detail).status(StatusCode::METHOD_NOT_ALLOWED).reply();
    with(reply, header::ALLOW, allow)
}
