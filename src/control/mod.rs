//! The HTTP API: mint links, look at sessions, end them.

mod body;
mod openapi;
mod providers;
mod recording;
mod replicas;
mod sessions;

use std::sync::Arc;

use http::header::{self, HeaderMap};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use polytty_dialect::Code;

use crate::auth::{ClientCertificate, Identities, Identity, Refused, Scope, bearer};
use crate::cluster::Cluster;
use crate::config::BaseUrl;
use crate::edge::Caller;
use crate::limit::{Address, Gate};
use crate::observe::Metrics;
use crate::provider::Entry;
use crate::recording::Recorder;
use crate::respond::{Problem, Reply, closing, with};
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
    /// How many of them may be outstanding (`limits.tickets`), to be told.
    pub max_tickets: u32,
    /// Who may call.
    pub identities: Identities,
    /// How often anything may be done.
    pub gate: Arc<Gate>,
    /// What links are built from.
    pub public_url: BaseUrl,
    /// The other replicas, where there are any.
    pub cluster: Option<Arc<Cluster>>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// What was recorded, where there is a place for it.
    pub recorder: Option<Arc<Recorder>>,
    /// Whether sessions are recorded of which neither their creator nor their provider says so.
    pub record: bool,
}

impl Api {
    /// Answers a request whose Host and Origin were found right. `page` is whoever the demo page's cookie belongs to;
    /// a body may have `max_body` bytes. A failed authentication counts against the
    /// address of `caller`, where that is known.
    pub(crate) async fn handle(
        &self,
        request: Request<Incoming>,
        page: Option<Identity>,
        caller: Caller,
        max_body: u64,
    ) -> Reply {
        if request.uri().path() == "/openapi.json" {
            return openapi::reply(request.method());
        }
        let identity = match page {
            Some(page) => page,
            None => match self.identify(request.headers(), request.extensions().get(), caller.counted()).await {
                Ok(identity) => identity,
                Err(reply) => return *reply,
            },
        };
        let path = request.uri().path().to_owned();
        let segments: Vec<&str> = path.split('/').skip(2).collect();
        // RFC 9110, section 9.3.2: as for GET, and no body follows.
        let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
        let Some((needed, allowed)) = needs(&segments) else {
            return Problem::new(Code::NotFound, "there is no such call; see /openapi.json").reply();
        };
        let Some((_, scope)) = needed.iter().find(|(other, _)| *other == method) else { return not_allowed(allowed) };
        if !identity.may(*scope) {
            let detail = format!("this call needs the scope {scope}, which this credential does not have");
            return Problem::new(Code::Forbidden, detail).reply();
        }
        let by = &identity;
        if let ["sessions", id, rest @ ..] = segments.as_slice()
            && let Some(owner) = self.owner_of(id, rest, caller)
        {
            return self.pass_on(owner, request, caller, max_body).await;
        }
        match (segments.as_slice(), &method) {
            (["sessions"], &Method::POST) => self.create_session(request, by, caller, max_body).await,
            (["sessions"], _) => self.list_sessions(by, request.headers(), caller).await,
            (["sessions", id], &Method::DELETE) => self.end_session(id, by).await,
            (["sessions", id], _) => self.show_session(id, by),
            (["sessions", id, "links"], _) => self.create_link(id, request, by, max_body).await,
            (["sessions", id, "scrollback"], _) => self.scrollback(id, by).await,
            (["sessions", id, "recording"], _) => self.recording(id, request.uri().query(), by).await,
            (["providers", name, "terminals"], _) => self.list_terminals(name, request.uri().query(), by).await,
            _ => self.list_providers(by),
        }
    }

    /// Who asks: by `Authorization`, or else by the certificate of its connection.
    async fn identify(
        &self,
        headers: &HeaderMap,
        certificate: Option<&ClientCertificate>,
        from: Option<Address>,
    ) -> Result<Identity, Box<Reply>> {
        let refused = match bearer(headers) {
            Some(Ok(presented)) => match self.identities.identify(presented).await {
                Ok(identity) => return Ok(identity),
                Err(refused) => Some(refused),
            },
            Some(Err(())) => Some(Refused::Malformed),
            None => match certificate.and_then(|shown| self.identities.certificate(shown)) {
                Some(Ok(identity)) => return Ok(identity),
                Some(Err(refused)) => Some(refused),
                None => None,
            },
        };
        if refused == Some(Refused::NoKeys) {
            let problem = Problem::new(Code::StoreUnavailable, Refused::NoKeys.message());
            return Err(Box::new(with(problem.reply(), header::RETRY_AFTER, "10")));
        }
        // Closed, so that each guess costs its sender a handshake.
        if let Some(from) = from.filter(|_| refused.is_some_and(Refused::is_guess))
            && let Err(exceeded) = self.gate.failure(from)
        {
            return Err(Box::new(closing(exceeded.reply())));
        }
        let detail = refused.map_or_else(
            || {
                "this call needs the field Authorization: Bearer KEY, with a key of this proxy or a token for it"
                    .to_owned()
            },
            |refused| format!("{}; this call needs the field Authorization: Bearer KEY", refused.message()),
        );
        // RFC 6750, section 3: nothing is said of an error where no credential was shown.
        let challenge = match refused {
            None => "Bearer realm=\"polytty\"",
            Some(_) => "Bearer realm=\"polytty\", error=\"invalid_token\"",
        };
        Err(Box::new(with(Problem::new(Code::Unauthenticated, detail).reply(), header::WWW_AUTHENTICATE, challenge)))
    }
}

/// What each method of a path needs, and which there are; `None` where there is no such path.
fn needs(segments: &[&str]) -> Option<(&'static [(Method, Scope)], &'static str)> {
    const OBSERVE: (&[(Method, Scope)], &str) = (&[(Method::GET, Scope::Observe)], "GET, HEAD");
    match segments {
        ["sessions"] => Some((&[(Method::GET, Scope::Observe), (Method::POST, Scope::Mint)], "GET, HEAD, POST")),
        ["sessions", _] => Some((&[(Method::GET, Scope::Observe), (Method::DELETE, Scope::End)], "GET, HEAD, DELETE")),
        // Who may open a terminal may attach to one that is there, and so may know of it.
        ["providers", _, "terminals"] => Some((&[(Method::GET, Scope::Mint)], "GET, HEAD")),
        ["sessions", _, "links"] => Some((&[(Method::POST, Scope::Mint)], "POST")),
        ["sessions", _, "scrollback" | "recording"] | ["providers"] => Some(OBSERVE),
        _ => None,
    }
}

fn not_allowed(allow: &str) -> Reply {
    let detail = format!("this path takes {allow}");
    let reply = Problem::new(Code::BadMessage, detail).status(StatusCode::METHOD_NOT_ALLOWED).reply();
    with(reply, header::ALLOW, allow)
}
