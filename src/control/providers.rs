//! `/v1/providers`

use http::StatusCode;
use serde::Serialize;

use super::Api;
use crate::auth::Identity;
use crate::provider::Health;
use crate::respond::{Reply, json};

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
}
