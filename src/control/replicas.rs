//! Calls about sessions of other replicas.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::header::HeaderMap;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use polytty_dialect::Code;
use serde_json::Value;
use tokio::time::timeout;

use super::Api;
use super::body::read_body;
use crate::cluster::{Cluster, Held, NotHeld, ReplicaId, Unreached, handed_on};
use crate::edge::{Caller, relayed, unreached_reply};
use crate::respond::{Problem, Reply, json, with};
use crate::session::{SessionId, Spec};

/// Replicas that are asked at once for their sessions, and how long each may take.
const ASKED_AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest list that one replica may answer with, in bytes, and what all of them may come to in one call. Whoever goes
/// beyond either counts as not to be reached.
const MAX_LIST: usize = 4 << 20;
const MAX_LISTS: usize = 32 << 20;

/// Where a session is to be made.
pub(super) enum MadeAt {
    /// Here; with a lease, where its workspace takes one connection at a time.
    Here(Option<Held>),
    /// At the replica that has its workspace.
    Elsewhere(ReplicaId),
    /// Nowhere, for now.
    Refused(Reply),
}

impl Api {
    /// The replica that a call about this session is for, if that is another one. What was recorded by one that is gone may
    /// lie here: it was perhaps this one before it was started anew.
    pub(super) fn owner_of(&self, id: &str, rest: &[&str], caller: Caller) -> Option<ReplicaId> {
        let cluster = self.others(caller)?;
        let owner = id.parse::<SessionId>().ok()?.replica();
        let is_kept_here = rest == ["recording"] && !cluster.others().contains(&owner);
        (owner != cluster.me() && !is_kept_here).then_some(owner)
    }

    /// Hands a call on, with its body.
    pub(super) async fn pass_on(
        &self,
        to: ReplicaId,
        request: Request<Incoming>,
        caller: Caller,
        max_body: u64,
    ) -> Reply {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let body = match read_body(body, max_body).await {
            Ok(body) => body,
            Err(problem) => return problem.reply(),
        };
        let request = handed_on(parts.method, &path, &parts.headers, body, false);
        self.ask_owner(to, request, caller).await.unwrap_or_else(unreached_reply)
    }

    async fn ask_owner(
        &self,
        to: ReplicaId,
        request: Request<Full<Bytes>>,
        caller: Caller,
    ) -> Result<Reply, Unreached> {
        let cluster = self.cluster.as_ref().ok_or(Unreached::Gone)?;
        cluster.forward(to, request, caller.socket_address()).await.map(relayed)
    }

    /// Has a session made by the replica that has its workspace.
    pub(super) async fn made_by(
        &self,
        owner: ReplicaId,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
        caller: Caller,
    ) -> Reply {
        let request = handed_on(Method::POST, path, headers, body, false);
        self.ask_owner(owner, request, caller).await.unwrap_or_else(|why| match why {
            Unreached::Gone => {
                let detail = "the replica that had this workspace is gone; another one has it in a moment";
                with(Problem::new(Code::StoreUnavailable, detail).reply(), header::RETRY_AFTER, "2")
            }
            other => unreached_reply(other),
        })
    }

    /// Finds out which replica has to make a session, and takes its workspace where that is this one.
    pub(super) async fn made_at(&self, spec: &Spec, caller: Caller) -> MadeAt {
        let Some(cluster) = &self.cluster else { return MadeAt::Here(None) };
        let Some(workspace) = spec.provider.workspace(&spec.target) else { return MadeAt::Here(None) };
        let refused = |code, detail: &str, seconds: u64| {
            MadeAt::Refused(with(Problem::new(code, detail).reply(), header::RETRY_AFTER, &seconds.to_string()))
        };
        match cluster.places().hold(&workspace.name).await {
            Ok(held) => MadeAt::Here(Some(held)),
            Err(NotHeld::Elsewhere(owner)) if !caller.is_handed_on() => MadeAt::Elsewhere(owner),
            // It has changed hands while the call was on its way.
            Err(NotHeld::Elsewhere(_)) => {
                refused(Code::StoreUnavailable, "this workspace has just gone to another replica; try again", 1)
            }
            Err(NotHeld::Away) => {
                refused(Code::StoreUnavailable, "the store that replicas share cannot be reached; try again", 2)
            }
            Err(NotHeld::Settling(left)) => refused(
                Code::StoreRestarted,
                "the store that replicas share was started anew; who has this workspace is not known for a moment",
                left.as_secs() + 1,
            ),
        }
    }

    /// The other replicas, where there are any and they have not been asked already.
    pub(super) fn others(&self, caller: Caller) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref().filter(|_| !caller.is_handed_on())
    }
}

/// Lists the sessions of all replicas, those of this one being `own`. Who could not be asked is named beside them.
pub(super) async fn list_all(cluster: &Cluster, own: Vec<Value>, headers: &HeaderMap, caller: Caller) -> Reply {
    let _turn = cluster.listing().await;
    let answers = stream::iter(cluster.others())
        .map(|replica| async move {
            let asked = timeout(PATIENCE, ask(cluster, replica, headers, caller)).await;
            (replica, asked.ok().flatten())
        })
        .buffer_unordered(ASKED_AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let (mut sessions, mut unreachable, mut room) = (own, Vec::new(), MAX_LISTS);
    for (replica, answer) in answers {
        let answer = answer.filter(|body| body.len() <= room);
        room -= answer.as_ref().map_or(0, Bytes::len);
        match answer.and_then(|body| sessions_in(&body)) {
            Some(more) => sessions.extend(more),
            None => unreachable.push(replica.to_string()),
        }
    }
    let created = |session: &Value| session["created_at"].as_str().map(str::to_owned);
    sessions.sort_by_cached_key(|session| std::cmp::Reverse(created(session)));
    let mut list = serde_json::json!({ "sessions": sessions });
    if !unreachable.is_empty() {
        unreachable.sort();
        list["unreachable"] = unreachable.into();
    }
    json(StatusCode::OK, &list)
}

/// What one replica says of its sessions, those that the caller may see.
async fn ask(cluster: &Cluster, replica: ReplicaId, headers: &HeaderMap, caller: Caller) -> Option<Bytes> {
    let request = handed_on(Method::GET, "/v1/sessions", headers, Bytes::new(), false);
    let answer = cluster.forward(replica, request, caller.socket_address()).await.ok()?;
    if answer.status() != StatusCode::OK {
        return None;
    }
    Some(Limited::new(answer.into_body(), MAX_LIST).collect().await.ok()?.to_bytes())
}

fn sessions_in(body: &[u8]) -> Option<Vec<Value>> {
    let mut list: Value = serde_json::from_slice(body).ok()?;
    match list["sessions"].take() {
        Value::Array(sessions) => Some(sessions),
        _ => None,
    }
}
