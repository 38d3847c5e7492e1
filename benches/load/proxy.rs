//! What is measured: polytty, and others that look at nothing, each with the same certificate in front of the same source.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::generator::Dialect;
use super::process::{Running, free_port, until_listening};
use super::wire::Wire;

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Polytty,
    Haproxy,
    Nginx,
}

impl Which {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Polytty => "polytty",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }

    /// Where it is, if it is installed.
    pub(crate) fn program(self) -> Option<PathBuf> {
        let candidates: &[&str] = match self {
            Self::Polytty => return Some(PathBuf::from(env!("CARGO_BIN_EXE_polytty"))),
            Self::Haproxy => &["/usr/sbin/haproxy", "/usr/bin/haproxy"],
            Self::Nginx => &["/usr/sbin/nginx", "/usr/bin/nginx"],
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

/// A running one.
pub(crate) struct Proxy {
    pub(crate) which: Which,
    pub(crate) process: Running,
    port: u16,
    key: String,
    tls: TlsConnector,
}

impl Proxy {
    /// Starts it on one processor in front of a source.
    pub(crate) fn start(
        which: Which,
        home: &Path,
        source: &str,
        tls: TlsConnector,
        processor: usize,
        scrollback: &str,
    ) -> io::Result<Self> {
        let port = free_port()?;
        let folder = home.join(format!("{}-{port}", which.name()));
        std::fs::create_dir(&folder)?;
        let program = which.program().ok_or(io::ErrorKind::NotFound)?;
        let (mut key, log) = (String::new(), folder.join("log"));
        let file = folder.join("config");
        let mut process = match which {
            Which::Polytty => {
                let (plain, hash) = polytty::auth::new_key().map_err(|_| io::Error::other("no randomness"))?;
                let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
                key = plain;
                let config = polytty_config(port, source, &hash, scrollback, home);
                std::fs::write(&file, toml::to_string(&config).map_err(io::Error::other)?)?;
                Running::start(processor, &program, &["serve", "--config", &file.display().to_string()], &log)?
            }
            Which::Haproxy => {
                std::fs::write(&file, haproxy_config(port, source, home))?;
                Running::start(processor, &program, &["-f", &file.display().to_string()], &log)?
            }
            Which::Nginx => {
                std::fs::write(&file, nginx_config(port, source, home, &folder))?;
                Running::start(processor, &program, &["-c", &file.display().to_string()], &log)?
            }
        };
        until_listening(&mut process, port, &log)?;
        Ok(Self { which, process, port, key, tls })
    }

    /// A URL that leads to what the source does under this name, over a wire.
    pub(crate) async fn url(&self, wire: Wire, what: &str) -> io::Result<String> {
        if self.which != Which::Polytty {
            // A channel's byte would have to be understood.
            let wire = if wire == Wire::Channel { Wire::Raw } else { wire };
            return Ok(format!("wss://127.0.0.1:{}/w/{}/{what}", self.port, wire.name()));
        }
        let (provider, target) = match wire {
            Wire::Operation => ("operation", json!({ "job_id": what, "pod_id": "pod" })),
            _ => ("channel", json!({ "container_group_id": what, "container_name": "c" })),
        };
        let answer = self.post(json!({ "provider": provider, "target": target })).await?;
        answer["url"].as_str().map(str::to_owned).ok_or_else(|| io::Error::other(answer.to_string()))
    }

    async fn post(&self, body: Value) -> io::Result<Value> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let name = ServerName::try_from("127.0.0.1").map_err(io::Error::other)?;
        let stream = self.tls.connect(name, tcp).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let connection = tokio::spawn(connection);
        let request = Request::post("/v1/sessions")
            .header("host", format!("127.0.0.1:{}", self.port))
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(io::Error::other)?;
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let body = answer.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        connection.abort();
        Ok(serde_json::from_slice(&body)?)
    }

    /// How its clients speak where the source speaks on this wire.
    pub(crate) fn dialect(&self, wire: Wire, wanted: Dialect) -> Dialect {
        match (self.which, wire) {
            (Which::Polytty, _) => wanted,
            (_, Wire::Operation) => Dialect::OpaqueOperation,
            _ => Dialect::Opaque,
        }
    }
}

fn polytty_config(port: u16, source: &str, hash: &str, scrollback: &str, home: &Path) -> Value {
    let many = 1_000_000;
    let mut limits = json!({ "connections": 20_000, "connections_per_address": many, "failures": many,
        "sessions": 20_000, "sessions_per_subject": 20_000, "tickets": 20_000 });
    for of in ["handshake", "request", "mint", "subject_mint", "open"] {
        limits[format!("{of}s_per_second")] = json!(100_000);
        limits[format!("{of}_burst")] = json!(100_000);
    }
    let provider = |name: &str, kind: &str| {
        json!({ "name": name, "kind": kind, "region": "local", "endpoint": format!("http://{source}"),
            "access_key_id": "id", "access_key_secret": "secret", "websocket_hosts": [source], "allow_private": true,
            "max_sessions": 20_000 })
    };
    json!({
        "server": { "listen": format!("127.0.0.1:{port}"), "public_url": format!("https://127.0.0.1:{port}"), "admin_listen": "" },
        "tls": { "cert": home.join("cert.pem"), "key": home.join("key.pem") },
        "limits": limits,
        "sessions": { "scrollback": scrollback },
        "log": { "filter": "warn" },
        "keys": [{ "name": "load", "hash": format!("sha256:{hash}") }],
        "providers": [provider("operation", "pai-dlc"), provider("channel", "eci")],
    })
}

/// One thread, no log, the same suite; it carries an upgrade as bytes.
fn haproxy_config(port: u16, source: &str, home: &Path) -> String {
    let pem = home.join("both.pem");
    format!(
        "global\n  maxconn 9900\n  nbthread 1\n  ssl-default-bind-ciphersuites TLS_AES_256_GCM_SHA384\n  \
         ssl-default-bind-curves X25519\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n  \
         timeout tunnel 1h\nfrontend f\n  bind 127.0.0.1:{port} ssl crt {} ssl-min-ver TLSv1.3 alpn http/1.1\n  \
         default_backend b\nbackend b\n  server s {source} maxconn 9900\n",
        pem.display()
    )
}

fn nginx_config(port: u16, source: &str, home: &Path, folder: &Path) -> String {
    let (cert, key, folder) = (home.join("cert.pem"), home.join("key.pem"), folder.display());
    format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\nworker_rlimit_nofile 20000;\npid {folder}/pid;\n\
         error_log {folder}/error.log;\nevents {{ worker_connections 20000; }}\nhttp {{\n access_log off;\n \
         client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n \
         server {{\n listen 127.0.0.1:{port} ssl;\n ssl_certificate {};\n ssl_certificate_key {};\n \
         ssl_protocols TLSv1.3;\n ssl_ecdh_curve X25519;\n ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384;\n ssl_session_tickets off;\n location / {{\n proxy_pass http://{source};\n proxy_http_version 1.1;\n \
         proxy_set_header Upgrade $http_upgrade;\n proxy_set_header Connection upgrade;\n proxy_set_header Host $http_host;\n \
         proxy_read_timeout 1h;\n proxy_send_timeout 1h;\n }}\n }}\n}}\n",
        cert.display(),
        key.display()
    )
}
