//! The hubs at work, which all provider entries share.
//!
//! A workspace keeps one connection, whichever entry of the configuration asks for it: two of their own would take it from
//! each other for ever. So a hub belongs to a gateway, a workspace and a runtime, and an entry that did not make it shows
//! first that its own credentials open that workspace.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polytty_dialect::Code;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::access::Service;
use super::api::Api;
use super::hub::{Hub, Opener};
use super::target::Place;
use crate::config::Oblien;
use crate::provider::Failure;

/// Openers that may wait for a hub's task to look at them. A further one is sent away.
const MAX_OPENERS: usize = 64;

/// The hubs, by what they are the one connection of. There are never more than sessions, and those that linger.
#[derive(Default)]
pub struct OblienHubs(Mutex<HashMap<Junction, Desk>>);

/// What has one connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Junction {
    gateway: String,
    /// The entry, where its token alone says which workspace it is: which, nobody here knows.
    entry: Option<String>,
    place: Place,
}

/// Where a hub takes openers.
pub(super) struct Desk {
    calls: mpsc::Sender<Opener>,
    /// Whose credentials the hub uses.
    service: Arc<Service>,
}

/// What became of somebody who wants a terminal.
pub(super) enum Handed {
    /// The hub has them.
    Over,
    /// The hub is another entry's, and this one has yet to show that it may enter.
    Unproven(Opener),
}

impl Junction {
    /// The junction of a place, as the entry `name` reaches it.
    pub(super) fn new(name: &str, settings: &Oblien, place: &Place) -> Self {
        let gateway = settings.gateway_url.to_string().to_ascii_lowercase();
        let entry = place.workspace.is_none().then(|| name.to_owned());
        Self { gateway, entry, place: place.clone() }
    }
}

impl std::fmt::Display for Junction {
    /// A name that no other junction has. Neither an entry's name nor a workspace's has a space or a slash in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Place { workspace, runtime } = &self.place;
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        match &self.entry {
            None => write!(f, "oblien {} {}/{}", self.gateway, part(workspace), part(runtime)),
            Some(entry) => write!(f, "oblien {} by {entry}/{}", self.gateway, part(runtime)),
        }
    }
}

impl OblienHubs {
    /// Gives somebody to the hub of their junction, a new one with `api` where there is none. `is_proven` says that the
    /// data plane has just answered `api` as it answers whoever may enter.
    ///
    /// # Errors
    ///
    /// The hub has as many waiting as it takes.
    pub(super) fn hand_over(
        self: &Arc<Self>,
        junction: &Junction,
        api: &Api,
        opener: Opener,
        is_proven: bool,
    ) -> Result<Handed, Failure> {
        let mut hubs = self.lock();
        let opener = match hubs.get(junction) {
            None => opener,
            Some(desk) if !is_proven && !Arc::ptr_eq(&desk.service, api.service()) => {
                return Ok(Handed::Unproven(opener));
            }
            Some(desk) => match desk.calls.try_send(opener) {
                Ok(()) => return Ok(Handed::Over),
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
        hubs.insert(junction.clone(), Desk { calls, service: Arc::clone(api.service()) });
        drop(hubs);
        tokio::spawn(Hub::new(junction.clone(), Arc::clone(self), api.clone(), commands).run());
        Ok(Handed::Over)
    }

    /// Takes a hub out if nobody has called it meanwhile.
    pub(super) fn leave(&self, junction: &Junction, is_uncalled: impl FnOnce() -> bool) -> bool {
        let mut hubs = self.lock();
        let may_leave = is_uncalled();
        if may_leave {
            hubs.remove(junction);
        }
        may_leave
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<Junction, Desk>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for OblienHubs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OblienHubs")
    }
}
