//! Several polyttys as processes of their own, on one Redis, behind one `public_url`.

use std::net::{SocketAddr, TcpListener};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CertifiedKey, IsCa, KeyPair, generate_simple_self_signed,
};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::common::{PATIENCE, Shown, Site, eventually};
use super::server::Server;

/// All of it; everything ends with this value.
pub(crate) struct Fleet {
    pub(crate) redis: Server,
    pub(crate) replicas: Vec<Replica>,
    authority: CertifiedIssuer<'static, KeyPair>,
    home: TempDir,
}

/// One of the processes. As a [`Site`] it is asked directly, whatever the others do.
pub(crate) struct Replica {
    site: Site,
    /// Its listener for the others.
    pub(crate) inner: SocketAddr,
    pub(crate) admin: SocketAddr,
    child: Child,
    home: PathBuf,
}

impl Deref for Replica {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Fleet {
    /// So many replicas with the provider `local`; `change` is made to the configuration that they have in common, and
    /// `targets` are what sessions at its providers are opened with.
    pub(crate) async fn start(count: usize, targets: &[(String, Value)], change: impl Fn(&mut Value)) -> Self {
        let redis = Server::start();
        let home = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut fleet = Self { redis, replicas: Vec::new(), authority, home };
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(fleet.home.path().join("cert.pem"), cert.pem()).unwrap();
        std::fs::write(fleet.home.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
        std::fs::write(fleet.home.path().join("ca.pem"), fleet.authority.pem()).unwrap();
        let root: CertificateDer<'static> = cert.der().clone();
        let (key, hash) = polytty::auth::new_key().unwrap();
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut config = json!({
            "tls": { "cert": "../cert.pem", "key": "../key.pem" },
            "tickets": { "store": fleet.redis.url() },
            "keys": [{ "name": "test", "hash": format!("sha256:{hash}") }],
            "limits": super::common::roomy(),
            "providers": [{ "name": "local", "kind": "local", "commands": [["/bin/bash", "--norc", "--noprofile"]] }],
        });
        change(&mut config);
        // Nobody listens there: clients are told where to go by the test.
        let public = free();
        for at in 0..count {
            let home = fleet.home.path().join(at.to_string());
            let site = |address| Site::new(address, key.clone(), targets.to_vec(), root.clone()).called(public);
            let replica = fleet.replica(home, config.clone(), public, site).await;
            fleet.replicas.push(replica);
        }
        fleet.all_know_of_each_other().await;
        fleet
    }

    async fn replica(
        &self,
        home: PathBuf,
        mut config: Value,
        public: SocketAddr,
        site: impl Fn(SocketAddr) -> Site,
    ) -> Replica {
        std::fs::create_dir(&home).unwrap();
        let CertifiedPair { chain, key } = self.certificate(&["127.0.0.1"]);
        std::fs::write(home.join("replica.pem"), chain).unwrap();
        std::fs::write(home.join("replica.key"), key).unwrap();
        // A port that is free now may be taken a moment later by somebody else; then another one is tried.
        loop {
            let [listen, admin, inner] = [free(), free(), free()];
            config["server"] =
                json!({ "listen": listen, "public_url": format!("https://{public}"), "admin_listen": admin });
            config["cluster"] = json!({
                "listen": inner, "advertise": inner, "cert": "replica.pem", "key": "replica.key", "ca": "../ca.pem",
            });
            std::fs::write(home.join("proxy.toml"), toml::to_string(&config).unwrap()).unwrap();
            let mut replica = Replica { site: site(listen), inner, admin, child: run(&home), home: home.clone() };
            if replica.is_up().await {
                return replica;
            }
            assert!(replica.log().contains("cannot listen"), "{}", replica.log());
        }
    }

    /// A certificate of the fleet's own authority.
    pub(crate) fn certificate(&self, names: &[&str]) -> CertifiedPair {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let chain = CertificateParams::new(names).unwrap().signed_by(&key, &self.authority).unwrap();
        CertifiedPair { chain: chain.pem(), key: key.serialize_pem() }
    }

    /// Waits until each replica lists all of them: nobody is asked in vain from then on.
    pub(crate) async fn all_know_of_each_other(&self) {
        for replica in &self.replicas {
            let others = self.replicas.len() - 1;
            eventually(async || (replica.log().matches("another replica is there").count() >= others).then_some(()))
                .await;
        }
    }
}

/// A chain and its key, in PEM.
pub(crate) struct CertifiedPair {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl CertifiedPair {
    /// The same for a client of the API.
    pub(crate) fn shown(&self) -> Shown {
        let chain = CertificateDer::from_pem_slice(self.chain.as_bytes()).unwrap();
        Shown { certificate: chain, key: PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap() }
    }
}

impl Replica {
    /// Ends it at once, as a machine that loses its power would.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts it again, as another replica at the same place.
    pub(crate) async fn restart(&mut self) {
        self.child = run(&self.home);
        assert!(self.is_up().await, "{}", self.log());
    }

    /// SIGTERM; what it ends with.
    pub(crate) async fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.child.wait().await.unwrap().code()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        self.child.id().and_then(|id| Pid::from_raw(id.try_into().unwrap())).expect("it is running")
    }

    /// What its admin listener says under `/metrics`.
    pub(crate) async fn metrics(&self) -> String {
        super::common::metrics_of(self.admin).await
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.home.join("log")).unwrap()
    }

    /// Waits until it listens and has its store; false when it has ended instead.
    async fn is_up(&mut self) -> bool {
        let admin = self.admin;
        eventually(async || {
            if self.child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            is_ready(admin).await.then_some(true)
        })
        .await
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn run(home: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(home.join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_polytty"));
    command.arg("serve").arg("--config").arg(home.join("proxy.toml"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true).spawn().unwrap()
}

/// Whether an admin listener is there and says `/readyz`.
async fn is_ready(admin: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(admin).await else { return false };
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    let mut answer = String::new();
    let asked = async {
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_string(&mut answer).await
    };
    asked.await.is_ok() && answer.starts_with("HTTP/1.1 200 ")
}

/// Says something to a listener for replicas over TLS, with this certificate; what it answers, if it gets that far.
pub(crate) async fn knock(fleet: &Fleet, at: SocketAddr, pair: Option<CertifiedPair>, words: &[u8]) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(fleet.authority.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match pair {
        None => config.with_no_client_auth(),
        Some(CertifiedPair { chain, key }) => {
            let chain = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            config.with_client_auth_cert(vec![chain], key).unwrap()
        }
    };
    let tcp = TcpStream::connect(at).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.ok()?;
    stream.write_all(words).await.ok()?;
    let mut answer = [0; 4096];
    let read = timeout(PATIENCE, stream.read(&mut answer)).await.expect("an answer or an end").ok()?;
    (read > 0).then(|| String::from_utf8_lossy(&answer[..read]).into_owned())
}
