//! The workspaces that exist.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::runtime::Runtime;
use crate::random;

/// The name of the runtime that paths do not name.
pub(super) const DEFAULT_TARGET: &str = "default";
/// The longest name of a runtime, in bytes.
const MAX_TARGET: usize = 64;

/// Every workspace. The first one is ready for a terminal; the others show what can be in the way.
#[derive(Debug)]
pub(super) struct World {
    pub(super) namespace: String,
    pub(super) ready: Arc<Workspace>,
    /// It runs, and its runtime server has not been enabled.
    pub(super) not_enabled: Arc<Workspace>,
    /// It does not run.
    pub(super) stopped: Arc<Workspace>,
}

/// A workspace: a virtual machine, with a runtime server that can be switched on.
#[derive(Debug)]
pub(super) struct Workspace {
    pub(super) id: String,
    pub(super) running: bool,
    /// The default runtime first. No two have the same name.
    runtimes: Vec<Arc<Runtime>>,
    /// One for each terminal that may still be created, in all runtimes together.
    places: Arc<Semaphore>,
    access: Mutex<Access>,
}

/// Who may reach the runtime server.
#[derive(Clone, Debug)]
struct Access {
    enabled: bool,
    /// Tokens of an earlier generation are refused.
    generation: u64,
    raw_token: String,
}

impl World {
    /// # Errors
    /// The operating system has no randomness.
    pub(super) fn random(targets: &[String], max_terminals: usize, reuse_ids: bool) -> Result<Self> {
        let workspace = |running, enabled| {
            let runtime = |target: &str| Arc::new(Runtime::new(target, reuse_ids, running && enabled));
            let names = std::iter::once(DEFAULT_TARGET).chain(targets.iter().map(String::as_str));
            let mut runtimes: Vec<Arc<Runtime>> = Vec::new();
            for name in names {
                if runtimes.iter().all(|runtime| runtime.target != name) {
                    runtimes.push(runtime(name));
                }
            }
            let access = Access { enabled, generation: 0, raw_token: raw_token()? };
            let workspace = Workspace {
                id: format!("ws_{}", random::hex(&random::bytes::<8>()?)),
                running,
                runtimes,
                places: Arc::new(Semaphore::new(max_terminals)),
                access: Mutex::new(access),
            };
            anyhow::Ok(Arc::new(workspace))
        };
        Ok(Self {
            namespace: format!("ns-{}", random::word(8)?),
            ready: workspace(true, true)?,
            not_enabled: workspace(true, false)?,
            stopped: workspace(false, false)?,
        })
    }

    pub(super) fn all(&self) -> [&Arc<Workspace>; 3] {
        [&self.ready, &self.not_enabled, &self.stopped]
    }

    pub(super) fn workspace(&self, id: &str) -> Option<&Arc<Workspace>> {
        self.all().into_iter().find(|workspace| workspace.id == id)
    }

    pub(super) fn runtimes(&self) -> impl Iterator<Item = &Arc<Runtime>> {
        self.all().into_iter().flat_map(|workspace| &workspace.runtimes)
    }
}

impl Workspace {
    pub(super) fn runtime(&self, target: &str) -> Option<&Arc<Runtime>> {
        self.runtimes.iter().find(|runtime| runtime.target == target)
    }

    /// A place for one more terminal, which is held until the terminal is deleted.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.access().enabled
    }

    /// Switches the runtime server on; it may be on already.
    pub(super) fn enable(&self) {
        self.access().enabled = true;
        self.runtimes.iter().for_each(|runtime| runtime.open());
    }

    /// Switches the runtime server off: its terminals and connections end, and its raw token is no longer good.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub(super) fn disable(&self) -> Result<()> {
        let raw_token = raw_token()?;
        {
            let mut access = self.access();
            access.enabled = false;
            access.raw_token = raw_token;
        }
        self.runtimes.iter().for_each(|runtime| runtime.shut());
        Ok(())
    }

    /// Makes every token given out so far one that is refused.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub(super) fn revoke_tokens(&self) -> Result<()> {
        let raw_token = raw_token()?;
        let mut access = self.access();
        access.generation += 1;
        access.raw_token = raw_token;
        Ok(())
    }

    /// The generation of tokens that are good now.
    pub(super) fn generation(&self) -> u64 {
        self.access().generation
    }

    pub(super) fn raw_token(&self) -> String {
        self.access().raw_token.clone()
    }

    pub(super) fn status(&self) -> Value {
        json!({"success": true, "enabled": self.is_enabled(), "running": self.running && self.is_enabled()})
    }

    fn access(&self) -> MutexGuard<'_, Access> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a runtime can have this name: `^[a-z][a-z0-9_-]{0,63}$`.
pub(super) fn is_target(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= MAX_TARGET
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

/// 256 random bits in hexadecimal.
fn raw_token() -> Result<String> {
    Ok(random::hex(&random::bytes::<32>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_world_has_a_workspace_to_use_and_two_that_say_no() {
        let world = World::random(&["macos".to_owned(), "default".to_owned()], 10, false).unwrap();
        assert_eq!(world.ready.status(), json!({"success": true, "enabled": true, "running": true}));
        assert_eq!(world.not_enabled.status(), json!({"success": true, "enabled": false, "running": false}));
        assert!(!world.stopped.running);
        assert_eq!(world.ready.runtimes.len(), 2);
        assert!(world.ready.runtime("macos").is_some() && world.ready.runtime("windows").is_none());
        assert!(world.ready.id.starts_with("ws_") && world.workspace(&world.stopped.id).is_some());
    }

    #[test]
    fn tokens_can_be_revoked_and_the_server_switched() {
        let world = World::random(&[], 10, false).unwrap();
        let (generation, raw) = (world.ready.generation(), world.ready.raw_token());
        world.ready.revoke_tokens().unwrap();
        assert_ne!(world.ready.generation(), generation);
        assert_ne!(world.ready.raw_token(), raw);
        world.ready.disable().unwrap();
        assert!(!world.ready.is_enabled());
        world.ready.enable();
        assert!(world.ready.is_enabled());
    }

    #[test]
    fn names_of_runtimes_are_lower_case() {
        for good in ["a", "macos", "linux-2", "a_b", &"a".repeat(64)] {
            assert!(is_target(good), "{good}");
        }
        for bad in ["", "1a", "Mac", "-a", "a/b", "a.b", "é", &"a".repeat(65)] {
            assert!(!is_target(bad), "{bad}");
        }
    }
}
