//! The opening handshake of a terminal's WebSocket (RFC 6455 §4.2).

use std::{future, sync::Arc};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::TokioIo;
use tracing::debug;

use super::{
    count,
    error::ApiError,
    http_service::{Answer, Call, full, only},
    links::{Place, Taken},
    output::early_frame,
    session,
    signature::decoded_pairs,
};
use crate::{Fault, Stage, net::Conn};

/// What the path of every terminal link begins with.
pub(super) const PATH: &str = "/terminal/";
/// RFC 6455 §1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Spends the link and opens the session, or refuses.
pub(super) async fn answer(call: Call, request: Request<Incoming>) -> Answer {
    match open(&call, request).await {
        Ok(answer) => {
            count(&call.server.tally.upgrades_taken, 1);
            answer
        }
        Err(error) => {
            count(&call.server.tally.upgrades_refused, 1);
            let mut answer = call.refuse_and_close(&error);
            if let (Answer::Response(response), StatusCode::UPGRADE_REQUIRED) = (&mut answer, error.status) {
                response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            answer
        }
    }
}

async fn open(call: &Call, mut request: Request<Incoming>) -> Result<Answer, ApiError> {
    let server = &call.server;
    let accept = accept(check(&request)?);
    let (place, token) = terminal(request.uri(), &server.world.tenant)
        .ok_or_else(|| ApiError::not_found("There is no such terminal."))?;
    let fault = server.faults.take(Stage::Upgrade);
    if let Some(Fault::UpgradeRefused { status }) = fault {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        return Err(ApiError::new(status, "UpgradeRefused", "The terminal cannot be opened."));
    }
    let permit = session::Permit::of(server).ok_or_else(ApiError::unavailable)?;
    match server.links.take(&token, &place, server.clock.now()) {
        Taken::Good => {}
        Taken::NeedsIdentity => {
            let message = "This link needs Alibaba Cloud identity authentication.";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "Forbidden", message));
        }
        Taken::Gone => return Err(ApiError::not_found("The link is unknown, spent or expired.")),
    }
    let Some(fault) = fault else {
        let upgraded = hyper::upgrade::on(&mut request);
        let server = Arc::clone(server);
        server.tracker.clone().spawn(async move {
            match upgraded.await.map(hyper::upgrade::Upgraded::downcast::<TokioIo<Conn>>) {
                Ok(Ok(parts)) => {
                    session::run(&server, parts.io.into_inner(), parts.read_buf.to_vec(), permit).await;
                }
                Ok(Err(_)) => debug!("the upgraded connection is of another type"),
                Err(error) => debug!(?error, "the client has gone before its upgrade"),
            }
        });
        return Ok(Answer::Response(full(switching(&accept))));
    };
    if fault == Fault::UpgradeStalled {
        future::pending::<()>().await;
    }
    Ok(Answer::Hijack(faulty_head(&fault, &accept), permit))
}

/// Checks the handshake and returns its key.
fn check(request: &Request<Incoming>) -> Result<&str, ApiError> {
    let headers = request.headers();
    let bad = ApiError::bad_request;
    if request.method() != Method::GET || request.version() != Version::HTTP_11 {
        return Err(bad("A terminal is opened by an HTTP/1.1 GET."));
    }
    if !request.body().is_end_stream() {
        return Err(bad("An upgrade has no body."));
    }
    if !lists(headers, &header::UPGRADE, "websocket") || !lists(headers, &header::CONNECTION, "upgrade") {
        let message = "A terminal is opened by a WebSocket handshake.";
        return Err(ApiError::new(StatusCode::UPGRADE_REQUIRED, "UpgradeRequired", message));
    }
    if only(headers, &header::SEC_WEBSOCKET_VERSION)? != Some("13") {
        let message = "The WebSocket version has to be 13.";
        return Err(ApiError::new(StatusCode::UPGRADE_REQUIRED, "UpgradeRequired", message));
    }
    only(headers, &header::SEC_WEBSOCKET_KEY)?
        .filter(|key| STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16))
        .ok_or_else(|| bad("Sec-WebSocket-Key has to be 16 bytes in base64."))
}

/// Whether a header that is a list of tokens has this one, in any case.
fn lists(headers: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// The pod and the token that a link names: `/terminal/{tenant}/{JobId}/{PodId}?Token=…`.
fn terminal(uri: &http::Uri, tenant: &str) -> Option<(Place, String)> {
    let mut segments = uri.path().strip_prefix(PATH)?.split('/');
    let (owner, job, pod) = (segments.next()?, segments.next()?, segments.next()?);
    if owner != tenant || segments.next().is_some() {
        return None;
    }
    let (_, token) = decoded_pairs(uri.query()?).find(|(key, _)| key == "Token")?;
    Some((Place { job: job.to_owned(), pod: pod.to_owned() }, token))
}

fn accept(key: &str) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
    STANDARD.encode(hash)
}

fn switching(accept: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// The head of an answer with one thing wrong, or with a first message right behind it.
fn faulty_head(fault: &Fault, accept: &str) -> Vec<u8> {
    let another = self::accept("AAAAAAAAAAAAAAAAAAAAAA==");
    let status = if *fault == Fault::Upgrade200 { "200 OK" } else { "101 Switching Protocols" };
    let upgrade = if *fault == Fault::UpgradeNoHeader { "" } else { "Upgrade: websocket\r\n" };
    let accept = if *fault == Fault::UpgradeWrongAccept { &another } else { accept };
    let extra = match fault {
        Fault::UpgradeExtension => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        Fault::UpgradeSubprotocol => "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n",
        _ => "",
    };
    let head =
        format!("HTTP/1.1 {status}\r\n{upgrade}Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{extra}\r\n");
    let mut bytes = head.into_bytes();
    if *fault == Fault::UpgradeEarlyFrame {
        bytes.extend(early_frame());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_value_is_that_of_the_standard() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_link_names_its_pod_and_token() {
        let parse = |uri: &str| terminal(&uri.parse().unwrap(), "t1");
        let (place, token) = parse("/terminal/t1/job/pod?Token=a-b_c").unwrap();
        assert_eq!((place.job.as_str(), place.pod.as_str(), token.as_str()), ("job", "pod", "a-b_c"));
        for other in [
            "/terminal/t2/job/pod?Token=a",
            "/terminal/t1/job?Token=a",
            "/terminal/t1/job/pod/x?Token=a",
            "/terminal/t1/job/pod",
        ] {
            assert!(parse(other).is_none(), "{other}");
        }
    }
}
