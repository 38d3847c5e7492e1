//! Access to a workspace's data plane: the token that its gateway takes, asked for at the control plane.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, StatusCode};
use polytty_dialect::Code;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::refusal::{self, Refusal};
use crate::config::{Oblien, Secret};
use crate::provider::Failure;
use crate::provider::dial::{Dialer, Reply, Request};

/// How polytty calls itself.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("polytty/", env!("CARGO_PKG_VERSION")));

/// How long one call may take.
pub(super) const CALL: Duration = Duration::from_secs(10);

/// A token for the data plane. Shows itself only in [`Token::header`] and [`Token::expose`].
#[derive(Clone, Debug)]
pub(super) struct Token {
    secret: Secret,
    /// Tells tokens apart without comparing them.
    number: u64,
    /// When to ask for another; `None` for a configured one, which is good until it is refused.
    until: Option<Instant>,
}

/// Gets and keeps the token of one workspace, for all that talk to it.
///
/// One renewal at a time: whoever needs a token meanwhile waits for that one and shares what comes of it.
pub(super) struct Access {
    workspace: Option<String>,
    token: Mutex<Option<Token>>,
    made: AtomicU64,
}

/// Why a token is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Need<'a> {
    /// Any that is still good.
    Any,
    /// One that is newer than this one, if one can be had, since a connection is to be made anew.
    Fresh(&'a Token),
    /// One that is newer than this one, which was refused.
    Other(&'a Token),
}

/// What both planes need.
pub(super) struct Service {
    pub(super) settings: Oblien,
    pub(super) dialer: Dialer,
}

impl Token {
    /// The header field that carries it.
    pub(super) fn header(&self) -> Result<HeaderValue, Failure> {
        secret_header(&format!("Bearer {}", self.secret.expose()))
    }

    /// The token itself, for a query.
    pub(super) fn expose(&self) -> &str {
        self.secret.expose()
    }
}

impl Access {
    /// Nothing asked for yet. A configured token serves until it is refused.
    pub(super) fn new(workspace: Option<String>, configured: Option<&Secret>) -> Self {
        let token = configured.map(|secret| Token { secret: secret.clone(), number: 0, until: None });
        Self { workspace, token: Mutex::new(token), made: AtomicU64::new(0) }
    }

    /// What people are told when they look for it.
    pub(super) fn workspace(&self) -> String {
        self.workspace.as_ref().map_or_else(|| "the workspace".to_owned(), |id| format!("workspace {id}"))
    }

    /// A token, from the control plane unless one is kept that will do. `switches_on` says whether access may be enabled for
    /// it where it is off; that has to be configured, too.
    ///
    /// # Errors
    ///
    /// What the control plane says against it; the workspace may not be running.
    pub(super) async fn token(&self, service: &Service, need: Need<'_>, switches_on: bool) -> Result<Token, Failure> {
        let mut kept = self.token.lock().await;
        let good = kept.as_ref().filter(|token| token.until.is_none_or(|until| Instant::now() < until));
        let newer_than = match need {
            Need::Any => None,
            Need::Fresh(old) | Need::Other(old) => Some(old.number),
        };
        if let Some(token) = good.filter(|token| newer_than.is_none_or(|number| token.number > number)) {
            return Ok(token.clone());
        }
        let minted = match (&service.settings.client, &self.workspace) {
            (Some(_), Some(workspace)) => {
                self.mint(service, workspace, matches!(need, Need::Other(_)), switches_on).await
            }
            _ if matches!(need, Need::Other(_)) => Err(refusal::token_refused()),
            _ => return good.cloned().ok_or_else(refusal::token_refused),
        };
        match (minted, need) {
            (Ok(token), _) => Ok(kept.insert(token).clone()),
            // The workspace itself may well be there while the control plane is not.
            (Err(failure), Need::Fresh(_)) if failure.code != Code::ProviderNotRunning => good.cloned().ok_or(failure),
            (Err(failure), _) => Err(failure),
        }
    }

    /// The steps of the vendor's own client: look at the status, then read the token, or enable access. After a
    /// refusal, enabling comes first: it makes a new token each time.
    async fn mint(
        &self,
        service: &Service,
        workspace: &str,
        after_refusal: bool,
        switches_on: bool,
    ) -> Result<Token, Failure> {
        let asked = Instant::now();
        let status: Status = self.ask(service, workspace, Method::GET, "").await?.map_err(|r| r.control(workspace))?;
        let is_enabled = status.enabled != Some(false);
        // Where access is off, this may be about the server that it would start: whether the workspace runs, enabling tells.
        if is_enabled && status.running == Some(false) {
            return Err(Failure::new(Code::ProviderNotRunning, format!("Workspace {workspace} is not running.")));
        }
        let may_enable = service.settings.enable_access;
        let stays_off = !(may_enable && switches_on);
        if !is_enabled && stays_off {
            let message = format!("Workspace {workspace} does not let programs in: its runtime access is not enabled.");
            return Err(Failure::new(Code::ProviderNotRunning, message).detail(if may_enable {
                "it was switched off"
            } else {
                "enable_access is false"
            }));
        }
        let mut answer = Err(Refusal::absent());
        if is_enabled && !(after_refusal && may_enable) {
            answer = self.ask::<Answer>(service, workspace, Method::GET, "/token").await?;
        }
        // Only the vendor's client knows the call that reads a token; the documents know the one that enables access.
        if may_enable && answer.as_ref().is_err_and(Refusal::is_absent) {
            answer = self.ask(service, workspace, Method::POST, "/enable").await?;
        }
        let token = answer.map_err(|refusal| refusal.control(workspace))?.token;
        // It has to go into a header field.
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refusal::senseless("the token is none"));
        }
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Token { secret: Secret::new(token), number, until: Some(asked + service.settings.token_lifetime) })
    }

    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        service: &Service,
        workspace: &str,
        method: Method,
        call: &str,
    ) -> Result<Result<T, Refusal>, Failure> {
        let Oblien { api_url, access_path, client, .. } = &service.settings;
        let path = format!("/workspace/{workspace}/{}{call}", access_path.as_str());
        let mut headers = plain_headers();
        if let Some(client) = client {
            headers.insert("x-client-id", secret_header(&client.id)?);
            headers.insert("x-client-secret", secret_header(client.secret.expose())?);
        }
        let request = Request { method, path_and_query: &path, headers, body: Bytes::new(), repeatable: false };
        let reply = timeout(CALL, service.dialer.request(api_url, request)).await.map_err(|_| refusal::late())??;
        Ok(refusal::read(&reply))
    }
}

impl Service {
    /// One call of the data plane, with a token that is renewed once if it is refused; each try ends after `within`.
    pub(super) async fn call(
        &self,
        access: &Access,
        method: Method,
        path: &str,
        body: Bytes,
        within: Duration,
    ) -> Result<Reply, Failure> {
        let mut token = access.token(self, Need::Any, true).await?;
        let reply = self.send(&token, method.clone(), path, body.clone(), within).await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        token = access.token(self, Need::Other(&token), true).await?;
        self.send(&token, method, path, body, within).await
    }

    async fn send(
        &self,
        token: &Token,
        method: Method,
        path: &str,
        body: Bytes,
        within: Duration,
    ) -> Result<Reply, Failure> {
        let mut headers = plain_headers();
        headers.insert(AUTHORIZATION, token.header()?);
        let request = Request { method, path_and_query: path, headers, body, repeatable: false };
        let sent = self.dialer.request(&self.settings.gateway_url, request);
        timeout(within, sent).await.map_err(|_| refusal::late())?
    }
}

/// The fields of every call.
fn plain_headers() -> HeaderMap {
    let json = HeaderValue::from_static("application/json");
    HeaderMap::from_iter([(ACCEPT, json.clone()), (CONTENT_TYPE, json), (USER_AGENT, AGENT)])
}

/// How polytty calls itself, for the WebSocket.
pub(super) fn agent() -> (http::HeaderName, HeaderValue) {
    (USER_AGENT, AGENT)
}

fn secret_header(text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Failure::new(Code::ProviderRefused, "The configured credentials cannot be sent.")
            .detail("they have characters that no header field can hold")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[derive(Deserialize)]
struct Status {
    enabled: Option<bool>,
    running: Option<bool>,
}

#[derive(Deserialize)]
struct Answer {
    token: String,
}
