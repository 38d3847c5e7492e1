//! Where attacks are made: a proxy with everything configured, one with short deadlines, and one as a process of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{Client, Connect, Link, Proxy, SHELL, Served, Site, World};
use crate::issuer::Issuer;

/// A client that speaks no subprotocol and comes from no page, so that it is told by a status.
pub(super) const PLAIN: Connect<'static> = Connect { subprotocol: None, origin: None, field: None };

/// How long anything here may take: the longest short deadline, and what a loaded machine adds.
pub(super) const SOON: Duration = Duration::from_secs(30);

pub(super) struct Arena {
    pub(super) world: World,
    /// Deadlines of 3 s.
    pub(super) hasty: Proxy,
    /// Links that live for one second.
    pub(super) brief: Proxy,
    /// Its log is a file.
    pub(super) served: Served,
    pub(super) issuer: Issuer,
    /// Keys of `world`, by what they may do: `mint`, `observe`, `end`, and `alice`, who acts for herself.
    keys: BTreeMap<&'static str, String>,
}

impl Arena {
    pub(super) async fn start() -> Self {
        let issuer = Issuer::new();
        let jwt = json!({ "issuer": Issuer::NAME, "audience": "polytty", "jwks": issuer.file(), "cookie": "login" });
        let mut keys = BTreeMap::new();
        let world = World::with(|config| {
            config["jwt"] = jwt.clone();
            config["recording"] = json!({ "directory": "recordings", "enabled": true });
            for (name, entry) in [
                ("mint", json!({ "scopes": ["mint"] })),
                ("observe", json!({ "scopes": ["observe"] })),
                ("end", json!({ "scopes": ["end"] })),
                ("alice", json!({ "subject": "alice" })),
            ] {
                let (key, entry) = named(name, entry);
                keys.insert(name, key);
                config["keys"].as_array_mut().unwrap().push(entry);
            }
        })
        .await;
        let local = || vec![json!({ "name": "local", "kind": "local", "commands": [SHELL] })];
        let brief = Proxy::start(local(), Vec::new(), |config| config["tickets"] = json!({ "ttl": "1s" }));
        let hasty = Proxy::start(local(), Vec::new(), |config| {
            for deadline in ["handshake_timeout", "request_timeout", "message_timeout", "keep_alive"] {
                config["limits"][deadline] = json!("3s");
            }
        });
        let served = Served::start(|_| Vec::new(), |config| config["jwt"] = jwt).await;
        Self { world, hasty, brief, served, issuer, keys }
    }

    pub(super) fn key(&self, name: &str) -> &str {
        &self.keys[name]
    }

    /// What a call with this credential comes to.
    pub(super) async fn call(&self, credential: &str, method: Method, path: &str, body: Option<Value>) -> String {
        let answer = self.world.call(credential, method, path, body).await;
        told(answer.status.as_u16(), &answer.body)
    }

    /// What the API says to this body of `POST /v1/sessions`.
    pub(super) async fn create(&self, body: Value) -> String {
        let answer = self.world.api(Method::POST, "/v1/sessions", Some(body)).await;
        told(answer.status.as_u16(), &answer.body)
    }

    /// Sends bytes and reads to the end of the connection, which the server makes.
    pub(super) async fn raw(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.world.dial().await;
        // It may be cut before all of it is written.
        let _ = stream.write_all(request.as_ref()).await;
        let _ = stream.flush().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the server ends it");
        statuses(&answer)
    }

    /// Replaces `HOST` and `KEY`.
    pub(super) fn filled(&self, request: &str) -> String {
        request.replace("HOST", &self.world.address.to_string()).replace("KEY", &self.world.key)
    }
}

/// A key's entry with its hash, and the key.
fn named(name: &str, mut entry: Value) -> (String, Value) {
    let (key, hash) = polytty::auth::new_key().unwrap();
    entry["name"] = json!(name);
    entry["hash"] = json!(format!("sha256:{}", hash.map(|byte| format!("{byte:02x}")).concat()));
    (key, entry)
}

/// A status, and the code of a problem.
pub(super) fn told(status: u16, body: &Value) -> String {
    match body["code"].as_str().filter(|_| status >= 400) {
        Some(code) => format!("{status} `{code}`"),
        None => status.to_string(),
    }
}

/// The statuses of all responses that were read.
fn statuses(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let statuses: Vec<_> = text.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)).collect();
    let statuses: Vec<_> = statuses.into_iter().filter(|status| status.parse::<u16>().is_ok()).collect();
    match statuses.as_slice() {
        [] => "the end, without a word".to_owned(),
        statuses => format!("{}, the end", statuses.join(", ")),
    }
}

/// What an upgrade comes to: its status.
pub(super) async fn upgrade(site: &Site, link: &Link, how: Connect<'_>) -> String {
    match Client::connect(site, link, how).await {
        Ok(_) => "101".to_owned(),
        Err(status) => status.as_u16().to_string(),
    }
}

/// What an upgrade with a wrong link or in a wrong way comes to, and whether the link is good after that.
pub(super) async fn then_sound(wrong: String, site: &Site, link: &Link, how: Connect<'_>) -> String {
    match upgrade(site, link, how).await.as_str() {
        "101" => format!("{wrong}; the link stays good"),
        other => format!("{wrong}; and the link is spent: {other}"),
    }
}

/// Another link of the same form.
pub(super) fn link(path: &str) -> Link {
    Link { session: String::new(), url: format!("wss://x{path}") }
}
