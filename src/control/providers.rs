//! `/v1/providers`

use http::StatusCode;
use polytty_dialect::Code;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::timeout;
use url::form_urlencoded;

use super::Api;
use crate::auth::Identity;
use crate::provider::{Failure, Health};
use crate::respond::{Problem, Reply, json};

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    kind: &'static str,
    title: &'static str,
    health: &'static str,
    last_error: Option<String>,
    sessions: Places,
}

#[derive(Serialize)]
struct Places {
    in_use: u32,
    allowed: u32,
}

impl Api {
    pub(super) fn list_providers(&self, by: &Identity) -> Reply {
        let providers: Vec<_> = self
            .providers
            .iter()
            .filter(|entry| by.may_use(entry.name()))
            .map(|entry| {
                let (health, last_error) = match entry.health() {
                    Health::Unknown => ("unknown", None),
                    Health::Ok => ("ok", None),
                    Health::Failing(code, message) => ("failing", Some(format!("{code}: {message}"))),
                };
                let (in_use, allowed) = entry.sessions();
                let kind = entry.kind();
                Listed {
                    name: entry.name(),
                    kind: kind.name,
                    title: kind.title,
                    health,
                    last_error,
                    sessions: Places { in_use, allowed },
                }
            })
            .collect();
        json(StatusCode::OK, &serde_json::json!({ "providers": providers }))
    }

    /// Lists the terminals that can be attached to, in the place that the query says in the target's own terms.
    pub(super) async fn list_terminals(&self, name: &str, query: Option<&str>, by: &Identity) -> Reply {
        let Some(entry) = self.providers.iter().find(|entry| entry.name() == name && by.may_use(name)) else {
            return Problem::new(Code::NotFound, "there is no such provider").reply();
        };
        let bad = |detail| Problem::new(Code::BadMessage, detail).status(StatusCode::UNPROCESSABLE_ENTITY).reply();
        let mut fields = Map::new();
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if fields.insert(key.into_owned(), Value::String(value.into_owned())).is_some() {
                return bad("a parameter stands there twice".to_owned());
            }
        }
        let target = match entry.target(&Value::Object(fields)) {
            Ok(target) => target,
            Err(detail) => return bad(detail),
        };
        let Some(listing) = entry.terminals(&target) else {
            let detail = format!("{} has no terminals that can be attached to", entry.kind().title);
            return Problem::new(Code::Unsupported, detail).reply();
        };
        let listed = async {
            // It is a call to the provider like those that open a terminal.
            entry.turn().await?;
            let late =
                || Failure::new(Code::ProviderTimeout, format!("{} did not answer in time.", entry.kind().title));
            timeout(entry.open_timeout(), listing).await.unwrap_or_else(|_| Err(late()))
        };
        match listed.await {
            Ok(terminals) => json(StatusCode::OK, &serde_json::json!({ "terminals": terminals })),
            Err(failure) => {
                let code = failure.code;
                tracing::info!(provider = ?name, %code, detail = ?failure.detail, "terminals could not be listed");
                Problem::new(code, failure.message).reply()
            }
        }
    }
}
