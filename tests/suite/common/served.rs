//! `polytty serve` as a process of its own, which can be killed and started again.

use std::net::{SocketAddr, TcpListener};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{Site, eventually};

/// A running proxy with the provider `local`; killed when dropped.
pub(crate) struct Served {
    site: Site,
    child: Child,
    admin: SocketAddr,
    /// Goes in front of the program.
    wrapper: Vec<String>,
    config: Value,
    home: TempDir,
}

impl Deref for Served {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Served {
    /// Starts it. `wrapper` goes in front of the program, and runs it in its own place; it is given the directory of
    /// the configuration, too.
    pub(crate) async fn start(wrapper: impl FnOnce(&Path) -> Vec<String>, change: impl FnOnce(&mut Value)) -> Self {
        let mut home = tempfile::tempdir().unwrap();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(home.path().join("cert.pem"), cert.pem()).unwrap();
        std::fs::write(home.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
        let root: CertificateDer<'static> = cert.der().clone();
        let (key, hash) = polytty::auth::new_key().unwrap();
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut config = json!({
            "server": {},
            "tls": { "cert": "cert.pem", "key": "key.pem" },
            "keys": [{ "name": "test", "hash": format!("sha256:{hash}") }],
            "providers": [{ "name": "local", "kind": "local", "commands": [["/bin/bash", "--norc", "--noprofile"]] }],
        });
        change(&mut config);
        let wrapper = wrapper(home.path());
        // A port that is free now may be taken a moment later by somebody else; then another one is tried.
        loop {
            let (address, admin) = (free(), free());
            config["server"]["listen"] = json!(address);
            config["server"]["public_url"] = json!(format!("https://{address}"));
            config["server"]["admin_listen"] = json!(admin);
            std::fs::write(home.path().join("proxy.toml"), toml::to_string(&config).unwrap()).unwrap();
            let site = Site::new(address, key.clone(), Vec::new(), root.clone());
            let child = run(&wrapper, home.path());
            let (wrapper, config) = (wrapper.clone(), config.clone());
            let mut served = Self { site, child, admin, wrapper, config, home };
            if served.is_ready().await {
                return served;
            }
            assert!(served.log().contains("cannot listen"), "{}", served.log());
            home = served.home;
        }
    }

    /// Ends it at once, as the kernel does that is out of memory.
    pub(crate) async fn kill(&mut self) {
        // What it was started through may be another process; the one that is killed is the proxy.
        self.child.kill().await.unwrap();
    }

    /// Starts it again, with the same configuration.
    pub(crate) async fn restart(&mut self) {
        self.child = run(&self.wrapper, self.home.path());
        assert!(self.is_ready().await, "{}", self.log());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Writes another configuration, and asks for it by SIGHUP. Returns what is logged until it says what came of it.
    pub(crate) async fn reload(&mut self, change: impl FnOnce(&mut Value)) -> String {
        change(&mut self.config);
        self.reload_text(&toml::to_string(&self.config).unwrap()).await
    }

    /// The same with any text for a configuration.
    pub(crate) async fn reload_text(&self, text: &str) -> String {
        std::fs::write(self.home.path().join("proxy.toml"), text).unwrap();
        let logged = self.log().len();
        kill_process(Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap(), Signal::HUP).unwrap();
        eventually(async || {
            let said = self.log().split_off(logged);
            // What needs a restart is told in a line behind the other.
            let is_told = said.contains("nothing was reloaded") || said.contains("certificates included");
            let results = self.metrics().await.matches("polytty_config_reloads_total{").count();
            (is_told && results > 0).then_some(said)
        })
        .await
    }

    /// The directory of the configuration.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(log(self.home.path())).unwrap()
    }

    pub(crate) async fn metrics(&self) -> String {
        super::metrics_of(self.admin).await
    }

    /// Waits until it listens; false when it has ended instead.
    async fn is_ready(&mut self) -> bool {
        let address = self.site.address;
        eventually(async || {
            if self.child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            tokio::net::TcpStream::connect(address).await.is_ok().then_some(true)
        })
        .await
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn log(home: &Path) -> PathBuf {
    home.join("log")
}

fn run(wrapper: &[String], home: &Path) -> Child {
    let words = wrapper.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_polytty"), "serve", "--config"]);
    let mut words = words.map(str::to_owned);
    let mut command = Command::new(words.next().unwrap());
    let log = std::fs::File::options().create(true).append(true).open(log(home)).unwrap();
    command.args(words).arg(home.join("proxy.toml"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true).spawn().unwrap()
}
