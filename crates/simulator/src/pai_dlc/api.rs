//! The calls: GetWebTerminal, GetJob, ListJobs.

use std::{future, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{
    count,
    error::{ApiError, json_response},
    http_service::{Answer, Call, endless, full},
    links::Place,
    signature::{SignedRequest, decoded_pairs},
    upgrade,
    world::Job,
};
use crate::{Fault, Stage};

/// Where the redirect of [`Fault::ApiRedirect`] leads.
pub(super) const REDIRECTED: &str = "/redirected";

/// Bytes of a request body.
const MAX_BODY: usize = 64 * 1024;
/// Time for a request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The workspace that all jobs are in.
const WORKSPACE_ID: &str = "46099";
const MAX_PAGE_SIZE: usize = 100;
const DEFAULT_PAGE_SIZE: usize = 10;

#[derive(Debug, PartialEq, Eq)]
enum Action {
    GetWebTerminal { job: String, pod: String },
    GetJob { job: String },
    ListJobs,
}

impl Action {
    fn name(&self) -> &'static str {
        match self {
            Self::GetWebTerminal { .. } => "GetWebTerminal",
            Self::GetJob { .. } => "GetJob",
            Self::ListJobs => "ListJobs",
        }
    }

    /// Finds the action by method and path. Segments are split first and decoded then: `%2F` is part of an id.
    fn of(method: &Method, path: &str) -> Result<Self, ApiError> {
        let decode = |text: &str| {
            percent_decode_str(text)
                .decode_utf8()
                .map(String::from)
                .map_err(|_| ApiError::invalid_parameter("The path is not UTF-8."))
        };
        let segments: Vec<_> = path.split('/').skip(1).collect();
        match segments[..] {
            _ if method != Method::GET => Err(ApiError::unknown_action()),
            ["api", "v1", "jobs"] => Ok(Self::ListJobs),
            ["api", "v1", "jobs", job] if !job.is_empty() => Ok(Self::GetJob { job: decode(job)? }),
            ["api", "v1", "jobs", job, "pods", pod, "webterminal"] => {
                Ok(Self::GetWebTerminal { job: decode(job)?, pod: decode(pod)? })
            }
            _ => Err(ApiError::unknown_action()),
        }
    }
}

/// Answers a call, or commits the fault that stands in its way.
pub(super) async fn answer(call: &Call, request: Request<Incoming>) -> Answer {
    let tally = &call.server.tally;
    if let Some(fault) = call.server.faults.take(Stage::Api) {
        count(&tally.calls_refused, 1);
        return commit(call, &fault).await;
    }
    match handle(call, request).await {
        Ok(body) => {
            count(&tally.calls_answered, 1);
            Answer::Response(full(json_response(StatusCode::OK, &call.request_id, &body)))
        }
        Err(error) => {
            count(&tally.calls_refused, 1);
            call.refuse(&error)
        }
    }
}

/// What whoever follows a redirect gets: an answer that looks good, with a link that leads nowhere.
pub(super) fn bait(call: &Call) -> Answer {
    count(&call.server.tally.redirects_followed, 1);
    let link = link("ws", &call.authority, &call.server.world.tenant, &place("none", "none"), "none");
    let body = json!({"RequestId": call.request_id, "WebTerminalUrl": link});
    Answer::Response(full(json_response(StatusCode::OK, &call.request_id, &body)))
}

async fn handle(call: &Call, request: Request<Incoming>) -> Result<Value, ApiError> {
    let (head, body) = request.into_parts();
    let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect())
        .await
        .ok()
        .and_then(Result::ok)
        .ok_or_else(|| ApiError::bad_request("The request body is too long, too slow or broken."))?
        .to_bytes();
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    let action = Action::of(&head.method, path)?;
    let signed = SignedRequest { method: &head.method, path, query, headers: &head.headers, body: &body };
    call.server.gateway.authorize(signed, action.name())?;
    let query = Query(decoded_pairs(query).collect());
    match action {
        Action::GetWebTerminal { job, pod } => get_web_terminal(call, place(&job, &pod), &query),
        Action::GetJob { job } => {
            query.boolean("NeedDetail")?;
            let mut body = known(call, &job)?.to_json(WORKSPACE_ID);
            body["RequestId"] = call.request_id.as_str().into();
            Ok(body)
        }
        Action::ListJobs => list_jobs(call, &query),
    }
}

fn get_web_terminal(call: &Call, place: Place, query: &Query) -> Result<Value, ApiError> {
    let job = known(call, &place.job)?;
    let pod = job
        .pods
        .iter()
        .find(|pod| pod.id == place.pod)
        .ok_or_else(|| ApiError::not_found(format!("Pod {} not found in job {}.", place.pod, place.job)))?;
    // Without IsShared the document is silent; a link that is not said to be shared is not.
    let shared = query.boolean("IsShared")?.unwrap_or(false);
    if query.get("PodUid").is_some_and(|uid| uid != pod.uid) {
        return Err(ApiError::not_found(format!("Pod {} has no such incarnation.", pod.id)));
    }
    if job.status != "Running" {
        return Err(ApiError::bad_request(format!("Job {} is {}.", job.id, job.status)));
    }
    if pod.status != "Running" {
        return Err(ApiError::bad_request(format!("Pod {} is {}.", pod.id, pod.status)));
    }
    let server = &call.server;
    let token = server
        .links
        .mint(place.clone(), shared, server.clock.now())
        .map_err(|_| ApiError::unavailable())?
        .ok_or_else(|| ApiError::throttled(1_000))?;
    count(&server.tally.links_minted, 1);
    let fault = server.faults.take(Stage::Link);
    let (scheme, host) = match &fault {
        Some(Fault::LinkForeignHost { host }) => ("ws", host.as_str()),
        Some(Fault::LinkWrongScheme { scheme }) => (scheme.as_str(), call.authority.as_str()),
        _ => ("ws", call.authority.as_str()),
    };
    let url = link(scheme, host, &server.world.tenant, &place, &token);
    Ok(json!({"RequestId": call.request_id, "WebTerminalUrl": url}))
}

fn list_jobs(call: &Call, query: &Query) -> Result<Value, ApiError> {
    let number = |name: &str, default: usize| match query.get(name).map(str::parse) {
        None => Ok(default),
        Some(Ok(number)) if number > 0 => Ok(number),
        Some(_) => Err(ApiError::invalid_parameter(format!("{name} is not a positive number."))),
    };
    let (page, size) = (number("PageNumber", 1)?, number("PageSize", DEFAULT_PAGE_SIZE)?.min(MAX_PAGE_SIZE));
    query.boolean("ShowOwn")?;
    let is = |name: &str, value: &str| query.get(name).is_none_or(|wanted| wanted == value);
    let listed = |job: &&Job| {
        is("WorkspaceId", WORKSPACE_ID)
            && is("Status", job.status)
            && is("JobId", &job.id)
            && query.get("JobIds").is_none_or(|ids| ids.split(',').any(|id| id == job.id))
            && query.get("DisplayName").is_none_or(|part| job.name.contains(part))
    };
    let found: Vec<_> = call.server.world.jobs.iter().filter(listed).collect();
    let jobs: Vec<_> =
        found.iter().skip((page - 1).saturating_mul(size)).take(size).map(|job| job.to_json(WORKSPACE_ID)).collect();
    Ok(json!({"RequestId": call.request_id, "Jobs": jobs, "TotalCount": found.len()}))
}

async fn commit(call: &Call, fault: &Fault) -> Answer {
    let error = match fault {
        Fault::ApiForbidden => ApiError::forbidden(),
        Fault::ApiThrottled { retry_after_ms } => ApiError::throttled(*retry_after_ms),
        Fault::ApiUnavailable => ApiError::unavailable(),
        Fault::ApiSignature => ApiError::signature("Specified signature does not match our calculation.".to_owned()),
        Fault::ApiStaleClock => ApiError::expired_date(),
        Fault::ApiTokenExpired => ApiError::expired_token(),
        Fault::ApiNotFound => ApiError::not_found("The specified resource is not found."),
        Fault::ApiNotJson => {
            let mut page = Response::new(Bytes::from_static(b"<html><body>It works!</body></html>\n"));
            page.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            return Answer::Response(full(page));
        }
        Fault::ApiNoUrl => {
            let body = json!({"RequestId": call.request_id});
            return Answer::Response(full(json_response(StatusCode::OK, &call.request_id, &body)));
        }
        Fault::ApiRedirect => {
            let mut redirect = Response::new(Bytes::new());
            *redirect.status_mut() = StatusCode::FOUND;
            if let Ok(location) = HeaderValue::try_from(format!("http://{}{REDIRECTED}", call.authority)) {
                redirect.headers_mut().insert(header::LOCATION, location);
            }
            return Answer::Response(full(redirect));
        }
        Fault::ApiEndless => {
            let mut response = Response::new(endless());
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            return Answer::Response(response);
        }
        Fault::ApiStalled => future::pending().await,
        Fault::ApiReset => return Answer::Reset,
        _ => ApiError::bad_request("The request is not valid."),
    };
    call.refuse(&error)
}

fn known<'a>(call: &'a Call, job: &str) -> Result<&'a Job, ApiError> {
    call.server.world.job(job).ok_or_else(|| ApiError::not_found(format!("Job {job} not found.")))
}

fn place(job: &str, pod: &str) -> Place {
    Place { job: job.to_owned(), pod: pod.to_owned() }
}

fn link(scheme: &str, host: &str, tenant: &str, place: &Place, token: &str) -> String {
    format!("{scheme}://{host}{}{tenant}/{}/{}?Token={token}", upgrade::PATH, place.job, place.pod)
}

struct Query(Vec<(String, String)>);

impl Query {
    /// The first value of a parameter; an empty one counts as none.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// A boolean in any case: the Python SDK writes `True`, the Node one `true`.
    fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(ApiError::invalid_parameter(format!("{name} is not a boolean."))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_split_before_they_are_decoded() {
        let action = Action::of(&Method::GET, "/api/v1/jobs/a%2Fb/pods/c%20d/webterminal").unwrap();
        assert_eq!(action, Action::GetWebTerminal { job: "a/b".to_owned(), pod: "c d".to_owned() });
        assert_eq!(Action::of(&Method::GET, "/api/v1/jobs").unwrap(), Action::ListJobs);
        for (method, path) in [
            (Method::POST, "/api/v1/jobs"),
            (Method::GET, "/"),
            (Method::GET, "/api/v1/jobs/"),
            (Method::GET, "/api/v1/jobs/a/pods/b"),
            (Method::GET, "/api/v2/jobs"),
        ] {
            assert_eq!(Action::of(&method, path).unwrap_err().code, "InvalidAction.NotFound", "{method} {path}");
        }
        assert_eq!(Action::of(&Method::GET, "/api/v1/jobs/%FF").unwrap_err().code, "InvalidParameter");
    }

    #[test]
    fn booleans_have_any_case() {
        let query = Query(decoded_pairs("A=True&B=false&C=&D=yes").collect());
        assert_eq!(query.boolean("A").unwrap(), Some(true));
        assert_eq!(query.boolean("B").unwrap(), Some(false));
        assert_eq!(query.boolean("C").unwrap(), None);
        assert_eq!(query.boolean("D").unwrap_err().code, "InvalidParameter");
        assert_eq!(query.boolean("E").unwrap(), None);
    }
}
