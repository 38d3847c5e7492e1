//! `polytty demo`: everything at once, on loopback, with nothing to install.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use polytty_simulator::{Kind, Simulator, Start};
use serde_json::{Value, json};

use super::certificate::Certificate;
use super::signals::Signals;
use super::{Failed, runtime};
use crate::app::{App, Listeners};
use crate::auth::{Door, new_key};
use crate::config::{self, BaseUrl, Config, Environment, Log, LogFormat, Origin};
use crate::edge::{DemoProvider, Pages};
use crate::observe::init_log;

/// Run the proxy with simulated providers and a page to try them.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8443", value_name = "ADDR")]
    listen: SocketAddr,
    /// Listen beyond loopback: whoever then gets hold of the printed address has a shell on this machine
    #[arg(long)]
    allow_remote: bool,
    /// What clients reach the demo by, where that is not the listening address
    #[arg(long, value_name = "URL")]
    public_url: Option<BaseUrl>,
    /// Another origin whose pages may attach to sessions; may be given more than once
    #[arg(long, value_name = "URL")]
    origin: Vec<Origin>,
    /// When a model of the screen is kept, as `sessions.screen`
    #[arg(long, default_value = "viewers", value_name = "WHEN", value_parser = ["off", "viewers", "always"])]
    screen: String,
    /// Print one line of JSON once ready, and nothing else
    #[arg(long)]
    json: bool,
    /// What to log, as in `log.filter`
    #[arg(long, default_value = "warn", value_name = "FILTER")]
    log: String,
}

impl Demo {
    pub(super) fn run(self) -> Result<(), Failed> {
        if !self.listen.ip().is_loopback() && !self.allow_remote {
            return Err(Failed::Usage(format!(
                "{} is not a loopback address, and the demo gives shells on this machine away; \
                 say --allow-remote if that is what you want",
                self.listen.ip()
            )));
        }
        if self.listen.ip().is_unspecified() && self.public_url.is_none() {
            return Err(Failed::Usage(format!(
                "{} is no address that a browser can open; say with --public-url how the demo is reached",
                self.listen.ip()
            )));
        }
        let log = Log { filter: self.log.clone(), format: LogFormat::Text };
        init_log(&log).map_err(Failed::Usage)?;
        runtime()?.block_on(self.serve())
    }

    async fn serve(self) -> Result<(), Failed> {
        let mut signals = Signals::with_hangup()?;
        let admin = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let listeners = Listeners::bind(self.listen, Some(admin), None).map_err(|error| {
            let hint = "give another address with --listen, such as --listen 127.0.0.1:0 for a free port";
            anyhow::Error::from(error).context(hint)
        })?;
        let address = listeners.tls.local_addr()?;
        let admin = listeners.admin.as_ref().map(|admin| admin.local_addr()).transpose()?;
        let public_url = match self.public_url {
            Some(url) => url,
            None => format!("https://{address}").parse().map_err(|why| anyhow::anyhow!("{address}: {why}"))?,
        };
        let certificate = Certificate::make(public_url.authority().host())?;
        let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned());
        let simulators = Simulated::start(&shell).await?;
        let (api_key, hash) = new_key()?;
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut providers: Vec<_> = simulators.iter().map(Simulated::entry).collect();
        providers.push(json!({ "name": "local", "kind": "local", "commands": [[shell]] }));
        let origins: Vec<_> = self.origin.iter().map(Origin::as_str).collect();
        let config = json!({
            "server": { "listen": address, "public_url": public_url.to_string(), "admin_listen": admin, "origins": origins },
            "tls": { "cert": certificate.chain(), "key": certificate.key() },
            // Beside the certificate, and gone with it. Demos are tried on small machines.
            "recording": { "directory": "recordings", "enabled": true, "max_total": "1GiB", "queue": "256KiB" },
            "keys": [{ "name": "demo", "hash": format!("sha256:{hash}") }],
            "sessions": { "screen": self.screen },
            "providers": providers,
        });
        let config = load(&certificate, &config)?;
        let listed = listed(&config, &simulators);
        let door = Arc::new(Door::new()?);
        let page = format!("{public_url}/#{}", door.secret());
        let spent = {
            let (public_url, json) = (public_url.clone(), self.json);
            move |next: &str| {
                if !json {
                    println!("  That address is used up now. The next browser gets in by\n  {public_url}/#{next}\n");
                }
            }
        };
        let pages = Pages::new(door, listed.clone(), &public_url, spent);
        let app = App::start(config, listeners, Some(pages))?;
        let admin = admin.map(|admin| format!("http://{admin}"));
        if self.json {
            let providers: Vec<_> =
                listed.iter().map(|p| json!({ "name": p.name, "kind": p.kind, "target": p.target })).collect();
            let ca = certificate.ca();
            println!(
                "{}",
                json!({
                    "url": public_url.to_string(), "page": page, "admin": admin, "api_key": api_key, "ca": ca,
                    "providers": providers,
                })
            );
        } else {
            print_welcome(&page, &public_url, admin.as_deref(), &api_key, &certificate.ca(), &listed);
        }
        std::io::stdout().flush()?;
        signals.recv().await;
        let folder = certificate.folder();
        signals.force_on_next(move || drop(std::fs::remove_dir_all(folder)));
        app.drain().await;
        for simulated in simulators {
            simulated.simulator.shutdown().await;
        }
        drop(certificate);
        Ok(())
    }
}

/// The demo is an ordinary configuration: it is written beside the certificate and read as any other.
fn load(certificate: &Certificate, config: &Value) -> anyhow::Result<Config> {
    let file = certificate.write("proxy.toml", &toml::to_string(config)?)?;
    let loaded = config::load(Some(&file), &Environment::default())?;
    Ok(loaded.config)
}

/// A simulated provider and what it is called here.
struct Simulated {
    name: &'static str,
    simulator: Box<dyn Simulator>,
}

impl Simulated {
    /// Starts one of every kind, each with `shell` behind it.
    async fn start(shell: &str) -> anyhow::Result<Vec<Self>> {
        let mut simulators = Vec::new();
        for kind in Kind::ALL {
            let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let start = Start { listen, allow_remote: false, shell: Some(vec![shell.to_owned()]), modes: Vec::new() };
            let simulator = kind.start(start).await.with_context(|| format!("the simulator of {kind}"))?;
            let name = if kind == Kind::PaiDlc { "pai" } else { kind.as_str() };
            simulators.push(Self { name, simulator });
        }
        Ok(simulators)
    }

    /// Its entry in the configuration.
    fn entry(&self) -> Value {
        let mut entry = self.simulator.ready_line()["provider"].take();
        entry["name"] = json!(self.name);
        entry
    }
}

/// The providers as the page lists them.
fn listed(config: &Config, simulators: &[Simulated]) -> Vec<DemoProvider> {
    let target = |name: &str| {
        let simulated = simulators.iter().find(|simulated| simulated.name == name);
        simulated.map_or_else(|| json!({}), |simulated| simulated.simulator.ready_line()["target"].take())
    };
    let provider = |provider: &config::Provider| DemoProvider {
        name: provider.name.clone(),
        kind: provider.kind.as_str(),
        title: provider.kind.title(),
        target: target(&provider.name),
    };
    config.providers.iter().map(provider).collect()
}

fn print_welcome(page: &str, url: &BaseUrl, admin: Option<&str>, api_key: &str, ca: &Path, providers: &[DemoProvider]) {
    println!("\n  polytty {} — demo\n", env!("CARGO_PKG_VERSION"));
    println!("  Open this address in a browser on this machine. It works once; a new one is printed then.");
    println!("  The certificate was made a moment ago, so the browser asks whether to trust it.\n");
    println!("  {page}\n");
    for provider in providers {
        println!("  {:<10} {}", provider.name, provider.title);
    }
    println!("\n  API      {url}/v1/sessions   (described at {url}/openapi.json)");
    if let Some(admin) = admin {
        println!("  Admin    {admin}/healthz, /readyz, /metrics, /version");
    }
    println!("  API key  {api_key}");
    println!("  CA       {}\n", ca.display());
    let target = match providers.first().map(|provider| &provider.target) {
        Some(Value::Object(fields)) => fields
            .iter()
            .map(|(name, value)| format!(" --target {name}={}", value.as_str().unwrap_or_default()))
            .collect(),
        _ => String::new(),
    };
    let name = providers.first().map_or("", |provider| &provider.name);
    println!("  A link from another terminal:");
    println!("  POLYTTY_API_KEY={api_key} polytty link --url {url} --ca {} --provider {name}{target}\n", ca.display());
    println!("  Ctrl-C ends the demo and every shell in it.\n");
}
