//! What the simulated account has: models and persistent launchers.

use anyhow::Result;
use serde_json::{Value, json};

use crate::random;

/// A persistent launcher: a machine that stays, with the sessions that were launched on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Launcher {
    /// Its id.
    pub id: String,
    /// Its `LauncherSpec`, as the API shows it.
    pub spec: Value,
}

/// One account. It does not change.
#[derive(Debug)]
pub(super) struct World {
    pub(super) models: Vec<String>,
    pub(super) launchers: Vec<Launcher>,
}

impl World {
    /// Three models and two launchers, with new ids.
    pub(super) fn random() -> Result<Self> {
        let models = (0..3).map(|_| random::uuid()).collect::<Result<_>>()?;
        let plain = json!({"cpus": 1, "memoryMebibytes": 2_048, "diskMebibytes": 10_240});
        let gpu = json!({
            "cpus": 4.5,
            "memoryMebibytes": 16_384,
            "diskMebibytes": 51_200,
            "swapMebibytes": 1_024,
            "gpus": {"model": "L4", "count": 1},
        });
        let launchers =
            [plain, gpu].into_iter().map(|spec| Ok(Launcher { id: random::uuid()?, spec })).collect::<Result<_>>()?;
        Ok(Self { models, launchers })
    }

    pub(super) fn has_model(&self, id: &str) -> bool {
        self.models.iter().any(|model| model == id)
    }

    pub(super) fn launcher(&self, id: &str) -> Option<&Launcher> {
        self.launchers.iter().find(|launcher| launcher.id == id)
    }
}
