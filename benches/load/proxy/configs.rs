//! The configuration of each proxy: one thread where that can be said, no log, the same cipher suite, no resumption.

use std::path::Path;

use serde_json::{Value, json};

use super::Setting;
use crate::process::Source;

/// Rates and counts that nothing here reaches: none of them is what is measured.
const MANY: usize = 1_000_000;

/// A provider of each kind, and of the first two kinds one whose service is reached over TLS.
pub(super) fn polytty(port: u16, source: &Source, hash: &str, setting: &Setting, home: &Path) -> Value {
    let cert = home.join("cert.pem");
    let mut limits = json!({ "connections": 20_000, "connections_per_address": MANY, "failures": MANY,
        "sessions": 20_000, "sessions_per_subject": 20_000, "tickets": 20_000,
        "input_bytes_per_second": "0B", "input_messages_per_second": 0 });
    for of in ["handshake", "request", "mint", "subject_mint", "open"] {
        limits[format!("{of}s_per_second")] = json!(100_000);
        limits[format!("{of}_burst")] = json!(100_000);
    }
    let alibaba = |name: &str, kind: &str, is_tls: bool| {
        let (scheme, host) = if is_tls { ("https", &source.tls) } else { ("http", &source.plain) };
        json!({ "name": name, "kind": kind, "region": "local", "endpoint": format!("{scheme}://{host}"), "ca": cert,
            "access_key_id": "id", "access_key_secret": "secret", "websocket_hosts": [host], "allow_private": true,
            "max_sessions": 20_000 })
    };
    let plain = format!("http://{}", source.plain);
    json!({
        "server": { "listen": format!("127.0.0.1:{port}"), "public_url": format!("https://127.0.0.1:{port}"), "admin_listen": "" },
        "tls": { "cert": cert, "key": home.join("key.pem") },
        "tickets": { "ttl": "1h" },
        "limits": limits,
        "sessions": { "scrollback": setting.scrollback, "scrollback_total": "4GiB" },
        "log": { "filter": "error" },
        "keys": [{ "name": "load", "hash": format!("sha256:{hash}") }],
        "providers": [
            alibaba("operation", "pai-dlc", false),
            alibaba("channel", "eci", false),
            alibaba("operation-tls", "pai-dlc", true),
            alibaba("channel-tls", "eci", true),
            { "name": "dockhand", "kind": "dockhand", "url": plain, "token": "load", "allow_private": true, "max_sessions": 20_000 },
            { "name": "oblien", "kind": "oblien", "api_url": plain, "gateway_url": plain, "client_id": "id",
                "client_secret": "secret", "workspace": "ws", "allow_private": true, "max_sessions": 20_000 },
            { "name": "decthings", "kind": "decthings", "http_url": format!("{plain}/v0"), "ws_url": format!("ws://{}/v0/ws", source.plain),
                "api_key": "load", "allow_private": true, "max_sessions": 20_000 },
        ],
    })
}

/// It carries an upgrade as bytes.
pub(super) fn haproxy(port: u16, source: &Source, setting: &Setting, home: &Path) -> String {
    let server = match setting.tls_upstream {
        true => format!("{} ssl verify required ca-file {}", source.tls, home.join("cert.pem").display()),
        false => source.plain.clone(),
    };
    format!(
        "global\n  maxconn 9900\n  nbthread 1\n  ssl-default-bind-ciphersuites TLS_AES_256_GCM_SHA384\n  \
         ssl-default-bind-curves X25519\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 1h\n  \
         timeout server 1h\n  timeout tunnel 1h\nfrontend f\n  bind 127.0.0.1:{port} ssl crt {} ssl-min-ver TLSv1.3 \
         alpn http/1.1 no-tls-tickets\n  default_backend b\nbackend b\n  server s {server} maxconn 9900\n",
        home.join("both.pem").display()
    )
}

/// The same. It closes young connections once fewer than a sixteenth of `worker_connections` are free, so there are more of these
/// than descriptors.
pub(super) fn nginx(port: u16, source: &Source, setting: &Setting, home: &Path, folder: &Path) -> String {
    let (cert, key, folder) = (home.join("cert.pem"), home.join("key.pem"), folder.display());
    let cert = cert.display();
    let upstream = match setting.tls_upstream {
        true => format!(
            "proxy_pass https://{};\n proxy_ssl_name localhost;\n proxy_ssl_verify on;\n proxy_ssl_trusted_certificate {cert};\n \
             proxy_ssl_protocols TLSv1.3;\n proxy_ssl_session_reuse off;",
            source.tls
        ),
        false => format!("proxy_pass http://{};", source.plain),
    };
    format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\nworker_rlimit_nofile 20000;\npid {folder}/pid;\n\
         error_log {folder}/error.log;\nevents {{ worker_connections 40000; }}\nhttp {{\n access_log off;\n \
         client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;\n \
         uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n \
         server {{\n listen 127.0.0.1:{port} ssl backlog=4096;\n ssl_certificate {cert};\n ssl_certificate_key {};\n \
         ssl_protocols TLSv1.3;\n ssl_ecdh_curve X25519;\n ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384;\n \
         ssl_session_tickets off;\n location / {{\n {upstream}\n proxy_http_version 1.1;\n \
         proxy_set_header Upgrade $http_upgrade;\n proxy_set_header Connection upgrade;\n proxy_set_header Host $http_host;\n \
         proxy_read_timeout 1h;\n proxy_send_timeout 1h;\n send_timeout 1h;\n }}\n }}\n}}\n",
        key.display()
    )
}
