//! Whom Dockhand takes us for: an API token, or a login whose session is renewed when it has run out.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, SET_COOKIE, USER_AGENT};
use http::{Method, StatusCode};
use polytty_dialect::Code;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::super::Failure;
use super::super::dial::{Dialer, Reply, Request, Stream, WebSocketRefusal, WebSocketRequest};
use super::refusal;
use crate::config::units::BaseUrl;
use crate::config::{DockhandCredentials, secret::Secret};

const AGENT: &str = concat!("polytty/", env!("CARGO_PKG_VERSION"));

/// The cookie that holds a session. No other one is ever sent: versions before 1.0.36 fail on what they cannot decode.
const SESSION: &str = "dockhand_session";

/// The longest session that is taken, in bytes.
const MAX_SESSION: usize = 4096;

/// How long a refused login is not tried again. Dockhand locks an account for 15 minutes after five failures, and
/// every session that is opened would be one.
const REFUSED_FOR: Duration = Duration::from_secs(300);

/// One Dockhand and our standing there, shared by all sessions of a provider.
pub(super) struct Account {
    url: BaseUrl,
    credentials: DockhandCredentials,
    dialer: Dialer,
    /// Held while somebody logs in, so that one login serves all who wait for it.
    login: Mutex<Login>,
}

#[derive(Default)]
enum Login {
    #[default]
    None,
    /// The fields that a request needs.
    Done(HeaderMap),
    /// It was refused then.
    Refused(Instant, Failure),
}

impl Account {
    pub(super) fn new(url: BaseUrl, credentials: DockhandCredentials, dialer: Dialer) -> Self {
        Self { url, credentials, dialer, login: Mutex::default() }
    }

    /// Sends a request with a JSON body, or an empty one for `None`; once more behind a fresh login if the session is
    /// refused.
    ///
    /// # Errors
    ///
    /// No login, or as [`Dialer::request`]. Other statuses from 400 on are no error here.
    pub(super) async fn call(&self, path_and_query: &str, body: Option<&serde_json::Value>) -> Result<Reply, Failure> {
        let body = body.map(|body| Bytes::from(body.to_string()));
        let mut stale = None;
        loop {
            let fields = self.fields(stale.as_ref()).await?;
            let mut headers = fields.clone();
            if body.is_some() {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            let body = body.clone().unwrap_or_default();
            let request = Request { method: Method::POST, path_and_query, headers, body, repeatable: false };
            let reply = self.dialer.request(&self.url, request).await?;
            if reply.status != StatusCode::UNAUTHORIZED || stale.is_some() || !self.can_renew() {
                return Ok(reply);
            }
            stale = Some(fields);
        }
    }

    /// Dials a WebSocket; once more behind a fresh login if the session is refused.
    ///
    /// # Errors
    ///
    /// No login, or [`WebSocketRefusal`] as a failure.
    pub(super) async fn dial(&self, path_and_query: &str) -> Result<(Stream, Bytes), Failure> {
        let mut stale = None;
        loop {
            let fields = self.fields(stale.as_ref()).await?;
            let request = WebSocketRequest {
                tls: self.url.is_tls(),
                authority: self.url.authority(),
                path_and_query,
                subprotocol: None,
                headers: fields.clone(),
            };
            let refusal = match self.dialer.websocket(request).await {
                Ok(connected) => return Ok(connected),
                Err(refusal) => refusal,
            };
            let WebSocketRefusal::Status(StatusCode::UNAUTHORIZED) = refusal else { return Err(refusal.into()) };
            if stale.is_some() || !self.can_renew() {
                return Err(refusal::unauthorized().detail("status 401 instead of 101"));
            }
            stale = Some(fields);
        }
    }

    /// Dials a WebSocket without a word of who is asking.
    ///
    /// # Errors
    ///
    /// [`WebSocketRefusal`].
    pub(super) async fn dial_as_stranger(&self, path_and_query: &str) -> Result<(Stream, Bytes), WebSocketRefusal> {
        let headers = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(AGENT))]);
        let (tls, authority) = (self.url.is_tls(), self.url.authority());
        let request = WebSocketRequest { tls, authority, path_and_query, subprotocol: None, headers };
        self.dialer.websocket(request).await
    }

    fn can_renew(&self) -> bool {
        matches!(self.credentials, DockhandCredentials::Login { .. })
    }

    /// The fields that a request needs, by a login where there is none yet or the one in hand is `stale`.
    async fn fields(&self, stale: Option<&HeaderMap>) -> Result<HeaderMap, Failure> {
        let DockhandCredentials::Login { username, password, provider } = &self.credentials else {
            return self.token_fields();
        };
        let mut login = self.login.lock().await;
        match &*login {
            // Whoever renewed it meanwhile renewed it for everybody.
            Login::Done(fields) if stale != Some(fields) => return Ok(fields.clone()),
            Login::Refused(since, failure) if since.elapsed() < REFUSED_FOR => return Err(failure.clone()),
            _ => *login = Login::None,
        }
        let failure = match self.log_in(username, password, provider).await? {
            Ok(fields) => {
                *login = Login::Done(fields.clone());
                return Ok(fields);
            }
            Err(failure) => failure,
        };
        *login = Login::Refused(Instant::now(), failure.clone());
        Err(failure)
    }

    fn token_fields(&self) -> Result<HeaderMap, Failure> {
        let mut fields = agent();
        if let DockhandCredentials::Token(token) = &self.credentials {
            fields.insert(AUTHORIZATION, secret_value(&format!("Bearer {}", token.expose()))?);
        }
        Ok(fields)
    }

    /// `POST /api/auth/login`. The outer error says nothing about the credentials, the inner one refuses them.
    async fn log_in(
        &self,
        username: &str,
        password: &Secret,
        provider: &str,
    ) -> Result<Result<HeaderMap, Failure>, Failure> {
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Body {
            requires_mfa: bool,
            error: Option<String>,
        }

        let mut headers = agent();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = json!({ "username": username, "password": password.expose(), "provider": provider });
        let body = Bytes::from(body.to_string());
        let request =
            Request { method: Method::POST, path_and_query: "/api/auth/login", headers, body, repeatable: false };
        let reply = self.dialer.request(&self.url, request).await?;
        let body: Body = serde_json::from_slice(&reply.body).unwrap_or_default();
        let status = reply.status.as_u16();
        let refused =
            |message: &str| Failure::new(Code::ProviderRefused, message).detail(format!("login: status {status}"));
        let is_open = body.error.is_some_and(|error| error.contains("not enabled"));
        Ok(match status {
            200 if body.requires_mfa => Err(refused(
                "The configured account asks for a second factor, which a proxy has not; Dockhand's API tokens need none.",
            )),
            200 => {
                let mut fields = agent();
                fields.insert(COOKIE, secret_value(&format!("{SESSION}={}", session(&reply)?))?);
                Ok(fields)
            }
            // Authentication is switched off there: nobody needs to be anybody.
            400 if is_open => Ok(agent()),
            401 => Err(refused("Dockhand does not accept the configured username and password.")),
            403 => Err(refused("Dockhand does not let the configured account log in this way.")),
            429 => Err(Failure::new(
                Code::ProviderUnavailable,
                "Dockhand has locked logins for some minutes after several failures.",
            )
            .detail("login: status 429")),
            400..=499 => Err(refused("Dockhand refused the login.")),
            _ => {
                return Err(Failure::new(Code::ProviderUnavailable, "Dockhand is out of order.")
                    .detail(format!("login: status {status}")));
            }
        })
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("url", &self.url.to_string()).finish_non_exhaustive()
    }
}

fn agent() -> HeaderMap {
    HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(AGENT))])
}

/// The session that a login's answer sets.
fn session(reply: &Reply) -> Result<String, Failure> {
    let cookies = reply.headers.get_all(SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
    cookies
        .filter_map(|cookie| cookie.split(';').next()?.trim().strip_prefix(SESSION)?.strip_prefix('='))
        .find(|session| (1..=MAX_SESSION).contains(&session.len()) && session.bytes().all(is_cookie))
        .map(str::to_owned)
        .ok_or_else(|| {
            Failure::new(Code::ProviderUnavailable, "Dockhand answered the login with something that is no session.")
                .detail("login: no proper cookie")
        })
}

/// What a cookie's value may hold (RFC 6265, section 4.1.1).
fn is_cookie(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

/// A field that does not print.
fn secret_value(text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Failure::new(Code::ProviderRefused, "The configured credentials cannot be sent.")
            .detail("the token has characters that no header field can hold")
    })?;
    value.set_sensitive(true);
    Ok(value)
}
