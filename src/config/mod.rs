//! The configuration: where it comes from, what it may hold, and what is wrong with it.
//!
//! The file is parsed as TOML for positions, environment variables are laid over it, and the tree that results is read
//! key by key into [`Config`]. Every mistake is told at once, with its place and with what would be right.
//!
//! # Variables
//!
//! `POLYTTY__SECTION__KEY` sets `section.key`, for instance `POLYTTY__SESSIONS__IDLE_TIMEOUT=1h`. An entry of a list is
//! reached by its name, in upper case and with `_` for every character that is neither letter nor digit:
//! `POLYTTY__PROVIDERS__PAI_HANGZHOU__REGION`. `POLYTTY__KEYS` and `POLYTTY__PROVIDERS` replace a whole list by a TOML
//! array of tables.
//!
//! The value of a variable is text until the type of its key reads it: `0123456` is a number for a limit and a string
//! for a secret. A list is written as a TOML array, or as strings with commas between them. A secret can come from
//! elsewhere here too: `…__ACCESS_KEY_SECRET__FILE=/run/secrets/pai`.

pub mod checked;
pub mod quantity;
pub mod secret;
pub mod units;

mod check;
mod cluster;
mod endpoint;
mod environment;
mod error;
mod field;
mod file;
mod identities;
mod layers;
mod nearest;
mod providers;
mod raw;
mod section;
mod store;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use checked::*;
pub use cluster::Cluster;
pub use endpoint::Endpoint;
pub use environment::Environment;
pub(crate) use identities::sha256;

pub use error::{Errors, Mistake, Place, Problem};
pub use secret::Secret;
pub use store::{RedisServer, TicketStore};
pub use units::{Authority, BaseUrl, Origin};

use field::read_text;
use section::{Context, NamedFile, Section};

/// Where the file is looked for when nothing names one, in this order.
const DEFAULT_FILES: [&str; 2] = ["proxy.toml", "/etc/polytty/proxy.toml"];
/// The largest configuration file, in bytes. A larger one is an error.
const FILE_MAX: u64 = 1024 * 1024;

/// A configuration without mistakes.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// The file it was read from; `None` if environment variables gave it all.
    pub file: Option<PathBuf>,
    named: Vec<NamedFile>,
}

/// Reads the configuration: the file `explicit` (from `--config`), or the one that `POLYTTY_CONFIG` names, or
/// `./proxy.toml`, or `/etc/polytty/proxy.toml`, and variables of `environment` over it.
///
/// An empty `POLYTTY_CONFIG` counts as none. A file that was named must exist; without any file, variables must give all
/// that is required. Relative paths in it start at the file's directory. Besides the file, only the files of secrets
/// are read; nothing else is touched.
///
/// # Errors
///
/// All mistakes at once. A file whose TOML is broken in structure tells that alone.
pub fn load(explicit: Option<&Path>, environment: &Environment) -> Result<Loaded, Errors> {
    load_with(explicit, environment, &DEFAULT_FILES.map(Path::new))
}

impl Loaded {
    /// Finds out whether every file that the configuration names, but does not hold, can be opened: certificates and
    /// keys. Their content is not looked at.
    ///
    /// # Errors
    ///
    /// A mistake for every file that cannot be opened, at the place that names it.
    pub fn verify_files(&self) -> Result<(), Errors> {
        let unreadable = |named: &NamedFile| {
            let problem = Problem::Unreadable { file: named.path.clone(), error: open(&named.path).err()?.to_string() };
            Some(Mistake { place: named.place.clone(), key: named.key.clone(), problem })
        };
        let mistakes: Vec<_> = self.named.iter().filter_map(unreadable).collect();
        if mistakes.is_empty() { Ok(()) } else { Err(Errors::new(mistakes)) }
    }
}

fn load_with(explicit: Option<&Path>, environment: &Environment, defaults: &[&Path]) -> Result<Loaded, Errors> {
    let mut mistakes = Vec::new();
    let found = find(explicit, environment, defaults)?;
    let file = found.as_ref().map(|(path, text)| (path, text.as_str()));
    let tree = layers::merge(file, environment, &mut mistakes);
    let context = Context::new(file.map(|(path, _)| path.clone()), environment, mistakes);
    let config = tree.map(|tree| Section::root(&context, &tree, check::config));
    let (mut mistakes, named) = context.finish();
    match config {
        Some(Ok(config)) if mistakes.is_empty() => {
            return Ok(Loaded { config, file: found.map(|(path, _)| path.to_path_buf()), named });
        }
        _ => {}
    }
    // No file is no mistake where the environment suffices.
    if found.is_none() {
        let looked_for = defaults.iter().map(|path| path.display().to_string()).collect();
        mistakes.push(Mistake { place: Place::Nowhere, key: String::new(), problem: Problem::NoFile { looked_for } });
    }
    Err(Errors::new(mistakes))
}

/// The file and its text; `None` where no file is named and none of the defaults exists.
fn find(
    explicit: Option<&Path>,
    environment: &Environment,
    defaults: &[&Path],
) -> Result<Option<(Arc<Path>, String)>, Errors> {
    let variable = environment.get(environment::FILE).filter(|path| !path.is_empty());
    let (named, place) = match explicit {
        Some(path) => (Some(path), Place::Nowhere),
        None => (variable.map(Path::new), Place::Variable(environment::FILE.to_owned())),
    };
    let unreadable = |place: &Place, path: &Path, error: io::Error| {
        let problem = Problem::Unreadable { file: path.to_path_buf(), error: error.to_string() };
        Errors::from(Mistake { place: place.clone(), key: String::new(), problem })
    };
    if let Some(path) = named {
        return match read_text(path, FILE_MAX) {
            Ok(text) => Ok(Some((path.into(), text))),
            Err(error) => Err(unreadable(&place, path, error)),
        };
    }
    for path in defaults {
        match read_text(path, FILE_MAX) {
            Ok(text) => return Ok(Some(((*path).into(), text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&Place::Nowhere, path, error)),
        }
    }
    Ok(None)
}

fn open(path: &Path) -> io::Result<()> {
    match File::open(path)?.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(()),
    }
}
