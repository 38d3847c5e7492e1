//! `kind = "oblien"`.

use std::time::Duration;

use super::super::check::{DAY, TIMEOUTS};
use super::super::checked::{AccessPath, Oblien, OblienClient, TokenPlace};
use super::super::error::Problem;
use super::super::section::{Field, Read, Section};
use super::super::units::BaseUrl;
use crate::provider::is_oblien_workspace;

const ACCESS_PATHS: [(&str, AccessPath); 2] =
    [("runtime-api-access", AccessPath::Runtime), ("internal-api-access", AccessPath::Internal)];
const TOKEN_PLACES: [(&str, TokenPlace); 2] = [("header", TokenPlace::Header), ("query", TokenPlace::Query)];
const AN_ID: &str = "a client id: characters that a header field can hold, without spaces";
const A_WORKSPACE: &str = r#"a workspace's id such as "ws_a1b2c3d4""#;

pub(super) fn oblien(section: &mut Section<'_>, allow_private: Read<bool>) -> Read<Oblien> {
    let url = |field: Field<'_>| base_url(&field, allow_private);
    let api_url = section.optional("api_url", url);
    let gateway_url = section.optional("gateway_url", url);
    let token = section.optional("token", |field| field.secret());
    let client = client(section, matches!(token, Ok(None)));
    let workspace = section.optional("workspace", workspace);
    let enable_access = section.or("enable_access", true, |field| field.flag());
    let access_path = section.or("access_path", AccessPath::Runtime, |field| field.one_of(&ACCESS_PATHS));
    let websocket_token = section.or("websocket_token", TokenPlace::Header, |field| field.one_of(&TOKEN_PLACES));
    let token_lifetime = section
        .or("token_lifetime", Duration::from_secs(55 * 60), |field| field.duration(Duration::from_secs(1)..=30 * DAY));
    let max_terminals = section.or("max_terminals", 10, |field| field.number(1..=255));
    let pong_timeout =
        section.or("pong_timeout", Some(Duration::from_secs(20)), |field| field.duration_or_never(TIMEOUTS));
    let end_attached = section.or("end_attached", true, |field| field.flag());
    Ok(Oblien {
        api_url: api_url?.unwrap_or_else(|| default_url("https://api.oblien.com")),
        gateway_url: gateway_url?.unwrap_or_else(|| default_url("https://workspace.oblien.com")),
        client: client?,
        token: token?,
        workspace: workspace?,
        enable_access: enable_access?,
        access_path: access_path?,
        websocket_token: websocket_token?,
        token_lifetime: token_lifetime?,
        max_terminals: max_terminals?,
        pong_timeout: pong_timeout?,
        end_attached: end_attached?,
    })
}

/// The API key; both of its halves, unless a token makes it needless and neither is there.
fn client(section: &mut Section<'_>, is_needed: bool) -> Read<Option<OblienClient>> {
    let (id, secret) = (section.field("client_id"), section.field("client_secret"));
    if id.is_none() && secret.is_none() && !is_needed {
        return Ok(None);
    }
    let id = section.required("client_id", "the API key's client id, or a token", |field| {
        let id = field.secret()?;
        match id.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(id.expose().to_owned()),
            false => Err(field.wrong_secret(AN_ID)),
        }
    });
    let secret = section.required("client_secret", "the API key's secret, or a token", |field| field.secret());
    Ok(Some(OblienClient { id: id?, secret: secret? }))
}

fn workspace(field: Field<'_>) -> Read<String> {
    let id = field.text(A_WORKSPACE)?;
    if is_oblien_workspace(id) { Ok(id.to_owned()) } else { Err(field.wrong(A_WORKSPACE)) }
}

/// One of the two above, which are URLs.
#[allow(clippy::expect_used, reason = "both are constants of this file, and a test loads them")]
fn default_url(url: &'static str) -> BaseUrl {
    url.parse().expect("a constant URL")
}

fn base_url(field: &Field<'_>, allow_private: Read<bool>) -> Read<BaseUrl> {
    let url: BaseUrl = field.parse("a URL such as https://api.oblien.com")?;
    if !url.is_tls() && matches!(allow_private, Ok(false)) {
        let rule = "expected an https URL; http is for simulated providers and needs allow_private = true";
        return Err(field.tell(Problem::Rule(rule.to_owned())));
    }
    Ok(url)
}
