//! Who may do what: the API key and its scoped tokens on the control plane, workspace tokens on the data plane.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Result;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::{HeaderMap, header};
use serde_json::json;

use super::{
    Server,
    error::ApiError,
    token::{Claims, Signer, Use, expiry},
    world::Workspace,
};
use crate::{
    Fault, Stage, random,
    web::{count, only},
};

/// The life of a workspace token.
const WORKSPACE_TOKEN_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// An API key of the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// `X-Client-ID`.
    pub client_id: String,
    /// `X-Client-Secret`.
    pub client_secret: String,
}

impl Credential {
    pub(super) fn random() -> Result<Self> {
        Ok(Self { client_id: format!("cid_{}", random::word(16)?), client_secret: random::token()? })
    }
}

/// The keys that tokens are signed with: a token of one plane is nothing on the other.
#[derive(Debug)]
pub(super) struct Signers {
    control: Signer,
    data: Signer,
}

impl Signers {
    pub(super) fn random() -> Result<Self> {
        Ok(Self { control: Signer::random()?, data: Signer::random()? })
    }
}

/// What a caller of the control plane may do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Everything, by the API key.
    Everything,
    /// Everything but making tokens.
    Namespace,
    /// Only what belongs to this workspace.
    Workspace(String),
}

impl Scope {
    pub(super) fn covers(&self, workspace: &str) -> bool {
        !matches!(self, Self::Workspace(own) if own != workspace)
    }
}

/// Identifies a caller of the control plane.
pub(super) fn control(server: &Server, headers: &HeaderMap) -> Result<Scope, ApiError> {
    let named = |name: &'static str| only(headers, &header::HeaderName::from_static(name));
    let (id, secret) = (named("x-client-id")?, named("x-client-secret")?);
    if id.is_some() || secret.is_some() {
        let key = &server.credential;
        let same = |given: Option<&str>, own: &str| {
            verify_slices_are_equal(given.unwrap_or_default().as_bytes(), own.as_bytes()).is_ok()
        };
        let good = same(id, &key.client_id) & same(secret, &key.client_secret);
        return if good { Ok(Scope::Everything) } else { Err(ApiError::unauthorized()) };
    }
    let token = bearer(headers)?.ok_or_else(ApiError::unauthorized)?;
    match server.signers.control.verify(token, server.clock.now()) {
        Some(claims) if claims.sub.is_empty() => Ok(Scope::Namespace),
        Some(claims) => Ok(Scope::Workspace(claims.sub)),
        None => Err(ApiError::unauthorized()),
    }
}

/// A token for the control plane and when it expires. `workspace` is empty for one of the whole namespace.
pub(super) fn scoped_token(server: &Server, workspace: &str, life: Duration) -> Result<(String, SystemTime)> {
    let now = server.clock.now();
    let claims = Claims { for_use: Use::Scoped, sub: workspace.to_owned(), exp: expiry(now, life), generation: 0 };
    count(&server.tally.tokens_issued, 1);
    Ok((server.signers.control.sign(&claims, now, &json!(null))?, now + life))
}

/// A token for a workspace's data plane and when it expires: after `life`, or after what is usual for its use.
pub(super) fn data_token(
    server: &Server,
    workspace: &Workspace,
    for_use: Use,
    life: Option<Duration>,
) -> Result<(String, SystemTime)> {
    let now = server.clock.now();
    let life = life.unwrap_or(if for_use == Use::Workspace { WORKSPACE_TOKEN_LIFE } else { server.token_life });
    let claims =
        Claims { for_use, sub: workspace.id.clone(), exp: expiry(now, life), generation: workspace.generation() };
    let addr = server.site.addr();
    let token = server.signers.data.sign(&claims, now, &json!({"ip": addr.ip(), "port": addr.port()}))?;
    count(&server.tally.tokens_issued, 1);
    Ok((token, now + life))
}

/// Finds the workspace that a request to the data plane is for: by the token in its `Authorization`, else by the one in
/// its query, where a query may have one.
pub(super) fn data(server: &Server, headers: &HeaderMap, query: Option<&str>) -> Result<Arc<Workspace>, ApiError> {
    let token = bearer(headers)?.or(query).ok_or_else(ApiError::unauthorized)?;
    let workspace = workspace_of(server, token).ok_or_else(ApiError::unauthorized)?;
    if let Some(Fault::TokensRevoked) = server.site.faults.take(Stage::Token) {
        workspace.revoke_tokens().map_err(|_| ApiError::unavailable())?;
        return Err(ApiError::unauthorized());
    }
    if !workspace.running || !workspace.is_enabled() {
        return Err(ApiError::no_server());
    }
    Ok(workspace)
}

fn workspace_of(server: &Server, token: &str) -> Option<Arc<Workspace>> {
    if let Some(claims) = server.signers.data.verify(token, server.clock.now()) {
        let workspace = server.world.workspace(&claims.sub)?;
        return (claims.generation == workspace.generation()).then(|| Arc::clone(workspace));
    }
    let raw = |workspace: &&&Arc<Workspace>| {
        verify_slices_are_equal(token.as_bytes(), workspace.raw_token().as_bytes()).is_ok()
    };
    server.world.all().iter().find(raw).map(|workspace| Arc::clone(workspace))
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = only(headers, &header::AUTHORIZATION)? else { return Ok(None) };
    let (scheme, token) = value.split_once(' ').ok_or_else(ApiError::unauthorized)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token.trim())) } else { Err(ApiError::unauthorized()) }
}
