//! Stories of whole files and environments.

mod decthings;
mod document;
mod layering;
mod mistakes;
mod oblien;
mod recording;
mod secrets;
mod store;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;

/// What every file must have.
const REQUIRED: &str = "[server]\npublic_url = \"https://t.example\"\n[tls]\ncert = \"c.pem\"\nkey = \"k.pem\"\n";
/// What a provider of kind pai-dlc must have, but for its secret.
const PAI: &str = "[[providers]]\nname = \"pai\"\nkind = \"pai-dlc\"\nregion = \"cn-x\"\naccess_key_id = \"id\"\n";

/// A directory with a `proxy.toml`, gone at the end of the test.
struct Home(TempDir);

impl Home {
    fn new(text: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.write("proxy.toml", text);
        home
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self, variables: &[(&str, &str)]) -> Result<Loaded, Errors> {
        load(Some(&self.path("proxy.toml")), &environment(variables))
    }

    /// The mistakes, one a line, without the directory.
    fn mistakes(&self, variables: &[(&str, &str)]) -> Vec<String> {
        let directory = format!("{}/", self.0.path().display());
        let errors = self.load(variables).expect_err("the configuration is wrong");
        errors.to_string().replace(&directory, "").lines().map(str::to_owned).collect()
    }
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().copied().collect()
}

/// Loads a file that has what is required, then `text`.
fn config(text: &str, variables: &[(&str, &str)]) -> Config {
    Home::new(&format!("{REQUIRED}{text}")).load(variables).unwrap_or_else(|errors| panic!("{errors}")).config
}

/// The mistakes of a file that has what is required in lines 1 to 5, then `text`.
fn mistakes(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    Home::new(&format!("{REQUIRED}{text}")).mistakes(variables)
}
