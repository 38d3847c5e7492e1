//! `polytty key`

use clap::Subcommand;

use super::Failed;
use crate::auth::new_key;

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Make an API key: it is shown once; the configuration gets its hash
    New {
        /// A name for it, which logs and lists show
        #[arg(long, default_value = "key")]
        name: String,
        /// One line of JSON
        #[arg(long)]
        json: bool,
    },
}

impl Key {
    pub(super) fn run(self) -> Result<(), Failed> {
        let Self::New { name, json } = self;
        let (key, hash) = new_key()?;
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let hash = format!("sha256:{hash}");
        if json {
            println!("{}", serde_json::json!({ "name": name, "key": key, "hash": hash }));
        } else {
            let name = serde_json::Value::from(name);
            println!("{key}\n\nThis is the only time that the key is shown. Add its hash to the configuration:\n");
            println!("[[keys]]\nname = {name}\nhash = \"{hash}\"");
        }
        Ok(())
    }
}
