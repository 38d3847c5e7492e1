//! The calls: ExecContainerCommand, DescribeContainerGroups.

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{
    REGION, Server,
    command::{Exec, exceeded},
    sync, upgrade,
    world::{Container, ContainerGroup},
};
use crate::{
    Fault, Stage,
    alibaba::{self, ApiError, SignedRequest},
    random,
    web::{Answer, Query, collect, count},
};

type Call = alibaba::Call<Server>;

/// Groups per page, and ids in `ContainerGroupIds`.
const MAX_GROUPS: usize = 20;

/// Answers a call, or commits the fault that stands in its way.
pub(super) async fn answer(call: &Call, request: Request<Incoming>) -> Answer {
    let tally = &call.server.tally;
    let error = match call.server.site.faults.take(Stage::Api) {
        Some(Fault::ApiIncorrectStatus) => incorrect_status("The container group is not running."),
        Some(Fault::ApiValueExceeded) => exceeded("A parameter is not valid."),
        Some(fault) => {
            count(&tally.calls_refused, 1);
            return alibaba::commit(call, &fault).await;
        }
        None => match handle(call, request).await {
            Ok(body) => {
                count(&tally.calls_answered, 1);
                return call.answer(&body);
            }
            Err(error) => error,
        },
    };
    count(&tally.calls_refused, 1);
    call.refuse(&error)
}

/// What whoever follows a redirect gets: an answer that looks good, with a link that leads nowhere.
pub(super) fn bait(call: &Call) -> Answer {
    count(&call.server.tally.redirects_followed, 1);
    alibaba::bait(call, json!({"WebSocketUri": link("ws", &call.authority, "none")}))
}

async fn handle(call: &Call, request: Request<Incoming>) -> Result<Value, ApiError> {
    let (head, body) = request.into_parts();
    let body = collect(body).await?;
    let (method, path) = (&head.method, head.uri.path());
    if !(method == Method::GET || method == Method::POST) || path != "/" {
        return Err(ApiError::unknown_action());
    }
    let query = head.uri.query().unwrap_or_default();
    let signed = SignedRequest { method, path, query, headers: &head.headers, body: &body };
    let known = ["ExecContainerCommand", "DescribeContainerGroups"];
    let action = call.server.gateway.authorize(signed, |action| known.contains(&action))?;
    let parameters = Query(signed.parameters());
    if parameters.get("Format").is_some_and(|format| !format.eq_ignore_ascii_case("json")) {
        return Err(ApiError::invalid_parameter("Format has to be JSON here."));
    }
    let region = parameters.get("RegionId").ok_or_else(|| ApiError::missing("RegionId"))?;
    if region != REGION {
        return Err(exceeded(format!("RegionId {region} is served elsewhere.")));
    }
    let mut answer = match action.as_deref() {
        Some("DescribeContainerGroups") => describe(call, &parameters)?,
        _ => exec(call, &parameters).await?,
    };
    answer["RequestId"] = call.request_id.as_str().into();
    Ok(answer)
}

async fn exec(call: &Call, parameters: &Query) -> Result<Value, ApiError> {
    let server = &call.server;
    let mandatory = |name: &str| parameters.get(name).ok_or_else(|| ApiError::missing(name));
    let (group, container) = (mandatory("ContainerGroupId")?, mandatory("ContainerName")?);
    let exec = Exec::of(parameters)?;
    demand_running(&server.groups, group, container)?;
    if exec.sync {
        let permit = server.site.permit().ok_or_else(ApiError::unavailable)?;
        let output = sync::run(&server.site, &exec, permit).await.map_err(exceeded)?;
        return Ok(json!({"SyncResponse": output}));
    }
    let token = server
        .links
        .mint(exec, true, server.clock.now())
        .map_err(|_| ApiError::unavailable())?
        .ok_or_else(|| ApiError::throttled(1_000))?;
    count(&server.tally.links_minted, 1);
    let fault = server.site.faults.take(Stage::Link);
    let (scheme, host) = match &fault {
        Some(Fault::LinkForeignHost { host }) => ("ws", host.as_str()),
        Some(Fault::LinkWrongScheme { scheme }) => (scheme.as_str(), call.authority.as_str()),
        _ => ("ws", call.authority.as_str()),
    };
    // The page behind HttpUrl belongs to the console, which is not simulated: the link is of its own and opens nothing.
    let param = random::token().map_err(|_| ApiError::unavailable())?;
    Ok(json!({
        "WebSocketUri": link(scheme, host, &token),
        "HttpUrl": format!("http://{}/terminal?param={param}", call.authority),
    }))
}

fn demand_running(groups: &[ContainerGroup], group: &str, container: &str) -> Result<(), ApiError> {
    let group = groups
        .iter()
        .find(|known| known.id == group)
        .ok_or_else(|| exceeded(format!("The container group {group} does not exist.")))?;
    let Container { name, state } = group
        .containers
        .iter()
        .find(|known| known.name == container)
        .ok_or_else(|| exceeded(format!("The container {container} does not exist in {}.", group.id)))?;
    if group.status != "Running" {
        return Err(incorrect_status(format!("The container group {} is {}.", group.id, group.status)));
    }
    if *state != "Running" {
        return Err(incorrect_status(format!("The container {name} is {state}.")));
    }
    Ok(())
}

fn describe(call: &Call, parameters: &Query) -> Result<Value, ApiError> {
    let ids: Option<Vec<String>> = parameters
        .get("ContainerGroupIds")
        .map(|ids| serde_json::from_str(ids).map_err(|_| exceeded("ContainerGroupIds is not a JSON array of strings.")))
        .transpose()?;
    if ids.as_ref().is_some_and(|ids| ids.len() > MAX_GROUPS) {
        return Err(exceeded(format!("ContainerGroupIds has more than {MAX_GROUPS} items.")));
    }
    let limit = match parameters.get("Limit").map(str::parse) {
        None => MAX_GROUPS,
        Some(Ok(limit @ 1..=MAX_GROUPS)) => limit,
        Some(_) => return Err(exceeded(format!("Limit is not a number from 1 to {MAX_GROUPS}."))),
    };
    let is = |name: &str, value: &str| parameters.get(name).is_none_or(|wanted| wanted == value);
    let found: Vec<_> = call
        .server
        .groups
        .iter()
        .filter(|group| ids.as_ref().is_none_or(|ids| ids.contains(&group.id)))
        .filter(|group| is("Status", group.status) && is("ContainerGroupName", &group.name))
        .collect();
    // The token of a page is the id of its first group.
    let start = match parameters.get("NextToken") {
        None => 0,
        Some(token) => found
            .iter()
            .position(|group| group.id == token)
            .ok_or_else(|| exceeded("NextToken is none of this query."))?,
    };
    let page: Vec<_> = found.iter().skip(start).take(limit).map(|group| group.to_json(REGION)).collect();
    let mut answer = json!({"ContainerGroups": page, "TotalCount": found.len()});
    if let Some(next) = found.get(start + limit) {
        answer["NextToken"] = next.id.as_str().into();
    }
    Ok(answer)
}

fn incorrect_status(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "IncorrectStatus", message.into())
}

fn link(scheme: &str, host: &str, token: &str) -> String {
    format!("{scheme}://{host}{}?s={token}", upgrade::PATH)
}
