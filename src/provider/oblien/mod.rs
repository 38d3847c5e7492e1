//! Oblien: terminals in workspaces, all of one workspace's over one connection.
//!
//! The control plane hands out a token per workspace; with it, the data plane makes, lists and ends terminals by HTTP,
//! and carries all of their bytes over one WebSocket.

mod access;
mod api;
mod hub;
mod hubs;
mod redial;
mod refusal;
mod strangers;
mod target;
mod terminal;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use polytty_dialect::{Code, Size};
use serde_json::Value;
use tokio::sync::oneshot;

use super::dial::Dialer;
use super::{BoxFuture, Failure, ListedTerminal, Provider, Target, Upstream, Workspace};
use crate::config::Oblien;
use access::{Access, Service};
use api::Api;
use hub::Opener;
pub use hubs::OblienHubs;
use hubs::{Handed, Junction};
use target::{OblienTarget, Place, Reach};

pub(crate) use target::is_workspace;

/// Workspaces whose token is kept. Of those that nobody uses, the kept ones go when there are more.
const MAX_TOKENS: usize = 256;

/// The provider `kind = "oblien"`.
pub struct OblienProvider {
    name: String,
    service: Arc<Service>,
    hubs: Arc<OblienHubs>,
    access: Mutex<HashMap<Option<String>, Arc<Access>>>,
}

impl OblienProvider {
    /// A provider that dials by `dialer`, and shares `hubs` with every other one of the process. Touches no network.
    pub fn new(name: String, settings: Oblien, dialer: Dialer, hubs: Arc<OblienHubs>) -> Self {
        let service = Arc::new(Service { settings, dialer });
        Self { name, service, hubs, access: Mutex::default() }
    }

    async fn open_terminal(&self, target: &OblienTarget, size: Size) -> Result<Box<dyn Upstream>, Failure> {
        let (reply, answer) = oneshot::channel();
        let (place, Oblien { max_terminals, end_attached, .. }) = (&target.place, &self.service.settings);
        let opener = Opener {
            what: target.what.clone(),
            size,
            max_terminals: *max_terminals,
            end_attached: *end_attached,
            reply,
        };
        let (junction, api) = (self.junction(place), self.api(place));
        if let Handed::Unproven(opener) = self.hubs.hand_over(&junction, &api, opener, false)? {
            api.list().await?;
            self.hubs.hand_over(&junction, &api, opener, true)?;
        }
        match answer.await {
            Ok(opened) => Ok(Box::new(opened?)),
            Err(_) => Err(Failure::new(Code::Internal, "The connection to the workspace was given up.")
                .detail("the hub's task is gone")),
        }
    }

    fn api(&self, place: &Place) -> Api {
        Api::new(Arc::clone(&self.service), self.access(place.workspace.as_ref()), place.runtime.as_deref())
    }

    fn junction(&self, place: &Place) -> Junction {
        Junction::new(&self.name, &self.service.settings, place)
    }

    /// The token of a workspace, kept for all of its runtimes.
    fn access(&self, workspace: Option<&String>) -> Arc<Access> {
        let mut kept = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(access) = kept.get(&workspace.cloned()) {
            return Arc::clone(access);
        }
        if kept.len() >= MAX_TOKENS {
            kept.retain(|_, access| Arc::strong_count(access) > 1);
        }
        let Oblien { workspace: configured, token, .. } = &self.service.settings;
        // A configured token belongs to the configured workspace.
        let token = token.as_ref().filter(|_| workspace == configured.as_ref());
        let access = Arc::new(Access::new(workspace.cloned(), token));
        kept.insert(workspace.cloned(), Arc::clone(&access));
        access
    }
}

impl Provider for OblienProvider {
    fn target(&self, target: &Value) -> Result<Target, String> {
        let settings = &self.service.settings;
        let reach = Reach { workspace: settings.workspace.as_deref(), any: settings.client.is_some() };
        OblienTarget::read(target, reach).map(Target::new)
    }

    fn workspace(&self, target: &Target) -> Option<Workspace> {
        let target = target.get::<OblienTarget>()?;
        // Each runtime has room of its own.
        let name = self.junction(&target.place).to_string();
        Some(Workspace { name, max_sessions: self.service.settings.max_terminals })
    }

    fn terminals<'a>(&'a self, target: &'a Target) -> Option<BoxFuture<'a, Result<Vec<ListedTerminal>, Failure>>> {
        let place = &target.get::<OblienTarget>()?.place;
        Some(Box::pin(async move {
            let list = self.api(place).list().await?;
            let listed = list.terminals.into_iter().map(|terminal| ListedTerminal {
                id: terminal.id.to_string(),
                running: terminal.exit.is_none(),
                exit_code: terminal.exit.and_then(|exit| exit.code),
                created_at: terminal.born,
            });
            Ok(listed.collect())
        }))
    }

    fn open<'a>(&'a self, target: &'a Target, size: Size) -> BoxFuture<'a, Result<Box<dyn Upstream>, Failure>> {
        Box::pin(async move {
            let target = target
                .get::<OblienTarget>()
                .ok_or_else(|| Failure::new(Code::Internal, "The terminal's target belongs to another provider."))?;
            self.open_terminal(target, size).await
        })
    }
}

impl std::fmt::Debug for OblienProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OblienProvider")
            .field("name", &self.name)
            .field("settings", &self.service.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
