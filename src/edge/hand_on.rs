//! Requests and links that belong to another replica: they are handed on, and its answer is handed back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use polytty_dialect::Code;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::guard::Guard;
use super::peer::Caller;
use super::{Connection, Edge};
use crate::cluster::{ReplicaId, Unreached, handed_on, splice};
use crate::limit::{Address, Held};
use crate::respond::{Body, Problem, Reply, STORE_RETRY, closing, with};

/// How long the ends of a carried connection may take to be told that this replica is going.
const FAREWELL: Duration = Duration::from_secs(1);

impl Edge {
    /// Hands an upgrade to the replica that owns its session, and carries what follows. `own` is the client's place among
    /// the connections of its address. The answer may be a refusal.
    ///
    /// # Errors
    ///
    /// Why there is no answer, and the client, who is still to be told.
    pub(super) async fn hand_on(
        self: &Arc<Self>,
        to: ReplicaId,
        request: &Request<Incoming>,
        upgrading: OnUpgrade,
        own: Option<Held<Address>>,
        caller: Caller,
    ) -> Result<Reply, (Unreached, OnUpgrade)> {
        // Without others, it is a session of this process before it was started anew.
        let Some(cluster) = &self.api.cluster else { return Err((Unreached::Gone, upgrading)) };
        // What was handed on once is not handed on again: it has come to where it should be, or nobody knows where that is.
        if caller.is_handed_on() {
            return Err((Unreached::Away, upgrading));
        }
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let request = handed_on(request.method().clone(), path, request.headers(), Bytes::new(), true);
        let mut answer = match cluster.forward(to, request, caller.socket_address()).await {
            Ok(answer) => answer,
            Err(unreached) => return Err((unreached, upgrading)),
        };
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            // A link of another subject is as unknown there as one that never was.
            let guessed = caller.counted().filter(|_| answer.status() == StatusCode::NOT_FOUND);
            return Ok(match guessed.map(|address| self.gate.failure(address)) {
                Some(Err(exceeded)) => closing(exceeded.reply()),
                _ => relayed(answer),
            });
        }
        let owner = hyper::upgrade::on(&mut answer);
        let edge = self.clone();
        self.tasks.spawn(async move { edge.carry(upgrading, own, owner).await });
        let mut reply = Reply::default();
        *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *reply.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(reply)
    }

    /// Carries bytes both ways until one end is over, or this replica is.
    async fn carry(self: Arc<Self>, client: OnUpgrade, own: Option<Held<Address>>, owner: OnUpgrade) {
        let both = async { tokio::try_join!(client, owner) };
        let Ok(Ok((client, owner))) = timeout(self.limits.get().request_timeout, both).await else { return };
        let Ok(parts) = client.downcast::<TokioIo<Guard<Connection>>>() else { return };
        let (mut client, behind) = parts.io.into_inner().into_parts();
        client.own = own.or(client.own.take());
        let early = [&parts.read_buf[..], &behind[..]].concat();
        let mut owner = TokioIo::new(owner);
        self.api.metrics.carried(1);
        let carried = tokio::select! {
            carried = splice(&mut client, &early, &mut owner) => carried,
            () = self.drain.cancelled() => Ok(()),
        };
        self.api.metrics.carried(-1);
        if let Err(error) = carried {
            tracing::debug!(error = ?error.to_string(), "a carried connection broke");
        }
        let _ = timeout(FAREWELL, async { tokio::join!(client.shutdown(), owner.shutdown()) }).await;
    }
}

/// The answer of another replica, without the fields that are about the connection to it.
pub(crate) fn relayed(answer: Response<Incoming>) -> Reply {
    let (mut parts, body) = answer.into_parts();
    for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    Response::from_parts(parts, Body::Relayed(body))
}

/// What somebody is told whose request did not get to its replica.
pub(crate) fn unreached(why: Unreached) -> (Code, &'static str) {
    match why {
        Unreached::Gone => (Code::NotFound, "the replica that had this session is gone, and the session with it"),
        Unreached::Away => {
            (Code::StoreUnavailable, "the replica that has this session cannot be reached now; try again in a moment")
        }
        Unreached::Unanswered => {
            (Code::StoreUnavailable, "the replica that has this session did not answer; what came of it is not known")
        }
    }
}

/// The same as a response.
pub(crate) fn unreached_reply(why: Unreached) -> Reply {
    let (code, detail) = unreached(why);
    let reply = Problem::new(code, detail).reply();
    if code == Code::NotFound { reply } else { with(reply, header::RETRY_AFTER, STORE_RETRY) }
}
