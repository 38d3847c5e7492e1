//! The upgrade that a terminal link leads to.

use std::sync::Arc;

use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;

use super::{Place, Server, output::early_frame, session};
use crate::{
    Stage,
    alibaba::{ApiError, Call, Taken},
    web::{Answer, Handshake, count, decoded_pairs, refused_upgrade},
};

/// What the path of every terminal link begins with.
pub(super) const PATH: &str = "/terminal/";

/// Spends the link and opens the session, or refuses.
pub(super) async fn answer(call: Call<Server>, request: Request<Incoming>) -> Answer {
    match open(&call, request).await {
        Ok(answer) => {
            count(&call.server.tally.upgrades_taken, 1);
            answer
        }
        Err(error) => {
            count(&call.server.tally.upgrades_refused, 1);
            let mut response = error.response(&call.request_id, &call.authority);
            if error.status == StatusCode::UPGRADE_REQUIRED {
                response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            Answer::and_close(response)
        }
    }
}

async fn open(call: &Call<Server>, mut request: Request<Incoming>) -> Result<Answer, ApiError> {
    let server = &call.server;
    let handshake = Handshake::of(&request)?;
    let (pod, token) = terminal(request.uri(), &server.world.tenant)
        .ok_or_else(|| ApiError::not_found("There is no such terminal."))?;
    let fault = server.site.faults.take(Stage::Upgrade);
    if let Some(refusal) = refused_upgrade(fault.as_ref()) {
        return Err(refusal.into());
    }
    let permit = server.site.permit().ok_or_else(ApiError::unavailable)?;
    match server.links.take(&token, server.clock.now(), |to| *to == pod) {
        Taken::Good(_) => {}
        Taken::NeedsIdentity => {
            let message = "This link needs Alibaba Cloud identity authentication.";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "Forbidden", message));
        }
        Taken::Gone => return Err(ApiError::not_found("The link is unknown, spent or expired.")),
    }
    let session = {
        let server = Arc::clone(server);
        move |conn, behind| async move { session::run(&server, conn, behind, permit).await }
    };
    Ok(handshake.answer(&server.site, &mut request, fault.as_ref(), &early_frame(), session).await)
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

#[cfg(test)]
mod tests {
    use super::*;

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
