//! Calls over HTTP: `POST /v0/{Api}/{method}`, the api key as a bearer token.

use std::{future, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method as HttpMethod, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use super::{
    MAX_MESSAGE, Server,
    calls::{self, Call, Then},
    encoding,
    error::Method,
    socket,
};
use crate::{
    Fault, Stage,
    web::{Answer, Refusal, Service, count, endless, full, only},
};

/// The only type of a body, of a call and of an answer, to the letter: an official client wants it so.
const OCTETS: &str = "application/octet-stream";
/// Time for the body of a call.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Where the redirect of [`Fault::ApiRedirect`] leads.
const REDIRECTED: &str = "/redirected";

impl Service for Server {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, authority: String) -> Answer {
        match request.uri().path() {
            "/v0/ws" => socket::upgrade(self, request).await,
            path if path.starts_with(REDIRECTED) => {
                count(&self.tally.redirects_followed, 1);
                Answer::of(octets(encoding::http_reply(br#"{"result":{"terminalSessionId":"none"}}"#)))
            }
            _ => match self.site.faults.take(Stage::Api) {
                Some(fault) => {
                    count(&self.tally.calls_refused, 1);
                    commit(&fault, &request, &authority).await
                }
                None => match call(&self, request).await {
                    Ok(body) => Answer::of(octets(body)),
                    Err(refusal) => {
                        count(&self.tally.calls_refused, 1);
                        Answer::and_close(text(&refusal))
                    }
                },
            },
        }
    }

    fn refuse(&self, refusal: &Refusal, _authority: &str) -> Response<Bytes> {
        text(refusal)
    }
}

/// Makes a call and returns the body of its answer, which is one of 200 whatever has come of the call.
async fn call(server: &Arc<Server>, request: Request<Incoming>) -> Result<Vec<u8>, Refusal> {
    let not_found = || Refusal::new(StatusCode::NOT_FOUND, "NotFound", "There is no such api or method.");
    let path = request.uri().path().strip_prefix("/v0/").ok_or_else(not_found)?;
    let (api, method) = path.split_once('/').ok_or_else(not_found)?;
    let method = Method::find(api, method).ok_or_else(not_found)?;
    if request.method() != HttpMethod::POST {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "A call is a POST."));
    }
    if only(request.headers(), &header::CONTENT_TYPE)? != Some(OCTETS) {
        let message = format!("The Content-Type of a call is {OCTETS}.");
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message));
    }
    let authorized = bearer(request.headers()).is_some_and(|key| server.is_key(key));
    let malformed = || Refusal::bad("The body is no encoded call.");
    let payload = encoding::http_call(collect(request.into_body()).await?).map_err(|_| malformed())?;
    let params: Value = serde_json::from_slice(&payload.json).map_err(|_| malformed())?;
    count(&server.tally.http_calls, 1);
    let mut begun = calls::begin(server, Call { method, params, blobs: payload.blobs, authorized }, None);
    let outcome = begun.outcome().await;
    let json = match outcome {
        Ok((result, then)) => {
            // Nobody over HTTP waits for the first output.
            drop::<Then>(then);
            begun.json(Ok(result))
        }
        Err(error) => begun.json(Err(&error)),
    };
    Ok(begun.encode(None, &json))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = only(headers, &header::AUTHORIZATION).ok()??;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

async fn collect(body: Incoming) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_MESSAGE).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", "The body is too long or broken.")),
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "Timeout", "The body is too slow.")),
    }
}

/// Answers as a fault demands.
async fn commit(fault: &Fault, request: &Request<Incoming>, authority: &str) -> Answer {
    match fault {
        Fault::ApiNotFound => {
            Answer::and_close(text(&Refusal::new(StatusCode::NOT_FOUND, "NotFound", "There is no such api or method.")))
        }
        Fault::ApiNotJson => Answer::of(octets(b"<html>this is no encoded answer</html>".to_vec())),
        Fault::ApiRedirect => {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::FOUND;
            let location = format!("http://{authority}{REDIRECTED}{}", request.uri().path());
            if let Ok(location) = HeaderValue::from_str(&location) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            Answer::and_close(response)
        }
        Fault::ApiEndless => {
            let (parts, ()) = octets(Vec::new()).map(drop).into_parts();
            let mut response = full(Response::new(Bytes::new()));
            *response.headers_mut() = parts.headers;
            // Blobs without number follow the JSON.
            *response.body_mut() = endless("\u{d}{\"result\":{}}");
            Answer::Response(response)
        }
        Fault::ApiStalled => future::pending().await,
        Fault::ApiReset => Answer::Reset,
        _ => Answer::and_close(text(&Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "MethodFailed",
            "The method has failed.",
        ))),
    }
}

fn octets(body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(OCTETS));
    response
}

/// A refusal that comes before the method: a status and a sentence.
pub(super) fn text(refusal: &Refusal) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{}: {}\n", refusal.code, refusal.message)));
    *response.status_mut() = refusal.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if refusal.status == StatusCode::UPGRADE_REQUIRED {
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    response
}
