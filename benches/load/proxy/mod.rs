//! What is measured: polytty, and others that look at nothing, each with the same certificate in front of the same source.

mod configs;
mod mint;

use std::io;
use std::path::{Path, PathBuf};

use http::Uri;
use serde_json::json;
use tokio_rustls::TlsConnector;

use super::generator::{Dialect, Door, Exchange};
use super::process::{self, Running, Source, free_port, until_listening};
use super::source::PROMPT;
use super::wire::{STDOUT, Wire};
pub(crate) use mint::Mint;

/// The proxies' processor.
pub(crate) const PROCESSOR: usize = 0;

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Polytty,
    Haproxy,
    Nginx,
    /// None: the generator at the source's own TLS, so that it can be seen what these two take by themselves.
    Direct,
}

impl Which {
    /// Those that polytty can be compared with.
    pub(crate) const PEERS: [Self; 2] = [Self::Haproxy, Self::Nginx];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Polytty => "polytty",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Direct => "direct",
        }
    }

    /// Where it is, if it is installed.
    pub(crate) fn program(self) -> Option<PathBuf> {
        let candidates: &[&str] = match self {
            Self::Polytty => return Some(PathBuf::from(env!("CARGO_BIN_EXE_polytty"))),
            Self::Haproxy => &["/usr/sbin/haproxy", "/usr/bin/haproxy"],
            Self::Nginx => &["/usr/sbin/nginx", "/usr/bin/nginx"],
            Self::Direct => &[],
        };
        candidates.iter().map(PathBuf::from).find(|path| path.exists())
    }

    /// The first line that it says of its version.
    pub(crate) fn version(self) -> String {
        let Some(program) = self.program() else { return "not installed".to_owned() };
        let argument = if self == Self::Polytty { "version" } else { "-v" };
        let output = std::process::Command::new(program).arg(argument).output();
        let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
    }
}

/// How a proxy is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// polytty's `sessions.scrollback`; the others have none.
    pub(crate) scrollback: &'static str,
    /// Whether the source is reached over TLS.
    pub(crate) tls_upstream: bool,
}

impl Default for Setting {
    /// polytty's default, and no TLS behind the proxy.
    fn default() -> Self {
        Self { scrollback: "256KiB", tls_upstream: false }
    }
}

/// One way from a source to a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) name: &'static str,
    pub(crate) wire: Wire,
    pub(crate) dialect: Dialect,
}

/// A running proxy, or none.
pub(crate) struct Proxy {
    pub(crate) which: Which,
    setting: Setting,
    process: Option<Running>,
    /// Where clients connect to.
    address: String,
    mint: Option<Mint>,
    /// Where it logs.
    folder: PathBuf,
}

impl Proxy {
    /// Starts it on one processor in front of a source. `home` has the certificate, and gets the logs.
    pub(crate) fn start(
        which: Which,
        home: &Path,
        source: &Source,
        tls: TlsConnector,
        setting: Setting,
    ) -> io::Result<Self> {
        if which == Which::Direct {
            return Ok(Self {
                which,
                setting,
                process: None,
                address: source.tls.clone(),
                mint: None,
                folder: home.to_owned(),
            });
        }
        let port = free_port()?;
        let address = format!("127.0.0.1:{port}");
        let folder = home.join(format!("{}-{port}", which.name()));
        std::fs::create_dir(&folder)?;
        let program = which.program().ok_or(io::ErrorKind::NotFound)?;
        let (log, file) = (folder.join("log"), folder.join("config"));
        let mut mint = None;
        let text = match which {
            Which::Polytty => {
                let (key, hash) = polytty::auth::new_key().map_err(|_| io::Error::other("no randomness"))?;
                let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
                let uri: Uri = format!("https://{address}/v1/sessions").parse().map_err(io::Error::other)?;
                mint = Some(Mint::new(uri, key, tls));
                toml::to_string(&configs::polytty(port, source, &hash, &setting, home)).map_err(io::Error::other)?
            }
            Which::Haproxy => configs::haproxy(port, source, &setting, home),
            _ => configs::nginx(port, source, &setting, home, &folder),
        };
        std::fs::write(&file, text)?;
        let file = file.display().to_string();
        let arguments: &[&str] = match which {
            Which::Polytty => &["serve", "--config", &file],
            Which::Haproxy => &["-f", &file],
            _ => &["-c", &file],
        };
        let mut process = Running::start(PROCESSOR, &program, arguments, &log)?;
        until_listening(&mut process, port, &log)?;
        Ok(Self { which, setting, process: Some(process), address, mint, folder })
    }

    /// What it has used of a processor so far, in seconds.
    pub(crate) fn cpu(&self) -> f64 {
        self.process.as_ref().map_or(0.0, |process| process::cpu(process.id()))
    }

    /// Its resident memory, in KiB.
    pub(crate) fn resident(&self) -> f64 {
        self.process.as_ref().map_or(0.0, |process| process::resident(process.id()))
    }

    /// What it has logged last, of what went wrong.
    pub(crate) fn last_words(&self) -> String {
        let logs = ["error.log", "log"].iter().filter_map(|log| std::fs::read_to_string(self.folder.join(log)).ok());
        logs.filter_map(|log| log.lines().last().map(str::to_owned)).next().unwrap_or_default()
    }

    /// Where links to it are minted; polytty's alone.
    pub(crate) fn mint(&self) -> Option<&Mint> {
        self.mint.as_ref()
    }

    /// A way to what the source does under this name. Where polytty translates, the others carry what the client is to be
    /// given.
    pub(crate) async fn door(&self, pair: &Pair, what: &str) -> io::Result<Door> {
        let exchange = Exchange::X25519;
        let Some(mint) = &self.mint else {
            let (wire, dialect) = match pair.wire {
                Wire::Operation | Wire::Dockhand => (Wire::Operation, Dialect::OpaqueOperation),
                _ => (Wire::Raw, Dialect::Opaque),
            };
            let url = format!("wss://{}/w/{}/{what}", self.address, wire.name());
            return Ok(Door { url, dialect, exchange, greeting: 0 });
        };
        let tls = if self.setting.tls_upstream { "-tls" } else { "" };
        let (provider, target) = match pair.wire {
            Wire::Operation => (format!("operation{tls}"), json!({ "job_id": what, "pod_id": "pod" })),
            Wire::Dockhand => ("dockhand".to_owned(), json!({ "container": what, "environment": 1 })),
            STDOUT => (format!("channel{tls}"), json!({ "container_group_id": what, "container_name": "c" })),
            Wire::Decthings(_) => {
                let location = json!({ "type": "persistentLauncher", "persistentLauncherId": "launcher" });
                ("decthings".to_owned(), json!({ "model_id": what, "execution_location": location }))
            }
            _ => ("oblien".to_owned(), json!({ "command": [what] })),
        };
        let url = mint.link(&json!({ "provider": provider, "target": target })).await?;
        let greeting = if pair.wire == Wire::Dockhand { PROMPT.len() } else { 0 };
        Ok(Door { url, dialect: pair.dialect, exchange, greeting })
    }
}
