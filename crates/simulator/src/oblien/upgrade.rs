//! The upgrade that opens a runtime's WebSocket.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;

use super::{Server, access, data, error::ApiError, json_response, socket, wire};
use crate::{
    Stage,
    web::{Answer, Handshake, Query, Wire, count, refused_upgrade, short_frame},
};

/// What [`Fault::UpgradeEarlyFrame`](crate::Fault::UpgradeEarlyFrame) sends as output of the terminal with the lowest id.
pub const EARLY_OUTPUT: &str = "early\r\n";

/// Opens the WebSocket, or refuses.
pub(super) async fn answer(server: &Arc<Server>, target: &str, request: Request<Incoming>) -> Answer {
    match open(server, target, request).await {
        Ok(answer) => {
            count(&server.tally.upgrades_taken, 1);
            answer
        }
        Err(error) => {
            count(&server.tally.upgrades_refused, 1);
            let mut response = json_response(error.status, &error.body());
            if error.status == StatusCode::UPGRADE_REQUIRED {
                response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            Answer::and_close(response)
        }
    }
}

async fn open(server: &Arc<Server>, target: &str, mut request: Request<Incoming>) -> Result<Answer, ApiError> {
    let handshake = Handshake::of(&request)?;
    let query = Query::of(request.uri().query().unwrap_or_default());
    let no_headers = HeaderMap::new();
    let headers = if server.query_token_only { &no_headers } else { request.headers() };
    let workspace = access::data(server, headers, query.get("token"))?;
    let runtime = Arc::clone(data::runtime(&workspace, target)?);
    let fault = server.site.faults.take(Stage::Upgrade);
    if let Some(refusal) = refused_upgrade(fault.as_ref()) {
        return Err(refusal.into());
    }
    let early = wire::output(runtime.first_id().unwrap_or(1), EARLY_OUTPUT.as_bytes());
    let early = short_frame(Wire::Binary, &early, None);
    let session = {
        let server = Arc::clone(server);
        move |conn, behind| async move { socket::run(&server, &workspace, &runtime, conn, behind).await }
    };
    Ok(handshake.answer(&server.site, &mut request, fault.as_ref(), &early, session).await)
}
