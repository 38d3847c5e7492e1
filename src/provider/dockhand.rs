//! Dockhand: a shell in a container of a Docker environment that a Dockhand server manages.
//!
//! Its documentation has an exec instance created over HTTP and then attached to; its servers have one WebSocket that
//! does all of it. The configuration chooses between the two flows.

mod account;
mod probe;
mod refusal;
mod resize;
mod screen;
mod target;
mod upstream;

use std::sync::Arc;

use polytty_dialect::dockhand::Form;
use polytty_dialect::{Code, Size};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::dial::Dialer;
use super::{BoxFuture, Failure, Provider, Target, Upstream};
use crate::config::{AttachMessages, Dockhand, DockhandFlow};
use account::Account;
use probe::Probe;
use resize::Resizer;
use target::DockhandTarget;
use upstream::{DockhandUpstream, Manners};

/// The place of an exec instance's id in `attach_path`.
const EXEC_ID: &str = "{exec_id}";

/// The longest id of an exec instance, in bytes. Docker's have 64.
const MAX_ID: usize = 128;

/// The provider `kind = "dockhand"`.
pub struct DockhandProvider {
    account: Arc<Account>,
    flow: DockhandFlow,
    manners: Manners,
    probe: Probe,
}

impl DockhandProvider {
    /// A provider that dials by `dialer`. Touches no network.
    pub fn new(name: String, settings: Dockhand, dialer: Dialer) -> Self {
        let Dockhand { url, credentials, flow, first_output_timeout, silence_timeout, typed_ending } = settings;
        let form = match &flow {
            DockhandFlow::Documented { messages: AttachMessages::Raw, .. } => Form::Raw,
            DockhandFlow::Documented { messages: AttachMessages::Json, .. } | DockhandFlow::WebSocket => Form::Json,
        };
        let manners = Manners { form, first_output_timeout, silence_timeout, typed_ending };
        let account = Arc::new(Account::new(url, credentials, dialer));
        Self { account, flow, manners, probe: Probe::new(name) }
    }

    async fn open_terminal(&self, target: &DockhandTarget, size: Size) -> Result<Box<dyn Upstream>, Failure> {
        let (path, resizer) = match &self.flow {
            DockhandFlow::WebSocket => (format!("{}?{}", target.exec_path(), target.query()), None),
            DockhandFlow::Documented { attach_path, .. } => {
                let id = self.create(target).await?;
                let resizer = Resizer::new(Arc::clone(&self.account), &id, target.environment);
                let and = if attach_path.contains('?') { '&' } else { '?' };
                (format!("{}{and}envId={}", attach_path.replace(EXEC_ID, &id), target.environment), Some(resizer))
            }
        };
        let (stream, already_read) = self.account.dial(&path).await?;
        if matches!(self.flow, DockhandFlow::WebSocket) {
            self.probe.ask_once(&self.account);
        }
        let upstream = DockhandUpstream::new(stream, already_read, self.manners, resizer).await;
        // From here on there may be a shell.
        let mut opening = Opening(Some(upstream));
        let Some(upstream) = &mut opening.0 else { return Err(internal()) };
        let proof = upstream.prove(target).await;
        let Some(mut upstream) = opening.0.take() else { return Err(internal()) };
        if let Err(failure) = proof {
            leave(upstream.hush());
            return Err(failure);
        }
        upstream.resize(size);
        Ok(Box::new(upstream))
    }

    /// `POST /api/containers/{id}/exec`, which starts nothing yet: the id of an exec instance.
    async fn create(&self, target: &DockhandTarget) -> Result<String, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            exec_id: String,
        }

        let path = format!("{}?envId={}", target.exec_path(), target.environment);
        let body = json!({ "shell": target.shell, "user": target.user });
        let reply = self.account.call(&path, Some(&body)).await?;
        if !reply.status.is_success() {
            return Err(refusal::answer(&reply, target));
        }
        let is_id = |id: &String| {
            (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let answer = serde_json::from_slice::<Answer>(&reply.body).ok().map(|answer| answer.exec_id).filter(is_id);
        answer.ok_or_else(|| {
            Failure::new(Code::ProviderUnavailable, "Dockhand answered with something that is no terminal.")
                .detail("no JSON with a proper execId")
        })
    }
}

impl Provider for DockhandProvider {
    fn target(&self, target: &Value) -> Result<Target, String> {
        DockhandTarget::read(target).map(Target::new)
    }

    fn open<'a>(&'a self, target: &'a Target, size: Size) -> BoxFuture<'a, Result<Box<dyn Upstream>, Failure>> {
        Box::pin(async move {
            let target = target.get::<DockhandTarget>().ok_or_else(internal)?;
            self.open_terminal(target, size).await
        })
    }
}

impl std::fmt::Debug for DockhandProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { account, flow, manners, probe: _ } = self;
        f.debug_struct("DockhandProvider")
            .field("account", account)
            .field("flow", flow)
            .field("manners", manners)
            .finish()
    }
}

/// A terminal that nobody has yet. Dropped, it is ended as it would be at the end of a session.
struct Opening(Option<DockhandUpstream>);

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(upstream) = self.0.take() {
            leave(Box::new(upstream));
        }
    }
}

/// Ends a terminal beside whatever else happens; [`Upstream::end`] bounds it.
fn leave(upstream: Box<DockhandUpstream>) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(upstream.end());
    }
}

fn internal() -> Failure {
    Failure::new(Code::Internal, "The terminal's target belongs to another provider.")
}

#[cfg(test)]
mod tests;
