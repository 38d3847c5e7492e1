//! The data plane: a workspace's terminals, by REST.

use std::{future, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Method, Request, StatusCode, request};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::oneshot, time::timeout};

use super::{
    Server, access,
    control::timestamp,
    error::ApiError,
    json_response, no_json,
    ring::{DEFAULT_CAPACITY, MAX_CAPACITY},
    runtime::{NewTerminal, Outbound, Runtime},
    terminal::{self, Remote},
    upgrade, wire,
    world::{DEFAULT_TARGET, Workspace, is_target},
};
use crate::{
    Fault, Stage,
    pty::Shell,
    web::{Answer, Query, collect, count},
};

/// The size of a terminal whose creator says none, in columns and rows.
const DEFAULT_SIZE: (u16, u16) = (80, 24);
/// How long [`Fault::CreateLate`] waits for the first output.
const MAX_LATE: Duration = Duration::from_secs(5);
/// What [`Fault::CreateStale`] sends if no terminal has been deleted yet.
const STALE: &[u8] = b"stale\r\n";
/// An id of the shape that only a help text shows.
const WORD_ID: &str = "sess_def456";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Create {
    cmd: Option<Vec<String>>,
    command: Option<Vec<String>>,
    cols: u16,
    rows: u16,
    scrollback_size: usize,
}

/// Answers a call whose path does not belong to the control plane.
pub(super) async fn answer(server: &Arc<Server>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let (target, segments) = split(&path);
    if segments == ["health"] {
        return Answer::of(json_response(StatusCode::OK, &json!({"status": "ok"})));
    }
    if segments == ["ws"] {
        return upgrade::answer(server, target, request).await;
    }
    let (head, body) = request.into_parts();
    let answer = match collect(body).await {
        Ok(body) => handle(server, target, &segments, &head, &body).await,
        Err(refusal) => Err(refusal.into()),
    };
    match answer {
        Ok(answer) => {
            count(&server.tally.calls_answered, 1);
            answer
        }
        Err(error) => {
            count(&server.tally.calls_refused, 1);
            Answer::of(json_response(error.status, &error.body()))
        }
    }
}

/// The runtime that a path names, and what is behind its name: `/runtimes/{target}/…`, or without that for the default.
fn split(path: &str) -> (&str, Vec<&str>) {
    let segments: Vec<_> = path.split('/').skip(1).collect();
    match segments[..] {
        ["runtimes", target, ref rest @ ..] => (target, rest.to_vec()),
        _ => (DEFAULT_TARGET, segments),
    }
}

/// The runtime of a workspace that a path names.
pub(super) fn runtime<'a>(workspace: &'a Workspace, target: &str) -> Result<&'a Arc<Runtime>, ApiError> {
    if !is_target(target) {
        return Err(ApiError::bad_request("The name of the runtime is malformed."));
    }
    workspace.runtime(target).ok_or_else(|| ApiError::not_found("There is no such runtime."))
}

async fn handle(
    server: &Arc<Server>,
    target: &str,
    segments: &[&str],
    head: &request::Parts,
    body: &Bytes,
) -> Result<Answer, ApiError> {
    let workspace = access::data(server, &head.headers, None)?;
    let runtime = runtime(&workspace, target)?;
    let method = &head.method;
    let ok = |body: Value| Ok(Answer::of(json_response(StatusCode::OK, &body)));
    match *segments {
        ["terminals"] if method == Method::GET => ok(json!({"success": true, "terminals": runtime.list()})),
        ["terminals"] if method == Method::POST => create(server, &workspace, runtime, body).await,
        ["terminals", ""] | ["terminals", "", "scrollback"] => Err(ApiError::bad_request("Missing terminal ID.")),
        ["terminals", id] if method == Method::DELETE => delete(server, runtime, id).await,
        ["terminals", id, "scrollback"] => ok(scrollback(runtime, id, method, head.uri.query(), body)?),
        ["terminals"] | ["terminals", _] => Err(ApiError::method()),
        _ => Err(ApiError::not_found("There is no such call.")),
    }
}

async fn create(
    server: &Arc<Server>,
    workspace: &Workspace,
    runtime: &Arc<Runtime>,
    body: &Bytes,
) -> Result<Answer, ApiError> {
    let fault = server.site.faults.take(Stage::Create);
    match fault {
        Some(Fault::CreateFailed) => return Err(ApiError::no_pty("Failed to create PTY session.")),
        Some(Fault::CreateLimit) => return Err(too_many(server)),
        Some(Fault::CreateUnavailable) => return Err(ApiError::no_server()),
        Some(Fault::CreateUnsuccessful) => {
            let error = ApiError::no_pty("Failed to create PTY session.");
            return Ok(Answer::of(json_response(StatusCode::OK, &error.body())));
        }
        Some(Fault::CreateNotJson) => return Ok(no_json()),
        _ => {}
    }
    let create = match body.len() {
        0 => Create::default(),
        _ => serde_json::from_slice(body).map_err(|error| ApiError::bad_request(error.to_string()))?,
    };
    let scrollback_size = ring_size(create.scrollback_size)?;
    let command = create.cmd.or(create.command).filter(|command| !command.is_empty());
    let command = command.unwrap_or_else(|| server.shell.clone());
    let or = |given, usual| if given == 0 { usual } else { given };
    let (cols, rows) = (or(create.cols, DEFAULT_SIZE.0), or(create.rows, DEFAULT_SIZE.1));

    let place = workspace.place().ok_or_else(|| too_many(server))?;
    let permit = server.site.permit().ok_or_else(ApiError::unavailable)?;
    let shell = Shell::spawn_sized(&command, (cols, rows)).map_err(|error| ApiError::no_pty(format!("{error:#}")))?;
    let (remote, inputs) = Remote::new();
    let again = fault == Some(Fault::CreateStale);
    if again {
        say_stale(runtime).await;
    }
    let created_at = timestamp(server.clock.now());
    let new = NewTerminal {
        command: command.clone(),
        cols,
        rows,
        created_at,
        scrollback_size,
        remote: remote.clone(),
        place,
    };
    let Some(ticket) = runtime.insert(new, again) else {
        shell.hang_up().await;
        return Err(ApiError::no_server());
    };
    count(&server.tally.terminals_created, 1);
    {
        let (server, runtime, remote) = (Arc::clone(server), Arc::clone(runtime), remote.clone());
        let tracker = server.site.tracker.clone();
        tracker.spawn(async move { terminal::run(&server, &runtime, ticket, shell, remote, inputs, permit).await });
    }
    let mut reply =
        json!({"success": true, "id": ticket.id.to_string(), "cols": cols, "rows": rows, "command": command});
    match fault {
        Some(Fault::CreateUnanswered) => future::pending().await,
        Some(Fault::CreateReset) => return Ok(Answer::Reset),
        Some(Fault::CreateNoId) => drop(reply.as_object_mut().and_then(|reply| reply.remove("id"))),
        Some(Fault::CreateWordId) => reply["id"] = WORD_ID.into(),
        Some(Fault::CreateLate) => drop(timeout(MAX_LATE, first_output_sent(runtime, &remote)).await),
        _ => {}
    }
    Ok(Answer::of(json_response(StatusCode::CREATED, &reply)))
}

/// Sends what the terminal that was deleted last has said, as if it were still there.
async fn say_stale(runtime: &Runtime) {
    let stale = runtime.last_words().or_else(|| Some((runtime.next_id()?, STALE.to_vec())));
    if let (Some((id, words)), Some(queue)) = (stale, runtime.queue()) {
        // A WebSocket that has ended meanwhile gets nothing.
        let _ended = queue.send(Outbound::Output(wire::output(id, &words).into())).await;
    }
}

/// Waits until a terminal's first output is on its way to the client; at once if nobody is there to get it.
async fn first_output_sent(runtime: &Runtime, remote: &Remote) {
    let Some(queue) = runtime.queue() else { return };
    remote.spoken().await;
    let (sent, told) = oneshot::channel();
    if queue.send(Outbound::Sent(sent)).await.is_ok() {
        // A WebSocket that ends meanwhile has nothing more to send.
        let _ended = told.await;
    }
}

async fn delete(server: &Server, runtime: &Runtime, id: &str) -> Result<Answer, ApiError> {
    let number = wire::parse_id(id).ok_or_else(ApiError::no_terminal)?;
    match server.site.faults.take(Stage::Delete) {
        Some(Fault::DeleteFailed) => {
            let error = "The terminal session could not be closed.";
            return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", error));
        }
        Some(Fault::DeleteUnanswered) => future::pending().await,
        _ => {}
    }
    if !runtime.delete(number) {
        return Err(ApiError::no_terminal());
    }
    count(&server.tally.terminals_deleted, 1);
    Ok(Answer::of(json_response(StatusCode::OK, &json!({"success": true, "terminal_id": id}))))
}

fn scrollback(
    runtime: &Runtime,
    id: &str,
    method: &Method,
    query: Option<&str>,
    body: &Bytes,
) -> Result<Value, ApiError> {
    let number = wire::parse_id(id).ok_or_else(ApiError::no_terminal)?;
    let changed = |size| json!({"success": true, "terminal_id": id, "scrollback_size": size});
    let size = if method == Method::GET {
        let bytes = match Query::of(query.unwrap_or_default()).get("bytes") {
            Some(bytes) => bytes.parse().map_err(|_| ApiError::bad_request("bytes is a number."))?,
            None => usize::MAX,
        };
        let (scrollback, terminal) = runtime.scrollback(number, bytes).ok_or_else(ApiError::no_terminal)?;
        return Ok(json!({
            "success": true,
            "scrollback": STANDARD.encode(&scrollback),
            "size": scrollback.len(),
            "alive": terminal["alive"],
            "exit_code": terminal["exit_code"],
            "scrollback_size": terminal["scrollback_size"],
            "max_scrollback_size": MAX_CAPACITY,
        }));
    } else if method == Method::DELETE {
        runtime.change_scrollback(number, |ring| ring.clear())
    } else if method == Method::PATCH {
        #[derive(Deserialize)]
        struct Patch {
            scrollback_size: usize,
        }
        let patch: Patch = serde_json::from_slice(body).map_err(|error| ApiError::bad_request(error.to_string()))?;
        let size = ring_size(patch.scrollback_size)?;
        runtime.change_scrollback(number, |ring| ring.set_capacity(size))
    } else {
        return Err(ApiError::method());
    };
    size.map(changed).ok_or_else(ApiError::no_terminal)
}

/// What a `scrollback_size` means: 0 is the usual size.
fn ring_size(size: usize) -> Result<usize, ApiError> {
    match size {
        0 => Ok(DEFAULT_CAPACITY),
        1..=MAX_CAPACITY => Ok(size),
        _ => Err(ApiError::bad_request(format!("scrollback_size is at most {MAX_CAPACITY}."))),
    }
}

fn too_many(server: &Server) -> ApiError {
    ApiError::too_many_terminals(server.limit_status, server.max_terminals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_runtime_or_means_the_default() {
        assert_eq!(split("/terminals/1"), ("default", vec!["terminals", "1"]));
        assert_eq!(split("/runtimes/macos/terminals"), ("macos", vec!["terminals"]));
        assert_eq!(split("/runtimes/macos/ws"), ("macos", vec!["ws"]));
        assert_eq!(split("/runtimes/"), ("", vec![]));
        assert_eq!(split("/"), ("default", vec![""]));
    }
}
