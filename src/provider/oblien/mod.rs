//! Oblien: terminals in workspaces, all of one workspace's over one connection.
//!
//! The control plane hands out a token per workspace; with it, the data plane makes, lists and ends terminals by HTTP,
//! and carries all of their bytes over one WebSocket.

mod access;
mod api;
mod hub;
mod redial;
mod refusal;
mod strangers;
mod target;
mod terminal;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use polytty_dialect::{Code, Size};
use serde_json::Value;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;

use super::dial::Dialer;
use super::{BoxFuture, Failure, Provider, Target, Upstream, Workspace};
use crate::config::Oblien;
use access::{Access, Service};
use api::Api;
use hub::{Hub, Opener};
use target::{OblienTarget, Place, Reach};

pub(crate) use target::is_workspace;

/// Openers that may wait for a hub's task to look at them. A further one is sent away.
const MAX_OPENERS: usize = 64;

/// Workspaces whose token is kept. Of those that nobody uses, the kept ones go when there are more.
const MAX_TOKENS: usize = 256;

/// The provider `kind = "oblien"`.
pub struct OblienProvider {
    name: String,
    service: Arc<Service>,
    hubs: Arc<Hubs>,
    access: Mutex<HashMap<Option<String>, Arc<Access>>>,
}

/// The hubs at work, by what they are the one connection of. There are never more than sessions, and those that linger.
#[derive(Default)]
pub(super) struct Hubs(Mutex<HashMap<Place, mpsc::Sender<Opener>>>);

impl OblienProvider {
    /// A provider that dials by `dialer`. Touches no network.
    pub fn new(name: String, settings: Oblien, dialer: Dialer) -> Self {
        let service = Arc::new(Service { settings, dialer });
        Self { name, service, hubs: Arc::default(), access: Mutex::default() }
    }

    async fn open_terminal(&self, target: &OblienTarget, size: Size) -> Result<Box<dyn Upstream>, Failure> {
        let (reply, answer) = oneshot::channel();
        self.hand_over(&target.place, Opener { what: target.what.clone(), size, reply })?;
        match answer.await {
            Ok(opened) => Ok(Box::new(opened?)),
            Err(_) => Err(Failure::new(Code::Internal, "The connection to the workspace was given up.")
                .detail("the hub's task is gone")),
        }
    }

    /// Gives somebody to the hub of their place, a new one where there is none.
    fn hand_over(&self, place: &Place, opener: Opener) -> Result<(), Failure> {
        let mut hubs = self.hubs.lock();
        let opener = match hubs.get(place) {
            None => opener,
            Some(hub) => match hub.try_send(opener) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(_)) => {
                    let message = "Too many terminals of this workspace are being opened at once.";
                    return Err(Failure::new(Code::RateLimited, message));
                }
                // Its task was cut off in the middle.
                Err(TrySendError::Closed(opener)) => opener,
            },
        };
        let (calls, commands) = mpsc::channel(MAX_OPENERS);
        // There is room for one.
        let _ = calls.try_send(opener);
        hubs.insert(place.clone(), calls);
        drop(hubs);
        let api = Api::new(Arc::clone(&self.service), self.access(place.workspace.as_ref()), place.runtime.as_deref());
        tokio::spawn(Hub::new(place.clone(), Arc::clone(&self.hubs), api, commands).run());
        Ok(())
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

impl Hubs {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Place, mpsc::Sender<Opener>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a hub out if nobody has called it meanwhile.
    fn leave(&self, place: &Place, is_uncalled: impl FnOnce() -> bool) -> bool {
        let mut hubs = self.lock();
        let may_leave = is_uncalled();
        if may_leave {
            hubs.remove(place);
        }
        may_leave
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
        let Place { workspace, runtime } = &target.place;
        // A token alone leads to one workspace, whatever that is called; and each runtime has room of its own.
        let part = |name: &Option<String>| name.as_deref().unwrap_or_default().to_owned();
        let name = format!("{}/{}", part(workspace), part(runtime));
        Some(Workspace { name, max_sessions: self.service.settings.max_terminals })
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
