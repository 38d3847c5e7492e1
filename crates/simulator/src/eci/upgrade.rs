//! The upgrade that a `WebSocketUri` leads to.

use std::sync::Arc;

use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;

use super::{
    Server,
    channel::{V4, early_frame},
    session,
};
use crate::{
    Fault, Stage,
    alibaba::{ApiError, Call, Taken},
    web::{Answer, Handshake, Query, count, refused_upgrade},
};

/// The path of every link.
pub(super) const PATH: &str = "/exec/";

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
    let mut handshake = Handshake::of(&request)?;
    let gone = || ApiError::not_found("The link is unknown, spent or expired.");
    let query = Query::of(request.uri().query().unwrap_or_default());
    let token = query.get("s").ok_or_else(gone)?;
    let mut fault = server.site.faults.take(Stage::Upgrade);
    if let Some(refusal) = refused_upgrade(fault.as_ref()) {
        return Err(refusal.into());
    }
    let permit = server.site.permit().ok_or_else(ApiError::unavailable)?;
    // A link that asks for an identity is never minted here.
    let Taken::Good(exec) = server.links.take(token, server.clock.now(), |_| true) else { return Err(gone()) };
    let selects = server.accept_v4 || fault.take_if(|fault| *fault == Fault::UpgradeV4).is_some();
    let v4 = selects && handshake.offered().iter().any(|offered| offered == V4);
    if v4 {
        handshake = handshake.select(V4);
    }
    let session = {
        let server = Arc::clone(server);
        move |conn, behind| async move { session::run(&server, conn, behind, exec, v4, permit).await }
    };
    Ok(handshake.answer(&server.site, &mut request, fault.as_ref(), &early_frame(), session).await)
}
