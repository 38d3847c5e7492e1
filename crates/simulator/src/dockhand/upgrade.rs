//! The upgrade that opens a terminal.

use std::sync::Arc;

use http::{Request, StatusCode, Uri};
use hyper::body::Incoming;

use super::{Flow, Opening, Server, api::envelope, output::early_frame, parse_int, session, session::Wanted};
use crate::{
    Fault, Stage,
    web::{Answer, Handshake, Query, count},
};

/// Opens the session, or refuses as the real server does: outside of HTTP's manners.
pub(super) async fn answer(server: &Arc<Server>, mut request: Request<Incoming>) -> Answer {
    let answer = open(server, &mut request).await;
    let counter = if answer.is_ok() { &server.tally.upgrades_taken } else { &server.tally.upgrades_refused };
    count(counter, 1);
    answer.unwrap_or_else(|refusal| refusal)
}

async fn open(server: &Arc<Server>, request: &mut Request<Incoming>) -> Result<Answer, Answer> {
    let path = match server.flow {
        Flow::WebSocket => terminal_path(request.uri()).map(Path::Terminal),
        Flow::Documented => exec_path(request.uri()).map(Path::Exec),
    };
    let path = path.ok_or_else(|| bare(""))?;
    let fault = server.site.faults.take(Stage::Upgrade);
    match fault {
        Some(Fault::UpgradeDropped) => return Err(bare("")),
        Some(Fault::UpgradeRefused { status }) => return Err(refused(status)),
        Some(Fault::UpgradeLoggedOut) => server.accounts.logout_all(),
        _ => {}
    }
    let fault = fault.filter(|fault| *fault != Fault::UpgradeLoggedOut);
    if server.accounts.upgrader(request.headers()).is_none() {
        return Err(refused(401));
    }
    let handshake =
        Handshake::of(request).map_err(|refusal| Answer::and_close(envelope(refusal.status, &refusal.message)))?;
    let permit = server.site.permit().ok_or_else(|| refused(503))?;
    let wanted = match path {
        Path::Terminal(wanted) => {
            server.record(Opening::of(&wanted));
            wanted
        }
        Path::Exec(id) => {
            let no_such_exec =
                |_| Answer::and_close(envelope(StatusCode::NOT_FOUND, &format!("No such exec instance: {id}")));
            Wanted::Exec(server.docker.start(&id).map_err(no_such_exec)?)
        }
    };
    let handshake = match handshake.offered().first().cloned() {
        Some(first) => handshake.select(&first),
        None => handshake,
    };
    let session = {
        let server = Arc::clone(server);
        move |conn, behind| session::run(server, conn, behind, wanted, permit)
    };
    Ok(handshake.answer(&server.site, request, fault.as_ref(), &early_frame(), session).await)
}

enum Path {
    Terminal(Wanted),
    Exec(String),
}

/// A refusal: a status line, one header, and the end.
fn refused(status: u16) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let reason = status.canonical_reason().unwrap_or_default();
    bare(&format!("HTTP/1.1 {} {reason}\r\nConnection: close\r\n\r\n", status.as_u16()))
}

/// These bytes and the end of the connection.
fn bare(bytes: &str) -> Answer {
    let end = |conn: crate::net::Conn, _behind| {
        let end: futures_util::future::BoxFuture<'static, ()> = Box::pin(async move {
            // An error is an end as well.
            let _ended = conn.shutdown_write();
        });
        end
    };
    Answer::Hijack(bytes.as_bytes().to_vec(), Box::new(end))
}

/// Any path that holds both `/api/containers/` and `/exec`. The container is the segment behind `containers`, as it stands.
fn terminal_path(uri: &Uri) -> Option<Wanted> {
    let path = uri.path();
    if !path.contains("/api/containers/") || !path.contains("/exec") {
        return None;
    }
    let container = path.split('/').skip_while(|segment| *segment != "containers").nth(1).unwrap_or_default();
    let query = Query::of(uri.query().unwrap_or_default());
    let or = |name: &str, default: &str| query.get(name).unwrap_or(default).to_owned();
    Some(Wanted::New {
        environment: query.get("envId").and_then(parse_int),
        container: container.to_owned(),
        shell: or("shell", "/bin/sh"),
        user: or("user", "root"),
    })
}

/// The id of an exec that is to be attached to. The documentation names no path, so that three are good:
/// `/api/exec/{id}`, the same with more behind it (as in `/api/exec/{id}/ws`), and the terminal's path with `execId={id}` in
/// its query.
fn exec_path(uri: &Uri) -> Option<String> {
    if let Some(rest) = uri.path().strip_prefix("/api/exec/") {
        return rest.split('/').next().filter(|id| !id.is_empty()).map(str::to_owned);
    }
    terminal_path(uri)?;
    Query::of(uri.query()?).get("execId").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(uri: &str) -> Option<(Option<i64>, String, String, String)> {
        match terminal_path(&uri.parse().unwrap())? {
            Wanted::New { environment, container, shell, user } => Some((environment, container, shell, user)),
            Wanted::Exec(_) => None,
        }
    }

    #[test]
    fn a_terminals_path_is_matched_loosely_and_its_query_decoded() {
        let text = str::to_owned;
        assert_eq!(
            wanted("/api/containers/box/exec?shell=%2Fbin%2Fbash&user=a+b%26c&envId=1"),
            Some((Some(1), text("box"), text("/bin/bash"), text("a b&c")))
        );
        assert_eq!(
            wanted("/x/api/containers/a%2Fb/more/executes?user=&envId=7up"),
            Some((Some(7), text("a%2Fb"), text("/bin/sh"), text("root")))
        );
        assert_eq!(wanted("/api/containers//exec?envId=x").unwrap().0, None);
        assert_eq!(wanted("/api/containers//exec").unwrap().1, "");
        assert_eq!(wanted("/api/containers/box/attach"), None);
        assert_eq!(wanted("/exec"), None);
    }

    #[test]
    fn an_exec_is_named_in_three_ways() {
        for uri in ["/api/exec/e1", "/api/exec/e1/ws?envId=1", "/api/containers/box/exec?envId=1&execId=e1"] {
            assert_eq!(exec_path(&uri.parse().unwrap()).as_deref(), Some("e1"), "{uri}");
        }
        for uri in ["/api/exec/", "/api/containers/box/exec?envId=1", "/api/containers/box/exec", "/"] {
            assert_eq!(exec_path(&uri.parse().unwrap()), None, "{uri}");
        }
    }
}
