//! `polytty link`

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};

use super::{Failed, runtime};
use crate::config::BaseUrl;
use crate::provider::{Dialer, Request};

/// How long the proxy may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ask a running proxy for a one-time link.
#[derive(Debug, Args)]
pub(super) struct Link {
    /// The provider's name in the proxy's configuration
    #[arg(long)]
    provider: String,
    /// A field of the target; a JSON array, object, true or false is taken as such, any other value as text
    #[arg(long, value_name = "KEY=VALUE", value_parser = field)]
    target: Vec<(String, Value)>,
    /// What a client without a subprotocol speaks: polytty.v1, operation or raw
    #[arg(long)]
    dialect: Option<String>,
    /// Whether the session is recorded [default: what the provider's configuration says]
    #[arg(long, value_name = "BOOL")]
    record: Option<bool>,
    /// The proxy
    #[arg(long, env = "POLYTTY_URL", default_value = "https://127.0.0.1:8443")]
    url: String,
    /// An API key of the proxy; better given by the environment than on a command line that others can see
    #[arg(long, env = "POLYTTY_API_KEY", hide_env_values = true)]
    api_key: String,
    /// A PEM file with the root to trust, instead of the system's
    #[arg(long, env = "POLYTTY_CA")]
    ca: Option<PathBuf>,
    /// The whole answer as JSON, instead of the link alone
    #[arg(long)]
    json: bool,
}

impl Link {
    pub(super) fn run(self) -> Result<(), Failed> {
        let url: BaseUrl = self.url.parse().map_err(|why| Failed::Usage(format!("--url: {why}")))?;
        let answer = runtime()?.block_on(async { tokio::time::timeout(PATIENCE, self.ask(&url)).await });
        let answer = answer.map_err(|_| anyhow!("{url} does not answer"))??;
        if self.json {
            println!("{answer}");
        } else {
            println!("{}", answer["url"].as_str().ok_or_else(|| anyhow!("the proxy answered without a link"))?);
        }
        Ok(())
    }

    async fn ask(&self, url: &BaseUrl) -> anyhow::Result<Value> {
        let dialer = Dialer::new(self.ca.as_deref(), true)?;
        let target: Map<String, Value> = self.target.iter().cloned().collect();
        let mut body = json!({ "provider": self.provider, "target": target });
        if let Some(dialect) = &self.dialect {
            body["dialect"] = json!(dialect);
        }
        if let Some(record) = self.record {
            body["record"] = json!(record);
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut key = HeaderValue::from_str(&format!("Bearer {}", self.api_key)).context("the API key")?;
        key.set_sensitive(true);
        headers.insert(AUTHORIZATION, key);
        let body = serde_json::to_vec(&body)?.into();
        let request =
            Request { method: Method::POST, path_and_query: "/v1/sessions", headers, body, repeatable: false };
        let response = dialer
            .request(url, request)
            .await
            .map_err(|failure| anyhow!("{url}: {} ({})", failure.message, failure.detail))?;
        let answer: Value = serde_json::from_slice(&response.body)
            .with_context(|| format!("{url} answered {} with something that is not JSON", response.status))?;
        if response.status.is_success() {
            return Ok(answer);
        }
        bail!(
            "{url} answered {}: {}: {}",
            response.status,
            answer["code"].as_str().unwrap_or("error"),
            answer["detail"].as_str().unwrap_or("no detail")
        )
    }
}

fn field(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    let value = match serde_json::from_str(value) {
        Ok(structured @ (Value::Array(_) | Value::Object(_) | Value::Bool(_))) => structured,
        _ => Value::from(value),
    };
    Ok((name.to_owned(), value))
}
