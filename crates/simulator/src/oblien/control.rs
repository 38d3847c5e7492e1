//! The control plane: tokens, and the switch of a workspace's runtime server.

use std::{future, sync::Arc, time::Duration};

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Server,
    access::{self, Scope, data_token, scoped_token},
    error::ApiError,
    json_response, no_json,
    token::Use,
    world::Workspace,
};
use crate::{
    Fault, Stage,
    web::{Answer, collect, count, empty, endless, full},
};

/// Where the redirect of [`Fault::ApiRedirect`] leads.
pub(super) const REDIRECTED: &str = "/redirected";
/// The life of a scoped token, in seconds: the least, the usual and the most.
const SCOPED_LIFE: (u64, u64, u64) = (1, 900, 3_600);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewToken {
    scope: String,
    namespace: Option<String>,
    workspace_id: Option<String>,
    ttl: Option<u64>,
}

/// Answers a call, or commits the fault that stands in its way.
pub(super) async fn answer(server: &Arc<Server>, request: Request<Incoming>, authority: &str) -> Answer {
    let tally = &server.tally;
    if let Some(fault) = server.site.faults.take(Stage::Api) {
        count(&tally.calls_refused, 1);
        return commit(&fault, authority).await;
    }
    match handle(server, request).await {
        Ok(body) => {
            count(&tally.calls_answered, 1);
            Answer::of(json_response(StatusCode::OK, &body))
        }
        Err(error) => {
            count(&tally.calls_refused, 1);
            Answer::of(json_response(error.status, &error.body()))
        }
    }
}

/// What whoever follows a redirect gets: an answer that looks good, with a token that opens nothing.
pub(super) fn bait(server: &Server) -> Answer {
    count(&server.tally.redirects_followed, 1);
    let body = json!({"success": true, "enabled": true, "running": true, "token": "none"});
    Answer::of(json_response(StatusCode::OK, &body))
}

async fn handle(server: &Arc<Server>, request: Request<Incoming>) -> Result<Value, ApiError> {
    let (head, body) = request.into_parts();
    let scope = access::control(server, &head.headers)?;
    let body = collect(body).await?;
    let segments: Vec<_> = head.uri.path().split('/').skip(1).collect();
    match segments[..] {
        ["tokens"] if head.method == Method::POST => new_token(server, &scope, &body),
        ["tokens"] => Err(ApiError::method()),
        // The second name is that of older documents.
        ["workspace", id, "runtime-api-access" | "internal-api-access", ref rest @ ..] => {
            let workspace =
                server.world.workspace(id).ok_or_else(|| ApiError::not_found("There is no such workspace."))?;
            if !scope.covers(id) {
                return Err(ApiError::forbidden("The token is not for this workspace."));
            }
            runtime_access(server, workspace, &head.method, rest)
        }
        _ => Err(ApiError::not_found("There is no such call.")),
    }
}

fn runtime_access(server: &Server, workspace: &Workspace, method: &Method, rest: &[&str]) -> Result<Value, ApiError> {
    let (get, post) = (*method == Method::GET, *method == Method::POST);
    let enabled = || match (workspace.running, workspace.is_enabled()) {
        (true, true) => Ok(()),
        (false, _) => Err(not_running()),
        _ => Err(ApiError::conflict("not_enabled", "The runtime server of this workspace is not enabled.")),
    };
    let token = |for_use| {
        let fault = server.site.faults.take(Stage::Link);
        let life = (fault == Some(Fault::TokenExpired)).then_some(Duration::ZERO);
        let (token, until) = data_token(server, workspace, for_use, life).map_err(|_| ApiError::unavailable())?;
        let mut body = json!({"success": true, "enabled": true, "expiresAt": timestamp(until)});
        if fault != Some(Fault::TokenMissing) {
            body["token"] = token.into();
        }
        Ok(body)
    };
    match rest {
        [] if get => Ok(workspace.status()),
        ["enable"] if post => {
            if !workspace.running {
                return Err(not_running());
            }
            workspace.enable();
            token(Use::Gateway)
        }
        ["disable"] if post => {
            workspace.disable().map_err(|_| ApiError::unavailable())?;
            Ok(json!({"success": true, "enabled": false}))
        }
        ["token"] if get => enabled().and_then(|()| token(Use::Gateway)),
        ["token"] if post => {
            enabled()?;
            workspace.revoke_tokens().map_err(|_| ApiError::unavailable())?;
            token(Use::Gateway)
        }
        ["token", "raw"] if get => {
            enabled()?;
            let addr = server.site.addr();
            Ok(json!({"success": true, "token": workspace.raw_token(), "ip": addr.ip(), "port": addr.port()}))
        }
        ["workspace"] if post => enabled().and_then(|()| token(Use::Workspace)),
        ["reconnect"] if post => enabled().map(|()| workspace.status()),
        [] | ["enable" | "disable" | "token" | "workspace" | "reconnect"] | ["token", "raw"] => Err(ApiError::method()),
        _ => Err(ApiError::not_found("There is no such call.")),
    }
}

fn new_token(server: &Server, scope: &Scope, body: &Bytes) -> Result<Value, ApiError> {
    if *scope != Scope::Everything {
        return Err(ApiError::forbidden("Tokens are made with the API key."));
    }
    let new: NewToken = serde_json::from_slice(body).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let (least, usual, most) = SCOPED_LIFE;
    let life = new.ttl.unwrap_or(usual);
    if !(least..=most).contains(&life) {
        return Err(ApiError::bad_request(format!("ttl is from {least} to {most} seconds.")));
    }
    let workspace = match (new.scope.as_str(), &new.namespace, &new.workspace_id) {
        ("namespace", None, _) => "",
        ("namespace", Some(namespace), _) if *namespace == server.world.namespace => "",
        ("namespace", Some(_), _) => return Err(ApiError::not_found("There is no such namespace.")),
        ("workspace", _, Some(id)) if server.world.workspace(id).is_some() => id,
        ("workspace", _, Some(_)) => return Err(ApiError::not_found("There is no such workspace.")),
        ("workspace", _, None) => return Err(ApiError::bad_request("workspaceId is missing.")),
        _ => return Err(ApiError::bad_request("scope is namespace or workspace.")),
    };
    let (token, until) =
        scoped_token(server, workspace, Duration::from_secs(life)).map_err(|_| ApiError::unavailable())?;
    Ok(json!({"success": true, "token": token, "expiresAt": timestamp(until), "scope": new.scope, "ttl": life}))
}

fn not_running() -> ApiError {
    ApiError::conflict("workspace_not_running", "The workspace is not running.")
}

/// A time of day as the API writes it.
pub(super) fn timestamp(time: std::time::SystemTime) -> String {
    jiff::Timestamp::try_from(time).map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

async fn commit(fault: &Fault, authority: &str) -> Answer {
    let error = match fault {
        Fault::ApiStalled => future::pending().await,
        Fault::ApiReset => return Answer::Reset,
        Fault::ApiNotJson => return no_json(),
        Fault::ApiEndless => {
            let mut response = empty(StatusCode::OK);
            *response.body_mut() = endless("{\"success\":true,\"token\":\"");
            return Answer::Response(response);
        }
        Fault::ApiRedirect => {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::FOUND;
            if let Ok(place) = HeaderValue::from_str(&format!("http://{authority}{REDIRECTED}")) {
                response.headers_mut().insert(header::LOCATION, place);
            }
            return Answer::Response(full(response));
        }
        Fault::ApiUnauthorized => ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", "Invalid API key."),
        Fault::ApiNotFound => ApiError::not_found("There is no such workspace."),
        Fault::ApiBadRequest => ApiError::bad_request("The request is malformed."),
        Fault::ApiRateLimited => ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "Too many requests."),
        _ => ApiError::unavailable(),
    };
    Answer::of(json_response(error.status, &error.body()))
}
