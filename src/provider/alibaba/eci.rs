//! ECI (Elastic Container Instance), API version 2018-08-08: a command in a running container, by
//! `ExecContainerCommand`.

mod group;
mod target;

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{HeaderMap, HeaderValue, USER_AGENT};
use jiff::Timestamp;
use polytty_dialect::channel::{Channel, Framing};
use polytty_dialect::{Code, Size};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::super::dial::{DialError, Dialer, Reply, Stream, WebSocketRefusal, WebSocketRequest};
use super::super::websocket::{WebSocketOptions, WebSocketUpstream};
use super::super::{BoxFuture, Failure, Provider, Target, Upstream};
use super::acs3::Credentials;
use super::api::{AGENT, ApiCall};
use super::gateway::{ApiError, Product};
use super::link::TerminalLink;
use crate::config::Eci;
use group::Groups;
use target::{EciTarget, MAX_WORD};

const PRODUCT: Product = Product { name: "ECI", ram: "eci" };
const VERSION: &str = "2018-08-08";

/// How long a link is taken to be of use, counted from before it was asked for. The page gives 30 s to the link that
/// people open in a browser, and nothing to this one.
const LINK_LIFETIME: Duration = Duration::from_secs(30);

/// A link is used once; when it leads to nothing, one fresh link is asked for.
const ATTEMPTS: u32 = 2;

/// How the terminal's WebSocket is treated. Clients of the service report that it cuts a silent connection after
/// about 60 s, and ping every 30 s at the latest.
const WEBSOCKET: WebSocketOptions = WebSocketOptions {
    name: PRODUCT.name,
    max_message: 1 << 20,
    ping_every: Duration::from_secs(20),
    pong_within: Duration::from_secs(20),
};

/// The provider `kind = "eci"`.
pub struct EciProvider {
    name: String,
    settings: Eci,
    dialer: Dialer,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

impl EciProvider {
    /// A provider that dials by `dialer` and dates its requests by `clock`, which is [`Timestamp::now`] outside of
    /// tests. Touches no network.
    pub fn new(
        name: String,
        settings: Eci,
        dialer: Dialer,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        Self { name, settings, dialer, clock: Box::new(clock) }
    }

    async fn open_terminal(&self, target: &EciTarget, size: Size) -> Result<Box<dyn Upstream>, Failure> {
        let framing = Framing::of_subprotocol(self.settings.subprotocol).ok_or_else(|| {
            Failure::new(Code::Internal, "The configured subprotocol has no framing here.").detail("subprotocol")
        })?;
        let mut attempt = 1;
        let (stream, already_read) = loop {
            let refusal = match self.attempt(target).await? {
                Ok(connected) => break connected,
                Err(refusal) => refusal,
            };
            if attempt == ATTEMPTS || !fresh_link_may_help(&refusal) {
                return Err(refusal.into());
            }
            attempt += 1;
            let failure = Failure::from(refusal);
            tracing::info!(provider = ?self.name, code = %failure.code, detail = ?failure.detail, "asking for a fresh link");
        };
        let dialect = Box::new(Channel::new(framing, target.tty, self.settings.resize_mode));
        let mut upstream = WebSocketUpstream::new(stream, already_read, dialect, WEBSOCKET).await;
        upstream.resize(size);
        Ok(Box::new(upstream))
    }

    /// Asks for a link and dials it, once. The outer error is final.
    async fn attempt(&self, target: &EciTarget) -> Result<Result<(Stream, Bytes), WebSocketRefusal>, Failure> {
        let until = Instant::now() + LINK_LIFETIME;
        let link = self.exec(target).await?;
        let request = WebSocketRequest {
            tls: link.tls,
            authority: &link.authority,
            path_and_query: link.path_and_query(),
            subprotocol: self.settings.subprotocol,
            headers: HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(AGENT))]),
        };
        timeout_at(until, self.dialer.websocket(request)).await.map_err(|_| {
            Failure::new(Code::ProviderTimeout, "ECI did not open the terminal in time.")
                .detail(format!("the link's {LINK_LIFETIME:?} are over"))
        })
    }

    /// `ExecContainerCommand`, which runs nothing yet: the command starts when its link is dialled.
    async fn exec(&self, target: &EciTarget) -> Result<TerminalLink, Failure> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "WebSocketUri")]
            uri: String,
        }

        let tty = if target.tty { "true" } else { "false" };
        let reply = self
            .call(
                "ExecContainerCommand",
                &[
                    ("RegionId", &self.settings.region),
                    ("ContainerGroupId", &target.group),
                    ("ContainerName", &target.container),
                    ("Command", &target.command),
                    ("TTY", tty),
                    ("Stdin", "true"),
                ],
            )
            .await?;
        if !reply.status.is_success() {
            return Err(self.explain(ApiError::read("ExecContainerCommand", &reply), target).await);
        }
        let unusable = |detail: &str| {
            Failure::new(Code::ProviderUnavailable, "ECI answered with something that is no terminal.").detail(detail)
        };
        // The parser's own words are left out: they may repeat a piece of the link.
        let answer: Answer = serde_json::from_slice(&reply.body)
            .map_err(|_| unusable("ExecContainerCommand: no JSON with a WebSocketUri"))?;
        TerminalLink::parse(&answer.uri, self.takes_plain(), &self.settings.websocket_hosts).map_err(unusable)
    }

    /// What to say about a refused command: where the target is in question, its group knows more.
    async fn explain(&self, error: ApiError, target: &EciTarget) -> Failure {
        let original = error.failure(PRODUCT);
        if error.is_value_exceeded() {
            let message = if target.has_long_word {
                format!("ECI refused the command: it has an item of more than {MAX_WORD} characters.")
            } else {
                "ECI refused the call: something in it, most likely the command, is longer than ECI takes.".to_owned()
            };
            return Failure::new(Code::ProviderRefused, message).detail(original.detail);
        }
        if !error.may_be_about_target() {
            return original;
        }
        let ids = Value::from(vec![target.group.as_str()]).to_string();
        let query = [("RegionId", self.settings.region.as_str()), ("ContainerGroupIds", &ids)];
        let reply = match self.call("DescribeContainerGroups", &query).await {
            Ok(reply) => reply,
            Err(failure) => return with_more(original, &failure.detail),
        };
        if !reply.status.is_success() {
            let failure = ApiError::read("DescribeContainerGroups", &reply).failure(PRODUCT);
            return with_more(original, &failure.detail);
        }
        match serde_json::from_slice::<Groups>(&reply.body) {
            Ok(groups) => match groups.explain(target, &self.settings.region) {
                Some(explained) => explained.detail(original.detail),
                None => with_more(original, "DescribeContainerGroups: group and container are running"),
            },
            Err(_) => with_more(original, "DescribeContainerGroups: no JSON of container groups"),
        }
    }

    /// Whether a link may do without TLS: only where the API itself does, on a network that is not the public one.
    fn takes_plain(&self) -> bool {
        !self.settings.endpoint.is_tls() && self.dialer.allows_private()
    }

    /// RPC-style: every parameter in the query, the action in a header field, the body empty.
    async fn call(&self, action: &'static str, query: &[(&str, &str)]) -> Result<Reply, Failure> {
        let Eci { endpoint, access_key_id, access_key_secret, security_token, .. } = &self.settings;
        let credentials = Credentials {
            access_key_id,
            access_key_secret: access_key_secret.expose(),
            security_token: security_token.as_ref().map(|token| token.expose()),
        };
        let method = Method::POST;
        let call = ApiCall { endpoint, credentials, method, path: "/", query, action, version: VERSION };
        call.send(&self.dialer, (self.clock)()).await
    }
}

impl Provider for EciProvider {
    fn target(&self, target: &Value) -> Result<Target, String> {
        let target = EciTarget::read(target)?;
        if target.has_long_word {
            tracing::warn!(
                provider = ?self.name,
                group = ?target.group,
                "a command has an item of more than {MAX_WORD} characters, which ECI documents as its limit"
            );
        }
        Ok(Target::new(target))
    }

    fn open<'a>(&'a self, target: &'a Target, size: Size) -> BoxFuture<'a, Result<Box<dyn Upstream>, Failure>> {
        Box::pin(async move {
            let target = target
                .get::<EciTarget>()
                .ok_or_else(|| Failure::new(Code::Internal, "The terminal's target belongs to another provider."))?;
            self.open_terminal(target, size).await
        })
    }
}

impl std::fmt::Debug for EciProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EciProvider")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Whether the link may be what failed, and its command has certainly not run. A connection that broke without an
/// answer may have run it, and so may one that a gateway answers for: 502 and 504 speak of what is behind it.
fn fresh_link_may_help(refusal: &WebSocketRefusal) -> bool {
    match refusal {
        WebSocketRefusal::Dial(error) => !matches!(error, DialError::NotPublic),
        WebSocketRefusal::Status(status) => matches!(status.as_u16(), 403 | 404 | 410 | 500 | 501 | 503 | 505..),
        WebSocketRefusal::Broken(_) | WebSocketRefusal::Lie(_) => false,
    }
}

fn with_more(failure: Failure, more: &str) -> Failure {
    let detail = format!("{}; {more}", failure.detail);
    failure.detail(detail)
}

#[cfg(test)]
mod tests;
