//! The calls: GetWebTerminal, GetJob, ListJobs.

use http::{Method, Request};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{Place, Server, upgrade, world::Job};
use crate::{
    Fault, Stage,
    alibaba::{self, ApiError, SignedRequest},
    web::{Answer, Query, collect, count},
};

type Call = alibaba::Call<Server>;

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
    if let Some(fault) = call.server.site.faults.take(Stage::Api) {
        count(&tally.calls_refused, 1);
        return alibaba::commit(call, &fault).await;
    }
    match handle(call, request).await {
        Ok(body) => {
            count(&tally.calls_answered, 1);
            call.answer(&body)
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
    alibaba::bait(call, json!({"WebTerminalUrl": link}))
}

async fn handle(call: &Call, request: Request<Incoming>) -> Result<Value, ApiError> {
    let (head, body) = request.into_parts();
    let body = collect(body).await?;
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    let action = Action::of(&head.method, path)?;
    let signed = SignedRequest { method: &head.method, path, query, headers: &head.headers, body: &body };
    call.server.gateway.authorize(signed, |named| named == action.name())?;
    let query = Query::of(query);
    match action {
        Action::GetWebTerminal { job, pod } => get_web_terminal(call, place(&job, &pod), &query),
        Action::GetJob { job } => {
            boolean(&query, "NeedDetail")?;
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
    let shared = boolean(query, "IsShared")?.unwrap_or(false);
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
    let fault = server.site.faults.take(Stage::Link);
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
    boolean(query, "ShowOwn")?;
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

fn known<'a>(call: &'a Call, job: &str) -> Result<&'a Job, ApiError> {
    call.server.world.job(job).ok_or_else(|| ApiError::not_found(format!("Job {job} not found.")))
}

fn place(job: &str, pod: &str) -> Place {
    Place { job: job.to_owned(), pod: pod.to_owned() }
}

fn link(scheme: &str, host: &str, tenant: &str, place: &Place, token: &str) -> String {
    format!("{scheme}://{host}{}{tenant}/{}/{}?Token={token}", upgrade::PATH, place.job, place.pod)
}

/// A boolean in any case: the Python SDK writes `True`, the Node one `true`.
fn boolean(query: &Query, name: &str) -> Result<Option<bool>, ApiError> {
    query.boolean(name).map_err(|()| ApiError::invalid_parameter(format!("{name} is not a boolean.")))
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
}
