//! PAI-DLC (Deep Learning Containers), API version 2020-12-03: a terminal in a pod of a training job, by
//! `GetWebTerminal`.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{HeaderMap, HeaderValue, USER_AGENT};
use jiff::Timestamp;
use polytty_dialect::operation::PaiDlc as PaiDlcDialect;
use polytty_dialect::{Code, Size};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::super::dial::{DialError, Dialer, Reply, Stream, WebSocketRefusal, WebSocketRequest};
use super::super::websocket::{WebSocketOptions, WebSocketUpstream};
use super::super::{BoxFuture, Failure, Provider, Target, Upstream};
use super::acs3;
use super::api::{AGENT, ApiCall};
use super::gateway::{ApiError, Product};
use super::job::Job;
use super::link::TerminalLink;
use super::target::PaiDlcTarget;
use crate::config::PaiDlc;

const PRODUCT: Product = Product { name: "PAI-DLC", ram: "paidlc" };
const VERSION: &str = "2020-12-03";

/// How long a link can be used, counted here from before it was asked for.
const LINK_LIFETIME: Duration = Duration::from_secs(30);

/// A link is used once; when its use fails before there is a terminal, one fresh link is asked for.
const ATTEMPTS: u32 = 2;

/// How the terminal's WebSocket is treated. The service documents no sign of life of its own, so ours is a ping that
/// any middlebox takes as traffic, well under the usual 30 s.
const WEBSOCKET: WebSocketOptions = WebSocketOptions {
    name: PRODUCT.name,
    max_message: 1 << 20,
    ping_every: Duration::from_secs(20),
    pong_within: Duration::from_secs(20),
};

/// The provider `kind = "pai-dlc"`.
pub struct PaiDlcProvider {
    name: String,
    settings: PaiDlc,
    dialer: Dialer,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

impl PaiDlcProvider {
    /// A provider that dials by `dialer` and dates its requests by `clock`, which is [`Timestamp::now`] outside of
    /// tests. Touches no network.
    pub fn new(
        name: String,
        settings: PaiDlc,
        dialer: Dialer,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        Self { name, settings, dialer, clock: Box::new(clock) }
    }

    async fn open_terminal(&self, target: &PaiDlcTarget, size: Size) -> Result<Box<dyn Upstream>, Failure> {
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
        let dialect = Box::new(PaiDlcDialect::new());
        let mut upstream = WebSocketUpstream::new(stream, already_read, dialect, WEBSOCKET).await;
        upstream.resize(size);
        Ok(Box::new(upstream))
    }

    /// Asks for a link and dials it, once. The outer error is final.
    async fn attempt(&self, target: &PaiDlcTarget) -> Result<Result<(Stream, Bytes), WebSocketRefusal>, Failure> {
        let until = Instant::now() + LINK_LIFETIME;
        let link = self.mint(target).await?;
        let request = WebSocketRequest {
            tls: link.tls,
            authority: &link.authority,
            path_and_query: link.path_and_query(),
            subprotocol: None,
            headers: HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(AGENT))]),
        };
        timeout_at(until, self.dialer.websocket(request)).await.map_err(|_| {
            Failure::new(Code::ProviderTimeout, format!("{} did not open the terminal in time.", PRODUCT.name))
                .detail(format!("the link's {LINK_LIFETIME:?} are over"))
        })
    }

    /// `GetWebTerminal`, always with `IsShared`: without it, opening the link needs an identity of the cloud, which
    /// polytty has not.
    async fn mint(&self, target: &PaiDlcTarget) -> Result<TerminalLink, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            web_terminal_url: String,
        }

        let (job, pod) = (acs3::encode(&target.job_id), acs3::encode(&target.pod_id));
        let mut query = vec![("IsShared", "true")];
        query.extend(target.pod_uid.as_deref().map(|uid| ("PodUid", uid)));
        let path = format!("/api/v1/jobs/{job}/pods/{pod}/webterminal");
        let reply = self.call("GetWebTerminal", &path, &query).await?;
        if !reply.status.is_success() {
            return Err(self.explain(ApiError::read("GetWebTerminal", &reply), target).await);
        }
        let unusable = |detail: &str| {
            Failure::new(
                Code::ProviderUnavailable,
                format!("{} answered with something that is no terminal.", PRODUCT.name),
            )
            .detail(detail)
        };
        // The parser's own words are left out: they may repeat a piece of the link.
        let answer: Answer = serde_json::from_slice(&reply.body)
            .map_err(|_| unusable("GetWebTerminal: no JSON with a WebTerminalUrl"))?;
        TerminalLink::parse(&answer.web_terminal_url, self.takes_plain(), &self.settings.websocket_hosts)
            .map_err(unusable)
    }

    /// What to say about a refused link: where the target is in question, the job knows more.
    async fn explain(&self, error: ApiError, target: &PaiDlcTarget) -> Failure {
        let original = error.failure(PRODUCT);
        if !error.is_about_target() {
            return original;
        }
        let path = format!("/api/v1/jobs/{}", acs3::encode(&target.job_id));
        let reply = match self.call("GetJob", &path, &[("NeedDetail", "true")]).await {
            Ok(reply) => reply,
            Err(failure) => return with_more(original, &failure.detail),
        };
        if !reply.status.is_success() {
            let error = ApiError::read("GetJob", &reply);
            let failure = error.failure(PRODUCT);
            if error.is_not_found() {
                let (job, region) = (&target.job_id, &self.settings.region);
                let message = format!("There is no job {job} in region {region}.");
                return Failure::new(Code::ProviderNotRunning, message)
                    .detail(format!("{}; {}", original.detail, failure.detail));
            }
            return with_more(original, &failure.detail);
        }
        match serde_json::from_slice::<Job>(&reply.body) {
            Ok(job) => match job.explain(target) {
                Some(explained) => explained.detail(original.detail),
                None => with_more(original, "GetJob: job and pod are running"),
            },
            Err(_) => with_more(original, "GetJob: no JSON of a job"),
        }
    }

    /// Whether a link may do without TLS: only where the API itself does, on a network that is not the public one.
    fn takes_plain(&self) -> bool {
        !self.settings.endpoint.is_tls() && self.dialer.allows_private()
    }

    async fn call(&self, action: &'static str, path: &str, query: &[(&str, &str)]) -> Result<Reply, Failure> {
        let PaiDlc { endpoint, access_key_id, access_key_secret, security_token, .. } = &self.settings;
        let credentials = acs3::Credentials {
            access_key_id,
            access_key_secret: access_key_secret.expose(),
            security_token: security_token.as_ref().map(|token| token.expose()),
        };
        let method = Method::GET;
        let call = ApiCall { endpoint, credentials, method, path, query, action, version: VERSION };
        call.send(&self.dialer, (self.clock)()).await
    }
}

impl Provider for PaiDlcProvider {
    fn target(&self, target: &Value) -> Result<Target, String> {
        PaiDlcTarget::read(target).map(Target::new)
    }

    fn open<'a>(&'a self, target: &'a Target, size: Size) -> BoxFuture<'a, Result<Box<dyn Upstream>, Failure>> {
        Box::pin(async move {
            let target = target
                .get::<PaiDlcTarget>()
                .ok_or_else(|| Failure::new(Code::Internal, "The terminal's target belongs to another provider."))?;
            self.open_terminal(target, size).await
        })
    }
}

impl std::fmt::Debug for PaiDlcProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PaiDlcProvider")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Whether the link, rather than the way to it, may be what failed. Never behind a 101: there was a terminal.
fn fresh_link_may_help(refusal: &WebSocketRefusal) -> bool {
    match refusal {
        WebSocketRefusal::Dial(error) => !matches!(error, DialError::NotPublic),
        WebSocketRefusal::Broken(failure) => failure.code == Code::ProviderUnavailable,
        WebSocketRefusal::Status(status) => matches!(status.as_u16(), 403 | 404 | 410 | 500..),
        WebSocketRefusal::Lie(_) => false,
    }
}

fn with_more(failure: Failure, more: &str) -> Failure {
    let detail = format!("{}; {more}", failure.detail);
    failure.detail(detail)
}

#[cfg(test)]
mod tests;
