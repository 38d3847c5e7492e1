//! The calls around a terminal.

use std::{future, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{
    Flow, Server,
    auth::{Caller, Denied},
    docker::Process,
    login, parse_int,
    world::{Connection, SHELLS},
};
use crate::{
    Fault, Stage,
    web::{Answer, Query, collect, count, endless},
};

/// Where the redirect of [`Fault::ApiRedirect`] leads.
const REDIRECTED: &str = "/redirected";

/// The answer to a call that is refused.
pub(super) type Refused = Box<Response<Bytes>>;

/// Answers a call, or commits the fault that stands in its way.
pub(super) async fn answer(server: &Arc<Server>, request: Request<Incoming>, authority: &str) -> Answer {
    if request.uri().path() == REDIRECTED {
        count(&server.tally.redirects_followed, 1);
        return Answer::of(reply(StatusCode::OK, &json!({"success": true, "execId": "none"})));
    }
    if let Some(fault) = server.site.faults.take(Stage::Api) {
        count(&server.tally.calls_refused, 1);
        return commit(&fault, authority).await;
    }
    let (head, body) = request.into_parts();
    let body = match collect(body).await {
        Ok(body) => body,
        Err(refusal) => return Answer::and_close(envelope(refusal.status, &refusal.message)),
    };
    let response = handle(server, &head, &body).unwrap_or_else(|refused| *refused);
    let good = response.status().is_success();
    count(if good { &server.tally.calls_answered } else { &server.tally.calls_refused }, 1);
    Answer::of(response)
}

/// An answer of JSON.
pub(super) fn reply(status: StatusCode, body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An error in the server's usual shape.
pub(super) fn envelope(status: StatusCode, error: &str) -> Response<Bytes> {
    reply(status, &json!({"error": error}))
}

pub(super) fn unauthorized() -> Response<Bytes> {
    reply(StatusCode::UNAUTHORIZED, &json!({"error": "Unauthorized", "message": "Authentication required"}))
}

/// Docker's and the server's own errors have one status.
fn failed(error: &str) -> Refused {
    envelope(StatusCode::INTERNAL_SERVER_ERROR, error).into()
}

pub(super) fn page(status: StatusCode) -> Response<Bytes> {
    let title = status.canonical_reason().unwrap_or_default();
    let mut response = Response::new(format!("<!doctype html><title>{title}</title><h1>{title}</h1>\n").into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

fn handle(server: &Server, head: &Parts, body: &[u8]) -> Result<Response<Bytes>, Refused> {
    let path = head.uri.path();
    let Some(path) = path.strip_prefix("/api/") else { return Err(page(StatusCode::NOT_FOUND).into()) };
    let segments: Vec<_> = path.split('/').collect();
    let query = Query::of(head.uri.query().unwrap_or_default());
    let get = head.method == Method::GET;
    let post = head.method == Method::POST;
    match segments[..] {
        ["health"] if get => Ok(health(server)),
        ["auth", "session"] if get => Ok(login::who(server, &head.headers)),
        ["auth", "login"] if post => login::login(server, &head.headers, body),
        _ => {
            let caller = identify(server, &head.headers)?;
            match segments[..] {
                ["auth", "logout"] if post => Ok(login::logout(server, &head.headers)),
                ["auth", "tokens"] if post => login::mint(server, &caller, body),
                ["environments"] if get => {
                    let all: Vec<_> =
                        server.world.environments.iter().map(|environment| environment.to_json()).collect();
                    Ok(reply(StatusCode::OK, &all.into()))
                }
                ["containers", id, "shells"] if get => Ok(shells(server, id, &query)),
                ["containers", id, "exec"] if post => exec(server, id, &query, body),
                ["exec", id, "resize"] if post && server.flow == Flow::Documented => resize(server, id, &query),
                ["health"] | ["auth", "session"] | ["environments"] | ["containers", _, "shells"] => {
                    Err(wrong_method(&head.method, "GET").into())
                }
                ["auth", "login" | "logout" | "tokens"] | ["containers", _, "exec"] => {
                    Err(wrong_method(&head.method, "POST").into())
                }
                _ => Err(page(StatusCode::NOT_FOUND).into()),
            }
        }
    }
}

fn wrong_method(method: &Method, allowed: &'static str) -> Response<Bytes> {
    let mut response = Response::new(format!("{method} method not allowed").into());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

fn identify(server: &Server, headers: &HeaderMap) -> Result<Caller, Refused> {
    server.accounts.caller(headers).map_err(|denied| match denied {
        Denied::Unknown => unauthorized().into(),
        Denied::Locked(seconds) => {
            let mut response = envelope(StatusCode::TOO_MANY_REQUESTS, "Too many failed authentication attempts");
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            response.into()
        }
    })
}

fn health(server: &Server) -> Response<Bytes> {
    let timestamp = jiff::Timestamp::try_from(server.clock.now()).map_or_else(|_| String::new(), |now| now.to_string());
    reply(StatusCode::OK, &json!({"status": "ok", "timestamp": timestamp}))
}

/// The shells of a container. A failure, too, is a 200.
fn shells(server: &Server, id: &str, query: &Query) -> Response<Bytes> {
    let target = container_id(id).map_err(|_| "Invalid container ID".to_owned()).and_then(|id| {
        let environment = server.world.environment(query.get("env").and_then(parse_int))?;
        environment.exec_target(&id, "root").map(drop)
    });
    let there = |there: &bool| target.is_ok() && *there;
    let paths: Vec<_> = SHELLS.iter().filter(|(.., is)| there(is)).map(|(path, ..)| *path).collect();
    let all: Vec<_> = SHELLS
        .iter()
        .filter(|_| target.is_ok())
        .map(|(path, label, is)| json!({"path": path, "label": label, "available": is}))
        .collect();
    let mut body = json!({"shells": paths, "defaultShell": paths.first(), "allShells": all});
    if let Err(error) = target {
        body["error"] = error.into();
    }
    reply(StatusCode::OK, &body)
}

/// Creates a process that nobody starts, unless the [flow](Flow) is the documented one.
fn exec(server: &Server, id: &str, query: &Query, body: &[u8]) -> Result<Response<Bytes>, Refused> {
    let container = container_id(id)?;
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let or = |name: &str, default: &str| match body[name].as_str() {
        None | Some("") => default.to_owned(),
        Some(text) => text.to_owned(),
    };
    let environment =
        server.world.environment(query.get("envId").and_then(parse_int)).map_err(|error| failed(&error))?;
    let process =
        Process { environment: environment.id, container, shell: or("shell", "/bin/sh"), user: or("user", "root") };
    server.record(super::Opening::from(&process));
    if environment.connection == Connection::EdgeOffline {
        return Err(failed("Hawser Edge agent is not connected"));
    }
    environment.exec_target(&process.container, &process.user).map_err(|error| failed(&error))?;
    let id = server.docker.create(process).map_err(|error| failed(&error.to_string()))?;
    count(&server.tally.execs_created, 1);
    Ok(reply(StatusCode::OK, &json!({"execId": id, "connectionInfo": environment.connection_info()})))
}

/// The documented call for a new size: `h` rows, `w` columns.
fn resize(server: &Server, id: &str, query: &Query) -> Result<Response<Bytes>, Refused> {
    let environment =
        server.world.environment(query.get("envId").and_then(parse_int)).map_err(|error| failed(&error))?;
    let size = |name: &str| query.get(name).and_then(|value| value.parse::<u16>().ok());
    let (Some(rows), Some(cols)) = (size("h"), size("w")) else {
        return Err(envelope(StatusCode::BAD_REQUEST, "h and w have to be numbers").into());
    };
    server
        .docker
        .resize(id, environment.id, (cols, rows))
        .map_err(|_| envelope(StatusCode::NOT_FOUND, &format!("No such exec instance: {id}")))?;
    count(&server.tally.resize_calls, 1);
    Ok(reply(StatusCode::OK, &json!({"success": true})))
}

/// The container that a segment of a path names.
fn container_id(segment: &str) -> Result<String, Refused> {
    let invalid = || Refused::from(envelope(StatusCode::BAD_REQUEST, "Invalid container ID"));
    let id = percent_decode_str(segment).decode_utf8().map_err(|_| invalid())?.into_owned();
    if id.is_empty() || id.contains("..") || id.contains(['/', '\\', '\0', '%']) {
        return Err(invalid());
    }
    Ok(id)
}

async fn commit(fault: &Fault, authority: &str) -> Answer {
    Answer::of(match fault {
        Fault::ApiUnauthorized => unauthorized(),
        Fault::ApiForbidden => envelope(StatusCode::FORBIDDEN, "Permission denied"),
        Fault::ApiLocked { seconds } => login::too_many(*seconds),
        Fault::ApiUnavailable => page(StatusCode::SERVICE_UNAVAILABLE),
        Fault::ApiNoUrl => reply(StatusCode::OK, &json!({"success": true})),
        Fault::ApiNotJson => page(StatusCode::OK),
        Fault::ApiRedirect => {
            let mut response = page(StatusCode::FOUND);
            if let Ok(location) = HeaderValue::try_from(format!("http://{authority}{REDIRECTED}")) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
        Fault::ApiEndless => {
            let mut response = Response::new(endless("{\"success\":true,\"execId\":\""));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            return Answer::Response(response);
        }
        Fault::ApiStalled => future::pending().await,
        Fault::ApiReset => return Answer::Reset,
        _ => envelope(StatusCode::BAD_REQUEST, "Bad request"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_leave_their_segment_are_refused() {
        assert_eq!(container_id("box").unwrap(), "box");
        assert_eq!(container_id("b%6Fx").unwrap(), "box");
        for bad in ["", "..", "a..b", "a%2Fb", "a%5Cb", "a%00", "a%25b", "%FF"] {
            let refused = container_id(bad).unwrap_err();
            assert_eq!(refused.status(), 400, "{bad}");
            assert_eq!(refused.body(), &r#"{"error":"Invalid container ID"}"#, "{bad}");
        }
    }
}
