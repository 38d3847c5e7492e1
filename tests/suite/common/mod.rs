//! A running polytty with simulated providers, and clients for it: real TLS, real sockets, real shells, all on
//! loopback ports that the kernel picks.

mod client;
mod demo;
mod relay;
mod served;
mod site;
mod terminal;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use polytty::app::{App, Listeners};
use polytty::config::{self, Environment};
use polytty_simulator::pai_dlc::{self, PaiDlc};
use polytty_simulator::{Kind, Simulator, Start};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) use client::{Client, Closed, Connect};
pub(crate) use demo::Demo;
pub(crate) use relay::Relay;
pub(crate) use served::Served;
pub(crate) use site::{Answer, Link, Shown, Site, metrics as metrics_of};
pub(crate) use terminal::Terminal;

/// How long anything may take before a test says that it does not happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What runs in the terminals.
pub(crate) const SHELL: [&str; 3] = ["/bin/bash", "--norc", "--noprofile"];

/// A port that the kernel picks.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Every provider of a [`World`].
pub(crate) const PROVIDERS: [&str; 6] = ["local", "pai", "eci", "dockhand", "oblien", "decthings"];

/// A proxy with a provider of every kind: `local`, `pai`, whose simulator can be asked for more, and the other
/// simulated ones by the names of their kinds.
pub(crate) struct World {
    pub(crate) simulator: PaiDlc,
    pub(crate) others: Vec<(Kind, Box<dyn Simulator>)>,
    running: Proxy,
}

/// A proxy alone.
pub(crate) struct Proxy {
    pub(crate) admin: SocketAddr,
    /// Where the proxy listens, which is where clients look for it unless `server.public_url` says otherwise.
    pub(crate) proxy: SocketAddr,
    site: Site,
    app: App,
    folder: TempDir,
}

impl Deref for World {
    type Target = Proxy;

    fn deref(&self) -> &Proxy {
        &self.running
    }
}

impl Deref for Proxy {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A proxy whose configuration was changed before it started.
    pub(crate) async fn with(change: impl FnOnce(&mut Value)) -> Self {
        // A shell without anybody's profile: what it prints is known.
        let shell = SHELL.map(str::to_owned).into();
        let simulator = pai_dlc::start(pai_dlc::Options { shell, ..pai_dlc::Options::default() }).await.unwrap();
        Self::around(simulator, change).await
    }

    /// A proxy in front of a simulator that runs already.
    pub(crate) async fn around(simulator: PaiDlc, change: impl FnOnce(&mut Value)) -> Self {
        let mut others = Vec::new();
        let (mut providers, mut targets) = (Vec::new(), Vec::new());
        let mut add = |name: &str, mut line: Value| {
            line["provider"]["name"] = json!(name);
            providers.push(line["provider"].take());
            targets.push((name.to_owned(), line["target"].take()));
        };
        add("pai", simulator.ready_line());
        for kind in [Kind::Eci, Kind::Dockhand, Kind::Oblien, Kind::Decthings] {
            let other = simulate(kind).await;
            add(kind.as_str(), other.ready_line());
            others.push((kind, other));
        }
        providers.push(json!({ "name": "local", "kind": "local", "commands": [SHELL, ["/bin/sh", "-c", "exit 7"]] }));
        let running = Proxy::start(providers, targets, change);
        Self { simulator, others, running }
    }

    /// The simulator behind a provider that is not `pai`.
    pub(crate) fn other(&self, kind: Kind) -> &dyn Simulator {
        &*self.others.iter().find(|(other, _)| *other == kind).unwrap().1
    }

    /// Takes the proxy down as SIGTERM does, in the background.
    pub(crate) fn drain(self) -> (tokio::task::JoinHandle<bool>, Vec<Box<dyn Simulator>>) {
        let mut simulators: Vec<Box<dyn Simulator>> = vec![Box::new(self.simulator)];
        simulators.extend(self.others.into_iter().map(|(_, other)| other));
        (tokio::spawn(self.running.drain()), simulators)
    }
}

impl Proxy {
    /// A proxy with these `[[providers]]`, and what a session is opened with at each, by name.
    pub(crate) fn start(providers: Vec<Value>, targets: Vec<(String, Value)>, change: impl FnOnce(&mut Value)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("cert.pem"), cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
        let listeners = Listeners::bind(ANY, Some(ANY), None).unwrap();
        let address = listeners.tls.local_addr().unwrap();
        let admin = listeners.admin.as_ref().unwrap().local_addr().unwrap();
        let (key, hash) = polytty::auth::new_key().unwrap();
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut configuration = json!({
            "server": { "listen": address, "public_url": format!("https://{address}"), "admin_listen": admin },
            "tls": { "cert": "cert.pem", "key": "key.pem" },
            "keys": [{ "name": "test", "hash": format!("sha256:{hash}") }],
            "limits": roomy(),
            "providers": providers,
        });
        change(&mut configuration);
        let file = folder.path().join("proxy.toml");
        std::fs::write(&file, toml::to_string(&configuration).unwrap()).unwrap();
        let loaded = config::load(Some(&file), &Environment::default()).unwrap_or_else(|why| panic!("{why}"));
        let app = App::start(loaded.config, listeners, None).unwrap();
        let reached_at = configuration["server"]["public_url"].as_str().and_then(|url| url.strip_prefix("https://"));
        let site = Site::new(reached_at.unwrap().parse().unwrap(), key, targets, cert.der().clone());
        Self { admin, proxy: address, site, app, folder }
    }

    /// A file with the certificate that clients have to trust.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// The directory of the configuration.
    pub(crate) fn home(&self) -> &Path {
        self.folder.path()
    }

    /// What the admin listener says under `/metrics`.
    pub(crate) async fn metrics(&self) -> String {
        metrics_of(self.admin).await
    }

    /// Takes it down as SIGTERM does; whether everybody left in time.
    pub(crate) async fn drain(self) -> bool {
        self.app.drain().await
    }
}

/// Limits by rate and address that no story runs into which is not about them: all of it comes from one address.
pub(crate) fn roomy() -> Value {
    let mut limits = json!({ "connections_per_address": 100_000, "failures": 100_000, "sessions_per_subject": 10_000 });
    for of in ["handshake", "request", "mint", "subject_mint", "open"] {
        limits[format!("{of}s_per_second")] = json!(10_000);
        limits[format!("{of}_burst")] = json!(100_000);
    }
    limits
}

/// A simulator of some kind, with [`SHELL`] behind it.
pub(crate) async fn simulate(kind: Kind) -> Box<dyn Simulator> {
    let start =
        Start { listen: ANY, allow_remote: false, shell: Some(SHELL.map(str::to_owned).into()), modes: Vec::new() };
    kind.start(start).await.unwrap()
}

/// Asks again until there is an answer; fails when there is none for too long.
pub(crate) async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("it does not happen")
}
