//! Where a request goes, once its Host and Origin were found right.

use std::sync::Arc;

use http::header::{self, HeaderMap};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use polytty_dialect::Code;

use super::Edge;
use super::peer::{Arrived, Caller};
use crate::config::Authority;
use crate::respond::{Problem, Reply, closing};

/// Where a request says it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// No Origin: no browser, or a browser that only looks.
    Nowhere,
    /// A page of `server.public_url`.
    Home,
    /// A page of one of `server.origins`.
    Friend,
    /// Any other page.
    Stranger,
}

impl Edge {
    /// Answers a request. One that asked for an upgrade and got none ends the connection: what follows it may not be
    /// HTTP.
    pub(super) async fn route(self: &Arc<Self>, request: Request<Incoming>, arrived: Arrived) -> Reply {
        let upgrade = request.headers().contains_key(header::UPGRADE);
        let caller = match arrived {
            Arrived::Client(peer) => self.proxies.caller(peer, request.headers()),
            Arrived::Replica(address) => Caller::of_replica(address, request.headers()),
        };
        let reply = self.dispatch(request, caller).await;
        if upgrade && reply.status() != StatusCode::SWITCHING_PROTOCOLS { closing(reply) } else { reply }
    }

    async fn dispatch(self: &Arc<Self>, request: Request<Incoming>, caller: Caller) -> Reply {
        // Whatever is said to it, it counts.
        let counted = caller.counted().map_or(Ok(()), |address| self.gate.request(address));
        if !self.is_own_host(request.headers()) {
            let detail = format!("this server is {}; the Host field names another", self.public_url.authority());
            return closing(Problem::new(Code::NotFound, detail).status(StatusCode::MISDIRECTED_REQUEST).reply());
        }
        let from = self.origin(request.headers());
        if from == From::Stranger {
            self.api.metrics.upgrade_refused(Code::Forbidden.slug());
            tracing::info!(peer = %caller, origin = ?request.headers().get(header::ORIGIN), "a foreign origin was refused");
            let text = "This origin is not allowed here.\n";
            return closing(crate::respond::reply(StatusCode::FORBIDDEN, "text/plain; charset=utf-8", text));
        }
        let path = request.uri().path();
        if let Some(ticket) = path.strip_prefix("/t/") {
            let ticket = ticket.to_owned();
            return self.upgrade(request, &ticket, from, caller, counted).await;
        }
        if let Err(exceeded) = counted {
            return exceeded.reply();
        }
        if path == "/openapi.json" || path.starts_with("/v1/") {
            let page = self.pages.as_ref().and_then(|pages| pages.identify(request.headers(), request.method(), from));
            return self.api.handle(request, page, caller, self.limits.get().body).await;
        }
        if let Some(pages) = &self.pages {
            // The one page that takes a secret is the one that is posted to.
            let is_login = *request.method() == Method::POST;
            let reply = pages.handle(request, from, self.limits.get().body).await;
            let guessed = is_login && reply.status() == StatusCode::UNAUTHORIZED;
            return match caller.counted().filter(|_| guessed).map(|address| self.gate.failure(address)) {
                Some(Err(exceeded)) => closing(exceeded.reply()),
                _ => reply,
            };
        }
        Problem::new(Code::NotFound, "there is nothing at this path").reply()
    }

    fn is_own_host(&self, headers: &HeaderMap) -> bool {
        let own = self.public_url.authority();
        let named = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
        named.is_some_and(|named| named.host() == own.host() && named.port_or(443) == self.public_url.port())
    }

    fn origin(&self, headers: &HeaderMap) -> From {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else { return From::Nowhere };
        let origin = origin.to_str().unwrap_or_default();
        if origins.next().is_some() {
            From::Stranger
        } else if origin == self.public_url.origin().as_str() {
            From::Home
        } else if self.origins.get().iter().any(|allowed| allowed.as_str() == origin) {
            From::Friend
        } else {
            From::Stranger
        }
    }
}
